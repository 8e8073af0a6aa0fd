//! Reads a secret from a file, standard input, or a prompt without echo.

use std::{
    fs::File,
    io::{self, IsTerminal},
    os::{fd::AsFd, unix::fs::PermissionsExt},
    path::PathBuf,
    sync::Arc,
};

use clap::Args;
use keyside_config::Catalogue;
use zeroize::Zeroizing;

use super::{
    Console, Failure, pasted, prompt,
    provider::Provider,
    sensitive::{self, ReadError, trim_newline},
};
use crate::terminal::printable;

/// The key that the secret belongs to.
pub(crate) struct SecretOwner<'a> {
    pub(crate) workspace: &'a str,
    pub(crate) provider: &'a str,
    pub(crate) label: &'a str,
    /// The provider in the catalogue, if it could be read.
    pub(crate) known: Option<&'a Provider>,
}

/// The options for reading a secret without a prompt.
#[derive(Args)]
#[group(multiple = false)]
pub(crate) struct SecretInput {
    /// Read the secret from a file
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,

    /// Read the secret from standard input
    #[arg(long)]
    stdin: bool,
}

impl SecretInput {
    #[cfg(test)]
    pub(super) fn file(path: PathBuf) -> Self {
        Self {
            secret_file: Some(path),
            stdin: false,
        }
    }

    pub(crate) fn is_prompted(&self) -> bool {
        self.secret_file.is_none() && !self.stdin
    }

    /// Reads the secret, without its final newline and without what was pasted around it. The
    /// server checks its format.
    pub(crate) fn read(
        &self,
        owner: Option<&SecretOwner<'_>>,
        console: &Console,
    ) -> Result<Zeroizing<String>, Failure> {
        let mut secret = match (&self.secret_file, self.stdin) {
            // The file name is not repeated, because it may be the key itself.
            (Some(path), _) => {
                let file = File::open(path);
                if file.as_ref().is_ok_and(is_open_to_others) {
                    console.warn(OPEN_TO_OTHERS);
                }
                read_all(file, "the file named by --secret-file")
            }
            (None, true) => read_all(standard_input(), "standard input"),
            (None, false) => prompt(&owner.map_or(String::new(), SecretOwner::question)),
        }?;
        trim_newline(&mut secret);
        let removed = pasted::strip(&mut secret, &prefixes(owner));
        if !removed.is_empty() {
            console.note(format_args!(
                "Removed around the key: {}",
                removed.join(", ")
            ));
        }
        match secret.is_empty() {
            true => Err(Failure::failed("expected a secret, found nothing").next(OTHER_WAYS)),
            false => Ok(secret),
        }
    }
}

impl SecretOwner<'_> {
    /// The prompt: whose key it is, what it looks like, and where to get it. Some of this comes
    /// from the server.
    fn question(&self) -> String {
        let (workspace, label) = (self.workspace, self.label);
        let name = self.known.map_or(self.provider, |known| &*known.name);
        let mut question = format!("{name} key \"{label}\" of workspace {workspace}");
        let example = self.known.map_or("", |known| known.key.example.as_str());
        if !example.is_empty() {
            question.push_str(&format!(", such as {example}"));
        }
        let console = self.known.map_or("", |known| known.links.console.as_str());
        if !console.is_empty() {
            question.push_str(&format!("; create one at {console}"));
        }
        format!("{}\nSecret (not shown): ", printable(&question))
    }
}

/// The prefixes of the provider's keys, or of every built-in provider's if it is not known which
/// one.
fn prefixes(owner: Option<&SecretOwner<'_>>) -> Vec<String> {
    let catalogue = Catalogue::builtin();
    let built_in = |provider: &Arc<keyside_config::Provider>| provider.key.prefix.clone();
    match owner {
        Some(SecretOwner {
            known: Some(known), ..
        }) => known.key.prefixes.clone(),
        Some(owner) => catalogue
            .get(owner.provider)
            .map(built_in)
            .unwrap_or_default(),
        None => catalogue.iter().flat_map(built_in).collect(),
    }
}

fn prompt(question: &str) -> Result<Zeroizing<String>, Failure> {
    if !io::stdin().is_terminal() {
        return Err(
            Failure::usage("expected a secret, found no terminal to prompt on").next(OTHER_WAYS),
        );
    }
    let typed = prompt::ask(question, LIMIT);
    typed.map_err(|error| unreadable("the prompt", error))
}

/// Bypasses the buffer of [`io::Stdin`], which is never wiped.
fn standard_input() -> io::Result<File> {
    io::stdin().as_fd().try_clone_to_owned().map(File::from)
}

fn read_all(from: io::Result<File>, named: &str) -> Result<Zeroizing<String>, Failure> {
    let text = from.map_err(ReadError::from);
    let text = text.and_then(|from| sensitive::read_text(from, LIMIT));
    text.map_err(|error| unreadable(named, error))
}

/// Pipes, as of `<(…)`, have no reader but this process.
fn is_open_to_others(file: &File) -> bool {
    file.metadata()
        .is_ok_and(|metadata| metadata.is_file() && metadata.permissions().mode() & 0o077 != 0)
}

fn unreadable(named: &str, error: ReadError) -> Failure {
    let next = match error {
        ReadError::TooLong(_) => "Give a file that contains the key and nothing else.",
        ReadError::MultipleLines => "Give it with --secret-file FILE. Nothing was saved.",
        _ => OTHER_WAYS,
    };
    Failure::failed(format!("expected a secret in {named}, found: {error}")).next(next)
}

const OPEN_TO_OTHERS: &str = "the mode of the file named by --secret-file gives other users or its group access to \
                              the key; close it with: chmod 600 FILE";
const OTHER_WAYS: &str =
    "Give the secret with --secret-file FILE, with --stdin, or at the prompt of a terminal.";

/// The longest secret, and its final newline, in bytes.
const LIMIT: usize = 8192 + 2;

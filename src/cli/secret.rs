//! Where a secret comes from: a file, standard input, or a prompt that does not echo.

use std::{
    fs::File,
    io::{self, IsTerminal},
    os::fd::AsFd,
    path::PathBuf,
    sync::Arc,
};

use clap::Args;
use keyside_config::Catalogue;
use zeroize::Zeroizing;

use super::{
    Failure, Output, pasted, prompt,
    provider::Provider,
    sensitive::{self, ReadError, trim_newline},
};
use crate::terminal::printable;

/// Whose secret is asked for.
pub(crate) struct SecretOwner<'a> {
    pub(crate) workspace: &'a str,
    /// The provider's id.
    pub(crate) provider: &'a str,
    pub(crate) label: &'a str,
    /// What is known of the provider.
    pub(crate) known: Option<&'a Provider>,
}

/// The two ways besides the prompt.
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
    pub(super) fn file(path: &std::path::Path) -> Self {
        Self {
            secret_file: Some(path.to_owned()),
            stdin: false,
        }
    }

    /// Whether a person is asked for it.
    pub(crate) fn is_prompted(&self) -> bool {
        self.secret_file.is_none() && !self.stdin
    }

    /// The secret, without the newline that ends a file and without what was pasted around it. The server checks its form.
    pub(crate) fn read(
        &self,
        owner: Option<&SecretOwner<'_>>,
        output: &Output,
    ) -> Result<Zeroizing<String>, Failure> {
        let mut secret = match (&self.secret_file, self.stdin) {
            // The name is not repeated: it may be the key itself.
            (Some(path), _) => read_all(File::open(path), "the file named by --secret-file"),
            (None, true) => read_all(standard_input(), "standard input"),
            (None, false) => prompt(&owner.map_or(String::new(), SecretOwner::question)),
        }?;
        trim_newline(&mut secret);
        let removed = pasted::strip(&mut secret, &prefixes(owner));
        if !removed.is_empty() {
            output.note(&format!("Removed around the key: {}", removed.join(", ")));
        }
        match secret.is_empty() {
            true => Err(Failure::failed("expected a secret, found nothing").next(ELSEWHERE)),
            false => Ok(secret),
        }
    }
}

impl SecretOwner<'_> {
    /// Whose key it is, what it looks like, where to get it. Some of it comes from the server.
    fn question(&self) -> String {
        let (workspace, label) = (self.workspace, self.label);
        let name = self
            .known
            .map_or(self.provider, |known| known.name.as_str());
        let mut question = format!("{name} key \"{label}\" of workspace {workspace}");
        let example = self.known.map_or("", |known| known.key.example.as_str());
        if !example.is_empty() {
            question.push_str(&format!(", such as {example}"));
        }
        let console = self.known.map_or("", |known| known.links.console.as_str());
        if !console.is_empty() {
            question.push_str(&format!("; keys are made at {console}"));
        }
        format!("{}\nSecret (not shown): ", printable(&question))
    }
}

/// What the provider's keys begin with, or the keys of every built-in provider where it is not known which.
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
            Failure::usage("expected a secret, found no terminal to ask for it on").next(ELSEWHERE),
        );
    }
    let typed = prompt::ask(question, LIMIT);
    typed.map_err(|error| unreadable("the prompt", error))
}

/// Past the buffer of [`io::Stdin`], which nobody wipes.
fn standard_input() -> io::Result<File> {
    io::stdin().as_fd().try_clone_to_owned().map(File::from)
}

fn read_all(from: io::Result<File>, named: &str) -> Result<Zeroizing<String>, Failure> {
    let text = from.map_err(ReadError::from);
    let text = text.and_then(|from| sensitive::read_text(from, LIMIT));
    text.map_err(|error| unreadable(named, error))
}

fn unreadable(named: &str, error: ReadError) -> Failure {
    let next = match error {
        ReadError::TooLong(_) => "Give a file that holds the key and nothing else.",
        ReadError::MultipleLines => "Give it with --secret-file FILE. Nothing of it was saved.",
        _ => ELSEWHERE,
    };
    Failure::failed(format!("expected a secret in {named}, found: {error}")).next(next)
}

const ELSEWHERE: &str =
    "Give the secret with --secret-file FILE, with --stdin, or at the prompt of a terminal.";

/// The longest secret there is, and the newline that may end it.
const LIMIT: usize = 8192 + 2;

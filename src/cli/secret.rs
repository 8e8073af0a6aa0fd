//! Where a secret comes from: a file, standard input, or a prompt that does not echo.

use std::{
    fs::File,
    io::{self, IsTerminal, Read},
    path::PathBuf,
};

use clap::Args;

use super::Failure;

/// The two ways besides the prompt.
#[derive(Args)]
#[group(multiple = false)]
pub(crate) struct SecretFrom {
    /// Read the secret from a file
    #[arg(long, value_name = "FILE")]
    secret_file: Option<PathBuf>,

    /// Read the secret from standard input
    #[arg(long)]
    stdin: bool,
}

impl SecretFrom {
    #[cfg(test)]
    pub(super) fn file(path: &std::path::Path) -> Self {
        Self {
            secret_file: Some(path.to_owned()),
            stdin: false,
        }
    }

    /// The secret, without the newline that ends a file. What it may look like is for the server to say.
    pub(crate) fn read(&self) -> Result<String, Failure> {
        let text = match (&self.secret_file, self.stdin) {
            // The name is not repeated: it may be the key itself.
            (Some(path), _) => File::open(path)
                .map_err(|error| unreadable("the file named by --secret-file", &error))
                .and_then(|file| all_of(file, "the file named by --secret-file")),
            (None, true) => all_of(io::stdin().lock(), "standard input"),
            (None, false) => prompt(),
        }?;
        match text
            .strip_suffix('\n')
            .map(|text| text.strip_suffix('\r').unwrap_or(text))
            .unwrap_or(&text)
        {
            "" => Err(Failure::failed("expected a secret, found nothing").next(ELSEWHERE)),
            secret => Ok(secret.to_owned()),
        }
    }
}

fn prompt() -> Result<String, Failure> {
    if !io::stdin().is_terminal() {
        return Err(
            Failure::usage("expected a secret, found no terminal to ask for it on").next(ELSEWHERE),
        );
    }
    rpassword::prompt_password("Secret (not shown): ")
        .map_err(|error| unreadable("the prompt", &error))
}

fn all_of(from: impl Read, named: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let read = from.take(LIMIT + 1).read_to_string(&mut text);
    read.map_err(|error| unreadable(named, &error))?;
    match text.len() as u64 > LIMIT {
        true => Err(Failure::failed(format!(
            "expected at most {LIMIT} bytes of secret in {named}, found more"
        ))
        .next("Give a file that holds the key and nothing else.")),
        false => Ok(text),
    }
}

fn unreadable(named: &str, error: &io::Error) -> Failure {
    Failure::failed(format!("expected a secret in {named}, found: {error}")).next(ELSEWHERE)
}

const ELSEWHERE: &str =
    "Give the secret with --secret-file FILE, with --stdin, or at the prompt of a terminal.";

/// The longest secret there is, and the newline that may end it.
const LIMIT: u64 = 8192 + 2;

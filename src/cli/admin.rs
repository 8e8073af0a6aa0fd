//! Finds the admin API's address and token, and the authorities to trust: in flags, then the
//! environment, then the settings.

use std::{env, fs::File, io, path::PathBuf};

use clap::Args;
use keyside_config::{BaseUrl, BaseUrlError, Store};
use keyside_credentials::open_regular;
use zeroize::Zeroizing;

use super::{
    Console, Failure,
    sensitive::{self, ReadError},
};
use crate::client::{Authorities, Client, Trust};

/// The flags of every command that uses a running Keyside.
#[derive(Args, Default)]
pub(crate) struct Admin {
    /// The admin API's address [default: $KEYSIDE_ADMIN_URL, else admin.listen of the settings]
    #[arg(long, value_name = "URL", help_heading = HEADING)]
    admin_url: Option<String>,

    /// The file with the token [default: $KEYSIDE_TOKEN, else admin-token in the data folder]
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    token_file: Option<PathBuf>,

    /// A PEM file of the only certificate authorities to trust over https [default:
    /// $KEYSIDE_CA_FILE, else the system's and egress.ca_file of the settings]
    #[arg(long, value_name = "FILE", help_heading = HEADING)]
    ca_file: Option<PathBuf>,
}

impl Admin {
    /// Creates a client of the admin API. Reads the settings only for what flags and environment do
    /// not give.
    pub(crate) fn client(&self, console: &Console) -> Result<Client, Failure> {
        let (url, name) = match self.admin_url.clone().or_else(|| variable(URL)) {
            Some(url) => (require_tls(url)?, None),
            None => from_settings(console)?,
        };
        let instead = self.ca_file.clone();
        let instead = instead.or_else(|| variable(CA_FILE).map(PathBuf::from));
        let besides = match &instead {
            None if url.starts_with("https:") => console.settings()?.egress.ca_file,
            _ => None,
        };
        let trust = Trust::Authorities(Authorities {
            instead,
            besides,
            name,
        });
        Ok(Client::new(&url, &self.token(console)?, &trust)?)
    }

    fn token(&self, console: &Console) -> Result<Zeroizing<String>, Failure> {
        if let Some(path) = &self.token_file {
            let named = "the file named by --token-file";
            return read(File::open(path), named, OTHER_FILE);
        }
        let token = env::var(TOKEN).map(Zeroizing::new);
        if let Some(token) = token.ok().map(trimmed).filter(|token| !token.is_empty()) {
            return expect_token(token, TOKEN);
        }
        match console.settings()?.store {
            Store::Sled { path } => {
                let path = path.join("admin-token");
                let named = path.display().to_string();
                read(open_regular(&path), &named, OWNERS_FILE)
            }
            Store::Vault | Store::None => Err(Failure::usage(
                "expected a token, found none: without an embedded store there is no data folder",
            )
            .next("Name a file with --token-file, or set KEYSIDE_TOKEN.")),
        }
    }
}

/// Refuses plaintext to another machine: it would expose the token and keys.
pub(super) fn require_tls(url: String) -> Result<String, Failure> {
    match BaseUrl::parse(&url, false) {
        Err(BaseUrlError::Plaintext) => Err(Failure::usage(
            "expected https:// for another machine, found http://: token and keys would travel in the clear",
        )
        .next("Use https://, or forward the port (`ssh -L`, `kubectl port-forward`) and use http://127.0.0.1.")),
        _ => Ok(url),
    }
}

/// This machine's address, and the name in the listener's certificate: that of `admin.public_url`.
fn from_settings(console: &Console) -> Result<(String, Option<String>), Failure> {
    let admin = console.settings()?.admin;
    let public = BaseUrl::parse(&admin.public_url, true).ok();
    let name = public.filter(|_| admin.tls.is_some()).map(|url| url.host);
    Ok((admin.url_at(admin.listen), name))
}

fn read(file: io::Result<File>, named: &str, next: &str) -> Result<Zeroizing<String>, Failure> {
    let file = file.map_err(ReadError::from);
    let text = file.and_then(|file| sensitive::read_text(file, TOKEN_LIMIT));
    let text = text.map_err(|error| {
        Failure::failed(format!("expected a token in {named}, found: {error}")).next(next)
    })?;
    expect_token(trimmed(text), named)
}

/// Refuses what is no token before it is sent: it may be a secret of another kind.
fn expect_token(text: Zeroizing<String>, named: &str) -> Result<Zeroizing<String>, Failure> {
    match text.starts_with("ks_") {
        true => Ok(text),
        false => Err(Failure::failed(format!(
            "expected a token in {named}, which begins with ks_, found another text"
        ))
        .next("Write it without quotes and without `Bearer`. `keyside token create` creates one.")),
    }
}

/// Removes whitespace that an editor may have added.
fn trimmed(text: Zeroizing<String>) -> Zeroizing<String> {
    Zeroizing::new(text.trim().to_owned())
}

fn variable(name: &str) -> Option<String> {
    let value = env::var(name).ok()?;
    Some(value.trim().to_owned()).filter(|value| !value.is_empty())
}

const URL: &str = "KEYSIDE_ADMIN_URL";
const TOKEN: &str = "KEYSIDE_TOKEN";
const CA_FILE: &str = "KEYSIDE_CA_FILE";
const OTHER_FILE: &str = "Name the file that holds a token, as `keyside token create` printed it.";
const OWNERS_FILE: &str = "Start `keyside serve` first, or run this where it runs, as the same user, or give --token-file or KEYSIDE_TOKEN. If every owner's token is lost, `keyside token recover` creates one.";
/// In bytes. Keyside's own tokens have 46.
const TOKEN_LIMIT: usize = 4096;
const HEADING: &str = "Connection options";

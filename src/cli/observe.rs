//! Asks the observe listener of a running Keyside, which needs no token.

use clap::Args;
use hyper::StatusCode;

use super::{Console, Failure};
use crate::client::{self, ClientError, Trust};

#[derive(Args)]
pub(super) struct ObserveArguments {
    /// The observe listener's address [default: observe.listen of the settings]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

pub(super) struct Observe {
    base: String,
    trust: Trust,
}

impl ObserveArguments {
    pub(super) fn listener(self, console: &Console) -> Result<Observe, Failure> {
        let (base, trust) = match self.url {
            Some(url) => (url, Trust::default()),
            // This machine's own: the name in its certificate is another one, and what it says is
            // no secret.
            None => (console.settings()?.observe.url(), Trust::Anyone),
        };
        Ok(Observe { base, trust })
    }
}

impl Observe {
    pub(super) async fn get(&self, path: &str) -> Result<(StatusCode, String), ClientError> {
        client::probe(&self.base, path, &self.trust).await
    }
}

/// Converts the error of a first request.
pub(super) fn unreachable(error: ClientError) -> Failure {
    Failure::failed(error)
        .next("Start it with `keyside serve`, or give its observe listener's address with --url.")
}

//! `keyside healthcheck`: asks a running Keyside for its health, so that a container image needs no
//! curl.

use clap::Args;
use serde_json::json;

use super::{Console, Failure};
use crate::client::{self, Trust};

#[derive(Args)]
pub(crate) struct Healthcheck {
    /// The observe listener's address [default: observe.listen of the settings]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// Check that the process is alive instead of ready
    #[arg(long)]
    live: bool,
}

pub(crate) async fn run(healthcheck: Healthcheck, console: &Console) -> Result<(), Failure> {
    let (base, trust) = match healthcheck.url {
        Some(url) => (url, Trust::default()),
        // This machine's own: the name in its certificate is another one, and its health is no
        // secret.
        None => {
            let url = console.settings()?.observe.url();
            (url, Trust::Anyone)
        }
    };
    let (path, wanted) = if healthcheck.live {
        ("/healthz", "alive")
    } else {
        ("/readyz", "ready")
    };
    let answered = client::probe(&base, path, &trust).await;
    let (status, _) = answered.map_err(|error| {
        Failure::failed(error).next(
            "Start it with `keyside serve`, or give its observe listener's address with --url.",
        )
    })?;
    if !status.is_success() {
        return Err(Failure::failed(format!(
            "expected Keyside to be {wanted}, found status {status} from {path}"
        ))
        .next("Its log says what it waits for, or why it is draining."));
    }
    console.print(&json!({ "status": wanted }), || format!("{wanted}\n"))
}

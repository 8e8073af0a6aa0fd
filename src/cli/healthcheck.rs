//! `keyside healthcheck`: asks a running Keyside for its health, so that a container image needs no
//! curl.

use clap::Args;
use serde_json::json;

use super::{
    Console, Failure,
    observe::{ObserveArguments, unreachable},
};

#[derive(Args)]
pub(crate) struct Healthcheck {
    #[command(flatten)]
    observe: ObserveArguments,
    /// Check that the process is alive instead of ready
    #[arg(long)]
    live: bool,
}

pub(crate) async fn run(healthcheck: Healthcheck, console: &Console) -> Result<(), Failure> {
    let (path, wanted) = match healthcheck.live {
        true => ("/healthz", "alive"),
        false => ("/readyz", "ready"),
    };
    let observe = healthcheck.observe.listener(console)?;
    let (status, _) = observe.get(path).await.map_err(unreachable)?;
    if !status.is_success() {
        return Err(Failure::failed(format!(
            "expected Keyside to be {wanted}, found status {status} from {path}"
        ))
        .next("Its log says what it waits for, or why it is draining."));
    }
    console.print(&json!({ "status": wanted }), || format!("{wanted}\n"))
}

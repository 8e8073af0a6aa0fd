//! The metrics that the binary adds to the proxy's: those of credentials, the store and the process.

mod budgets;
mod declared;
mod inventory;
mod scraped;
mod smoke;
mod store;
mod traffic;

use keyside_config::Catalogue;
use prometheus::{IntGauge, Opts, Registry, Result, process_collector::ProcessCollector};

pub(crate) use self::smoke::register as register_smoke;
use crate::backing::Backing;

/// Registers the metrics of credentials, of the store if there is one, and of the process.
pub(crate) fn register(metrics: &Registry, backing: &Backing, catalogue: &Catalogue) -> Result<()> {
    if let Some(registry) = backing.registry() {
        inventory::register(metrics, registry.clone(), catalogue)?;
        store::register(metrics, registry.clone())?;
    }
    budgets::register(metrics, backing.resolver())?;
    declared::register(metrics, backing.clone())?;
    traffic::register(metrics, backing.clone(), catalogue)?;
    register_process(metrics)
}

/// Registers those that need no store: while a start waits for a key service there are no others.
pub(crate) fn register_process(metrics: &Registry) -> Result<()> {
    let build = Opts::new("keyside_build_info", "The running version; always 1.");
    let build = IntGauge::with_opts(build.const_label("version", env!("CARGO_PKG_VERSION")))?;
    build.set(1);
    metrics.register(Box::new(build))?;
    metrics.register(Box::new(ProcessCollector::for_self()))
}

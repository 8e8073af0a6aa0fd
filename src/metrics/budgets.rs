//! Metrics of limits on spend: a new day lowers them without a write.

use keyside_credentials::{Budget, Resolver};
use prometheus::{GaugeVec, Opts};

use super::scraped::Metrics;

/// Registers how much of each limit is used. Only what has limits has series.
pub(super) fn register(
    metrics: &prometheus::Registry,
    resolver: Resolver,
) -> prometheus::Result<()> {
    let mut budgets = Metrics::default();
    let credentials = Opts::new(
        "keyside_credential_limit_used_ratio",
        "How much of a credential's limit for the UTC day is used; requests are refused from 1 on.",
    );
    let labels = ["workspace", "provider", "label", "limit"];
    let credentials = budgets.add(GaugeVec::new(credentials, &labels)?);
    let workspaces = Opts::new(
        "keyside_workspace_limit_used_ratio",
        "How much of a workspace's limit for the UTC day is used; requests are refused from 1 on.",
    );
    let workspaces = budgets.add(GaugeVec::new(workspaces, &["workspace", "limit"])?);
    budgets.register(metrics, move || {
        // A limit that was removed has no series.
        credentials.reset();
        workspaces.reset();
        for budget in resolver.budgets() {
            read(&budget, &credentials, &workspaces);
        }
    })
}

fn read(budget: &Budget, credentials: &GaugeVec, workspaces: &GaugeVec) {
    let (limits, usage) = (budget.limits, &budget.usage);
    let both = [
        ("requests", limits.requests_per_day, usage.requests_today),
        ("tokens", limits.tokens_per_day, usage.tokens_today),
    ];
    for (name, limit, used) in both {
        let (Some(limit), Some(used)) = (limit, used) else {
            continue;
        };
        let workspace = budget.workspace.as_str();
        let gauge = match &budget.credential {
            Some((provider, label)) => {
                let labels = [workspace, provider.as_str(), label.as_str(), name];
                credentials.with_label_values(&labels)
            }
            None => workspaces.with_label_values(&[workspace, name]),
        };
        // Exact enough: limits are far below 2^53.
        gauge.set(used as f64 / limit.get() as f64);
    }
}

//! Metrics of limits on spend, read at each scrape: a new day lowers them without a write.

use keyside_credentials::{Budget, Resolver};
use prometheus::{
    GaugeVec, Opts,
    core::{Collector, Desc},
    proto::MetricFamily,
};

/// Collects how much of each limit is used. Only what has limits has series.
pub(crate) struct BudgetUse {
    resolver: Resolver,
    /// `keyside_credential_limit_used_ratio{workspace,provider,label,limit}`.
    credentials: GaugeVec,
    /// `keyside_workspace_limit_used_ratio{workspace,limit}`.
    workspaces: GaugeVec,
}

impl BudgetUse {
    pub(crate) fn new(resolver: Resolver) -> prometheus::Result<Self> {
        let credentials = Opts::new(
            "keyside_credential_limit_used_ratio",
            "How much of a credential's limit for the UTC day is used; requests are refused from 1 on.",
        );
        let workspaces = Opts::new(
            "keyside_workspace_limit_used_ratio",
            "How much of a workspace's limit for the UTC day is used; requests are refused from 1 on.",
        );
        let of_credential = ["workspace", "provider", "label", "limit"];
        Ok(Self {
            resolver,
            credentials: GaugeVec::new(credentials, &of_credential)?,
            workspaces: GaugeVec::new(workspaces, &["workspace", "limit"])?,
        })
    }

    fn read(&self, budget: &Budget) {
        let Budget {
            workspace,
            credential,
            limits,
            usage,
        } = budget;
        let both = [
            ("requests", limits.requests_per_day, usage.requests_today),
            ("tokens", limits.tokens_per_day, usage.tokens_today),
        ];
        for (name, limit, used) in both {
            let (Some(limit), Some(used)) = (limit, used) else {
                continue;
            };
            let gauge = match credential {
                Some((provider, label)) => {
                    let labels = [workspace.as_str(), provider.as_str(), label.as_str(), name];
                    self.credentials.with_label_values(&labels)
                }
                None => self
                    .workspaces
                    .with_label_values(&[workspace.as_str(), name]),
            };
            gauge.set(ratio(used, limit.get()));
        }
    }
}

/// Exact enough: limits are far below 2^53.
fn ratio(used: u64, limit: u64) -> f64 {
    used as f64 / limit as f64
}

impl Collector for BudgetUse {
    fn desc(&self) -> Vec<&Desc> {
        let all: [&dyn Collector; 2] = [&self.credentials, &self.workspaces];
        all.into_iter().flat_map(Collector::desc).collect()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        // A limit that was removed has no series.
        self.credentials.reset();
        self.workspaces.reset();
        for budget in self.resolver.budgets() {
            self.read(&budget);
        }
        let all: [&dyn Collector; 2] = [&self.credentials, &self.workspaces];
        all.into_iter().flat_map(Collector::collect).collect()
    }
}

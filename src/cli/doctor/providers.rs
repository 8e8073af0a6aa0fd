//! Checks that the providers in use can be reached, over the same route as requests. All at the
//! same time; no key is sent.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use keyside_config::{BaseUrl, Catalogue, Provider, ProviderId, Settings, Upstream};
use keyside_proxy::{Egress, Reachable, Unreachable, check_reachable};
use tokio::task::JoinSet;

use super::{PATIENCE, clock::Report, finding::Finding};

/// The providers in use, each with an endpoint if known.
pub(super) struct ProvidersInUse {
    pub(super) hosts: BTreeSet<(ProviderId, Option<String>)>,
    /// Whether the list is complete: everything that may name a provider was read.
    pub(super) is_complete: bool,
}

/// What to check, by host: a provider may have several.
#[derive(Default)]
struct Targets {
    by_name: BTreeMap<String, (Arc<Provider>, BaseUrl)>,
    not_checked: Vec<Finding>,
}

/// With `all`, also checks providers that are not in use.
pub(super) async fn check(
    settings: &Settings,
    egress: Egress,
    used: ProvidersInUse,
    all: bool,
) -> Report {
    let mut report = Report::default();
    let targets = Targets::of(&settings.catalogue, used.hosts, all);
    report.findings.extend(targets.not_checked);
    let (egress, proxy) = (Arc::new(egress), Arc::new(settings.proxy.clone()));
    let mut trying = JoinSet::new();
    for (name, (provider, base)) in targets.by_name {
        let (egress, proxy) = (egress.clone(), proxy.clone());
        trying.spawn(async move {
            let reached = check_reachable(&egress, &proxy, &provider, &base, PATIENCE).await;
            (name, base, reached)
        });
    }
    let mut tried = BTreeMap::new();
    while let Some(Ok((name, base, reached))) = trying.join_next().await {
        if let Ok(Reachable { date, .. }) = &reached {
            report.clock.add_date(base.to_string(), date.as_deref());
        }
        tried.insert(name.clone(), finding(name, &base, reached));
    }
    report.findings.extend(tried.into_values());
    if report.findings.is_empty() {
        report.findings.push(none_checked(used.is_complete));
    }
    report
}

fn none_checked(is_complete: bool) -> Finding {
    match is_complete {
        true => Finding::ok(
            "providers",
            "no credential is in use, so none was checked; --all checks every provider",
        ),
        false => Finding::warn(
            "providers",
            "none was checked: the store was not read completely, so its credentials are not known",
        )
        .fix("Fix the store, or check every provider: `keyside doctor --all`."),
    }
}

fn finding(name: String, base: &BaseUrl, reached: Result<Reachable, Unreachable>) -> Finding {
    match reached {
        Ok(Reachable {
            via: Some(proxy), ..
        }) => Finding::ok(name, format!("{base} is reached through {proxy}")),
        Ok(Reachable { via: None, .. }) => Finding::ok(name, format!("{base} is reached directly")),
        Err(Unreachable { cause, remedy }) => {
            Finding::fail(name, format!("{base} is not reached: {cause}")).fix(remedy)
        }
    }
}

impl Targets {
    fn of(catalogue: &Catalogue, used: BTreeSet<(ProviderId, Option<String>)>, all: bool) -> Self {
        let mut targets = Self::default();
        for (id, endpoint) in used {
            match catalogue.get(&id) {
                Some(provider) => targets.add(provider, endpoint.as_deref()),
                None => {
                    let said = "there are credentials for it, but it is not in the settings";
                    let fix = format!("Put [providers.{id}] back, or revoke its credentials.");
                    let finding = Finding::warn(provider_name(&id), said).fix(fix);
                    targets.not_checked.push(finding);
                }
            }
        }
        if all {
            for provider in catalogue.iter().filter(|provider| is_remote(provider)) {
                targets.add(provider, None);
            }
        }
        targets
    }

    fn add(&mut self, provider: &Arc<Provider>, endpoint: Option<&str>) {
        let id = provider.id.as_str();
        let found = match (&provider.upstream, endpoint) {
            (Upstream::Fixed(base), _) => Ok((provider_name(id), base.clone())),
            (Upstream::PerCredential(rule), Some(endpoint)) => rule
                .accept(endpoint)
                .map(|base| (format!("provider {id} at {}", base.host), base))
                .map_err(|error| Finding::fail(provider_name(id), error)),
            // A running Keyside reports only that there are credentials for it.
            (Upstream::PerCredential(_), None) => Err(Finding::warn(
                provider_name(id),
                "not checked: each credential names its own host, which is only in the store",
            )
            .fix("Stop that Keyside and run doctor again to check them.")),
        };
        match found {
            Ok((name, base)) => {
                self.by_name.insert(name, (provider.clone(), base));
            }
            Err(finding) => self.not_checked.push(finding),
        }
    }
}

/// Whether it is on another machine. A local provider, such as the sandbox of `keyside demo`, need
/// not run if nobody has a key for it.
fn is_remote(provider: &Provider) -> bool {
    let is_remote = matches!(&provider.upstream, Upstream::Fixed(base) if !base.is_loopback());
    is_remote && provider.has_address()
}

fn provider_name(id: &str) -> String {
    format!("provider {id}")
}

#[cfg(test)]
mod tests {
    use super::{super::finding::State, *};

    fn targets(used: &[(&str, Option<&str>)], all: bool) -> Targets {
        let used = used
            .iter()
            .map(|(id, endpoint)| (id.parse().unwrap(), endpoint.map(str::to_owned)))
            .collect();
        Targets::of(&Catalogue::builtin(), used, all)
    }

    #[test]
    fn the_providers_in_use_are_tried_at_the_hosts_of_their_credentials() {
        let azure = Some("https://a.openai.azure.com");
        let targets = targets(&[("azure-openai", azure), ("openai", None)], false);
        let names: Vec<_> = targets.by_name.keys().map(String::as_str).collect();
        let at = "provider azure-openai at a.openai.azure.com";
        assert_eq!(names, [at, "provider openai"]);
        assert!(targets.not_checked.is_empty());
    }

    #[test]
    fn no_credential_is_in_use_only_where_all_of_them_are_known() {
        assert_eq!(none_checked(true).state, State::Ok);
        let unknown = none_checked(false);
        assert_eq!(unknown.state, State::Warn);
        assert!(!unknown.to_string().contains("no credential"), "{unknown}");
    }

    #[test]
    fn a_provider_that_cannot_be_checked_is_reported() {
        let targets = targets(&[("azure-openai", None), ("gone", None)], false);
        assert!(targets.by_name.is_empty());
        let states: Vec<_> = targets
            .not_checked
            .iter()
            .map(|found| found.state)
            .collect();
        assert_eq!(states, [State::Warn, State::Warn]);
    }

    #[test]
    fn a_stored_endpoint_outside_of_the_provider_s_rule_is_not_connected_to() {
        let targets = targets(&[("azure-openai", Some("https://169.254.169.254"))], false);
        assert!(targets.by_name.is_empty());
        assert_eq!(targets.not_checked[0].state, State::Fail);
    }

    #[test]
    fn all_are_the_whole_catalogue_but_for_hosts_that_credentials_name() {
        let targets = targets(&[], true);
        assert!(targets.by_name.len() > 10);
        assert!(!targets.by_name.contains_key("provider sandbox"));
        assert!(targets.not_checked.is_empty());
    }
}

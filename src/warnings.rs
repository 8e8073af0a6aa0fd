//! Warnings about settings that can be run but are probably wrong. `serve` logs them at the start
//! and `check` prints them, in the same words.

use keyside_config::{
    Catalogue, EgressProxy, ListenAddress, Listener, Provider, Settings, SourceReference, Store,
};
use keyside_credentials::{is_open_to_others, source::file_warning};
use keyside_proxy::ProxyVariables;

/// One warning per finding, with the remedy.
pub(crate) fn of(settings: &Settings) -> Vec<String> {
    let listeners = settings.proxy.listeners.iter();
    let providers = settings.catalogue.iter();
    listeners
        .filter_map(open_to_the_network)
        .chain(environment(settings))
        .chain(cache_of_nothing(settings))
        .chain(readable_keys(settings))
        .chain(webhooks_of_nothing(settings))
        .chain(providers.flat_map(|provider| {
            mistyped(provider)
                .into_iter()
                .chain(repeated_prefix(provider))
        }))
        .collect()
}

/// Declared files that probably contain more than the key. Not for `serve`, which logs it when it
/// reads the secret, in Vault too.
pub(crate) fn of_secret_files(settings: &Settings) -> impl Iterator<Item = String> {
    let declared = settings.declared.iter().enumerate();
    declared.filter_map(|(index, declared)| {
        let SourceReference::File(path) = &declared.source else {
            return None;
        };
        let warning = file_warning(path)?;
        Some(format!(
            "credential[{index}].source: {}: {warning}",
            path.display()
        ))
    })
}

/// The data plane requires no token, so the network decides who can use the keys.
fn open_to_the_network(listener: &Listener) -> Option<String> {
    let ListenAddress::Tcp(address) = listener.address else {
        return None;
    };
    let reachable = !address.ip().to_canonical().is_loopback();
    (reachable && listener.workspaces.is_empty()).then(|| {
        format!(
            "proxy.listen: {address} can be reached from other machines, and anyone who reaches it can use the keys \
             of every workspace. Pin it to workspaces (`workspaces`), or listen on 127.0.0.1"
        )
    })
}

/// Proxy variables that have no effect, if the settings use them.
fn environment(settings: &Settings) -> Vec<String> {
    let mut providers = settings.catalogue.iter();
    let is_asked = settings.egress.proxy == EgressProxy::Environment
        || providers.any(|provider| provider.egress == Some(EgressProxy::Environment));
    match is_asked {
        true => ProxyVariables::from_process().warnings(),
        false => Vec::new(),
    }
}

/// The cache holds declared secrets only, so an operator may rely on a cache that stays empty.
fn cache_of_nothing(settings: &Settings) -> Option<String> {
    settings.vault.as_ref()?.cache.as_ref()?;
    let mut sources = settings.declared.iter().map(|declared| &declared.source);
    let is_in_vault = |source: &SourceReference| matches!(source, SourceReference::Vault(_));
    (!sources.any(is_in_vault)).then(|| {
        "vault.cache: it caches secrets that [[credential]] tables read from Vault, and no table \
         does, and stored keys with a secretRef are not cached; remove it"
            .to_owned()
    })
}

/// Keys of the listeners' certificates that every user of the machine can read. Kubernetes mounts
/// secrets like that by default, into a container with one user, so it is not an error.
fn readable_keys(settings: &Settings) -> impl Iterator<Item = String> {
    let listeners = [
        ("admin.tls", &settings.admin.tls),
        ("observe.tls", &settings.observe.tls),
    ];
    listeners.into_iter().filter_map(|(setting, tls)| {
        let path = &tls.as_ref()?.key_file;
        is_open_to_others(path).then(|| {
            let path = path.display();
            format!(
                "{setting}.key_file: {path} can be read by every user: chmod 600; in Kubernetes \
                 defaultMode: 0440 and fsGroup"
            )
        })
    })
}

/// Only `keyside serve`, which has a store, sends events.
fn webhooks_of_nothing(settings: &Settings) -> Option<String> {
    let is_unused = !settings.webhooks.is_empty() && settings.store == Store::None;
    is_unused.then(|| {
        "[[webhook]]: store.backend = \"none\" is for `keyside proxy`, which sends no webhooks; \
         remove the tables, or run `keyside serve`"
            .to_owned()
    })
}

/// A mistyped id adds a provider instead of changing the built-in one.
fn mistyped(provider: &Provider) -> Option<String> {
    let id = provider.id.as_str();
    let meant = Catalogue::probably_meant(id)?;
    Some(format!(
        "[providers.{id}] is a new provider; did you mean {meant}?"
    ))
}

/// Gateways document the base URL for SDKs, which ends with the prefix that Keyside's routes begin
/// with.
fn repeated_prefix(provider: &Provider) -> Option<String> {
    let repeated = provider.repeated_prefix()?;
    let (id, part, without) = (&provider.id, &repeated.part, &repeated.without);
    Some(format!(
        "providers.{id}.base_url ends with {part}, which the routes of this provider begin with: \
         requests go to {without}{part}{part}/…. Most likely it should be {without}"
    ))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::PermissionsExt};

    use keyside_config::{EnvironmentPin, Sources, Upstream};

    use super::*;

    fn warns(address: &str, workspaces: &[&str]) -> bool {
        let listener = Listener {
            address: address.parse().unwrap(),
            workspaces: workspaces.iter().map(|id| (*id).to_owned()).collect(),
            environment: EnvironmentPin::Any,
            peer_uids: Vec::new(),
        };
        open_to_the_network(&listener).is_some_and(|warning| warning.contains(address))
    }

    #[test]
    fn an_unpinned_listener_on_the_network_is_warned_of() {
        for address in [
            "0.0.0.0:7380",
            "[::]:7380",
            "10.1.2.3:7380",
            "[fd12::1]:7380",
        ] {
            assert!(warns(address, &[]), "{address}");
            assert!(!warns(address, &["acme"]), "{address}");
        }
        for address in [
            "127.0.0.1:7380",
            "127.0.0.2:7380",
            "[::1]:7380",
            "[::ffff:127.0.0.1]:7380",
            "unix:/run/keyside/proxy.sock",
        ] {
            assert!(!warns(address, &[]), "{address}");
        }
    }

    #[test]
    fn a_new_provider_that_is_called_nearly_like_a_known_one_is_warned_of() {
        let called = |id: &str| {
            let mut provider = Provider::clone(Catalogue::builtin().get("openai").unwrap());
            provider.id = id.parse().unwrap();
            mistyped(&provider)
        };
        let warning = called("opnai").unwrap();
        assert!(
            warning.contains("[providers.opnai] is a new provider; did you mean openai?"),
            "{warning}"
        );
        for id in ["openai", "openai-eu", "openai2", "local"] {
            assert_eq!(called(id), None, "{id}");
        }
    }

    #[test]
    fn a_base_url_that_repeats_the_routes_prefix_is_warned_of_with_the_right_one() {
        let mut provider = Provider::clone(Catalogue::builtin().get("openai").unwrap());
        assert_eq!(repeated_prefix(&provider), None);
        if let Upstream::Fixed(url) = &mut provider.upstream {
            url.path = "/llm/v1".into();
        }
        let warning = repeated_prefix(&provider).unwrap();
        for part in [
            "providers.openai.base_url ends with /v1",
            "requests go to https://api.openai.com/llm/v1/v1/…",
            "it should be https://api.openai.com/llm",
        ] {
            assert!(warning.contains(part), "no {part:?} in {warning}");
        }
    }

    #[test]
    fn a_listeners_key_that_every_user_can_read_is_warned_of() {
        let folder = tempfile::tempdir().unwrap();
        let key = folder.path().join("tls.key");
        fs::write(&key, "").unwrap();
        let shown = key.display().to_string();
        let variable = |name: &str, value: &str| {
            let name = format!("KEYSIDE_OBSERVE__TLS__{name}_FILE");
            (name, value.to_owned())
        };
        let sources = Sources {
            file: None,
            environment: [variable("CERTIFICATE", "tls.crt"), variable("KEY", &shown)].into(),
        };
        let settings = Settings::load(&sources).unwrap().settings;
        for (mode, expected) in [(0o644, 1), (0o640, 0), (0o600, 0)] {
            fs::set_permissions(&key, fs::Permissions::from_mode(mode)).unwrap();
            let warnings: Vec<_> = readable_keys(&settings).collect();
            assert_eq!(warnings.len(), expected, "{mode:o}: {warnings:?}");
            let named = format!("observe.tls.key_file: {shown} can be read");
            assert!(warnings.iter().all(|warning| warning.starts_with(&named)));
        }
    }
}

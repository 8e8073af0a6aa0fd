//! The lines that point a provider's SDKs at Keyside, to be copied.

use std::fmt::Write;

use keyside_config::{ListenAddress, Settings, Sources};
use serde_json::Value;

use crate::client::Client;

/// One line for each SDK that the catalogue knows for `provider`, or nothing: a key that was stored is stored, whether or
/// not there is more to say.
pub(crate) async fn of(
    client: &Client,
    sources: &Sources,
    workspace: &str,
    provider: &str,
) -> String {
    let Ok(catalogue) = client.get("/api/integrations/providers").await else {
        return String::new();
    };
    let Some(proxy) = proxy_address(sources) else {
        return String::new();
    };
    let providers = catalogue["items"].as_array().into_iter().flatten();
    let sdks = providers
        .filter(|known| known["id"] == provider)
        .flat_map(|known| known["sdks"].as_array().into_iter().flatten());
    let mut lines = String::new();
    for sdk in sdks {
        let (Some(name), Some(variable), Some(path)) = texts(sdk) else {
            continue;
        };
        let path = path.replace("{workspaceId}", workspace);
        // Writing to a string does not fail.
        let _ = writeln!(lines, "  {variable}=http://{proxy}{path}  # {name}");
    }
    lines
}

fn texts(sdk: &Value) -> (Option<&str>, Option<&str>, Option<&str>) {
    (
        sdk["name"].as_str(),
        sdk["variable"].as_str(),
        sdk["baseUrlPath"].as_str(),
    )
}

/// The first TCP listener, as this machine reaches it; a Unix socket has no URL that an SDK takes.
fn proxy_address(sources: &Sources) -> Option<String> {
    let settings = Settings::load(sources).ok()?.settings;
    let address = settings
        .proxy
        .listeners
        .iter()
        .find_map(|listener| match listener.address {
            ListenAddress::Tcp(address) => Some(address),
            ListenAddress::Unix(_) => None,
        })?;
    Some(super::healthcheck::reachable(address).to_string())
}

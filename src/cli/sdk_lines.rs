//! The lines that point a provider's SDKs at Keyside, to be copied into a shell.

use keyside_config::{DUMMY_KEY, Settings, Sources};
use serde::Deserialize;

use super::{proxy_address, shell};
use crate::client::Client;

/// An SDK as the admin API describes it.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sdk {
    name: String,
    variable: String,
    key_variables: Vec<String>,
    base_url_path: String,
}

/// Lines for each SDK that the catalogue knows for `provider`, or nothing: a key that was stored is stored, whether or
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
    let settings = Settings::load(sources).ok();
    let proxy = settings.and_then(|loaded| proxy_address::of(&loaded.settings, workspace));
    let Some(proxy) = proxy else {
        return String::new();
    };
    let address = format!("http://{}", proxy.address);
    let providers = catalogue["items"].as_array().into_iter().flatten();
    let sdks = providers
        .filter(|known| known["id"] == provider)
        .flat_map(|known| known["sdks"].as_array().into_iter().flatten())
        .filter_map(|sdk| Sdk::deserialize(sdk).ok());
    sdks.map(|sdk| sdk.lines(&address, workspace)).collect()
}

impl Sdk {
    fn lines(&self, address: &str, workspace: &str) -> String {
        let path = self.base_url_path.replace("{workspaceId}", workspace);
        let url = format!("{address}{path}");
        let Self { name, variable, .. } = self;
        let base_url = match shell::is_variable(variable) {
            true => shell::comment(name) + &shell::export(variable, &url),
            false => shell::comment(&format!("{name}: in code, {variable} = \"{url}\"")),
        };
        let keys = self.key_variables.iter();
        let keys: String = keys.map(|key| shell::export(key, DUMMY_KEY)).collect();
        format!("\n{base_url}{keys}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(variable: &str, key_variables: &[&str]) -> String {
        let sdk = Sdk {
            name: "an SDK".into(),
            variable: variable.into(),
            key_variables: key_variables.iter().map(|&key| key.into()).collect(),
            base_url_path: "/w/{workspaceId}/openai/v1".into(),
        };
        sdk.lines("http://127.0.0.1:7380", "acme")
    }

    #[test]
    fn a_variable_is_exported_with_the_workspace_in_its_path_and_a_dummy_key() {
        assert_eq!(
            lines("OPENAI_BASE_URL", &["OPENAI_API_KEY"]),
            "\n# an SDK\nexport OPENAI_BASE_URL=\"http://127.0.0.1:7380/w/acme/openai/v1\"\n\
             export OPENAI_API_KEY=\"keyside\"\n"
        );
    }

    #[test]
    fn an_option_in_code_is_a_comment_and_its_key_is_exported_all_the_same() {
        assert_eq!(
            lines("server_url", &["A", "B"]),
            "\n# an SDK: in code, server_url = \"http://127.0.0.1:7380/w/acme/openai/v1\"\n\
             export A=\"keyside\"\nexport B=\"keyside\"\n"
        );
    }
}

//! The shell lines that configure a provider's SDKs for Keyside.

use keyside_config::{DUMMY_KEY, ProxyAddress, shell};

use super::{
    Console,
    provider::{self, Provider, Sdk},
};

/// Returns the lines for each of a provider's SDKs; empty if the settings have no address for them,
/// since the key is stored anyway.
pub(crate) fn of(provider: &Provider, console: &Console, workspace: &str) -> String {
    let settings = console.settings().ok();
    let proxy = settings.and_then(|all| ProxyAddress::of(&all.proxy.listeners, workspace));
    let Some(proxy) = proxy else {
        return String::new();
    };
    let address = format!("http://{}", proxy.address);
    let sdks = provider.sdks.iter();
    sdks.map(|sdk| lines(sdk, &address, workspace)).collect()
}

fn lines(sdk: &Sdk, address: &str, workspace: &str) -> String {
    let Sdk { name, variable, .. } = sdk;
    let url = format!("{address}{}", provider::path(sdk, workspace));
    let base_url = match shell::is_variable(variable) {
        true => shell::comment(name) + &shell::export(variable, &url),
        false => shell::comment(&format!("{name}: in code, {variable} = \"{url}\"")),
    };
    let keys = sdk.key_variables.iter();
    let keys: String = keys.map(|key| shell::export(key, DUMMY_KEY)).collect();
    format!("\n{base_url}{keys}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(variable: &str, key_variables: &[&str]) -> String {
        let sdk = Sdk {
            name: "an SDK".into(),
            variable: variable.into(),
            key_variables: key_variables.iter().map(|&key| key.into()).collect(),
            base_url_path: "/w/{workspaceId}/openai/v1".into(),
        };
        lines(&sdk, "http://127.0.0.1:7380", "acme")
    }

    #[test]
    fn a_variable_is_exported_with_the_workspace_in_its_path_and_a_dummy_key() {
        assert_eq!(
            lines_of("OPENAI_BASE_URL", &["OPENAI_API_KEY"]),
            "\n# an SDK\nexport OPENAI_BASE_URL=\"http://127.0.0.1:7380/w/acme/openai/v1\"\n\
             export OPENAI_API_KEY=\"keyside\"\n"
        );
    }

    #[test]
    fn an_option_in_code_is_a_comment_and_its_key_is_exported_too() {
        assert_eq!(
            lines_of("server_url", &["A", "B"]),
            "\n# an SDK: in code, server_url = \"http://127.0.0.1:7380/w/acme/openai/v1\"\n\
             export A=\"keyside\"\nexport B=\"keyside\"\n"
        );
    }
}

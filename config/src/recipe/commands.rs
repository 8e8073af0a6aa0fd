//! The shell lines of a recipe, for `keyside env` and the admin page.

use super::Recipe;
use crate::shell;

impl Recipe {
    /// The hosts that the client must reach without a proxy; empty if the recipe leaves that alone.
    /// `listener` is the host of the proxy's address.
    pub fn no_proxy_hosts(&self, listener: &str) -> Vec<String> {
        if !self.no_proxy {
            return Vec::new();
        }
        let mut hosts: Vec<_> = LOOPBACK.map(str::to_owned).into();
        if !hosts.iter().any(|host| host == listener) {
            hosts.push(listener.to_owned());
        }
        hosts
    }

    /// The lines that set the recipe's environment variables, for a POSIX shell; empty if there is
    /// nothing to set. Exports last: if `eval` joins all lines into one, whatever follows an
    /// `export` is one more name to export. Without hosts, nothing is exempted from a proxy.
    pub fn commands(&self, no_proxy: &[String]) -> String {
        let mut lines: String = self.unset.iter().map(|name| shell::unset(name)).collect();
        if !no_proxy.is_empty() {
            lines += &shell::exempt_from_proxy(&no_proxy.join(","));
        }
        let variables = self.variables.iter();
        lines.extend(variables.map(|variable| shell::export(&variable.name, &variable.value)));
        lines
    }
}

const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_unset_exempt_and_then_export() {
        let recipe = Recipe::named("boto3").unwrap();
        let hosts = recipe.no_proxy_hosts("10.0.0.5");
        assert_eq!(hosts, ["localhost", "127.0.0.1", "::1", "10.0.0.5"]);
        let lines = recipe.commands(&hosts);
        let place = |text: &str| {
            lines
                .find(text)
                .unwrap_or_else(|| panic!("{text}: {lines}"))
        };
        let unset = place("unset AWS_BEARER_TOKEN_BEDROCK;");
        let exempt = place("localhost,127.0.0.1,::1,10.0.0.5");
        let export = place("export AWS_ACCESS_KEY_ID=");
        assert!(unset < exempt && exempt < export, "{lines}");
    }

    #[test]
    fn a_loopback_listener_is_not_listed_twice() {
        let recipe = Recipe::named("boto3").unwrap();
        assert_eq!(recipe.no_proxy_hosts("127.0.0.1").len(), 3);
    }
}

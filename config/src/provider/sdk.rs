//! How to point a provider's SDKs at Keyside.

use http::Method;
use serde::Deserialize;

use super::{ErrorShape, Route};

/// How to point one SDK at Keyside.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SdkLine {
    /// The SDK's name.
    pub name: String,
    /// The environment variable or code option that takes a base URL.
    pub variable: String,
    /// The part of the base URL after `http://HOST/w/{workspace}/{provider}`: `/v1`, or nothing.
    pub suffix: String,
    /// Environment variables that the SDK requires; set them to [`DUMMY_KEY`].
    #[serde(default)]
    pub key_variables: Vec<String>,
}

/// Sent by clients instead of a key: SDKs refuse an empty key, and Keyside removes every key that a
/// client sends.
pub const DUMMY_KEY: &str = "keyside";

/// An SDK that works with other providers too.
struct Common {
    shape: ErrorShape,
    name: &'static str,
    variable: &'static str,
    key_variable: &'static str,
    /// Paths that the SDK appends to its base URL. The first one that a route ends with determines
    /// the suffix.
    endpoints: &'static [&'static str],
}

/// The SDKs that work with a provider whose settings name none, according to its routes and their
/// error shapes.
pub(super) fn derived(routes: &[Route], usual: ErrorShape) -> Vec<SdkLine> {
    COMMON
        .iter()
        .filter_map(|sdk| {
            let of_shape = routes.iter().filter(|route| {
                route.error.unwrap_or(usual) == sdk.shape && route.methods.contains(&Method::POST)
            });
            let paths: Vec<_> = of_shape.map(|route| route.path.to_string()).collect();
            let suffix =
                |endpoint: &&str| paths.iter().find_map(|path| path.strip_suffix(*endpoint));
            let suffix = sdk.endpoints.iter().find_map(suffix)?;
            Some(SdkLine {
                name: sdk.name.to_owned(),
                variable: sdk.variable.to_owned(),
                suffix: suffix.to_owned(),
                key_variables: vec![sdk.key_variable.to_owned()],
            })
        })
        .collect()
}

const COMMON: [Common; 2] = [
    Common {
        shape: ErrorShape::OpenAi,
        name: "openai (Python, Node)",
        variable: "OPENAI_BASE_URL",
        key_variable: "OPENAI_API_KEY",
        endpoints: &[
            "/chat/completions",
            "/responses",
            "/completions",
            "/embeddings",
        ],
    },
    Common {
        shape: ErrorShape::Anthropic,
        name: "anthropic (Python, TypeScript)",
        variable: "ANTHROPIC_BASE_URL",
        key_variable: "ANTHROPIC_API_KEY",
        endpoints: &["/v1/messages"],
    },
];

#[cfg(test)]
mod tests {
    use crate::{Catalogue, Provider, catalogue, layers::Node};

    /// The provider `mine` of these settings.
    fn mine(settings: &str) -> Provider {
        let over = Node::builtin(settings);
        let mut layer = catalogue::layer(Some(&over));
        layer.merge(over);
        let built = layer.read().and_then(Catalogue::build).unwrap();
        Provider::clone(built.get("mine").unwrap())
    }

    #[track_caller]
    fn check(settings: &str, expected: &[(&str, &str)]) {
        let provider = mine(&format!(
            "[mine]\nbase_url = 'https://llm.example'\n{settings}"
        ));
        let lines: Vec<_> = provider
            .sdk
            .iter()
            .map(|line| (line.variable.as_str(), line.suffix.as_str()))
            .collect();
        assert_eq!(lines, expected, "{settings}");
    }

    #[test]
    fn a_provider_of_ones_own_is_for_openais_sdk_unless_it_says_otherwise() {
        check("", &[("OPENAI_BASE_URL", "/v1")]);
    }

    #[test]
    fn the_suffix_is_what_its_routes_have_before_the_sdks_endpoint() {
        check(
            "routes = ['GET /openai/v1/models', 'POST /openai/v1/responses']",
            &[("OPENAI_BASE_URL", "/openai/v1")],
        );
        check(
            "routes = ['POST /chat/completions']",
            &[("OPENAI_BASE_URL", "")],
        );
        check("routes = ['POST /v1/rerank']", &[]);
        check("routes = ['GET /v1/responses']", &[]);
    }

    #[test]
    fn the_error_shape_tells_whose_sdk_it_is_for() {
        check(
            "error = 'anthropic'\nroutes = ['POST /v1/messages']",
            &[("ANTHROPIC_BASE_URL", "")],
        );
        check(
            "routes = ['POST /v1/chat/completions', { request = 'POST /anthropic/v1/messages', error = 'anthropic' }]",
            &[
                ("OPENAI_BASE_URL", "/v1"),
                ("ANTHROPIC_BASE_URL", "/anthropic"),
            ],
        );
        check("error = 'message'", &[]);
    }

    #[test]
    fn configured_sdk_lines_replace_the_derived_ones() {
        check(
            "[[mine.sdk]]\nname = 'own'\nvariable = 'OWN_URL'\nsuffix = '/x'",
            &[("OWN_URL", "/x")],
        );
    }
}

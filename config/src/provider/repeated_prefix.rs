//! Detects a base URL that ends with the beginning of its routes: `https://gw.example/v1` with
//! routes `/v1/…`.

use super::{Provider, Upstream};
use crate::base_url::BaseUrl;

/// A base URL whose path ends with the beginning of its provider's routes, or with a whole route,
/// so that upstream paths would contain it twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RepeatedPrefix {
    /// The repeated part: one or more whole segments, such as `/v1`.
    pub part: String,
    /// The base URL without the repeated part, which is probably the right one.
    pub without: BaseUrl,
}

impl Provider {
    /// The part of the base URL's path that the routes repeat, if any. `None` for providers with a
    /// host per credential.
    pub fn repeated_prefix(&self) -> Option<RepeatedPrefix> {
        let Upstream::Fixed(url) = &self.upstream else {
            return None;
        };
        let parts = self.routes.iter().filter_map(|route| {
            let path = route.upstream_path(&route.path.to_string());
            let segments = literal_segments(&path);
            let beginnings = (1..=segments.len()).rev();
            let mut beginnings =
                beginnings.map(|count| format!("/{}", segments[..count].join("/")));
            beginnings.find(|beginning| url.path.ends_with(beginning.as_str()))
        });
        let part = parts.max_by_key(String::len)?;
        let path = url.path.strip_suffix(part.as_str())?.to_owned();
        let without = BaseUrl {
            path,
            ..url.clone()
        };
        Some(RepeatedPrefix { part, without })
    }
}

/// The segments of a route's path before the first one with a star.
fn literal_segments(path: &str) -> Vec<String> {
    let segments = path.split('/').skip(1).map(str::to_owned);
    segments.take_while(|part| !part.contains('*')).collect()
}

#[cfg(test)]
mod tests {
    use crate::{Catalogue, catalogue, layers::Node};

    /// Checks which base URL is suggested instead of `written`, for a provider with these routes.
    #[track_caller]
    fn check(written: &str, routes: &str, expected: Option<(&str, &str)>) {
        let over = Node::builtin(&format!(
            "[mine]\nbase_url = '{written}'\nroutes = [{routes}]"
        ));
        let mut layer = catalogue::layer(Some(&over));
        layer.merge(over);
        let built = layer.read().and_then(Catalogue::build).unwrap();
        let repeated = built.get("mine").unwrap().repeated_prefix();
        let repeated = repeated.map(|repeated| (repeated.part, repeated.without.to_string()));
        let expected = expected.map(|(part, url)| (part.to_owned(), url.to_owned()));
        assert_eq!(repeated, expected, "{written} and {routes}");
    }

    #[test]
    fn a_path_that_routes_begin_with_is_found() {
        let v1 = "'GET /v1/models', 'POST /v1/chat/completions'";
        let gateway = Some(("/v1", "https://gw.example"));
        check("https://gw.example/v1", v1, gateway);
        check("https://gw.example/v1/", v1, gateway);
        check(
            "https://gw.example/llm/v1",
            v1,
            Some(("/v1", "https://gw.example/llm")),
        );
        check(
            "https://gw.example/v1",
            "'POST /v1/chat/completions'",
            gateway,
        );
        check(
            "https://gw.example/v1",
            "'GET /v2/models', 'POST /v1/chat', 'POST /*/chat'",
            gateway,
        );
        check(
            "https://gw.example/llm/v1/messages",
            "'POST /v1/messages', 'GET /v1/models'",
            Some(("/v1/messages", "https://gw.example/llm")),
        );
        let groq = "'GET /openai/v1/models', 'POST /openai/v1/responses'";
        check(
            "https://gw.example/openai/v1",
            groq,
            Some(("/openai/v1", "https://gw.example")),
        );
        check(
            "https://gw.example/openai",
            groq,
            Some(("/openai", "https://gw.example")),
        );
        check(
            "https://gw.example/inference",
            "{ request = 'POST /v1/chat/completions', below = '/inference' }",
            Some(("/inference", "https://gw.example")),
        );
    }

    #[test]
    fn a_path_that_no_route_repeats_is_not() {
        let v1 = "'GET /v1/models', 'POST /v1/chat/completions'";
        for url in [
            "https://gw.example",
            "https://gw.example/openai",
            "https://gw.example/apiv1",
            "https://gw.example/v1/openai",
        ] {
            check(url, v1, None);
        }
        check("https://gw.example/v1", "'POST /*/chat'", None);
    }

    #[test]
    fn no_built_in_provider_repeats_its_path() {
        for provider in Catalogue::builtin().iter() {
            assert_eq!(provider.repeated_prefix(), None, "{}", provider.id);
        }
    }
}

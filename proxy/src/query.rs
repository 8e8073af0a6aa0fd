//! Removes query parameters that carry a credential or would override the checked method and path.
//!
//! Runs once for each request with a query. Allocates only if a name is not in normal form or a
//! parameter is removed. The other parameters stay byte for byte.

use std::borrow::Cow;

use keyside_config::{CredentialNames, NormalName};

use crate::overrides::is_override_parameter;

/// Removes the parameters that must not be forwarded. Servers split a query at `&`, some also at
/// `;` (as HTML 4.01 suggested in appendix B.2.2), so both are treated as separators.
pub(crate) fn forwardable<'a>(query: &'a str, credentials: &CredentialNames) -> Cow<'a, str> {
    let stays = |parameter: &&str| may_forward(parameter, credentials);
    if query.split(['&', ';']).all(|parameter| stays(&parameter)) {
        return Cow::Borrowed(query);
    }
    let kept = query.split('&').filter_map(|parameter| {
        let parts = parameter.split(';');
        // A server that splits only at `&` reads all of this as the value of the first name.
        let first = parts.clone().next().unwrap_or_default();
        stays(&first).then(|| parts.filter(stays).collect::<Vec<_>>().join(";"))
    });
    Cow::Owned(kept.collect::<Vec<_>>().join("&"))
}

/// Whether the names in a query are short enough together for [`forwardable`]. Each is read in every
/// way that some server reads it, which costs a hundred times what it costs to forward it; values are
/// only copied. Runs once for each request with a query.
pub(crate) fn has_short_names(query: &str) -> bool {
    // With the separator, so that parameters without a name count too.
    let lengths = query
        .split(['&', ';'])
        .map(|parameter| name(parameter).len() + 1);
    lengths.sum::<usize>() <= MAX_NAMES
}

fn name(parameter: &str) -> &str {
    parameter.split('=').next().unwrap_or_default()
}

fn may_forward(parameter: &str, credentials: &CredentialNames) -> bool {
    !NormalName::any_of_parameter(name(parameter), |name| {
        credentials.include(name) || is_override_parameter(name)
    })
}

/// Bytes. Calls of the providers' APIs have a few dozen.
const MAX_NAMES: usize = 4096;

#[cfg(test)]
mod tests {
    use keyside_config::Catalogue;

    use super::*;

    fn check(query: &str, expected: &str) {
        let names = Catalogue::builtin().credential_names();
        assert_eq!(forwardable(query, &names), expected, "{query}");
    }

    #[test]
    fn parameters_that_carry_a_credential_are_removed() {
        check("key=AIza&alt=sse", "alt=sse");
        check("alt=sse&KEY=x", "alt=sse");
        check("%6bey=x&alt=sse", "alt=sse");
        check("$key=x&alt=sse", "alt=sse");
        check("%24key=x&alt=sse", "alt=sse");
        check("%2524key=x&alt=sse", "alt=sse");
        check("access_token=x", "");
        check(
            "[key]=x&$[key]=x&client_key=x&preview_token=x&api_key[a]=x",
            "",
        );
        check("apikey&alt=sse&key[]=1&key[]=2&key=", "alt=sse");
        check("a=%20b&&key=1&a", "a=%20b&&a");
        check(
            "X-Amz-Credential=a&X-Amz-Signature=b&X-Amz-Date=c",
            "X-Amz-Date=c",
        );
    }

    #[test]
    fn parameters_that_name_another_method_are_removed() {
        check("$httpMethod=DELETE&alt=sse", "alt=sse");
        check("a=1;_method=DELETE", "a=1");
    }

    #[test]
    fn a_semicolon_hides_nothing() {
        check("a=1;key=x", "a=1");
        check("a=1;key=x;b=2&c=3", "a=1;b=2&c=3");
        check("a=1&amp;key=x", "a=1&amp");
        check("key=a;b=2&c=3", "c=3");
        check(";key=x", "");
    }

    #[test]
    fn names_are_limited_together_and_values_are_not() {
        let value = format!("a={}&b={}", "x".repeat(30_000), "%26".repeat(9_000));
        let many = "include[]=x&".repeat(300);
        for query in ["", "a=1", &value, &many, &";".repeat(4_095)] {
            assert!(has_short_names(query), "{}", &query[..query.len().min(40)]);
        }
        for repeated in ["&", ";", "a&", "a=1;", "&amp;", "?", "%26", "["] {
            let query = repeated.repeat(60_000 / repeated.len());
            assert!(!has_short_names(&query), "{repeated}");
        }
    }

    #[test]
    fn everything_else_is_forwarded_byte_for_byte() {
        for query in [
            "api-version=2024-10-21",
            "monkey=1&keyed",
            "a=1;b=2",
            "a=x;charset=utf-8&b",
            "a=%26key%3D1",
            "a=key=1",
            "pageToken=abc&pageSize=10",
            "$alt=json;enum-encoding=int&$fields=a(b,c)",
            "include[]=reasoning.encrypted_content",
            "metadata[method]=POST&metadata[session_key]=x&metadata%5Bauth%5D=x",
            "cursor_key=1&start_key=3&view_token=1&viewToken=1&resumption_token=2",
            "api_key_ids[]=key_1&api_key_ids=key_2",
            "",
        ] {
            check(query, query);
        }
    }
}

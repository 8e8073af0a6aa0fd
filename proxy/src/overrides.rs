//! Names of headers and parameters with which some servers override the method, path or host of the
//! request line.
//!
//! Method and path were checked, and host and port come from configuration. An upstream, or a
//! gateway in front of it, that honours such a field or parameter would act on a request that was
//! never checked. They are removed rather than refused, so that the request that was checked is the
//! one that is sent.

use keyside_config::NormalName;

/// Whether some server takes a header or trailer of this name as an override.
pub(crate) fn is_override_field(name: &NormalName<'_>) -> bool {
    // Telemetry of the OpenAI and Anthropic SDKs. X-Stainless-Helper-Method names a function of the
    // SDK, not an HTTP method.
    let is_sdk_telemetry = name.begins_with("xstainless");
    is_override(name) || (!is_sdk_telemetry && SUFFIXES.iter().any(|end| name.ends_with(end)))
}

/// Whether some server takes a query parameter of this name as an override. `image_url` and the
/// like are ordinary parameters; `x-…-url` is a header in a query, which some frameworks accept.
pub(crate) fn is_override_parameter(name: &NormalName<'_>) -> bool {
    let of_header = name.words().next() == Some("x");
    is_override(name)
        || name.words().eq(["method"])
        || (of_header && SUFFIXES.iter().any(|end| name.ends_with(end)))
}

fn is_override(name: &NormalName<'_>) -> bool {
    name.holds_any(infixes) || PREFIXES.iter().any(|prefix| name.begins_with(prefix))
}

/// The infixes by their first letter, as `holds_any` looks them up.
fn infixes(initial: u8) -> &'static [&'static str] {
    match initial {
        // `X-HTTP-Method-Override` and its relatives.
        b'o' => &["override"],
        // Google's `$httpMethod` and `$httpHeaders`: a method, and whole header fields, in the
        // query.
        b'h' => &["httpmethod", "httpheader"],
        _ => &[],
    }
}

/// Prefixes of fields that proxies add or honour: `X-Original-URL`, `X-Rewrite-URL`,
/// `X-Forwarded-Host`, `X-Envoy-Original-Path`, `X-HTTP-Host`.
const PREFIXES: [&str; 5] = ["xenvoy", "xforward", "xhttp", "xoriginal", "xrewrit"];

/// Suffixes of fields that name a request's target: `X-Host`, `Request-URI`, `X-Original-Method`.
const SUFFIXES: [&str; 7] = [
    "destination",
    "host",
    "method",
    "path",
    "scheme",
    "uri",
    "url",
];

#[cfg(test)]
mod tests {
    use http::HeaderName;

    use super::*;

    fn is_field(name: &str) -> bool {
        let name: HeaderName = name.parse().unwrap();
        is_override_field(&NormalName::of_header(&name))
    }

    fn is_parameter(written: &str) -> bool {
        NormalName::any_of_parameter(written, is_override_parameter)
    }

    #[test]
    fn fields_that_name_another_target_are_recognised() {
        for name in [
            "X-HTTP-Method-Override",
            "X_HTTP_Method_Override",
            "X-HTTP-Method",
            "X-Method-Override",
            "Method-Override",
            "X-Method",
            "X-Original-Method",
            "X-Original-URL",
            "X-Original-URI",
            "X-Original-Path",
            "X-OriginalUrl",
            "X-Rewrite-URL",
            "X-Rewritten-Path",
            "X-Override-URL",
            "X-Host",
            "X-HTTP-Host-Override",
            "X-Original-Host",
            "X-Forwarded-Host",
            "X-Forwarded-Prefix",
            "X-Forwarded-Uri",
            "X-Forwarded-Server",
            "X-Envoy-Original-Path",
            "X-Envoy-Original-Dst-Host",
            "X-Http-DestinationURL",
            "Request-URI",
            "Base-Url",
            "Destination",
            "Proxy-Host",
        ] {
            assert!(is_field(name), "{name}");
        }
    }

    #[test]
    fn parameters_that_name_another_target_are_recognised() {
        for name in [
            "_method",
            "$method",
            "$httpMethod",
            "%24httpMethod",
            "%2524HTTPMETHOD",
            "$httpHeaders",
            "http_method",
            "method",
            "method[]",
            "_method_override",
            "X-HTTP-Method-Override",
            "x_http_method_override",
            "X-Original-URL",
            "X-Forwarded-Host",
        ] {
            assert!(is_parameter(name), "{name}");
        }
    }

    #[test]
    fn similar_names_are_not_taken_for_overrides() {
        for name in [
            "Accept",
            "Content-Type",
            "HTTP-Referer",
            "Idempotency-Key",
            "OpenAI-Organization",
            "Traceparent",
            "X-Client-Request-Id",
            "X-Goog-Api-Client",
            "X-Stainless-Helper-Method",
            "X-Title",
        ] {
            assert!(!is_field(name), "{name}");
        }
        for name in [
            "",
            "$alt",
            "$prettyPrint",
            "api-version",
            "image_url",
            "include[]",
            "methods",
            "model",
            "original",
            "path",
            "payment_method",
            "url",
            "x",
        ] {
            assert!(!is_parameter(name), "{name}");
        }
    }
}

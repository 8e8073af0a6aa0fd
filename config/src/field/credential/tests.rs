use http::HeaderName;

use super::*;

fn is_credential_header(name: &str) -> bool {
    let name: HeaderName = name.parse().unwrap();
    is_credential(&NormalName::of_header(&name))
}

fn is_credential_parameter(written: &str) -> bool {
    NormalName::any_of_parameter(written, is_credential)
}

#[test]
fn credential_names_are_recognised() {
    for name in [
        "api-key",
        "api_key",
        "apikey",
        "Authorization",
        "Proxy-Authorization",
        "X-Forwarded-Authorization",
        "Cookie",
        "Cookie2",
        "Helicone-Auth",
        "Ocp-Apim-Subscription-Key",
        "Private-Token",
        "Signature-Input",
        "Token",
        "X-Access-Token",
        "X-Amz-Algorithm",
        "X-Amz-Credential",
        "X-Amz-Security-Token",
        "X-Amz-Signature",
        "X-Amz-SignedHeaders",
        "x-api-key",
        "X-Auth-Token",
        "X_Api_Key",
        "X-Functions-Key",
        "X-Goog-Api-Key",
        "X-Goog-Iam-Authority-Selector",
        "X-Goog-Iam-Authorization-Token",
        "X-Goog-Iap-Jwt-Assertion",
        "X-MS-Client-Principal",
        "X-MS-Token-AAD-Access-Token",
        "X-Portkey-Api-Key",
        "X-Vault-Token",
        "X-Pass",
        "X-PAT",
        "xi-api-key",
    ] {
        assert!(is_credential_header(name), "{name}");
    }
}

#[test]
fn credential_names_in_a_query_are_recognised_in_any_spelling() {
    for name in [
        "key",
        "KEY",
        "kEy",
        "$key",
        "%24key",
        "%2524key",
        "%6bey",
        "key%00",
        "key[]",
        "key[0]",
        "+key",
        "%u006bey",
        "%E2%84%AAey",
        "a%26key",
        "apikey",
        "apiKey",
        "api.key",
        "auth[token]",
        "subscription-key",
        "subscriptionKey",
        "SUBSCRIPTIONKEY",
        "myKey",
        "access_token",
        "accessToken",
        "bearer_token",
        "client_secret",
        "id_token",
        "oauth_token",
        "oauth2",
        "password",
        "sig",
        "token",
        "$token",
        "X-Amz-Credential",
        "X-Amz-Security-Token",
        "X-Goog-Signature",
        "AWSAccessKeyId",
        "GoogleAccessId",
    ] {
        assert!(is_credential_parameter(name), "{name}");
    }
}

/// Names from the SDKs in `tests/sdk` and from the providers' API references.
#[test]
fn headers_of_the_providers_sdks_are_not_credentials() {
    for name in [
        "Accept",
        "Accept-Language",
        "Anthropic-Beta",
        "Anthropic-Dangerous-Direct-Browser-Access",
        "Anthropic-Version",
        "Baggage",
        "Content-Type",
        "HTTP-Referer",
        "Idempotency-Key",
        "Last-Event-Id",
        "OpenAI-Beta",
        "OpenAI-Organization",
        "OpenAI-Project",
        "OpenAI-Safety-Identifier",
        "Request-Id",
        "Sec-WebSocket-Key",
        "Traceparent",
        "User-Agent",
        "X-Amz-Client-Token",
        "X-Amz-Content-Sha256",
        "X-Amz-Date",
        "X-Amz-Target",
        "X-Amzn-Bedrock-GuardrailIdentifier",
        "X-Amzn-Bedrock-PerformanceConfig-Latency",
        "X-Amzn-Bedrock-Trace",
        "Amz-Sdk-Invocation-Id",
        "Amz-Sdk-Request",
        "X-Client-Name",
        "X-Client-Request-Id",
        "X-Fern-SDK-Name",
        "X-Goog-Api-Client",
        "X-Goog-FieldMask",
        "X-Goog-Gcs-Idempotency-Token",
        "X-Goog-Request-Params",
        "X-Goog-User-Project",
        "X-Grok-Conv-Id",
        "X-MS-Client-Request-Id",
        "X-MS-OAI-Image-Generation-Deployment",
        "X-Prompt-Cache-Isolation-Key",
        "X-Server-Timeout",
        "X-Session-Affinity",
        "X-Stainless-Helper-Method",
        "X-Stainless-Package-Version",
        "X-Stainless-Retry-Count",
        "X-Title",
    ] {
        assert!(!is_credential_header(name), "{name}");
    }
    for name in [
        "",
        "$alt",
        "$fields",
        "$prettyPrint",
        "$.xgafv",
        "after",
        "after_id",
        "alt",
        "api-version",
        "before_id",
        "beta",
        "call_id",
        "deployment",
        "fields",
        "include[]",
        "intent",
        "keyed",
        "keys",
        "last_event_id",
        "limit",
        "max_tokens",
        "model",
        "monkey",
        "nextToken",
        "order",
        "pageSize",
        "pageToken",
        "page_token",
        "quotaUser",
        "sort_key",
        "starting_after",
        "stream",
        "uploadType",
    ] {
        assert!(!is_credential_parameter(name), "{name}");
    }
}

//! The rule that decides whether a name can belong to a credential.
//!
//! A rule instead of a list of names, because a list misses the name that the next provider uses.
//! The rule is deliberately broad: a false positive removes a field that a provider could do
//! without; a false negative lets a second credential through beside ours.

use super::NormalName;

/// Whether a header field, trailer or query parameter with this name can carry a credential, or
/// tells on whose behalf a request is made.
pub(crate) fn is_credential(name: &NormalName<'_>) -> bool {
    has_credential_word(name)
        || name.ends_with("auth")
        || (name.ends_with("token") && !is_position(name))
        || (name.holds_any(parts) && !is_filter(name))
}

/// Whether the name contains a word that always means a credential, ends with one that does at the
/// end, or ends with `key` without a word that makes it a lookup key.
fn has_credential_word(name: &NormalName<'_>) -> bool {
    let (mut last, mut finds_something) = ("", false);
    for word in name.words() {
        if CREDENTIAL_WORDS.contains(&word) {
            return true;
        }
        finds_something |= LOOKUP_WORDS.contains(&word);
        last = word;
    }
    let ends_in_key = last == "key" && !finds_something && !follows_position(name, "key");
    ends_in_key || matches!(last, "cred" | "creds" | "otp" | "pass" | "passcode" | "pat")
}

/// OpenAI's usage filter by API key ids, which are not secret.
fn is_filter(name: &NormalName<'_>) -> bool {
    name.words().eq(["api", "key", "ids"])
}

/// Whether the word before `kind`, or the beginning of the same word, refers to a position or an
/// attempt: `start_key`, `viewtoken`, `X-Amz-Client-Token`.
fn follows_position(name: &NormalName<'_>, kind: &str) -> bool {
    let (mut before, mut last) = ("", "");
    for word in name.words() {
        (before, last) = (last, word);
    }
    if last != kind {
        before = last.strip_suffix(kind).unwrap_or_default();
    }
    POSITION_WORDS.contains(&before)
}

/// A pagination token, or one that identifies an attempt.
fn is_position(name: &NormalName<'_>) -> bool {
    let mut tokens = POSITION_TOKENS.iter();
    tokens.any(|token| name.ends_with(token)) || follows_position(name, "token")
}

/// Parts that mark a credential anywhere in a name, by their first letter. Keys written as one word
/// are listed here, because `key` at the end of a word alone is no sign (`monkey`).
fn parts(initial: u8) -> &'static [&'static str] {
    match initial {
        b'a' => &[
            "accessid",
            "accesskey",
            "accesstoken",
            "adminkey",
            // Parts of signatures in a query, useless without the other parts (AWS SigV4, Google
            // V4).
            "amzalgorithm",
            "apikey",
            "apitoken",
            "appkey",
            "assertion",
            "authenticat",
            "authkey",
            // Matches `X-Goog-Iam-Authority-Selector` too.
            "authorit",
            "authoris",
            "authoriz",
            "authtoken",
        ],
        b'b' => &["bearer"],
        b'c' => &["clientkey", "cookie", "credential"],
        b'f' => &["functionskey"],
        b'g' => &["googalgorithm"],
        b'i' => &["impersonat"],
        b'm' => &["masterkey"],
        b'o' => &["oauthtoken"],
        b'p' => &[
            "passphrase",
            "passwd",
            "password",
            "principal",
            "privatekey",
        ],
        b'r' => &["refreshtoken"],
        b's' => &[
            "secret",
            "securitytoken",
            "serverkey",
            "servicekey",
            "sessionkey",
            "sessiontoken",
            "signature",
            "signedheaders",
            "signingkey",
            "subscriptionkey",
        ],
        b'u' => &["userkey"],
        _ => &[],
    }
}

/// Words that always mean a credential.
const CREDENTIAL_WORDS: [&str; 11] = [
    "auth", "authn", "authz", "hmac", "jwt", "oauth", "oauth2", "pwd", "saml", "sig", "sso",
];

/// Words that make a `key` one to look something up with.
const LOOKUP_WORDS: [&str; 12] = [
    "affinity",
    "cache",
    "dedup",
    "deduplication",
    "idempotency",
    "isolation",
    "partition",
    "routing",
    "shard",
    "sort",
    "surrogate",
    "websocket",
];

/// Words before `key` or `token` that refer to a position or an attempt.
const POSITION_WORDS: [&str; 11] = [
    "client",
    "continuation",
    "cursor",
    "idempotency",
    "page",
    "partition",
    "resumption",
    "retry",
    "sort",
    "start",
    "view",
];

/// Pagination tokens whose words are written as one.
const POSITION_TOKENS: [&str; 7] = [
    "continuationtoken",
    "cursortoken",
    "nexttoken",
    "pagetoken",
    "paginationtoken",
    "skiptoken",
    "synctoken",
];

#[cfg(test)]
mod tests;

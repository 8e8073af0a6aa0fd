//! The rule by which a name is taken for a credential's.
//!
//! A rule and not a list of names: a list misses what the next provider calls its key. It is wide on purpose. What it
//! takes wrongly is a field that a provider goes without; what it misses is a second credential beside ours.

use super::NormalName;

/// Whether a header field, a trailer or a query parameter of this name can carry a credential, or says whom a request is
/// to be taken for.
pub(crate) fn is_credential(name: &NormalName<'_>) -> bool {
    has_credential_word(name)
        || name.ends_with("auth")
        || (name.ends_with("token") && !is_position(name))
        || (name.holds_any(parts) && !is_filter(name))
}

/// A word that always means one; one that does as the last word; and `key` as the last, unless the others say that it finds
/// something.
fn has_credential_word(name: &NormalName<'_>) -> bool {
    let (mut last, mut finds_something) = ("", false);
    for word in name.words() {
        if matches!(
            word,
            "auth"
                | "authn"
                | "authz"
                | "hmac"
                | "jwt"
                | "oauth"
                | "oauth2"
                | "pwd"
                | "saml"
                | "sig"
                | "sso"
        ) {
            return true;
        }
        finds_something |= matches!(
            word,
            "affinity"
                | "cache"
                | "dedup"
                | "deduplication"
                | "idempotency"
                | "isolation"
                | "partition"
                | "routing"
                | "shard"
                | "sort"
                | "surrogate"
                | "websocket"
        );
        last = word;
    }
    let ends_in_key = last == "key" && !finds_something && !follows_position(name, "key");
    ends_in_key || matches!(last, "cred" | "creds" | "otp" | "pass" | "passcode" | "pat")
}

/// OpenAI's filter of usage by the ids of API keys, which are no secrets.
fn is_filter(name: &NormalName<'_>) -> bool {
    name.words().eq(["api", "key", "ids"])
}

/// Whether the word before `kind`, or what stands before it in the same word, says that it names a place or an attempt:
/// `start_key`, `viewtoken`, `X-Amz-Client-Token`.
fn follows_position(name: &NormalName<'_>, kind: &str) -> bool {
    let (mut before, mut last) = ("", "");
    for word in name.words() {
        (before, last) = (last, word);
    }
    if last != kind {
        before = last.strip_suffix(kind).unwrap_or_default();
    }
    matches!(
        before,
        "client"
            | "continuation"
            | "cursor"
            | "idempotency"
            | "page"
            | "partition"
            | "resumption"
            | "retry"
            | "sort"
            | "start"
            | "view"
    )
}

/// A token that says where to go on in a list, or which attempt a request belongs to.
fn is_position(name: &NormalName<'_>) -> bool {
    let ends_so = [
        "continuationtoken",
        "cursortoken",
        "nexttoken",
        "pagetoken",
        "paginationtoken",
        "skiptoken",
        "synctoken",
    ]
    .iter()
    .any(|position| name.ends_with(position));
    ends_so || follows_position(name, "token")
}

/// Parts that a credential's name holds anywhere, by their first letter. Keys that are written as one word are here, since
/// `key` at a word's end is no sign by itself (`monkey`).
fn parts(initial: u8) -> &'static [&'static str] {
    match initial {
        b'a' => &[
            "accessid",
            "accesskey",
            "accesstoken",
            "adminkey",
            // Of signatures in a query, which need the rest of them to mean anything (AWS's SigV4, Google's V4).
            "amzalgorithm",
            "apikey",
            "apitoken",
            "appkey",
            "assertion",
            "authenticat",
            "authkey",
            // `X-Goog-Iam-Authority-Selector` too.
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

#[cfg(test)]
mod tests;

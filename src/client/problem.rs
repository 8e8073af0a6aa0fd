//! Puts a problem document of the admin API into the command line's words: options for fields, commands for paths.

use std::fmt;

use serde::Deserialize;

/// A problem document (RFC 9457) as the admin API sends it.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Problem {
    #[serde(default, rename = "type")]
    kind: String,
    status: u16,
    detail: String,
    #[serde(default)]
    remedy: String,
    #[serde(default)]
    request_id: String,
    #[serde(default)]
    errors: Vec<FieldError>,
}

#[derive(Debug, Deserialize)]
struct FieldError {
    field: String,
    detail: String,
}

impl Problem {
    /// The last part of its `type`, as docs/API.md lists them.
    pub(super) fn kind(&self) -> &str {
        self.kind.rsplit(':').next().unwrap_or_default()
    }

    /// What to do about it: the server's own remedy, unless that speaks of HTTP requests.
    pub(super) fn next_step(&self) -> String {
        let kind = self.kind();
        match NEXT.iter().find(|(kinds, _)| kinds.contains(&kind)) {
            Some((_, next)) => (*next).to_owned(),
            None => about_keys(&self.remedy),
        }
    }
}

/// What the API says of credentials, which the command line calls keys. Names of settings and paths stay.
pub(crate) fn about_keys(said: &str) -> String {
    let word = |word: &str| match word.contains(['[', '/', '_', '`']) {
        true => word.to_owned(),
        false => word
            .replace("credential", "key")
            .replace("Credential", "Key"),
    };
    said.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind(), self.errors.as_slice()) {
            // The detail only names the fields that come after it.
            ("fields-invalid", [error]) => return error.fmt(f),
            ("fields-invalid", errors @ [_, ..]) => {
                f.write_str("some options are not as expected")?;
                return errors.iter().try_for_each(|error| write!(f, "\n  {error}"));
            }
            ("precondition-failed", _) => {
                return f.write_str("someone else changed it at the same moment");
            }
            _ => f.write_str(&about_keys(&self.detail))?,
        }
        // A server error is in the server's log under this id; a client error says all there is to know.
        match self.status >= 500 && !self.request_id.is_empty() {
            true => write!(f, " (request {})", self.request_id),
            false => Ok(()),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = &self.field;
        let detail = about_keys(&self.detail);
        let option = OPTIONS.iter().find(|(name, _)| name == field);
        match (option, field.as_str()) {
            (Some((_, option)), _) => write!(f, "{option}: {detail}"),
            // Errors of this field name the secret themselves.
            (None, "secret") => f.write_str(&detail),
            (None, name) if name.starts_with('(') => write!(f, "{name}: {detail}"),
            (None, name) => write!(f, "--{name}: {detail}"),
        }
    }
}

/// Fields whose option has another name.
const OPTIONS: [(&str, &str); 10] = [
    ("credentialId", "--key"),
    ("expiresAt", "--expires-at"),
    ("graceSeconds", "--grace"),
    ("id", "the id"),
    ("requestId", "the id"),
    ("runId", "--run-id"),
    ("usageTag", "--usage-tag"),
    ("version", "--to"),
    ("workspaceId", "--workspace"),
    ("workspaces", "--workspace"),
];

/// What to do about the kinds whose remedy speaks of HTTP requests.
const NEXT: [(&[&str], &str); 9] = [
    (
        &["unauthenticated"],
        "Give a good token with --token-file or KEYSIDE_TOKEN; `keyside serve` leaves the owner's in its data folder.",
    ),
    (
        &["fields-invalid"],
        "Nothing was changed. `--help` says what each option takes.",
    ),
    (
        &["workspace-unknown"],
        "`keyside workspace list` lists the ones there are, `keyside workspace add ID` makes one.",
    ),
    (
        &["credential-unknown"],
        "`keyside key list` lists the ones there are.",
    ),
    (
        &["token-unknown"],
        "`keyside token list` lists the ones there are.",
    ),
    (
        &["nothing-in-grace"],
        "Put the secret that is wanted in place with `keyside key rotate`.",
    ),
    (
        &[
            "too-many-requests",
            "too-many-in-progress",
            "body-timeout",
            "precondition-failed",
        ],
        "Nothing was changed. Wait a moment and run the command again.",
    ),
    (
        &["erasure-incomplete"],
        "It goes on by itself. Run the command again: once nothing is left, it prints the receipt.",
    ),
    (
        &[
            "route-unknown",
            "method-not-allowed",
            "request-malformed",
            "media-type-unsupported",
            "precondition-required",
            "idempotency-key-reused",
        ],
        "Use the `keyside` of the same version as the server's (`keyside version`).",
    ),
];

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn problem(kind: &str, status: u16, errors: Value) -> Problem {
        let document = json!({
            "type": format!("urn:keyside:problem:{kind}"), "title": "t", "status": status, "detail": "It is so.",
            "remedy": "Do this.", "requestId": "req_1", "errors": errors,
        });
        serde_json::from_value(document).unwrap()
    }

    #[test]
    fn one_field_is_one_line_with_the_options_name() {
        for (field, said) in [
            ("label", "--label: is taken"),
            ("workspaceId", "--workspace: is taken"),
            ("usageTag", "--usage-tag: is taken"),
            ("graceSeconds", "--grace: is taken"),
            ("secret", "is taken"),
            ("(unknown parameter)", "(unknown parameter): is taken"),
        ] {
            let errors = json!([{ "field": field, "pointer": "#/x", "detail": "is taken" }]);
            assert_eq!(problem("fields-invalid", 422, errors).to_string(), said);
        }
        let errors =
            json!([{ "field": "label", "detail": "a" }, { "field": "expiresAt", "detail": "b" }]);
        assert_eq!(
            problem("fields-invalid", 422, errors).to_string(),
            "some options are not as expected\n  --label: a\n  --expires-at: b"
        );
    }

    #[test]
    fn what_its_fields_only_repeat_is_said_once() {
        let errors = json!([{ "field": "workspaceId", "detail": "no such workspace" }]);
        let unknown = problem("workspace-unknown", 404, errors);
        assert_eq!(unknown.to_string(), "It is so.");
        assert!(unknown.next_step().contains("keyside workspace add"));
        assert_eq!(
            problem("label-taken", 409, json!([])).next_step(),
            "Do this."
        );
    }

    #[test]
    fn only_what_went_wrong_on_the_other_side_comes_with_the_requests_id() {
        assert_eq!(
            problem("internal", 500, json!([])).to_string(),
            "It is so. (request req_1)"
        );
        assert_eq!(
            problem("last-owner", 409, json!([])).to_string(),
            "It is so."
        );
    }

    #[test]
    fn credentials_are_called_keys_and_settings_by_their_name() {
        for (said, expected) in [
            ("There is no such credential.", "There is no such key."),
            ("Credentials: two.", "Keys: two."),
            (
                "Change its [[credential]] table.",
                "Change its [[credential]] table.",
            ),
            ("See `credential_missing`.", "See `credential_missing`."),
        ] {
            assert_eq!(about_keys(said), expected);
        }
    }

    #[test]
    fn no_word_of_the_api_is_in_what_is_said_here() {
        let next = NEXT.iter().map(|(_, next)| *next);
        let options = OPTIONS.iter().map(|(_, option)| *option);
        for said in next.chain(options) {
            for word in [
                "/api",
                "If-Match",
                "ETag",
                "Bearer",
                "`errors`",
                "Retry-After",
            ] {
                assert!(!said.contains(word), "{said}");
            }
        }
    }
}

//! Translates problem documents of the admin API into the command line's terms: options for fields,
//! commands for paths.

use std::fmt;

use serde::Deserialize;

/// A problem document of the admin API (RFC 9457).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Problem {
    #[serde(default, rename = "type")]
    kind: String,
    status: u16,
    detail: String,
    #[serde(default)]
    remedy: String,
    /// Where a refusal of the proxy can be remedied.
    #[serde(default)]
    remediation: String,
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
    /// The last part of its `type`; docs/API.md lists them.
    pub(super) fn kind(&self) -> &str {
        self.kind.rsplit(':').next().unwrap_or_default()
    }

    /// The next step: where a refusal can be remedied, else the server's remedy, unless that is
    /// about HTTP requests.
    pub(super) fn next_step(&self) -> String {
        if !self.remediation.is_empty() {
            return self.remediation.clone();
        }
        let kind = self.kind();
        match NEXT.iter().find(|(kinds, _)| kinds.contains(&kind)) {
            Some((_, next)) => (*next).to_owned(),
            None => credentials_as_keys(&self.remedy),
        }
    }
}

/// Replaces credential with key, as the command line calls them. Names of settings and paths stay.
pub(crate) fn credentials_as_keys(text: &str) -> String {
    let word = |word: &str| match word.contains(['[', '/', '_', '`']) {
        true => word.to_owned(),
        false => word
            .replace("credential", "key")
            .replace("Credential", "Key"),
    };
    text.split(' ').map(word).collect::<Vec<_>>().join(" ")
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.kind(), self.errors.as_slice()) {
            // The detail only lists the fields that follow.
            ("fields-invalid", [error]) => return error.fmt(f),
            ("fields-invalid", errors @ [_, ..]) => {
                f.write_str("some options are invalid")?;
                return errors.iter().try_for_each(|error| write!(f, "\n  {error}"));
            }
            ("precondition-failed", _) => {
                return f.write_str("someone else changed it at the same moment");
            }
            _ => f.write_str(&credentials_as_keys(&self.detail))?,
        }
        // The server logged a server error under this id; a client error is complete as it is.
        match self.status >= 500 && !self.request_id.is_empty() {
            true => write!(f, " (request {})", self.request_id),
            false => Ok(()),
        }
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let field = &self.field;
        let detail = credentials_as_keys(&self.detail);
        let option = OPTIONS.iter().find(|(name, _)| name == field);
        match (option, field.as_str()) {
            (Some((_, option)), _) => write!(f, "{option}: {detail}"),
            // Errors of this field name the secret themselves.
            (None, "secret") => f.write_str(&detail),
            (None, name) if name.starts_with('(') => write!(f, "{name}: {detail}"),
            (None, name) => write!(f, "--{}: {detail}", kebab_case(name)),
        }
    }
}

/// The usual name of an option for a field: `usageTag` is `usage-tag`.
fn kebab_case(field: &str) -> String {
    let mut option = String::with_capacity(field.len() + 2);
    for character in field.chars() {
        if character.is_ascii_uppercase() {
            option.push('-');
        }
        option.push(character.to_ascii_lowercase());
    }
    option
}

/// API fields whose option has another name.
const OPTIONS: [(&str, &str); 9] = [
    ("credentialId", "--key"),
    ("graceSeconds", "--grace"),
    ("id", "the id"),
    ("prompt", "the prompt"),
    ("providers", "--provider"),
    ("requestId", "the id"),
    ("version", "--to"),
    ("workspaceId", "--workspace"),
    ("workspaces", "--workspace"),
];

/// Next steps for problems whose remedy is about HTTP requests.
const NEXT: [(&[&str], &str); 9] = [
    (
        &["unauthenticated"],
        "Give a valid token with --token-file or KEYSIDE_TOKEN. The owner's is in the data folder of the Keyside that answered, which may be another than the one of these settings.",
    ),
    (
        &["fields-invalid"],
        "Nothing was changed. `--help` says what each option takes.",
    ),
    (
        &["workspace-unknown"],
        "`keyside workspace list` lists the workspaces, `keyside workspace add ID` creates one.",
    ),
    (
        &["credential-unknown"],
        "`keyside key list` lists the keys.",
    ),
    (&["token-unknown"], "`keyside token list` lists the tokens."),
    (
        &["nothing-in-grace"],
        "Set the secret that you want with `keyside key rotate`.",
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
        "It continues in the background. Run the command again later: once it is finished, it prints the receipt.",
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
            "some options are invalid\n  --label: a\n  --expires-at: b"
        );
    }

    #[test]
    fn a_detail_is_not_repeated_by_its_fields() {
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
    fn only_a_server_error_comes_with_the_request_s_id() {
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
    fn a_refusal_of_the_proxy_leads_to_its_page() {
        let document = json!({
            "type": "urn:keyside:problem:preview-refused", "status": 409, "detail": "It was revoked.",
            "remedy": "Follow `remediation`.", "code": "credential_revoked",
            "remediation": "https://keys.example/keys",
        });
        let refused: Problem = serde_json::from_value(document).unwrap();
        assert_eq!(refused.next_step(), "https://keys.example/keys");
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
            assert_eq!(credentials_as_keys(said), expected);
        }
    }

    #[test]
    fn next_steps_and_options_contain_no_term_of_the_api() {
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

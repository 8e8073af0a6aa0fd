//! HTML forms. Fields are decoded into buffers that are wiped: one may hold a secret.

use std::{collections::BTreeMap, mem};

use axum::extract::{FromRequest, FromRequestParts, Request};
use percent_encoding::percent_decode;
use zeroize::Zeroizing;

use crate::{
    body::receive_form,
    problem::{Kind, Problem},
    random::digest,
    sessions::Session,
    state::AdminState,
};

/// The fields of a form outside of a session.
pub(super) struct Fields(Vec<(String, Zeroizing<String>)>);

/// The fields of a form of a session, whose CSRF token was checked.
pub(super) struct SessionForm(pub(super) Fields);

impl Fields {
    /// `application/x-www-form-urlencoded` (URL Standard, section 5.1).
    fn parse(body: &[u8]) -> Result<Self, Problem> {
        let pairs = body.split(|byte| *byte == b'&');
        let pairs = pairs.filter(|pair| !pair.is_empty());
        let fields = pairs.map(|pair| {
            let mut parts = pair.splitn(2, |byte| *byte == b'=');
            let name = decode(parts.next().unwrap_or_default())?;
            let value = decode(parts.next().unwrap_or_default())?;
            Some((name.to_string(), value))
        });
        fields
            .collect::<Option<_>>()
            .map(Self)
            .ok_or_else(malformed)
    }

    /// A field's text without the spaces around it; empty if the form does not have it.
    pub(super) fn text(&self, name: &str) -> &str {
        let field = self.0.iter().find(|(given, _)| given == name);
        field.map_or("", |(_, value)| value.trim())
    }

    /// The fields with these names that are not empty, as the API would get them: the types of
    /// `wire.rs` read them with the same rules.
    pub(super) fn json(&self, names: &[&str]) -> Zeroizing<Vec<u8>> {
        let given: BTreeMap<_, _> = names
            .iter()
            .map(|name| (*name, self.text(name)))
            .filter(|(_, text)| !text.is_empty())
            .collect();
        // The longest escape of one byte has six bytes; with quotes, colon and comma.
        let most = |(name, text): (&&str, &&str)| 6 * (name.len() + text.len()) + 6;
        let size: usize = given.iter().map(most).sum();
        let mut json = Zeroizing::new(Vec::with_capacity(size + 2));
        serde_json::to_writer(&mut *json, &given).expect("texts are written to memory");
        json
    }
}

impl FromRequest<AdminState> for Fields {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AdminState) -> Result<Self, Problem> {
        Self::parse(&receive_form(request, state).await?)
    }
}

impl FromRequest<AdminState> for SessionForm {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &AdminState) -> Result<Self, Problem> {
        let (mut parts, body) = request.into_parts();
        let session = Session::from_request_parts(&mut parts, state).await?;
        let request = Request::from_parts(parts, body);
        let fields = Fields::from_request(request, state).await?;
        match digest(fields.text("csrf")) == digest(&session.csrf) {
            true => Ok(Self(fields)),
            false => Err(not_of_this_session().refusing(&session.actor)),
        }
    }
}

/// Allocated at its full size at once: growing would leave unwiped copies of a prefix behind.
fn decode(text: &[u8]) -> Option<Zeroizing<String>> {
    let mut spaced = Zeroizing::new(Vec::<u8>::with_capacity(text.len()));
    spaced.extend(text.iter().map(|byte| match byte {
        b'+' => b' ',
        byte => *byte,
    }));
    let mut decoded = Zeroizing::new(Vec::<u8>::with_capacity(text.len()));
    decoded.extend(percent_decode(&spaced));
    let decoded = mem::take(&mut *decoded);
    match String::from_utf8(decoded) {
        Ok(text) => Some(Zeroizing::new(text)),
        Err(error) => {
            drop(Zeroizing::new(error.into_bytes()));
            None
        }
    }
}

fn malformed() -> Problem {
    let detail = "The form is not UTF-8.";
    Problem::new(
        Kind::RequestMalformed,
        detail,
        "Send the form from Keyside's own page.",
    )
}

fn not_of_this_session() -> Problem {
    Problem::new(
        Kind::CsrfTokenInvalid,
        "The form does not carry the CSRF token of this session, so nothing was changed.",
        "Go back, reload the page, and send the form again.",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_decoded_as_browsers_encode_them() {
        let fields = Fields::parse(b"name=Acme+Inc%2E&note=a%26b%3Dc&empty=&&flag").unwrap();
        let texts = ["name", "note", "empty", "flag", "absent"].map(|name| fields.text(name));
        assert_eq!(texts, ["Acme Inc.", "a&b=c", "", "", ""]);
    }

    #[test]
    fn fields_become_the_json_of_the_api() {
        let fields = Fields::parse(b"id=acme&name=%22A%22&csrf=x&note=").unwrap();
        let json = fields.json(&["id", "name", "note", "absent"]);
        assert_eq!(&**json, br#"{"id":"acme","name":"\"A\""}"#);
    }

    #[test]
    fn a_field_that_is_not_utf_8_is_refused() {
        assert!(Fields::parse(b"name=%ff").is_err());
        assert!(Fields::parse(b"%ff=name").is_err());
    }
}

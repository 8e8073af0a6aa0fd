//! HTML forms. Fields are decoded into buffers that are wiped: one may hold a secret.

use std::{collections::BTreeMap, mem};

use axum::extract::{FromRequest, FromRequestParts, Request};
use jiff::civil::Date;
use keyside_credentials::repeats_secret;
use percent_encoding::percent_decode;
use serde::Serialize;
use serde_json::Value;
use zeroize::Zeroizing;

use crate::{
    body::receive_form,
    form::{WHOLE_BODY, expect_few},
    problem::{Kind, Problem},
    sessions::Session,
    state::AdminState,
};

/// The fields of a form: as a browser sent them, or as a page fills them in.
#[derive(Default)]
pub(super) struct Fields(Vec<(String, Zeroizing<String>)>);

/// The fields of a form of a session, whose CSRF token was checked.
pub(super) struct SessionForm(pub(super) Fields);

/// A value that a form changes.
pub(super) struct StoredValue {
    /// For people.
    name: &'static str,
    field: &'static str,
    /// The hidden field that says what the value was when the form was made.
    seen: &'static str,
    /// What the value is now.
    text: String,
}

impl StoredValue {
    pub(super) fn new(
        name: &'static str,
        field: &'static str,
        seen: &'static str,
        text: String,
    ) -> Self {
        Self {
            name,
            field,
            seen,
            text,
        }
    }
}

impl Fields {
    /// `application/x-www-form-urlencoded` (URL Standard, section 5.1).
    fn parse(body: &[u8]) -> Result<Self, Problem> {
        let pairs = body.split(|byte| *byte == b'&');
        let pairs = pairs.filter(|pair| !pair.is_empty());
        expect_few(pairs.clone().count(), "fields", WHOLE_BODY)?;
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

    /// Fields that a page fills in.
    pub(super) fn filled<'a>(fields: impl IntoIterator<Item = (&'a str, String)>) -> Self {
        let fields = fields.into_iter();
        let fields = fields.map(|(name, text)| (name.to_owned(), Zeroizing::new(text)));
        Self(fields.collect())
    }

    /// A form for values, before anything is entered.
    pub(super) fn stored(values: &[StoredValue]) -> Self {
        let fields = values.iter().map(|value| (value.field, value.text.clone()));
        Self::filled(fields).made_for(values)
    }

    /// The same entries in a form that is made for these values. What was left as it was follows
    /// them, so that sending the form again does not undo another person's change.
    pub(super) fn made_for(mut self, values: &[StoredValue]) -> Self {
        let is_left = |value: &&StoredValue| self.text(value.field) == self.text(value.seen);
        let left = values.iter().filter(is_left).map(|value| value.field);
        let seen = values.iter().map(|value| value.seen);
        let outdated: Vec<_> = left.chain(seen).collect();
        self.0
            .retain(|(name, _)| !outdated.contains(&name.as_str()));
        let now = values
            .iter()
            .flat_map(|value| [value.field, value.seen].map(|name| (name, value.text.clone())));
        let now = now.filter(|(name, _)| outdated.contains(name));
        self.0.extend(Self::filled(now).0);
        self
    }

    /// The fields without the secret, and without those that repeat it: a key that was pasted into
    /// another field too must not come back in a page.
    pub(super) fn without_secret(mut self) -> Self {
        let secret = Zeroizing::new(self.text("secret").to_owned());
        self.0
            .retain(|(_, value)| !repeats_secret(value.trim(), secret.as_bytes()));
        self
    }

    /// A field's text without the spaces around it; empty if the form does not have it.
    pub(super) fn text(&self, name: &str) -> &str {
        let field = self.0.iter().find(|(given, _)| given == name);
        field.map_or("", |(_, value)| value.trim())
    }

    /// The fields with these names that are not empty, as the API would get them: the types of
    /// `wire.rs` read them with the same rules.
    pub(super) fn json(&self, names: &[&str]) -> Zeroizing<Vec<u8>> {
        self.json_with(names, &[])
    }

    /// Like [`Self::json`], with further fields that are no texts in the API.
    pub(super) fn json_with(&self, names: &[&str], others: &[(&str, Value)]) -> Zeroizing<Vec<u8>> {
        let texts = names.iter().map(|name| (*name, self.text(name)));
        let texts = texts.filter(|(_, text)| !text.is_empty());
        let others = others
            .iter()
            .map(|(name, value)| (*name, Given::Other(value)));
        let given: BTreeMap<_, _> = texts
            .map(|(name, text)| (name, Given::Text(text)))
            .chain(others)
            .collect();
        // The longest escape of one byte has six bytes; with quotes, colon and comma.
        let most = |(name, value): (&&str, &Given<'_>)| 6 * (name.len() + value.len()) + 6;
        let size: usize = given.iter().map(most).sum();
        let mut json = Zeroizing::new(Vec::with_capacity(size + 2));
        serde_json::to_writer(&mut *json, &given).expect("a map with names is written to memory");
        json
    }

    /// The start of a day in a field for dates, as the API takes times. Null if the field is empty,
    /// and what it holds otherwise.
    pub(super) fn day(&self, name: &str) -> Value {
        match self.text(name) {
            "" => Value::Null,
            text => match text.parse::<Date>() {
                Ok(day) => Value::String(format!("{day}T00:00:00Z")),
                Err(_) => Value::String(text.to_owned()),
            },
        }
    }

    /// The number in a field; null if it is empty, and what it holds otherwise.
    pub(super) fn number(&self, name: &str) -> Value {
        match self.text(name) {
            "" => Value::Null,
            text => text
                .parse::<u64>()
                .map_or_else(|_| Value::String(text.to_owned()), Value::from),
        }
    }

    /// What has changed since the form was made, in words; `nothing` is the word for an empty value.
    pub(super) fn changes(&self, nothing: &str, values: &[StoredValue]) -> String {
        let or_nothing = |value: &str| match value {
            "" => nothing.to_owned(),
            value => value.to_owned(),
        };
        let changes = values.iter().filter_map(|value| {
            let (from, to) = (or_nothing(self.text(value.seen)), or_nothing(&value.text));
            (from != to).then(|| format!("{} from {from} to {to}", value.name))
        });
        changes.collect::<Vec<_>>().join(", ")
    }

    /// Whether the provider is asked about a pasted key before it is stored: unless the person chose
    /// otherwise.
    pub(super) fn check_mode(&self) -> Value {
        match self.text("check") {
            "skip" => "skip".into(),
            _ => "required".into(),
        }
    }

    /// Whether a box is ticked.
    pub(super) fn is_ticked(&self, name: &str) -> bool {
        self.text(name) == "true"
    }
}

/// A value of the JSON that the API would get.
#[derive(Serialize)]
#[serde(untagged)]
enum Given<'a> {
    /// May be a secret.
    Text(&'a str),
    Other(&'a Value),
}

impl Given<'_> {
    /// At least a sixth of its length in JSON without the quotes.
    fn len(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Other(value) => value.to_string().len(),
        }
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
        match session.is_csrf_token(fields.text("csrf")) {
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
    fn days_and_numbers_become_what_the_api_takes_or_stay_for_it_to_refuse() {
        let fields =
            Fields::parse(b"on=2026-12-01&at=soon&most=5000&least=x&no=&yes=true").unwrap();
        let json = fields.json_with(
            &["yes"],
            &[
                ("at", fields.day("at")),
                ("least", fields.number("least")),
                ("most", fields.number("most")),
                ("never", fields.day("no")),
                ("on", fields.day("on")),
            ],
        );
        let expected = r#"{"at":"soon","least":"x","most":5000,"never":null,"on":"2026-12-01T00:00:00Z","yes":"true"}"#;
        assert_eq!(&**json, expected.as_bytes());
        assert!(fields.is_ticked("yes") && !fields.is_ticked("no"));
    }

    #[test]
    fn a_form_that_is_made_for_values_keeps_what_was_entered() {
        let values = |label: &str| {
            let label = label.to_owned();
            [StoredValue::new("Label", "label", "seenLabel", label)]
        };
        let fields = Fields::parse(b"label=mine&seenLabel=old").unwrap();
        let changes = fields.changes("nothing", &values("new"));
        assert_eq!(changes, "Label from old to new");
        let both =
            |fields: &Fields| ["label", "seenLabel"].map(|name| fields.text(name).to_owned());
        assert_eq!(both(&fields.made_for(&values("new"))), ["mine", "new"]);
        let left = Fields::parse(b"label=old&seenLabel=old").unwrap();
        assert_eq!(both(&left.made_for(&values("new"))), ["new", "new"]);
        assert_eq!(both(&Fields::stored(&values("new"))), ["new", "new"]);
    }

    #[test]
    fn a_secret_comes_back_in_no_field() {
        let sent = b"secret=canary-of-the-form&label=+canary-of-the-form&tag=ci";
        let fields = Fields::parse(sent).unwrap().without_secret();
        let texts = ["secret", "label", "tag"].map(|name| fields.text(name));
        assert_eq!(texts, ["", "", "ci"]);
    }

    #[test]
    fn a_field_that_is_not_utf_8_is_refused() {
        assert!(Fields::parse(b"name=%ff").is_err());
        assert!(Fields::parse(b"%ff=name").is_err());
    }
}

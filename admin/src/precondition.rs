//! The preconditions of a request: the revision that the client saw (`If-Match`, RFC 9110 section
//! 13.1.1), and its retry key (`Idempotency-Key`, draft-ietf-httpapi-idempotency-key-header).

use axum::extract::FromRequestParts;
use http::{HeaderMap, HeaderName, header, request::Parts};

use crate::{
    entity_tag::{Lineage, SeenState, listed},
    problem::{FieldError, Kind, Problem},
};

/// The state that the client expects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// No If-Match header.
    Absent,
    /// `*`: any state.
    Any,
    /// A tag; `None` for one that is not ours.
    State(Option<SeenState>),
}

impl IfMatch {
    /// The tag in the hidden field of a form: a form without one expects a state that never is.
    pub(crate) fn of_form(tag: &str) -> Self {
        Self::State(SeenState::parse(tag))
    }

    /// For changes that require the header: the expected revision, or `None` for any. Without the
    /// header the response is 428. `lineage` is that of the resource.
    pub(crate) fn required(self, lineage: Lineage) -> Result<Option<u64>, Problem> {
        match self {
            Self::Absent => Err(Problem::new(
                Kind::PreconditionRequired,
                "This change requires an If-Match header. Nothing was changed.",
                "Read the resource and send its ETag as If-Match; `If-Match: *` changes any state.",
            )),
            seen => Ok(seen.expected(lineage)),
        }
    }

    /// For changes with an optional header: the expected revision, or `None` for any. `lineage` is
    /// that of the resource.
    pub(crate) fn expected(self, lineage: Lineage) -> Option<u64> {
        match self {
            Self::Absent | Self::Any => None,
            Self::State(Some(seen)) if seen.lineage == lineage => Some(seen.revision),
            Self::State(_) => Some(NEVER),
        }
    }

    /// For actions on the current state: 412 if the client expects another. `lineage` and
    /// `revision` are those of the resource.
    pub(crate) fn check(self, lineage: Lineage, revision: u64) -> Result<(), Problem> {
        match self.expected(lineage) {
            Some(seen) if seen != revision => Err(Problem::superseded()),
            _ => Ok(()),
        }
    }
}

impl<S: Sync> FromRequestParts<S> for IfMatch {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        if !parts.headers.contains_key(header::IF_MATCH) {
            return Ok(Self::Absent);
        }
        let mut tags = listed(&parts.headers, header::IF_MATCH);
        match (tags.next(), tags.next()) {
            (Some("*"), None) => Ok(Self::Any),
            (Some(tag), None) if is_entity_tag(tag) => Ok(Self::State(SeenState::parse(tag))),
            _ => {
                let expected = "expected one entity tag in quotes, or *";
                Err(malformed(header::IF_MATCH, expected))
            }
        }
    }
}

/// The client's key for safe retries. It is not secret and may be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct IdempotencyKey(pub(crate) Option<String>);

impl<S: Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Problem> {
        if !parts.headers.contains_key(IDEMPOTENCY_KEY) {
            return Ok(Self(None));
        }
        let key = idempotency_key(&parts.headers);
        let expected = "expected one text of 1 to 128 visible ASCII characters";
        key.map(|key| Self(Some(key.to_owned())))
            .ok_or_else(|| malformed(IDEMPOTENCY_KEY, expected))
    }
}

/// The draft quotes the key, but most clients send it bare. Both forms are the same key.
fn idempotency_key(headers: &HeaderMap) -> Option<&str> {
    let mut given = headers.get_all(IDEMPOTENCY_KEY).iter();
    let value = given.next()?.to_str().ok()?.trim();
    let quoted = value
        .strip_prefix('"')
        .and_then(|value| value.strip_suffix('"'));
    let key = quoted.unwrap_or(value);
    let visible = |byte: u8| byte.is_ascii_graphic() && !b"\"\\".contains(&byte);
    let fits = (1..=128).contains(&key.len()) && key.bytes().all(visible);
    (fits && given.next().is_none()).then_some(key)
}

/// Whether this is an entity tag (RFC 9110 section 8.8.3) of any server. A comma ends a tag here,
/// because it separates list members.
fn is_entity_tag(tag: &str) -> bool {
    let quoted = tag.strip_prefix("W/").unwrap_or(tag);
    let opaque = quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    let fits = |byte: u8| byte.is_ascii_graphic() && byte != b'"';
    opaque.is_some_and(|opaque| opaque.bytes().all(fits))
}

fn malformed(name: HeaderName, detail: &str) -> Problem {
    Problem::new(
        Kind::RequestMalformed,
        format!("The header {name} cannot be read."),
        "Correct what `errors` names and send the request again.",
    )
    .with_errors(vec![FieldError::parameter(name.as_str(), detail)])
}

/// A revision that no resource reaches, so that the comparison always fails.
const NEVER: u64 = u64::MAX;

const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

#[cfg(test)]
mod tests {
    use super::*;

    async fn read<T: FromRequestParts<()>>(name: &str, lines: &[&str]) -> Result<T, T::Rejection> {
        let mut request = http::Request::builder();
        for line in lines {
            request = request.header(name, *line);
        }
        let (mut parts, ()) = request.body(()).unwrap().into_parts();
        T::from_request_parts(&mut parts, &()).await
    }

    #[tokio::test]
    async fn the_state_is_read_from_one_strong_tag_of_ours() {
        let ours = SeenState::parse(OURS);
        assert!(ours.is_some());
        let weak = format!("W/{OURS}");
        for (lines, seen) in [
            (&[][..], IfMatch::Absent),
            (&["*"], IfMatch::Any),
            (&[OURS], IfMatch::State(ours)),
            (&[weak.as_str()], IfMatch::State(None)),
            (&["\"xyz\""], IfMatch::State(None)),
        ] {
            let read = read::<IfMatch>("if-match", lines).await;
            assert_eq!(read.unwrap(), seen, "{lines:?}");
        }
        for lines in [
            &["\"1-a\", \"2-b\""][..],
            &["\"1-a\"", "\"1-a\""],
            &["7"],
            &["\"7-a"],
            &[""],
        ] {
            let error = read::<IfMatch>("if-match", lines).await.unwrap_err();
            assert_eq!(error.kind(), Kind::RequestMalformed);
        }
    }

    #[test]
    fn a_change_that_requires_if_match_fails_without_it() {
        let seen = SeenState::parse(OURS).unwrap();
        let error = IfMatch::Absent.required(seen.lineage).unwrap_err();
        assert_eq!(error.kind(), Kind::PreconditionRequired);
        assert_eq!(IfMatch::Any.required(seen.lineage).unwrap(), None);
        let given = IfMatch::State(Some(seen));
        assert_eq!(given.required(seen.lineage).unwrap(), Some(7));
    }

    #[test]
    fn an_outdated_state_is_refused() {
        let seen = SeenState::parse(OURS).unwrap();
        for passes in [IfMatch::Absent, IfMatch::Any, IfMatch::State(Some(seen))] {
            assert!(passes.check(seen.lineage, 7).is_ok(), "{passes:?}");
        }
        for (stale, revision) in [(Some(seen), 8), (None, 7)] {
            let error = IfMatch::State(stale).check(seen.lineage, revision);
            assert_eq!(error.unwrap_err().kind(), Kind::PreconditionFailed);
        }
    }

    #[test]
    fn a_state_of_another_lineage_never_matches() {
        let seen = SeenState::parse(OURS).unwrap();
        let other = SeenState::parse("\"7-00000000000000bb-0123456789abcdef\"").unwrap();
        assert_eq!(IfMatch::State(Some(seen)).expected(seen.lineage), Some(7));
        for stale in [Some(other), None] {
            assert_eq!(IfMatch::State(stale).expected(seen.lineage), Some(NEVER));
        }
    }

    const OURS: &str = "\"7-00000000000000aa-0123456789abcdef\"";

    #[tokio::test]
    async fn an_idempotency_key_is_the_same_with_quotes_and_without() {
        let key = "8e03978e-40d5-43dd-bc93-6894a57f9324";
        for line in [key.to_owned(), format!("\"{key}\"")] {
            let read = read::<IdempotencyKey>("idempotency-key", &[&line]).await;
            assert_eq!(read.unwrap().0.as_deref(), Some(key));
        }
        let long = "k".repeat(129);
        for lines in [
            &[""][..],
            &["\"\""],
            &["a b"],
            &["a", "a"],
            &["\"a\"b\""],
            &[&long],
        ] {
            let error = read::<IdempotencyKey>("idempotency-key", lines).await;
            assert!(error.is_err(), "{lines:?}");
        }
        let absent = read::<IdempotencyKey>("idempotency-key", &[]).await;
        assert_eq!(absent.unwrap().0, None);
    }
}

//! The preconditions of a request: the revision that the client saw (`If-Match`, RFC 9110 section
//! 13.1.1), and its retry key (`Idempotency-Key`, draft-ietf-httpapi-idempotency-key-header).

use axum::extract::FromRequestParts;
use http::{HeaderMap, HeaderName, header, request::Parts};

use crate::{
    entity_tag::{Lineage, SeenState, listed},
    problem::{FieldError, Kind, Problem},
};

/// The state that the client expects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// No If-Match header.
    Absent,
    /// `*`: any state.
    Any,
    /// One of these; empty if no tag is ours.
    States(Vec<SeenState>),
}

impl IfMatch {
    /// The tag in the hidden field of a form: a form without one expects a state that never is.
    pub(crate) fn of_form(tag: &str) -> Self {
        Self::States(SeenState::parse(tag).into_iter().collect())
    }

    /// For changes that require the header: the expected revision, or `None` for any. Without the
    /// header the response is 428. `lineage` is that of the resource.
    pub(crate) fn required(&self, lineage: Lineage) -> Result<Option<u64>, Problem> {
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
    /// that of the resource. Revisions only grow, so of several only the newest can be the current
    /// one.
    pub(crate) fn expected(&self, lineage: Lineage) -> Option<u64> {
        let Self::States(seen) = self else {
            return None;
        };
        let ours = seen.iter().filter(|seen| seen.lineage == lineage);
        let newest = ours.map(|seen| seen.revision).max();
        Some(newest.unwrap_or(NEVER))
    }

    /// For actions on the current state: 412 if the client expects another. `lineage` and
    /// `revision` are those of the resource.
    pub(crate) fn check(&self, lineage: Lineage, revision: u64) -> Result<(), Problem> {
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
        let tags = listed(&parts.headers, header::IF_MATCH);
        // Empty members of a list mean nothing (RFC 9110 section 5.6.1).
        let tags: Vec<&str> = tags.filter(|tag| !tag.is_empty()).collect();
        match tags.as_slice() {
            ["*"] => Ok(Self::Any),
            [_, ..] if tags.iter().all(|tag| is_entity_tag(tag)) => {
                let ours = tags.iter().filter_map(|tag| SeenState::parse(tag));
                Ok(Self::States(ours.collect()))
            }
            _ => {
                let expected = "expected entity tags in quotes, or *";
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
    async fn the_states_are_read_from_strong_tags_of_ours() {
        let (ours, other) = (seen(OURS), seen(OTHER));
        let weak = format!("W/{OURS}");
        let both = format!("{OURS} , ,{OTHER}");
        let mixed = format!("\"xyz\", {OURS}");
        for (lines, states) in [
            (&[][..], IfMatch::Absent),
            (&["*"], IfMatch::Any),
            (&[OURS], IfMatch::States(vec![ours])),
            (&[both.as_str()], IfMatch::States(vec![ours, other])),
            (&[OTHER, OURS], IfMatch::States(vec![other, ours])),
            (&[mixed.as_str()], IfMatch::States(vec![ours])),
            (&[weak.as_str()], IfMatch::States(Vec::new())),
            (&["\"xyz\""], IfMatch::States(Vec::new())),
        ] {
            let read = read::<IfMatch>("if-match", lines).await;
            assert_eq!(read.unwrap(), states, "{lines:?}");
        }
        for lines in [
            &["*, \"1-a\""][..],
            &["*", "*"],
            &["7"],
            &["\"7-a"],
            &[""],
            &[","],
        ] {
            let error = read::<IfMatch>("if-match", lines).await.unwrap_err();
            assert_eq!(error.kind(), Kind::RequestMalformed, "{lines:?}");
        }
    }

    #[test]
    fn a_change_that_requires_if_match_fails_without_it() {
        let seen = seen(OURS);
        let error = IfMatch::Absent.required(seen.lineage).unwrap_err();
        assert_eq!(error.kind(), Kind::PreconditionRequired);
        assert_eq!(IfMatch::Any.required(seen.lineage).unwrap(), None);
        let given = IfMatch::States(vec![seen]);
        assert_eq!(given.required(seen.lineage).unwrap(), Some(7));
    }

    #[test]
    fn an_outdated_state_is_refused() {
        let seen = seen(OURS);
        let given = IfMatch::States(vec![seen]);
        for passes in [&IfMatch::Absent, &IfMatch::Any, &given] {
            assert!(passes.check(seen.lineage, 7).is_ok(), "{passes:?}");
        }
        for (stale, revision) in [(given, 8), (IfMatch::States(Vec::new()), 7)] {
            let error = stale.check(seen.lineage, revision);
            assert_eq!(error.unwrap_err().kind(), Kind::PreconditionFailed);
        }
    }

    #[test]
    fn the_newest_of_several_states_is_expected() {
        let older = SeenState {
            revision: 6,
            ..seen(OURS)
        };
        for states in [
            [older, seen(OURS)],
            [seen(OURS), older],
            [seen(OTHER), seen(OURS)],
        ] {
            let expected = IfMatch::States(states.to_vec()).expected(older.lineage);
            assert_eq!(expected, Some(7), "{states:?}");
        }
    }

    #[test]
    fn a_state_of_another_lineage_never_matches() {
        let lineage = seen(OURS).lineage;
        let given = IfMatch::States(vec![seen(OURS)]);
        assert_eq!(given.expected(lineage), Some(7));
        for stale in [vec![seen(OTHER)], Vec::new()] {
            assert_eq!(IfMatch::States(stale).expected(lineage), Some(NEVER));
        }
    }

    /// The state of a tag of ours.
    fn seen(tag: &str) -> SeenState {
        SeenState::parse(tag).unwrap()
    }

    const OURS: &str = "\"7-00000000000000aa-0123456789abcdef\"";

    /// Of another lineage.
    const OTHER: &str = "\"9-00000000000000bb-0123456789abcdef\"";

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

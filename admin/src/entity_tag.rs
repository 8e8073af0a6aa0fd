//! Strong entity tags (RFC 9110 section 8.8.3) of single resources.
//!
//! A tag consists of the revision, its lineage, and a digest of the representation. The digest
//! makes it strong: time and use change the representation (`status`, `lastUsedAt`) without
//! changing the revision. Preconditions compare only lineage and revision (`precondition.rs`), so
//! traffic on a key does not block people from editing it.

use axum::{
    Json,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use keyside_credentials::Registry;
use serde::Serialize;
use sha2::{Digest, Sha256};

use crate::random::short_hex;

/// A resource's representation with its tag.
pub(crate) struct Tagged<T> {
    pub(crate) lineage: Lineage,
    pub(crate) revision: u64,
    pub(crate) view: T,
}

/// The series that a revision belongs to. A restored backup, or a new workspace with an erased id,
/// starts another lineage: equal revisions of two lineages are different states.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Lineage(u64);

impl Lineage {
    /// For resources whose id is never reused, such as credentials and tokens. Restoring a backup
    /// starts a new epoch.
    pub(crate) fn of_epoch(registry: &Registry) -> Self {
        Self::of(registry.epoch(), 0)
    }

    /// For a workspace, whose id can be reused after it is erased.
    pub(crate) fn of_workspace(registry: &Registry, incarnation: u64) -> Self {
        Self::of(registry.epoch(), incarnation)
    }

    fn of(epoch: u64, incarnation: u64) -> Self {
        let digest = Sha256::digest([epoch.to_be_bytes(), incarnation.to_be_bytes()].concat());
        let mut lineage = [0; 8];
        lineage.copy_from_slice(&digest[..8]);
        Self(u64::from_be_bytes(lineage))
    }
}

/// The state that a tag of ours identifies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SeenState {
    pub(crate) lineage: Lineage,
    pub(crate) revision: u64,
}

impl SeenState {
    /// The state of a resource whose id is never reused.
    pub(crate) fn of_epoch(registry: &Registry, revision: u64) -> Self {
        Self {
            lineage: Lineage::of_epoch(registry),
            revision,
        }
    }

    /// A tag for a form, which shows no representation that could be digested.
    pub(crate) fn tag(self) -> String {
        format!("\"{}-{:016x}-\"", self.revision, self.lineage.0)
    }

    /// `None` for a tag that is not ours.
    pub(crate) fn parse(tag: &str) -> Option<Self> {
        let tag = tag.strip_prefix('"')?.strip_suffix('"')?;
        let (revision, rest) = tag.split_once('-')?;
        let (lineage, _digest) = rest.split_once('-')?;
        Some(Self {
            lineage: Lineage(u64::from_str_radix(lineage, 16).ok()?),
            revision: revision.parse().ok()?,
        })
    }
}

impl<T> Tagged<T> {
    /// A resource whose id is never reused.
    pub(crate) fn of_epoch(registry: &Registry, revision: u64, view: T) -> Self {
        Self {
            lineage: Lineage::of_epoch(registry),
            revision,
            view,
        }
    }
}

impl<T: Serialize> Tagged<T> {
    /// The response to a read: the representation, or 304 if the client's copy is current.
    pub(crate) fn read(self, headers: &HeaderMap) -> Response {
        let tag = self.tag();
        let unchanged = listed(headers, header::IF_NONE_MATCH)
            .any(|known| known == "*" || known.trim_start_matches("W/") == tag);
        match unchanged {
            true => with_tag(StatusCode::NOT_MODIFIED.into_response(), &tag),
            false => self.into_response(),
        }
    }

    /// The response to a creation: 201 with the representation and its Location.
    pub(crate) fn created(self, location: &str) -> Response {
        let mut response = (StatusCode::CREATED, self).into_response();
        if let Ok(location) = HeaderValue::from_str(location) {
            response.headers_mut().insert(header::LOCATION, location);
        }
        response
    }

    /// The tag, for a header or the field of a form.
    pub(crate) fn tag(&self) -> String {
        let bytes = serde_json::to_vec(&self.view).unwrap_or_default();
        let digest = short_hex(&Sha256::digest(bytes).into(), 8);
        format!("\"{}-{:016x}-{digest}\"", self.revision, self.lineage.0)
    }
}

impl<T: Serialize> IntoResponse for Tagged<T> {
    fn into_response(self) -> Response {
        let tag = self.tag();
        with_tag(Json(self.view).into_response(), &tag)
    }
}

fn with_tag(mut response: Response, tag: &str) -> Response {
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// The members of a comma-separated header. Our own tags hold no comma.
pub(crate) fn listed(headers: &HeaderMap, name: HeaderName) -> impl Iterator<Item = &str> {
    let lines = headers.get_all(name).into_iter();
    lines
        .filter_map(|line| line.to_str().ok())
        .flat_map(|line| line.split(','))
        .map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tagged(epoch: u64, incarnation: u64) -> Tagged<&'static str> {
        Tagged {
            lineage: Lineage::of(epoch, incarnation),
            revision: 3,
            view: "the same",
        }
    }

    #[test]
    fn a_tag_identifies_lineage_and_revision() {
        let first = tagged(0, 7).tag();
        for other in [tagged(1, 7).tag(), tagged(0, 8).tag(), tagged(7, 0).tag()] {
            assert_ne!(first, other);
            assert_ne!(SeenState::parse(&first), SeenState::parse(&other));
        }
        assert_eq!(first, tagged(0, 7).tag());
        let seen = SeenState::parse(&first).unwrap();
        assert_eq!((seen.lineage, seen.revision), (Lineage::of(0, 7), 3));
    }

    #[test]
    fn the_tag_of_a_form_identifies_the_state() {
        let seen = SeenState::parse(&tagged(1, 7).tag()).unwrap();
        assert_eq!(SeenState::parse(&seen.tag()), Some(seen));
    }

    #[test]
    fn a_foreign_tag_is_not_parsed() {
        for tag in [
            "3-0-0",
            "\"3\"",
            "\"3-0123456789abcdef\"",
            "\"x-0-0\"",
            "\"3-x-0\"",
            "W/\"3-0-0\"",
            "\"\"",
        ] {
            assert_eq!(SeenState::parse(tag), None, "{tag}");
        }
    }
}

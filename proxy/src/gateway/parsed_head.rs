//! What a request's head says, parsed once: `permit` checks it, and a refusal is written from it.

use std::sync::Arc;

use super::{Gateway, Head};
use crate::{
    admission::Admitted,
    destination::Destination,
    refusal::Refusal,
    route::{self, RequestPath, Target},
    suggestion,
};

/// A request's head, and how Keyside reads it. Not everything in it is checked: `recognised`,
/// `path.checked` and `admitted` say what must be refused.
pub(super) struct ParsedHead<'a> {
    pub(super) head: &'a Head,
    pub(super) path: &'a RequestPath<'a>,
    /// Whether the listener accepts the caller.
    pub(super) recognised: Result<(), Refusal>,
    /// `None` if the path names neither workspace nor provider.
    pub(super) target: Option<Target<'a>>,
    /// The provider that the path names; `None` if it is unknown.
    pub(super) destination: Option<&'a Arc<Destination>>,
    /// What the request selects, if it is well-formed and the listener may be used for it.
    pub(super) admitted: Result<Admitted<'a>, Refusal>,
}

impl Gateway {
    /// Runs once per request. Allocates only for escapes in a label.
    pub(super) fn parse<'a>(&'a self, head: &'a Head, path: &'a RequestPath<'a>) -> ParsedHead<'a> {
        let target = route::split(&path.text);
        let provider = target.as_ref().map(|target| target.provider);
        let path_tag = target.as_ref().and_then(|target| target.workspace);
        ParsedHead {
            head,
            path,
            recognised: self.policy.recognise(head),
            destination: provider.and_then(|provider| self.destinations.get(provider)),
            admitted: self.policy.admit(&head.headers, path_tag),
            target,
        }
    }
}

impl ParsedHead<'_> {
    /// The workspace that the path names. It may not exist.
    pub(super) fn path_tag(&self) -> Option<&str> {
        self.target.as_ref()?.workspace
    }

    /// Whether the path is a base URL's. Claude Code probes it with HEAD and takes a refusal for an
    /// outage.
    pub(super) fn is_base_url(&self) -> bool {
        match (&self.target, self.destination) {
            (Some(Target { provider: "", .. }), _) => true,
            (Some(target), Some(destination)) => {
                suggestion::is_base_url(&destination.provider, target.rest)
            }
            (Some(_), None) => false,
            (None, _) => self.path.text == "/",
        }
    }
}

//! Who does something, and in the course of what.

use super::ActorId;

/// Who asks for a change, and in which request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActorContext {
    /// The one who acts.
    pub actor: ActorId,
    /// The request's id, the same as in the response and the logs.
    pub request_id: String,
}

impl ActorContext {
    /// What Keyside does by itself, and in the course of what.
    pub(crate) fn system(course: &str) -> Self {
        Self {
            actor: ActorId::system(),
            request_id: course.to_owned(),
        }
    }
}

//! The actor and request that a change is attributed to.

use super::ActorId;

/// Who requested a change, and in which request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ActorContext {
    /// The authenticated actor.
    pub actor: ActorId,
    /// The request's id, as in the response and the logs.
    pub request_id: String,
}

impl ActorContext {
    /// A context for what Keyside does by itself. `course` names the task, in place of a request
    /// id.
    pub(crate) fn system(course: &str) -> Self {
        Self {
            actor: ActorId::system(),
            request_id: course.to_owned(),
        }
    }
}

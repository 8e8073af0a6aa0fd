//! The fields of the request that a log line belongs to: its id, and the workspace and provider of
//! its credential.

use keyside_credentials::RequestContext;
use tracing::Event;

/// Calls `add` with the name and value of each field. Leaves out fields that the event has itself.
pub(super) fn for_each(event: &Event<'_>, mut add: impl FnMut(&str, &str)) {
    let own = event.metadata().fields();
    RequestContext::visit_current(|name, value| {
        if own.field(name).is_none() {
            add(name, value);
        }
    });
}

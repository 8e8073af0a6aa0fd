//! The request that a task works for, so that every log line written meanwhile names it.
//!
//! The context is passed through a task-local, and is read only when a line is written. A span of
//! `tracing` would copy its fields into a registry for each request, and look them up there at each
//! poll.

use std::sync::Arc;

use keyside_config::ProviderId;
use tokio::{task::JoinHandle, task_local};

use crate::model::{RequestId, WorkspaceId};

task_local! {
    static CURRENT: Option<RequestContext>;
}

/// What the log lines of one request have in common. Cheap to clone.
#[derive(Clone)]
pub struct RequestContext(Arc<Fields>);

struct Fields {
    request_id: RequestId,
    /// Set if the request uses a credential.
    credential: Option<(WorkspaceId, ProviderId)>,
}

impl RequestContext {
    /// The context of a request that uses no credential.
    pub fn new(request_id: RequestId) -> Self {
        Self(Arc::new(Fields {
            request_id,
            credential: None,
        }))
    }

    /// The context of a request that uses a credential of this workspace and provider.
    pub fn with_credential(
        request_id: RequestId,
        workspace: WorkspaceId,
        provider: ProviderId,
    ) -> Self {
        Self(Arc::new(Fields {
            request_id,
            credential: Some((workspace, provider)),
        }))
    }

    /// Runs `future` in this context.
    pub fn run<F: Future>(self, future: F) -> impl Future<Output = F::Output> {
        CURRENT.scope(Some(self), future)
    }

    /// Runs `work` in this context.
    pub fn scope<T>(&self, work: impl FnOnce() -> T) -> T {
        CURRENT.sync_scope(Some(self.clone()), work)
    }

    /// Runs `future` in the caller's context, if there is one, in whatever task or thread.
    pub fn inherit<F: Future>(future: F) -> impl Future<Output = F::Output> {
        let context = CURRENT.try_with(Clone::clone).ok().flatten();
        CURRENT.scope(context, future)
    }

    /// Spawns a task that inherits the caller's context.
    pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
    where
        F: Future<Output: Send + 'static> + Send + 'static,
    {
        tokio::spawn(Self::inherit(future))
    }

    /// Calls `visit` with the name and value of each field of the caller's context: `request_id`,
    /// and `workspace` and `provider` if the request uses a credential.
    pub fn visit_current(mut visit: impl FnMut(&'static str, &str)) {
        let visit_all = |current: &Option<Self>| {
            let Some(Self(fields)) = current else {
                return;
            };
            visit("request_id", fields.request_id.as_str());
            if let Some((workspace, provider)) = &fields.credential {
                visit("workspace", workspace.as_str());
                visit("provider", provider.as_str());
            }
        };
        // Fails outside of a request.
        let _ = CURRENT.try_with(visit_all);
    }
}

#[cfg(test)]
mod tests {
    use tokio::task::yield_now;

    use super::*;

    fn current() -> Vec<String> {
        let mut fields = Vec::new();
        RequestContext::visit_current(|name, value| fields.push(format!("{name}={value}")));
        fields
    }

    fn context() -> (RequestContext, Vec<String>) {
        let id = RequestId::next();
        let (workspace, provider) = ("acme".parse().unwrap(), "openai".parse().unwrap());
        let fields = [
            format!("request_id={}", id.as_str()),
            "workspace=acme".to_owned(),
            "provider=openai".to_owned(),
        ];
        let context = RequestContext::with_credential(id, workspace, provider);
        (context, fields.to_vec())
    }

    #[test]
    fn a_scope_ends_with_its_work() {
        let (context, fields) = context();
        assert_eq!(current(), [""; 0]);
        let other = RequestId::next();
        context.scope(|| {
            assert_eq!(current(), fields);
            let inner = RequestContext::new(other).scope(current);
            assert_eq!(inner, [format!("request_id={}", other.as_str())]);
            assert_eq!(current(), fields);
        });
        assert_eq!(current(), [""; 0]);
    }

    #[tokio::test]
    async fn requests_on_one_thread_keep_their_contexts_apart() {
        let one = async |(context, fields): (RequestContext, Vec<String>)| {
            let seen = context.run(async {
                yield_now().await;
                current()
            });
            assert_eq!(seen.await, fields);
        };
        tokio::join!(one(context()), one(context()), async {
            yield_now().await;
            assert_eq!(current(), [""; 0]);
        });
    }

    #[tokio::test]
    async fn a_spawned_task_has_the_context_of_the_one_that_spawned_it() {
        let (context, fields) = context();
        let spawned = context.scope(|| RequestContext::spawn(async { current() }));
        assert_eq!(spawned.await.unwrap(), fields);
        let outside = RequestContext::spawn(async { current() });
        assert_eq!(outside.await.unwrap(), [""; 0]);
    }
}

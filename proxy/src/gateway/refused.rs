//! Answers refused requests, logs them and records them as runs.

use http::{Method, Response, header};
use keyside_config::{ErrorShape, RequestHost};
use keyside_credentials::{
    WorkspaceId,
    runs::{Run, RunKind, Tokens},
};

use super::{Body, Denied, Gateway, Head, ParsedHead, REVOKED};
use crate::{
    activity::InFlightGuard,
    refusal::{Refusal, RefusalContext, SanitizedTarget, sanitize},
    request_record::{Arrival, RequestRecord, micros},
    route::Target,
    suggestion::{self, RefusedRequest, Suggestion},
    upstream::Failure,
};

impl Gateway {
    /// Answers a request that was refused by its head. Suggestions for the caller are only computed
    /// here, so that accepted requests do not pay for them.
    pub(super) fn refuse_unpermitted(
        &self,
        denied: Denied<'_>,
        parsed: &ParsedHead<'_>,
        arrival: Arrival,
        in_flight: InFlightGuard,
    ) -> Response<Body> {
        let Denied { refusal, route } = denied;
        let (head, path) = (parsed.head, parsed.path);
        let admitted = parsed.admitted.as_ref().ok();
        let provider = parsed.destination.map(|destination| &*destination.provider);
        let rest = match (&parsed.target, provider) {
            (Some(target), Some(_)) => target.rest,
            (Some(target), None) => after_workspace(&path.text, target),
            (None, _) => &path.text,
        };
        let route = route.or_else(|| {
            let mut routes = provider?.routes.iter();
            routes.find(|route| route.path.matches(rest))
        });
        let asked = RefusedRequest {
            method: &head.method,
            path: rest,
            agent: text(head, header::USER_AGENT),
        };
        let catalogue = &self.settings.catalogue;
        let suggestion = match (refusal, provider) {
            (Refusal::PathNotAllowed, Some(provider)) => suggestion::for_provider(provider, asked)
                .or_else(|| {
                    suggestion::from_other_provider(catalogue, asked).map(Suggestion::Path)
                }),
            (Refusal::WorkspaceMissing, Some(provider)) => {
                suggestion::base_url_for(provider, asked).map(Suggestion::Path)
            }
            (Refusal::ProviderUnknown | Refusal::WorkspaceMissing, None) => {
                let knows = |workspace: &str| self.may_use(workspace);
                suggestion::for_unknown_provider(catalogue, asked, knows).map(Suggestion::Path)
            }
            _ => None,
        };
        let shown_path = match path.checked {
            Ok(()) => rest,
            Err(_) => path.written,
        };
        let context = RefusalContext {
            workspace: admitted
                .map(|admitted| admitted.workspace)
                .filter(|workspace| self.may_show_workspace(workspace)),
            provider,
            label: admitted
                .and_then(|admitted| admitted.label.as_deref())
                .filter(|label| !sanitize::looks_like_key(label, catalogue)),
            environment: admitted
                .and_then(|admitted| admitted.environment)
                .or(self.policy.pinned_environment()),
            pin: self.policy.pinned_environment(),
            declared_only: self.links.is_none(),
            shape: route.and_then(|route| route.error),
            target: Some(self.sanitized_target(refusal, parsed, shown_path)),
            proxy: None,
            suggestion: suggestion
                .map(|suggestion| suggestion.with_path(|path| sanitize::path(path, catalogue))),
        };
        let run_id = admitted.and_then(|admitted| admitted.run_id);
        let tag = admitted.and_then(|admitted| admitted.tag);
        let kind = head.extensions.get::<RunKind>().copied();
        let sent = (kind.unwrap_or_default(), run_id, tag);
        self.record(refusal, &context, arrival, sent);
        self.log(refusal, &context, arrival);
        self.refuse(refusal, &context, arrival, in_flight)
    }

    /// The parts of the target that a refusal may repeat.
    fn sanitized_target<'a>(
        &self,
        refusal: Refusal,
        parsed: &ParsedHead<'a>,
        path: &str,
    ) -> SanitizedTarget<'a> {
        let head = parsed.head;
        let host = RequestHost::of(&head.uri, &head.headers).ok();
        let host = host.map(|host| host.authority);
        let address = match host.filter(|_| parsed.recognised.is_ok()) {
            Some(host) if self.policy.has_url() => format!("http://{host}"),
            _ => "…".into(),
        };
        let workspace = match parsed.path_tag() {
            Some(known) if self.may_use(known) => format!("/w/{known}"),
            None if refusal != Refusal::WorkspaceMissing => String::new(),
            _ => "/w/WORKSPACE".into(),
        };
        let is_known = METHODS.contains(&head.method);
        SanitizedTarget {
            method: if is_known {
                head.method.as_str()
            } else {
                "other"
            },
            path: sanitize::path(path, &self.settings.catalogue),
            host: host
                .filter(|_| refusal == Refusal::HostNotAllowed)
                .map(|host| sanitize::host(host, &self.settings.catalogue)),
            address,
            workspace,
        }
    }

    /// Whether the workspace exists and this listener serves it. Refusals say nothing about other
    /// workspaces.
    fn may_use(&self, workspace: &str) -> bool {
        self.policy.allows_workspace(workspace) && self.resolver.knows(workspace)
    }

    /// Whether a refusal may repeat the text as a workspace id. Callers sometimes paste a key where
    /// the workspace belongs.
    fn may_show_workspace(&self, text: &str) -> bool {
        self.may_use(text)
            || text.parse::<WorkspaceId>().is_ok()
                && !sanitize::looks_like_key(text, &self.settings.catalogue)
    }

    /// Answers a request that had been permitted. Its [`RequestRecord`] logs it, so this logs
    /// nothing.
    pub(super) fn refuse_permitted(
        &self,
        failure: Failure,
        shape: Option<ErrorShape>,
        mut record: RequestRecord,
        arrival: Arrival,
    ) -> Response<Body> {
        let Failure { refusal, cause, .. } = failure;
        match refusal {
            REVOKED => record.revoked(),
            _ => record.unanswered(),
        }
        if !refusal.may_have_been_sent() {
            record.not_sent();
        }
        let in_flight = record.in_flight.clone();
        let upstream = record.destination.upstream(record.grant.endpoint());
        let upstream = upstream.ok();
        let context = RefusalContext {
            proxy: upstream.as_ref().and_then(|upstream| upstream.proxy()),
            workspace: Some(record.grant.workspace().as_str()),
            provider: Some(&record.destination.provider),
            label: Some(record.grant.label().as_str()),
            shape,
            ..RefusalContext::default()
        };
        let response = self.refuse(refusal, &context, arrival, in_flight);
        let remedy = refusal.message(&context);
        record.refused(refusal.code(), cause, remedy);
        response
    }

    fn refuse(
        &self,
        refusal: Refusal,
        context: &RefusalContext<'_>,
        arrival: Arrival,
        in_flight: InFlightGuard,
    ) -> Response<Body> {
        self.ledger.metrics.refused(refusal.code());
        let body = refusal.respond(self.links.as_deref(), arrival.request_id, context);
        body.map(|bytes| Body::buffered(bytes, in_flight))
    }

    fn log(&self, refusal: Refusal, context: &RefusalContext<'_>, arrival: Arrival) {
        let asked = context.target.as_ref();
        tracing::info!(
            target: "keyside::request",
            request_id = arrival.request_id.as_str(),
            workspace = context.workspace.filter(|workspace| self.resolver.knows(workspace)),
            provider = context.provider.map(|provider| provider.id.as_str()),
            code = refusal.code(),
            status = refusal.status().as_u16(),
            method = asked.map(|asked| asked.method),
            path = asked.map(|asked| asked.path.as_str()),
            host = asked.and_then(|asked| asked.host),
            "refused"
        );
    }

    /// Records a refusal as a run of the workspace that the request names, if that workspace
    /// exists.
    fn record(
        &self,
        refusal: Refusal,
        context: &RefusalContext<'_>,
        arrival: Arrival,
        (kind, run_id, tag): (RunKind, Option<&str>, Option<&str>),
    ) {
        if is_unidentified_caller(refusal) {
            return;
        }
        let workspace = context
            .workspace
            .filter(|workspace| self.resolver.knows(workspace));
        let Some(workspace) = workspace.and_then(|workspace| workspace.parse().ok()) else {
            return;
        };
        // No secret was opened, so none is known.
        let note = |text| sanitize::note(text, &self.settings.catalogue, |_| false);
        self.ledger.refused(Run {
            at: self.ledger.clock.now(),
            request_id: arrival.request_id.as_str().into(),
            kind,
            workspace,
            provider: context.provider.map(|provider| provider.id.clone()),
            used: None,
            status: refusal.status().as_u16(),
            outcome: refusal.code(),
            refused: context.target.as_ref().map(|asked| asked.request().into()),
            latency_us: micros(arrival.at.elapsed()),
            first_byte_us: None,
            tokens: Tokens::default(),
            run_id: run_id.map(note),
            tag: tag.map(note),
        });
    }
}

/// Whether the caller may be anybody, even a web page. Such a refusal is not recorded as a run of
/// the workspace that the request names.
fn is_unidentified_caller(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::BrowserNotAllowed
            | Refusal::BrowserNotExcluded
            | Refusal::HostNotAllowed
            | Refusal::PeerNotAllowed
            | Refusal::WorkspaceNotAllowed
    )
}

/// The path without its workspace prefix. Starts with a slash.
fn after_workspace<'a>(path: &'a str, target: &Target<'_>) -> &'a str {
    let workspace = target.workspace.map_or(0, |tag| "/w/".len() + tag.len());
    match &path[workspace..] {
        "" => "/",
        rest => rest,
    }
}

/// The methods that HTTP defines (RFC 9110 section 9.3, RFC 5789). Any other text may be a key, so
/// refusals do not repeat it.
const METHODS: [Method; 9] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::DELETE,
    Method::CONNECT,
    Method::OPTIONS,
    Method::TRACE,
    Method::PATCH,
];

fn text(head: &Head, name: header::HeaderName) -> Option<&str> {
    head.headers.get(name)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::route;

    #[test]
    fn a_path_that_ends_after_its_workspace_is_shown_as_a_slash() {
        for (path, shown) in [
            ("/w/acme", "/"),
            ("/w/acme/", "/"),
            ("/w/acme/nope/v1", "/nope/v1"),
            ("/nope/v1", "/nope/v1"),
        ] {
            let target = route::split(path).unwrap();
            assert_eq!(after_workspace(path, &target), shown, "{path}");
        }
    }
}

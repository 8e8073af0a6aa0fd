//! Answers refused requests, logs them and records them as runs.

use http::{Method, Response, header};
use keyside_config::ErrorShape;
use keyside_credentials::{
    WorkspaceId,
    runs::{Run, Tokens},
};

use super::{Body, Gateway, Head, REVOKED};
use crate::{
    deadline::Busy,
    exchange::{Arrival, Exchange},
    near::{self, Asked, Near},
    refusal::{About, Refusal, Shown, shown},
    route::{self, Target},
    upstream::Failure,
};

impl Gateway {
    /// Answers a request that was refused by its head. What it may have meant is only looked up here, so that requests that
    /// are served do not pay for it.
    pub(super) fn refuse_unpermitted(
        &self,
        refusal: Refusal,
        head: &Head,
        arrival: Arrival,
        busy: Busy,
    ) -> Response<Body> {
        let written = head.uri.path();
        let plain = written.replace("//", "/");
        let path = route::normalise(written).or_else(|_| route::normalise(&plain));
        let path = path.unwrap_or(written.into());
        let target = route::split(&path);
        let path_tag = target.as_ref().and_then(|target| target.workspace);
        let admitted = self.door.admit(&head.headers, path_tag);
        let admitted = admitted.as_ref().ok();
        let destination = target
            .as_ref()
            .and_then(|target| self.destinations.get(target.provider));
        let provider = destination.map(|destination| &*destination.provider);
        let rest = match (&target, provider) {
            (Some(target), Some(_)) => target.rest,
            (Some(target), None) => behind_workspace(&path, target),
            (None, _) => &path,
        };
        let of_path = provider.and_then(|provider| {
            let mut routes = provider.routes.iter();
            routes.find(|route| route.path.matches(rest))
        });
        let asked = Asked {
            method: &head.method,
            path: rest,
            agent: text(head, header::USER_AGENT),
        };
        let catalogue = &self.settings.catalogue;
        let near = match (refusal, provider) {
            (Refusal::PathNotAllowed, Some(provider)) => near::at(provider, asked)
                .or_else(|| near::elsewhere(catalogue, asked).map(Near::Path)),
            (Refusal::WorkspaceMissing, Some(provider)) => {
                near::base_of(provider, asked).map(Near::Path)
            }
            (Refusal::ProviderUnknown | Refusal::WorkspaceMissing, None) => {
                let knows = |workspace: &str| self.may_use(workspace);
                near::anywhere(catalogue, asked, knows).map(Near::Path)
            }
            _ => None,
        };
        let shown_path = match route::normalise(written).is_ok() {
            true => rest,
            false => written,
        };
        let about = About {
            workspace: admitted
                .map(|admitted| admitted.workspace)
                .filter(|workspace| self.may_be_a_workspace(workspace)),
            provider,
            label: admitted
                .and_then(|admitted| admitted.label.as_deref())
                .filter(|label| !shown::looks_like_a_key(label, catalogue)),
            environment: admitted
                .and_then(|admitted| admitted.environment)
                .or(self.door.environment()),
            shape: of_path.and_then(|route| route.error),
            asked: Some(self.shown(refusal, head, path_tag, shown_path)),
            proxy: None,
            near: near.map(|near| near.shown(|path| shown::path(path, catalogue))),
        };
        let run_id = admitted.and_then(|admitted| admitted.run_id);
        let tag = admitted.and_then(|admitted| admitted.tag);
        self.record(refusal, &about, arrival, (run_id, tag));
        self.log(refusal, &about, arrival);
        self.refuse(refusal, &about, arrival, busy)
    }

    /// The parts of the target that may be repeated.
    fn shown<'a>(
        &self,
        refusal: Refusal,
        head: &'a Head,
        workspace: Option<&str>,
        path: &str,
    ) -> Shown<'a> {
        let host = text(head, header::HOST).or(head.uri.authority().map(|host| host.as_str()));
        let address = match host.filter(|_| self.door.recognise(head).is_ok()) {
            Some(host) if self.door.has_names() => format!("http://{host}"),
            _ => "…".into(),
        };
        let workspace = match workspace {
            Some(known) if self.may_use(known) => format!("/w/{known}"),
            None if refusal != Refusal::WorkspaceMissing => String::new(),
            _ => "/w/WORKSPACE".into(),
        };
        let is_known = METHODS.contains(&head.method);
        Shown {
            method: if is_known {
                head.method.as_str()
            } else {
                "other"
            },
            path: shown::path(path, &self.settings.catalogue),
            host: host
                .filter(|_| refusal == Refusal::HostNotAllowed)
                .map(|host| shown::host(host, &self.settings.catalogue)),
            address,
            workspace,
        }
    }

    /// Whether there is such a workspace, and this listener may be used for it: of others it tells nothing.
    fn may_use(&self, workspace: &str) -> bool {
        self.door.serves(workspace) && self.resolver.knows(workspace)
    }

    /// Whether it can be repeated as a workspace: a key may have been pasted in its place.
    fn may_be_a_workspace(&self, text: &str) -> bool {
        self.may_use(text)
            || text.parse::<WorkspaceId>().is_ok()
                && !shown::looks_like_a_key(text, &self.settings.catalogue)
    }

    /// Answers a request that had been permitted. The one line that the log has of it is the exchange's.
    pub(super) fn refuse_permitted(
        &self,
        failure: Failure,
        shape: Option<ErrorShape>,
        mut exchange: Exchange,
        arrival: Arrival,
    ) -> Response<Body> {
        let Failure { refusal, cause } = failure;
        match refusal {
            REVOKED => exchange.revoked(),
            _ => exchange.unanswered(),
        }
        let busy = exchange.busy.clone();
        let upstream = exchange.destination.upstream(exchange.grant.endpoint());
        let upstream = upstream.ok();
        let about = About {
            proxy: upstream.as_ref().and_then(|upstream| upstream.proxy()),
            workspace: Some(exchange.grant.workspace().as_str()),
            provider: Some(&exchange.destination.provider),
            label: Some(exchange.grant.label().as_str()),
            shape,
            ..About::default()
        };
        let response = self.refuse(refusal, &about, arrival, busy);
        let remedy = refusal.message(&about);
        exchange.refused(refusal.code(), cause, remedy);
        response
    }

    fn refuse(
        &self,
        refusal: Refusal,
        about: &About<'_>,
        arrival: Arrival,
        busy: Busy,
    ) -> Response<Body> {
        self.ledger.metrics.refused(refusal.code());
        let body = refusal.respond(self.links.as_deref(), arrival.request_id, about);
        body.map(|bytes| Body::whole(bytes, busy))
    }

    fn log(&self, refusal: Refusal, about: &About<'_>, arrival: Arrival) {
        let asked = about.asked.as_ref();
        tracing::info!(
            target: "keyside::request",
            request_id = arrival.request_id.as_str(),
            workspace = about.workspace.filter(|workspace| self.resolver.knows(workspace)),
            provider = about.provider.map(|provider| provider.id.as_str()),
            code = refusal.code(),
            status = refusal.status().as_u16(),
            method = asked.map(|asked| asked.method),
            path = asked.map(|asked| asked.path.as_str()),
            host = asked.and_then(|asked| asked.host),
            "refused"
        );
    }

    /// Records a refusal among the runs of the workspace that the request names, if that exists.
    fn record(
        &self,
        refusal: Refusal,
        about: &About<'_>,
        arrival: Arrival,
        (run_id, tag): (Option<&str>, Option<&str>),
    ) {
        if is_of_the_door(refusal) {
            return;
        }
        let workspace = about
            .workspace
            .filter(|workspace| self.resolver.knows(workspace));
        let Some(workspace) = workspace.and_then(|workspace| workspace.parse().ok()) else {
            return;
        };
        let provider = about.provider.map(|provider| provider.id.as_str());
        let latency = arrival.at.elapsed().as_micros();
        self.ledger.refused(Run {
            at: self.ledger.clock.now(),
            request_id: arrival.request_id.as_str().into(),
            workspace,
            provider: provider.unwrap_or_default().into(),
            used: None,
            status: refusal.status().as_u16(),
            outcome: refusal.code(),
            refused: about.asked.as_ref().map(|asked| asked.request().into()),
            latency_us: u64::try_from(latency).unwrap_or(u64::MAX),
            first_byte_us: None,
            tokens: Tokens::default(),
            run_id: run_id.map(Into::into),
            tag: tag.map(Into::into),
        });
    }
}

/// Who is refused so may be anybody, a web page too: what they ask is not put down to the workspace that they name.
fn is_of_the_door(refusal: Refusal) -> bool {
    matches!(
        refusal,
        Refusal::BrowserNotAllowed
            | Refusal::PageNotRuledOut
            | Refusal::HostNotAllowed
            | Refusal::PeerNotAllowed
            | Refusal::WorkspaceNotAllowed
    )
}

/// The path without the workspace in front of it.
fn behind_workspace<'a>(path: &'a str, target: &Target<'_>) -> &'a str {
    let workspace = target.workspace.map_or(0, |tag| "/w/".len() + tag.len());
    &path[workspace..]
}

/// Those that HTTP defines (RFC 9110 section 9.3, RFC 5789). Another may be a key, so it is not repeated.
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

//! Why a request is not answered by the provider, and how that is said.
//!
//! Every cause is one row of one table: a stable code, a status that makes SDKs
//! retry only where a retry can help, and words that name the way out. What the
//! client reads is made here and nowhere else; it never holds a secret.

mod budget;
mod messages;
pub(crate) mod sanitize;
mod shape;

pub(crate) use budget::RefusalBudget;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use keyside_config::{ErrorShape, Provider};
use keyside_credentials as credentials;

use crate::{
    headers,
    request_id::RequestId,
    suggestion::{Correction, Suggestion},
};

/// A cause of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    WorkspaceMissing,
    WorkspaceNotAllowed,
    ProviderUnknown,
    PathNotAllowed,
    BrowserNotAllowed,
    /// It may be a browser's: nothing says that it is not. The same code, and another way out.
    BrowserNotExcluded,
    HostNotAllowed,
    PeerNotAllowed,
    /// What is wrong with the request, to follow "The request".
    RequestMalformed(&'static str),
    HeadTooLarge,
    UpstreamUnreachable(Sent),
    UpstreamTls,
    UpstreamTimeout(Wait),
    Draining,
    /// There is no place for the request, or for the connection that it needs.
    Overloaded,
    /// The resolver's: workspace, credential, label, environment, store.
    Credential(credentials::Refusal),
}

/// What took an upstream too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    Connection,
    FirstByte,
}

/// Whether a provider may have acted on a request that it did not answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sent {
    No,
    Perhaps,
}

impl From<credentials::Refusal> for Refusal {
    fn from(refusal: credentials::Refusal) -> Self {
        Self::Credential(refusal)
    }
}

/// What is known of a refused request, to say it in its own words. A workspace is here only if one could be called so:
/// what else stands in its place may be anything, a key that was pasted there too.
#[derive(Default)]
pub(crate) struct RefusalContext<'a> {
    pub(crate) workspace: Option<&'a str>,
    pub(crate) provider: Option<&'a Provider>,
    pub(crate) label: Option<&'a str>,
    /// The egress proxy that the provider is reached through, as `host:port`.
    pub(crate) proxy: Option<&'a str>,
    /// The environment that was asked for, or that the listener is pinned to.
    pub(crate) environment: Option<credentials::Environment>,
    pub(crate) shape: Option<ErrorShape>,
    pub(crate) target: Option<SanitizedTarget<'a>>,
    pub(crate) suggestion: Option<Suggestion<'a>>,
}

/// What of a request's target may be shown: never its query.
pub(crate) struct SanitizedTarget<'a> {
    pub(crate) method: &'a str,
    /// After the provider, or all of it where that names none.
    pub(crate) path: String,
    pub(crate) host: Option<&'a str>,
    /// What base URLs for this listener begin with: `http://localhost:7380`.
    pub(crate) address: String,
    /// What follows it: `/w/acme` where the path names a workspace, or has to.
    pub(crate) workspace: String,
}

impl SanitizedTarget<'_> {
    /// Method and path.
    pub(crate) fn request(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The base URL that leads to what was meant.
    fn base_url(&self, correction: &Correction<'_>) -> String {
        let workspace = match &correction.workspace {
            Some(workspace) => &format!("/w/{workspace}"),
            None => &self.workspace,
        };
        let Correction {
            provider, suffix, ..
        } = correction;
        format!("{}{workspace}/{provider}{suffix}", self.address)
    }
}

impl Refusal {
    /// The stable code, as in the body, the metrics and the log.
    pub(crate) fn code(self) -> &'static str {
        self.row().0
    }

    pub(crate) fn status(self) -> StatusCode {
        self.row().1
    }

    fn row(self) -> (&'static str, StatusCode) {
        use credentials::Refusal as C;
        match self {
            Self::WorkspaceMissing => ("workspace_missing", StatusCode::BAD_REQUEST),
            Self::WorkspaceNotAllowed => ("workspace_not_allowed", StatusCode::FORBIDDEN),
            Self::ProviderUnknown => ("provider_unknown", StatusCode::BAD_REQUEST),
            Self::PathNotAllowed => ("path_not_allowed", StatusCode::FORBIDDEN),
            Self::BrowserNotAllowed | Self::BrowserNotExcluded => {
                ("browser_not_allowed", StatusCode::FORBIDDEN)
            }
            Self::HostNotAllowed => ("host_not_allowed", StatusCode::FORBIDDEN),
            Self::PeerNotAllowed => ("peer_not_allowed", StatusCode::FORBIDDEN),
            Self::RequestMalformed(_) => ("request_malformed", StatusCode::BAD_REQUEST),
            Self::HeadTooLarge => (
                "request_malformed",
                StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE,
            ),
            Self::UpstreamUnreachable(_) => ("upstream_unreachable", StatusCode::BAD_GATEWAY),
            Self::UpstreamTls => ("upstream_tls", StatusCode::BAD_GATEWAY),
            Self::UpstreamTimeout(_) => ("upstream_timeout", StatusCode::GATEWAY_TIMEOUT),
            Self::Draining => ("draining", StatusCode::SERVICE_UNAVAILABLE),
            Self::Overloaded => ("overloaded", StatusCode::SERVICE_UNAVAILABLE),
            Self::Credential(refusal) => {
                let status = match refusal {
                    // 404 is read as "no such model" by Claude Code, Gemini CLI and LangChain.
                    C::WorkspaceUnknown | C::LabelUnknown => StatusCode::BAD_REQUEST,
                    C::EnvironmentNotAllowed => StatusCode::FORBIDDEN,
                    C::CredentialMissing
                    | C::CredentialRevoked
                    | C::CredentialExpired
                    | C::SecretGone => StatusCode::UNAUTHORIZED,
                    C::CredentialUndecryptable => StatusCode::INTERNAL_SERVER_ERROR,
                    C::StoreUnavailable | C::SecretAway => StatusCode::SERVICE_UNAVAILABLE,
                };
                (refusal.code(), status)
            }
        }
    }

    /// All codes, so that their metrics start at zero.
    pub(crate) fn codes() -> impl Iterator<Item = &'static str> {
        let own = [
            Self::WorkspaceMissing,
            Self::WorkspaceNotAllowed,
            Self::ProviderUnknown,
            Self::PathNotAllowed,
            Self::BrowserNotAllowed,
            Self::HostNotAllowed,
            Self::PeerNotAllowed,
            Self::RequestMalformed(""),
            Self::UpstreamUnreachable(Sent::No),
            Self::UpstreamTls,
            Self::UpstreamTimeout(Wait::FirstByte),
            Self::Draining,
            Self::Overloaded,
        ];
        own.into_iter()
            .chain(credentials::Refusal::ALL.map(Self::Credential))
            .map(Self::code)
    }

    /// A retry of the same request can succeed without anybody acting, and nothing is paid twice for it: what may have
    /// reached the provider is for a person to send again.
    fn retry_can_help(self) -> bool {
        matches!(
            self,
            Self::UpstreamUnreachable(Sent::No)
                | Self::UpstreamTimeout(Wait::Connection)
                | Self::Draining
                | Self::Overloaded
                | Self::Credential(
                    credentials::Refusal::StoreUnavailable | credentials::Refusal::SecretAway
                )
        )
    }

    /// What it says to a person: what is wrong, and what to do about it.
    pub(crate) fn message(self, context: &RefusalContext<'_>) -> String {
        messages::message(self, context)
    }

    /// The refusal as the provider itself would put it.
    pub(crate) fn respond(
        self,
        links: Option<&str>,
        request_id: RequestId,
        context: &RefusalContext<'_>,
    ) -> Response<Vec<u8>> {
        let shape = context
            .shape
            .or(context.provider.map(|provider| provider.error));
        let shape = shape.unwrap_or(ErrorShape::OpenAi);
        let body = shape::body(
            shape,
            &shape::Report {
                status: self.status(),
                code: self.code(),
                message: &self.message(context),
                remediation: &messages::remediation(self, links, context),
                request_id: request_id.as_str(),
                target: context.target.as_ref(),
            },
        );
        let mut response = Response::new(body);
        *response.status_mut() = self.status();
        self.headers(shape, request_id, response.headers_mut());
        response
    }

    fn headers(self, shape: ErrorShape, request_id: RequestId, headers: &mut HeaderMap) {
        let flag = |value: bool| HeaderValue::from_static(if value { "true" } else { "false" });
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // Read by the OpenAI and Anthropic SDKs before they look at the status.
        headers.insert("x-should-retry", flag(self.retry_can_help()));
        if let Ok(id) = HeaderValue::from_str(request_id.as_str()) {
            headers.insert(headers::REQUEST_ID, id.clone());
            headers.insert(shape::request_id_header(shape), id);
        }
        if shape == ErrorShape::Bedrock {
            let kind = shape::bedrock_type(self.status());
            headers.insert("x-amzn-errortype", HeaderValue::from_static(kind));
        }
        if self.status() == StatusCode::SERVICE_UNAVAILABLE {
            headers.insert(header::RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if matches!(self, Self::RequestMalformed(_)) {
            // What follows on this connection cannot be trusted to be a request.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

#[cfg(test)]
mod tests;

//! Why Keyside refuses a request, and what it tells the client.
//!
//! Every cause is one row of one table: a stable code, and a status that makes SDKs retry only if a
//! retry can help. Each has a message that names the remedy. Everything a refused client reads is
//! written here, and none of it contains a secret.

mod budget;
mod messages;
pub(crate) mod sanitize;
mod shape;

pub(crate) use budget::RefusalBudget;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use keyside_config::{ErrorShape, Provider, headers::REQUEST_ID};
use keyside_credentials::{self as credentials, RequestId};

use crate::suggestion::{Correction, Suggestion};

/// The cause of a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    WorkspaceMissing,
    WorkspaceNotAllowed,
    ProviderUnknown,
    PathNotAllowed,
    BrowserNotAllowed,
    /// The request may come from a browser. Same code as above, another remedy.
    BrowserNotExcluded,
    HostNotAllowed,
    PeerNotAllowed,
    /// What is wrong with the request; continues "The request …".
    RequestMalformed(&'static str),
    HeadTooLarge,
    UpstreamUnreachable(Sent),
    UpstreamTls,
    UpstreamTimeout(Wait),
    Draining,
    /// A limit on requests or upstream connections is reached.
    Overloaded,
    /// Refused by the resolver: workspace, credential, label, environment or store.
    Credential(credentials::Refusal),
}

/// Which deadline passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wait {
    Connection,
    FirstByte,
}

/// Whether the provider may have acted on a request without a response.
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

/// What a refused client is told.
#[derive(Clone, Debug)]
pub(crate) struct Explanation {
    pub(crate) code: &'static str,
    pub(crate) status: StatusCode,
    /// What is wrong, and what to do about it.
    pub(crate) message: String,
    /// A link to the page where a person can fix it, or a text without an admin app.
    pub(crate) remediation: String,
}

/// What the message of a refusal may use. `workspace` is set only if the text can be a workspace
/// id: anything else in its place may be a key that was pasted there.
#[derive(Default)]
pub(crate) struct RefusalContext<'a> {
    pub(crate) workspace: Option<&'a str>,
    pub(crate) provider: Option<&'a Provider>,
    pub(crate) label: Option<&'a str>,
    /// The egress proxy on the provider's route, as `host:port`.
    pub(crate) proxy: Option<&'a str>,
    /// The environment that the request asks for, or that the listener is pinned to.
    pub(crate) environment: Option<credentials::Environment>,
    /// The environment that the listener is pinned to.
    pub(crate) pin: Option<credentials::Environment>,
    /// Whether only the settings can add a key, because the process has no admin app.
    pub(crate) declared_only: bool,
    pub(crate) shape: Option<ErrorShape>,
    pub(crate) target: Option<SanitizedTarget<'a>>,
    pub(crate) suggestion: Option<Suggestion<'a>>,
}

/// The parts of a request's target that a refusal may repeat; never its query.
pub(crate) struct SanitizedTarget<'a> {
    pub(crate) method: &'a str,
    /// The path after the provider, or the whole path if it names none.
    pub(crate) path: String,
    pub(crate) host: Option<&'a str>,
    /// The address that base URLs for this listener begin with: `http://localhost:7380`.
    pub(crate) address: String,
    /// The next part of the base URL: `/w/acme` if the path names a workspace or must name one.
    pub(crate) workspace: String,
}

impl SanitizedTarget<'_> {
    /// Method and path, for messages.
    pub(crate) fn request(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// The base URL that the correction leads to.
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
    /// The stable code, used in the body, the metrics and the log.
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
                    // Claude Code, Gemini CLI and LangChain read 404 as "no such model".
                    C::WorkspaceUnknown | C::LabelUnknown => StatusCode::BAD_REQUEST,
                    // SDKs do not retry 403.
                    C::EnvironmentNotAllowed | C::BudgetExhausted(_) => StatusCode::FORBIDDEN,
                    C::CredentialMissing
                    | C::CredentialRevoked
                    | C::CredentialExpired
                    | C::SecretGone => StatusCode::UNAUTHORIZED,
                    C::CredentialUndecryptable => StatusCode::INTERNAL_SERVER_ERROR,
                    C::StoreUnavailable | C::SecretUnavailable => StatusCode::SERVICE_UNAVAILABLE,
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

    /// Whether the same request can succeed later without anybody acting, and without being charged
    /// twice. If it may have reached the provider, a person must decide.
    fn retry_can_help(self) -> bool {
        matches!(
            self,
            Self::UpstreamUnreachable(Sent::No)
                | Self::UpstreamTimeout(Wait::Connection)
                | Self::Draining
                | Self::Overloaded
                | Self::Credential(
                    credentials::Refusal::StoreUnavailable
                        | credentials::Refusal::SecretUnavailable
                )
        )
    }

    /// For a request that was permitted: whether the provider may have got it.
    pub(crate) fn may_have_been_sent(self) -> bool {
        matches!(
            self,
            Self::UpstreamUnreachable(Sent::Perhaps)
                | Self::UpstreamTimeout(Wait::FirstByte)
                | Self::Credential(credentials::Refusal::CredentialRevoked)
        )
    }

    /// The message for a person: what is wrong and what to do about it.
    pub(crate) fn message(self, context: &RefusalContext<'_>) -> String {
        messages::message(self, context)
    }

    /// What a client is told, in whichever shape.
    pub(crate) fn explain(self, links: Option<&str>, context: &RefusalContext<'_>) -> Explanation {
        Explanation {
            code: self.code(),
            status: self.status(),
            message: self.message(context),
            remediation: messages::remediation(self, links, context),
        }
    }

    /// The response to the client, in the provider's own error shape. Its extensions have the
    /// [`Explanation`], for a caller in this process.
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
        let explanation = self.explain(links, context);
        let body = shape::body(
            shape,
            &shape::Report {
                status: explanation.status,
                code: explanation.code,
                message: &explanation.message,
                remediation: &explanation.remediation,
                request_id: request_id.as_str(),
                target: context.target.as_ref(),
            },
        );
        let mut response = Response::new(body);
        *response.status_mut() = explanation.status;
        self.headers(shape, request_id, response.headers_mut());
        response.extensions_mut().insert(explanation);
        response
    }

    fn headers(self, shape: ErrorShape, request_id: RequestId, headers: &mut HeaderMap) {
        let flag = |value: bool| HeaderValue::from_static(if value { "true" } else { "false" });
        headers.insert(
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/json"),
        );
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        // The OpenAI and Anthropic SDKs read this before they look at the status.
        headers.insert("x-should-retry", flag(self.retry_can_help()));
        if let Ok(id) = HeaderValue::from_str(request_id.as_str()) {
            headers.insert(REQUEST_ID, id.clone());
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
            // The bytes after a malformed request may not be a request.
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
    }
}

#[cfg(test)]
mod tests;

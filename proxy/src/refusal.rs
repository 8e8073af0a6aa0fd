//! Why a request is not answered by the provider, and how that is said.
//!
//! Every cause is one row of one table: a stable code, a status that makes SDKs
//! retry only where a retry can help, and words that name the way out. What the
//! client reads is made here and nowhere else; it never holds a secret.

mod shape;

use crate::request_id::RequestId;
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use keyside_config::{ErrorShape, Provider};
use keyside_credentials as credentials;

/// A cause of refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    WorkspaceMissing,
    WorkspaceNotAllowed,
    ProviderUnknown,
    PathNotAllowed,
    BrowserNotAllowed,
    HostNotAllowed,
    PeerNotAllowed,
    /// What is wrong with the request, to follow "The request".
    RequestMalformed(&'static str),
    UpstreamUnreachable,
    UpstreamTls,
    UpstreamTimeout,
    Draining,
    /// The resolver's: workspace, credential, label, environment, store.
    Credential(credentials::Refusal),
}

impl From<credentials::Refusal> for Refusal {
    fn from(refusal: credentials::Refusal) -> Self {
        Self::Credential(refusal)
    }
}

/// What is known of a refused request, to say it in its own words.
#[derive(Clone, Copy, Default)]
pub(crate) struct About<'a> {
    pub(crate) workspace: Option<&'a str>,
    pub(crate) provider: Option<&'a Provider>,
    pub(crate) label: Option<&'a str>,
    pub(crate) shape: Option<ErrorShape>,
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
            Self::ProviderUnknown => ("provider_unknown", StatusCode::NOT_FOUND),
            Self::PathNotAllowed => ("path_not_allowed", StatusCode::FORBIDDEN),
            Self::BrowserNotAllowed => ("browser_not_allowed", StatusCode::FORBIDDEN),
            Self::HostNotAllowed => ("host_not_allowed", StatusCode::FORBIDDEN),
            Self::PeerNotAllowed => ("peer_not_allowed", StatusCode::FORBIDDEN),
            Self::RequestMalformed(_) => ("request_malformed", StatusCode::BAD_REQUEST),
            Self::UpstreamUnreachable => ("upstream_unreachable", StatusCode::BAD_GATEWAY),
            Self::UpstreamTls => ("upstream_tls", StatusCode::BAD_GATEWAY),
            Self::UpstreamTimeout => ("upstream_timeout", StatusCode::GATEWAY_TIMEOUT),
            Self::Draining => ("draining", StatusCode::SERVICE_UNAVAILABLE),
            Self::Credential(refusal) => {
                let status = match refusal {
                    C::WorkspaceUnknown | C::LabelUnknown => StatusCode::NOT_FOUND,
                    C::EnvironmentNotAllowed => StatusCode::FORBIDDEN,
                    C::CredentialMissing | C::CredentialRevoked | C::CredentialExpired => {
                        StatusCode::UNAUTHORIZED
                    }
                    C::CredentialUndecryptable => StatusCode::INTERNAL_SERVER_ERROR,
                    C::StoreUnavailable => StatusCode::SERVICE_UNAVAILABLE,
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
            Self::UpstreamUnreachable,
            Self::UpstreamTls,
            Self::UpstreamTimeout,
            Self::Draining,
        ];
        own.into_iter()
            .chain(credentials::Refusal::ALL.map(Self::Credential))
            .map(Self::code)
    }

    /// A retry of the same request can succeed without anybody acting.
    fn retry_can_help(self) -> bool {
        matches!(
            self,
            Self::UpstreamUnreachable
                | Self::UpstreamTimeout
                | Self::Draining
                | Self::Credential(credentials::Refusal::StoreUnavailable)
        )
    }

    fn message(self, about: &About<'_>) -> String {
        use credentials::Refusal as C;
        let workspace = about.workspace.unwrap_or("?");
        let provider = about
            .provider
            .map_or("this provider", |provider| &provider.name);
        let key = match about.label {
            Some(label) => {
                format!("The {provider} key labelled \"{label}\" of workspace \"{workspace}\"")
            }
            None => format!("The {provider} key of workspace \"{workspace}\""),
        };
        match self {
            Self::WorkspaceMissing => "The request names no workspace. Send the header X-Keyside-Workspace, or put /w/{workspace} in front of the path of the base URL.".into(),
            Self::WorkspaceNotAllowed => format!("This listener may not be used for workspace \"{workspace}\". Use a listener whose `workspaces` setting names it."),
            Self::ProviderUnknown => "The path names no provider that Keyside knows. Use /{provider}/... or /w/{workspace}/{provider}/..., for example /openai/v1/models.".into(),
            Self::PathNotAllowed => format!("Keyside does not forward this method and path to {provider}. Only the provider's inference endpoints are reachable, written plainly."),
            Self::BrowserNotAllowed => "Keyside does not answer web pages: the request has an Origin or Sec-Fetch-Site header. Call it from a program.".into(),
            Self::HostNotAllowed => "The Host header is not one of this listener's names. Call it as localhost, 127.0.0.1 or [::1], or add the name to `proxy.hosts`.".into(),
            Self::PeerNotAllowed => "The user this program runs as may not use this socket. Add its user id to the listener's `peer_uids`.".into(),
            Self::RequestMalformed(what) => format!("The request {what}."),
            Self::UpstreamUnreachable => format!("Keyside could not get an answer from {provider}: the connection failed or broke off. Try again, and check the network and `base_url`."),
            Self::UpstreamTls => format!("The certificate of {provider} could not be verified, so the key was not sent. Check `base_url`, the clock and the trusted certificates."),
            Self::UpstreamTimeout => format!("{provider} did not answer in time. Try again, or raise `proxy.deadlines.first_byte`."),
            Self::Draining => "Keyside is shutting down. Try again.".into(),
            Self::Credential(refusal) => match refusal {
                C::WorkspaceUnknown => format!("There is no workspace \"{workspace}\". Create it, or correct the tag."),
                C::CredentialMissing => format!("Workspace \"{workspace}\" has no {provider} key for this request. Add one."),
                C::CredentialRevoked => format!("{key} was revoked. Credential revoked keys stay refused: add a new one."),
                C::CredentialExpired => format!("{key} has expired. Rotate it."),
                C::LabelUnknown => format!("Workspace \"{workspace}\" has no {provider} key labelled \"{}\". Correct X-Keyside-Label, or add the key.", about.label.unwrap_or("?")),
                C::EnvironmentNotAllowed => "This listener is pinned to the other environment. Use a key of the environment it is pinned to.".into(),
                C::CredentialUndecryptable => format!("{key} cannot be opened: its record is damaged or was changed. The audit log says more; rotate the key."),
                C::StoreUnavailable => "The credential store cannot be reached. Try again.".into(),
            },
        }
    }

    /// Where a person can mend it: a page of the admin UI.
    fn remediation(self, public_url: &str, about: &About<'_>) -> String {
        use credentials::Refusal as C;
        let page = match self {
            Self::Credential(C::WorkspaceUnknown) => "/workspaces",
            Self::Credential(C::CredentialMissing | C::LabelUnknown) => "/keys/new",
            Self::Credential(_) => "/keys",
            _ => return format!("{public_url}/"),
        };
        let mut link = format!("{public_url}{page}");
        let workspace = about.workspace.map(|workspace| ("workspace", workspace));
        let provider = about
            .provider
            .map(|provider| ("provider", provider.id.as_str()));
        for (index, (name, value)) in workspace.into_iter().chain(provider).enumerate() {
            let value =
                percent_encoding::utf8_percent_encode(value, percent_encoding::NON_ALPHANUMERIC);
            link.push_str(&format!(
                "{}{name}={value}",
                if index == 0 { '?' } else { '&' }
            ));
        }
        link
    }

    /// The refusal as the provider itself would put it.
    pub(crate) fn respond(
        self,
        public_url: &str,
        request_id: RequestId,
        about: &About<'_>,
    ) -> Response<Vec<u8>> {
        let shape = about
            .shape
            .or(about.provider.map(|provider| provider.error));
        let shape = shape.unwrap_or(ErrorShape::OpenAi);
        let body = shape::body(
            shape,
            &shape::Report {
                status: self.status(),
                code: self.code(),
                message: &self.message(about),
                remediation: &self.remediation(public_url, about),
                request_id: &request_id.to_string(),
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
        if let Ok(id) = HeaderValue::try_from(request_id.to_string()) {
            headers.insert("x-keyside-request-id", id.clone());
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

//! Writes the message of each refusal: what is wrong and what to do about it.

use http::Method;
use keyside_config::{AdminPage, Group};
use keyside_credentials::{Cap, Environment, Refusal as Denied};

use super::{Refusal, RefusalContext, Sent, Wait};
use crate::suggestion::{Correction, Suggestion};

/// A sentence or two. Workspace, label, host, method and path are the client's own text, which JSON
/// escapes; nothing else of the request is repeated.
pub(super) fn message(refusal: Refusal, context: &RefusalContext<'_>) -> String {
    let provider = context
        .provider
        .map_or("this provider", |provider| &provider.name);
    if let Some(said) = context
        .proxy
        .and_then(|proxy| proxy_message(refusal, provider, proxy))
    {
        return said;
    }
    match refusal {
        Refusal::WorkspaceMissing => format!(
            "The request names no workspace. Send the header X-Keyside-Workspace, or put \
             /w/{{workspace}} in front of the base URL's path.{}",
            base_url(context)
        ),
        Refusal::WorkspaceNotAllowed => "This listener may not be used for the workspace that the \
            request names. Use one whose `workspaces` setting names it."
            .into(),
        Refusal::ProviderUnknown => format!(
            "The path of {} names no provider that Keyside knows.{} A path begins with \
             /{{provider}}/ or /w/{{workspace}}/{{provider}}/, as in /openai/v1/models; `keyside \
             provider list` shows the providers.",
            request(context),
            suggestion_text(context)
        ),
        Refusal::PathNotAllowed => format!(
            "Keyside does not forward {} to {provider}.{}{}",
            request(context),
            path_hint(context),
            suggestion_text(context)
        ),
        Refusal::BrowserNotAllowed => "Keyside does not answer web pages, and the request has an \
            Origin, Sec-Fetch-Site or other header that only browsers send. Call it from a \
            program."
            .into(),
        Refusal::BrowserNotExcluded => "Keyside does not answer web pages, and under this name a \
            browser's GET looks like a program's. Send one of the headers Authorization, \
            x-api-key, api-key, x-goog-api-key (any value will do) or X-Keyside-Workspace; or \
            call localhost."
            .into(),
        Refusal::HostNotAllowed => format!(
            "The Host header of {}{} is not one of this listener's names. Use localhost, \
             127.0.0.1 or [::1], or add the name to `proxy.hosts`.",
            request(context),
            host(context)
        ),
        Refusal::PeerNotAllowed => "The user this program runs as may not use this socket. Add \
            its user id to the listener's `peer_uids`."
            .into(),
        Refusal::RequestMalformed(what) => format!("The request {what}."),
        Refusal::HeadTooLarge => "The request has more header fields, or larger ones, than \
            `proxy.limits.headers` and `proxy.limits.header_bytes` allow."
            .into(),
        Refusal::UpstreamUnreachable(Sent::No) => format!(
            "Keyside could not connect to {provider}. Try again, and check the network and the \
             provider's `base_url`."
        ),
        Refusal::UpstreamUnreachable(Sent::Perhaps) => format!(
            "Keyside sent the request to {provider} and got no valid response: the connection was \
             lost, or the head of the response was malformed or too large. The provider may have \
             acted on the request and charged for it; see the log."
        ),
        Refusal::UpstreamTls => format!(
            "The certificate of {provider} could not be verified, so the key was not sent. Check \
             `base_url`, the clock and the trusted certificates."
        ),
        Refusal::UpstreamTimeout(Wait::Connection) => format!(
            "Keyside could not connect to {provider} in time. Try again, and check the network; \
             or raise `proxy.deadlines.connect`."
        ),
        Refusal::UpstreamTimeout(Wait::FirstByte) => format!(
            "{provider} got the request and did not respond in time; it may still charge for it. \
             For slow models raise `proxy.deadlines.first_byte`."
        ),
        Refusal::Draining => "Keyside is shutting down. Try again.".into(),
        Refusal::Overloaded => {
            "Keyside has reached a limit of `proxy.limits`: too many requests or upstream \
             connections are open, in total or for this workspace. Try again."
                .into()
        }
        Refusal::Credential(denied) => credential_message(denied, provider, context),
    }
}

/// The request's method and path.
fn request(context: &RefusalContext<'_>) -> String {
    let asked = context.target.as_ref();
    asked.map_or("this request".into(), |asked| asked.request())
}

fn host(context: &RefusalContext<'_>) -> String {
    let host = context.target.as_ref().and_then(|asked| asked.host);
    host.map(|host| format!(", \"{host}\","))
        .unwrap_or_default()
}

/// The correct request: sentences with a leading space, or nothing.
fn suggestion_text(context: &RefusalContext<'_>) -> String {
    let id = context.provider.map_or("", |provider| provider.id.as_str());
    match &context.suggestion {
        Some(Suggestion::Withheld(group, methods)) => {
            let name = match group {
                Group::Inference => "inference",
                Group::Stored => "stored",
            };
            let others = match methods.is_empty() {
                true => String::new(),
                false => allowed_methods(methods),
            };
            format!(
                "{others} This request belongs to the group \"{name}\", which the settings do not \
                 allow. Add it under [providers.{id}]: allow = [\"inference\", \"stored\"]."
            )
        }
        Some(Suggestion::Methods(methods)) => allowed_methods(methods),
        Some(Suggestion::Path(correction)) => did_you_mean(context, correction),
        None if context.provider.is_some() => format!(
            " Only the routes of its allowed groups are forwarded, without escapes or extra \
             slashes; `extra_routes` under [providers.{id}] adds others. Do not add routes that \
             administer an account or issue credentials."
        ),
        None => String::new(),
    }
}

/// A hint about the spelling of a path that may be right otherwise.
fn path_hint(context: &RefusalContext<'_>) -> &'static str {
    let path = context.target.as_ref().map_or("", |asked| &asked.path);
    match path {
        doubled if doubled.contains("//") => {
            " Its path has an empty segment, `//`: the base URL has an extra slash at its end."
        }
        closed if closed.len() > 1 && closed.ends_with('/') => {
            " Its path ends with a slash, which no route has."
        }
        _ => "",
    }
}

/// The right base URL, if nothing else is wrong.
fn base_url(context: &RefusalContext<'_>) -> String {
    match (&context.suggestion, &context.target) {
        (Some(Suggestion::Path(correction)), Some(asked)) => format!(
            " Set {} to {} for this client.",
            correction.variable.unwrap_or("the base URL"),
            asked.base_url(correction)
        ),
        _ => String::new(),
    }
}

fn allowed_methods(methods: &[&Method]) -> String {
    let methods: Vec<_> = methods.iter().map(|method| method.as_str()).collect();
    format!(" This path takes {}.", methods.join(" or "))
}

fn did_you_mean(context: &RefusalContext<'_>, correction: &Correction<'_>) -> String {
    let Some(asked) = &context.target else {
        return String::new();
    };
    let (method, path, provider) = (asked.method, &correction.path, correction.provider);
    let meant = match (&correction.misspelt, context.provider) {
        (Some(written), _) => {
            format!("There is no provider \"{written}\"; did you mean {provider}?")
        }
        (None, Some(_)) => format!("Did you mean {method} {path}?"),
        // Without a provider, the path would be as wrong as the one that was asked for.
        (None, None) => format!("Did you mean {method} /{provider}{path}?"),
    };
    format!(
        " {meant} Set {} to {} for this client.",
        correction.variable.unwrap_or("the base URL"),
        asked.base_url(correction)
    )
}

/// The message if an egress proxy is involved, for the refusals that a proxy can cause.
fn proxy_message(refusal: Refusal, provider: &str, proxy: &str) -> Option<String> {
    match refusal {
        Refusal::UpstreamUnreachable(Sent::No) => Some(format!(
            "Keyside could not connect to {provider} through the egress proxy {proxy}. Check that \
             the proxy is running and allows this host, and check its address and password \
             (`egress`, or HTTPS_PROXY in Keyside's environment); see the log."
        )),
        Refusal::UpstreamTimeout(Wait::Connection) => Some(format!(
            "Keyside could not connect to {provider} through the egress proxy {proxy} in time. \
             Try again, and check the proxy; or raise `proxy.deadlines.connect`."
        )),
        Refusal::UpstreamTls => Some(format!(
            "The certificate of {provider}, received through the egress proxy {proxy}, could not \
             be verified, so the key was not sent. Through a proxy, certificates are verified \
             against public roots and `egress.ca_file`. If the proxy inspects TLS, add its \
             certificate authority to `egress.ca_file`, or set `egress.roots = \"system\"`."
        )),
        _ => None,
    }
}

fn credential_message(denied: Denied, provider: &str, context: &RefusalContext<'_>) -> String {
    let workspace = context.workspace.unwrap_or("?");
    let id = context
        .provider
        .map_or("?", |provider| provider.id.as_str());
    let labelled = context
        .label
        .map(|label| format!(" labelled \"{label}\""))
        .unwrap_or_default();
    let key = format!("the {provider} key{labelled} of workspace \"{workspace}\"");
    match denied {
        Denied::WorkspaceUnknown if context.workspace.is_none() => "The workspace in the request \
            is not a valid id: 1 to 64 of a-z, 0-9 and -. Correct the base URL or \
            X-Keyside-Workspace."
            .into(),
        Denied::WorkspaceUnknown => {
            let create = match context.declared_only {
                true => format!("declare a key for it{IN_THE_SETTINGS}"),
                false => format!("create it: keyside workspace add {workspace}"),
            };
            format!(
                "There is no workspace \"{workspace}\". Correct the base URL or \
                 X-Keyside-Workspace, or {create}"
            )
        }
        Denied::CredentialMissing => {
            let (kind, option) = match context.environment {
                Some(Environment::Live) => (" live", " -e live"),
                Some(Environment::Sandbox) => (" sandbox", " -e sandbox"),
                None => ("", ""),
            };
            let add = match context.declared_only {
                true => format!("Declare one{IN_THE_SETTINGS}"),
                false => format!("Add one: keyside key add -w {workspace} -p {id}{option}"),
            };
            format!("Workspace \"{workspace}\" has no{kind} {provider} key for this request. {add}")
        }
        Denied::CredentialRevoked => {
            format!("Credential revoked: {key} was revoked for good. Add a new one.")
        }
        Denied::CredentialExpired => format!("Credential expired: {key} has expired. Rotate it."),
        Denied::LabelUnknown => {
            let add = match context.declared_only {
                true => format!("declare the key{IN_THE_SETTINGS}"),
                false => format!(
                    "add the key; keyside key list -w {workspace} -p {id} lists the existing keys."
                ),
            };
            format!(
                "Workspace \"{workspace}\" has no {provider} key{labelled}. Correct \
                 X-Keyside-Label, or {add}"
            )
        }
        Denied::EnvironmentNotAllowed => environment_message(&key, context),
        Denied::CredentialUndecryptable => format!(
            "Credential undecryptable: the record of {key}, or of the whole workspace, is damaged \
             or was changed; `document_damaged` in the audit log says which. Restore a backup. Or \
             add the key again: here if only its record is damaged, otherwise in another workspace."
        ),
        Denied::SecretGone => format!(
            "The secret of {key} does not exist in its configured source, or Keyside may not read \
             it. Put it there, or correct `source` in its [[credential]] table; `/readyz` and the \
             log name the source."
        ),
        Denied::SecretUnavailable => format!(
            "The secret of {key} cannot be read now: its source does not respond. Try again; see \
             `/readyz` and the log."
        ),
        Denied::BudgetExhausted(cap) => exhausted_message(cap, &key, workspace, context),
        Denied::StoreUnavailable => {
            "Keyside's store is unreachable, or cannot write run records. Try again.".into()
        }
    }
}

/// Which two of the listener, the request and the key contradict each other.
fn environment_message(key: &str, context: &RefusalContext<'_>) -> String {
    match (context.pin, context.environment) {
        (Some(pin), Some(asked)) if pin != asked => format!(
            "The request asks for a {asked} key, and this listener is pinned to {pin}. Correct \
             X-Keyside-Environment, or use another listener."
        ),
        (Some(pin), _) => format!(
            "This listener is pinned to {pin}, and {key} is of the other environment. Use a {pin} \
             key, or another listener."
        ),
        (None, Some(asked)) => format!(
            "The request asks for a {asked} key, and {key} is of the other environment. Correct \
             X-Keyside-Environment or X-Keyside-Label."
        ),
        (None, None) => format!("The environment of {key} is not allowed here. Use another key."),
    }
}

fn exhausted_message(cap: Cap, key: &str, workspace: &str, context: &RefusalContext<'_>) -> String {
    let (whose, option) = match cap.is_of_workspace() {
        true => (
            format!("Workspace \"{workspace}\""),
            format!("keyside workspace edit {workspace}"),
        ),
        false => (
            key.replacen("the ", "The ", 1),
            "keyside key edit ID".to_owned(),
        ),
    };
    let (unit, flag) = match cap {
        Cap::CredentialRequests | Cap::WorkspaceRequests => ("requests", "--requests-per-day"),
        Cap::CredentialTokens | Cap::WorkspaceTokens => ("tokens", "--tokens-per-day"),
    };
    let raise = match context.declared_only {
        true => format!("change `limits`{IN_THE_SETTINGS}"),
        false => format!("{option} {flag} NUMBER"),
    };
    format!(
        "{whose} has reached its limit of {unit} for today. It ends at 00:00 UTC; to raise it: \
         {raise}"
    )
}

/// Where a person can fix the cause: a page of the admin UI, or text if there is none.
pub(super) fn remediation(
    refusal: Refusal,
    links: Option<&str>,
    context: &RefusalContext<'_>,
) -> String {
    let Some(public_url) = links else {
        return match refusal {
            Refusal::Credential(Denied::BudgetExhausted(_)) => {
                "Raise `limits` in the [[credential]] table of this Keyside's settings, or wait \
                 until 00:00 UTC."
                    .into()
            }
            Refusal::Credential(_) => {
                "Declare the key in a [[credential]] table of this Keyside's settings, or put its \
                 secret into the source that the table names."
                    .into()
            }
            _ => "Correct the client, or the settings of this Keyside.".into(),
        };
    };
    let page = match refusal {
        Refusal::Credential(Denied::WorkspaceUnknown) => AdminPage::Workspaces,
        Refusal::Credential(Denied::BudgetExhausted(cap)) if cap.is_of_workspace() => {
            AdminPage::Workspaces
        }
        Refusal::Credential(
            Denied::CredentialMissing | Denied::CredentialRevoked | Denied::LabelUnknown,
        ) => AdminPage::NewKey,
        Refusal::Credential(_) => AdminPage::Keys,
        _ => AdminPage::Guide,
    };
    let provider = context.provider.map(|provider| provider.id.as_str());
    page.url(public_url, context.workspace, provider)
}

/// Where a key is declared.
const IN_THE_SETTINGS: &str = " in a [[credential]] table of this Keyside's settings.";

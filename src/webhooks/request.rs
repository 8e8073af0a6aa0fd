//! The request that tells a receiver of an event, in the form that the receiver expects.

use base64::{Engine, prelude::BASE64_STANDARD};
use bytes::Bytes;
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::{
    HeaderValue, Method, Request,
    header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE},
};
use keyside_config::{BaseUrl, WebhookFormat, WebhookUrl};
use keyside_credentials::Timestamp;
use serde_json::json;
use sha2::Sha256;

use super::{
    message::Message,
    secret::{SigningKey, WebhookSecret},
};

/// A request, and the host that it is for.
pub(super) struct Delivery {
    pub(super) origin: BaseUrl,
    pub(super) request: Request<Bytes>,
}

/// Builds the request of an attempt at this time. `None` if the secret is of another format.
pub(super) fn delivery(
    format: &WebhookFormat,
    secret: &WebhookSecret,
    message: &Message,
    now: Timestamp,
) -> Option<Delivery> {
    match (format, secret) {
        (WebhookFormat::Standard(url), WebhookSecret::SigningKeys(keys)) => {
            standard(url, keys, message, now)
        }
        (WebhookFormat::GithubDispatch(url), WebhookSecret::Authorization(token)) => {
            github_dispatch(url, token, message)
        }
        (WebhookFormat::Slack, WebhookSecret::Url(url)) => slack(url, message),
        _ => None,
    }
}

/// Standard Webhooks 1.0.0. The time is that of the attempt, because receivers refuse old ones.
fn standard(
    url: &WebhookUrl,
    keys: &[SigningKey],
    message: &Message,
    now: Timestamp,
) -> Option<Delivery> {
    let body = message.payload().to_string();
    let timestamp = now.as_second().to_string();
    let signature = signature(keys, &message.id, &timestamp, &body);
    let mut delivery = post(url, body)?;
    let headers = delivery.request.headers_mut();
    headers.insert("webhook-id", HeaderValue::from_str(&message.id).ok()?);
    headers.insert("webhook-timestamp", HeaderValue::from_str(&timestamp).ok()?);
    headers.insert("webhook-signature", HeaderValue::from_str(&signature).ok()?);
    Some(delivery)
}

/// `POST /repos/{owner}/{repo}/dispatches`
/// (<https://docs.github.com/en/rest/repos/repos#create-a-repository-dispatch-event>).
fn github_dispatch(url: &WebhookUrl, token: &HeaderValue, message: &Message) -> Option<Delivery> {
    let event_type = match message.event.is_change() {
        true => "credential-changed".to_owned(),
        false => message.event.as_str().replace(['.', '_'], "-"),
    };
    let body = json!({ "event_type": event_type, "client_payload": message.payload() });
    let mut delivery = post(url, body.to_string())?;
    let headers = delivery.request.headers_mut();
    headers.insert(
        ACCEPT,
        HeaderValue::from_static("application/vnd.github+json"),
    );
    headers.insert(AUTHORIZATION, token.clone());
    headers.insert(
        "x-github-api-version",
        HeaderValue::from_static("2022-11-28"),
    );
    Some(delivery)
}

fn slack(url: &WebhookUrl, message: &Message) -> Option<Delivery> {
    let body = json!({ "text": format!("Keyside: {}", slack_text(&message.text())) });
    post(url, body.to_string())
}

/// Slack reads these three characters as markup
/// (<https://docs.slack.dev/messaging/formatting-message-text/#escaping>).
fn slack_text(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

fn post(url: &WebhookUrl, body: String) -> Option<Delivery> {
    let request = Request::builder()
        .method(Method::POST)
        .uri(url.path.as_str())
        .header(CONTENT_TYPE, "application/json");
    Some(Delivery {
        origin: url.origin.clone(),
        request: request.body(body.into()).ok()?,
    })
}

/// `v1,` and the HMAC-SHA256 of id, time and body in base64; one for each key.
fn signature(keys: &[SigningKey], id: &str, timestamp: &str, body: &str) -> String {
    let sign = |SigningKey(key): &SigningKey| {
        let mut hmac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes a key of any length");
        hmac.update(format!("{id}.{timestamp}.{body}").as_bytes());
        format!(
            "v1,{}",
            BASE64_STANDARD.encode(hmac.finalize().into_bytes())
        )
    };
    let signatures: Vec<_> = keys.iter().map(sign).collect();
    signatures.join(" ")
}

#[cfg(test)]
mod tests {
    use keyside_credentials::{CredentialChange, CredentialEventKind as Kind};
    use serde_json::Value;

    use super::*;
    use crate::webhooks::message::tests::message;

    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

    fn rotated() -> Message {
        message(Kind::Changed(CredentialChange::Rotated))
    }

    fn now() -> Timestamp {
        Timestamp::from_second(1_614_265_330).unwrap()
    }

    fn json_of(delivery: &Delivery) -> Value {
        serde_json::from_slice(delivery.request.body()).unwrap()
    }

    #[test]
    fn signatures_are_those_of_the_reference_libraries() {
        // The test vector of the libraries of standard-webhooks, and the same with a second key.
        let keys: [SigningKey; 1] = [KEY.parse().unwrap()];
        let (id, timestamp) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330");
        let body = r#"{"test": 2432232314}"#;
        let first = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        assert_eq!(signature(&keys, id, timestamp, body), first);
        let [one] = keys;
        let other: SigningKey = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYX".parse().unwrap();
        let both = signature(&[one, other], id, timestamp, body);
        let (of_one, of_other) = both.split_once(' ').unwrap();
        assert_eq!(of_one, first);
        assert_eq!(of_other, SECOND);
    }

    const SECOND: &str = "v1,/485aUtxlie+TIScVpHggMfqOB4so2KWb7+Gf727B44=";

    #[test]
    fn a_standard_request_is_signed_over_what_it_carries() {
        let url: WebhookUrl = "https://hooks.example/keyside/".parse().unwrap();
        let format = WebhookFormat::Standard(url);
        let secret = WebhookSecret::SigningKeys(vec![KEY.parse().unwrap()]);
        let delivery = delivery(&format, &secret, &rotated(), now()).unwrap();
        assert_eq!(delivery.origin.to_string(), "https://hooks.example");
        assert_eq!(delivery.request.uri(), "/keyside/");
        let header = |name: &str| delivery.request.headers()[name].to_str().unwrap();
        assert_eq!(header("webhook-id"), "evt_1");
        assert_eq!(header("webhook-timestamp"), "1614265330");
        let body = std::str::from_utf8(delivery.request.body()).unwrap();
        let keys: [SigningKey; 1] = [KEY.parse().unwrap()];
        let expected = signature(&keys, "evt_1", "1614265330", body);
        assert_eq!(header("webhook-signature"), expected);
        assert_eq!(json_of(&delivery), rotated().payload());
    }

    #[test]
    fn github_gets_a_repository_dispatch_with_its_token() {
        let url: WebhookUrl = "https://api.github.com/repos/acme/app/dispatches"
            .parse()
            .unwrap();
        let format = WebhookFormat::GithubDispatch(url);
        let token = HeaderValue::from_static("Bearer ghp_token");
        let secret = WebhookSecret::Authorization(token);
        for (kind, event_type) in [
            (
                Kind::Changed(CredentialChange::Revoked),
                "credential-changed",
            ),
            (Kind::WorkspaceErased, "credential-changed"),
            (Kind::Expiring(now()), "credential-expiring"),
            (Kind::CheckFailed(None), "check-failed"),
        ] {
            let message = message(kind);
            let delivery = delivery(&format, &secret, &message, now()).unwrap();
            let headers = delivery.request.headers();
            assert_eq!(headers[AUTHORIZATION], "Bearer ghp_token");
            let body = json_of(&delivery);
            assert_eq!(body["event_type"], event_type);
            assert_eq!(body["client_payload"], message.payload());
        }
    }

    #[test]
    fn slack_gets_a_line_without_markup() {
        let secret = WebhookSecret::Url("https://hooks.slack.com/services/T/B/x".parse().unwrap());
        let delivery = delivery(&WebhookFormat::Slack, &secret, &rotated(), now()).unwrap();
        assert_eq!(delivery.request.uri(), "/services/T/B/x");
        let text = "Keyside: credential.rotated: acme/openai/main (live)";
        assert_eq!(json_of(&delivery)["text"], text);
        assert_eq!(slack_text("<!channel> & co"), "&lt;!channel&gt; &amp; co");
    }

    #[test]
    fn a_secret_of_another_format_signs_nothing() {
        let secret = WebhookSecret::Authorization(HeaderValue::from_static("Bearer x"));
        assert!(delivery(&WebhookFormat::Slack, &secret, &rotated(), now()).is_none());
    }
}

//! Live checks of a key by its provider.

use std::sync::Mutex;

use async_trait::async_trait;
use keyside_credentials::{Finding, Grant, LiveCheck, Verification, audit::Event};
use keyside_store::faulty::Gate;

use super::*;

/// A provider that says of every key what it was told to say, once its gate is open.
pub(super) struct Provider {
    finding: Mutex<Finding>,
    pub(super) gate: Gate,
}

impl Default for Provider {
    fn default() -> Self {
        Self {
            finding: Mutex::new(found(Verification::Accepted, 200)),
            gate: Gate::default(),
        }
    }
}

impl Provider {
    pub(super) fn say(&self, finding: Finding) {
        *self.finding.lock().unwrap() = finding;
    }
}

#[async_trait]
impl LiveCheck for Provider {
    async fn check(&self, _: &Grant) -> Finding {
        self.gate.pass().await;
        *self.finding.lock().unwrap()
    }
}

fn found(verification: Verification, status: u16) -> Finding {
    Finding {
        verification,
        status: Some(status),
    }
}

const NEXT: &str = "sk-proj-CanaryOfTheKeyOnTrial0123456789abcdefghijklmnopqrstuvw";

#[tokio::test]
async fn a_live_check_is_returned_and_audited_with_a_remedy() {
    let api = Api::with_workspace().await;
    let id = api.post(CREDENTIALS, &new_credential(json!({}))).await.id();
    let verify = format!("{CREDENTIALS}/{id}/verify");
    for (finding, said, advice) in [
        (found(Verification::Accepted, 200), "accepted", None),
        (
            found(Verification::Limited, 403),
            "limited",
            Some("permissions"),
        ),
        (
            found(Verification::Rejected, 401),
            "rejected",
            Some("rotate"),
        ),
        (Finding::UNANSWERED, "unreachable", Some("try again")),
    ] {
        api.provider.say(finding);
        let answer = api.post_text(&verify, "").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let view = answer.json();
        assert_eq!(view["verification"], said);
        assert_eq!(view["status"], "active", "the key stays in use");
        let warning = view["warnings"][0].as_str();
        match advice {
            Some(advice) => assert!(warning.unwrap().contains(advice), "{view}"),
            None => assert_eq!(warning, None),
        }
        let record = api.audit().await.pop().unwrap();
        assert_eq!(record.event, Event::CredentialVerified);
        assert_eq!(record.note, Some(finding.to_string()));
        assert_eq!(
            view["fingerprint"].as_str(),
            record.fingerprint.as_ref().map(|it| it.as_str())
        );
    }
}

#[tokio::test]
async fn an_unreachable_provider_does_not_change_the_time_of_the_last_verification() {
    let api = Api::with_workspace().await;
    let id = api.post(CREDENTIALS, &new_credential(json!({}))).await.id();
    let verify = format!("{CREDENTIALS}/{id}/verify");
    let verified = api.post_text(&verify, "").await.json();
    assert!(verified["lastVerifiedAt"].is_string(), "{verified}");
    api.provider.say(Finding::UNANSWERED);
    let unanswered = api.post_text(&verify, "").await.json();
    assert_eq!(unanswered["lastVerifiedAt"], verified["lastVerifiedAt"]);
}

#[tokio::test]
async fn a_revoked_key_is_shown_to_nobody() {
    let api = Api::with_workspace().await;
    let id = api.post(CREDENTIALS, &new_credential(json!({}))).await.id();
    api.delete(&format!("{CREDENTIALS}/{id}")).await;
    let answer = api
        .post_text(&format!("{CREDENTIALS}/{id}/verify"), "")
        .await;
    assert_eq!(answer.kind(), "credential-revoked", "{}", answer.body);
}

#[tokio::test]
async fn a_rotation_that_asks_for_a_check_depends_on_the_provider() {
    let api = Api::with_workspace().await;
    let id = api.post(CREDENTIALS, &new_credential(json!({}))).await.id();
    let rotate = |check: Value| {
        let path = format!("{CREDENTIALS}/{id}");
        let request = api
            .request("PATCH", &path)
            .header("if-match", "*")
            .header("content-type", "application/json");
        let body = json!({ "secret": NEXT, "check": check });
        api.send_body(request, body.to_string().into())
    };
    api.provider.say(found(Verification::Rejected, 401));
    let refused = rotate(json!(true)).await;
    assert_eq!(refused.kind(), "secret-refused", "{}", refused.body);
    assert!(refused.body.contains("401"), "{}", refused.body);
    let unchecked = rotate(json!(false)).await.json();
    assert_eq!(unchecked["verification"], Value::Null);
    api.provider.say(found(Verification::Accepted, 200));
    let checked = rotate(json!(true)).await.json();
    assert_eq!(checked["verification"], "accepted");
    assert_eq!(checked["lastVerifiedAt"], checked["lastRotatedAt"]);
}

//! Live checks of a key by its provider.

use std::sync::Mutex;

use async_trait::async_trait;
use keyside_credentials::{
    Cause, Finding, Grant, LiveCheck, Verification, audit::Event, runs::Tokens,
};
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
            finding: Mutex::new(accepted()),
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

/// The same provider, asked with a prompt.
pub(super) struct Prompting(pub(super) Arc<Provider>);

#[async_trait]
impl LiveCheck for Prompting {
    async fn check(&self, grant: &Grant) -> Finding {
        Finding {
            tokens: Some(Tokens {
                input: Some(8),
                output: Some(1),
                ..Tokens::default()
            }),
            ..self.0.check(grant).await
        }
    }
}

fn accepted() -> Finding {
    Finding::of_verdict(Verification::Accepted, Some(200))
}

fn rejected() -> Finding {
    Finding::because(Cause::WrongKey, Some(401))
}

const NEXT: &str = "sk-proj-CanaryOfTheKeyOnTrial0123456789abcdefghijklmnopqrstuvw";

/// Sends a rotation to [`NEXT`] with these further fields.
async fn rotate(api: &Api, id: &str, more: Value) -> Answer {
    let request = api
        .request("PATCH", &format!("{CREDENTIALS}/{id}"))
        .header("if-match", "*")
        .header("content-type", "application/json");
    let mut body = json!({ "secret": NEXT });
    body.as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    api.send_body(request, body.to_string().into()).await
}

#[tokio::test]
async fn a_live_check_is_returned_and_audited_with_a_next_step() {
    let api = Api::with_workspace().await;
    let id = api.post(CREDENTIALS, &new_credential(json!({}))).await.id();
    let verify = format!("{CREDENTIALS}/{id}/verify");
    for (finding, said, cause, advice) in [
        (accepted(), "accepted", None, None),
        (
            Finding::because(Cause::PermissionMissing, Some(403)),
            "limited",
            Some("permission_missing"),
            Some("permissions"),
        ),
        (
            rejected(),
            "rejected",
            Some("wrong_key"),
            Some("https://platform.openai.com/api-keys"),
        ),
        (
            Finding::because(Cause::NoFunds, Some(429)),
            "rejected",
            Some("no_funds"),
            Some("https://platform.openai.com/settings/organization/billing"),
        ),
        (
            Finding::UNANSWERED,
            "unreachable",
            Some("timed_out"),
            Some("try again"),
        ),
        (
            Finding::because(Cause::ResponseUnexpected, Some(302)),
            "inconclusive",
            Some("response_unexpected"),
            Some("base_url"),
        ),
    ] {
        let before = api.audit().await.len();
        api.provider.say(finding);
        let answer = api.post_text(&verify, "").await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let view = answer.json();
        assert_eq!(view["verification"], said);
        assert_eq!(view["check"]["verdict"], said);
        assert_eq!(view["check"]["cause"].as_str(), cause);
        assert_eq!(
            view["check"]["status"].as_u64(),
            finding.status.map(u64::from)
        );
        assert_eq!(view["check"]["usage"], Value::Null);
        assert!(view["check"]["at"].is_string(), "{view}");
        assert_eq!(view["status"], "active", "the key stays in use");
        let remediation = view["check"]["remediation"].as_str();
        let warning = view["warnings"][0].as_str();
        match advice {
            Some(advice) => {
                assert!(warning.unwrap().contains(advice), "{view}");
                assert!(remediation.unwrap().contains(advice), "{view}");
            }
            None => assert_eq!((warning, remediation), (None, None)),
        }
        let shown = api.get(&format!("{CREDENTIALS}/{id}")).await.json();
        assert_eq!(shown["check"], view["check"], "the last one is shown");
        let records = api.audit().await;
        let audited = &records[before..];
        let record = audited.last();
        let verdict_changed = finding.cause != Some(Cause::NoFunds);
        assert_eq!(record.is_some(), verdict_changed, "{finding:?}");
        let Some(record) = record else { continue };
        assert_eq!(record.event, Event::CredentialVerified);
        let note = record.note.as_deref().unwrap();
        assert!(note.starts_with(&finding.to_string()), "{note}");
        assert!(note.ends_with(cause.unwrap_or("200")), "{note}");
        assert_eq!(
            view["fingerprint"].as_str(),
            record.fingerprint.as_ref().map(|it| it.as_str())
        );
    }
}

#[tokio::test]
async fn a_prompt_is_sent_on_request_and_its_tokens_are_shown() {
    let api = Api::with_workspace().await;
    let id = api.post(CREDENTIALS, &new_credential(json!({}))).await.id();
    let verify = format!("{CREDENTIALS}/{id}/verify");
    let prompted = api.post(&verify, &json!({ "prompt": true })).await.json();
    assert_eq!(prompted["check"]["usage"]["inputTokens"], 8);
    assert_eq!(prompted["check"]["usage"]["outputTokens"], 1);
    assert_eq!(prompted["check"]["usage"]["reasoningTokens"], Value::Null);
    for body in [json!({}), json!({ "prompt": false }), Value::Null] {
        let plain = api.post(&verify, &body).await.json();
        assert_eq!(plain["check"]["usage"], Value::Null, "{plain}");
    }
    let wrong = api.post(&verify, &json!({ "prompts": true })).await;
    assert_eq!(wrong.kind(), "fields-invalid", "{}", wrong.body);
    let tried = json!({ "label": "b", "check": "required", "prompt": true });
    let added = api.post(CREDENTIALS, &new_credential(tried)).await.json();
    assert_eq!(added["check"]["usage"]["inputTokens"], 8);
    let azure = json!({
        "label": "c", "check": "try", "prompt": true,
        "provider": "azure-openai", "endpoint": "https://my.openai.azure.com",
    });
    let azure = api.post(CREDENTIALS, &new_credential(azure)).await.json();
    assert!(
        azure["warnings"].to_string().contains("no prompt"),
        "{azure}"
    );
}

#[tokio::test]
async fn a_required_check_decides_whether_a_key_is_created() {
    let api = Api::with_workspace().await;
    api.provider.say(rejected());
    let required = new_credential(json!({ "check": "required" }));
    let refused = api.post(CREDENTIALS, &required).await;
    assert_eq!(refused.status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(refused.kind(), "secret-refused", "{}", refused.body);
    let problem = refused.json();
    assert_eq!(problem["check"]["verdict"], "rejected");
    assert_eq!(problem["check"]["cause"], "wrong_key");
    assert_eq!(problem["check"]["status"], 401);
    assert_eq!(problem["check"]["at"], Value::Null);
    let remedy = problem["remedy"].as_str().unwrap();
    assert!(
        remedy.contains("https://platform.openai.com/api-keys"),
        "{remedy}"
    );
    assert!(!refused.body.contains(SECRET), "{}", refused.body);
    let listed = api.get(CREDENTIALS).await.json();
    assert_eq!(listed["items"], json!([]), "nothing is stored");
    api.provider.say(accepted());
    let added = api.post(CREDENTIALS, &required).await.json();
    assert_eq!(added["verification"], "accepted");
    assert_eq!(added["check"]["verdict"], "accepted");
    assert_eq!(added["lastVerifiedAt"], added["createdAt"]);
}

#[tokio::test]
async fn a_key_that_is_only_tried_is_stored_with_a_warning() {
    let api = Api::with_workspace().await;
    api.provider
        .say(Finding::because(Cause::NoFunds, Some(402)));
    let tried = new_credential(json!({ "check": "try" }));
    let added = api.post(CREDENTIALS, &tried).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.body);
    let added = added.json();
    assert_eq!(added["check"]["cause"], "no_funds");
    let warnings = added["warnings"].to_string();
    assert!(
        warnings.contains("settings/organization/billing"),
        "{warnings}"
    );
    let skipped = new_credential(json!({ "label": "b", "check": "skip" }));
    let skipped = api.post(CREDENTIALS, &skipped).await.json();
    assert_eq!(skipped["check"], Value::Null);
    let absent = new_credential(json!({ "label": "c" }));
    let absent = api.post(CREDENTIALS, &absent).await.json();
    assert_eq!(absent["check"], Value::Null, "not asked by default");
    for wrong in [json!(true), json!("always"), json!(1)] {
        let wrong = new_credential(json!({ "label": "d", "check": wrong }));
        let answer = api.post(CREDENTIALS, &wrong).await;
        assert_eq!(answer.kind(), "fields-invalid", "{}", answer.body);
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
async fn a_rotation_that_requires_a_check_depends_on_the_provider() {
    let api = Api::with_workspace().await;
    let id = api.post(CREDENTIALS, &new_credential(json!({}))).await.id();
    api.provider.say(rejected());
    let refused = rotate(&api, &id, json!({ "check": "required" })).await;
    assert_eq!(refused.kind(), "secret-refused", "{}", refused.body);
    assert!(refused.body.contains("401"), "{}", refused.body);
    assert!(!refused.body.contains(NEXT), "{}", refused.body);
    let path = format!("{CREDENTIALS}/{id}");
    let versions = api.get(&path).await.json()["versions"].clone();
    assert_eq!(versions.as_array().unwrap().len(), 1, "{versions}");
    let tried = rotate(&api, &id, json!({ "check": "try" })).await.json();
    assert_eq!(tried["verification"], "rejected");
    assert!(tried["warnings"].to_string().contains("401"), "{tried}");
    let unchecked = rotate(&api, &id, json!({ "check": "skip" })).await.json();
    assert_eq!(unchecked["verification"], Value::Null);
    api.provider.say(accepted());
    let checked = rotate(&api, &id, json!({ "check": "required" }))
        .await
        .json();
    assert_eq!(checked["verification"], "accepted");
    assert_eq!(checked["lastVerifiedAt"], checked["lastRotatedAt"]);
}

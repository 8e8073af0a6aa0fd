//! What an application asks before it shows a step that needs a provider.

use keyside_credentials::{Finding, Verification};

use super::*;

const READINESS: &str = "/api/integrations/readiness";

impl Api {
    /// The only item for this provider.
    async fn readiness_of(&self, provider: &str) -> Value {
        let path = format!("{READINESS}?workspaceId=acme&providers={provider}");
        let answer = self.get(&path).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        let items = answer.json()["items"].clone();
        assert_eq!(items.as_array().unwrap().len(), 1, "{items}");
        items[0].clone()
    }
}

fn page(path: &str) -> String {
    format!("https://keys.example.test/{path}?workspace=acme&provider=openai")
}

#[tokio::test]
async fn each_state_has_its_word_and_the_page_that_remedies_it() {
    let api = Api::with_workspace().await;
    let missing = api.readiness_of("openai").await;
    assert_eq!(
        missing,
        json!({
            "provider": "openai", "status": "missing", "environment": null, "label": null,
            "remediation": page("keys/new"),
        })
    );
    let id = api.post(CREDENTIALS, &new_credential(json!({}))).await.id();
    let ready = api.readiness_of("openai").await;
    assert_eq!(
        ready,
        json!({
            "provider": "openai", "status": "ready", "environment": "live", "label": "default",
            "remediation": null,
        })
    );
    api.provider
        .say(Finding::of_verdict(Verification::Rejected, Some(401)));
    api.post_text(&format!("{CREDENTIALS}/{id}/verify"), "")
        .await;
    let rejected = api.readiness_of("openai").await;
    assert_eq!(rejected["status"], "rejected");
    assert_eq!(rejected["label"], "default");
    assert_eq!(rejected["remediation"], page("keys"));
    let sandbox = json!({ "label": "qa", "environment": "sandbox", "expiresAt": in_days(3) });
    let other = api.post(CREDENTIALS, &new_credential(sandbox)).await.id();
    let expiring = api.readiness_of("openai").await;
    assert_eq!(expiring["status"], "expiring");
    assert_eq!(expiring["environment"], "sandbox");
    assert_eq!(expiring["label"], "qa");
    assert_eq!(expiring["remediation"], page("keys"));
    api.delete(&format!("{CREDENTIALS}/{other}")).await;
    assert_eq!(api.readiness_of("openai").await["status"], "rejected");
    api.delete(&format!("{CREDENTIALS}/{id}")).await;
    let revoked = api.readiness_of("openai").await;
    assert_eq!(revoked["status"], "revoked");
    assert_eq!(revoked["remediation"], page("keys/new"));
}

#[tokio::test]
async fn providers_come_in_the_order_of_the_question() {
    let api = Api::with_workspace().await;
    api.post(CREDENTIALS, &new_credential(json!({}))).await;
    let names = async |query: &str| {
        let answer = api
            .get(&format!("{READINESS}?workspaceId=acme{query}"))
            .await;
        let items = answer.json()["items"].as_array().unwrap().clone();
        let names = items.iter().map(|item| item["provider"].as_str().unwrap());
        names.collect::<Vec<_>>().join(" ")
    };
    assert_eq!(names("").await, "openai", "those with a key");
    let asked = names("&providers=openai,anthropic,%20gemini,openai").await;
    assert_eq!(asked, "openai anthropic gemini");
}

#[tokio::test]
async fn an_unchanged_answer_is_a_304_until_a_key_changes() {
    let api = Api::with_workspace().await;
    let path = format!("{READINESS}?workspaceId=acme&providers=openai");
    let again = async |tag: &str| {
        let request = api.request("GET", &path).header("if-none-match", tag);
        api.send(request).await
    };
    let tag = api.get(&path).await.header("etag").to_owned();
    assert!(tag.starts_with('"'), "{tag}");
    let unchanged = again(&tag).await;
    assert_eq!(unchanged.status, StatusCode::NOT_MODIFIED);
    assert_eq!((unchanged.header("etag"), &*unchanged.body), (&*tag, ""));
    api.post(CREDENTIALS, &new_credential(json!({}))).await;
    let changed = again(&tag).await;
    assert_eq!(changed.status, StatusCode::OK, "{}", changed.body);
    assert_ne!(changed.header("etag"), tag);
}

#[tokio::test]
async fn a_wrong_question_is_refused_by_parameter() {
    let api = Api::with_workspace().await;
    for (query, status, fields) in [
        ("", 422, "workspaceId"),
        ("?workspaceId=A", 422, "workspaceId"),
        ("?workspaceId=acme&providers=", 422, "providers"),
        ("?workspaceId=acme&providers=openai,none", 422, "providers"),
        (
            "?workspaceId=acme&provider=openai",
            422,
            "(unknown parameter)",
        ),
        ("?workspaceId=beta", 404, ""),
    ] {
        let answer = api.get(&format!("{READINESS}{query}")).await;
        assert_eq!(answer.status, status, "{query}: {}", answer.body);
        assert_eq!(
            answer.fields().join(" "),
            fields,
            "{query}: {}",
            answer.body
        );
    }
}

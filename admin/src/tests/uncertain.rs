//! A store that does not confirm whether it made a change.

use keyside_credentials::audit::Event;

use super::*;

async fn send_once(api: &Api) -> Answer {
    let request = api
        .request("POST", CREDENTIALS)
        .header("content-type", "application/json")
        .header("idempotency-key", "once");
    let body = new_credential(json!({})).to_string();
    api.send_body(request, body.into()).await
}

#[tokio::test]
async fn an_uncertain_outcome_is_not_reported_as_unchanged() {
    let api = Api::with_workspace().await;
    api.linked().await;
    api.log.fail_syncs(true);
    let unknown = send_once(&api).await;
    assert_eq!(unknown.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(unknown.kind(), "outcome-unknown", "{}", unknown.body);
    assert!(!unknown.header("retry-after").is_empty());
    let said = unknown.body.to_lowercase();
    assert!(!said.contains("nothing was changed"), "{said}");
    api.log.fail_syncs(false);
    // It was made, and sending the request again finds it and makes no other.
    let again = send_once(&api).await;
    assert_eq!(again.status, StatusCode::CREATED, "{}", again.body);
    let listed = api.get(CREDENTIALS).await.json();
    let items = listed["items"].as_array().unwrap();
    assert_eq!(items.len(), 1, "{listed}");
    assert_eq!(items[0]["id"], again.json()["id"]);
    let records = api.audit().await;
    let created = records.iter();
    let created = created.filter(|record| record.event == Event::CredentialCreated);
    assert_eq!(created.count(), 1);
    let verified = api.get("/api/audit/verify").await.json();
    assert_eq!(verified["intact"], true, "{verified}");
}

#[tokio::test]
async fn a_full_disk_is_reported_as_unchanged() {
    let api = Api::with_workspace().await;
    api.log.reserve_disk_space_for(Effect::Finishes);
    let full = send_once(&api).await;
    assert_eq!(full.status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(full.kind(), "store-unavailable", "{}", full.body);
    assert!(full.body.contains("nothing was changed"), "{}", full.body);
    api.log.reserve_disk_space_for(Effect::Adds);
    let listed = api.get(CREDENTIALS).await.json();
    assert_eq!(listed["items"], json!([]));
}

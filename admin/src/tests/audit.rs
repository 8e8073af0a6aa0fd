//! The audit log at the API: searched, taken away, checked.

use keyside_credentials::audit::Event;

use super::*;

const AUDIT: &str = "/api/audit";

/// A workspace `acme` with a credential that came and went, and an empty `beta`.
async fn storied() -> (Api, String) {
    let api = Api::with_workspace().await;
    api.post("/api/workspaces", &json!({ "id": "beta" })).await;
    let id = api.post(CREDENTIALS, &new_credential(json!({}))).await.id();
    api.delete(&format!("{CREDENTIALS}/{id}")).await;
    (api, id)
}

fn events(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap().iter();
    items
        .map(|item| item["event"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn the_log_is_read_newest_first_and_page_by_page() {
    let (api, _) = storied().await;
    let first = api.get(&format!("{AUDIT}?limit=3")).await.json();
    assert_eq!(
        events(&first),
        [
            "credential_revoked",
            "credential_created",
            "workspace_created"
        ]
    );
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = api
        .get(&format!("{AUDIT}?limit=3&cursor={cursor}"))
        .await
        .json();
    assert_eq!(events(&second), ["workspace_created", "token_created"]);
    assert_eq!(second["nextCursor"], Value::Null);
}

#[tokio::test]
async fn records_are_found_by_workspace_actor_event_and_credential() {
    let (api, id) = storied().await;
    let me = api.get("/api/tokens").await.json()["items"][0]["id"].clone();
    let me = me.as_str().unwrap();
    for (query, count) in [
        ("workspaceId=acme".to_owned(), 3),
        ("workspaceId=beta".to_owned(), 1),
        (format!("actor={me}"), 4),
        ("actor=system".to_owned(), 1),
        ("event=credential_revoked".to_owned(), 1),
        (format!("credentialId={id}"), 2),
        (format!("credentialId={id}&event=workspace_created"), 0),
    ] {
        let page = api.get(&format!("{AUDIT}?{query}")).await.json();
        assert_eq!(events(&page).len(), count, "{query}: {page}");
    }
    for wrong in [
        "workspaceId=A%20b",
        "event=nothing",
        "cursor=x",
        "cursor=0",
        "since=1",
    ] {
        let answer = api.get(&format!("{AUDIT}?{wrong}")).await;
        assert_eq!(answer.kind(), "fields-invalid", "{wrong}");
    }
}

#[tokio::test]
async fn a_record_names_who_what_and_the_fingerprint_of_the_secret() {
    let (api, id) = storied().await;
    let page = api
        .get(&format!("{AUDIT}?event=credential_created"))
        .await
        .json();
    let record = &page["items"][0];
    assert_eq!(record["credentialId"], *id);
    assert_eq!(record["workspaceId"], "acme");
    assert!(
        record["fingerprint"]
            .as_str()
            .unwrap()
            .starts_with("sha256:")
    );
    assert!(record["requestId"].as_str().unwrap().starts_with("req_"));
}

#[tokio::test]
async fn an_export_can_be_checked_with_nothing_but_sha256_and_says_where_it_ends() {
    let (api, _) = storied().await;
    let answer = api.get(&format!("{AUDIT}/export")).await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let lines = ndjson(&answer);
    let (end, records) = lines.split_last().unwrap();
    let mut previous = "0".repeat(64);
    for record in records {
        let stored = record["stored"].as_str().unwrap();
        assert_eq!(record["hash"], sha256(stored));
        assert_eq!(record["previous"], *previous);
        let stored: Value = serde_json::from_str(stored).unwrap();
        assert_eq!(stored["previous"], *previous);
        previous = record["hash"].as_str().unwrap().to_owned();
    }
    assert_eq!(end["end"]["count"], records.len());
    assert_eq!(end["end"]["position"], records.len());
    assert_eq!(end["end"]["hash"], *previous);
    // The last one is the export itself: it was on record before the first line left.
    assert_eq!(records.last().unwrap()["event"], "audit_exported");
}

#[tokio::test]
async fn an_export_that_broke_off_goes_on_where_it_was() {
    let (api, _) = storied().await;
    let whole = ndjson(&api.get(&format!("{AUDIT}/export")).await);
    let rest = ndjson(&api.get(&format!("{AUDIT}/export?from=3")).await);
    assert_eq!(rest[0], whole[2]);
}

#[tokio::test]
async fn a_workspaces_export_holds_nothing_of_another() {
    let (api, _) = storied().await;
    let answer = api
        .get(&format!("{AUDIT}/export?workspaceId=acme&format=csv"))
        .await;
    assert!(answer.header("content-type").starts_with("text/csv"));
    let lines: Vec<_> = answer.body.lines().collect();
    assert!(
        lines[0].starts_with("\"position\",\"at\",\"event\""),
        "{}",
        lines[0]
    );
    let events = [
        "workspace_created",
        "credential_created",
        "credential_revoked",
        "audit_exported",
    ];
    assert_eq!(lines.len(), 1 + events.len(), "{}", answer.body);
    for (line, event) in lines[1..].iter().zip(events) {
        assert!(line.contains(event) && line.contains("\"acme\""), "{line}");
    }
}

#[tokio::test]
async fn taking_the_log_away_is_on_record_with_what_was_taken() {
    let (api, _) = storied().await;
    api.get(&format!(
        "{AUDIT}/export?workspaceId=acme&from=2&format=csv"
    ))
    .await;
    let record = api.audit().await.pop().unwrap();
    assert_eq!(record.event, Event::AuditExported);
    assert_eq!(record.workspace.unwrap().as_str(), "acme");
    assert_eq!(record.note.as_deref(), Some("csv, from 2"));
}

#[tokio::test]
async fn whoever_is_limited_takes_the_log_of_their_workspaces_on_record_in_each() {
    let (api, _) = storied().await;
    api.post("/api/workspaces", &json!({ "id": "gamma" })).await;
    let owner = api.owner_of(&["acme", "beta"]).await;
    let export = api.send(owner("GET", &format!("{AUDIT}/export"))).await;
    assert_eq!(export.status, StatusCode::OK, "{}", export.body);
    let records = api.audit().await;
    let exports = records
        .iter()
        .filter(|record| record.event == Event::AuditExported);
    let named: Vec<_> = exports
        .map(|record| record.workspace.as_ref().unwrap().as_str())
        .collect();
    assert_eq!(named, ["acme", "beta"]);
}

#[tokio::test]
async fn a_workspace_that_is_not_ones_own_is_no_filter_and_asking_is_on_record() {
    let (api, _) = storied().await;
    let owner = api.owner_of(&["acme"]).await;
    for path in [AUDIT, "/api/audit/export", CREDENTIALS, "/api/runs"] {
        for foreign in ["beta", "nowhere"] {
            let before = api.audit().await.len();
            let path = format!("{path}?workspaceId={foreign}");
            let answer = api.send(owner("GET", &path)).await;
            assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
            assert_eq!(answer.kind(), "workspace-unknown", "{path}");
            let records = api.audit().await;
            assert_eq!(records.len(), before + 1, "{path}");
            let record = records.last().unwrap();
            assert_eq!(record.event, Event::Refused, "{path}");
            assert_eq!(record.workspace, None, "{path}");
        }
        let own = format!("{path}?workspaceId=acme");
        assert_eq!(api.send(owner("GET", &own)).await.status, StatusCode::OK);
    }
}

#[tokio::test]
async fn a_workspace_that_never_was_has_no_log_and_an_erased_one_has() {
    let (api, _) = storied().await;
    let before = api.audit().await.len();
    for path in [AUDIT, "/api/audit/export"] {
        let answer = api.get(&format!("{path}?workspaceId=acmee")).await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
        assert_eq!(answer.kind(), "workspace-unknown", "{path}");
    }
    assert_eq!(api.audit().await.len(), before);
    api.delete("/api/workspaces/beta").await;
    for path in [AUDIT, "/api/audit/export"] {
        let answer = api.get(&format!("{path}?workspaceId=beta")).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}");
        assert!(answer.body.contains("workspace_erased"), "{path}");
    }
}

#[tokio::test]
async fn checking_confirms_the_head_of_an_untouched_log() {
    let (api, _) = storied().await;
    let verified = api.get(&format!("{AUDIT}/verify")).await.json();
    let last = api.audit().await.pop().unwrap();
    assert_eq!(verified["intact"], true);
    assert_eq!(verified["position"], last.position);
    assert_eq!(verified["hash"], last.hash.to_string());
}

impl Api {
    /// The requests of an owner who is limited to `workspaces`.
    async fn owner_of(
        &self,
        workspaces: &[&str],
    ) -> impl Fn(&str, &str) -> http::request::Builder + use<> {
        let new = json!({ "name": "theirs", "role": "owner", "workspaces": workspaces });
        let made = self.post("/api/tokens", &new).await.json();
        let authorization = format!("Bearer {}", made["token"].as_str().unwrap());
        move |method, path| anonymous(method, path).header("authorization", &authorization)
    }
}

fn ndjson(answer: &Answer) -> Vec<Value> {
    let lines = answer.body.lines();
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn sha256(text: &str) -> String {
    use sha2::Digest;
    let digest = sha2::Sha256::digest(text);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

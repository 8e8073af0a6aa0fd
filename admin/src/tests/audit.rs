//! The audit log: list, export, verify.

use keyside_credentials::{
    PublicKey,
    audit::{Event, verify_export},
};

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

/// The token of the owner that made everything.
async fn me(api: &Api) -> String {
    let tokens = api.get("/api/tokens").await.json();
    tokens["items"][0]["id"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_log_is_read_newest_first_across_chains_and_page_by_page() {
    let (api, _) = storied().await;
    let path = format!("{AUDIT}?actor={}&limit=4", me(&api).await);
    let first = api.get(&path).await.json();
    assert_eq!(
        events(&first),
        [
            "credential_revoked",
            "credential_created",
            "chain_begun",
            "workspace_created"
        ]
    );
    let chains = first["items"].as_array().unwrap().iter();
    let chains: Vec<_> = chains.map(|item| item["chain"].as_str().unwrap()).collect();
    assert_eq!(
        chains,
        [
            "workspace/acme",
            "workspace/acme",
            "workspace/beta",
            "installation"
        ]
    );
    let cursor = first["nextCursor"].as_str().unwrap();
    let second = api.get(&format!("{path}&cursor={cursor}")).await.json();
    assert_eq!(events(&second), ["chain_begun", "workspace_created"]);
    assert_eq!(second["nextCursor"], Value::Null);
}

#[tokio::test]
async fn pages_miss_no_record_of_any_chain_and_show_none_twice() {
    let (api, _) = storied().await;
    let (mut seen, mut times, mut cursor) = (Vec::new(), Vec::new(), String::new());
    loop {
        let page = api.get(&format!("{AUDIT}?limit=2{cursor}")).await.json();
        for item in page["items"].as_array().unwrap() {
            let chain = item["chain"].as_str().unwrap().to_owned();
            seen.push((chain, item["position"].as_u64().unwrap()));
            let at: keyside_credentials::Timestamp = item["at"].as_str().unwrap().parse().unwrap();
            times.push(at);
        }
        match page["nextCursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert!(times.is_sorted_by(|one, next| one >= next), "{times:?}");
    seen.sort_unstable();
    let mut once = seen.clone();
    once.dedup();
    assert_eq!(seen, once);
    for (chain, count) in [("workspace/acme", 3), ("workspace/beta", 1)] {
        let of_chain = seen.iter().filter(|(of, _)| of == chain);
        let positions: Vec<_> = of_chain.map(|(_, position)| *position).collect();
        assert_eq!(positions, (1..=count).collect::<Vec<u64>>(), "{chain}");
    }
    // Two workspaces, a token; and links, as they came due.
    let of_installation = seen.iter().filter(|(of, _)| of == "installation");
    assert!(of_installation.count() >= 3, "{seen:?}");
}

#[tokio::test]
async fn records_are_found_by_workspace_actor_event_and_credential() {
    let (api, id) = storied().await;
    let me = me(&api).await;
    for (query, count) in [
        ("workspaceId=acme".to_owned(), 4),
        ("workspaceId=beta".to_owned(), 2),
        (format!("actor={me}"), 6),
        ("actor=system&event=token_created".to_owned(), 1),
        ("event=credential_revoked".to_owned(), 1),
        (format!("credentialId={id}"), 2),
        (format!("credentialId={id}&event=workspace_created"), 0),
        (format!("credentialId={id}&since=2020-01-01T00:00:00Z"), 2),
        (format!("credentialId={id}&until=2020-01-01T00:00:00Z"), 0),
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

/// Chain by chain as the file has it: the lines of its records, and its end.
fn by_chain(lines: &[Value]) -> Vec<(String, Vec<Value>, Value)> {
    let mut chains: Vec<(String, Vec<Value>, Value)> = Vec::new();
    for line in lines {
        let chain = line["chain"].as_str().unwrap();
        if chains.last().is_none_or(|(last, _, _)| last != chain) {
            chains.push((chain.to_owned(), Vec::new(), Value::Null));
        }
        let (_, records, end) = chains.last_mut().unwrap();
        assert_eq!(*end, Value::Null, "{chain} goes on after its end");
        match line.get("end") {
            Some(its) => *end = its.clone(),
            None => records.push(line.clone()),
        }
    }
    chains
}

#[tokio::test]
async fn an_export_can_be_checked_with_nothing_but_sha256_and_says_where_each_chain_ends() {
    let (api, _) = storied().await;
    let answer = api.get(&format!("{AUDIT}/export")).await;
    assert_eq!(answer.header("content-type"), "application/x-ndjson");
    let chains = by_chain(&ndjson(&answer));
    let names: Vec<_> = chains.iter().map(|(name, _, _)| name.as_str()).collect();
    assert_eq!(names, ["installation", "workspace/acme", "workspace/beta"]);
    for (name, records, end) in &chains {
        let mut previous = [0; 32];
        for (position, record) in (1..).zip(records) {
            assert_eq!(record["position"], position, "{name}");
            assert_eq!(record["previous"], hex(&previous), "{name} {position}");
            let stored = sha256(record["stored"].as_str().unwrap().as_bytes());
            previous = sha256(&[previous, stored].concat());
            assert_eq!(record["hash"], hex(&previous), "{name} {position}");
        }
        assert_eq!(end["records"], records.len(), "{name}");
        assert_eq!(end["hash"], hex(&previous), "{name}");
    }
    // The export itself was recorded before its first line was sent.
    let (_, installation, _) = &chains[0];
    let is_export = |record: &&Value| record["event"] == "audit_exported";
    assert_eq!(installation.iter().filter(is_export).count(), 1);
}

#[tokio::test]
async fn an_export_is_confirmed_by_the_public_key_alone_and_no_altered_one_is() {
    let (api, _) = storied().await;
    let exported = api.get(&format!("{AUDIT}/export")).await;
    let key = api.get(&format!("{AUDIT}/key")).await.json();
    let key = PublicKey::parse(key["publicKey"].as_str().unwrap()).unwrap();
    let checked = verify_export(exported.body.as_bytes(), &key).unwrap();
    let lines = ndjson(&exported);
    assert_eq!(checked.records as usize, lines.len() - 3);
    assert_eq!((checked.chains, checked.hidden), (3, 0));
    assert!(verify_export(exported.body.as_bytes(), &[7u8; 32].into()).is_err());
    let edited = exported
        .body
        .replace("credential_revoked", "credential_edited");
    assert!(verify_export(edited.as_bytes(), &key).is_err());
    for left_out in 0..lines.len() {
        let rest = exported.body.lines().enumerate();
        let rest = rest.filter(|(line, _)| *line != left_out);
        let rest: Vec<_> = rest.map(|(_, line)| line).collect();
        let rest = rest.join("\n");
        assert!(
            verify_export(rest.as_bytes(), &key).is_err(),
            "without line {left_out}"
        );
    }
}

#[tokio::test]
async fn what_is_hidden_from_someone_is_there_as_its_hash_and_can_be_checked_all_the_same() {
    let (api, _) = storied().await;
    let owner = api.owner_of(&["acme"]).await;
    let exported = api.send(owner("GET", &format!("{AUDIT}/export"))).await;
    let lines = ndjson(&exported);
    let chains = by_chain(&lines);
    let names: Vec<_> = chains.iter().map(|(name, _, _)| name.as_str()).collect();
    assert_eq!(names, ["installation", "workspace/acme"]);
    let hidden = lines.iter().filter(|line| line.get("recordHash").is_some());
    for line in hidden.clone() {
        let fields: Vec<_> = line.as_object().unwrap().keys().collect();
        assert_eq!(fields.len(), 3, "{line}");
        assert_eq!(line["chain"], "installation", "{line}");
    }
    let key = api.registry.audit().public_key();
    let checked = verify_export(exported.body.as_bytes(), &key).unwrap();
    assert_eq!(checked.hidden as usize, hidden.count());
    // The first token, and the other workspace.
    assert!(checked.hidden >= 2, "{checked:?}");
    assert!(!exported.body.contains("beta"), "{}", exported.body);
}

#[tokio::test]
async fn an_export_from_a_time_on_holds_what_is_not_older() {
    let (api, _) = storied().await;
    let whole = by_chain(&ndjson(&api.get(&format!("{AUDIT}/export")).await));
    let (name, records, end) = &whole[1];
    let from = records[1]["at"].as_str().unwrap();
    let path = format!("{AUDIT}/export?from={from}");
    let answer = api.get(&path).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    let rest = by_chain(&ndjson(&answer));
    assert_eq!(&rest[1].0, name);
    assert_eq!(rest[1].1, records[1..]);
    assert_eq!(&rest[1].2, end);
    // What came before is not in the file, so nobody can say that all of it is confirmed.
    let key = api.registry.audit().public_key();
    assert!(verify_export(answer.body.as_bytes(), &key).is_err());
    for wrong in ["3", "yesterday", "2026-11-29"] {
        let answer = api.get(&format!("{AUDIT}/export?from={wrong}")).await;
        assert_eq!(answer.fields(), ["from"], "{wrong}: {}", answer.body);
    }
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
        lines[0].starts_with("\"chain\",\"position\",\"at\",\"event\""),
        "{}",
        lines[0]
    );
    // First those that the installation's chain has of it, then its own.
    let events = [
        "workspace_created",
        "audit_exported",
        "chain_begun",
        "credential_created",
        "credential_revoked",
    ];
    assert_eq!(lines.len(), 1 + events.len(), "{}", answer.body);
    for (line, event) in lines[1..].iter().zip(events) {
        assert!(line.contains(event) && line.contains("\"acme\""), "{line}");
    }
}

#[tokio::test]
async fn an_export_of_the_log_is_audited_with_its_filter() {
    let (api, _) = storied().await;
    let from = "2026-01-02T03:04:05Z";
    api.get(&format!(
        "{AUDIT}/export?workspaceId=acme&from={from}&format=csv"
    ))
    .await;
    let record = api.audit().await.pop().unwrap();
    assert_eq!(record.event, Event::AuditExported);
    assert_eq!(record.workspace.unwrap().as_str(), "acme");
    assert_eq!(
        record.note.as_deref(),
        Some("csv, from 2026-01-02T03:04:05Z")
    );
}

#[tokio::test]
async fn an_export_with_a_limited_token_is_audited_in_each_workspace() {
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
async fn a_filter_by_a_workspace_out_of_scope_is_audited() {
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
async fn an_erased_workspace_has_an_audit_log_and_an_unknown_one_has_none() {
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
async fn checking_confirms_an_untouched_log_and_says_how_much_it_has_read() {
    let (api, _) = storied().await;
    let before = api.registry.audit().verify().await.unwrap();
    let verified = api.get(&format!("{AUDIT}/verify")).await.json();
    let after = api.registry.audit().verify().await.unwrap();
    let records = verified["records"].as_u64().unwrap();
    assert!((before.records..=after.records).contains(&records));
    let expected = json!({
        "intact": true, "records": records, "chains": 3,
        "chain": null, "position": null, "finding": null,
    });
    assert_eq!(verified, expected);
}

#[tokio::test]
async fn checking_names_the_chain_and_the_record_that_is_not_what_was_written() {
    let (api, _) = storied().await;
    alter_record(&api, "credential_revoked");
    let verified = api.get(&format!("{AUDIT}/verify")).await.json();
    assert_eq!(verified["intact"], false, "{verified}");
    assert_eq!(verified["chain"], "workspace/acme", "{verified}");
    let position = verified["position"].as_u64().unwrap();
    assert!((1..=3).contains(&position), "{verified}");
    assert!(!verified["finding"].as_str().unwrap().is_empty());
}

/// Alters the commit with this record in the store, as anyone who can write there could.
pub(super) fn alter_record(api: &Api, event: &str) {
    let event = format!("\"event\":\"{event}\"");
    let holds = |object: &[u8]| {
        let mut windows = object.windows(event.len());
        windows.any(|window| window == event.as_bytes())
    };
    let mut contents = api.memory.contents();
    let mut objects = contents.objects.values_mut();
    let object = objects.find(|object| holds(object)).unwrap();
    let last = object.len() - 1;
    object[last] ^= 1;
}

impl Api {
    /// The requests of an owner who is limited to `workspaces`.
    pub(super) async fn owner_of(
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

fn sha256(bytes: &[u8]) -> [u8; 32] {
    use sha2::Digest;
    sha2::Sha256::digest(bytes).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What was removed must not be what nobody notices.
#[tokio::test]
async fn a_page_and_an_export_without_damaged_records_do_not_look_complete() {
    let api = Api::with_workspace().await;
    let path = format!("{AUDIT}?limit=1000");
    let page = api.get(&path).await.json();
    assert_eq!(page["warnings"], json!([]));
    for n in 0..40 {
        let label = format!("k{n}");
        let new = new_credential(json!({ "label": label }));
        let made = api.post(CREDENTIALS, &new);
        assert_eq!(made.await.status, StatusCode::CREATED);
    }
    {
        let mut contents = api.memory.contents();
        assert!(!contents.segments.is_empty());
        contents.segments.clear();
    }
    let page = api.get(&path).await.json();
    let warning = page["warnings"][0].as_str().unwrap();
    assert!(warning.contains("workspace/acme"), "{warning}");
    for format in ["ndjson", "csv"] {
        let request = api.request("GET", &format!("{AUDIT}/export?format={format}"));
        let request = request.body(Body::empty()).unwrap();
        let response = api.router.clone().oneshot(request).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await;
        assert!(
            body.is_err(),
            "{format}: the export ends as if it were whole"
        );
    }
}

//! Lists: filters, pages and order.

use super::*;

async fn store(api: &Api, count: usize) {
    for number in 0..count {
        let body = new_credential(json!({ "label": format!("key-{number:02}") }));
        assert_eq!(
            api.post(CREDENTIALS, &body).await.status,
            StatusCode::CREATED
        );
    }
}

fn labels(page: &Value) -> Vec<String> {
    let items = page["items"].as_array().unwrap();
    items
        .iter()
        .map(|item| item["label"].as_str().unwrap().to_owned())
        .collect()
}

#[tokio::test]
async fn a_list_is_read_page_by_page_and_nothing_is_missed() {
    let api = Api::with_workspace().await;
    store(&api, 7).await;
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for expected in [3, 3, 1] {
        let page = api
            .get(&format!("{CREDENTIALS}?limit=3{cursor}"))
            .await
            .json();
        assert_eq!(labels(&page).len(), expected);
        seen.extend(labels(&page));
        cursor = match page["nextCursor"].as_str() {
            Some(next) => format!("&cursor={next}"),
            None => String::new(),
        };
    }
    assert_eq!(cursor, "");
    assert_eq!(seen, labels(&api.get(CREDENTIALS).await.json()));
}

#[tokio::test]
async fn a_cursor_holds_its_place_when_the_one_it_names_leaves_the_filter() {
    let api = Api::with_workspace().await;
    store(&api, 4).await;
    let page = api
        .get(&format!("{CREDENTIALS}?status=active&limit=2"))
        .await
        .json();
    let cursor = page["nextCursor"].as_str().unwrap();
    let last = page["items"][1]["id"].as_str().unwrap();
    api.delete(&format!("{CREDENTIALS}/{last}")).await;
    let next = api
        .get(&format!("{CREDENTIALS}?status=active&cursor={cursor}"))
        .await
        .json();
    assert_eq!(labels(&next), ["key-02", "key-03"]);
}

#[tokio::test]
async fn pages_miss_none_of_the_credentials_that_have_had_one_label() {
    let api = Api::with_workspace().await;
    let mut made = Vec::new();
    for _ in 0..4 {
        let id = api.post(CREDENTIALS, &new_credential(json!({}))).await.id();
        api.delete(&format!("{CREDENTIALS}/{id}")).await;
        made.push(id);
    }
    let (mut seen, mut cursor) = (Vec::new(), String::new());
    for _ in 0..made.len() {
        let page = api.get(&format!("{CREDENTIALS}?limit=1{cursor}")).await;
        let page = page.json();
        seen.push(page["items"][0]["id"].as_str().unwrap().to_owned());
        cursor = format!("&cursor={}", page["nextCursor"].as_str().unwrap_or(""));
    }
    assert_eq!(seen, made);
}

#[tokio::test]
async fn each_filter_narrows_a_list() {
    let api = Api::with_workspace().await;
    api.post("/api/workspaces", &json!({ "id": "beta" })).await;
    for other in [
        json!({ "label": "one" }),
        json!({ "label": "two", "environment": "sandbox" }),
        json!({ "label": "three", "workspaceId": "beta" }),
        json!({ "label": "four", "provider": "anthropic" }),
        json!({ "label": "five", "expiresAt": in_days(3) }),
    ] {
        api.post(CREDENTIALS, &new_credential(other)).await;
    }
    for (filter, expected) in [
        ("workspaceId=beta", vec!["three"]),
        ("workspaceId=gone", vec![]),
        ("provider=anthropic", vec!["four"]),
        ("environment=sandbox", vec!["two"]),
        ("status=expiring", vec!["five"]),
        ("status=revoked", vec![]),
        (
            "workspaceId=acme&provider=openai&environment=live&status=active",
            vec!["one"],
        ),
    ] {
        let page = api.get(&format!("{CREDENTIALS}?{filter}")).await.json();
        assert_eq!(labels(&page), expected, "{filter}");
    }
}

#[tokio::test]
async fn an_invalid_filter_is_an_error_and_not_a_longer_list() {
    let api = Api::with_workspace().await;
    for (query, field) in [
        ("status=alive", "status"),
        ("environment=test", "environment"),
        ("provider=nobody", "provider"),
        ("workspaceId=A%20B", "workspaceId"),
        ("limit=0", "limit"),
        ("limit=1001", "limit"),
        ("limit=many", "limit"),
        ("cursor=abc", "cursor"),
        ("status=active&status=revoked", "status"),
        ("workspace=acme", "(unknown parameter)"),
        (&format!("{SECRET}=1"), "(unknown parameter)"),
        (&format!("cursor={SECRET}"), "cursor"),
    ] {
        let answer = api.get(&format!("{CREDENTIALS}?{query}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        assert_eq!(answer.fields(), [field], "{query}");
    }
}

#[tokio::test]
async fn the_catalogue_has_the_steps_to_create_a_key() {
    let api = Api::open().await;
    let page = api.get("/api/integrations/providers").await.json();
    let providers = page["items"].as_array().unwrap();
    let builtin = Catalogue::builtin();
    assert_eq!(providers.len(), builtin.iter().count());
    for provider in providers {
        let id = &provider["id"];
        assert!(!provider["name"].as_str().unwrap().is_empty(), "{id}");
        assert!(
            !provider["key"]["pattern"].as_str().unwrap().is_empty(),
            "{id}"
        );
        assert!(
            !provider["key"]["example"].as_str().unwrap().is_empty(),
            "{id}"
        );
        assert!(
            provider["steps"]
                .as_array()
                .is_some_and(|steps| !steps.is_empty()),
            "{id}"
        );
        assert_ne!(
            provider["baseUrl"].is_null(),
            provider["endpoint"].is_null(),
            "{id}"
        );
    }
    let openai = &builtin.get("openai").unwrap().development;
    let shown = providers.iter().find(|provider| provider["id"] == "openai");
    let shown = &shown.unwrap()["development"];
    assert_eq!(shown["steps"], json!(openai.steps));
    assert_eq!(shown["expiresInDays"], json!(openai.expires_in_days));
    assert_eq!(shown["links"][0]["url"], json!(openai.links[0].url));
}

#[tokio::test]
async fn runs_are_listed_newest_first_without_content() {
    let api = Api::with_workspace().await;
    let made = api
        .post(CREDENTIALS, &new_credential(json!({})))
        .await
        .json();
    for number in 0..2 {
        api.registry.runs().record(run(&made, number));
    }
    api.registry.runs().flush().await;
    let page = api.get("/api/runs").await.json();
    assert_eq!(page["items"][0]["requestId"], "req-1");
    let first = &page["items"][1];
    assert_eq!(first["credentialId"], made["id"]);
    assert_eq!(first["latencyMs"], 1.5);
    assert_eq!(first["status"], 200);
    assert_eq!(first["inputTokens"], 3);
    assert_eq!(first["reasoningTokens"], 0);
    assert_eq!(
        (&first["kind"], &first["version"]),
        (&json!("traffic"), &json!(1))
    );
    for unknown in ["outputTokens", "cachedInputTokens", "cacheWriteTokens"] {
        assert_eq!(first.get(unknown), Some(&Value::Null), "{unknown}");
    }
    assert!(api.get("/api/runs?limit=0").await.status.is_client_error());
}

#[tokio::test]
async fn runs_are_found_by_what_is_known_of_them_and_a_filter_that_cannot_be_right_is_an_error() {
    let api = Api::with_workspace().await;
    let made = api
        .post(CREDENTIALS, &new_credential(json!({})))
        .await
        .json();
    for number in 0..3 {
        let run_id = (number == 1).then(|| "ci 1/2".into());
        let run = keyside_credentials::runs::Run {
            run_id,
            ..run(&made, number)
        };
        api.registry.runs().record(run);
    }
    api.registry.runs().flush().await;
    for (query, expected) in [
        ("", 3),
        ("workspaceId=acme", 3),
        (
            "provider=openai&label=default&status=200&outcome=completed",
            3,
        ),
        ("runId=ci%201%2F2", 1),
        ("kind=traffic&environment=live", 3),
        ("kind=smoke", 0),
        ("environment=sandbox", 0),
        ("credentialId=cred_aaaaaaaaaaaaaaaaaaaaaaaaaa", 0),
        ("requestId=req-2", 1),
        ("tag=nightly", 0),
        ("status=0", 0),
        ("since=2001-01-01T00:00:00Z", 3),
        ("until=2001-01-01T00:00:00Z", 0),
        ("label=default&limit=2", 2),
    ] {
        let page = api.get(&format!("/api/runs?{query}")).await.json();
        assert_eq!(page["items"].as_array().unwrap().len(), expected, "{query}");
    }
    for (query, field) in [
        ("workspaceId=A%20B", "workspaceId"),
        ("status=600", "status"),
        ("kind=Traffic", "kind"),
        ("environment=test", "environment"),
        ("credentialId=default", "credentialId"),
        ("cursor=next", "cursor"),
        ("by=provider", "(unknown parameter)"),
        ("status=ok", "status"),
        ("since=yesterday", "since"),
        ("until=2001-01-01", "until"),
        ("run=ci", "(unknown parameter)"),
    ] {
        let answer = api.get(&format!("/api/runs?{query}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        assert_eq!(answer.fields(), [field], "{query}");
    }
}

#[tokio::test]
async fn runs_are_listed_page_by_page() {
    let api = Api::with_workspace().await;
    let made = api
        .post(CREDENTIALS, &new_credential(json!({})))
        .await
        .json();
    for number in 0..5 {
        api.registry.runs().record(run(&made, number));
    }
    api.registry.runs().flush().await;
    let (mut found, mut path) = (Vec::new(), "/api/runs?limit=2".to_owned());
    loop {
        let page = api.get(&path).await.json();
        found.extend(page["items"].as_array().unwrap().clone());
        let Some(cursor) = page["nextCursor"].as_str() else {
            break;
        };
        path = format!("/api/runs?limit=2&cursor={cursor}");
    }
    let ids: Vec<_> = found.iter().map(|run| &run["requestId"]).collect();
    assert_eq!(ids, ["req-4", "req-3", "req-2", "req-1", "req-0"]);
}

#[tokio::test]
async fn figures_are_those_of_the_runs_that_the_caller_may_see() {
    let api = Api::with_workspace().await;
    let made = api
        .post(CREDENTIALS, &new_credential(json!({})))
        .await
        .json();
    let other = keyside_credentials::runs::Run {
        workspace: "other".parse().unwrap(),
        ..run(&made, 9)
    };
    let failed = keyside_credentials::runs::Run {
        outcome: "server_error",
        tokens: Default::default(),
        ..run(&made, 2)
    };
    let good = keyside_credentials::runs::Run {
        outcome: "ok",
        ..run(&made, 1)
    };
    let check = keyside_credentials::runs::Run {
        kind: keyside_credentials::runs::RunKind::Check,
        ..good.clone()
    };
    for run in [good.clone(), good.clone(), good, failed, other, check] {
        api.registry.runs().record(run);
    }
    api.registry.runs().flush().await;
    let figures = api.get("/api/runs/figures?workspaceId=acme").await.json();
    let expected = json!({
        "count": 4, "errors": 1, "errorRate": 0.25, "refused": 0,
        "latencyMs": { "p50": 1.5, "p95": 1.5, "p99": 1.5 },
        "inputTokens": 9, "outputTokens": null, "cachedInputTokens": null,
        "cacheWriteTokens": null, "reasoningTokens": 0, "unknownUsage": 1,
    });
    assert_eq!(figures["total"], expected);
    let group = &figures["items"][0];
    assert_eq!(group["provider"], "openai");
    assert_eq!((&group["count"], &group["tag"]), (&json!(4), &Value::Null));
    assert_eq!(figures["omittedGroups"], 0);
    let by = api
        .get("/api/runs/figures?by=credential,workspace,day,kind&limit=1")
        .await
        .json();
    assert_eq!(by["omittedGroups"], 1);
    assert_eq!(by["total"]["count"], 5);
    let group = &by["items"][0];
    assert_eq!(group["credentialId"], made["id"]);
    assert_eq!(
        (&group["label"], &group["kind"]),
        (&json!("default"), &json!("traffic"))
    );
    let today = SystemClock.now().to_string();
    assert!(today.starts_with(group["day"].as_str().unwrap()), "{group}");
    let checks = api.get("/api/runs/figures?kind=check").await.json();
    assert_eq!(checks["total"]["count"], 1);
    let none = api.get("/api/runs/figures?status=0").await.json();
    assert_eq!(none["total"]["errorRate"], Value::Null);
    assert_eq!(none["total"]["latencyMs"], Value::Null);
    assert_eq!(none["items"], json!([]));
    for (query, field) in [
        ("by=", "by"),
        ("by=model", "by"),
        ("by=provider,", "by"),
        ("cursor=1.0", "(unknown parameter)"),
    ] {
        let answer = api.get(&format!("/api/runs/figures?{query}")).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
        assert_eq!(answer.fields(), [field], "{query}");
    }
}

pub(super) fn run(credential: &Value, number: u64) -> keyside_credentials::runs::Run {
    keyside_credentials::runs::Run {
        at: SystemClock.now(),
        request_id: format!("req-{number}").into(),
        kind: keyside_credentials::runs::RunKind::Traffic,
        workspace: "acme".parse().unwrap(),
        provider: "openai".parse().ok(),
        used: Some(keyside_credentials::runs::Used {
            credential: credential["id"].as_str().unwrap().parse().unwrap(),
            version: 1,
            label: "default".parse().unwrap(),
            environment: keyside_credentials::Environment::Live,
        }),
        refused: None,
        status: 200,
        outcome: "completed",
        latency_us: 1500,
        first_byte_us: None,
        tokens: keyside_credentials::runs::Tokens {
            input: Some(3),
            reasoning: Some(0),
            ..Default::default()
        },
        run_id: None,
        tag: None,
    }
}

//! Smoke runs through the API.

use keyside_config::Cause;
use keyside_credentials::Finding;

use super::*;

const SMOKE: &str = "/api/smoke";
const RUNS: &str = "/api/smoke/runs";
const RESULTS: &str = "/api/smoke/results";

impl Api {
    /// An API with a tagged sandbox key in `acme`, which executes runs.
    async fn with_tagged_key() -> Self {
        let api = Self::with_workspace().await;
        let tagged = json!({ "environment": "sandbox", "usageTag": "ci-smoke" });
        let made = api.post(CREDENTIALS, &new_credential(tagged)).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
        tokio::spawn(api.smoke.background());
        api
    }

    /// Starts a run, and returns it once it has finished.
    async fn smoke_run(&self, body: &Value) -> Value {
        let started = self.post(RUNS, body).await;
        assert_eq!(started.status, StatusCode::ACCEPTED, "{}", started.body);
        let started = started.json();
        assert_eq!(started["run"]["state"], "running", "{started}");
        assert_eq!(started["run"]["trigger"], "request");
        let path = format!("{SMOKE}?runId={}", started["run"]["id"].as_str().unwrap());
        // The store works on threads, for which a number of turns does not wait.
        let finished = async {
            loop {
                let shown = self.get(&path).await.json();
                if shown["run"]["state"] == "finished" {
                    return shown;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let limit = Duration::from_secs(60);
        tokio::time::timeout(limit, finished).await.unwrap()
    }
}

#[tokio::test]
async fn a_run_checks_tagged_keys_and_shows_each_with_its_history() {
    let api = Api::with_tagged_key().await;
    let done = api.smoke_run(&json!({})).await;
    let item = &done["items"][0];
    assert_eq!(item["workspaceId"], "acme");
    assert_eq!(item["provider"], "openai");
    assert_eq!(item["environment"], "sandbox");
    assert_eq!(item["outcome"], "passed");
    assert_eq!(item["verdict"], "accepted");
    assert_eq!(item["status"], 200);
    assert!(item["latencyMs"].is_u64(), "{item}");
    assert_eq!(item["tokens"], Value::Null, "unknown is not zero");
    let rejected = Finding::because(Cause::WrongKey, Some(401));
    api.provider.say(rejected);
    let failed = api.smoke_run(&json!({ "workspaceId": "acme" })).await;
    let item = &failed["items"][0];
    assert_eq!(item["outcome"], "failed");
    let detail = item["detail"].as_str().unwrap();
    assert!(detail.starts_with(&rejected.to_string()), "{detail}");
    assert_eq!(item["cause"], "wrong_key");
    let remediation = item["remediation"].as_str().unwrap();
    assert!(remediation.contains("https://"), "{remediation}");
    assert_eq!(item["consecutiveFailures"], 1);
    let shown = api.get(SMOKE).await.json();
    assert_eq!(shown["usageTag"], "ci-smoke");
    assert_eq!(shown["run"]["id"], failed["run"]["id"], "the latest");
    let history = shown["items"][0]["history"].as_array().unwrap();
    let outcomes: Vec<_> = history.iter().map(|result| &result["outcome"]).collect();
    assert_eq!(outcomes, ["failed", "passed"]);
    let spent = json!([{ "workspaceId": "acme", "requests": 2, "tokens": 0 }]);
    assert_eq!(shown["spentToday"], spent);
}

#[tokio::test]
async fn where_nothing_is_tagged_the_result_is_empty() {
    let api = Api::with_workspace().await;
    api.post(CREDENTIALS, &new_credential(json!({}))).await;
    for body in ["{}", "null", ""] {
        let request = api.request("POST", RUNS);
        let request = request.header("content-type", "application/json");
        let answer = api.send_body(request, body.into()).await;
        assert_eq!(answer.status, StatusCode::ACCEPTED, "{}", answer.body);
        assert_eq!(answer.json(), json!({ "run": null, "items": [] }));
    }
    let bare = api.send(api.request("POST", RUNS)).await;
    assert_eq!(bare.status, StatusCode::ACCEPTED, "{}", bare.body);
}

#[tokio::test]
async fn a_run_or_a_result_with_wrong_fields_is_refused() {
    let api = Api::with_workspace().await;
    let result = |fields: Value| {
        let mut body =
            json!({ "workspaceId": "acme", "provider": "openai", "verdict": "accepted" });
        for (name, value) in fields.as_object().unwrap() {
            body[name] = value.clone();
        }
        body
    };
    for (path, body, kind) in [
        (RUNS, json!({ "providers": ["opnai"] }), "fields-invalid"),
        (RUNS, json!({ "providers": [] }), "fields-invalid"),
        (RUNS, json!({ "provider": "openai" }), "fields-invalid"),
        (RUNS, json!({ "workspaceId": "none" }), "workspace-unknown"),
        (RESULTS, json!({}), "fields-invalid"),
        (
            RESULTS,
            result(json!({ "verdict": "fine" })),
            "fields-invalid",
        ),
        (
            RESULTS,
            result(json!({ "provider": "opnai" })),
            "fields-invalid",
        ),
        (RESULTS, result(json!({ "status": 600 })), "fields-invalid"),
        (
            RESULTS,
            result(json!({ "detail": "text" })),
            "fields-invalid",
        ),
        (
            RESULTS,
            result(json!({ "workspaceId": "none" })),
            "workspace-unknown",
        ),
    ] {
        let answer = api.post(path, &body).await;
        assert_eq!(answer.kind(), kind, "{path} {body}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_posted_result_is_shown_beside_the_keys() {
    let api = Api::with_workspace().await;
    let body = json!({
        "workspaceId": "acme", "provider": "groq", "verdict": "rejected",
        "status": 401, "latencyMs": 34, "tokens": 7,
    });
    let posted = api.post(RESULTS, &body).await;
    assert_eq!(posted.status, StatusCode::CREATED, "{}", posted.body);
    let posted = posted.json();
    assert_eq!(posted["outcome"], "failed");
    assert_eq!(
        posted["detail"],
        "posted: rejected, the provider responded with 401"
    );
    assert_eq!(
        (&posted["latencyMs"], &posted["tokens"]),
        (&json!(34), &json!(7))
    );
    let shown = api.get(SMOKE).await.json();
    assert_eq!(shown["items"], json!([posted]));
    assert_eq!(shown["items"][0]["history"][0]["runId"], Value::Null);
    let others = api.get("/api/smoke?provider=openai").await.json();
    assert_eq!(others["items"], json!([]));
}

#[tokio::test]
async fn a_token_of_one_workspace_sees_and_runs_only_its_own() {
    let api = Api::with_tagged_key().await;
    api.post("/api/workspaces", &json!({ "id": "beta" })).await;
    let new = json!({ "name": "beta's", "role": "editor", "workspaces": ["beta"] });
    let token = api.post("/api/tokens", &new).await.json();
    let token = token["token"].as_str().unwrap().to_owned();
    let as_beta = |method: &str, path: &str| {
        anonymous(method, path).header("authorization", format!("Bearer {token}"))
    };
    let started = api.send(as_beta("POST", RUNS)).await.json();
    assert_eq!(started, json!({ "run": null, "items": [] }));
    let own = json!({ "workspaceId": "acme" });
    let acme = api.smoke_run(&own).await["run"]["id"].clone();
    let path = format!("{SMOKE}?runId={}", acme.as_str().unwrap());
    for path in [SMOKE, &path] {
        let shown = api.send(as_beta("GET", path)).await.json();
        assert_eq!((&shown["run"], &shown["items"]), (&Value::Null, &json!([])));
        assert_eq!(shown["spentToday"], json!([]));
    }
    let foreign = as_beta("POST", RUNS).header("content-type", "application/json");
    let foreign = api.send_body(foreign, own.to_string().into()).await;
    assert_eq!(foreign.kind(), "workspace-unknown", "{}", foreign.body);
}

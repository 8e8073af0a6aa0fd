//! The pages of a session: what they show to whom, their forms, and their errors.

use keyside_credentials::{RejectionCause, Role, Scope};

use super::{browser::OWN, traffic::grant, *};

pub(super) async fn with_keys(labels: &[&str]) -> Api {
    let api = Api::on_loopback().await;
    let made = api.post("/api/workspaces", &json!({ "id": "acme" })).await;
    assert_eq!(made.status, StatusCode::CREATED);
    for label in labels {
        let made = api
            .post(CREDENTIALS, &new_credential(json!({ "label": label })))
            .await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    }
    api
}

/// The labels in the table, in its order.
fn labels(page: &Answer) -> Vec<String> {
    page.assert_is_page(StatusCode::OK);
    let cells = page.body.split("data-return><bdi>").skip(1);
    let text = |cell: &str| cell.split("</bdi>").next().unwrap().to_owned();
    cells.map(text).collect()
}

#[tokio::test]
async fn the_table_shows_each_key_without_its_secret() {
    let api = with_keys(&["nightly", "production"]).await;
    let browser = api.owner().await;
    let page = browser.get("/keys").await;
    assert_eq!(labels(&page), ["nightly", "production"]);
    for shown in ["OpenAI", "Active", "Live", "sha256:"] {
        assert!(page.body.contains(shown), "{shown}");
    }
    assert!(page.body.contains("2 keys</span>"), "{}", page.body);
    let id = api.keys().await[0]["id"].as_str().unwrap().to_owned();
    api.delete(&format!("{CREDENTIALS}/{id}")).await;
    let page = browser.get("/keys").await;
    assert!(page.body.contains("2 keys, 1 revoked"), "{}", page.body);
    let list = browser.get("/workspaces").await;
    let in_use = "<td data-label=\"Keys in use\" class=\"num\">1</td>";
    assert!(list.body.contains(in_use), "{}", list.body);
}

#[tokio::test]
async fn a_key_that_the_provider_rejects_in_traffic_is_among_the_rejected() {
    let api = with_keys(&["nightly", "production"]).await;
    grant(&api).rejected(RejectionCause::WrongKey);
    let browser = api.owner().await;
    let page = browser.get("/keys?show=rejected").await;
    assert_eq!(labels(&page), ["nightly"]);
    assert!(page.body.contains("rejected by the provider"));
}

#[tokio::test]
async fn the_table_is_narrowed_by_search_filter_and_card() {
    let api = with_keys(&["nightly", "production", "staging"]).await;
    let sandbox = json!({ "label": "try-out", "environment": "sandbox", "usageTag": "ci smoke" });
    api.post(CREDENTIALS, &new_credential(sandbox)).await;
    let soon = json!({ "label": "soon", "expiresAt": in_days(3) });
    let soon = api.post(CREDENTIALS, &new_credential(soon)).await.id();
    let gone = api
        .post(CREDENTIALS, &new_credential(json!({ "label": "gone" })))
        .await
        .id();
    api.delete(&format!("{CREDENTIALS}/{gone}")).await;
    let browser = api.owner().await;
    for (query, expected) in [
        ("q=PROD", &["production"][..]),
        ("q=openai&environment=sandbox", &["try-out"][..]),
        ("tag=ci+smoke", &["try-out"][..]),
        ("status=revoked", &["gone"][..]),
        ("status=expiring", &["soon"][..]),
        ("show=expiring", &["soon"][..]),
        ("show=rejected", &[][..]),
        (
            "show=unused",
            &["nightly", "production", "soon", "staging", "try-out"][..],
        ),
        ("q=nothing-like-it", &[][..]),
        ("provider=groq", &[][..]),
        (&*format!("q={soon}"), &["soon"][..]),
        (
            "workspace=acme&q=&provider=&status=&environment=&tag=",
            &[
                "gone",
                "nightly",
                "production",
                "soon",
                "staging",
                "try-out",
            ][..],
        ),
    ] {
        let page = browser.get(&format!("/keys?{query}")).await;
        assert_eq!(labels(&page), expected, "{query}");
    }
    for wrong in ["status=nosuch", "page=0", "page=x", "nosuch=1", "q=1&q=2"] {
        let page = browser.get(&format!("/keys?{wrong}")).await;
        page.assert_is_page(StatusCode::UNPROCESSABLE_ENTITY);
    }
}

#[tokio::test]
async fn many_keys_are_shown_page_by_page() {
    let api = with_keys(&[]).await;
    for number in 0..60 {
        let new = new_credential(json!({ "label": format!("key-{number:03}") }));
        api.post(CREDENTIALS, &new).await;
    }
    let browser = api.owner().await;
    let first = browser.get("/keys").await;
    assert_eq!(labels(&first).len(), 50);
    assert!(first.body.contains("1–50 of 60 keys"));
    let next = "/keys?workspace=acme&#38;page=2";
    assert!(first.body.contains(next) || first.body.contains(&next.replace("&#38;", "&amp;")));
    let second = labels(&browser.get("/keys?workspace=acme&page=2").await);
    assert_eq!((second.len(), second[0].as_str()), (10, "key-050"));
}

#[tokio::test]
async fn a_viewer_sees_and_does_not_change() {
    let api = with_keys(&["nightly"]).await;
    let viewer = api.token_of(Role::Viewer, Scope::All).await;
    let viewer = api.sign_in(&viewer).await;
    let page = viewer.get("/keys").await;
    assert_eq!(labels(&page), ["nightly"]);
    assert!(!page.body.contains("Add a key"), "{}", page.body);
    let refused = viewer.submit("/workspaces", "id=beta").await;
    refused.assert_is_page(StatusCode::FORBIDDEN);
    assert!(
        refused
            .body
            .contains(refused.header("x-keyside-request-id"))
    );
    assert_eq!(
        api.get("/api/workspaces/beta").await.status,
        StatusCode::NOT_FOUND
    );
    let owner = api.owner().await;
    assert!(owner.get("/keys").await.body.contains("Add a key"));
}

#[tokio::test]
async fn workspaces_outside_of_the_scope_do_not_exist() {
    let api = with_keys(&["nightly"]).await;
    api.post("/api/workspaces", &json!({ "id": "elsewhere" }))
        .await;
    let scope = Scope::Only(Arc::new(["elsewhere".parse().unwrap()].into()));
    let limited = api.token_of(Role::Owner, scope).await;
    let limited = api.sign_in(&limited).await;
    for page in ["/keys?workspace=acme", "/keys?workspace=nosuch"] {
        limited
            .get(page)
            .await
            .assert_is_page(StatusCode::NOT_FOUND);
    }
    for page in ["/keys", "/workspaces"] {
        let page = limited.get(page).await;
        page.assert_is_page(StatusCode::OK);
        assert!(!page.body.contains("acme"), "{}", page.body);
    }
}

#[tokio::test]
async fn a_form_needs_the_csrf_token_of_its_session() {
    let api = Api::on_loopback().await;
    let (one, other) = (api.owner().await, api.owner().await);
    let foreign = other.csrf().await;
    for csrf in ["", "csrf=&", "csrf=x&", &*format!("csrf={foreign}&")] {
        let answer = one
            .submit_as_is("/workspaces", &format!("{csrf}id=beta"))
            .await;
        answer.assert_is_page(StatusCode::FORBIDDEN);
        assert_eq!(
            api.get("/api/workspaces/beta").await.status,
            StatusCode::NOT_FOUND
        );
    }
    let answer = one.submit_as_is("/sign-out", "").await;
    answer.assert_is_page(StatusCode::FORBIDDEN);
    let created = one.submit("/workspaces", "id=beta&name=Beta+Inc.").await;
    created.assert_leads_to(&format!("{}/keys?workspace=beta", one.base));
    let page = one.get("/keys?workspace=beta").await;
    assert!(page.body.contains("Workspace created") && page.body.contains("Beta Inc."));
    assert!(
        !one.get("/keys").await.body.contains("Workspace created"),
        "said once"
    );
}

#[tokio::test]
async fn an_invalid_form_says_why_and_loses_nothing() {
    let api = with_keys(&[]).await;
    let browser = api.owner().await;
    for (fields, status) in [
        ("id=Not+An+Id&name=Kept", StatusCode::UNPROCESSABLE_ENTITY),
        ("name=Kept", StatusCode::UNPROCESSABLE_ENTITY),
        ("id=acme&name=Kept", StatusCode::CONFLICT),
    ] {
        let answer = browser.submit("/workspaces", fields).await;
        answer.assert_is_page(status);
        assert!(answer.body.contains(r#"id="id-error""#), "{}", answer.body);
        assert!(answer.body.contains(r#"value="Kept""#), "{}", answer.body);
    }
    let long = format!("id=beta&name={}", "x".repeat(201));
    let answer = browser.submit("/workspaces", &long).await;
    answer.assert_is_page(StatusCode::UNPROCESSABLE_ENTITY);
    assert!(
        answer.body.contains(r#"id="name-error""#),
        "{}",
        answer.body
    );
}

#[tokio::test]
async fn hostile_text_is_shown_as_text() {
    let api = Api::on_loopback().await;
    let name = r#"<script>alert(1)</script>" onload="x"#;
    api.post("/api/workspaces", &json!({ "id": "acme", "name": name }))
        .await;
    let label = r#"<img src=x>"'&"#;
    api.post(
        CREDENTIALS,
        &new_credential(json!({ "label": label, "usageTag": label })),
    )
    .await;
    let browser = api.owner().await;
    for page in [
        "/keys",
        "/workspaces",
        "/keys?q=%3Cscript%3Ealert%3C%2Fscript%3E",
    ] {
        let page = browser.get(page).await;
        page.assert_is_page(StatusCode::OK);
        for raw in ["<script>", "<img", " onload=\""] {
            assert!(!page.body.contains(raw), "{raw} in {}", page.body);
        }
    }
    let page = browser.get("/keys").await.body;
    assert!(page.contains("img src=x"), "{page}");
}

#[tokio::test]
async fn an_error_is_a_page_with_the_request_id() {
    let api = with_keys(&[]).await;
    let browser = api.owner().await;
    let absent = "/keys/cred_aaaaaaaaaaaaaaaaaaaaaaaaaa";
    for page in ["/nothing", "/nothing/below", absent, "/keys/CanaryPaste"] {
        let answer = browser.get(page).await;
        answer.assert_is_page(StatusCode::NOT_FOUND);
        assert!(answer.body.contains(answer.header("x-keyside-request-id")));
        assert!(answer.body.contains(&format!("{}/keys", browser.base)));
        assert!(!answer.body.contains("CanaryPaste"));
    }
}

const HTML: (&str, &str) = ("accept", "text/html,application/xhtml+xml,*/*;q=0.8");

/// A request as a browser sends it for a page, or for a form.
fn from_a_browser(method: &str, path: &str) -> http::request::Builder {
    let headers = OWN.into_iter().chain([HTML]);
    headers.fold(anonymous(method, path), |request, (name, value)| {
        request.header(name, value)
    })
}

#[tokio::test]
async fn a_browser_gets_a_page_for_every_error_outside_of_the_api() {
    let api = Api::on_loopback().await;
    for (method, path, status) in [
        ("GET", "/nothing", StatusCode::NOT_FOUND),
        ("GET", "/nothing/below", StatusCode::NOT_FOUND),
        ("POST", "/nothing", StatusCode::NOT_FOUND),
        ("GET", "/assets/0123/nothing.js", StatusCode::NOT_FOUND),
        ("PUT", "/keys", StatusCode::METHOD_NOT_ALLOWED),
        ("DELETE", "/sign-in", StatusCode::METHOD_NOT_ALLOWED),
        ("GET", "/openapi.json", StatusCode::UNAUTHORIZED),
    ] {
        let answer = api.send(from_a_browser(method, path)).await;
        answer.assert_is_page(status);
        assert!(answer.body.contains(answer.header("x-keyside-request-id")));
        if status == StatusCode::METHOD_NOT_ALLOWED {
            assert!(answer.header("allow").contains("POST"), "{path}");
        }
    }
    let elsewhere = Request::get("/keys").header("host", "attacker.test");
    let refused = api.send(elsewhere.header(HTML.0, HTML.1)).await;
    refused.assert_is_page(StatusCode::FORBIDDEN);

    for path in ["/api/nothing", "/api", "/api/workspaces"] {
        let answer = api.send(from_a_browser("GET", path)).await;
        assert_eq!(answer.kind(), "unauthenticated", "{path}");
    }
    for path in ["/nothing", "/openapi.json"] {
        let program = api
            .send(anonymous("GET", path).header("accept", "*/*"))
            .await;
        assert_eq!(program.kind(), "unauthenticated", "{path}");
    }
}

#[tokio::test]
async fn a_form_that_cannot_be_read_is_answered_with_a_page() {
    let api = Api::on_loopback().await;
    let (form, huge) = ("application/x-www-form-urlencoded", "x".repeat(70_000));
    for (media_type, body, status) in [
        (form, "token=%ff", StatusCode::BAD_REQUEST),
        (form, &*huge, StatusCode::PAYLOAD_TOO_LARGE),
        ("text/plain", "token=x", StatusCode::UNSUPPORTED_MEDIA_TYPE),
    ] {
        let request = from_a_browser("POST", "/sign-in").header("origin", "null");
        let request = request.header("content-type", media_type);
        let answer = api.send_body(request, body.to_owned().into()).await;
        answer.assert_is_page(status);
    }
}

#[tokio::test]
async fn an_address_that_cannot_be_read_is_answered_with_a_page() {
    let api = Api::on_loopback().await;
    let browser = api.owner().await;
    for page in [
        "/keys/%ff",
        "/keys/%ff/edit",
        "/keys/new/%ff",
        "/tokens/%ff/revoke",
    ] {
        browser
            .get(page)
            .await
            .assert_is_page(StatusCode::BAD_REQUEST);
    }
}

#[tokio::test]
async fn the_script_of_a_stable_link_can_tell_whether_a_session_lives() {
    let api = Api::on_loopback().await;
    let browser = api.owner().await;
    let fetch = [
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-mode", "cors"),
    ];
    let alive = browser.get_with("/session", &fetch).await;
    assert_eq!(alive.status, StatusCode::NO_CONTENT);
    let dead = api.navigate("/s/0123/session", &fetch).await;
    assert_eq!(dead.status, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_refusals_link_for_want_of_a_key_leads_to_the_form_for_it() {
    let api = with_keys(&[]).await;
    let browser = api.owner().await;
    let led = browser.get("/keys/new?workspace=acme&provider=groq").await;
    led.assert_leads_to(&format!("{}/keys/new/groq?workspace=acme", browser.base));
    let unknown = browser
        .get("/keys/new?workspace=acme&provider=nosuch")
        .await;
    unknown.assert_is_page(StatusCode::OK);
    assert!(unknown.body.contains("Which provider is the key for?"));
    let none = Api::on_loopback().await;
    let browser = none.owner().await;
    let led = browser.get("/keys/new").await;
    led.assert_leads_to(&format!("{}/workspaces", browser.base));
}

#[tokio::test]
async fn files_are_kept_under_the_hash_of_their_content() {
    let api = Api::on_loopback().await;
    let page = api.navigate("/", &[]).await.body;
    let paths = page.split("=\"/assets/").skip(1);
    let paths: Vec<_> = paths.map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(paths.len() >= 3, "{paths:?}");
    for path in paths {
        let file = api.navigate(&format!("/assets/{path}"), &OWN).await;
        assert_eq!(file.status, StatusCode::OK, "{path}");
        assert_eq!(
            file.header("cache-control"),
            "public, max-age=31536000, immutable"
        );
        assert_eq!(file.header("x-content-type-options"), "nosniff");
        let name = path.split('/').nth(1).unwrap();
        let other = api
            .navigate(&format!("/assets/0000000000000000/{name}"), &OWN)
            .await;
        other.assert_is_page(StatusCode::NOT_FOUND);
    }
}

#[tokio::test]
async fn many_workspaces_are_shown_page_by_page_and_searched() {
    let api = Api::on_loopback().await;
    for number in 0..60 {
        let new = json!({ "id": format!("team-{number}"), "name": format!("Customer {number}") });
        let made = api.post("/api/workspaces", &new).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    }
    let browser = api.owner().await;
    for (query, rows, said) in [
        ("", 50, "1–50 of 60 workspaces"),
        ("?page=2", 10, "51–60 of 60 workspaces"),
        ("?q=CUSTOMER+5", 11, "Clear filters"),
        ("?q=team-59", 1, "Clear filters"),
        ("?q=nobody", 0, "No workspace matches"),
    ] {
        let page = browser.get(&format!("/workspaces{query}")).await;
        page.assert_is_page(StatusCode::OK);
        assert_eq!(
            page.body.matches("<td data-label=\"Id\">").count(),
            rows,
            "{query}"
        );
        assert!(page.body.contains(said), "{query}: {}", page.body);
    }
}

//! The pages Audit, Clients and Workspace, and the banners on every page.

use keyside_credentials::{Finding, Role, Scope, Verification, audit::Event, runs::Run};

use super::{audit::alter_record, lists::run, *};

pub(super) const ACME: &str = "/workspace?workspace=acme";

pub(super) async fn with_acme() -> Api {
    let api = Api::on_loopback().await;
    let made = api.post("/api/workspaces", &json!({ "id": "acme" })).await;
    assert_eq!(made.status, StatusCode::CREATED);
    api
}

async fn key(api: &Api, other: Value) -> String {
    let made = api.post(CREDENTIALS, &new_credential(other)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    made.id()
}

/// The value of a form's hidden field.
pub(super) fn hidden(page: &Answer, name: &str) -> String {
    let field = format!(r#"name="{name}" value=""#);
    let (_, rest) = page.body.split_once(&field).unwrap();
    let value = rest.split('"').next().unwrap();
    value.replace("&#34;", "\"").replace("&quot;", "\"")
}

/// How many audit records the page shows of an event.
fn shown(page: &Answer, event: &str) -> usize {
    page.assert_is_page(StatusCode::OK);
    page.body.matches(&format!("</svg>{event}</span>")).count()
}

#[tokio::test]
async fn the_log_is_narrowed_by_event_key_actor_and_day() {
    let api = with_acme().await;
    let nightly = key(&api, json!({ "label": "nightly" })).await;
    key(&api, json!({ "label": "hourly" })).await;
    api.post("/api/workspaces", &json!({ "id": "beta" })).await;
    let me = api.get("/api/tokens").await.json()["items"][0]["id"].clone();
    let me = me.as_str().unwrap();
    let browser = api.owner().await;
    let day = |days| in_days(days)[..10].to_owned();
    let (today, tomorrow) = (day(0), day(1));
    for (query, created) in [
        (String::new(), 2),
        ("event=credential_created".to_owned(), 2),
        ("event=credential_revoked".to_owned(), 0),
        (format!("key={nightly}"), 1),
        (format!("actor={me}"), 2),
        ("actor=system".to_owned(), 0),
        (format!("since={today}&until={tomorrow}"), 2),
        (format!("since={tomorrow}"), 0),
        ("until=2020-01-01".to_owned(), 0),
    ] {
        let page = browser.get(&format!("/audit?workspace=acme&{query}")).await;
        assert_eq!(shown(&page, "Credential created"), created, "{query}");
    }
    let page = browser.get("/audit?workspace=acme").await;
    assert_eq!(shown(&page, "Workspace created"), 1, "only its own");
    let page = browser.get("/audit?workspace=acme&within=all").await;
    assert_eq!(shown(&page, "Workspace created"), 2);
    for wrong in [
        "event=nosuch",
        "since=yesterday",
        "key=x",
        "cursor=x",
        "within=x",
    ] {
        let page = browser.get(&format!("/audit?{wrong}")).await;
        page.assert_is_page(StatusCode::UNPROCESSABLE_ENTITY);
    }
}

#[tokio::test]
async fn a_long_log_is_shown_page_by_page() {
    let api = with_acme().await;
    for number in 0..60 {
        key(&api, json!({ "label": format!("key-{number:02}") })).await;
    }
    let browser = api.owner().await;
    let of_keys = "/audit?workspace=acme&event=credential_created";
    let first = browser.get(of_keys).await;
    assert_eq!(shown(&first, "Credential created"), 50);
    assert!(!first.body.contains(">Newest</a>"));
    let (before, _) = first.body.split_once(r#"" rel="next">Older</a>"#).unwrap();
    let (_, next) = before.rsplit_once(r#"href=""#).unwrap();
    let next = next.replace("&#38;", "&").replace("&amp;", "&");
    let second = browser.get(next.strip_prefix(&browser.base).unwrap()).await;
    assert_eq!(shown(&second, "Credential created"), 10);
    assert!(second.body.contains(">Newest</a>"));
    assert!(!second.body.contains(">Older</a>"));
}

#[tokio::test]
async fn actors_have_names_for_those_who_may_read_tokens() {
    let api = with_acme().await;
    let key = format!("/keys/{}", key(&api, json!({})).await);
    let me = api.get("/api/tokens").await.json()["items"][0].clone();
    let (id, name) = (me["id"].as_str().unwrap(), me["name"].as_str().unwrap());
    let owner = api.owner().await;
    let viewer = api.token_of(Role::Viewer, Scope::All).await;
    let viewer = api.sign_in(&viewer).await;
    let row = format!("<bdi class=\"clip\">{name}</bdi>");
    for (page, named, unnamed) in [
        ("/audit", row, id.to_owned()),
        (
            &*key,
            format!(" by <bdi>{name}</bdi>"),
            format!(" by <bdi>{id}</bdi>"),
        ),
        (
            ACME,
            format!(" by <bdi>{name}</bdi>"),
            format!(" by <bdi>{id}</bdi>"),
        ),
    ] {
        let shown = owner.get(page).await;
        assert!(shown.body.contains(&named), "{page}: {}", shown.body);
        let shown = viewer.get(page).await;
        assert!(shown.body.contains(&unnamed), "{page}: {}", shown.body);
        assert!(!shown.body.contains(&named), "{page}: {}", shown.body);
    }
}

#[tokio::test]
async fn one_click_verifies_the_log_and_says_what_it_found() {
    let api = with_acme().await;
    key(&api, json!({})).await;
    api.linked().await;
    let browser = api.owner().await;
    let page = browser.submit("/audit?workspace=acme", "").await;
    page.assert_is_page(StatusCode::OK);
    assert!(page.body.contains("The log is intact"), "{}", page.body);
    alter_record(&api, "credential_created");
    let page = browser.submit("/audit?workspace=acme", "").await;
    page.assert_is_page(StatusCode::OK);
    assert!(page.body.contains("The log is not intact"), "{}", page.body);
}

#[tokio::test]
async fn the_log_is_exported_as_a_file_with_the_filter_and_audited() {
    let api = with_acme().await;
    key(&api, json!({})).await;
    let browser = api.owner().await;
    for (format, media_type) in [("csv", "text/csv"), ("ndjson", "application/x-ndjson")] {
        let path = format!("/audit/export?workspace=acme&event=credential_created&format={format}");
        let file = browser.get(&path).await;
        assert_eq!(file.status, StatusCode::OK, "{}", file.body);
        assert!(file.header("content-type").starts_with(media_type));
        let name = format!("attachment; filename=\"keyside-audit.{format}\"");
        assert_eq!(file.header("content-disposition"), name);
        assert!(file.body.contains("credential_created"));
        assert!(!file.body.contains("workspace_created"), "{}", file.body);
    }
    let exports = api.audit().await.into_iter();
    let exports = exports.filter(|record| record.event == Event::AuditExported);
    assert_eq!(exports.count(), 2);
    let viewer = api.token_of(Role::Viewer, Scope::All).await;
    let viewer = api.sign_in(&viewer).await;
    let refused = viewer.get("/audit/export?workspace=acme").await;
    refused.assert_is_page(StatusCode::FORBIDDEN);
    let page = viewer.get("/audit").await;
    assert!(!page.body.contains("/audit/export"), "{}", page.body);
}

#[tokio::test]
async fn a_recipe_has_the_address_of_the_listener_that_serves_the_workspace() {
    let api = with_acme().await;
    api.post("/api/workspaces", &json!({ "id": "pinned" }))
        .await;
    let browser = api.owner().await;
    for (workspace, address) in [
        ("acme", "http://127.0.0.1:7380"),
        ("pinned", "http://127.0.0.1:7390"),
    ] {
        let page = browser
            .get(&format!("/clients?workspace={workspace}&client=codex"))
            .await;
        page.assert_is_page(StatusCode::OK);
        let base_url = format!("{address}/w/{workspace}/openai/v1");
        for text in [
            base_url.as_str(),
            "~/.codex/config.toml",
            "export OPENAI_API_KEY=",
            "NO_PROXY",
            "An existing config.toml is kept",
        ] {
            assert!(page.body.contains(text), "{text}: {}", page.body);
        }
        assert!(!page.body.contains("{openai}"), "{}", page.body);
        let place = |text: &str| page.body.find(text).unwrap();
        assert!(place("export OPENAI_API_KEY=") < place("NO_PROXY"));
    }
    let page = browser.get("/clients").await;
    assert!(page.body.contains("OPENAI_BASE_URL"), "{}", page.body);
    for recipe in keyside_config::Recipe::all() {
        let page = browser.get(&format!("/clients?client={}", recipe.id)).await;
        page.assert_is_page(StatusCode::OK);
        assert!(page.body.contains(r#"<pre id="text-0">"#), "{}", recipe.id);
    }
    let unknown = browser.get("/clients?client=codx").await;
    unknown.assert_is_page(StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_token_is_shown_once_opens_this_workspace_alone_and_is_revoked_by_its_name() {
    let api = with_acme().await;
    api.post("/api/workspaces", &json!({ "id": "beta" })).await;
    let browser = api.owner().await;
    let made = browser
        .submit(
            ACME,
            "do=token&name=CI+of+Robin&role=editor&expires=2099-12-31",
        )
        .await;
    made.assert_is_page(StatusCode::OK);
    let (_, token) = made.body.split_once(r#"<pre id="token"><code>"#).unwrap();
    let token = token.split('<').next().unwrap().to_owned();
    assert!(token.starts_with("ks_"), "{token}");
    let page = browser.get(ACME).await;
    assert!(!page.body.contains(&token) && page.body.contains("CI of Robin"));
    let robin = api.sign_in(&token).await;
    robin
        .get("/keys?workspace=acme")
        .await
        .assert_is_page(StatusCode::OK);
    let elsewhere = robin.get("/keys?workspace=beta").await;
    elsewhere.assert_is_page(StatusCode::NOT_FOUND);
    let own = robin.get(ACME).await;
    own.assert_is_page(StatusCode::OK);
    assert!(!own.body.contains("New token"), "{}", own.body);
    for fields in [
        "do=token&name=x&role=viewer",
        "do=caps&etag=x",
        "do=export",
        "do=rotate-key",
    ] {
        robin
            .submit(ACME, fields)
            .await
            .assert_is_page(StatusCode::FORBIDDEN);
    }
    let all = api.get("/api/tokens").await.json();
    let all = all["items"].as_array().unwrap();
    let item = all
        .iter()
        .find(|item| item["name"] == "CI of Robin")
        .unwrap();
    assert_eq!(item["expiresAt"], "2099-12-31T00:00:00Z");
    let revoke = format!("/tokens/{}/revoke", item["id"].as_str().unwrap());
    let asked = browser.get(&revoke).await;
    asked.assert_is_page(StatusCode::OK);
    let mistyped = browser.submit(&revoke, "typed=Robin").await;
    mistyped.assert_is_page(StatusCode::UNPROCESSABLE_ENTITY);
    robin.get("/keys").await.assert_is_page(StatusCode::OK);
    let revoked = browser.submit(&revoke, "typed=CI+of+Robin").await;
    revoked.assert_leads_to(&format!("{}{ACME}", browser.base));
    robin.get("/keys").await.assert_leads_to("/keys");
    let page = browser.get(ACME).await;
    assert!(page.body.contains("Revoked"), "{}", page.body);
}

#[tokio::test]
async fn a_token_that_is_not_valid_says_why_and_loses_nothing() {
    let api = with_acme().await;
    let browser = api.owner().await;
    for (fields, error) in [
        (
            "do=token&role=viewer&expires=2099-12-31",
            "token-name-error",
        ),
        ("do=token&name=Kept&role=king", "token-role-error"),
        (
            "do=token&name=Kept&role=viewer&expires=2020-01-01",
            "token-expires-error",
        ),
        (
            "do=token&name=Kept&role=viewer&expires=soon",
            "token-expires-error",
        ),
    ] {
        let page = browser.submit(ACME, fields).await;
        page.assert_is_page(StatusCode::UNPROCESSABLE_ENTITY);
        assert!(
            page.body.contains(&format!(r#"id="{error}""#)),
            "{fields}: {}",
            page.body
        );
        let mut described = page.body.split("aria-describedby=\"").skip(1);
        let names = |ids: &str| {
            ids.split('"')
                .next()
                .unwrap()
                .split(' ')
                .any(|id| id == error)
        };
        assert!(described.any(names), "no field names {error}");
        let is_kept = !fields.contains("Kept") || page.body.contains(r#"value="Kept""#);
        assert!(is_kept, "{fields}");
    }
    let made = api.get("/api/tokens").await.json()["items"].clone();
    assert_eq!(made.as_array().unwrap().len(), 1, "only the owner's");
}

#[tokio::test]
async fn a_workspace_is_exported_and_gets_a_new_key() {
    let api = with_acme().await;
    key(&api, json!({})).await;
    let browser = api.owner().await;
    let file = browser.submit(ACME, "do=export").await;
    assert_eq!(file.header("content-type"), "application/x-tar");
    assert_eq!(
        file.header("content-disposition"),
        "attachment; filename=\"acme.tar\""
    );
    assert!(file.body.contains("credentials.json"));
    let rotated = browser.submit(ACME, "do=rotate-key").await;
    rotated.assert_leads_to(&format!("{}{ACME}", browser.base));
    let page = browser.get(ACME).await;
    assert!(
        page.body.contains("1 key encrypted again."),
        "{}",
        page.body
    );
    let events: Vec<_> = api.audit().await.iter().map(|it| it.event).collect();
    assert!(events.contains(&Event::WorkspaceExported), "{events:?}");
    assert!(events.contains(&Event::WorkspaceKeyRotated), "{events:?}");
    let unknown = browser.submit(ACME, "do=nothing").await;
    unknown.assert_is_page(StatusCode::UNPROCESSABLE_ENTITY);
}

#[tokio::test]
async fn a_workspace_is_erased_after_its_id_is_typed_and_leaves_a_receipt() {
    let api = with_acme().await;
    key(&api, json!({ "label": "one" })).await;
    key(&api, json!({ "label": "two" })).await;
    let browser = api.owner().await;
    let erase = "/workspace/erase?workspace=acme";
    let asked = browser.get(erase).await;
    asked.assert_is_page(StatusCode::OK);
    for text in [
        "2 keys, with every version",
        "The audit records",
        "no backup",
    ] {
        assert!(asked.body.contains(text), "{text}: {}", asked.body);
    }
    let mistyped = browser.submit(erase, "typed=acne").await;
    mistyped.assert_is_page(StatusCode::UNPROCESSABLE_ENTITY);
    assert!(mistyped.body.contains(r#"id="typed-error""#));
    assert_eq!(api.get("/api/workspaces/acme").await.status, StatusCode::OK);
    let mut receipts = Vec::new();
    // Sent again, the form gets the same receipt.
    for _ in 0..2 {
        let erased = browser.submit(erase, "typed=acme").await;
        erased.assert_is_page(StatusCode::OK);
        let (_, receipt) = erased
            .body
            .split_once(r#"<pre id="receipt"><code>"#)
            .unwrap();
        let receipt = receipt.split("</code>").next().unwrap();
        let receipt = receipt.replace("&#34;", "\"").replace("&quot;", "\"");
        receipts.push(receipt);
    }
    assert_eq!(receipts[0], receipts[1]);
    let gone = api.get("/api/workspaces/acme").await;
    assert_eq!(gone.status, StatusCode::NOT_FOUND);
    let confirmed = api.post_text("/api/audit/verify", receipts.remove(0)).await;
    assert_eq!(confirmed.json()["confirmed"], true, "{}", confirmed.body);
    let unknown = browser
        .submit("/workspace/erase?workspace=nosuch", "typed=nosuch")
        .await;
    unknown.assert_is_page(StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn keys_that_stop_requests_are_said_on_every_page_with_the_way_out() {
    let api = with_acme().await;
    let id = key(&api, json!({ "expiresAt": in_days(3) })).await;
    let browser = api.owner().await;
    let keys = browser.get("/keys").await;
    let says = |page: &Answer, title: &str, href: &str| {
        page.assert_is_page(StatusCode::OK);
        let link = format!(r#"href="{}{href}""#, browser.base);
        let body = page.body.replace("&#38;", "&").replace("&amp;", "&");
        assert!(body.contains(title), "{title}: {body}");
        assert!(body.contains(&link), "{link}: {body}");
    };
    let page_of_key = format!("/keys/{id}");
    says(&keys, "expires in 3 days", &page_of_key);
    let shown = browser.get(&page_of_key).await;
    assert!(shown.body.contains("Expires in 3 days"), "{}", shown.body);
    api.provider
        .say(Finding::of_verdict(Verification::Rejected, Some(401)));
    let verify = format!("{CREDENTIALS}/{id}/verify");
    api.post_text(&verify, "").await;
    let rejected = browser.get("/audit").await;
    says(&rejected, "OpenAI rejects the key", &page_of_key);
    let workspaces = browser.get("/workspaces").await;
    says(&workspaces, "1 rejected</span>", "/keys?workspace=acme");
    api.delete(&format!("{CREDENTIALS}/{id}")).await;
    let revoked = browser.get("/clients").await;
    says(
        &revoked,
        "is revoked, and there is no other",
        "/keys/new?workspace=acme&provider=openai",
    );
    let viewer = api.token_of(Role::Viewer, Scope::All).await;
    let viewer = api.sign_in(&viewer).await;
    let page = viewer.get("/workspace").await;
    assert!(
        page.body.contains("Ask an owner or an editor"),
        "{}",
        page.body
    );
    key(&api, json!({ "label": "next" })).await;
    let page = browser.get("/keys").await;
    assert!(!page.body.contains("is revoked, and"), "{}", page.body);
}

#[tokio::test]
async fn a_provider_that_requests_ask_for_in_vain_is_said_on_every_page() {
    let api = with_acme().await;
    let id = key(&api, json!({})).await;
    let browser = api.owner().await;
    let said = "There is no key for Groq";
    let keys = browser.get("/keys").await;
    assert!(!keys.body.contains(said), "{}", keys.body);
    api.registry.runs().record(Run {
        provider: "groq".parse().ok(),
        used: None,
        outcome: "credential_missing",
        ..run(&json!({ "id": id }), 1)
    });
    api.registry.runs().flush().await;
    for page in ["/keys", "/preview", "/runs", "/clients"] {
        let page = browser.get(page).await;
        let body = page.body.replace("&#38;", "&").replace("&amp;", "&");
        assert_eq!(body.matches(said).count(), 1, "{body}");
        let add = "/keys/new?workspace=acme&provider=groq";
        assert!(body.contains(&format!("{}{add}", browser.base)), "{body}");
    }
    key(&api, json!({ "provider": "groq", "label": "next" })).await;
    let keys = browser.get("/keys").await;
    assert!(!keys.body.contains(said), "{}", keys.body);
}

#[tokio::test]
async fn the_switcher_stays_on_the_page() {
    let empty = Api::on_loopback().await;
    let shown = empty.owner().await.get("/workspaces").await;
    assert!(!shown.body.contains("workspace-switch"), "{}", shown.body);
    let api = with_acme().await;
    let browser = api.owner().await;
    for (page, stays) in [
        ("/audit", "/audit"),
        ("/clients", "/clients"),
        ("/workspace", "/workspace"),
        ("/workspaces", "/keys"),
    ] {
        let shown = browser.get(page).await;
        shown.assert_is_page(StatusCode::OK);
        let target = format!(r#"action="{}{stays}" data-autosubmit"#, browser.base);
        assert!(shown.body.contains(&target), "{page}: {}", shown.body);
        assert!(shown.body.contains(">All workspaces</a>"), "{page}");
    }
}

//! Adding a key on the page without JavaScript, and what holds for all pages of a key. As everywhere,
//! no answer may have the secret that was pasted.

use keyside_credentials::{Cause, Finding, Role, Scope};

use super::{
    browser::{Browser, FOLLOWED},
    pages::with_keys,
    *,
};

pub(super) const NEXT: &str = "sk-proj-CanaryOfTheNextKeyOnThePage0123456789abcdefghijklmnop";

const ADD: &str = "/keys/new/openai?workspace=acme";

pub(super) fn rejected() -> Finding {
    Finding::because(Cause::WrongKey, Some(401))
}

/// The fields of the form that adds a key.
fn new_key(more: &str) -> String {
    format!("workspaceId=acme&secret={SECRET}&label=QA+Sandbox&environment=sandbox{more}")
}

impl Api {
    pub(super) async fn keys(&self) -> Vec<Value> {
        let page = self.get(CREDENTIALS).await.json();
        page["items"].as_array().unwrap().clone()
    }

    /// The one key that there is.
    pub(super) async fn key(&self) -> Value {
        let mut keys = self.keys().await;
        assert_eq!(keys.len(), 1, "{keys:?}");
        keys.remove(0)
    }

    pub(super) async fn key_id(&self) -> String {
        self.key().await["id"].as_str().unwrap().to_owned()
    }

    /// What the form's script gets.
    pub(super) async fn ask_as_script(
        &self,
        browser: &Browser<'_>,
        page: &str,
        fields: &str,
    ) -> Answer {
        let path = format!("{}{page}", browser.base);
        let request = [
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-mode", "cors"),
            ("origin", "http://127.0.0.1:7381"),
            ("accept", "application/json"),
            ("content-type", "application/x-www-form-urlencoded"),
        ]
        .into_iter()
        .fold(anonymous("POST", &path), |request, (name, value)| {
            request.header(name, value)
        });
        let request = request.header("cookie", browser.cookies.join("; "));
        let csrf = browser.csrf().await;
        self.send_body(request, format!("csrf={csrf}&{fields}").into())
            .await
    }
}

#[tokio::test]
async fn the_field_for_a_tag_says_which_keys_are_checked_and_promises_no_schedule() {
    let api = with_keys(&["nightly"]).await;
    let browser = api.owner().await;
    let edit = format!("/keys/{}/edit", api.key_id().await);
    for page in [ADD, &edit] {
        let page = browser.get(page).await;
        page.assert_is_page(StatusCode::OK);
        let hint = "Checks include each sandbox key with the tag <code>ci-smoke</code>.";
        assert!(page.body.contains(hint), "{}", page.body);
    }
}

#[tokio::test]
async fn a_key_is_added_in_steps_and_checked_before_it_is_stored() {
    let api = with_keys(&[]).await;
    let browser = api.owner().await;
    let choice = browser.get("/keys/new?workspace=acme").await;
    choice.assert_is_page(StatusCode::OK);
    assert!(choice.body.contains(&format!("{}{ADD}", browser.base)));
    let sandbox = "/keys/new/sandbox?";
    assert!(!choice.body.contains(sandbox), "it has no address here");
    let paste = browser.get(ADD).await;
    paste.assert_is_page(StatusCode::OK);
    let provider = Catalogue::builtin();
    let provider = provider.get("openai").unwrap();
    assert!(paste.body.contains(&provider.links.console));
    assert!(paste.body.contains(r#"type="password""#));
    assert!(
        paste.body.contains("<code>x-ratelimit-*</code>"),
        "{}",
        paste.body
    );
    assert!(!paste.body.contains('`'), "{}", paste.body);
    let fields = new_key("&usageTag=ci-smoke&expiresAt=2099-12-31&check=required");
    let saved = browser.submit(ADD, &fields).await;
    let key = api.key().await;
    let id = key["id"].as_str().unwrap();
    saved.assert_leads_to(&format!("{}/keys/{id}/added", browser.base));
    assert_eq!(
        (&key["label"], &key["environment"], &key["usageTag"]),
        (&json!("QA Sandbox"), &json!("sandbox"), &json!("ci-smoke"))
    );
    assert_eq!(key["expiresAt"], "2099-12-31T00:00:00Z");
    assert_eq!(key["verification"], "accepted");
    let done = browser.get(&format!("/keys/{id}/added")).await;
    done.assert_is_page(StatusCode::OK);
    for shown in [
        "Nobody can read it again",
        "accepts the key",
        "http://127.0.0.1:7380/w/acme/openai/v1",
        "curl http://127.0.0.1:7380/w/acme/openai",
        "runs-on: self-hosted",
        key["fingerprint"].as_str().unwrap(),
    ] {
        assert!(done.body.contains(shown), "{shown}: {}", done.body);
    }
    let second = fields.replace("QA+Sandbox", "second");
    browser.submit(ADD, &second).await;
    let id = api
        .keys()
        .await
        .into_iter()
        .find(|key| key["label"] == "second");
    let id = id.unwrap()["id"].as_str().unwrap().to_owned();
    let done = browser.get(&format!("/keys/{id}/added")).await;
    let default = "No: “<bdi>QA Sandbox</bdi>” is.";
    assert!(done.body.contains(default), "{}", done.body);
    assert!(!done.body.contains("stays the default"), "{}", done.body);
}

#[tokio::test]
async fn a_key_that_a_check_rejects_is_stored_only_as_a_second_choice() {
    let api = with_keys(&[]).await;
    let browser = api.owner().await;
    for (finding, said) in [
        (rejected(), "OpenAI rejects the key"),
        (Finding::UNANSWERED, "OpenAI could not be asked"),
    ] {
        api.provider.say(finding);
        // Without a button, as Enter may send it.
        for check in ["&check=required", ""] {
            let refused = browser.submit(ADD, &new_key(check)).await;
            refused.assert_is_page(StatusCode::UNPROCESSABLE_ENTITY);
            assert!(refused.body.contains(said), "{}", refused.body);
            assert!(refused.body.contains(r#"value="QA Sandbox""#));
            assert!(refused.body.contains("data-skip>"), "{}", refused.body);
            assert!(api.keys().await.is_empty());
        }
    }
    let first = browser.get(ADD).await;
    assert!(first.body.contains("data-skip hidden>"), "{}", first.body);
    let saved = browser.submit(ADD, &new_key("&check=skip")).await;
    let id = api.key_id().await;
    saved.assert_leads_to(&format!("{}/keys/{id}/added", browser.base));
    let done = browser.get(&format!("/keys/{id}/added")).await;
    assert!(
        done.body.contains("Stored without a check"),
        "{}",
        done.body
    );
}

#[tokio::test]
async fn an_invalid_key_form_says_why_and_loses_nothing_but_the_key() {
    let api = with_keys(&["taken"]).await;
    let browser = api.owner().await;
    let unprocessable = StatusCode::UNPROCESSABLE_ENTITY;
    let azure = "/keys/new/azure-openai?workspace=acme";
    for (page, fields, status, field) in [
        (ADD, "secret=&label=kept", unprocessable, "secret"),
        (ADD, "secret=short&label=kept", unprocessable, "secret"),
        (
            ADD,
            &*format!("secret={SECRET}&label="),
            unprocessable,
            "label",
        ),
        (
            ADD,
            &*format!("secret={SECRET}&label=taken"),
            StatusCode::CONFLICT,
            "label",
        ),
        (
            ADD,
            &*format!("secret={SECRET}&label=kept&expiresAt=2001-01-01"),
            unprocessable,
            "expires",
        ),
        (
            azure,
            &*format!("secret={SECRET}&label=kept&endpoint=https%3A%2F%2Fx.example"),
            unprocessable,
            "endpoint",
        ),
    ] {
        let fields = format!("workspaceId=acme&usageTag=kept-tag&check=skip&{fields}");
        let answer = browser.submit(page, &fields).await;
        answer.assert_is_page(status);
        assert!(
            answer.body.contains(&format!(r#"id="{field}-error""#)),
            "{field}: {}",
            answer.body
        );
        assert!(
            answer.body.contains(r#"value="kept-tag""#),
            "{}",
            answer.body
        );
    }
    assert_eq!(api.keys().await.len(), 1);
    for wrong in ["workspaceId=nosuch&", ""] {
        let fields = format!("{wrong}secret={SECRET}&label=x");
        let answer = browser.submit(ADD, &fields).await;
        answer.assert_is_page(StatusCode::NOT_FOUND);
    }
    let unknown = browser.get("/keys/new/nosuch?workspace=acme").await;
    unknown.assert_is_page(unprocessable);
}

#[tokio::test]
async fn a_key_in_another_field_too_is_neither_stored_nor_shown() {
    let api = with_keys(&[]).await;
    let browser = api.owner().await;
    for (fields, field) in [
        (format!("label={SECRET}"), "label"),
        (format!("label=the+{SECRET}"), "label"),
        (format!("label={}", &SECRET[..64]), "label"),
        (format!("label=kept&usageTag={}", &SECRET[..64]), "tag"),
    ] {
        let fields = format!("workspaceId=acme&check=skip&secret={SECRET}&{fields}");
        let answer = browser.submit(ADD, &fields).await;
        answer.assert_is_page(StatusCode::UNPROCESSABLE_ENTITY);
        let error = format!(r#"id="{field}-error""#);
        assert!(answer.body.contains(&error), "{error}: {}", answer.body);
        assert!(!answer.body.contains(&SECRET[..64]), "{}", answer.body);
    }
    assert!(api.keys().await.is_empty());
}

#[tokio::test]
async fn an_expiry_is_filled_in_for_a_development_key_and_may_be_cleared() {
    let api = with_keys(&[]).await;
    let browser = api.owner().await;
    let catalogue = Catalogue::builtin();
    let advice = &catalogue.get("openai").unwrap().development;
    let days = advice.expires_in_days.unwrap().into();
    let expires = |day: &str| format!(r#"name="expiresAt" type="date" value="{day}""#);
    let live = browser.get(ADD).await;
    live.assert_is_page(StatusCode::OK);
    assert!(live.body.contains(r#"value="live" checked"#));
    assert!(live.body.contains(&expires("")), "{}", live.body);
    assert!(live.body.contains(&advice.links[0].url));
    // The link for browsers without scripts.
    let sandbox = format!("{ADD}&environment=sandbox");
    let link = format!(r#"<noscript><a href="{}{sandbox}">"#, browser.base);
    let html = live.body.replace("&#38;", "&").replace("&amp;", "&");
    assert!(html.contains(&link), "{link}: {html}");
    let led = browser
        .get("/keys/new?workspace=acme&provider=openai&environment=sandbox")
        .await;
    led.assert_leads_to(&format!("{}{sandbox}", browser.base));
    // Midnight may pass between.
    let before = in_days(days);
    let filled_in = browser.get(&sandbox).await;
    let day = [before, in_days(days)]
        .iter()
        .any(|at| filled_in.body.contains(&expires(&at[..10])));
    assert!(day, "{}", filled_in.body);
    assert!(filled_in.body.contains(r#"value="sandbox" checked"#));
    // Its key ends with the demo, so nothing is suggested.
    let none = browser
        .get("/keys/new/sandbox?workspace=acme&environment=sandbox")
        .await;
    assert!(none.body.contains(&expires("")), "{}", none.body);
    let wrong = browser.get(&format!("{ADD}&environment=test")).await;
    wrong.assert_is_page(StatusCode::UNPROCESSABLE_ENTITY);

    api.provider.say(rejected());
    let cleared = new_key("&expiresAt=&check=required");
    let refused = browser.submit(&sandbox, &cleared).await;
    refused.assert_is_page(StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.body.contains(&expires("")), "{}", refused.body);
    browser
        .submit(&sandbox, &new_key("&expiresAt=&check=skip"))
        .await;
    assert_eq!(api.key().await["expiresAt"], Value::Null);
}

#[tokio::test]
async fn the_script_of_the_form_gets_a_verdict_or_a_place_to_go() {
    let api = with_keys(&[]).await;
    let browser = api.owner().await;
    api.provider.say(rejected());
    let refused = api.ask_as_script(&browser, ADD, &new_key("")).await;
    assert_eq!(refused.status, StatusCode::OK, "{}", refused.body);
    let refused = refused.json();
    assert_eq!(refused["title"], "OpenAI rejects the key");
    assert_eq!(
        (&refused["tone"], &refused["canSkip"]),
        (&json!("bad"), &json!(true))
    );
    let wrong = api
        .ask_as_script(&browser, ADD, "workspaceId=acme&label=x")
        .await;
    let wrong = wrong.json();
    assert_eq!(wrong["errors"]["secret"], "is missing");
    assert_eq!(wrong["canSkip"], false);
    let saved = api
        .ask_as_script(&browser, ADD, &new_key("&check=skip"))
        .await;
    let id = api.key_id().await;
    assert_eq!(
        saved.json(),
        json!({ "location": format!("{}/keys/{id}/added", browser.base) })
    );
}

#[tokio::test]
async fn a_viewer_sees_a_key_and_no_form_that_changes_it() {
    let api = with_keys(&["nightly"]).await;
    let id = api.key_id().await;
    let token = api.token_of(Role::Viewer, Scope::All).await;
    let viewer = api.sign_in(&token).await;
    let page = format!("/keys/{id}");
    let shown = viewer.get(&page).await;
    shown.assert_is_page(StatusCode::OK);
    assert!(shown.body.contains("nightly") && shown.body.contains("sha256:"));
    for absent in [r#"name="do""#, "/rotate\"", "/edit\"", "/revoke\""] {
        assert!(!shown.body.contains(absent), "{absent}: {}", shown.body);
    }
    let refused = viewer.submit(&page, "do=check").await;
    refused.assert_is_page(StatusCode::FORBIDDEN);
    for form in [
        "/keys/new".to_owned(),
        ADD.to_owned(),
        format!("{page}/edit"),
        format!("{page}/rotate"),
        format!("{page}/revoke"),
    ] {
        viewer
            .get(&form)
            .await
            .assert_is_page(StatusCode::FORBIDDEN);
    }
    for form in ["edit", "rotate", "revoke"] {
        let answer = viewer
            .submit(&format!("{page}/{form}"), "label=nightly")
            .await;
        answer.assert_is_page(StatusCode::FORBIDDEN);
    }
    let answer = viewer.submit(ADD, &new_key("&check=skip")).await;
    answer.assert_is_page(StatusCode::FORBIDDEN);
    assert_eq!(api.key().await["status"], "active");
}

#[tokio::test]
async fn keys_outside_of_the_scope_do_not_exist() {
    let api = with_keys(&["nightly"]).await;
    api.post("/api/workspaces", &json!({ "id": "elsewhere" }))
        .await;
    let id = api.key_id().await;
    let scope = Scope::Only(Arc::new(["elsewhere".parse().unwrap()].into()));
    let token = api.token_of(Role::Owner, scope).await;
    let limited = api.sign_in(&token).await;
    for page in ["", "/added", "/edit", "/rotate", "/revoke"] {
        let answer = limited.get(&format!("/keys/{id}{page}")).await;
        answer.assert_is_page(StatusCode::NOT_FOUND);
    }
    let answer = limited
        .submit(&format!("/keys/{id}/revoke"), "label=nightly")
        .await;
    answer.assert_is_page(StatusCode::NOT_FOUND);
    let answer = limited.submit(ADD, &new_key("&check=skip")).await;
    answer.assert_is_page(StatusCode::NOT_FOUND);
    assert_eq!(api.key().await["status"], "active");
}

#[tokio::test]
async fn every_form_of_a_key_needs_the_csrf_token() {
    let api = with_keys(&["nightly"]).await;
    let browser = api.owner().await;
    let page = format!("/keys/{}", api.key_id().await);
    for (form, fields) in [
        (page.clone(), "do=check".to_owned()),
        (format!("{page}/edit"), "label=other".to_owned()),
        (format!("{page}/rotate"), format!("secret={NEXT}")),
        (format!("{page}/revoke"), "label=nightly".to_owned()),
        (ADD.to_owned(), new_key("&check=skip")),
    ] {
        let answer = browser.submit_as_is(&form, &fields).await;
        answer.assert_is_page(StatusCode::FORBIDDEN);
    }
    let key = api.key().await;
    assert_eq!(
        (&key["label"], &key["status"], &key["verification"]),
        (&json!("nightly"), &json!("active"), &Value::Null)
    );
    assert_eq!(key["versions"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn hostile_text_is_shown_as_text_on_every_page_of_a_key() {
    let api = with_keys(&[]).await;
    let hostile = r#"<img src=x>"'&"#;
    let made = new_credential(json!({ "label": hostile, "usageTag": hostile }));
    let id = api.post(CREDENTIALS, &made).await.id();
    let browser = api.owner().await;
    for page in ["", "/added", "/edit", "/rotate", "/revoke"] {
        let page = browser.get(&format!("/keys/{id}{page}")).await;
        page.assert_is_page(StatusCode::OK);
        assert!(!page.body.contains("<img"), "{}", page.body);
        assert!(page.body.contains("img src=x"), "{}", page.body);
    }
    let encoded = "%3Cscript%3Ealert(1)%3C%2Fscript%3E%22";
    let fields = format!("workspaceId=acme&label={encoded}&usageTag={encoded}&endpoint={encoded}");
    let again = browser.submit(ADD, &fields).await;
    again.assert_is_page(StatusCode::UNPROCESSABLE_ENTITY);
    assert!(!again.body.contains("<script>"), "{}", again.body);
    assert!(again.body.contains("alert(1)"), "{}", again.body);
}

#[tokio::test]
async fn the_pages_of_a_key_have_stable_links() {
    let api = with_keys(&["nightly"]).await;
    let id = api.key_id().await;
    for page in [
        format!("/keys/{id}/rotate"),
        format!("/keys/{id}/revoke"),
        ADD.to_owned(),
    ] {
        let answer = api.navigate(&page, &FOLLOWED).await;
        answer.assert_is_page(StatusCode::OK);
        assert!(!answer.body.contains("nightly"));
    }
}

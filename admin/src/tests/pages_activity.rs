//! The pages Preview and Checks.

use keyside_config::Cause;
use keyside_credentials::{Finding, Role, Scope, preview::PreviewError};

use super::{browser::Browser, *};

/// What a person enters on the page Preview.
const PROMPT: &str = "workspaceId=acme&provider=sandbox&label=QA+Sandbox&environment=sandbox\
    &model=some-model&prompt=Hi%0D%0Athere";

pub(super) async fn with_workspace() -> Api {
    let api = Api::on_loopback().await;
    let made = api.post("/api/workspaces", &json!({ "id": "acme" })).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    api
}

/// A page's own links, as a browser reads them.
pub(super) fn unescaped(html: &str) -> String {
    html.replace("&#38;", "&").replace("&amp;", "&")
}

fn refusal(code: &'static str, status: u16, remediation: &str) -> PreviewError {
    PreviewError {
        code,
        status,
        message: "The key was revoked.".to_owned(),
        remediation: remediation.to_owned(),
    }
}

#[tokio::test]
async fn a_preview_without_script_shows_the_answer_and_which_key_gave_it() {
    let api = with_workspace().await;
    let browser = api.owner().await;
    let page = browser.submit("/preview", PROMPT).await;
    page.assert_is_page(StatusCode::OK);
    let run = format!(
        "{}/runs?workspace=acme&request={}",
        browser.base,
        page.header("x-keyside-request-id")
    );
    let body = unescaped(&page.body);
    for shown in [
        "Live response · <bdi>QA Sandbox</bdi> · sandbox",
        ">Hel\nlo<",
        "<dd>2 ms</dd>",
        "3 in, 0 out",
        ">Hi\r\nthere</textarea>",
        run.as_str(),
    ] {
        assert!(body.contains(shown), "{shown:?}: {body}");
    }
    let sent = api.model.prompts.lock().unwrap().pop().unwrap();
    assert_eq!(
        sent,
        r#"acme sandbox QA Sandbox sandbox some-model "Hi\nthere" false"#
    );
}

#[tokio::test]
async fn a_script_gets_the_answer_as_a_stream() {
    let api = with_workspace().await;
    let browser = api.owner().await;
    let answer = browser.stream("/preview", PROMPT).await;
    assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
    assert_eq!(answer.header("content-type"), "text/event-stream");
    let events: Vec<_> = answer.body.split_terminator("\n\n").collect();
    assert_eq!(events[0], "event: text\ndata: {\"text\":\"Hel\\n\"}");
    assert!(events[2].starts_with("event: done\n"), "{}", answer.body);
    let sent = api.model.prompts.lock().unwrap().pop().unwrap();
    assert!(sent.ends_with("true"), "{sent}");
}

#[tokio::test]
async fn a_refusal_is_a_banner_with_the_way_to_mend_it() {
    let api = with_workspace().await;
    let browser = api.owner().await;
    let here = "http://127.0.0.1:7381";
    let new = "/keys/new?workspace=acme&provider=sandbox";
    for (path, href, action) in [
        (new, format!("{}{new}", browser.base), "Add a key"),
        ("/guide", "/guide".to_owned(), "See how to fix it"),
    ] {
        let url = format!("{here}{path}");
        api.model.say(Err(refusal("credential_revoked", 401, &url)));
        let page = browser.submit("/preview", PROMPT).await;
        page.assert_is_page(StatusCode::CONFLICT);
        let body = unescaped(&page.body);
        assert!(body.contains("The key was revoked."), "{body}");
        let link = format!("<a href=\"{href}\">{action}</a>");
        assert!(body.contains(&link), "{link}: {body}");
        assert!(body.contains("there</textarea>"), "nothing is lost: {body}");
        assert!(!body.contains("Live response"), "{body}");
        let problem = browser.stream("/preview", PROMPT).await;
        assert_eq!(problem.kind(), "preview-refused", "{}", problem.body);
        assert_eq!(problem.json()["remediation"], url);
    }
    let text = "Correct the client.";
    api.model.say(Err(refusal("upstream_timeout", 504, text)));
    let page = browser.submit("/preview", PROMPT).await;
    page.assert_is_page(StatusCode::BAD_GATEWAY);
    assert!(page.body.contains(text), "{}", page.body);
    assert!(!page.body.contains("See how to fix it"), "{}", page.body);
}

#[tokio::test]
async fn a_wrong_prompt_is_shown_beside_its_field_and_never_sent() {
    let api = with_workspace().await;
    let browser = api.owner().await;
    for (wrong, field) in [
        ("provider=none&model=m&prompt=Hi", "provider"),
        ("provider=sandbox&model=a+b&prompt=Hi", "model"),
        ("provider=sandbox&model=m", "prompt"),
        (
            "provider=sandbox&model=m&prompt=Hi&environment=test",
            "environment",
        ),
    ] {
        let fields = format!("workspaceId=acme&{wrong}");
        let page = browser.submit("/preview", &fields).await;
        page.assert_is_page(StatusCode::UNPROCESSABLE_ENTITY);
        let error = format!("id=\"{field}-error\"");
        assert!(page.body.contains(&error), "{error}: {}", page.body);
    }
    let elsewhere = PROMPT.replace("acme", "beta");
    let page = browser.submit("/preview", &elsewhere).await;
    page.assert_is_page(StatusCode::NOT_FOUND);
    let list = format!("href=\"{}/workspaces\">All workspaces</a>", browser.base);
    assert!(page.body.contains(&list), "{list}: {}", page.body);
    let forged = browser.submit_as_is("/preview", PROMPT).await;
    forged.assert_is_page(StatusCode::FORBIDDEN);
    assert!(api.model.prompts.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_choices_of_a_preview_are_the_keys_of_the_workspace() {
    let api = with_workspace().await;
    api.post(CREDENTIALS, &new_credential(json!({ "label": "nightly" })))
        .await;
    let gone = new_credential(json!({ "label": "gone" }));
    let gone = api.post(CREDENTIALS, &gone).await.id();
    api.delete(&format!("{CREDENTIALS}/{gone}")).await;
    let page = api.owner().await.get("/preview").await;
    page.assert_is_page(StatusCode::OK);
    for shown in [
        "value=\"openai\" selected>",
        "<optgroup label=\"OpenAI\" data-provider=\"openai\">",
        "nightly</option>",
        "gone (revoked)</option>",
    ] {
        assert!(page.body.contains(shown), "{shown}: {}", page.body);
    }
    assert!(!page.body.contains("value=\"\" list=\"models\""), "a model");
}

/// Workflows that use the revoked key are refused, and this page is where a person looks why.
#[tokio::test]
async fn a_preview_begins_with_the_provider_that_has_keys_even_if_they_are_revoked() {
    let api = with_workspace().await;
    let browser = api.owner().await;
    let selected = async |query: &str| {
        let page = browser.get(&format!("/preview{query}")).await;
        page.assert_is_page(StatusCode::OK);
        let (_, choice) = page.body.split_once(r#"<select id="provider""#).unwrap();
        let (before, _) = choice.split_once("\" selected>").unwrap();
        before.rsplit_once('"').unwrap().1.to_owned()
    };
    let gone = new_credential(json!({ "provider": "openai", "label": "gone" }));
    let gone = api.post(CREDENTIALS, &gone).await.id();
    api.delete(&format!("{CREDENTIALS}/{gone}")).await;
    assert_eq!(selected("").await, "openai", "its only key is revoked");
    let usable = json!({ "provider": "groq", "label": "nightly" });
    api.post(CREDENTIALS, &new_credential(usable)).await;
    assert_eq!(selected("").await, "groq", "its key can be used");
    assert_eq!(selected("?label=gone").await, "openai", "it has the label");
    assert_eq!(selected("?provider=openai").await, "openai");
}

#[tokio::test]
async fn a_preview_says_beforehand_that_the_provider_has_no_key() {
    let api = with_workspace().await;
    let browser = api.owner().await;
    let preview = "/preview?provider=openai";
    let page = browser.get(preview).await;
    let add = "/keys/new?workspace=acme&provider=openai";
    let link = format!("<a href=\"{}{add}\">Add a key</a>", browser.base);
    let body = unescaped(&page.body);
    assert!(body.contains("There is no key for OpenAI"), "{body}");
    assert!(body.contains(&link), "{link}: {body}");
    let sandbox = json!({ "label": "try-out", "environment": "sandbox" });
    let id = api.post(CREDENTIALS, &new_credential(sandbox)).await.id();
    let page = browser.get(preview).await;
    assert!(!page.body.contains("There is no key for"), "{}", page.body);
    assert!(page.body.contains("try-out (sandbox)</option>"));
    api.delete(&format!("{CREDENTIALS}/{id}")).await;
    let page = browser.get(preview).await;
    let said = "The OpenAI sandbox key “try-out” is revoked, and there is no other";
    assert_eq!(page.body.matches(said).count(), 1, "{}", page.body);
    let row = browser.get("/audit?event=credential_revoked").await;
    let sandbox = r##"<use href="#i-sandbox"/></svg>Sandbox</span>"##;
    assert!(row.body.contains(sandbox), "{}", row.body);
}

#[tokio::test]
async fn a_viewer_sends_no_prompt_and_starts_no_checks() {
    let api = with_tagged_key().await;
    let viewer = api.token_of(Role::Viewer, Scope::All).await;
    let viewer = api.sign_in(&viewer).await;
    for (page, form, button) in [
        ("/preview", PROMPT, "data-busy=\"Sending"),
        ("/checks", "workspaceId=acme", "Run now"),
    ] {
        let shown = viewer.get(page).await;
        shown.assert_is_page(StatusCode::OK);
        assert!(!shown.body.contains(button), "{}", shown.body);
        let refused = viewer.submit(page, form).await;
        refused.assert_is_page(StatusCode::FORBIDDEN);
    }
    assert!(api.model.prompts.lock().unwrap().is_empty());
}

/// A tagged sandbox key in `acme`, and a process that executes runs.
async fn with_tagged_key() -> Api {
    let api = with_workspace().await;
    let tagged = json!({ "label": "QA Sandbox", "environment": "sandbox", "usageTag": "ci-smoke" });
    let made = api.post(CREDENTIALS, &new_credential(tagged)).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    tokio::spawn(api.smoke.background());
    api
}

impl Browser<'_> {
    /// Starts a run of checks, and returns the page once it has finished.
    async fn check(&self) -> Answer {
        let started = self.submit("/checks", "workspaceId=acme").await;
        started.assert_leads_to(&format!("{}/checks?workspace=acme", self.base));
        let shown = self.get("/checks?workspace=acme").await;
        let Some((_, progress)) = shown.body.split_once("data-progress=\"") else {
            // It has finished already.
            return shown;
        };
        let progress = unescaped(progress.split('"').next().unwrap());
        let progress = progress.strip_prefix(&self.base).unwrap();
        // The store works on threads, for which a number of turns does not wait.
        let finished = async {
            loop {
                let state = self.get(progress).await.json();
                if state["finished"] == true {
                    return state;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let limit = Duration::from_secs(60);
        let state = tokio::time::timeout(limit, finished).await.unwrap();
        assert_eq!(state["text"], "1 of 1 done");
        self.get("/checks?workspace=acme").await
    }
}

#[tokio::test]
async fn checks_show_each_key_with_its_latest_results() {
    let api = with_tagged_key().await;
    let browser = api.owner().await;
    let before = browser.get("/checks").await;
    before.assert_is_page(StatusCode::OK);
    assert!(before.body.contains("Not checked yet"), "{}", before.body);
    let passed = browser.check().await;
    for shown in [
        "Last run, on request",
        "<bdi>QA Sandbox</bdi>",
        "Accepted",
        "class=\"pass\" x=\"0\" y=\"0\"",
    ] {
        assert!(passed.body.contains(shown), "{shown}: {}", passed.body);
    }
    let rejected = Finding::because(Cause::WrongKey, Some(401));
    api.provider.say(rejected);
    let failed = browser.check().await;
    for shown in [
        "Latest results, oldest first: Accepted, Rejected",
        "class=\"fail\" x=\"8\" y=\"10\"",
        "<td data-label=\"Failures in a row\" class=\"num\">1</td>",
        "<td data-label=\"Status\" class=\"num\">401</td>",
        "Requests: 2 of ",
    ] {
        assert!(failed.body.contains(shown), "{shown}: {}", failed.body);
    }
}

#[tokio::test]
async fn where_nothing_is_tagged_nothing_is_checked() {
    let api = with_workspace().await;
    let browser = api.owner().await;
    let started = browser.submit("/checks", "workspaceId=acme").await;
    started.assert_leads_to(&format!("{}/checks?workspace=acme", browser.base));
    let page = browser.get("/checks?workspace=acme").await;
    assert!(page.body.contains("none is expected"), "{}", page.body);
    assert!(page.body.contains("Nothing to check yet"), "{}", page.body);
    assert!(page.body.contains("Choose a key"), "{}", page.body);
    let viewer = api.token_of(Role::Viewer, Scope::All).await;
    let seen = api.sign_in(&viewer).await.get("/checks").await;
    assert!(!seen.body.contains("Choose a key"), "{}", seen.body);
    let nowhere = browser.submit("/checks", "").await;
    nowhere.assert_is_page(StatusCode::NOT_FOUND);
    let known = browser
        .get("/checks/progress?workspace=acme&run=smoke_1")
        .await;
    assert_eq!(
        known.json(),
        json!({ "text": "0 done", "done": 0, "finished": true })
    );
}

#[tokio::test]
async fn a_workspace_that_the_settings_leave_out_is_promised_no_check() {
    let api = Api::checking(&["other"]).await;
    let browser = api.owner().await;
    for (id, is_left_out) in [("acme", true), ("other", false)] {
        let made = api.post("/api/workspaces", &json!({ "id": id })).await;
        assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
        for page in ["/keys/new/openai", "/checks"] {
            let shown = browser.get(&format!("{page}?workspace={id}")).await;
            shown.assert_is_page(StatusCode::OK);
            for (text, expected) in [
                ("<code>smoke.workspaces</code>", is_left_out),
                ("with the tag <code>ci-smoke</code>", !is_left_out),
            ] {
                let is_there = shown.body.contains(text);
                assert_eq!(is_there, expected, "{id}, {text}: {}", shown.body);
            }
        }
    }
}

//! The page of a key without JavaScript: rotating, rolling back, checking, editing and revoking it.

use keyside_credentials::{Finding, Verification};

use super::{
    pages::with_keys,
    pages_keys::{NEXT, rejected},
    *,
};

/// The state that the form on a page was made for, encoded for a form.
fn etag(page: &Answer) -> String {
    let (_, rest) = page.body.split_once(r#"name="etag" value=""#).unwrap();
    let value = rest.split('"').next().unwrap();
    value.replace("&#34;", "%22").replace("&quot;", "%22")
}

/// When each version is destroyed or was, as the page of a key says it.
fn destroyed(page: &Answer) -> Vec<&str> {
    let cells = page.body.split(r#"data-label="Destroyed""#).skip(1);
    let cells = cells.map(|cell| cell.split("</td>").next().unwrap());
    cells
        .map(|cell| match cell.split_once("<span data-relative>") {
            Some((_, time)) => time.split('<').next().unwrap(),
            None => "",
        })
        .collect()
}

#[tokio::test]
async fn a_destroyed_version_says_when_it_was_destroyed() {
    let api = with_keys(&["nightly"]).await;
    let browser = api.owner().await;
    let page = format!("/keys/{}", api.key_id().await);
    assert_eq!(destroyed(&browser.get(&page).await), [""], "it is in use");
    let rotate = format!("{page}/rotate");
    let now = etag(&browser.get(&rotate).await);
    let fields = format!("etag={now}&secret={NEXT}&graceSeconds=0&check=skip");
    let rotated = browser.submit(&rotate, &fields).await;
    rotated.assert_leads_to(&format!("{}{page}", browser.base));
    let shown = browser.get(&page).await;
    assert_eq!(destroyed(&shown), ["", "just now"], "newest first");
}

#[tokio::test]
async fn a_key_is_rotated_with_an_overlap_and_rolled_back() {
    let api = with_keys(&["nightly"]).await;
    let browser = api.owner().await;
    let id = api.key_id().await;
    let (page, rotate) = (format!("/keys/{id}"), format!("/keys/{id}/rotate"));
    let form = browser.get(&rotate).await;
    form.assert_is_page(StatusCode::OK);
    assert!(
        form.body
            .contains(r#"name="graceSeconds" value="86400" checked"#),
        "{}",
        form.body
    );
    let etag_before = etag(&form);
    let fields = format!("etag={etag_before}&secret={NEXT}&graceSeconds=86400&check=required");
    api.provider.say(rejected());
    let refused = browser.submit(&rotate, &fields).await;
    refused.assert_is_page(StatusCode::UNPROCESSABLE_ENTITY);
    assert!(refused.body.contains("OpenAI rejects the key"));
    api.provider
        .say(Finding::of_verdict(Verification::Accepted, Some(200)));
    let rotated = browser.submit(&rotate, &fields).await;
    rotated.assert_leads_to(&format!("{}{page}", browser.base));
    let shown = browser.get(&page).await;
    shown.assert_is_page(StatusCode::OK);
    for text in ["In grace", "in 24 hours", "Roll back", "Credential rotated"] {
        assert!(shown.body.contains(text), "{text}: {}", shown.body);
    }
    // The same form again is outdated, and nothing is rotated twice.
    let outdated = browser.submit(&rotate, &fields).await;
    outdated.assert_is_page(StatusCode::PRECONDITION_FAILED);
    assert!(
        outdated.body.contains("Credential rotated"),
        "{}",
        outdated.body
    );
    let wrong = browser
        .submit(&page, &format!("do=roll-back&version=1&etag={etag_before}"))
        .await;
    wrong.assert_is_page(StatusCode::PRECONDITION_FAILED);
    let now = etag(&browser.get(&page).await);
    let back = browser
        .submit(&page, &format!("do=roll-back&version=1&etag={now}"))
        .await;
    back.assert_leads_to(&format!("{}{page}", browser.base));
    let versions = api.get(&format!("{CREDENTIALS}/{id}")).await.json();
    assert_eq!(versions["versions"][0]["state"], "current", "{versions}");
}

#[tokio::test]
async fn a_key_is_checked_and_made_the_default_on_its_page() {
    let api = with_keys(&["first", "second"]).await;
    let browser = api.owner().await;
    let keys = api.keys().await;
    let second = keys.iter().find(|key| key["label"] == "second").unwrap();
    assert_eq!(second["isDefault"], false);
    let page = format!("/keys/{}", second["id"].as_str().unwrap());
    let shown = browser.get(&page).await;
    assert!(
        shown.body.contains("No check of the secret"),
        "{}",
        shown.body
    );
    assert!(shown.body.contains("X-Keyside-Label: second"));
    api.provider.say(rejected());
    let checked = browser.submit(&page, "do=check").await;
    checked.assert_leads_to(&format!("{}{page}", browser.base));
    let shown = browser.get(&page).await;
    assert!(
        shown.body.contains("OpenAI rejects the key"),
        "{}",
        shown.body
    );
    let made = browser
        .submit(&page, &format!("do=default&etag={}", etag(&shown)))
        .await;
    made.assert_leads_to(&format!("{}{page}", browser.base));
    let shown = browser.get(&page).await;
    assert!(shown.body.contains("used by default"), "{}", shown.body);
    for wrong in ["do=", "do=erase"] {
        let refused = browser.submit(&page, wrong).await;
        refused.assert_is_page(StatusCode::UNPROCESSABLE_ENTITY);
    }
    let refused = browser.submit(&page, "do=refresh").await;
    refused.assert_is_page(StatusCode::CONFLICT);
}

#[tokio::test]
async fn two_people_who_edit_a_key_lose_nothing() {
    let api = with_keys(&["nightly"]).await;
    let (one, other) = (api.owner().await, api.owner().await);
    let id = api.key_id().await;
    let (page, edit) = (format!("/keys/{id}"), format!("/keys/{id}/edit"));
    let seen = etag(&one.get(&edit).await);
    let first = format!("etag={seen}&label=renamed&usageTag=&requestsPerDay=500");
    let saved = one.submit(&edit, &first).await;
    saved.assert_leads_to(&format!("{}{page}", one.base));
    let shown = one.get(&page).await;
    assert!(
        shown.body.contains("0 of 500 requests today"),
        "{}",
        shown.body
    );
    let known = "seenLabel=nightly&seenTag=&seenExpires=&seenRequests=&seenTokens=";
    // An error of another kind does not hide that the form is outdated.
    let wrong = format!("etag={seen}&{known}&label=nightly&requestsPerDay=many");
    let wrong = other.submit(&edit, &wrong).await;
    wrong.assert_is_page(StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(etag(&wrong), seen);
    assert!(wrong.body.contains(r#"name="seenLabel" value="nightly""#));
    let second = "label=nightly&usageTag=mine&expiresAt=2099-01-02";
    let late = format!("etag={seen}&{known}&{second}");
    let late = other.submit(&edit, &late).await;
    late.assert_is_page(StatusCode::PRECONDITION_FAILED);
    for told in [
        r#"value="mine""#,
        r#"value="2099-01-02""#,
        "Label from nightly to renamed",
        "Requests a day from nothing to 500",
        "by <bdi>you</bdi>",
    ] {
        assert!(late.body.contains(told), "{told}: {}", late.body);
    }
    assert!(!late.body.contains("Expires from"), "{}", late.body);
    assert_eq!(api.key().await["label"], "renamed");
    let again = format!("etag={}&{second}", etag(&late));
    let saved = other.submit(&edit, &again).await;
    saved.assert_leads_to(&format!("{}{page}", other.base));
    let key = api.key().await;
    assert_eq!(
        (&key["label"], &key["usageTag"], &key["limits"]),
        (&json!("nightly"), &json!("mine"), &Value::Null)
    );
    assert_eq!(key["expiresAt"], "2099-01-02T00:00:00Z");
    let form = other.get(&edit).await;
    let now = etag(&form);
    for (fields, field) in [
        ("label=&requestsPerDay=", "label"),
        ("label=x&requestsPerDay=many", "limits"),
        ("label=x&expiresAt=2001-01-01", "expires"),
    ] {
        let answer = other.submit(&edit, &format!("etag={now}&{fields}")).await;
        answer.assert_is_page(StatusCode::UNPROCESSABLE_ENTITY);
        assert!(
            answer.body.contains(&format!(r#"id="{field}-error""#)),
            "{field}: {}",
            answer.body
        );
    }
}

#[tokio::test]
async fn a_revoked_default_is_a_banner_until_another_key_takes_its_place() {
    let api = with_keys(&["first", "second"]).await;
    let (browser, keys) = (api.owner().await, api.keys().await);
    let page = |label: &str| {
        let key = keys.iter().find(|key| key["label"] == label).unwrap();
        format!("/keys/{}", key["id"].as_str().unwrap())
    };
    let is_said = async || {
        let said = "The default OpenAI key “first” is revoked";
        browser.get("/runs").await.body.contains(said)
    };
    assert!(!is_said().await);
    let revoke = format!("{}/revoke", page("first"));
    browser.submit(&revoke, "label=first").await;
    assert!(is_said().await);
    let second = page("second");
    let now = etag(&browser.get(&second).await);
    let form = format!("do=default&etag={now}");
    let made = browser.submit(&second, &form);
    made.await
        .assert_leads_to(&format!("{}{second}", browser.base));
    assert!(!is_said().await);
}

#[tokio::test]
async fn a_notice_shows_a_label_as_it_was_written() {
    let label = "a`b`c";
    let api = with_keys(&[label, "second"]).await;
    let (browser, keys) = (api.owner().await, api.keys().await);
    let give_label_to = async |key: &str| {
        let key = keys.iter().find(|it| it["label"] == key).unwrap();
        let page = format!("/keys/{}", key["id"].as_str().unwrap());
        let edit = format!("{page}/edit");
        let fields = format!("etag={}&label={label}", etag(&browser.get(&edit).await));
        let answer = browser.submit(&edit, &fields).await;
        (answer.body, browser.get(&page).await.body)
    };
    let (_, saved) = give_label_to(label).await;
    assert!(saved.contains("a`b`c is up to date."), "{saved}");
    let (refused, _) = give_label_to("second").await;
    let taken = "labelled &#34;a`b`c&#34; for this provider";
    assert!(refused.contains(taken), "{refused}");
}

#[tokio::test]
async fn a_script_that_rotates_an_outdated_key_is_told_and_can_go_on() {
    let api = with_keys(&["nightly"]).await;
    let (one, other) = (api.owner().await, api.owner().await);
    let edit = format!("/keys/{}/edit", api.key_id().await);
    let rotate = format!("/keys/{}/rotate", api.key_id().await);
    let seen = etag(&other.get(&rotate).await);
    one.submit(&edit, &format!("etag={seen}&label=renamed"))
        .await;
    let fields = |etag: &str| format!("etag={etag}&secret={NEXT}&graceSeconds=0&check=skip");
    let late = api.ask_as_script(&other, &rotate, &fields(&seen)).await;
    let late = late.json();
    assert_eq!(late["title"], "Changed meanwhile");
    let text = late["text"][0]["text"].as_str().unwrap();
    let told = "Credential edited: label, by you, just now. ";
    assert!(text.starts_with(told), "{text}");
    let now = late["etag"].as_str().unwrap().replace('"', "%22");
    assert_ne!(now, seen);
    let rotated = api.ask_as_script(&other, &rotate, &fields(&now)).await;
    assert!(rotated.json()["location"].is_string(), "{}", rotated.body);
}

#[tokio::test]
async fn an_edit_that_leaves_the_day_does_not_move_the_time_of_the_expiry() {
    let api = with_keys(&[]).await;
    let at = "2099-12-31T10:20:30Z";
    let made = new_credential(json!({ "expiresAt": at }));
    let id = api.post(CREDENTIALS, &made).await.id();
    let browser = api.owner().await;
    let edit = format!("/keys/{id}/edit");
    let form = browser.get(&edit).await;
    assert!(form.body.contains(r#"value="2099-12-31""#), "{}", form.body);
    let fields = format!("etag={}&label=other&expiresAt=2099-12-31", etag(&form));
    browser
        .submit(&edit, &fields)
        .await
        .assert_leads_to(&format!("{}/keys/{id}", browser.base));
    let key = api.key().await;
    assert_eq!(
        (&key["label"], &key["expiresAt"]),
        (&json!("other"), &json!(at))
    );
}

#[tokio::test]
async fn a_rotation_moves_the_expiry_only_to_another_day() {
    let api = with_keys(&[]).await;
    let at = "2099-12-31T10:20:30Z";
    let made = new_credential(json!({ "expiresAt": at }));
    let rotate = format!("/keys/{}/rotate", api.post(CREDENTIALS, &made).await.id());
    let browser = api.owner().await;
    for (secret, day, expected) in [
        (NEXT, "2099-12-31", at),
        (
            "sk-proj-the-one-after-that-0123456789",
            "2100-01-02",
            "2100-01-02T00:00:00Z",
        ),
    ] {
        let form = browser.get(&rotate).await;
        let seen = r#"name="seenExpires" value="2099-12-31""#;
        assert!(form.body.contains(seen), "{}", form.body);
        let fields = format!(
            "etag={}&secret={secret}&graceSeconds=0&check=skip&seenExpires=2099-12-31&expiresAt={day}",
            etag(&form)
        );
        let rotated = browser.submit(&rotate, &fields).await;
        assert_eq!(rotated.status, StatusCode::SEE_OTHER, "{}", rotated.body);
        assert_eq!(api.key().await["expiresAt"], expected);
    }
}

#[tokio::test]
async fn a_key_is_revoked_only_if_its_label_is_typed() {
    let api = with_keys(&["nightly"]).await;
    let browser = api.owner().await;
    let id = api.key_id().await;
    let (page, revoke) = (format!("/keys/{id}"), format!("/keys/{id}/revoke"));
    let form = browser.get(&revoke).await;
    form.assert_is_page(StatusCode::OK);
    assert!(form.body.contains("This is final"));
    for typed in ["", "label=", "label=Nightly", "label=nightl"] {
        let refused = browser.submit(&revoke, typed).await;
        refused.assert_is_page(StatusCode::UNPROCESSABLE_ENTITY);
        assert!(
            refused.body.contains(r#"id="typed-error""#),
            "{}",
            refused.body
        );
        assert_eq!(api.key().await["status"], "active");
    }
    let revoked = browser.submit(&revoke, "label=nightly").await;
    revoked.assert_leads_to(&format!("{}{page}", browser.base));
    assert_eq!(api.key().await["status"], "revoked");
    let shown = browser.get(&page).await;
    shown.assert_is_page(StatusCode::OK);
    assert!(
        shown.body.contains("Its secret is destroyed"),
        "{}",
        shown.body
    );
    assert_eq!(destroyed(&shown), ["just now"]);
    assert!(!shown.body.contains("Roll back"));
    for page in [page.as_str(), "/keys"] {
        let shown = browser.get(page).await;
        assert!(!shown.body.contains("used by default"), "{}", shown.body);
    }
    assert!(
        !shown.body.contains(&format!("{revoke}\"")),
        "nothing left to do"
    );
}

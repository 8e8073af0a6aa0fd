//! Spend caps on the page Workspace.

use super::{
    pages_admin::{ACME, hidden, with_acme},
    *,
};

#[tokio::test]
async fn caps_are_saved_and_a_change_in_between_is_shown() {
    let api = with_acme().await;
    let browser = api.owner().await;
    let tag = hidden(&browser.get(ACME).await, "etag");
    let caps = |tag: &str, requests: &str, tokens: &str| {
        let tag = tag.replace('"', "%22");
        format!("do=caps&etag={tag}&requestsPerDay={requests}&tokensPerDay={tokens}")
    };
    let saved = browser.submit(ACME, &caps(&tag, "1000", "")).await;
    saved.assert_leads_to(&format!("{}{ACME}", browser.base));
    let limits = api.get("/api/workspaces/acme").await.json()["limits"].clone();
    assert_eq!(
        limits,
        json!({ "requestsPerDay": 1000, "tokensPerDay": null })
    );
    let page = browser.get(ACME).await;
    assert!(page.body.contains("0 of 1,000"), "{}", page.body);
    // The tag is of the state before.
    let late = browser.submit(ACME, &caps(&tag, "7", "9")).await;
    late.assert_is_page(StatusCode::PRECONDITION_FAILED);
    for text in [
        "Changed while you were editing",
        r#"value="7""#,
        r#"value="9""#,
    ] {
        assert!(late.body.contains(text), "{text}: {}", late.body);
    }
    let again = browser
        .submit(ACME, &caps(&hidden(&late, "etag"), "7", "9"))
        .await;
    again.assert_leads_to(&format!("{}{ACME}", browser.base));
    let tag = hidden(&browser.get(ACME).await, "etag");
    for wrong in ["0", "many", "-1", "1000000000001"] {
        let page = browser.submit(ACME, &caps(&tag, wrong, "")).await;
        page.assert_is_page(StatusCode::UNPROCESSABLE_ENTITY);
        assert!(page.body.contains(r#"id="requests-error""#), "{wrong}");
        assert!(page.body.contains(&format!(r#"value="{wrong}""#)));
    }
    let limits = api.get("/api/workspaces/acme").await.json()["limits"].clone();
    assert_eq!(limits, json!({ "requestsPerDay": 7, "tokensPerDay": 9 }));
}

#[tokio::test]
async fn a_mistake_in_the_caps_hides_no_change_in_between() {
    let api = with_acme().await;
    let (one, other) = (api.owner().await, api.owner().await);
    let form = |page: &Answer, requests: &str, tokens: &str| {
        let tag = hidden(page, "etag").replace('"', "%22");
        let seen = [
            ("seenRequests", hidden(page, "seenRequests")),
            ("seenTokens", hidden(page, "seenTokens")),
        ];
        let seen = seen
            .map(|(name, value)| format!("&{name}={value}"))
            .concat();
        format!("do=caps&etag={tag}&requestsPerDay={requests}&tokensPerDay={tokens}{seen}")
    };
    let opened = one.get(ACME).await;
    let fields = form(&other.get(ACME).await, "500", "");
    other.submit(ACME, &fields).await;
    let mistaken = one.submit(ACME, &form(&opened, "", "many")).await;
    mistaken.assert_is_page(StatusCode::UNPROCESSABLE_ENTITY);
    let late = one.submit(ACME, &form(&mistaken, "", "900")).await;
    late.assert_is_page(StatusCode::PRECONDITION_FAILED);
    assert!(
        late.body.contains("Requests a day from no cap to 500"),
        "{}",
        late.body
    );
    // What was left empty follows.
    for (field, value) in [("requestsPerDay", "500"), ("tokensPerDay", "900")] {
        let field = format!(r#"name="{field}" inputmode="numeric" value="{value}""#);
        assert!(late.body.contains(&field), "{field}: {}", late.body);
    }
}

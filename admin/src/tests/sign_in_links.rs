//! One-time links: from a token to a browser's session without pasting the token.

use keyside_credentials::{Role, Scope};

use super::{
    browser::{Browser, FOLLOWED, OWN},
    *,
};

async fn code(api: &Api) -> String {
    let made = api.post("/api/sign-in-links", &json!({})).await;
    assert_eq!(made.status, StatusCode::CREATED, "{}", made.body);
    let link = made.json();
    assert!(link["expiresAt"].as_str().is_some());
    let (page, code) = link["url"].as_str().unwrap().split_once('#').unwrap();
    assert_eq!(page, "http://127.0.0.1:7381/link");
    code.to_owned()
}

#[tokio::test]
async fn a_link_opens_one_session_of_the_token_that_made_it() {
    let api = Api::on_loopback().await;
    let code = code(&api).await;
    api.navigate("/link", &FOLLOWED)
        .await
        .assert_is_page(StatusCode::OK);
    let whose = format!("code={code}&ask=whose");
    for _ in 0..2 {
        let answer = api.submit("/link", &whose).await;
        assert_eq!(answer.status, StatusCode::OK, "{}", answer.body);
        assert_eq!(answer.json()["role"], "Owner");
        assert_eq!(answer.json()["name"], "Installation owner");
        assert_eq!(answer.set_cookies(), [""; 0], "asking opens nothing");
    }
    let opened = api.submit("/link", &format!("code={code}")).await;
    let browser = Browser::of(&api, &opened);
    browser
        .get("/workspaces")
        .await
        .assert_is_page(StatusCode::OK);
    let again = api.submit("/link", &format!("code={code}")).await;
    again.assert_is_page(StatusCode::UNAUTHORIZED);
    assert_eq!(again.set_cookies(), [""; 0]);
    assert!(again.body.contains("used before") && !again.body.contains(&code));
    assert_eq!(
        api.submit("/link", &whose).await.status,
        StatusCode::UNAUTHORIZED
    );
}

#[tokio::test]
async fn a_link_of_a_revoked_token_opens_nothing() {
    let api = Api::on_loopback().await;
    let token = api.token_of(Role::Viewer, Scope::All).await;
    let request =
        anonymous("POST", "/api/sign-in-links").header("authorization", format!("Bearer {token}"));
    let made = api.send(request).await.json();
    let code = made["url"]
        .as_str()
        .unwrap()
        .split('#')
        .nth(1)
        .unwrap()
        .to_owned();
    let tokens = api.get("/api/tokens").await.json();
    let viewer = tokens["items"]
        .as_array()
        .unwrap()
        .iter()
        .find(|it| it["role"] == "viewer");
    let id = viewer.unwrap()["id"].as_str().unwrap();
    api.delete(&format!("/api/tokens/{id}")).await;
    let answer = api.submit("/link", &format!("code={code}")).await;
    answer.assert_is_page(StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn guesses_of_codes_are_counted_like_invalid_tokens() {
    let api = Api::on_loopback().await;
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(
            api.submit("/link", "code=0123456789abcdef&ask=whose")
                .await
                .status,
        );
    }
    assert_eq!(statuses.first(), Some(&StatusCode::UNAUTHORIZED));
    assert_eq!(statuses.last(), Some(&StatusCode::TOO_MANY_REQUESTS));
}

#[tokio::test]
async fn a_link_needs_a_token() {
    let api = Api::on_loopback().await;
    let browser = api.owner().await;
    let anonymous = anonymous("POST", "/api/sign-in-links");
    assert_eq!(api.send(anonymous).await.status, StatusCode::UNAUTHORIZED);
    let cookie = [OWN.as_slice(), &[("cookie", &*browser.cookies[0])]].concat();
    let answer = api.navigate("/api/sign-in-links", &cookie).await;
    assert_eq!(answer.status, StatusCode::UNAUTHORIZED);
}

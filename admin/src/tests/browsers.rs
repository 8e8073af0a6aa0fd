//! Pages of other sites and rebound host names are refused, even with a valid token.

use super::*;

async fn with(api: &Api, headers: &[(&str, &str)]) -> Answer {
    let mut request = Request::builder()
        .uri("/api/workspaces")
        .header("authorization", format!("Bearer {}", api.token));
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    api.send(request).await
}

#[tokio::test]
async fn only_this_servers_names_are_answered() {
    let api = Api::open().await;
    for own in [
        "127.0.0.1:7381",
        "localhost:7381",
        "LocalHost",
        "[::1]:7381",
        "keys.example.test",
        "127.0.0.1:9999",
    ] {
        let answer = with(&api, &[("host", own)]).await;
        assert_eq!(answer.status, StatusCode::OK, "{own}: {}", answer.body);
    }
    for foreign in [
        "attacker.test:7381",
        "0.0.0.0:7381",
        "localhost.attacker.test",
        "127.0.0.1.attacker.test",
        "127.0.0.2",
    ] {
        let answer = with(&api, &[("host", foreign)]).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{foreign}");
        assert_eq!(answer.kind(), "host-not-allowed");
    }
}

#[tokio::test]
async fn a_request_names_its_host_once() {
    let api = Api::open().await;
    let two = [("host", "localhost"), ("host", "attacker.test")];
    for hosts in [
        &[][..],
        &two,
        &[("host", "")],
        &[("host", "a b")],
        &[("host", "attacker@localhost")],
        &[("host", "localhost:99999")],
    ] {
        let answer = with(&api, hosts).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{hosts:?}");
    }
}

#[tokio::test]
async fn an_absolute_target_counts_like_a_host() {
    let api = Api::open().await;
    let target = |target: &str, host: &str| {
        api.request("GET", target)
            .uri(target.to_owned())
            .header("host", host)
    };
    let two_hosts = api
        .send(target("http://attacker.test/api/workspaces", "localhost"))
        .await;
    assert_eq!(two_hosts.status, StatusCode::BAD_REQUEST);
    let bare = Request::get("http://attacker.test/api/workspaces")
        .header("authorization", format!("Bearer {}", api.token));
    assert_eq!(api.send(bare).await.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_page_of_another_site_is_refused_and_one_of_ours_is_not() {
    let api = Api::open().await;
    let foreign: [&[(&str, &str)]; 8] = [
        &[("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("sec-fetch-site", "anything")],
        &[("origin", "https://attacker.test")],
        &[("origin", "null")],
        &[("origin", "http://localhost:3000")],
        &[
            ("sec-fetch-site", "same-origin"),
            ("origin", "https://attacker.test"),
        ],
        &[("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
    ];
    for headers in foreign {
        let all = [&[("host", "localhost:7381")], headers].concat();
        let answer = with(&api, &all).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{headers:?}");
        assert_eq!(answer.kind(), "browser-not-allowed");
    }
    let own: [&[(&str, &str)]; 3] = [
        &[
            ("sec-fetch-site", "same-origin"),
            ("origin", "http://localhost:7381"),
        ],
        &[("sec-fetch-site", "none")],
        &[("origin", "https://keys.example.test")],
    ];
    for headers in own {
        let all = [&[("host", "localhost:7381")], headers].concat();
        assert_eq!(with(&api, &all).await.status, StatusCode::OK, "{headers:?}");
    }
}

#[tokio::test]
async fn a_preflight_reveals_nothing() {
    let api = Api::open().await;
    let preflight = anonymous("OPTIONS", CREDENTIALS)
        .header("origin", "https://attacker.test")
        .header("access-control-request-method", "POST");
    assert_eq!(api.send(preflight).await.status, StatusCode::FORBIDDEN);
}

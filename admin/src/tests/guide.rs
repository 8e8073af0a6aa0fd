//! The guide to refusals: for a person with a browser, the same for everyone.

use super::*;

const PAGES: [&str; 1] = ["/guide"];

/// What a browser sends for a link that a person follows on another site.
const FOLLOWED: [(&str, &str); 4] = [
    ("sec-fetch-site", "cross-site"),
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
    ("sec-fetch-user", "?1"),
];

async fn with(api: &Api, method: &str, path: &str, headers: &[(&str, &str)]) -> Answer {
    let mut request = anonymous(method, path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    api.send(request).await
}

#[tokio::test]
async fn a_link_of_a_refusal_leads_to_the_page_whatever_its_query() {
    let api = Api::open().await;
    let plain = with(&api, "GET", "/guide", &[]).await.body;
    for path in PAGES {
        for query in [
            "",
            "?workspace=acme&provider=openai",
            "?workspace=%3Cscript%3E&provider=canary-of-the-query",
        ] {
            let answer = with(&api, "GET", &format!("{path}{query}"), &FOLLOWED).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}{query}");
            assert_eq!(answer.header("content-type"), "text/html; charset=utf-8");
            assert_eq!(answer.header("referrer-policy"), "no-referrer");
            assert_eq!(answer.header("x-content-type-options"), "nosniff");
            assert_eq!(
                answer.header("content-security-policy"),
                "default-src 'none'; style-src 'self'; base-uri 'none'; form-action 'none'; \
                 frame-ancestors 'none'"
            );
            assert_eq!(answer.body, plain, "{path}{query}");
        }
    }
}

#[tokio::test]
async fn the_page_needs_nothing_but_its_own_stylesheet() {
    let api = Api::open().await;
    let page = with(&api, "GET", "/guide", &[]).await.body;
    for forbidden in ["<script", "<style", "style=", "://", "<img", "<form"] {
        assert_eq!(page.find(forbidden), None, "{forbidden} in the page");
    }
    assert_eq!(page.matches("<link").count(), 1);
    assert!(page.contains(r#"<link rel="stylesheet" href="guide.css">"#));
    let from_the_page = [
        ("sec-fetch-site", "same-origin"),
        ("sec-fetch-mode", "no-cors"),
        ("sec-fetch-dest", "style"),
    ];
    let style = with(&api, "GET", "/guide.css", &from_the_page).await;
    assert_eq!(style.status, StatusCode::OK, "{}", style.body);
    assert_eq!(style.header("content-type"), "text/css; charset=utf-8");
    assert!(!style.body.contains("url(") && !style.body.contains("@import"));
}

#[tokio::test]
async fn nothing_but_a_link_that_a_person_follows_comes_from_another_site() {
    let api = Api::open().await;
    let replaced = |name: &'static str, value: &'static str| {
        FOLLOWED.map(|field| match field {
            (same, _) if same == name => (name, value),
            field => field,
        })
    };
    for headers in [
        replaced("sec-fetch-dest", "iframe").to_vec(),
        replaced("sec-fetch-dest", "image").to_vec(),
        replaced("sec-fetch-dest", "empty").to_vec(),
        replaced("sec-fetch-mode", "cors").to_vec(),
        replaced("sec-fetch-mode", "no-cors").to_vec(),
        [&FOLLOWED[..], &[("sec-fetch-mode", "navigate")]].concat(),
        [&FOLLOWED[..], &[("origin", "https://attacker.test")]].concat(),
        [&FOLLOWED[..], &[("origin", "null")]].concat(),
        FOLLOWED[..1].to_vec(),
        FOLLOWED[..2].to_vec(),
    ] {
        let answer = with(&api, "GET", "/keys", &headers).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{headers:?}");
        assert_eq!(answer.kind(), "browser-not-allowed");
    }
    for (method, path) in [
        ("POST", "/keys"),
        ("OPTIONS", "/keys"),
        ("GET", "/keys/"),
        ("GET", "/guide.css"),
        ("GET", "/assets/x/keyside.css"),
        ("GET", "/api/workspaces"),
        ("GET", "/openapi.json"),
        ("GET", "/nothing"),
    ] {
        let answer = with(&api, method, path, &FOLLOWED).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {path}");
        assert_eq!(answer.kind(), "browser-not-allowed");
    }
    let rebound = Request::get("/keys").header("host", "attacker.test");
    let rebound = FOLLOWED.iter().fold(rebound, |request, (name, value)| {
        request.header(*name, *value)
    });
    let answer = api.send(rebound).await;
    assert_eq!(answer.status, StatusCode::FORBIDDEN);
    assert_eq!(answer.kind(), "host-not-allowed");
}

#[tokio::test]
async fn the_page_is_no_part_of_the_api() {
    let api = Api::open().await;
    let answer = api.get("/api/workspaces").await;
    assert_eq!(
        answer.header("content-security-policy"),
        "default-src 'none'; frame-ancestors 'none'"
    );
    let description: Value = serde_json::from_str(crate::openapi()).unwrap();
    for path in PAGES.into_iter().chain(["/guide.css"]) {
        assert_eq!(description["paths"].get(path), None, "{path}");
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let answer = with(&api, method, path, &[]).await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}");
        }
        let head = with(&api, "HEAD", path, &[]).await;
        assert_eq!(head.status, StatusCode::OK, "HEAD {path}");
        assert_eq!(head.body, "");
    }
}

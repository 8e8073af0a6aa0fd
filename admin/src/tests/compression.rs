//! Which responses are compressed, and what their lengths may not reveal.

use std::io::Read;

use flate2::read::GzDecoder;

use super::{browser::OWN, pages::with_keys, *};

/// As browsers say it.
const ACCEPTED: (&str, &str) = ("accept-encoding", "gzip, deflate, br, zstd");

const LABELS: [&str; 4] = ["nightly", "production", "staging", "try-out"];

/// The text of a body, whose encoding and length are those of its headers.
pub(super) fn decoded(headers: &HeaderMap, body: &[u8]) -> String {
    let Some(coding) = headers.get("content-encoding") else {
        return String::from_utf8_lossy(body).into_owned();
    };
    assert_eq!(coding, "gzip");
    assert_eq!(headers["content-length"], body.len().to_string());
    let mut text = String::new();
    GzDecoder::new(body).read_to_string(&mut text).unwrap();
    text
}

/// Asserts that the first of two responses with the same text is compressed, and the other one not.
fn assert_compressed(compressed: &Answer, plain: &Answer) {
    let codings = [compressed, plain].map(|answer| answer.header("content-encoding"));
    assert_eq!(codings, ["gzip", ""], "{}", plain.body);
    for answer in [compressed, plain] {
        assert_eq!(answer.header("vary"), "accept-encoding");
    }
    let kinds = [compressed, plain].map(|answer| answer.header("content-type"));
    assert_eq!(kinds[0], kinds[1]);
}

#[tokio::test]
async fn pages_are_compressed_for_clients_that_accept_it() {
    let api = with_keys(&LABELS).await;
    let browser = api.owner().await;
    let accepting = [&OWN[..], &[ACCEPTED]].concat();
    for page in ["/keys", "/preview"] {
        let compressed = browser.get_with(page, &accepting).await;
        let plain = browser.get(page).await;
        assert_compressed(&compressed, &plain);
        for answer in [&compressed, &plain] {
            answer.assert_is_page(StatusCode::OK);
            assert!(answer.body.contains("production"), "{}", answer.body);
        }
        let sent: usize = compressed.header("content-length").parse().unwrap();
        assert!(2 * sent < plain.body.len(), "{sent} bytes");
    }
}

#[tokio::test]
async fn lists_of_the_api_are_compressed_for_clients_that_accept_it() {
    let api = with_keys(&LABELS).await;
    for path in [CREDENTIALS, "/openapi.json"] {
        let request = api.request("GET", path).header(ACCEPTED.0, ACCEPTED.1);
        let compressed = api.send(request).await;
        let plain = api.get(path).await;
        assert_compressed(&compressed, &plain);
        assert_eq!(compressed.body, plain.body);
    }
}

#[tokio::test]
async fn stylesheet_and_scripts_are_compressed_for_clients_that_accept_it() {
    let api = Api::on_loopback().await;
    let page = api.navigate("/sign-in", &OWN).await.body;
    let paths = page.split("=\"/assets/").skip(1);
    let paths: Vec<_> = paths.map(|rest| rest.split('"').next().unwrap()).collect();
    assert!(paths.len() >= 3, "{paths:?}");
    let accepting = [&OWN[..], &[ACCEPTED]].concat();
    for path in paths {
        let path = format!("/assets/{path}");
        let compressed = api.navigate(&path, &accepting).await;
        let plain = api.navigate(&path, &OWN).await;
        assert_compressed(&compressed, &plain);
        assert_eq!(compressed.body, plain.body);
    }
}

#[tokio::test]
async fn a_page_with_a_new_token_is_not_compressed() {
    let api = with_keys(&[]).await;
    let browser = api.owner().await;
    let csrf = browser.csrf().await;
    let fields = format!("csrf={csrf}&do=token&name=CI&role=editor");
    let form = browser.form("/workspace?workspace=acme");
    let form = form.header(ACCEPTED.0, ACCEPTED.1);
    let page = api.send_body(form, fields.into()).await;
    page.assert_is_page(StatusCode::OK);
    assert!(page.body.contains("<code>ks_"), "{}", page.body);
    assert!(page.body.len() > 2048, "long enough to be compressed");
    assert_eq!(page.header("content-encoding"), "");
}

#[tokio::test]
async fn no_two_pages_have_the_same_csrf_token() {
    let api = Api::on_loopback().await;
    let browser = api.owner().await;
    let (first, second) = (browser.csrf().await, browser.csrf().await);
    assert_ne!(first, second);
    for (csrf, id) in [(second, "beta"), (first, "gamma")] {
        let fields = format!("csrf={csrf}&id={id}");
        let created = browser.submit_as_is("/workspaces", &fields).await;
        created.assert_leads_to(&format!("{}/keys?workspace={id}", browser.base));
    }
}

//! The admin page over the wire, signed in to with a link from the command line.

use serde_json::json;

use crate::harness::{Ask, Keyside, Message, Wire, eventually};

/// What a browser sends from a page of this server.
fn own(keyside: &Keyside, method: &str, path: &str) -> Ask {
    Ask::new(method, path)
        .set("Host", &keyside.admin_addr().to_string())
        .header("Sec-Fetch-Site", "same-origin")
        .header("Sec-Fetch-Mode", "navigate")
        .header("Sec-Fetch-Dest", "document")
}

fn send(keyside: &Keyside, ask: &Ask) -> Message {
    Wire::tcp(keyside.admin_addr()).ask(ask)
}

/// A form of a page of this server.
fn form(keyside: &Keyside, path: &str, fields: &str) -> Ask {
    own(keyside, "POST", path)
        .header("Origin", "null")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(fields.as_bytes())
}

/// Signs in as the owner on a stable link. Returns the page that it leads to, and the cookie.
fn sign_in(keyside: &Keyside, stable: &str) -> (String, String) {
    let token = format!("token={}", keyside.token());
    let opened = send(keyside, &form(keyside, stable, &token));
    assert_eq!(opened.status(), 303, "{}", opened.text());
    let page = opened.header("location").expect("a page").to_owned();
    let cookie = opened.header("set-cookie").expect("a cookie");
    let cookie = cookie.split(';').next().expect("a name").to_owned();
    (page, cookie)
}

/// What `keyside link` prints.
fn link(keyside: &Keyside) -> String {
    let exit = keyside.cli().run(&["link"], b"");
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let link = exit.stdout.strip_suffix('\n').expect("a line").to_owned();
    assert!(!link.contains(char::is_whitespace), "nothing else: {link}");
    link
}

#[test]
fn a_printed_link_opens_one_session_that_shows_the_keys() {
    let keyside = Keyside::builder().start().with_key();
    let link = link(&keyside);
    let start = format!("http://{}/link#", keyside.admin_addr());
    let code = link.strip_prefix(&start).expect("a link to this server");
    let form = form(&keyside, "/link", &format!("code={code}"));
    let opened = send(&keyside, &form);
    assert_eq!(opened.status(), 303, "{}", opened.text());
    let front = opened.header("location").expect("a page").to_owned();
    let cookie = opened.header("set-cookie").expect("a cookie");
    let path = front.trim_end_matches('/');
    assert!(
        cookie.ends_with(&format!("; Path={path}; HttpOnly; SameSite=Strict")),
        "{cookie}"
    );
    let cookie = cookie.split(';').next().expect("a name").to_owned();
    let keys = own(&keyside, "GET", &format!("{path}/keys"));
    let page = send(&keyside, &keys.clone().header("Cookie", &cookie));
    assert_eq!(page.status(), 200, "{}", page.text());
    assert!(page.holds("<h1>Integration Keys</h1>"));
    assert_eq!(send(&keyside, &keys).status(), 303, "without the cookie");
    assert_eq!(send(&keyside, &form).status(), 401, "a second time");
}

#[test]
fn the_table_of_many_keys_is_one_page_of_them() {
    let keyside = Keyside::builder().start().with_key();
    for number in 0..60 {
        let secret = format!("sk-proj-admin-page-{number:03}-0123456789abcdef");
        keyside.add_key("acme", "openai", &format!("key-{number}"), &secret);
    }
    let (asked, cookie) = sign_in(&keyside, "/keys?workspace=acme");
    assert!(asked.ends_with("/keys?workspace=acme"), "{asked}");
    let page = send(
        &keyside,
        &own(&keyside, "GET", &asked).header("Cookie", &cookie),
    );
    assert_eq!(page.text().matches("data-return").count(), 50);
    assert!(!page.holds("0123456789abcdef"), "no secret on the page");
}

#[test]
fn a_preview_with_a_revoked_key_is_refused_as_elsewhere_and_is_a_run() {
    let keyside = Keyside::builder().start().with_key();
    keyside.revoke(&keyside.list()[0]);
    let body = json!({
        "workspaceId": "acme", "provider": "openai", "model": "gpt-4o-mini", "prompt": "Hi",
    });
    let refusal = keyside.admin("POST", "/api/preview", Some(&body)).json();
    let way = refusal["remediation"].as_str().expect("a page");
    let (_, way) = way.split_once("/keys").expect("a page of keys");

    let (page, cookie) = sign_in(&keyside, "/preview?workspace=acme");
    let (session, _) = page.split_once("/preview").expect("the page asked for");
    let shown = own(&keyside, "GET", &page).header("Cookie", &cookie);
    let shown = send(&keyside, &shown).text();
    let (_, csrf) = shown.split_once("name=\"csrf\" value=\"").expect("a token");
    let csrf = csrf.split('"').next().expect("its end");
    let fields =
        format!("csrf={csrf}&workspaceId=acme&provider=openai&model=gpt-4o-mini&prompt=Hi");
    let sent = form(&keyside, &page, &fields).header("Cookie", &cookie);
    let answer = send(&keyside, &sent);
    assert_eq!(answer.status(), 409, "{}", answer.text());
    let link = format!("href=\"{session}/keys{way}\"");
    let shown = answer.text().replace("&#38;", "&");
    assert!(shown.contains(&link), "{link}: {shown}");

    let id = answer.header("x-keyside-request-id").expect("an id");
    let runs = format!("{session}/runs?workspace=acme&request={id}");
    let runs = own(&keyside, "GET", &runs).header("Cookie", &cookie);
    eventually("the refused preview is a run on the page", || {
        let page = send(&keyside, &runs);
        page.holds("by Keyside").then_some(())
    });
}

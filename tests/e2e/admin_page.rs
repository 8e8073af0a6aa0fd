//! The admin page over the wire, signed in to with a link from the command line.

use crate::harness::{Ask, Keyside, Message, Wire};

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

/// What `keyside link` prints.
fn link(keyside: &Keyside) -> String {
    let url = format!("http://{}", keyside.admin_addr());
    let exit = keyside
        .builder_of()
        .run(&["link", "--admin-url", &url], b"");
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
    let form = own(&keyside, "POST", "/link")
        .header("Origin", "null")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(format!("code={code}").as_bytes());
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
    let form = own(&keyside, "POST", "/keys?workspace=acme")
        .header("Origin", "null")
        .header("Content-Type", "application/x-www-form-urlencoded")
        .body(format!("token={}", keyside.token()).as_bytes());
    let opened = send(&keyside, &form);
    assert_eq!(opened.status(), 303, "{}", opened.text());
    let asked = opened.header("location").expect("a page").to_owned();
    assert!(asked.ends_with("/keys?workspace=acme"), "{asked}");
    let cookie = opened.header("set-cookie").expect("a cookie");
    let cookie = cookie.split(';').next().expect("a name").to_owned();
    let page = send(
        &keyside,
        &own(&keyside, "GET", &asked).header("Cookie", &cookie),
    );
    assert_eq!(page.text().matches("data-return").count(), 50);
    assert!(!page.holds("0123456789abcdef"), "no secret on the page");
}

//! Signing in to the page with a token, and what a session's path and cookies open.

use keyside_credentials::{Role, Scope, audit::Event};

use super::{
    browser::{Browser, FOLLOWED, OWN},
    pages::with_keys,
    secrecy::Lines,
    *,
};

#[tokio::test]
async fn every_stable_link_is_the_same_static_page_from_wherever_it_is_followed() {
    let api = Api::open().await;
    let plain = api.navigate("/", &[]).await;
    plain.assert_is_page(StatusCode::OK);
    assert!(
        plain
            .body
            .contains(r#"<form class="panel form" method="post""#)
    );
    for path in [
        "/",
        "/keys?workspace=canary-workspace&provider=openai",
        "/keys/new?workspace=%3Cscript%3E",
        "/keys/cred_aaaaaaaaaaaaaaaaaaaaaaaaaa",
        "/workspaces?workspace=canary-workspace",
        "/sign-in",
    ] {
        for headers in [&FOLLOWED[..], &OWN] {
            let answer = api.navigate(path, headers).await;
            answer.assert_is_page(StatusCode::OK);
            assert_eq!(answer.body, plain.body, "{path}");
            assert_eq!(answer.set_cookies(), [""; 0]);
        }
    }
}

#[tokio::test]
async fn signing_in_leads_to_the_page_that_was_asked_for() {
    let api = Api::open().await;
    let form = format!("token=+{}%0A", api.token);
    for (asked, page) in [
        (
            "/keys/new?workspace=acme&provider=openai",
            "/keys/new?workspace=acme&provider=openai",
        ),
        ("/workspaces", "/workspaces"),
        ("/", "/"),
        ("/sign-in", "/"),
        ("/signed-out", "/"),
        ("/sign-out", "/"),
    ] {
        let answer = api.submit(asked, &form).await;
        let browser = Browser::of(&api, &answer);
        answer.assert_leads_to(&format!("{}{page}", browser.base));
    }
}

#[tokio::test]
async fn over_http_the_cookie_goes_to_the_path_of_the_session_alone() {
    let api = Api::on_loopback().await;
    let answer = api
        .submit("/sign-in", &format!("token={}", api.token))
        .await;
    let browser = Browser::of(&api, &answer);
    let [pair] = &*browser.cookies else {
        panic!("{:?}", browser.cookies)
    };
    let expected = format!("{pair}; Path={}; HttpOnly; SameSite=Strict", browser.base);
    assert_eq!(answer.set_cookies(), [expected]);
    browser
        .get("/keys")
        .await
        .assert_leads_to(&format!("{}/workspaces", browser.base));
    browser
        .get("/workspaces")
        .await
        .assert_is_page(StatusCode::OK);
}

#[tokio::test]
async fn over_https_a_second_cookie_has_to_match() {
    let api = Api::open().await;
    let answer = api
        .submit("/sign-in", &format!("token={}", api.token))
        .await;
    let mut browser = Browser::of(&api, &answer);
    let set = answer.set_cookies();
    let [of_path, of_host] = &*set else {
        panic!("{set:?}")
    };
    let end = format!("; Path={}; HttpOnly; SameSite=Strict; Secure", browser.base);
    assert!(of_path.ends_with(&end), "{of_path}");
    assert!(of_host.starts_with("__Host-"), "{of_host}");
    assert!(
        of_host.ends_with("; Path=/; HttpOnly; SameSite=Strict; Secure"),
        "{of_host}"
    );
    browser
        .get("/workspaces")
        .await
        .assert_is_page(StatusCode::OK);
    let other = api.owner().await;
    let (own, foreign) = (browser.cookies[1].clone(), &other.cookies[1]);
    let name = own.split('=').next().unwrap();
    for second in [
        None,
        Some(foreign.clone()),
        Some(format!("{name}=")),
        Some(format!("{name}=x")),
    ] {
        browser.cookies.truncate(1);
        browser.cookies.extend(second);
        browser
            .get("/workspaces")
            .await
            .assert_leads_to("/workspaces");
    }
}

#[tokio::test]
async fn a_path_without_its_cookie_and_a_cookie_without_its_path_open_nothing() {
    let api = Api::on_loopback().await;
    let mut one = api.owner().await;
    let other = api.owner().await;
    assert_ne!(one.base, other.base);
    one.cookies.clone_from(&other.cookies);
    one.get("/keys?q=1").await.assert_leads_to("/keys?q=1");
    one.cookies.clear();
    one.get("/").await.assert_leads_to("/");
    one.get("").await.assert_leads_to("/");
    one.base = "/s/00000000000000000000000000000000".to_owned();
    one.cookies.clone_from(&other.cookies);
    one.get("/workspaces").await.assert_leads_to("/workspaces");
    let bare = [OWN.as_slice(), &[("cookie", &*other.cookies[0])]].concat();
    let answer = api.navigate("/workspaces", &bare).await;
    assert!(!answer.body.contains("sign-out"), "{}", answer.body);
    let as_api = api.navigate("/api/workspaces", &bare).await;
    assert_eq!(as_api.status, StatusCode::UNAUTHORIZED);
    other
        .get("/workspaces")
        .await
        .assert_is_page(StatusCode::OK);
}

#[tokio::test]
async fn requests_of_other_pages_are_sent_on_to_the_stable_link() {
    let api = Api::on_loopback().await;
    let browser = api.owner().await;
    for headers in [
        &[][..],
        &FOLLOWED,
        &[("sec-fetch-site", "same-site")],
        &[
            ("sec-fetch-site", "same-origin"),
            ("sec-fetch-site", "same-origin"),
        ],
        &[("sec-fetch-site", "anything")],
    ] {
        let answer = browser.get_with("/workspaces?workspace=x", headers).await;
        answer.assert_leads_to("/workspaces?workspace=x");
    }
    for site in ["same-origin", "none"] {
        let answer = browser
            .get_with("/workspaces", &[("sec-fetch-site", site)])
            .await;
        answer.assert_is_page(StatusCode::OK);
    }
}

#[tokio::test]
async fn another_site_cannot_sign_a_person_in() {
    let api = Api::on_loopback().await;
    for headers in [
        &[
            ("sec-fetch-site", "cross-site"),
            ("origin", "https://attacker.test"),
        ][..],
        &[
            ("sec-fetch-site", "same-site"),
            ("origin", "http://127.0.0.1:9999"),
        ],
        &[("sec-fetch-site", "cross-site"), ("origin", "null")],
        &[("origin", "null")],
        &[("origin", "http://127.0.0.1:7381")],
    ] {
        let request = headers.iter().fold(
            anonymous("POST", "/sign-in")
                .header("content-type", "application/x-www-form-urlencoded"),
            |request, (name, value)| request.header(*name, *value),
        );
        let form = format!("token={}", api.token);
        let answer = api.send_body(request, form.into()).await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{headers:?}");
        assert_eq!(answer.set_cookies(), [""; 0]);
        // Without Fetch Metadata it may be Keyside's own form, over plain http from another machine.
        let may_be_own = !headers.iter().any(|(name, _)| *name == "sec-fetch-site");
        let is_explained = answer.body.contains("This address needs https");
        assert_eq!(is_explained, may_be_own, "{headers:?}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_wrong_token_opens_nothing_and_is_counted() {
    let api = Api::on_loopback().await;
    let answer = api
        .submit("/keys?workspace=acme", "token=ks_wrong-CANARY")
        .await;
    answer.assert_is_page(StatusCode::UNAUTHORIZED);
    assert_eq!(answer.set_cookies(), [""; 0]);
    assert!(answer.body.contains("This token is not valid"));
    assert!(!answer.body.contains("CANARY"));
    assert!(
        !answer.body.contains("data-find"),
        "the script must not lead away"
    );
    let audit = api.audit().await;
    let note = audit
        .last()
        .unwrap()
        .note
        .as_deref()
        .unwrap_or("")
        .to_owned();
    assert_eq!(note, "unauthenticated");
    let mut statuses = Vec::new();
    for _ in 0..20 {
        statuses.push(api.submit("/sign-in", "token=ks_wrong").await.status);
    }
    assert_eq!(statuses.last(), Some(&StatusCode::TOO_MANY_REQUESTS));
    api.owner().await;
}

/// The records of sign-ins: who, what and how.
async fn sign_ins(api: &Api) -> Vec<(String, Event, String)> {
    let records = api.audit().await.into_iter();
    let records = records.map(|it| (it.actor.to_string(), it.event, it.note.unwrap_or_default()));
    let is_sign_in = |event| [Event::SignedIn, Event::Reauthenticated].contains(&event);
    records.filter(|(_, event, _)| is_sign_in(*event)).collect()
}

#[tokio::test]
async fn sign_ins_and_proofs_of_identity_are_audited_with_how() {
    let api = Api::on_loopback().await;
    let me = api.get("/api/tokens").await.json()["items"][0]["id"].clone();
    let me = me.as_str().unwrap();
    let link = async || {
        let made = api.post("/api/sign-in-links", &json!({})).await.json();
        made["url"]
            .as_str()
            .unwrap()
            .split_once('#')
            .unwrap()
            .1
            .to_owned()
    };
    let with_token = api
        .submit("/sign-in", &format!("token={}", api.token))
        .await;
    let code = link().await;
    api.submit("/link", &format!("code={code}")).await;
    let ids = api.audit().await.into_iter().map(|it| it.request_id);
    assert!(
        ids.collect::<Vec<_>>()
            .contains(&with_token.header("x-keyside-request-id").to_owned())
    );

    let browser = Browser::of(&api, &with_token);
    api.post("/api/workspaces", &json!({ "id": "acme" })).await;
    let erase = "/workspace/erase?workspace=acme";
    api.sessions.forget_proofs();
    for wrong in ["", "&proof=", "&proof=ks_wrong"] {
        let refused = browser.submit(erase, &format!("typed=acme{wrong}")).await;
        refused.assert_is_page(StatusCode::UNPROCESSABLE_ENTITY);
        assert!(
            refused.body.contains(r#"id="proof-error""#),
            "{}",
            refused.body
        );
    }
    let code = link().await;
    let erased = browser
        .submit(erase, &format!("typed=acme&proof={code}"))
        .await;
    erased.assert_is_page(StatusCode::OK);

    let expected = [
        (Event::SignedIn, "with the token"),
        (Event::SignedIn, "with a link"),
        (Event::Reauthenticated, "with a link"),
    ];
    let expected = expected.map(|(event, how)| (me.to_owned(), event, how.to_owned()));
    assert_eq!(sign_ins(&api).await, expected);
    let refused = api
        .audit()
        .await
        .into_iter()
        .filter(|it| it.event == Event::Refused);
    let notes: Vec<_> = refused
        .map(|it| (it.actor.to_string(), it.note.unwrap()))
        .collect();
    assert_eq!(
        notes,
        vec![(me.to_owned(), "reauthentication".to_owned()); 3]
    );
}

#[tokio::test]
async fn sign_ins_beyond_20_a_minute_are_only_counted() {
    let api = Api::on_loopback().await;
    let viewer = api.token_of(Role::Viewer, Scope::All).await;
    let before = api.audit().await.len();
    for _ in 0..30 {
        api.sign_in(&viewer).await;
    }
    assert_eq!(sign_ins(&api).await.len(), 20);
    assert_eq!(api.audit().await.len() - before, 20);
    api.owner().await;
    assert_eq!(sign_ins(&api).await.len(), 21, "another token");
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(65)).await;
    api.sign_in(&viewer).await;
    let (_, _, note) = sign_ins(&api).await.pop().unwrap();
    assert_eq!(
        note,
        "with the token; 10 more before this one, counted only"
    );
}

#[tokio::test]
async fn refusals_do_not_hide_a_sign_in() {
    let api = Api::on_loopback().await;
    let viewer = api.token_of(Role::Viewer, Scope::All).await;
    for _ in 0..30 {
        let request = anonymous("GET", "/api/tokens");
        let request = request.header("authorization", format!("Bearer {viewer}"));
        let refused = api.send(request).await;
        assert_eq!(refused.status, StatusCode::FORBIDDEN, "{}", refused.body);
    }
    api.sign_in(&viewer).await;
    let notes: Vec<_> = sign_ins(&api).await.into_iter().map(|it| it.2).collect();
    assert_eq!(notes, ["with the token"]);
}

#[tokio::test]
async fn on_a_full_disk_a_person_signs_in_and_revokes_a_key() {
    let api = with_keys(&["leaked"]).await;
    api.log.reserve_disk_space_for(Effect::EndsUse);
    let browser = api.owner().await;
    let page = format!("/keys/{}", api.key_id().await);
    let revoked = browser
        .submit(&format!("{page}/revoke"), "label=leaked")
        .await;
    revoked.assert_leads_to(&format!("{}{page}", browser.base));
    assert_eq!(api.key().await["status"], "revoked");
    assert!(sign_ins(&api).await.is_empty());
}

#[tokio::test]
async fn a_session_ends_with_its_token() {
    let api = Api::on_loopback().await;
    let token = api.token_of(Role::Editor, Scope::All).await;
    let browser = api.sign_in(&token).await;
    browser
        .get("/workspaces")
        .await
        .assert_is_page(StatusCode::OK);
    let tokens = api.get("/api/tokens").await.json();
    let mut all = tokens["items"].as_array().unwrap().iter();
    let editor = all.find(|it| it["role"] == "editor").unwrap();
    let id = editor["id"].as_str().unwrap();
    api.delete(&format!("/api/tokens/{id}")).await;
    browser
        .get("/workspaces")
        .await
        .assert_leads_to("/workspaces");
    let answer = browser.submit_as_is("/workspaces", "csrf=x&id=beta").await;
    answer.assert_leads_to("/workspaces");
}

#[tokio::test]
async fn signing_out_ends_the_session_and_its_cookies() {
    let api = Api::open().await;
    let browser = api.owner().await;
    let answer = browser.submit("/sign-out", "").await;
    answer.assert_leads_to("/signed-out");
    let cleared = answer.set_cookies();
    assert_eq!(cleared.len(), 2);
    for (line, cookie) in cleared.iter().zip(&browser.cookies) {
        let name = cookie.split('=').next().unwrap();
        assert!(line.starts_with(&format!("{name}=; Path=/")), "{line}");
        assert!(line.ends_with("; Secure; Max-Age=0"), "{line}");
    }
    browser
        .get("/workspaces")
        .await
        .assert_leads_to("/workspaces");
    let page = api.navigate("/signed-out", &OWN).await;
    page.assert_is_page(StatusCode::OK);
    assert!(page.body.contains("Signed out") && !page.body.contains("data-find"));
}

#[tokio::test]
async fn a_path_in_the_public_url_begins_links_and_cookies() {
    let folder = tempfile::tempdir().unwrap();
    let url = "https://keys.example.test/team";
    let many = NonZeroU32::new(1_000).unwrap();
    let api = Api::reached_at(url, Arc::default(), folder, many, smoke_settings()).await;
    for prefix in ["", "/team"] {
        let form = format!("token={}", api.token);
        let answer = api.submit(&format!("{prefix}/sign-in"), &form).await;
        let browser = Browser::of(&api, &answer);
        assert!(browser.base.starts_with("/team/s/"), "{}", browser.base);
        assert!(answer.set_cookies()[0].contains(&format!("; Path={};", browser.base)));
        let page = browser.get("/workspaces").await;
        page.assert_is_page(StatusCode::OK);
        assert!(page.body.contains("href=\"/team/assets/"), "{}", page.body);
    }
    let dead = api.navigate("/team/s/0123/keys?q=1", &OWN).await;
    dead.assert_leads_to("/team/keys?q=1");
}

#[test]
fn a_public_url_whose_path_begins_like_one_of_the_server_is_refused() {
    let pages = crate::pages::stable_paths();
    let routes = crate::routes::table().into_iter().map(|route| route.path);
    let others = ["/s/0123", "/assets/0123", "/guide", "/guide.css"].map(str::to_owned);
    let own = pages.chain(routes).chain(others);
    for path in own.filter(|path| path != "/") {
        let first = path.split('/').nth(1).unwrap();
        let url = format!("https://tools.example/{first}/keyside");
        let setting = ("KEYSIDE_ADMIN__PUBLIC_URL".to_owned(), url);
        let sources = Sources {
            environment: [setting].into_iter().collect(),
            ..Sources::default()
        };
        let refused = Settings::load(&sources).unwrap_err().to_string();
        assert!(
            refused.contains("one of Keyside's own"),
            "{path}: {refused}"
        );
    }
}

#[tokio::test]
async fn logs_have_no_path_of_a_session_and_no_token() {
    let api = Api::on_loopback().await;
    let log = Lines::default();
    let _guard = log.collect();
    let browser = api.owner().await;
    browser.get("/workspaces").await;
    browser.get("/nothing").await;
    let log = log.text();
    assert!(log.contains("/s/-/workspaces"), "{log}");
    let id = browser.base.rsplit('/').next().unwrap();
    let cookie = browser.cookies[0].split('=').nth(1).unwrap();
    for secret in [id, cookie, &api.token] {
        assert!(!log.contains(secret), "{secret} in {log}");
    }
}

//! The links in refusals lead to pages: to sign-in and on, or to the guide with existing commands.

use crate::harness::{Ask, Keyside, Message, Wire};

/// A page of the admin listener, requested as by a browser that follows a link.
fn followed(keyside: &Keyside, path: &str) -> Message {
    let ask = Ask::new("GET", path)
        .set("Host", &keyside.admin_addr().to_string())
        .header("Sec-Fetch-Site", "cross-site")
        .header("Sec-Fetch-Mode", "navigate")
        .header("Sec-Fetch-Dest", "document")
        .header("Upgrade-Insecure-Requests", "1");
    Wire::tcp(keyside.admin_addr()).ask(&ask)
}

#[test]
fn the_link_of_a_refusal_leads_to_the_page() {
    let keyside = Keyside::builder()
        .set("admin.public_url", r#""http://127.0.0.1:7381""#)
        .start()
        .with_key();
    keyside.workspace("empty");
    let revoked = keyside.add_key(
        "empty",
        "openai",
        "gone",
        "sk-proj-guide-0123456789abcdefghij",
    );
    keyside.revoke(&revoked);
    for (code, ask) in [
        (
            "credential_missing",
            Ask::post("/groq/openai/v1/chat/completions"),
        ),
        ("credential_revoked", Ask::chat().workspace("empty")),
        ("workspace_unknown", Ask::chat().workspace("nobody")),
        (
            "label_unknown",
            Ask::chat().header("X-Keyside-Label", "canary-label"),
        ),
        (
            "path_not_allowed",
            Ask::get("/openai/v1/organization/users"),
        ),
        ("provider_unknown", Ask::post("/nosuch/v1/chat/completions")),
    ] {
        let refusal = keyside.ask(&ask).json();
        assert_eq!(refusal["code"], code, "{refusal}");
        let link = refusal["remediation"].as_str().expect("a link");
        let path = link
            .strip_prefix("http://127.0.0.1:7381")
            .unwrap_or_else(|| panic!("{code}: {link}"));
        let page = followed(&keyside, path);
        assert_eq!(page.status(), 200, "{code}: {link}: {}", page.text());
        assert_eq!(
            page.header("content-type"),
            Some("text/html; charset=utf-8"),
            "{code}: {link}"
        );
        for repeated in ["empty", "nobody", "acme", "groq", "canary-label"] {
            assert!(
                !page.holds(repeated),
                "{code}: {repeated} in {}",
                page.text()
            );
        }
    }
}

#[test]
fn the_page_has_what_to_do_for_the_refusals_that_a_newcomer_meets() {
    let keyside = Keyside::builder().start();
    let page = followed(&keyside, "/guide");
    for code in [
        "credential_missing",
        "workspace_missing",
        "workspace_unknown",
        "provider_unknown",
        "path_not_allowed",
        "host_not_allowed",
        "browser_not_allowed",
        "upstream_unreachable",
        "budget_exhausted",
    ] {
        assert!(page.holds(&format!("<code>{code}</code>")), "{code}");
    }
}

/// A flag that does not exist, or a value that it does not take, is an error before `--help` is.
#[test]
fn each_command_of_the_page_exists() {
    let keyside = Keyside::builder().start();
    let page = followed(&keyside, "/guide").text();
    let commands: Vec<_> = page
        .split("<pre><code>keyside ")
        .skip(1)
        .filter_map(|rest| rest.split("</code>").next())
        .collect();
    assert!(commands.len() >= 8, "{commands:?}");
    for command in commands {
        let words = command.split_whitespace().map(|word| match word {
            "WORKSPACE" => "acme",
            "PROVIDER" => "openai",
            "LABEL" => "nightly",
            "ID" => "cred_aaaaaaaaaaaaaaaaaaaaaaaaaa",
            word => word,
        });
        let words: Vec<_> = words.chain(["--help"]).collect();
        let exit = keyside.builder_of().run(&words, b"");
        assert_eq!(exit.code, Some(0), "{command}: {exit:?}");
    }
}

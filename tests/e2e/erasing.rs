//! A workspace is exported and erased from the command line; afterwards it does not work, not even
//! after kill -9.

use crate::harness::{Ask, Exit, Keyside, Upstream, eventually};
use serde_json::Value;
use std::fs;

#[test]
fn an_erased_workspace_is_gone_for_runners_and_people_and_stays_so() {
    let upstream = Upstream::wanting_key();
    let keyside = Keyside::with_openai(&upstream.base_url());
    keyside.workspace("globex");
    keyside.add_key("globex", "openai", "default", crate::harness::KEY);
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200);
    let of_globex = Ask::chat().workspace("globex");
    assert_eq!(keyside.ask(&of_globex).status(), 200);
    eventually("both are recorded", || {
        (runs(&keyside).len() == 2).then_some(())
    });
    let exported = desk(&keyside, &["workspace", "export", "acme"]);
    assert_eq!(exported.code, Some(0), "{exported:#?}");
    let archive = fs::read(keyside.builder_of().home().join("acme.tar")).expect("an archive");
    let archive = String::from_utf8_lossy(&archive);
    assert!(archive.contains("manifest.json") && !archive.contains(crate::harness::KEY));

    let unasked = desk(&keyside, &["workspace", "erase", "acme"]);
    assert_eq!(unasked.code, Some(2), "{unasked:#?}");
    let erased = desk(&keyside, &["workspace", "erase", "acme", "--yes", "--json"]);
    assert_eq!(erased.code, Some(0), "{erased:#?}");
    let receipt: Value = serde_json::from_str(&erased.stdout).expect("JSON");
    assert_eq!(
        (&receipt["workspace"], &receipt["credentials"]),
        (&"acme".into(), &1.into())
    );
    let kept = run_files(&keyside);
    assert!(kept.contains("globex") && !kept.contains("acme"), "{kept}");
    is_gone(&keyside);
    let keyside = keyside.kill9().start();
    is_gone(&keyside);

    let again = desk(&keyside, &["workspace", "erase", "acme", "--yes"]);
    let again: Value = serde_json::from_str(&again.stdout).expect("the receipt alone");
    assert_eq!(again, receipt);
    let kept = keyside.builder_of().home().join("receipt.json");
    fs::write(&kept, erased.stdout).expect("a writable folder");
    let check = ["audit", "verify", "--receipt", "receipt.json"];
    let checked = desk(&keyside, &check);
    assert_eq!(checked.code, Some(0), "{checked:#?}");
    let (at_rest, _) = keyside.stop();
    let offline = [&check[..], &["--offline"]].concat();
    let checked = at_rest.run(&offline, b"");
    assert_eq!(checked.code, Some(0), "{checked:#?}");
    let text = receipt.to_string();
    let doubled = format!("{{\"workspace\":\"globex\",{}", &text[1..]);
    for forged in [text.replace("acme", "globex"), doubled] {
        fs::write(&kept, forged).expect("a writable folder");
        let checked = at_rest.run(&offline, b"");
        assert_eq!(checked.code, Some(1), "{checked:#?}");
    }
}

fn is_gone(keyside: &Keyside) {
    let refused = keyside.ask(&Ask::chat());
    assert_eq!(refused.status(), 400, "{}", refused.text());
    assert_eq!(refused.json()["code"], "workspace_unknown");
    let listed = keyside.list();
    assert!(
        listed.iter().all(|key| key["workspaceId"] == "globex"),
        "{listed:?}"
    );
    let of: Vec<_> = runs(keyside)
        .iter()
        .map(|run| run["workspaceId"].clone())
        .collect();
    assert_eq!(of, ["globex"]);
}

fn runs(keyside: &Keyside) -> Vec<Value> {
    let runs = keyside.admin("GET", "/api/runs", None).json();
    runs["items"].as_array().expect("a list").clone()
}

/// The contents of the run record files.
fn run_files(keyside: &Keyside) -> String {
    let files = fs::read_dir(keyside.data().join("store/runs")).expect("a folder");
    let contents = files.map(|file| fs::read(file.expect("an entry").path()).expect("a file"));
    String::from_utf8_lossy(&contents.collect::<Vec<_>>().concat()).into_owned()
}

fn desk(keyside: &Keyside, arguments: &[&str]) -> Exit {
    keyside.cli().run(arguments, b"")
}

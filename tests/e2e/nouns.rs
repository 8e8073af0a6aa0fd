//! `keyside NOUN list|show`: lists and lookups, in the command line's own terms.

use crate::harness::{Ask, Exit, KEY, Keyside, Upstream, eventually};
use serde_json::{Value, json};

/// A running Keyside with a key, and a person on the same machine.
struct Desk {
    keyside: Keyside,
}

impl Desk {
    fn new(upstream: &Upstream) -> Self {
        let keyside = Keyside::with_openai(&upstream.base_url());
        Self { keyside }
    }

    fn run(&self, arguments: &[&str], stdin: &str) -> Exit {
        self.keyside.cli().run(arguments, stdin.as_bytes())
    }

    fn ok(&self, arguments: &[&str]) -> String {
        let exit = self.run(arguments, "");
        assert_eq!(exit.code, Some(0), "{arguments:?}: {exit:#?}");
        assert!(!exit.stdout.contains(KEY), "{arguments:?}");
        exit.stdout
    }

    fn json(&self, arguments: &[&str]) -> Value {
        let stdout = self.ok(&[arguments, &["--json"]].concat());
        serde_json::from_str(&stdout).unwrap_or_else(|error| panic!("{error} in {stdout}"))
    }

    fn refused(&self, arguments: &[&str], stdin: &str) -> String {
        let exit = self.run(arguments, stdin);
        assert_eq!(exit.code, Some(1), "{arguments:?}: {exit:#?}");
        assert_eq!(exit.stdout, "", "{arguments:?}");
        exit.stderr
    }
}

#[test]
fn providers_are_listed_with_their_keys_and_shown_with_what_a_person_needs() {
    let desk = Desk::new(&Upstream::ok());
    let list = desk.ok(&["provider", "list"]);
    let row = |id: &str| {
        let row = list
            .lines()
            .find(|line| line.starts_with(&format!("{id} ")));
        row.unwrap_or_else(|| panic!("no {id} in {list}"))
            .to_owned()
    };
    let words = row("openai");
    let words: Vec<_> = words.split_whitespace().collect();
    assert_eq!(words[..3], ["openai", "OpenAI", "1"]);
    assert!(row("anthropic").contains("  0  "), "{list}");
    assert!(row("groq").contains("https://"), "{list}");
    let items = desk.json(&["provider", "list"])["items"].clone();
    assert_eq!(items.as_array().map(Vec::len), Some(15));

    let shown = desk.ok(&["provider", "show", "azure-openai"]);
    for part in [
        "Azure OpenAI",
        "openai.azure.com",
        "abcdef0123456789abcdef0123456789",
        "1. ",
        "2. ",
        "http://PROXY/w/WORKSPACE/azure-openai",
    ] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    assert_eq!(desk.json(&["provider", "show", "groq"])["id"], "groq");
    let shown = with_usual_port(&desk, &["provider", "show", "openai"]).stdout;
    for part in [
        "OPENAI_BASE_URL=http://127.0.0.1:7380/w/WORKSPACE/openai/v1",
        "OPENAI_API_KEY=keyside",
        "hard spend limit",
        "90 days",
    ] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
    let said = desk.refused(&["provider", "show", "grok"], "");
    assert!(said.contains("did you mean groq?"), "{said}");
}

#[test]
fn a_run_is_listed_in_local_time_and_found_by_local_time() {
    let desk = Desk::new(&Upstream::ok());
    assert_eq!(desk.keyside.ask(&Ask::chat()).status(), 200);
    let items = eventually("the run is recorded", || {
        let items = desk.json(&["run", "list"])["items"].clone();
        items.get(0).is_some().then_some(items)
    });
    let at = items[0]["at"].as_str().expect("a time").to_owned();
    let (day, time) = at.split_once('T').expect("RFC 3339, in JSON lines as ever");
    let (hour, rest) = (time[..2].parse::<u32>().expect("an hour"), &time[2..8]);
    let local = format!(" {:02}{rest}", (hour + 2) % 24);
    // Two hours east of Greenwich, in POSIX notation.
    let there = |arguments: &[&str]| {
        let builder = desk.keyside.cli().variable("TZ", "EAST-2");
        let exit = builder.run(arguments, b"");
        assert_eq!(exit.code, Some(0), "{arguments:?}: {exit:#?}");
        exit.stdout
    };
    let id = items[0]["requestId"].as_str().expect("an id");
    for arguments in [&["run", "list"][..], &["run", "show", id]] {
        let shown = there(arguments);
        assert!(shown.contains(&local), "no {local} in {shown}");
        assert!(!shown.contains(&at), "{shown}");
    }
    let shown = there(&["run", "list"]);
    let row = shown.lines().nth(1).expect("a row");
    let since = &row[..19];
    assert!(
        there(&["run", "list", "--since", since]).contains(id),
        "{since} of {day}"
    );
    assert!(
        !there(&["run", "list", "--until", since]).contains(id),
        "{since} of {day}"
    );
}

#[test]
fn a_rollback_to_a_version_with_the_same_secret_warns() {
    let desk = Desk::new(&Upstream::ok());
    let id = desk.json(&["key", "list"])["items"][0]["id"].clone();
    let id = id.as_str().expect("an id");
    let key = |arguments: &[&str], stdin: &str| {
        let exit = desk.run(&[&["key"], arguments].concat(), stdin);
        assert_eq!(exit.code, Some(0), "{arguments:?}: {exit:#?}");
        exit.stderr
    };
    let same = "both versions have the same secret";
    key(&["rotate", id, "--stdin"], KEY);
    let said = key(&["rollback", id], "");
    assert!(
        said.contains(same) && said.contains("--to NUMBER"),
        "{said}"
    );
    key(
        &["rotate", id, "--stdin"],
        "sk-proj-canaryOfAnotherVersion0123456789abcd",
    );
    let said = key(&["rollback", id, "--to", "1"], "");
    assert!(!said.contains(same), "{said}");
}

#[test]
fn a_run_is_found_by_its_run_id_tag_and_status() {
    let desk = Desk::new(&Upstream::ok());
    let ask = Ask::chat()
        .header("X-Keyside-Run", "ci 1/2&x")
        .header("X-Keyside-Tag", "nightly");
    for ask in [ask, Ask::chat()] {
        assert_eq!(desk.keyside.ask(&ask).status(), 200);
    }
    let count = |filters: &[&str]| {
        let items = desk.json(&[&["run", "list"], filters].concat())["items"].clone();
        items.as_array().map_or(0, Vec::len)
    };
    eventually("both runs are recorded", || (count(&[]) == 2).then_some(()));
    for (filters, expected) in [
        (&["--run-id", "ci 1/2&x"][..], 1),
        (&["--run-id", "ci 1/2"][..], 0),
        (&["--tag", "nightly"][..], 1),
        (&["--label", "default", "-w", "acme", "-p", "openai"][..], 2),
        (&["--label", "other"][..], 0),
        (&["--status", "200"][..], 2),
        (&["--status", "429"][..], 0),
        (&["--outcome", "server_error"][..], 0),
        (&["--outcome", "refused"][..], 0),
        (&["--since", "1h"][..], 2),
        (&["--until", "1h"][..], 0),
        (&["-n", "1"][..], 1),
        (&["--kind", "traffic", "-e", "live"][..], 2),
        (&["--kind", "smoke"][..], 0),
        (&["-e", "sandbox"][..], 0),
    ] {
        assert_eq!(count(filters), expected, "{filters:?}");
    }
    let list = desk.ok(&["run", "list", "--tag", "nightly"]);
    for part in ["REQUEST", "acme", "openai", "200", "ci 1/2&x", "nightly"] {
        assert!(list.contains(part), "no {part} in {list}");
    }
    let found = desk.json(&["run", "list", "--tag", "nightly"]);
    let id = found["items"][0]["requestId"].as_str().expect("an id");
    assert_eq!(desk.json(&["run", "show", id])["runId"], "ci 1/2&x");
    let said = desk.refused(&["run", "show", "nosuch"], "");
    assert!(said.contains("no such run"), "{said}");
}

#[test]
fn runs_are_summed_up_and_a_sandbox_key_is_marked_as_one() {
    let desk = Desk::new(&Upstream::ok());
    desk.keyside.add(json!({
        "workspaceId": "acme", "provider": "openai", "label": "ci", "environment": "sandbox",
        "secret": "sk-proj-canaryOfTheSandbox0123456789abcdef",
    }));
    for ask in [
        Ask::chat(),
        Ask::chat(),
        Ask::chat().header("X-Keyside-Label", "ci"),
        Ask::post("/anthropic/messages"),
    ] {
        desk.keyside.ask(&ask);
    }
    let figures = eventually("all are recorded", || {
        let figures = desk.json(&["run", "figures", "--by", "credential,environment"]);
        (figures["total"]["count"] == 4).then_some(figures)
    });
    let total = &figures["total"];
    assert_eq!(
        (&total["errors"], &total["refused"]),
        (&json!(1), &json!(1))
    );
    // The upstream reports no usage, which is not 0.
    assert_eq!(
        (&total["inputTokens"], &total["unknownUsage"]),
        (&Value::Null, &json!(3))
    );
    let shown = desk.ok(&["run", "figures", "--by", "credential"]);
    let row = |label: &str| {
        let mut rows = shown.lines().filter(|line| line.contains(label));
        rows.next()
            .unwrap_or_else(|| panic!("no {label} in {shown}"))
            .to_owned()
    };
    assert!(row(" ci ").contains(" sandbox "), "{shown}");
    assert!(row(" default ").contains(" live "), "{shown}");
    assert!(row("total ").contains("25.0%"), "{shown}");
    let list = desk.ok(&["run", "list", "--label", "ci"]);
    assert!(list.contains(" sandbox "), "{list}");
    let none = desk.ok(&["run", "figures", "--tag", "none"]);
    assert_eq!(none, "No runs match.\n");
    let exit = desk.run(
        &[
            "run", "figures", "--by", "day,kind", "-n", "1", "-w", "acme",
        ],
        "",
    );
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    assert!(
        exit.stdout.contains("DAY") && exit.stdout.contains("KIND"),
        "{exit:#?}"
    );
}

#[test]
fn a_refused_request_is_found_and_shown_with_what_was_refused() {
    let desk = Desk::new(&Upstream::ok());
    for ask in [Ask::chat(), Ask::post("/anthropic/messages")] {
        desk.keyside.ask(&ask);
    }
    let refused = ["run", "list", "--outcome", "path_not_allowed"];
    let id = eventually("the refusal is recorded", || {
        let found = desk.json(&refused)["items"][0]["requestId"].clone();
        found.as_str().map(str::to_owned)
    });
    let shown = desk.ok(&["run", "show", &id]);
    let field = |name: &str| {
        let value = shown.lines().find_map(|line| line.strip_prefix(name));
        value.map(str::trim)
    };
    assert_eq!(field("refused "), Some("POST /messages"), "{shown}");
    assert_eq!(field("status "), Some("403"), "{shown}");
    assert_eq!(field("key "), Some("-"), "{shown}");
}

#[test]
fn a_workspace_and_a_token_are_shown() {
    let desk = Desk::new(&Upstream::ok());
    assert!(desk.ok(&["workspace", "show", "acme"]).contains("acme"));
    assert_eq!(desk.json(&["workspace", "show", "acme"])["id"], "acme");
    let tokens = desk.json(&["token", "list"]);
    let id = tokens["items"][0]["id"].as_str().expect("an id");
    let shown = desk.ok(&["token", "show", id]);
    for part in [id, "owner", "all workspaces"] {
        assert!(shown.contains(part), "no {part} in {shown}");
    }
}

#[test]
fn an_unknown_workspace_is_an_error_that_suggests_the_nearest() {
    let desk = Desk::new(&Upstream::ok());
    for arguments in [
        &["key", "list", "-w", "acmee"][..],
        &["run", "list", "-w", "acmee"],
        &["audit", "list", "-w", "acmee"],
        &["audit", "export", "-w", "acmee"],
        &[
            "env",
            "openai",
            "-w",
            "acmee",
            "--listener",
            "127.0.0.1:7380",
        ],
        &["workspace", "show", "acmee"],
        &["key", "add", "-w", "acmee", "-p", "openai", "--stdin"],
    ] {
        let said = match arguments[0] {
            "env" => with_usual_port(&desk, arguments).stderr,
            _ => desk.refused(arguments, KEY),
        };
        assert!(said.contains("did you mean acme?"), "{said}");
    }
    let known = with_usual_port(&desk, &["env", "openai", "-w", "acme", "--json"]).stdout;
    assert!(known.contains(r#""workspaceChecked": true"#), "{known}");
    let far = desk.refused(&["key", "list", "-w", "initech"], "");
    assert!(!far.contains("did you mean"), "{far}");
}

/// Runs a command with the proxy on its default port.
fn with_usual_port(desk: &Desk, arguments: &[&str]) -> Exit {
    desk.keyside
        .cli()
        .set("proxy.listen", r#"["127.0.0.1:7380"]"#)
        .run(arguments, b"")
}

#[test]
fn an_unknown_provider_is_an_error_that_suggests_the_nearest() {
    let desk = Desk::new(&Upstream::ok());
    for arguments in [
        &["key", "list", "-p", "opnai"][..],
        &["run", "list", "-p", "opnai"],
        &["key", "add", "-w", "acme", "-p", "opnai", "--stdin"],
    ] {
        let said = desk.refused(arguments, KEY);
        assert!(said.contains("did you mean openai?"), "{said}");
    }
    let listed = desk.ok(&["run", "list", "-p", "groq"]);
    assert!(listed.contains("No runs"), "{listed}");
    let add = ["key", "add", "-w", "acme", "-p", "azure-openai", "--stdin"];
    let exit = desk.run(&add, KEY);
    assert_eq!(exit.code, Some(2), "{exit:#?}");
    assert!(exit.stderr.contains("--endpoint"), "{exit:#?}");
}

#[test]
fn a_key_of_a_kind_that_cannot_call_models_is_refused_with_an_alternative() {
    let desk = Desk::new(&Upstream::ok());
    for (provider, key) in [
        ("openai", "sk-admin-e2eKeySideOnly0123456789"),
        ("openai", "Bearer eyJe2eKeySideOnly0123456789"),
        ("anthropic", "sk-ant-admin01-e2eKeySideOnly0123456789"),
        ("anthropic", "'sk-ant-oat01-e2eKeySideOnly0123456789'"),
        ("gemini", "ya29.e2eKeySideOnly0123456789"),
        ("bedrock", "AKIAe2eKeySideOnly0123456789"),
    ] {
        let add = [
            "key", "add", "-w", "acme", "-p", provider, "-l", "b", "--stdin",
        ];
        let said = desk.refused(&add, key);
        assert!(said.contains(" instead."), "{provider}: {said}");
        assert!(!said.contains("e2eKeySideOnly"), "{provider}: {said}");
    }
    assert_eq!(desk.keyside.list().len(), 1);
}

#[test]
fn no_term_of_the_api_is_in_the_output_for_people() {
    let desk = Desk::new(&Upstream::ok());
    let key = &desk.keyside.list()[0];
    let id = key["id"].as_str().expect("an id");
    let add = ["key", "add", "-w", "acme", "-p"];
    for (arguments, stdin, says) in [
        ([&add[..], &["openai", "--stdin"]].concat(), KEY, "label"),
        (
            [&add[..], &["groq", "--stdin"]].concat(),
            "short",
            "shorter",
        ),
        (
            [
                &add[..],
                &["groq", "--stdin", "--expires-at", "2001-01-01T00:00:00Z"],
            ]
            .concat(),
            KEY,
            "--expires-at: ",
        ),
        (
            [
                &add[..],
                &["groq", "--stdin", "--endpoint", "https://a.test"],
            ]
            .concat(),
            KEY,
            "--endpoint: ",
        ),
        (vec!["key", "list", "-p", "nosuch"], "", "no such provider"),
        (vec!["key", "show", NO_KEY], "", "keyside key list"),
        (vec!["key", "rollback", id], "", "keyside key rotate"),
        (vec!["key", "rollback", id, "--to", "9"], "", "--to: "),
        (
            vec!["key", "rotate", id, "--stdin", "--grace", "90d"],
            "two words",
            "the secret",
        ),
        (vec!["workspace", "add", "acme"], "", "workspace"),
        (
            vec!["workspace", "export", "gone"],
            "",
            "keyside workspace list",
        ),
        (
            vec!["token", "show", "tok_aaaaaaaaaaaaaaaaaaaaaaaaaa"],
            "",
            "keyside token list",
        ),
        (
            vec!["token", "create", "-n", "ci", "-r", "viewer", "-w", "gone"],
            "",
            "workspace",
        ),
        (vec!["audit", "list", "--event", "nosuch"], "", "--event: "),
    ] {
        let said = desk.refused(&arguments, stdin);
        assert!(said.contains(says), "no {says:?} in {said}");
        for word in [
            "/api",
            "GET ",
            "POST ",
            "PATCH",
            "If-Match",
            "ETag",
            "urn:",
            "status 4",
            "`errors`",
            "workspaceId",
            "expiresAt",
            "graceSeconds",
            "usageTag",
        ] {
            assert!(!said.contains(word), "{word:?} of the API in {said}");
        }
        assert!(
            said.lines().count() <= 2,
            "more than an error and the next step: {said}"
        );
    }
}

const NO_KEY: &str = "cred_aaaaaaaaaaaaaaaaaaaaaaaaaa";

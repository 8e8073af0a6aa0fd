//! Tests the command line's own rules: what it accepts, what it refuses, and what it never repeats.
//! The end-to-end tests run the commands with the real binary.

use std::{ffi::OsString, io::Write, path::Path, process::ExitCode};

use clap::Parser;

use super::{
    secret::{SecretInput, SecretOwner},
    *,
};

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(line.split_whitespace())
}

#[test]
fn the_arguments_are_consistent() {
    arguments::assert_consistent();
}

#[test]
fn every_documented_command_is_accepted() {
    for line in [
        "keyside serve --config keyside.toml",
        "keyside demo",
        "keyside check --json",
        "keyside doctor --all --json",
        "keyside healthcheck --live --url http://127.0.0.1:7382",
        "keyside drain",
        "keyside drain --pid 1 --at-least 5s --timeout 30s --url http://127.0.0.1:7382",
        "keyside env",
        "keyside env curl -w acme --json",
        "keyside env curl --workspace acme --listener keyside:7380",
        "keyside key add --workspace acme --provider openai",
        "keyside key add -w acme -p openai -l ci -e sandbox --stdin --expires-at 2027-01-31T00:00:00Z",
        "keyside key add -w acme -p azure-openai --endpoint https://a.openai.azure.com --secret-file key",
        "keyside key add -w acme -p openai --check required --prompt",
        "keyside key create -w acme -p openai",
        "keyside key rotate cred_aaaaaaaaaaaaaaaaaaaaaaaaaa --check skip",
        "keyside key verify cred_aaaaaaaaaaaaaaaaaaaaaaaaaa --prompt",
        "keyside key list --status expiring --environment live --json",
        "keyside key show cred_aaaaaaaaaaaaaaaaaaaaaaaaaa",
        "keyside key revoke cred_aaaaaaaaaaaaaaaaaaaaaaaaaa --yes --token-file token",
        "keyside provider list --json",
        "keyside provider show openai",
        "keyside run list -w acme -p openai --run-id ci-7 --tag nightly --label ci --status 429 --outcome client_closed",
        "keyside run list --outcome path_not_allowed --status 0",
        "keyside run list --key cred_aaaaaaaaaaaaaaaaaaaaaaaaaa -e sandbox -k preview -n 5000",
        "keyside run figures --by credential,day --since 7d -w acme --kind traffic --json",
        "keyside audit list --key cred_aaaaaaaaaaaaaaaaaaaaaaaaaa -n 1",
        "keyside key add -w acme -p openai --expires-at 2027-01-31",
        "keyside run list --since 2h --until 2027-01-31T00:00:00Z -n 20 --json",
        "keyside run show 0198f4b2-7b52-7c3a-b3a4-0f6a7a1c2d3e",
        "keyside preview -w acme -p openai -m gpt-4o-mini -l ci -e sandbox --json Hello",
        "keyside preview --workspace acme --provider openai --model gpt-4o-mini",
        "keyside smoke",
        "keyside smoke -w acme -p openai -p groq --format github --timeout 90s",
        "keyside smoke --format junit --admin-url http://127.0.0.1:7381",
        "keyside smoke --json",
        "keyside workspace add acme --name Acme",
        "keyside workspace create acme",
        "keyside workspace show acme",
        "keyside token show tok_aaaaaaaaaaaaaaaaaaaaaaaaaa",
        "keyside workspace list --admin-url http://127.0.0.1:7381",
        "keyside workspace export acme --out acme.tar",
        "keyside workspace erase acme --yes",
        "keyside workspace rotate-key acme",
        "keyside token create --name CI --role editor --workspace acme --workspace beta",
        "keyside token add --name CI --role viewer",
        "keyside token recover --json",
        "keyside token list --json",
        "keyside token revoke tok_aaaaaaaaaaaaaaaaaaaaaaaaaa --yes",
        "keyside audit list --workspace acme --event credential_revoked --limit 10",
        "keyside audit export --format csv --from 2026-11-29T00:00:00Z",
        "keyside audit key --offline",
        "keyside audit verify --offline",
        "keyside master-key generate --out master-key",
        "keyside master-key rotate",
        "keyside backup --out keyside.backup",
        "keyside restore keyside.backup --older --other-installation",
        "keyside vault policy",
        "keyside vault policy --role serve --json",
        "keyside openapi",
        "keyside version",
        "keyside completions bash",
    ] {
        if let Err(error) = parse(line) {
            panic!("{line}: {error}");
        }
    }
}

#[test]
fn an_option_in_front_of_its_command_is_said_to_go_after_it() {
    for line in [
        "keyside --token-file token key list",
        "keyside --admin-url=http://127.0.0.1:7381 key list",
        "keyside serve --ca-file ca.pem",
    ] {
        let error = parse(line).err().expect(line);
        let failure = arguments::misplaced_option(&error).expect(line);
        assert!(
            failure.to_string().contains("after a command"),
            "{line}: {failure}"
        );
    }
    let other = parse("keyside --nosuch").err().expect("an error");
    assert!(arguments::misplaced_option(&other).is_none());
}

#[test]
fn no_flag_or_argument_takes_a_secret() {
    for line in [
        "keyside key add -w acme -p openai --secret sk-canary",
        "keyside key add -w acme -p openai --secret=sk-canary",
        "keyside key add -w acme -p openai --key=sk-canary",
        "keyside key add -w acme -p openai sk-canary",
        "keyside key add -w acme -p openai --stdin --secret-file key",
        "keyside key add -w acme -p openai --stdin=sk-canary",
        "keyside key list --token sk-canary",
    ] {
        assert!(parse(line).is_err(), "{line}");
        let arguments = line.split_whitespace().map(OsString::from);
        // ExitCode has no equality; its Debug has.
        let code = arguments::parse(arguments)
            .err()
            .map(|code| format!("{code:?}"));
        assert_eq!(code, Some(format!("{:?}", ExitCode::from(2))), "{line}");
    }
}

#[test]
fn an_invalid_argument_that_may_be_a_key_is_not_repeated() {
    let stray = parse("keyside key add -w acme -p openai sk-canary").err();
    let stray = stray.filter(arguments::is_stray_value);
    assert!(stray.is_some());
    assert!(!arguments::stray_value().to_string().contains("canary"));
    let flag = parse("keyside key add -w acme -p openai --secret=sk-canary");
    let flag = flag
        .err()
        .map(|error| error.to_string())
        .unwrap_or_default();
    assert!(
        flag.contains("--secret-file"),
        "a hint at the way that works: {flag}"
    );
    assert!(!flag.contains("canary"), "{flag}");
}

#[test]
fn a_key_given_as_any_value_is_not_repeated() {
    for line in [
        "keyside key list -w sk-CANARY",
        "keyside env curl -w sk-CANARY",
        "keyside key list -p sk-CANARY",
        "keyside key list --status sk-CANARY",
        "keyside key edit sk-CANARY",
        "keyside key add -w acme -p openai --expires-at sk-CANARY",
        "keyside key rotate cred_aaaaaaaaaaaaaaaaaaaaaaaaaa --grace sk-CANARY",
        "keyside key add -w acme -p openai --check sk-CANARY",
        "keyside token create --name CI --role sk-CANARY",
        "keyside audit list --limit sk-CANARY",
        "keyside run list --since sk-CANARY",
        "keyside run list --outcome sk-CANARY",
        "keyside run list --status sk-CANARY",
        "keyside provider show sk-CANARY",
        "keyside preview -m m -p openai -w sk-CANARY",
        "keyside completions sk-CANARY",
        "keyside key sk-CANARY",
        "keyside sk-CANARY",
    ] {
        let Err(mut error) = parse(line) else {
            panic!("{line}: taken");
        };
        let said = match arguments::is_stray_value(&error) {
            true => arguments::stray_value().to_string(),
            false => match arguments::hide_values(&mut error) {
                true => arguments::invalid_value(&error).to_string(),
                false => error.to_string(),
            },
        };
        assert!(said.contains("not repeated"), "{line}: {said}");
        assert!(!said.contains("CANARY"), "{line}: {said}");
    }
}

#[test]
fn a_key_given_as_the_settings_file_is_not_repeated() {
    let said = |path: &str| {
        let sources = Sources::from_process(Some(path.into()));
        let loaded = keyside_config::Settings::load(&sources);
        loaded
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default()
    };
    let key = said("sk-canary");
    assert!(key.contains("--config") && !key.contains("canary"), "{key}");
    for path in ["nowhere.toml", "/nowhere/keyside"] {
        assert!(said(path).contains(path), "{path}");
    }
}

fn read_secret(file: &Path) -> Result<zeroize::Zeroizing<String>, Failure> {
    let owner = SecretOwner {
        workspace: "acme",
        provider: "openai",
        label: "default",
        known: None,
    };
    let console = Console::new(Sources::default(), false);
    SecretInput::file(file.to_owned()).read(Some(&owner), &console)
}

#[test]
fn a_secret_file_is_read_without_the_newline_that_ends_it() {
    for (text, expected) in [
        ("sk-1", Some("sk-1")),
        ("sk-1\n", Some("sk-1")),
        ("sk-1\r\n", Some("sk-1")),
        ("", None),
        ("\n", None),
        ("export OPENAI_API_KEY='sk-canary-1'\n", Some("sk-canary-1")),
        ("''", None),
    ] {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        let read = read_secret(file.path());
        let read = read.ok().map(|secret| secret.to_string());
        assert_eq!(read.as_deref(), expected, "{text:?}");
    }
}

#[test]
fn a_key_given_as_a_file_name_is_not_repeated() {
    let failure = read_secret("sk-canary".as_ref()).err();
    let said = failure
        .map(|failure| failure.to_string())
        .unwrap_or_default();
    assert!(said.contains("--secret-file"), "{said}");
    assert!(!said.contains("canary"), "{said}");
}

#[test]
fn a_file_without_a_key_is_not_read_to_its_end() {
    let failure = read_secret("/dev/zero".as_ref()).err();
    assert!(failure.is_some());
}

#[test]
fn a_table_is_as_wide_as_it_needs_and_shows_no_control_character() {
    let mut table = table::Table::new(["ID", "NAME"]);
    table.row(["acme".to_owned(), "Acme\x1b[31m\nCorp".to_owned()]);
    table.row(["a-longer-id".to_owned(), "…".to_owned()]);
    assert_eq!(
        table.render(false),
        "ID           NAME\nacme         Acme\u{fffd}[31m\u{fffd}Corp\na-longer-id  …\n"
    );
    assert!(table.render(true).starts_with("\x1b[1mID"));
}

#[test]
fn a_failure_names_the_next_step() {
    let failure = Failure::configuration("expected a port, found a fish").next("Give a port.");
    assert_eq!(
        failure.to_string(),
        "expected a port, found a fish\n  next: Give a port."
    );
    assert_eq!(
        format!("{:?}", failure.exit_code()),
        format!("{:?}", ExitCode::from(78))
    );
}

#[test]
fn a_token_goes_to_another_machine_only_under_tls() {
    for (url, fits) in [
        ("http://127.0.0.1:7381", true),
        ("http://localhost:7381", true),
        ("http://[::1]:7381", true),
        ("https://keys.example.test", true),
        ("http://keys.example.test", false),
        ("http://10.0.0.5:7381", false),
    ] {
        assert_eq!(admin::require_tls(url.to_owned()).is_ok(), fits, "{url}");
    }
}

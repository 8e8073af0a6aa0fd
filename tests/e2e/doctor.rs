//! `keyside doctor`: each line is ok or has a fix, nothing is changed, and no key is sent or
//! printed.

use crate::harness::tls::{Authority, VALID};
use crate::harness::{Ask, Builder, Exit, KEY, Keyside, Then, Upstream, reply};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;
use serde_json::Value;
use std::fs::{self, Permissions};
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

/// A secret that is declared and not stored.
const DECLARED: &str = "sk-proj-e2eDoctorOnly0123456789abcdefghijklmnopqrstuvwxyzW4";
const VAULT_TOKEN: &str = "hvs.e2eDoctorCanary0123456789abcdefgh";

fn doctor(builder: &Builder) -> Exit {
    let exit = builder.run(&["doctor"], b"");
    for secret in [KEY, DECLARED, VAULT_TOKEN] {
        let said = format!("{}{}", exit.stdout, exit.stderr);
        assert!(!said.contains(secret), "{exit:#?}");
    }
    exit
}

/// The line with this beginning, and its fix if there is one.
fn line<'a>(exit: &'a Exit, beginning: &str) -> &'a str {
    let from = exit.stdout.find(beginning);
    let from = from.unwrap_or_else(|| panic!("no {beginning:?} in {exit:#?}"));
    let found = &exit.stdout[from..];
    let end = |end: &(usize, &str)| !found[end.0 + 1..].starts_with("     fix: ");
    let end = found.match_indices('\n').find(end);
    &found[..end.map_or(found.len(), |(at, _)| at)]
}

fn check_fails(exit: &Exit, beginning: &str, parts: &[&str]) {
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    let line = line(exit, beginning);
    for part in parts {
        assert!(line.contains(part), "no {part:?} in {line:?}");
    }
}

/// A sidecar with one declared credential.
fn sidecar(source: &str, upstream: &str) -> Builder {
    let credential = format!(
        "[[credential]]\nworkspace = \"acme\"\nprovider = \"openai\"\nlabel = \"main\"\nsource = {source:?}\n"
    );
    let builder = Keyside::sidecar().provider("openai", upstream);
    builder.config(&credential)
}

fn nobody_listens() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    format!("http://{}", listener.local_addr().expect("an address"))
}

#[test]
fn a_running_keyside_is_asked_and_its_providers_are_reached_without_a_key() {
    let upstream =
        Upstream::answering(|_| reply(200, "Date: Sun, 29 Nov 2020 02:55:57 GMT\r\n", b""));
    let keyside = Keyside::with_openai(&upstream.base_url());
    let observe = format!("{:?}", keyside.observe_addr().to_string());
    let exit = doctor(&keyside.builder_of().clone().set("observe.listen", &observe));
    for part in [
        "ok   settings: ",
        "ok   permissions: ",
        "ok   keyside: ready at ",
        "ok   master key: ",
        "ok   store: ",
        "ok   provider openai: ",
    ] {
        line(&exit, part);
    }
    assert!(line(&exit, "ok   store").contains("is in use by the Keyside at"));
    check_fails(&exit, "fail clock: ", &["ahead of", "fix: "]);
    let asked = upstream.only();
    assert_eq!(asked.method(), "HEAD");
    assert_eq!(asked.header("authorization"), None);
    assert!(
        !upstream
            .bytes()
            .windows(KEY.len())
            .any(|part| part == KEY.as_bytes())
    );
}

#[test]
fn the_store_of_a_stopped_keyside_is_read_and_not_changed() {
    let upstream = Upstream::ok();
    let (builder, _) = Keyside::with_openai(&upstream.base_url()).stop();
    for _ in 0..2 {
        let exit = doctor(&builder);
        assert_eq!(exit.code, Some(0), "{exit:#?}");
        assert_eq!(exit.stderr, "", "{exit:#?}");
        assert!(line(&exit, "ok   store").contains("no Keyside runs on it"));
        assert!(line(&exit, "ok   provider openai").contains("directly"));
        assert!(line(&exit, "ok   clock").contains("audit log"));
    }
    let keyside = builder.start();
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200);
}

#[test]
fn a_store_without_its_lock_file_is_read_and_no_lock_file_is_created() {
    let upstream = Upstream::ok();
    let (builder, _) = Keyside::with_openai(&upstream.base_url()).stop();
    let lock = builder.home().join("data/store/lock");
    fs::remove_file(&lock).expect("a lock file");
    let exit = doctor(&builder);
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    assert!(line(&exit, "ok   store").contains("no Keyside runs on it"));
    let checked = builder.run(&["audit", "verify", "--offline"], b"");
    assert_eq!(checked.code, Some(0), "{checked:#?}");
    assert!(!lock.exists(), "a lock file was made");
}

#[test]
fn a_keyside_on_another_data_folder_is_told_apart() {
    let keyside = Keyside::builder().start();
    let observe = format!("{:?}", keyside.observe_addr().to_string());
    let exit = doctor(&Keyside::builder().set("observe.listen", &observe));
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    line(&exit, "ok   keyside: ready at ");
    assert!(line(&exit, "warn store").contains("runs on another data folder"));
    assert!(
        exit.stdout.contains("set store.backend = \"none\""),
        "{exit:#?}"
    );
    let own = keyside.builder_of().clone().set("observe.listen", &observe);
    let own = doctor(&own);
    assert!(!own.stdout.contains("another data folder"), "{own:#?}");
}

#[test]
fn before_the_first_start_nothing_fails_and_nothing_is_created() {
    let builder = Keyside::builder();
    let exit = doctor(&builder);
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    assert!(line(&exit, "ok   store").contains("the first start creates it"));
    assert!(line(&exit, "ok   providers").contains("--all"));
    assert!(line(&exit, "warn clock").contains("nothing to compare"));
    for name in ["data", "data.master-key"] {
        assert!(!builder.home().join(name).exists(), "{name} was made");
    }
}

#[test]
fn a_wrong_master_key_is_reported() {
    let (builder, _) = Keyside::with_openai(&Upstream::ok().base_url()).stop();
    let made = builder.run(&["master-key", "generate", "--out", "other.key"], b"");
    assert_eq!(made.code, Some(0), "{made:#?}");
    let builder = builder.variable("KMS_MASTER_KEY_FILE", "other.key");
    let exit = doctor(&builder);
    check_fails(
        &exit,
        "fail master key: ",
        &["wrong master key", "KMS_MASTER_KEY_FILE"],
    );
    let key = fs::read_to_string(builder.home().join("other.key")).expect("the key's file");
    assert!(!exit.stdout.contains(key.trim()), "{exit:#?}");
}

#[test]
fn a_store_without_its_keyring_is_reported_and_no_keyring_is_created() {
    let (builder, _) = Keyside::with_openai(&Upstream::ok().base_url()).stop();
    let keyring = builder.home().join("data/keyring");
    fs::remove_file(&keyring).expect("a keyring");
    check_fails(
        &doctor(&builder),
        "fail store: ",
        &["keyring", "fix: Restore"],
    );
    assert!(!keyring.exists(), "a new keyring was made");
}

#[test]
fn a_master_key_that_others_can_read_is_reported_with_its_chmod_command() {
    use std::os::unix::fs::PermissionsExt;

    let (builder, _) = Keyside::with_openai(&Upstream::ok().base_url()).stop();
    let file = builder.home().join("data.master-key");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).expect("a file");
    check_fails(
        &doctor(&builder),
        "fail permissions: ",
        &["data.master-key", "fix: chmod 600 "],
    );
}

#[test]
fn a_declared_file_that_every_user_can_read_is_a_warning() {
    use std::os::unix::fs::PermissionsExt;

    let upstream = Upstream::ok();
    let builder = sidecar("file:openai-key", &upstream.base_url());
    let file = builder.home().join("openai-key");
    fs::write(&file, DECLARED).expect("a writable folder");
    for (mode, beginning) in [(0o644, "warn permissions: "), (0o600, "ok   permissions: ")] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).expect("a file");
        let exit = doctor(&builder);
        assert_eq!(exit.code, Some(0), "{exit:#?}");
        let said = line(&exit, beginning);
        assert_eq!(said.contains("chmod 400 "), mode == 0o644, "{said}");
    }
}

#[test]
fn a_provider_that_cannot_be_reached_is_named_with_a_fix() {
    let file = "file:openai-key";
    let builder = sidecar(file, &nobody_listens());
    fs::write(builder.home().join("openai-key"), DECLARED).expect("a writable folder");
    let exit = doctor(&builder);
    line(&exit, "ok   credential acme/openai/main: ");
    check_fails(
        &exit,
        "fail provider openai: ",
        &["could not connect to 127.0.0.1", "fix: ", "egress.proxy"],
    );
}

#[test]
fn an_upstream_with_an_untrusted_certificate_is_reported() {
    let (trusted, other) = (Authority::new(), Authority::new());
    let upstream = other.issue(&["localhost"], VALID).upstream(|_, line| {
        line.write(reply(200, "", b"{}"));
        Then::Keep
    });
    let builder = sidecar("file:openai-key", &upstream.url_for("localhost"));
    fs::write(builder.home().join("openai-key"), DECLARED).expect("a writable folder");
    let file = trusted.file_in(builder.home());
    let builder = builder.variable("SSL_CERT_FILE", file.to_str().expect("a plain path"));
    check_fails(
        &doctor(&builder),
        "fail provider openai: ",
        &["the TLS handshake failed", "egress.ca_file"],
    );
    assert_eq!(upstream.requests().len(), 0);
}

#[test]
fn a_declared_file_that_is_missing_is_named_with_the_setting() {
    let upstream = Upstream::ok();
    let exit = doctor(&sidecar("file:openai-key", &upstream.base_url()));
    check_fails(
        &exit,
        "fail credential acme/openai/main: ",
        &["openai-key", "`source`"],
    );
    line(&exit, "ok   provider openai: ");
}

#[test]
fn an_unreachable_vault_is_the_only_finding_about_vault() {
    let upstream = Upstream::ok();
    let vault = nobody_listens();
    let builder = sidecar("vault:kv/acme/openai#api_key", &upstream.base_url())
        .variable("VAULT_ADDR", &vault)
        .variable("VAULT_TOKEN", VAULT_TOKEN);
    let exit = doctor(&builder);
    check_fails(&exit, "fail vault: ", &[&vault, "vault.address"]);
    assert!(!exit.stdout.contains("credential acme"), "{exit:#?}");
}

#[test]
fn a_pipe_in_place_of_the_cache_of_vaults_secrets_is_reported_and_not_waited_for() {
    let upstream = Upstream::ok();
    let builder = sidecar("vault:kv/acme/openai#api_key", &upstream.base_url())
        .variable("VAULT_ADDR", &nobody_listens())
        .variable("VAULT_TOKEN", VAULT_TOKEN)
        .set("vault.cache", r#""cache""#)
        .set("vault.cache_key_file", r#""cache-key""#);
    let made = builder.run(&["master-key", "generate", "--out", "cache-key"], b"");
    assert_eq!(made.code, Some(0), "{made:#?}");
    let folder = builder.home().join("cache");
    fs::create_dir(&folder).expect("a writable folder");
    fs::set_permissions(&folder, Permissions::from_mode(0o700)).expect("a folder of ours");
    mkfifo(&folder.join("vault-secrets"), Mode::S_IRWXU).expect("a writable folder");
    check_fails(
        &doctor(&builder),
        "warn vault cache: ",
        &["cache/vault-secrets: it is not a regular file"],
    );
}

#[test]
fn json_output_is_a_list_of_findings() {
    let builder = sidecar("file:openai-key", &nobody_listens());
    let exit = builder.run(&["doctor", "--json"], b"");
    assert_eq!(exit.code, Some(1), "{exit:#?}");
    let findings: Value = serde_json::from_str(&exit.stdout).expect("JSON");
    let findings = findings.as_array().expect("a list");
    assert_eq!(findings[0]["name"], "settings");
    assert_eq!(findings[0]["state"], "ok");
    assert_eq!(findings[0]["fix"], Value::Null);
    let of_provider = |found: &&Value| found["name"] == "provider openai";
    let provider = findings.iter().find(of_provider).expect("the provider");
    assert_eq!(provider["state"], "fail");
    assert!(provider["message"].is_string() && provider["fix"].is_string());
    // The service's own error, which ends with the remedy.
    let of_credential = |found: &&Value| found["name"] == "credential acme/openai/main";
    let credential = findings.iter().find(of_credential).expect("the credential");
    assert_eq!(credential["state"], "fail");
    let fix = credential["fix"].as_str().expect("a fix");
    assert_eq!(fix, "mount or write it, or correct `source`");
    let message = credential["message"].as_str().expect("a message");
    assert!(message.ends_with("there is no such file"), "{message}");
}

#[test]
fn settings_that_do_not_load_are_a_configuration_error() {
    let builder = Keyside::builder().set("proxy.threads", r#""many""#);
    let exit = doctor(&builder);
    assert_eq!(exit.code, Some(78), "{exit:#?}");
    assert_eq!(exit.stdout, "");
    assert!(exit.stderr.contains("proxy.threads"), "{exit:#?}");
}

#[test]
fn the_policy_is_printed_though_vault_does_not_respond() {
    let builder = sidecar("vault:kv/acme/openai#api_key", &nobody_listens())
        .variable("VAULT_ADDR", &nobody_listens())
        .variable("VAULT_TOKEN", VAULT_TOKEN);
    let exit = builder.run(&["vault", "policy"], b"");
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    for rule in [
        r#"path "auth/token/lookup-self" { capabilities = ["read"] }"#,
        r#"path "kv/data/acme/openai" { capabilities = ["read"] }"#,
        r#"path "kv/metadata/acme/openai" { capabilities = ["read"] }"#,
    ] {
        assert!(exit.stdout.contains(rule), "no {rule:?} in {exit:#?}");
    }
    assert!(
        exit.stdout.contains("Vault did not report the mount"),
        "{exit:#?}"
    );
    let none = Keyside::builder().run(&["vault", "policy"], b"");
    assert_eq!(none.code, Some(78), "{none:#?}");
}

//! Errors at startup have a remedy and an exit code, and lose nothing: the next start under the
//! right conditions serves the same data.

use crate::harness::{Ask, Builder, Exit, KEY, Keyside, Upstream};
use std::fs;
use std::net::TcpListener;
use std::path::Path;

/// A retry, or a change outside of the settings, may help.
const FAILED: i32 = 1;

/// The settings, or what they refer to, must be changed; service managers do not restart.
const CONFIGURATION: i32 = 78;

#[test]
fn a_second_process_on_the_same_folder_is_refused_and_the_first_keeps_serving() {
    let upstream = Upstream::wanting_key();
    let keyside = Keyside::with_openai(&upstream.base_url());
    for _ in 0..3 {
        let exit = refused(keyside.builder_of());
        check_says(&exit, FAILED, &["in use", "store.path", "data/store"]);
    }
    check_serves(&keyside);
    let second = keyside.builder_of().clone().set("store.path", r#""other""#);
    second.start();
}

#[test]
fn a_wrong_master_key_is_refused_and_the_right_one_still_works() {
    let upstream = Upstream::wanting_key();
    let (builder, _) = Keyside::with_openai(&upstream.base_url()).stop();
    let other = new_master_key(&builder, "other.key");
    let named = builder.clone().variable("KMS_MASTER_KEY_FILE", &other);
    let exit = refused(&named);
    check_says(
        &exit,
        CONFIGURATION,
        &["wrong master key", "KMS_MASTER_KEY_FILE"],
    );
    let key = fs::read_to_string(&other).expect("the key's file");
    let given = builder.clone().variable("KMS_MASTER_KEY", key.trim());
    let exit = refused(&given);
    check_says(
        &exit,
        CONFIGURATION,
        &["wrong master key", "KMS_MASTER_KEY"],
    );
    assert!(
        !exit.stderr.contains(key.trim()),
        "the master key is repeated: {exit:#?}"
    );
    check_serves(&builder.start());
}

#[test]
fn a_missing_master_key_is_reported_and_not_replaced_by_a_new_one() {
    let upstream = Upstream::wanting_key();
    let (builder, _) = Keyside::with_openai(&upstream.base_url()).stop();
    let file = builder.home().join("data.master-key");
    let kept = fs::read(&file).expect("a generated master key beside the data");
    fs::remove_file(&file).expect("a file");
    for _ in 0..2 {
        let exit = refused(&builder);
        check_says(
            &exit,
            CONFIGURATION,
            &["data.master-key", "KMS_MASTER_KEY_FILE"],
        );
        assert!(!file.exists(), "a new master key was made");
    }
    let named = builder
        .clone()
        .variable("KMS_MASTER_KEY_FILE", "absent.key");
    let exit = refused(&named);
    check_says(
        &exit,
        CONFIGURATION,
        &["absent.key", "keyside master-key generate"],
    );
    fs::write(&file, &kept).expect("a writable folder");
    check_serves(&builder.start());
}

#[test]
fn an_invalid_master_key_is_refused_and_not_repeated() {
    let upstream = Upstream::wanting_key();
    let (builder, _) = Keyside::with_openai(&upstream.base_url()).stop();
    for content in [
        "",
        "c2hvcnQtYnV0LWNhbmFyeQ==",
        "not base64, but a canary all the same!",
    ] {
        let file = builder.home().join("bad.key");
        fs::write(&file, content).expect("a writable folder");
        let exit = refused(&builder.clone().variable("KMS_MASTER_KEY_FILE", "bad.key"));
        check_says(
            &exit,
            CONFIGURATION,
            &["bad.key", "32 bytes", "keyside master-key generate"],
        );
        assert!(
            content.is_empty() || !exit.stderr.contains(content),
            "{exit:#?}"
        );
    }
    check_serves(&builder.start());
}

#[test]
fn a_master_key_from_a_file_or_the_environment_serves_the_same_data() {
    let upstream = Upstream::wanting_key();
    let (builder, _) = Keyside::with_openai(&upstream.base_url()).stop();
    let file = builder.home().join("data.master-key");
    let moved = builder.home().join("moved.key");
    fs::rename(&file, &moved).expect("a file");
    let named = builder.clone().variable("KMS_MASTER_KEY_FILE", "moved.key");
    check_serves(&named.start());
    let key = fs::read_to_string(&moved).expect("a master key");
    let keyside = builder
        .clone()
        .variable("KMS_MASTER_KEY", key.trim())
        .start();
    check_serves(&keyside);
    let logs = keyside.logs();
    assert!(
        logs.contains("KMS_MASTER_KEY_FILE"),
        "no warning about the variable: {logs}"
    );
    assert!(
        !logs.contains(key.trim()),
        "the master key is in the log: {logs}"
    );
}

#[test]
fn a_port_in_use_is_named_with_its_setting() {
    let upstream = Upstream::wanting_key();
    let (builder, _) = Keyside::with_openai(&upstream.base_url()).stop();
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("a bound port").to_string();
    for setting in ["proxy.listen", "admin.listen", "observe.listen"] {
        let value = match setting {
            "proxy.listen" => format!("[{address:?}]"),
            _ => format!("{address:?}"),
        };
        let exit = refused(&builder.clone().set(setting, &value));
        check_says(&exit, FAILED, &[&address, setting]);
    }
    check_serves(&builder.start());
}

#[test]
fn an_invalid_settings_file_is_refused_with_file_line_and_correction() {
    let upstream = Upstream::wanting_key();
    let (builder, _) = Keyside::with_openai(&upstream.base_url()).stop();
    for (name, toml, says) in [
        (
            "an unknown key",
            "proxy.listn = [\"127.0.0.1:0\"]",
            ["listn", "proxy.listen"],
        ),
        (
            "an unknown table",
            "[prxy]\nthreads = 1",
            ["prxy", "nearest known"],
        ),
        ("a wrong type", "[runs]\nkeep = \"many\"", ["runs.keep", ""]),
        ("not TOML", "[proxy", ["", ""]),
        (
            "a bad duration",
            "proxy.deadlines.drain = \"soon\"",
            ["proxy.deadlines.drain", ""],
        ),
        (
            "a bad filter",
            "log.filter = \"keyside=loud=er\"",
            ["log.filter", ""],
        ),
        (
            "plain text to the world",
            "providers.groq.base_url = \"http://groq.example\"",
            ["providers.groq.base_url", "allow_plaintext"],
        ),
        (
            "a later release's store",
            "store.backend = \"vault\"",
            ["vault", "store.backend = \"sled\""],
        ),
        (
            "a later release's key service",
            "kms.driver = \"aws\"",
            ["aws", "later release"],
        ),
    ] {
        let exit = refused(&builder.clone().config(toml));
        assert_eq!(exit.code, Some(CONFIGURATION), "{name}: {exit:#?}");
        for part in says {
            assert!(
                exit.stderr.contains(part),
                "{name}: no {part:?} in {exit:#?}"
            );
        }
        if !name.starts_with("a later release") && name != "a bad filter" {
            assert!(
                exit.stderr.contains("keyside.toml:"),
                "{name}: which line? {exit:#?}"
            );
        }
    }
    check_serves(&builder.start());
}

#[test]
fn a_sidecar_refuses_the_store_of_a_later_release() {
    let builder = Keyside::sidecar()
        .declare("acme", "openai", "main", "key")
        .set("store.backend", r#""vault""#);
    let parts = ["vault", "store.backend = \"none\""];
    check_says(&refused(&builder), CONFIGURATION, &parts);
}

#[test]
fn a_missing_settings_file_is_named() {
    let builder = Keyside::builder();
    let elsewhere = ["serve", "--config", "elsewhere.toml"];
    let exit = refused(&builder.clone().arguments(&elsewhere));
    check_says(&exit, CONFIGURATION, &["elsewhere.toml"]);
    assert!(!builder.home().join("data").exists(), "something was made");
}

#[test]
fn a_data_folder_that_cannot_be_created_is_named() {
    let builder = Keyside::builder().set("store.path", r#""keyside.toml/data""#);
    let exit = refused(&builder);
    assert!(
        matches!(exit.code, Some(FAILED | CONFIGURATION)),
        "{exit:#?}"
    );
    assert!(exit.stderr.contains("keyside.toml/data"), "{exit:#?}");
    assert!(!exit.stderr.contains("panicked"), "{exit:#?}");
}

#[test]
fn only_keyside_s_user_can_read_its_secret_files() {
    use std::os::unix::fs::PermissionsExt;
    let upstream = Upstream::wanting_key();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mode = |path: &Path| {
        fs::metadata(path)
            .unwrap_or_else(|error| panic!("{path:?}: {error}"))
            .permissions()
            .mode()
            & 0o777
    };
    let data = keyside.data();
    for (path, wanted) in [
        (data.clone(), 0o700),
        (data.join("admin-token"), 0o600),
        (data.join("keyring"), 0o600),
        (keyside.builder_of().home().join("data.master-key"), 0o600),
    ] {
        assert_eq!(mode(&path), wanted, "{path:?}: {:o}", mode(&path));
    }
}

/// Starts Keyside, which must fail.
pub fn refused(builder: &Builder) -> Exit {
    match builder.clone().try_start() {
        Ok(keyside) => panic!("started all the same:\n{}", keyside.logs()),
        Err(exit) => exit,
    }
}

/// Checks that the key of `acme` is still attached.
pub fn check_serves(keyside: &Keyside) {
    let answer = keyside.ask(&Ask::chat());
    assert_eq!(answer.status(), 200, "{}", answer.text());
    let view = &keyside.list()[0];
    let last = &KEY[KEY.len() - 4..];
    assert!(
        view["hint"]
            .as_str()
            .is_some_and(|hint| hint.ends_with(last)),
        "{view}"
    );
}

fn check_says(exit: &Exit, code: i32, parts: &[&str]) {
    assert_eq!(exit.code, Some(code), "{exit:#?}");
    for part in parts {
        assert!(exit.stderr.contains(part), "no {part:?} in {exit:#?}");
    }
    assert!(!exit.stderr.contains("panicked"), "{exit:#?}");
    assert!(
        exit.stdout.is_empty(),
        "an error belongs on standard error: {exit:#?}"
    );
}

fn new_master_key(builder: &Builder, name: &str) -> String {
    let file = builder.home().join(name);
    let made = builder.run(&["master-key", "generate", "--out", name], b"");
    assert_eq!(made.code, Some(0), "{made:#?}");
    file.to_str().expect("text").to_owned()
}

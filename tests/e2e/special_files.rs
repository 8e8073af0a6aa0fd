//! A named pipe or a device in place of a file: Keyside refuses it by name if the settings name it,
//! and reads no more than a limit of it if the command line does.

use crate::harness::{Exit, Keyside};
use nix::sys::stat::Mode;
use nix::unistd::mkfifo;

/// Settings that name a file, and other settings that this one requires. Of two files Keyside reads
/// the other one first.
const NAMED: [(&str, &[(&str, &str)]); 8] = [
    ("kms.master_key_file", &[]),
    ("egress.ca_file", &[]),
    (
        "egress.credentials_file",
        &[("egress.proxy", r#""http://proxy.invalid:3128""#)],
    ),
    (
        "admin.tls.certificate_file",
        &[("admin.tls.key_file", EXISTING)],
    ),
    (
        "observe.tls.key_file",
        &[("observe.tls.certificate_file", EXISTING)],
    ),
    ("vault.ca_file", &[("vault.address", VAULT)]),
    (
        "vault.client_key",
        &[
            ("vault.address", VAULT),
            ("vault.client_certificate", EXISTING),
        ],
    ),
    (
        "vault.cache_key_file",
        &[("vault.address", VAULT), ("vault.cache", r#""cache""#)],
    ),
];
/// A file that is in the folder in any case.
const EXISTING: &str = r#""keyside.toml""#;
const VAULT: &str = r#""https://vault.invalid:8200""#;
/// No installation's.
const PUBLIC_KEY: &str = "00000000000000000000000000000000000000000000000000000000000000ff";

#[test]
fn a_named_pipe_or_device_that_the_settings_name_is_refused_at_the_start() {
    for (setting, others) in NAMED {
        let builder = Keyside::builder().variable("VAULT_TOKEN", "hvs.e2eSpecialFiles");
        let pipe = builder.home().join("pipe");
        mkfifo(&pipe, Mode::S_IRUSR | Mode::S_IWUSR).expect("a writable folder");
        let pipe = pipe.to_str().expect("a path in UTF-8").to_owned();
        let builder = others
            .iter()
            .fold(builder, |builder, (name, toml)| builder.set(name, toml));
        for path in [&*pipe, "/dev/zero"] {
            let builder = builder.clone().set(setting, &format!("{path:?}"));
            let exit = builder.run(&["serve"], b"");
            assert_eq!(exit.code, Some(78), "{setting} = {path}: {exit:#?}");
            check_says(&exit, path);
            // A key that other users can write to is refused before Keyside looks at what it is.
            if path == pipe {
                check_says(&exit, "it is not a regular file");
            }
        }
    }
}

#[test]
fn a_device_named_on_the_command_line_is_read_up_to_a_limit() {
    let token = format!("ks_{}", "a".repeat(43));
    let builder = Keyside::builder().variable("KEYSIDE_TOKEN", &token);
    let zero = "/dev/zero";
    let url = "https://127.0.0.1:1";
    for (arguments, reason) in [
        (&["check", "--config", zero][..], "too large"),
        (
            &["audit", "verify", zero, "--key", PUBLIC_KEY],
            "line 1 is not in the format",
        ),
        (
            &["audit", "verify", "--receipt", zero, "--key", PUBLIC_KEY],
            "more than 2097152 bytes",
        ),
        (
            &["token", "list", "--admin-url", url, "--token-file", zero],
            "more than 4096 bytes",
        ),
        // Without its end, a list of authorities would lack some, and say nothing.
        (
            &["token", "list", "--admin-url", url, "--ca-file", zero],
            "too large",
        ),
    ] {
        let exit = builder.run(arguments, b"");
        assert!(exit.code.is_some_and(|code| code > 0), "{exit:#?}");
        check_says(&exit, reason);
    }
}

#[test]
fn a_pipe_named_on_the_command_line_is_read() {
    let settings = b"proxy.threads = 3\n";
    let exit = Keyside::builder().run(&["check", "--config", "/dev/stdin"], settings);
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let lines = exit.stdout.lines();
    let threads: Vec<_> = lines
        .filter(|line| line.contains("proxy.threads"))
        .collect();
    assert!(threads.len() == 1 && threads[0].contains('3'), "{exit:#?}");
}

fn check_says(exit: &Exit, part: &str) {
    assert!(exit.stderr.contains(part), "no {part:?} in {exit:#?}");
}

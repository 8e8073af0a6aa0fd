//! The rules of listeners: peers of Unix sockets, and pins to workspace and environment.

use crate::harness::{Ask, KEY, Keyside, Upstream, Wire, expect, holds};
use serde_json::json;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Starts Keyside with a Unix listener of these further fields, and says where it is.
fn unix(upstream: &Upstream, fields: &str) -> (Keyside, PathBuf) {
    let builder = Keyside::builder().provider("openai", &upstream.base_url());
    let socket = builder.home().join("run/proxy.sock");
    let entry = format!("[{{ address = \"unix:{}\"{fields} }}]", socket.display());
    (
        builder.set("proxy.listen", &entry).start().with_key(),
        socket,
    )
}

/// The user id of this process, as the file system tells it.
fn own_user() -> u32 {
    fs::metadata("/proc/self").expect("/proc").uid()
}

#[test]
fn a_unix_socket_serves_under_any_host_name() {
    let upstream = Upstream::ok();
    let (_keyside, socket) = unix(&upstream, "");
    for host in ["localhost", "anything.example", "unix"] {
        let answer = Wire::unix(&socket).ask(&Ask::chat().set("Host", host));
        assert_eq!(answer.status(), 200, "{host}: {}", answer.text());
    }
    let page = Ask::chat().header("Origin", "https://attacker.example");
    expect::refused(
        "a page",
        &Wire::unix(&socket).ask(&page),
        403,
        "browser_not_allowed",
    );
    assert_eq!(upstream.requests().len(), 3);
}

#[test]
fn a_unix_socket_is_its_owner_s_alone() {
    let upstream = Upstream::ok();
    let (_keyside, socket) = unix(&upstream, "");
    let mode = |path: &std::path::Path| {
        fs::metadata(path).expect("it exists").permissions().mode() & 0o777
    };
    assert_eq!(mode(&socket), 0o600);
    assert_eq!(mode(socket.parent().expect("a folder")), 0o700);
}

#[test]
fn a_peer_that_is_named_is_served() {
    let upstream = Upstream::ok();
    let (_keyside, socket) = unix(&upstream, &format!(", peer_uids = [{}]", own_user()));
    assert_eq!(Wire::unix(&socket).ask(&Ask::chat()).status(), 200);
}

#[test]
fn a_socket_for_named_peers_can_be_reached_by_them() {
    let upstream = Upstream::ok();
    let stranger = own_user() + 4711;
    let (_keyside, socket) = unix(&upstream, &format!(", peer_uids = [{stranger}]"));
    let mode = |path: &std::path::Path| fs::metadata(path).expect("it exists").permissions().mode();
    assert_eq!(
        mode(&socket) & 0o006,
        0o006,
        "connecting needs permission to write"
    );
    let folder = socket.parent().expect("a folder");
    assert_eq!(
        mode(folder) & 0o007,
        0o001,
        "to pass through, and neither to list nor to change"
    );
}

#[test]
fn a_private_socket_does_not_lock_out_the_peers_of_another_whichever_comes_first() {
    for (private, shared) in [
        ("run/own.sock", "run/shared/proxy.sock"),
        ("run/shared/own.sock", "run/proxy.sock"),
        ("run/own.sock", "run/proxy.sock"),
    ] {
        for private_first in [true, false] {
            let umask = r#"umask 077; exec "$0" "$@""#;
            let builder = Keyside::builder().launched_by(&["/bin/sh", "-c", umask]);
            let [private, shared] = [private, shared].map(|path| builder.home().join(path));
            let mut entries = [
                format!("{{ address = \"unix:{}\" }}", private.display()),
                format!(
                    "{{ address = \"unix:{}\", peer_uids = [4711] }}",
                    shared.display()
                ),
            ];
            if !private_first {
                entries.reverse();
            }
            let entries = entries.join(", ");
            let _keyside = builder.set("proxy.listen", &format!("[{entries}]")).start();
            let mode = |path: &Path| {
                let found = fs::metadata(path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
                found.permissions().mode() & 0o777
            };
            assert_eq!(mode(&private), 0o600, "{entries}");
            assert_eq!(mode(&shared), 0o666, "{entries}");
            let made = |folder: &&Path| folder.ends_with("run") || folder.ends_with("shared");
            for folder in shared.ancestors().filter(made) {
                assert_eq!(mode(folder), 0o711, "{folder:?}: {entries}");
            }
        }
    }
}

#[test]
fn a_peer_that_is_not_named_is_refused() {
    let upstream = Upstream::ok();
    let stranger = own_user() + 4711;
    let (_keyside, socket) = unix(&upstream, &format!(", peer_uids = [{stranger}]"));
    for _ in 0..3 {
        let mut wire = Wire::unix(&socket);
        wire.send(Ask::chat().bytes());
        match wire.answer() {
            Some(answer) => expect::refused("a stranger", &answer, 403, "peer_not_allowed"),
            None => continue,
        }
    }
    assert_eq!(upstream.connections(), 0);
}

#[test]
fn a_stale_socket_of_an_earlier_run_is_taken_over() {
    let upstream = Upstream::ok();
    let (keyside, socket) = unix(&upstream, "");
    let builder = keyside.kill9();
    assert!(socket.exists(), "a kill leaves it behind");
    let _keyside = builder.start();
    assert_eq!(Wire::unix(&socket).ask(&Ask::chat()).status(), 200);
}

#[test]
fn an_ipv6_listener_is_called_by_its_address() {
    let upstream = Upstream::ok();
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .set("proxy.listen", r#"["[::1]:0"]"#)
        .start()
        .with_key();
    let port = keyside.proxy_addr().port();
    for host in [
        "[::1]".to_owned(),
        format!("[::1]:{port}"),
        "localhost".to_owned(),
    ] {
        let answer = keyside.ask(&Ask::chat().set("Host", &host));
        assert_eq!(answer.status(), 200, "{host}: {}", answer.text());
    }
    for host in ["::1", "[::1", "[::2]", "[::1]x"] {
        let answer = keyside.ask(&Ask::chat().set("Host", host));
        assert!(
            [400, 403].contains(&answer.status()),
            "{host}: {}",
            answer.text()
        );
    }
}

/// Two listeners: the first with these fields, the second with none. Workspaces `acme`, with a live
/// and a sandbox key, and `other`, with a live one.
fn pinned(upstream: &Upstream, fields: &str) -> Keyside {
    let listen = format!("[{{ address = \"127.0.0.1:0\", {fields} }}, \"127.0.0.1:0\"]");
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .set("proxy.listen", &listen)
        .start()
        .with_key();
    keyside.workspace("other");
    keyside.add_key(
        "other",
        "openai",
        "default",
        "sk-proj-of-the-other-workspace-0123456789",
    );
    keyside.add(json!({
        "workspaceId": "acme", "provider": "openai", "label": "ci", "environment": "sandbox",
        "secret": SANDBOX, "default": true,
    }));
    keyside
}

const SANDBOX: &str = "sk-proj-a-key-for-tests-only-0123456789";

#[test]
fn a_listener_of_some_workspaces_serves_no_other() {
    let upstream = Upstream::ok();
    let keyside = pinned(&upstream, r#"workspaces = ["acme", "third"]"#);
    let [first, second] = keyside.proxy_addrs()[..] else {
        panic!("two listeners")
    };
    let ask = |address, workspace: &str| Wire::tcp(address).ask(&Ask::chat().workspace(workspace));
    expect::refused("other", &ask(first, "other"), 403, "workspace_not_allowed");
    expect::refused(
        "unknown",
        &ask(first, "nobody"),
        403,
        "workspace_not_allowed",
    );
    let in_path = Ask::post("/w/other/openai/v1/chat/completions").without("X-Keyside-Workspace");
    expect::refused(
        "in the path",
        &Wire::tcp(first).ask(&in_path),
        403,
        "workspace_not_allowed",
    );
    let untagged = Ask::chat().without("X-Keyside-Workspace");
    expect::refused(
        "none",
        &Wire::tcp(first).ask(&untagged),
        400,
        "workspace_missing",
    );
    assert_eq!(upstream.connections(), 0);
    assert_eq!(ask(first, "acme").status(), 200);
    assert_eq!(
        ask(second, "other").status(),
        200,
        "the other listener has its own rules"
    );
}

#[test]
fn a_listener_s_only_workspace_is_implied() {
    let upstream = Upstream::ok();
    let keyside = pinned(&upstream, r#"workspaces = ["other"]"#);
    let untagged = Ask::chat().without("X-Keyside-Workspace");
    assert_eq!(keyside.ask(&untagged).status(), 200);
    assert!(holds(&upstream.bytes(), "sk-proj-of-the-other-workspace"));
    expect::refused(
        "acme",
        &keyside.ask(&Ask::chat()),
        403,
        "workspace_not_allowed",
    );
}

#[test]
fn a_listener_for_the_sandbox_never_uses_a_live_key() {
    let upstream = Upstream::ok();
    let keyside = pinned(&upstream, r#"environment = "sandbox""#);
    let answer = keyside.ask(&Ask::chat());
    assert_eq!(answer.status(), 200, "{}", answer.text());
    assert_eq!(answer.header("x-keyside-environment"), Some("sandbox"));
    for (name, ask) in [
        (
            "live asked for",
            Ask::chat().header("X-Keyside-Environment", "live"),
        ),
        (
            "a live key by its label",
            Ask::chat().header("X-Keyside-Label", "default"),
        ),
    ] {
        expect::refused(name, &keyside.ask(&ask), 403, "environment_not_allowed");
    }
    let only_live = keyside.ask(&Ask::chat().workspace("other"));
    assert!(
        [401, 403].contains(&only_live.status()),
        "{}",
        only_live.text()
    );
    let authorizations: Vec<_> = upstream.requests();
    assert!(authorizations.iter().all(|seen| seen.holds(SANDBOX)));
    assert!(
        !holds(&upstream.bytes(), KEY),
        "a live key left through a sandbox listener"
    );

    let free = Wire::tcp(keyside.proxy_addrs()[1]).ask(&Ask::chat());
    assert_eq!(
        free.header("x-keyside-environment"),
        Some("live"),
        "{}",
        free.text()
    );
}

//! Certificates of the admin and observe listeners: for clients, for the command line, and while
//! their files are replaced.

use std::{
    fs,
    net::SocketAddr,
    os::unix::fs::{PermissionsExt, symlink},
    path::Path,
};

use crate::harness::{
    Ask, Builder, Exit, Keyside, Wire, eventually, field,
    tls::{Authority, Identity, VALID},
};

const NAME: &str = "keyside.example";

/// Writes a version of `folder` and swaps the link to it, as Kubernetes does.
fn put(folder: &Path, version: &str, certificate: &str, key: &str) {
    let files = folder.join(version);
    fs::create_dir_all(&files).expect("a writable folder");
    for (name, pem) in [("tls.crt", certificate), ("tls.key", key)] {
        let file = files.join(name);
        fs::write(&file, pem).expect("a writable folder");
        fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).expect("our file");
    }
    let link = folder.join("..data_tmp");
    symlink(version, &link).expect("a writable folder");
    fs::rename(link, folder.join("..data")).expect("a writable folder");
}

fn put_identity(folder: &Path, version: &str, identity: &Identity) {
    let (certificate, key) = identity.pem();
    put(folder, version, &certificate, &key);
}

/// A Keyside whose listeners show a certificate for [`NAME`].
fn secured(authority: &Authority) -> Builder {
    let builder = Keyside::builder();
    put_identity(
        &builder.home().join("tls"),
        "1",
        &authority.issue(&[NAME], VALID),
    );
    ["admin", "observe"]
        .iter()
        .fold(builder, |builder, section| {
            builder
                .set(
                    &format!("{section}.tls.certificate_file"),
                    r#""tls/..data/tls.crt""#,
                )
                .set(
                    &format!("{section}.tls.key_file"),
                    r#""tls/..data/tls.key""#,
                )
        })
        .set("admin.public_url", &format!("\"https://{NAME}\""))
}

/// The status of a GET with the owner's token.
fn status(wire: &mut Wire, keyside: &Keyside, path: &str) -> u16 {
    let ask = keyside.admin_ask("GET", path, None);
    wire.ask(&ask).status()
}

#[test]
fn both_listeners_speak_https_alone() {
    let authority = Authority::new();
    let keyside = secured(&authority).start();
    let connect = |address: SocketAddr| authority.connect(address, NAME).expect("a TLS listener");

    let mut admin = connect(keyside.admin_addr());
    assert_eq!(status(&mut admin, &keyside, "/api/workspaces"), 200);
    let mut observe = connect(keyside.observe_addr());
    assert_eq!(observe.ask(&Ask::new("GET", "/readyz")).status(), 200);

    for address in [keyside.admin_addr(), keyside.observe_addr()] {
        let other = authority.connect(address, "other.example");
        assert!(other.is_err(), "the certificate is for {NAME} alone");
        let stranger = Authority::new().connect(address, NAME);
        assert!(stranger.is_err(), "another authority issued it");
        let mut plain = Wire::tcp(address);
        plain.send("GET /readyz HTTP/1.1\r\nHost: localhost\r\n\r\n");
        let answer = plain.until_close();
        assert!(!answer.starts_with(b"HTTP/"), "{answer:?}");
    }
}

#[test]
fn a_replaced_certificate_is_shown_to_new_connections_and_an_unusable_one_to_none() {
    let authority = Authority::new();
    let builder = secured(&authority)
        .unset("observe.tls.certificate_file")
        .unset("observe.tls.key_file");
    let folder = builder.home().join("tls");
    let keyside = builder.start();
    let admin = keyside.admin_addr();
    let mut before = authority.connect(admin, NAME).expect("a TLS listener");
    assert_eq!(status(&mut before, &keyside, "/api/workspaces"), 200);

    put_identity(&folder, "2", &authority.issue(&["second.example"], VALID));
    let mut after = eventually("a connection under the second certificate", || {
        authority.connect(admin, "second.example").ok()
    });
    assert_eq!(status(&mut after, &keyside, "/api/workspaces"), 200);
    assert_eq!(status(&mut before, &keyside, "/api/workspaces"), 200);
    assert!(authority.connect(admin, NAME).is_err());

    let (certificate, _) = authority.issue(&["third.example"], VALID).pem();
    let (_, other_key) = authority.issue(&["third.example"], VALID).pem();
    put(&folder, "3", &certificate, &other_key);
    let said = keyside.log_line(|line| {
        field(line, "message").is_some_and(|text| text.contains("certificate is not used"))
    });
    let error = field(&said, "error").unwrap_or_default();
    assert!(error.starts_with("admin.tls: "), "{said}");
    assert!(authority.connect(admin, "second.example").is_ok());
    let ready = keyside.observed("/readyz");
    assert_eq!(ready.status(), 200);
    assert!(ready.text().contains("admin.tls: "), "{}", ready.text());

    put_identity(&folder, "4", &authority.issue(&["fourth.example"], VALID));
    eventually("a connection under the fourth certificate", || {
        authority.connect(admin, "fourth.example").ok()
    });
    assert_eq!(keyside.observed("/readyz").text(), "ready\n");
}

#[test]
fn the_command_line_trusts_the_authorities_that_it_is_given() {
    let authority = Authority::new();
    let builder = secured(&authority);
    let file = authority.file_in(builder.home());
    let file = file.to_str().expect("a plain path");
    let keyside = builder.start();
    let desk = keyside
        .builder_of()
        .clone()
        .set("admin.listen", &format!("\"{}\"", keyside.admin_addr()))
        .set("observe.listen", &format!("\"{}\"", keyside.observe_addr()));
    let list = ["workspace", "list"];
    let succeeds = |exit: Exit| assert_eq!(exit.code, Some(0), "{exit:#?}");

    let refused = desk.run(&list, b"");
    assert_eq!(refused.code, Some(1), "{refused:#?}");
    assert!(refused.stderr.contains("certificate"), "{refused:#?}");
    assert!(refused.stderr.contains("--ca-file"), "{refused:#?}");

    // The address is this machine's, and the certificate is for the host of admin.public_url.
    succeeds(desk.run(&["workspace", "list", "--ca-file", file], b""));
    let variable = desk.clone().variable("KEYSIDE_CA_FILE", file);
    succeeds(variable.run(&list, b""));
    let setting = desk.clone().set("egress.ca_file", &format!("{file:?}"));
    succeeds(setting.run(&list, b""));
    let elsewhere = format!("https://{}", keyside.admin_addr());
    let named = ["--admin-url", &elsewhere, "--ca-file", file];
    let refused = desk.run(&[&list[..], &named].concat(), b"");
    assert_eq!(refused.code, Some(1), "{refused:#?}");

    succeeds(desk.run(&["healthcheck"], b""));
    let url = format!("https://{}", keyside.observe_addr());
    let unknown = desk.run(&["healthcheck", "--url", &url], b"");
    assert_eq!(unknown.code, Some(1), "{unknown:#?}");

    let pid = keyside.pid().to_string();
    let unknown = desk.run(&["drain", "--pid", &pid, "--url", &url], b"");
    assert_eq!(unknown.code, Some(1), "{unknown:#?}");
    succeeds(desk.run(&["healthcheck"], b""));
    succeeds(desk.run(&["drain", "--pid", &pid], b""));
}

#[test]
fn files_that_hold_no_certificate_and_key_are_refused_by_check_and_serve() {
    let authority = Authority::new();
    let builder = secured(&authority);
    let folder = builder.home().join("tls");
    let refused = |expected: &str| {
        for command in ["check", "serve"] {
            let exit = builder.run(&[command], b"");
            assert_eq!(exit.code, Some(78), "{exit:#?}");
            assert!(exit.stderr.contains(expected), "{exit:#?}");
        }
    };
    let (certificate, key) = authority.issue(&[NAME], VALID).pem();
    put(&folder, "2", "", &key);
    refused("admin.tls.certificate_file: ");
    put(&folder, "3", &certificate, "");
    refused("admin.tls.key_file: ");
    fs::remove_file(folder.join("..data")).expect("our link");
    refused("cannot read ");
}

#[test]
fn the_log_names_the_client_behind_a_trusted_proxy() {
    let keyside = Keyside::builder()
        .set("admin.trusted_proxies", r#"["127.0.0.1", "10.0.0.0/8"]"#)
        .start();
    let ask = keyside
        .admin_ask("GET", "/api/workspaces", None)
        .header("X-Forwarded-For", "198.51.100.1, 192.0.2.9, 10.1.2.3");
    assert_eq!(Wire::tcp(keyside.admin_addr()).ask(&ask).status(), 200);
    let client = |line: &serde_json::Value| field(line, "client");
    let line = keyside.log_line(|line| client(line).is_some());
    assert_eq!(client(&line).as_deref(), Some("192.0.2.9"), "{line}");
}

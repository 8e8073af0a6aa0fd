//! The process's resources are limited, and released ones are reused.

use crate::harness::{Ask, Keyside, Upstream, Wire, allow_sockets, eventually, expect, field};
use std::time::{Duration, Instant};

#[test]
fn clients_beyond_the_limit_are_told_so_and_room_is_given_back() {
    let upstream = Upstream::ok();
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .set("proxy.limits.connections", "4")
        .start()
        .with_key();
    let mut held: Vec<Wire> = (0..4).map(|_| keyside.wire()).collect();
    for wire in &mut held {
        assert_eq!(wire.ask(&Ask::chat()).status(), 200, "within the limit");
    }
    for _ in 0..3 {
        let mut beyond = keyside.wire();
        beyond.send(Ask::chat().bytes());
        let answer = beyond.answer().expect("an answer instead of a close");
        assert_eq!(answer.status(), 503, "{}", answer.text());
        assert!(answer.is_whole(), "{answer:?}");
        let after = answer.header("retry-after").map(str::parse::<u32>);
        assert!(matches!(after, Some(Ok(1..))), "{:?}", answer.headers);
        assert_eq!(answer.json()["code"], "overloaded", "{}", answer.text());
        assert!(beyond.until_close().is_empty(), "more than one answer");
    }
    assert_eq!(upstream.requests().len(), 4, "the fifth was served");
    for wire in &mut held {
        assert_eq!(
            wire.ask(&Ask::chat()).status(),
            200,
            "those within it are served on"
        );
    }
    held.pop();
    eventually("room for one more", || {
        let mut wire = keyside.wire();
        wire.send(Ask::chat().bytes());
        wire.answer().filter(|answer| answer.status() == 200)
    });
}

#[test]
fn clients_beyond_the_limit_are_let_go_whatever_they_say() {
    let keyside = Keyside::builder()
        .set("proxy.limits.connections", "1")
        // Longer than the test waits.
        .set("proxy.deadlines.header", r#""300s""#)
        .start();
    let mut held = keyside.wire();
    assert_eq!(held.ask(&Ask::chat()).status(), 400, "a workspace unknown");
    for said in ["", "GET /", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
        let mut beyond = keyside.wire();
        beyond.send(said);
        beyond.until_close();
    }
}

#[test]
fn the_limit_on_open_files_is_raised_as_far_as_it_goes() {
    let keyside = Keyside::builder().open_files("-Sn 256").start();
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", keyside.pid()));
    let limits = limits.expect("a running process");
    let files = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))
        .expect("its limit");
    let (soft, hard) = files.trim().split_once(' ').expect("two limits");
    assert_eq!(Some(soft), hard.split_whitespace().next(), "{files}");
}

#[test]
fn silent_clients_leave_room_for_revoking_a_key() {
    allow_sockets(2_000);
    let upstream = Upstream::ok();
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .set("proxy.deadlines.header", r#""300s""#)
        .open_files("-n 512")
        .start()
        .with_key();
    let lowered = keyside.log_line(|line| field(line, "fitting").is_some());
    assert_eq!(field(&lowered, "level").as_deref(), Some("WARN"));
    let mut kept = keyside.wire();
    assert_eq!(kept.ask(&Ask::chat()).status(), 200);
    let silent: Vec<Wire> = (0..600).map(|_| keyside.wire()).collect();
    assert_eq!(kept.ask(&Ask::chat()).status(), 200);
    keyside.revoke(&keyside.list()[0]);
    expect::refused(
        "revoked",
        &kept.ask(&Ask::chat()),
        401,
        "credential_revoked",
    );
    drop(silent);
}

#[test]
fn silent_clients_of_the_other_listeners_keep_nobody_out_there() {
    allow_sockets(2_000);
    let keyside = Keyside::builder().start().with_key();
    let crowd = |address| -> Vec<Wire> { (0..300).map(|_| Wire::tcp(address)).collect() };
    let silent = [keyside.admin_addr(), keyside.observe_addr()].map(crowd);
    // They would be closed at the header deadline after ten seconds.
    let began = Instant::now();
    assert_eq!(keyside.observed("/healthz").status(), 200);
    keyside.revoke(&keyside.list()[0]);
    let lasted = began.elapsed();
    assert!(lasted < Duration::from_secs(5), "{lasted:?}");
    drop(silent);
}

#[test]
fn a_body_is_no_larger_in_memory_than_what_is_in_flight() {
    // 64 MB of unannounced size.
    const PIECE: usize = 1024 * 1024;
    const PIECES: usize = 64;
    let upstream = Upstream::raw(|line| {
        let Ok(Some(_)) = line.head("") else { return };
        let mut got = 0;
        while let Ok(Some(piece)) = line.piece() {
            got += piece.len();
        }
        line.write(crate::harness::reply(200, "", got.to_string().as_bytes()));
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    assert_eq!(keyside.ask(&Ask::chat().body(b"warm")).text(), "4");
    let before = keyside.peak_memory();
    let mut wire = keyside.wire();
    wire.send(Ask::chat().chunks(&[], "").head());
    let piece = crate::harness::chunk_of(&vec![b'x'; PIECE]);
    for _ in 0..PIECES {
        assert!(wire.send(&piece));
    }
    wire.send("0\r\n\r\n");
    assert_eq!(
        wire.answer().expect("an answer").text(),
        (PIECE * PIECES).to_string()
    );
    let grown = keyside.peak_memory().saturating_sub(before);
    assert!(
        grown < 16 * 1024,
        "{grown} KiB more for a body that streams through"
    );
}

#[test]
fn bodies_that_one_token_sends_slowly_keep_no_other_out_of_the_admin_api() {
    allow_sockets(2_000);
    let keyside = Keyside::builder().start().with_key();
    let new = serde_json::json!({ "name": "slow", "role": "editor" });
    let made = keyside.admin("POST", "/api/tokens", Some(&new)).json();
    let token = made["token"].as_str().expect("a token");
    let body = serde_json::json!({ "id": "slow", "name": "slow" });
    let whole = keyside
        .admin_ask("POST", "/api/workspaces", Some(&body))
        .set("Authorization", &format!("Bearer {token}"))
        .bytes();
    let slow: Vec<Wire> = (0..150)
        .map(|_| {
            let mut wire = Wire::tcp(keyside.admin_addr());
            wire.send(&whole[..whole.len() - 1]);
            wire
        })
        .collect();
    // The owner has connected but not sent anything when the next one connects.
    let mut owner = Wire::tcp(keyside.admin_addr());
    let next = Wire::tcp(keyside.admin_addr());
    let answer = owner.ask(&keyside.admin_ask("GET", "/api/tokens", None));
    assert_eq!(answer.status(), 200, "{}", answer.text());
    drop((slow, next));
}

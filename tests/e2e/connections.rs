//! Connections are reused on both sides, and a request is delivered at most once over any of them.

use crate::harness::{
    Ask, Keyside, Then, Upstream, chunk_of, eventually, expect, holds, reply, reply_in_chunks,
};
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};

#[test]
fn one_connection_serves_request_after_request() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = keyside.wire();
    let mut ids = Vec::new();
    for round in 0..20 {
        let answer = wire.ask(&Ask::chat().body(format!("{{\"round\":{round}}}").as_bytes()));
        assert_eq!(answer.status(), 200, "round {round}");
        ids.push(
            answer
                .header("x-keyside-request-id")
                .expect("an id")
                .to_owned(),
        );
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 20, "each request has an id of its own");
    let first = |seen: &crate::harness::Seen| seen.connection == 0;
    assert!(
        upstream.requests().iter().all(first),
        "the upstream's connection is reused"
    );
}

/// The thread of pingora's timer wakes a hundred times a second.
#[test]
fn a_connection_starts_no_timer_of_pingora() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200);
    let threads = fs::read_dir(format!("/proc/{}/task", keyside.pid())).expect("its threads");
    let names: Vec<_> = threads
        .filter_map(|thread| fs::read_to_string(thread.ok()?.path().join("comm")).ok())
        .collect();
    assert!(!names.is_empty());
    assert!(!names.contains(&"Timer thread\n".to_owned()), "{names:?}");
}

#[test]
fn a_refusal_does_not_cost_the_connection() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = keyside.wire();
    for _ in 0..3 {
        let unknown = wire.ask(&Ask::chat().workspace("nobody"));
        expect::refused("unknown", &unknown, 400, "workspace_unknown");
        assert_eq!(wire.ask(&Ask::chat()).status(), 200);
    }
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let upstream =
        Upstream::answering(|seen| reply(200, "", seen.header("x-n").unwrap().as_bytes()));
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = keyside.wire();
    let asks: Vec<u8> = (0..5)
        .flat_map(|n| Ask::chat().header("X-N", n.to_string()).bytes())
        .collect();
    wire.send(asks);
    for n in 0..5 {
        assert_eq!(wire.answer().expect("an answer").text(), n.to_string());
    }
}

#[test]
fn a_client_s_connection_close_does_not_reach_the_upstream() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    for _ in 0..3 {
        let mut wire = keyside.wire();
        let answer = wire.ask(&Ask::chat().header("Connection", "close"));
        assert_eq!(answer.status(), 200);
        assert!(wire.until_close().is_empty());
    }
    assert_eq!(upstream.connections(), 1, "it is not passed on");
}

/// The upstream applies `fault` to request number `fail_at` (from 0), and serves all others.
/// That request must be answered 502 and have been delivered once.
fn check_delivered_once(
    name: &str,
    fail_at: usize,
    fault: impl Fn(&mut crate::harness::Line) + Send + Sync + 'static,
) {
    let count = AtomicUsize::new(0);
    let upstream = Upstream::scripted(move |_, line| {
        if count.fetch_add(1, Ordering::SeqCst) == fail_at {
            fault(line);
            return Then::Close;
        }
        line.write(reply(200, "", b"{}"));
        Then::Keep
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = keyside.wire();
    for n in 0..=fail_at + 1 {
        let answer = wire.ask(&Ask::chat().header("X-N", n.to_string()));
        if n == fail_at {
            expect::refused(name, &answer, 502, "upstream_unreachable");
        } else {
            assert_eq!(answer.status(), 200, "{name}: {}", answer.text());
        }
    }
    let delivered: Vec<_> = upstream.requests();
    let times = |n: usize| {
        delivered
            .iter()
            .filter(|seen| seen.header("x-n") == Some(&n.to_string()))
            .count()
    };
    for n in 0..=fail_at + 1 {
        assert_eq!(times(n), 1, "{name}: request {n}");
    }
}

#[test]
fn a_request_whose_upstream_closes_is_not_sent_again() {
    check_delivered_once("closed on a new connection", 0, |_| {});
    check_delivered_once("closed on a reused connection", 1, |_| {});
    check_delivered_once("half a status line", 1, |line| {
        line.write("HTTP/1.1 20");
    });
    check_delivered_once("half a head", 1, |line| {
        line.write("HTTP/1.1 200 OK\r\nContent-Le");
    });
    check_delivered_once("no HTTP", 1, |line| {
        line.write("220 smtp.example ESMTP\r\n");
    });
    check_delivered_once("a GET-like retry bait", 0, |line| {
        line.write("HTTP/1.1 408 Request Timeout\r\nConnection: cl");
    });
}

#[test]
fn an_upstream_that_closes_in_the_middle_of_a_request_gets_it_once() {
    let upstream = Upstream::raw(|line| {
        let _ = line.head("");
        let _ = line.piece();
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let answer = keyside.ask(&Ask::chat().body(&vec![b'x'; 8 * 1024 * 1024]));
    assert_eq!(answer.status(), 502, "{}", answer.text());
    assert_eq!(upstream.connections(), 1, "it was sent again");
}

#[test]
fn a_pooled_connection_that_the_upstream_closed_while_idle_fails_no_request() {
    let upstream = Upstream::scripted(|_, line| {
        line.write(reply(200, "", b"{}"));
        Then::Close
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = keyside.wire();
    for n in 0..20 {
        let answer = wire.ask(&Ask::chat());
        // The close may race with the next request: then an error is fine, a second delivery is
        // not.
        assert!(
            [200, 502].contains(&answer.status()),
            "round {n}: {}",
            answer.text()
        );
    }
    assert!(upstream.requests().len() <= 20);
}

#[test]
fn an_answer_cut_by_the_upstream_is_cut_for_the_client() {
    for (name, bytes) in [
        (
            "a length not reached",
            "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
        ),
        (
            "no last chunk",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
        ),
        (
            "half a chunk",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n40\r\nhalf",
        ),
    ] {
        let upstream = Upstream::scripted(move |_, line| {
            line.write(bytes);
            Then::Close
        });
        let keyside = Keyside::with_openai(&upstream.base_url());
        let answer = keyside.ask(&Ask::chat());
        assert_eq!(answer.status(), 200, "{name}");
        assert!(
            !answer.is_whole(),
            "{name}: looks whole: {:?}",
            answer.text()
        );
        assert_eq!(upstream.requests().len(), 1, "{name}");
    }
}

#[test]
fn a_client_that_disconnects_cancels_its_request() {
    let (gone, left) = std::sync::mpsc::channel();
    let gone = std::sync::Mutex::new(gone);
    let upstream = Upstream::scripted(move |_, line| {
        // The connection closes only if Keyside cancels the request.
        let _ = line.peek();
        let _ = gone.lock().expect("one request").send(());
        Then::Close
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = keyside.wire();
    wire.send(Ask::chat().bytes());
    upstream.wait_for(1);
    drop(wire);
    left.recv_timeout(crate::harness::PATIENCE)
        .expect("the upstream hears of it");
}

#[test]
fn a_client_of_http_1_0_gets_an_answer_that_it_can_read() {
    let upstream = Upstream::answering(|_| reply_in_chunks("", &[b"one ", b"two"], ""));
    let keyside = Keyside::with_openai(&upstream.base_url());
    let said = keyside.raw(
        "GET /openai/v1/models HTTP/1.0\r\nHost: localhost\r\nX-Keyside-Workspace: acme\r\n\r\n",
    );
    let said = String::from_utf8_lossy(&said).into_owned();
    let (head, body) = said.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.0 200 "), "{head}");
    assert!(
        !head.to_ascii_lowercase().contains("transfer-encoding"),
        "{head}"
    );
    assert_eq!(body, "one two");
}

#[test]
fn a_client_that_disconnects_during_its_body_delivers_no_complete_request() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    for (beginning, ask) in [
        (
            "the beginning of a length",
            Ask::chat().set("Content-Length", "1000"),
        ),
        ("the beginning of chunks", Ask::chat().chunks(&[], "")),
    ] {
        let before = upstream.cut().len();
        let mut wire = keyside.wire();
        wire.send([ask.head(), chunk_of(beginning.as_bytes())].concat());
        // The request has been sent before the client disconnects.
        eventually(beginning, || {
            holds(&upstream.bytes(), beginning).then_some(())
        });
        drop(wire);
        eventually("the cut", || (upstream.cut().len() > before).then_some(()));
    }
    assert!(upstream.requests().is_empty(), "{:?}", upstream.requests());
}

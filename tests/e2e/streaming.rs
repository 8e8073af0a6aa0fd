//! Server-sent events arrive at once and unchanged, wherever the network splits them.

use crate::harness::{
    Ask, Ending, Keyside, Then, Upstream, chunk_of, chunked_head, expect, reply_in_chunks,
};
use std::sync::Mutex;
use std::sync::mpsc::channel;

/// A stream with difficult content: usage, null usage, other line ends, UTF-8.
const EVENTS: &str = "event: message_start\ndata: {\"usage\":null,\"delta\":\"h\u{e9}\u{1f511}\"}\n\n\
    : a comment\r\n\r\ndata: {\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":4}}\r\rid\n\ndata: [DONE]\n\n";

#[test]
fn a_stream_cut_at_any_offset_arrives_exactly() {
    let upstream = Upstream::answering(|seen| {
        let cut: usize = seen
            .header("x-cut")
            .and_then(|cut| cut.parse().ok())
            .expect("a cut");
        let (head, tail) = EVENTS.as_bytes().split_at(cut);
        let chunks: Vec<_> = [head, tail]
            .into_iter()
            .filter(|chunk| !chunk.is_empty())
            .collect();
        reply_in_chunks("Content-Type: text/event-stream\r\n", &chunks, "")
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = keyside.wire();
    for cut in 0..=EVENTS.len() {
        let answer = wire.ask(&Ask::chat().header("X-Cut", cut.to_string()));
        assert_eq!(answer.body, EVENTS.as_bytes(), "cut at {cut}");
        assert_eq!(
            answer.header("content-type"),
            Some("text/event-stream"),
            "cut at {cut}"
        );
        assert_eq!(answer.ending, Ending::Chunked, "cut at {cut}");
    }
}

#[test]
fn a_stream_written_at_any_offset_arrives_exactly() {
    let upstream = Upstream::scripted(|seen, line| {
        let cut: usize = seen
            .header("x-cut")
            .and_then(|cut| cut.parse().ok())
            .expect("a cut");
        let whole = reply_in_chunks("", &[b"first", EVENTS.as_bytes(), b"last"], "X-T: 1\r\n");
        let (head, tail) = whole.split_at(cut.min(whole.len()));
        line.write(head);
        line.write(tail);
        Then::Keep
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = keyside.wire();
    let sent = [b"first", EVENTS.as_bytes(), b"last"].concat();
    for cut in 0..EVENTS.len() + 80 {
        let answer = wire.ask(&Ask::chat().header("X-Cut", cut.to_string()));
        assert_eq!(answer.body, sent, "written in two at {cut}");
    }
}

#[test]
fn each_event_arrives_before_the_next_is_sent() {
    let (go, gate) = channel::<()>();
    let gate = Mutex::new(gate);
    let upstream = Upstream::scripted(move |_, line| {
        line.write(chunked_head("Content-Type: text/event-stream\r\n"));
        let gate = gate.lock().expect("one request");
        for n in 0..5 {
            line.write(chunk_of(format!("data: {n}\n\n").as_bytes()));
            if gate.recv().is_err() {
                return Then::Close;
            }
        }
        line.write("0\r\n\r\n");
        Then::Keep
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = keyside.wire();
    wire.send(Ask::chat().bytes());
    assert_eq!(wire.head().expect("a head at once").status(), 200);
    for n in 0..5 {
        wire.body_until(&format!("data: {n}\n\n"));
        go.send(()).expect("the upstream");
    }
    assert_eq!(wire.piece(), None);
    assert_eq!(wire.ending(), Ending::Chunked);
}

#[test]
fn a_request_body_arrives_before_the_next_part_is_sent() {
    let (heard, hears) = channel();
    let heard = Mutex::new(heard);
    let upstream = Upstream::raw(move |line| {
        let heard = heard.lock().expect("one request");
        let Ok(Some(_)) = line.head("") else { return };
        while let Ok(Some(piece)) = line.piece() {
            let _ = heard.send(piece);
        }
        line.write("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n");
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = keyside.wire();
    wire.send(Ask::chat().chunks(&[], "").head());
    for part in ["one", "two", "three"] {
        wire.send(chunk_of(part.as_bytes()));
        let got = hears
            .recv_timeout(crate::harness::PATIENCE)
            .expect("it arrives at once");
        assert_eq!(got, part.as_bytes());
    }
    wire.send("0\r\n\r\n");
    assert_eq!(wire.answer().expect("an answer").status(), 200);
}

#[test]
fn an_answer_that_comes_before_the_request_s_end_is_passed_on() {
    let upstream = Upstream::raw(|line| {
        let Ok(Some(_)) = line.head("") else { return };
        line.write("HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno");
        while let Ok(Some(_)) = line.piece() {}
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = keyside.wire();
    wire.send(Ask::chat().chunks(&[], "").head());
    wire.send(chunk_of(b"only the beginning"));
    let answer = wire.answer().expect("an answer before the request ends");
    assert_eq!((answer.status(), answer.text()), (413, "no".to_owned()));
}

#[test]
fn a_response_without_a_length_ends_with_a_last_chunk() {
    let upstream = Upstream::scripted(|_, line| {
        line.write("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n");
        line.write(EVENTS);
        Then::Close
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let answer = keyside.ask(&Ask::chat());
    assert_eq!(answer.body, EVENTS.as_bytes());
    assert!(answer.is_whole());
    expect::keyless("until close", &answer);
}

#[test]
fn a_slow_reader_slows_the_upstream_instead_of_filling_memory() {
    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 768;
    let written = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = std::sync::Arc::clone(&written);
    let upstream = Upstream::scripted(move |_, line| {
        line.write(chunked_head(""));
        for _ in 0..PIECES {
            line.write(chunk_of(&[b'x'; PIECE]));
            counter.fetch_add(PIECE, std::sync::atomic::Ordering::SeqCst);
        }
        line.write("0\r\n\r\n");
        Then::Keep
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let mut wire = keyside.wire();
    wire.send(Ask::chat().bytes());
    assert_eq!(wire.head().expect("a head").status(), 200);
    // Nothing is read until full buffers stop the upstream's writing.
    let mut last = 0;
    let mut still = 0;
    crate::harness::eventually("the upstream comes to a halt", || {
        let now = written.load(std::sync::atomic::Ordering::SeqCst);
        still = if now == last && now > 0 { still + 1 } else { 0 };
        last = now;
        (still > 50).then_some(())
    });
    assert!(
        last < PIECE * PIECES / 2,
        "{last} bytes were taken in with nobody reading"
    );
    let mut got = 0;
    while let Some(piece) = wire.piece() {
        got += piece.len();
    }
    assert_eq!(got, PIECE * PIECES);
}

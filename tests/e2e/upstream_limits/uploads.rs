//! A request may be answered before its body has arrived. Its connection is idle from then on,
//! although the rest of the body is still being sent.

use super::{LIMITS, SECOND_KEY, limited, second_key};
use crate::harness::frames::HEADERS;
use crate::harness::h2_session::frames_for;
use crate::harness::{Ask, Keyside, PATIENCE, Upstream, Wire, eventually, reply};
use std::sync::{Mutex, mpsc::channel};

/// A provider that answers each request by its head, and then reads the body.
fn answering_early(headers: &'static str) -> Upstream {
    Upstream::raw(move |line| {
        while let Ok(Some(_)) = line.head("") {
            line.write(reply(200, headers, b"early"));
            while let Ok(Some(_)) = line.piece() {}
        }
    })
}

/// Sends the head of a request, and returns the connection once the whole response has come.
fn answered_by_its_head(keyside: &Keyside) -> Wire {
    let mut client = keyside.wire();
    client.send(Ask::chat().head());
    let answer = client.answer().expect("an early response");
    assert_eq!((answer.status(), answer.text().as_str()), (200, "early"));
    client
}

/// The connection ends by itself only when the client has sent the rest of its body.
#[test]
fn the_rest_of_an_upload_that_was_answered_early_keeps_no_slot() {
    for setting in LIMITS {
        let upstream = answering_early("");
        let keyside = limited(setting, 2, &upstream);
        keyside.add_key("acme", "openai", "second", SECOND_KEY);
        let uploading = answered_by_its_head(&keyside);
        let answer = keyside.ask(&second_key(Ask::chat()));
        assert_eq!(answer.status(), 200, "{setting}: {}", answer.text());
        drop(uploading);
    }
}

#[test]
fn a_destination_whose_connections_end_slowly_does_not_affect_others() {
    let (slow, upstream) = (answering_early(""), Upstream::ok());
    let keyside = Keyside::builder()
        .provider("openai", &slow.base_url())
        .provider("anthropic", &upstream.base_url())
        .set(LIMITS[0], "2")
        .start()
        .with_key();
    let secret = "sk-ant-api03-e2eKeySideOnly0123456789abcdef";
    keyside.add_key("acme", "anthropic", "default", secret);
    let uploading = answered_by_its_head(&keyside);
    let answer = keyside.ask(&Ask::post("/anthropic/v1/messages"));
    assert_eq!(answer.status(), 200, "{}", answer.text());
    drop(uploading);
}

#[test]
fn the_rest_of_an_upload_keeps_no_slot_of_a_provider_that_keeps_no_connection() {
    for setting in LIMITS {
        let upstream = answering_early("Keep-Alive: timeout=0\r\n");
        let keyside = limited(setting, 2, &upstream);
        keyside.add_key("acme", "openai", "second", SECOND_KEY);
        let uploading = answered_by_its_head(&keyside);
        // The connection may be closing already.
        eventually("its slot", || {
            (keyside.ask(&second_key(Ask::chat())).status() == 200).then_some(())
        });
        drop(uploading);
    }
}

#[test]
fn the_rest_of_an_upload_does_not_keep_a_connection_open_that_has_expired() {
    let (ended, end) = channel();
    let ended = Mutex::new(ended);
    let upstream = Upstream::raw(move |line| {
        if let Ok(Some(_)) = line.head("") {
            line.write(reply(200, "Keep-Alive: timeout=1\r\n", b"early"));
            while let Ok(Some(_)) = line.piece() {}
            let _ = ended.lock().expect("no panic").send(());
        }
    });
    let keyside = Keyside::with_openai(&upstream.base_url());
    let uploading = answered_by_its_head(&keyside);
    end.recv_timeout(PATIENCE).expect("the connection's end");
    drop(uploading);
}

/// The provider does not reset the stream, so only the client could end it.
#[test]
fn the_rest_of_an_upload_over_http_2_keeps_no_slot() {
    for setting in LIMITS {
        let (_upstream, builder) = frames_for(|_, session| {
            while let Some(frame) = session.event() {
                if frame.kind == HEADERS {
                    session.answer(frame.stream, 200, "early");
                }
            }
        });
        let keyside = builder.set(setting, "2").start().with_key();
        keyside.add_key("acme", "openai", "second", SECOND_KEY);
        let uploading = answered_by_its_head(&keyside);
        let answer = keyside.ask(&second_key(Ask::chat()));
        assert_eq!(answer.status(), 200, "{setting}: {}", answer.text());
        drop(uploading);
    }
}

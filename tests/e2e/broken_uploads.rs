//! A request that its client cancels is never delivered as complete, and one that its provider does
//! not read holds no resources forever.

use crate::harness::frames::{DATA, END_HEADERS, Frames, HEADERS, RST_STREAM, block};
use crate::harness::h2_upstream::{H2Answer, over_h2};
use crate::harness::{Ask, Keyside, Upstream, eventually};

/// NO_ERROR and CANCEL.
const CODES: [u32; 2] = [0, 8];
const TRIES: usize = 25;

/// Sends half a body and resets the stream with this code.
fn take_back(keyside: &Keyside, length: Option<&str>, code: u32) {
    let mut client = Frames::connect(keyside.proxy_addr());
    let mut fields = vec![
        (":method", &b"POST"[..]),
        (":scheme", b"http"),
        (":path", b"/openai/v1/chat/completions"),
        (":authority", b"localhost"),
        ("x-keyside-workspace", b"acme"),
    ];
    fields.extend(length.map(|length| ("content-length", length.as_bytes())));
    client.write(HEADERS, END_HEADERS, 1, &block(&fields));
    client.write(DATA, 0, 1, b"{\"truncated\":");
    client.until_pong();
    client.write(RST_STREAM, 0, 1, &code.to_be_bytes());
    client.until_pong();
}

fn take_back_often(keyside: &Keyside) {
    for code in CODES {
        for length in [None, Some("500")] {
            (0..TRIES).for_each(|_| take_back(keyside, length, code));
        }
    }
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200, "and it serves on");
}

#[test]
fn a_request_that_its_client_reset_is_not_delivered_as_complete() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    take_back_often(&keyside);
    assert_eq!(upstream.requests().len(), 1, "{:#?}", upstream.requests());
}

#[test]
fn a_request_that_its_client_reset_is_not_delivered_as_complete_over_http_2() {
    let (upstream, keyside) = over_h2(true, H2Answer::default());
    take_back_often(&keyside);
    assert_eq!(upstream.requests().len(), 1, "{:#?}", upstream.requests());
}

/// hyper stops reading while bytes follow a response, so it does not notice that the connection has
/// closed.
#[test]
fn an_upload_that_is_answered_twice_and_cut_off_releases_its_slot() {
    let upstream = Upstream::raw(|line| {
        if let Ok(Some(_)) = line.head("") {
            line.write(
                "HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\n\r\nno\
                 HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n",
            );
        }
    });
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .set("proxy.limits.upstream_connections", "2")
        .start()
        .with_key();
    // The client disconnects during the upload.
    let mut wire = keyside.wire();
    let large = Ask::chat().body(&vec![b'x'; 4 * 1024 * 1024]).bytes();
    wire.send(&large[..large.len() - 1]);
    assert_eq!(wire.head().expect("an answer").status(), 413);
    drop(wire);
    eventually("the place of the connection that was cut", || {
        let answer = keyside.ask(&Ask::chat());
        (answer.status() != 503).then_some(())
    });
}

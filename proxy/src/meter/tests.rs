//! Meters responses that arrive whole, and cut anywhere.

mod framing;
mod hostile;
mod shapes;

use http::HeaderValue;
use keyside_config::Catalogue;

use super::*;

/// Input, output, cached input, cache write, reasoning.
type Figures = [Option<u64>; 5];

const UNKNOWN: Figures = [None; 5];

fn rules(provider: &str) -> Arc<Rules> {
    let catalogue = Catalogue::builtin();
    let provider = catalogue.get(provider).expect("a built-in provider");
    Arc::new(Rules::new(&provider.usage))
}

fn head(content_type: &'static str) -> HeaderMap {
    let content_type = HeaderValue::from_static(content_type);
    HeaderMap::from_iter([(header::CONTENT_TYPE, content_type)])
}

/// Checks the counts of `bytes` that arrive at once, one by one, and in pieces of any size.
fn check(about: &str, meter: impl Fn() -> Meter, bytes: &[u8], expected: Figures) {
    let whole = metered(meter(), bytes, || bytes.len());
    assert_eq!(whole, expected, "{about}, whole");
    let single = metered(meter(), bytes, || 1);
    assert_eq!(single, expected, "{about}, byte by byte");
    let mut random = Random(0x9e37_79b9_7f4a_7c15);
    for most in [3, 9, 40, 300, 2_000] {
        for round in 0..8 {
            let cut = metered(meter(), bytes, || random.up_to(most));
            assert_eq!(cut, expected, "{about}, up to {most} bytes, round {round}");
        }
    }
}

/// The same for a JSON body.
fn check_body(provider: &str, body: &str, expected: Figures) {
    let (rules, head) = (rules(provider), head("application/json"));
    let meter = || Meter::answer(rules.clone(), &head);
    check(body, meter, body.as_bytes(), expected);
}

/// The same for server-sent events.
fn check_events(provider: &str, events: &str, expected: Figures) {
    let (rules, head) = (rules(provider), head("text/event-stream"));
    let meter = || Meter::answer(rules.clone(), &head);
    check(events, meter, events.as_bytes(), expected);
}

fn metered(mut meter: Meter, bytes: &[u8], mut size: impl FnMut() -> usize) -> Figures {
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(size().clamp(1, rest.len()));
        meter.push(piece);
        rest = behind;
    }
    let tokens = meter.tokens();
    [
        tokens.input,
        tokens.output,
        tokens.cached_input,
        tokens.cache_write,
        tokens.reasoning,
    ]
}

/// The same sequence in every run (Marsaglia's xorshift).
struct Random(u64);

impl Random {
    fn up_to(&mut self, most: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        1 + (self.0 % most as u64) as usize
    }
}

/// A WebSocket frame as a server sends it (RFC 6455 section 5.2).
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        len @ ..126 => frame.push(len as u8),
        len @ ..65_536 => {
            frame.push(126);
            frame.extend_from_slice(&(len as u16).to_be_bytes());
        }
        len => {
            frame.push(127);
            frame.extend_from_slice(&(len as u64).to_be_bytes());
        }
    }
    frame.extend_from_slice(payload);
    frame
}

/// A message of an AWS event stream, without valid checksums, which the meter does not check.
fn amazon(kind: &str, payload: &[u8]) -> Vec<u8> {
    let mut headers = Vec::new();
    for (name, value) in [
        (":event-type", kind),
        (":content-type", "application/json"),
        (":message-type", "event"),
    ] {
        headers.push(name.len() as u8);
        headers.extend_from_slice(name.as_bytes());
        headers.push(7);
        headers.extend_from_slice(&(value.len() as u16).to_be_bytes());
        headers.extend_from_slice(value.as_bytes());
    }
    let all = 12 + headers.len() + payload.len() + 4;
    let prelude = [all as u32, headers.len() as u32, 0].map(u32::to_be_bytes);
    [&prelude.concat()[..], &headers, payload, &[0; 4]].concat()
}

/// A message as InvokeModelWithResponseStream wraps it.
fn wrapped(message: &str) -> String {
    format!(
        "{{\"bytes\":\"{}\",\"p\":\"abcdefgh\"}}",
        to_base64(message.as_bytes())
    )
}

fn to_base64(bytes: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for part in bytes.chunks(3) {
        let byte = |at: usize| u32::from(part.get(at).copied().unwrap_or(0));
        let bits = byte(0) << 16 | byte(1) << 8 | byte(2);
        for place in 0..4 {
            let sextet = (bits >> (18 - 6 * place)) & 63;
            match place <= part.len() {
                true => text.push(char::from(ALPHABET[sextet as usize])),
                false => text.push('='),
            }
        }
    }
    text
}

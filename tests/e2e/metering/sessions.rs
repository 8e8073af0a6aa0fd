//! A WebSocket session has the counts that its provider reported, for each route of the catalogue
//! that is a WebSocket: after the whole session, and if either side leaves in the middle.

use std::{fs, path::Path};

use http::Method;
use keyside_config::Catalogue;

use super::{Figures, Metered, UNKNOWN};
use crate::harness::{Ask, Line, Seen, Then, Upstream};
use crate::websocket::frame;

/// What a provider sends in a session, and what it bills for it.
struct Session {
    /// A file of the meter's recorded messages, a line each; those in `.wsb` are binary.
    file: &'static str,
    /// The counts after this many messages; the last are all of them.
    counts: &'static [(usize, Figures)],
    /// The sum of the totals that the messages report.
    total: Option<u64>,
}

/// Each route that is a WebSocket: its provider, a path, and a session.
const ROUTES: &[(&str, &str, &Session)] = &[
    ("azure-openai", "/openai/realtime", &REALTIME),
    ("azure-openai", "/openai/v1/realtime", &REALTIME),
    ("azure-openai", "/openai/v1/responses", &RESPONSES),
    ("gemini", "/v1beta/interactions/live", &INTERACTION),
    (
        "gemini",
        "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent",
        &GEMINI_LIVE,
    ),
    (
        "gemini",
        "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateMusic",
        &MUSIC,
    ),
    ("mistral", "/v1/audio/speech/realtime", &MISTRAL_SPEECH),
    (
        "mistral",
        "/v1/audio/transcriptions/realtime",
        &MISTRAL_TRANSCRIPTION,
    ),
    ("openai", "/v1/live/sessions", &LIVE),
    ("openai", "/v1/live/sessions/live_1/attach", &ATTACHED),
    ("openai", "/v1/live/sessions/live_1/fork", &LIVE),
    ("openai", "/v1/realtime", &REALTIME),
    ("openai", "/v1/realtime/translations", &TRANSLATION),
    ("openai", "/v1/responses", &RESPONSES),
    ("together", "/v1/audio/speech/websocket", &TOGETHER_SPEECH),
    ("together", "/v1/realtime", &TOGETHER_TRANSCRIPTION),
    ("xai", "/v1/realtime", &XAI),
];

const PROVIDERS: &[&str] = &[
    "azure-openai",
    "gemini",
    "mistral",
    "openai",
    "together",
    "xai",
];

/// Responses add up, and with them the transcriptions of what the user says.
const REALTIME: Session = Session {
    file: "openai-realtime.ws",
    counts: &[
        (3, UNKNOWN),
        (4, [Some(127), Some(148), Some(64), None, None]),
        (5, [Some(165), Some(158), Some(64), None, None]),
        (7, [Some(565), Some(178), Some(384), None, None]),
    ],
    total: Some(743),
};

/// Responses add up; the counts of one in progress are replaced by its last.
const RESPONSES: Session = Session {
    file: "openai-responses.ws",
    counts: &[
        (1, UNKNOWN),
        (3, [Some(4_096), Some(1), None, None, None]),
        (
            5,
            [Some(4_096), Some(187), Some(3_072), Some(512), Some(64)],
        ),
        (
            6,
            [Some(4_196), Some(197), Some(3_072), Some(512), Some(72)],
        ),
    ],
    total: Some(4_393),
};

/// Delegated responses and decisions add up; audio is billed by the second.
const LIVE: Session = Session {
    file: "openai-live.ws",
    counts: &[
        (5, UNKNOWN),
        (6, [Some(812), Some(40), Some(512), Some(0), Some(16)]),
        (9, [Some(932), Some(46), Some(512), Some(0), Some(16)]),
    ],
    total: Some(978),
};

/// Not metered: the connection that started the session has counted.
const ATTACHED: Session = Session {
    file: "openai-live.ws",
    counts: &[(9, UNKNOWN)],
    total: None,
};

const TRANSLATION: Session = Session {
    file: "openai-translation.ws",
    counts: &[(2, UNKNOWN), (4, UNKNOWN)],
    total: None,
};

/// Turns add up.
const GEMINI_LIVE: Session = Session {
    file: "gemini-live.wsb",
    counts: &[
        (2, UNKNOWN),
        (4, [Some(373), Some(47), None, None, Some(24)]),
        (5, [Some(786), Some(69), None, None, Some(24)]),
    ],
    total: Some(855),
};

/// Every count replaces the one before.
const INTERACTION: Session = Session {
    file: "gemini-interactions-live.ws",
    counts: &[
        (2, UNKNOWN),
        (3, [Some(90), Some(1_004), None, None, Some(1_000)]),
        (4, [Some(90), Some(1_705), None, None, Some(1_685)]),
        (5, [Some(200), Some(1_705), Some(64), None, Some(1_685)]),
    ],
    total: Some(1_905),
};

const MUSIC: Session = Session {
    file: "gemini-music.wsb",
    counts: &[(2, UNKNOWN), (3, UNKNOWN)],
    total: None,
};

/// Generations add up.
const MISTRAL_SPEECH: Session = Session {
    file: "mistral-speech.ws",
    counts: &[
        (2, UNKNOWN),
        (4, [Some(3), Some(10), None, None, None]),
        (5, [Some(8), Some(31), None, None, None]),
    ],
    total: Some(39),
};

const MISTRAL_TRANSCRIPTION: Session = Session {
    file: "mistral-transcription.ws",
    counts: &[(2, UNKNOWN), (3, [Some(5), Some(33), None, None, None])],
    total: Some(38),
};

const TOGETHER_SPEECH: Session = Session {
    file: "together-speech.ws",
    counts: &[(3, UNKNOWN), (4, UNKNOWN)],
    total: None,
};

const TOGETHER_TRANSCRIPTION: Session = Session {
    file: "together-transcription.ws",
    counts: &[(2, UNKNOWN), (3, UNKNOWN)],
    total: None,
};

/// Responses add up.
const XAI: Session = Session {
    file: "xai-realtime.ws",
    counts: &[
        (1, UNKNOWN),
        (2, [Some(20), Some(10), Some(5), None, None]),
        (3, [Some(65), Some(25), Some(5), None, None]),
    ],
    total: Some(90),
};

#[test]
fn a_session_has_the_counts_that_its_provider_reported_until_it_ended() {
    let upstream = Upstream::scripted(speak);
    let mut metered = Metered::at(&upstream, PROVIDERS);
    for (provider, path, session) in ROUTES {
        for (messages, expected) in session.counts {
            for end in [CLIENT_LEAVES, PROVIDER_LEAVES] {
                let name = format!("{provider} {path}: {messages}, {end}");
                let ask = upgrade(&format!("/{provider}{path}"))
                    .header("X-Keyside-Run", &name)
                    .header("X-File", session.file)
                    .header("X-Messages", messages.to_string())
                    .header("X-End", end);
                listen(&metered, &ask, end);
                metered.told(&name, *expected);
            }
        }
    }
}

#[test]
fn every_websocket_of_the_catalogue_has_a_session() {
    for provider in Catalogue::builtin().iter() {
        let withheld = provider.withheld.iter().map(|(_, route)| route);
        let routes = provider.routes.iter().chain(withheld);
        for route in routes.filter(|route| route.upgrade) {
            let session = ROUTES.iter().find(|(id, path, _)| {
                *id == provider.id.as_str() && route.allows(&Method::GET, path)
            });
            let Some((_, _, session)) = session else {
                panic!("no session in ROUTES for {}: {route:?}", provider.id);
            };
            let is_unknown = session.counts.iter().all(|(_, counts)| *counts == UNKNOWN);
            assert!(route.metered || is_unknown, "{}: {route:?}", provider.id);
        }
    }
}

#[test]
fn each_session_is_whole_and_its_counts_add_up_to_its_total() {
    for (_, path, session) in ROUTES {
        let (messages, counts) = session.counts.last().expect("counts");
        assert_eq!(recorded(session.file).lines().count(), *messages, "{path}");
        let [input, output, ..] = *counts;
        let sum = input.zip(output).map(|(input, output)| input + output);
        assert_eq!(sum, session.total, "{path}");
    }
}

/// The provider's side of a session.
fn speak(seen: &Seen, line: &mut Line) -> Then {
    let header = |name: &str| seen.header(name).expect("a header of the test").to_owned();
    let (file, end) = (header("X-File"), header("X-End"));
    let messages: usize = header("X-Messages").parse().expect("a number");
    let recorded = recorded(&file);
    let opcode = match file.ends_with(".wsb") {
        true => BINARY,
        false => TEXT,
    };
    line.write(SWITCHING);
    for message in recorded.lines().take(messages) {
        // In two fragments, with a ping between them.
        let (first, rest) = message.as_bytes().split_at(message.len() / 2);
        line.write(frame(opcode, first));
        line.write(frame(PING, ""));
        line.write(frame(LAST_FRAGMENT, rest));
    }
    if end == CLIENT_LEAVES {
        line.write(frame(PING, GOODBYE));
        return Then::Keep;
    }
    // A provider that leaves in the middle sends no close frame.
    if messages == recorded.lines().count() {
        line.write(frame(CLOSE, ""));
    }
    Then::Close
}

/// The client's side of a session.
fn listen(metered: &Metered, ask: &Ask, end: &str) {
    let mut wire = metered.keyside.wire();
    wire.send(ask.bytes());
    assert_eq!(wire.head().expect("an answer").status(), 101, "{ask:?}");
    match end {
        CLIENT_LEAVES => drop(wire.some_until(GOODBYE)),
        _ => drop(wire.until_close()),
    }
}

fn upgrade(target: &str) -> Ask {
    Ask::get(target)
        .header("Connection", "Upgrade")
        .header("Upgrade", "websocket")
        .header("Sec-WebSocket-Version", "13")
        .header("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==")
}

/// The messages that the meter's own tests read too.
fn recorded(file: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("proxy/src/meter/shapes");
    fs::read_to_string(folder.join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

const SWITCHING: &str = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n";

const CLIENT_LEAVES: &str = "the client leaves";
const PROVIDER_LEAVES: &str = "the provider leaves";
/// The payload of the ping after which the client leaves.
const GOODBYE: &str = "that is all";

// First bytes of frames (RFC 6455 section 5.2).
const TEXT: u8 = 0x01;
const BINARY: u8 = 0x02;
const LAST_FRAGMENT: u8 = 0x80;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;

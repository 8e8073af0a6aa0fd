//! Sends a unique key through every path and then searches for it, in every encoding, in everything
//! that Keyside prints, shows or stores. It may only be in the request to its provider.

mod codings;
mod declared;
mod paths;
mod sweep;

use self::codings::Canary;
pub use self::codings::codings;
use self::sweep::Sweep;
use crate::harness::{
    Ask, Builder, Keyside, Then, Upstream, Wire, chunk_of, chunked_head, reply, tls,
};
use serde_json::{Value, json};
use std::fs;

/// The default file of the master key.
const MASTER_KEY: &str = "data.master-key";

/// The canaries, and the Keyside that must not leak them.
struct Hunt {
    /// The providers' key.
    key: Canary,
    /// The client's own credential, which must go nowhere.
    own: Canary,
    keyside: Keyside,
    upstream: Upstream,
    sweep: Sweep,
}

#[test]
fn a_key_is_only_in_requests_to_its_provider() {
    let mut hunt = Hunt::new(Canary::like_a_key());
    hunt.add_keys();
    hunt.successes();
    hunt.refusals();
    hunt.ended_keys();
    hunt.malformed_requests();
    hunt.echoes();
    hunt.broken_upstreams();
    hunt.mistakes_at_the_admin_api();
    hunt.command_line();
    hunt.assert_delivered();
    hunt.assert_nowhere();
}

#[test]
fn a_key_with_special_characters_is_only_in_requests_to_its_provider() {
    let mut hunt = Hunt::new(Canary::of_odd_characters());
    hunt.add_keys();
    hunt.successes();
    hunt.refusals();
    hunt.ended_keys();
    hunt.broken_upstreams();
    hunt.command_line();
    hunt.assert_delivered();
    hunt.assert_nowhere();
}

#[test]
fn a_key_that_no_longer_opens_is_nowhere() {
    let mut hunt = Hunt::new(Canary::like_a_key());
    hunt.add_keys();
    let mut hunt = hunt.with_a_damaged_keyring();
    assert_eq!(hunt.ask("credential_undecryptable", Ask::chat()), 500);
    hunt.assert_nowhere();
}

impl Hunt {
    /// Everything is logged, and each provider fails differently.
    fn new(key: Canary) -> Self {
        let hunt = Self::start(key, Keyside::builder());
        for workspace in ["acme", "other"] {
            hunt.keyside.workspace(workspace);
        }
        hunt
    }

    fn start(key: Canary, builder: Builder) -> Self {
        let upstream = provider();
        let unverified = tls::Identity::self_signed(&["localhost"]).upstream(|_, _| Then::Close);
        let listeners = r#"["127.0.0.1:0", { address = "127.0.0.1:0", workspaces = ["other"] }]"#;
        let keyside = builder
            .set("log.filter", r#""trace""#)
            .set("proxy.listen", listeners)
            .set("proxy.deadlines.header", r#""2s""#)
            .set("providers.mistral.deadlines.first_byte", r#""1s""#)
            .provider("openai", &upstream.base_url())
            .provider("gemini", &upstream.base_url())
            .provider("mistral", &upstream.base_url())
            .provider("groq", &unverified.url_for("localhost"))
            .provider("xai", "http://127.0.0.1:1")
            .variable("RUST_LOG", "trace")
            .variable("RUST_BACKTRACE", "full")
            .start();
        Self {
            key,
            own: Canary::like_a_key(),
            keyside,
            upstream,
            sweep: Sweep::default(),
        }
    }

    /// The same with the workspace's key under another name.
    fn with_a_damaged_keyring(mut self) -> Self {
        let (builder, exit) = self.keyside.stop();
        self.sweep.saw("standard error", exit.stderr.as_bytes());
        let keyring = builder.home().join("data/keyring");
        let text = fs::read_to_string(&keyring).expect("a keyring");
        fs::write(&keyring, text.replace("acme", "acm3")).expect("a file");
        let keyside = builder.start();
        Self { keyside, ..self }
    }

    fn add_keys(&mut self) {
        let soon = crate::refusals::from_now(3);
        for fields in [
            json!({ "provider": "openai", "label": "default" }),
            // Early, so that it is stored before it expires.
            json!({ "provider": "openai", "label": "short", "expiresAt": soon }),
            json!({ "provider": "openai", "label": "gone" }),
            json!({ "provider": "openai", "label": "ci", "environment": "sandbox", "usageTag": "ci" }),
            json!({ "provider": "gemini", "label": "default" }),
            json!({ "provider": "mistral", "label": "default" }),
            json!({ "provider": "groq", "label": "default" }),
            json!({ "provider": "xai", "label": "default" }),
        ] {
            let view = self.add(fields);
            if view["label"] == "gone" {
                self.keyside.revoke(&view);
            }
        }
    }

    fn add(&mut self, mut fields: Value) -> Value {
        fields["workspaceId"] = json!("acme");
        fields["secret"] = json!(self.key.text());
        let added = self.keyside.try_add(&fields);
        assert_eq!(added.status(), 201, "{fields}: {}", added.text());
        self.sweep.saw("the answer to a new key", &added.raw);
        added.json()
    }

    /// Sends a request with the client's own credential in every possible place, and returns the
    /// status.
    fn ask(&mut self, name: &str, mut ask: Ask) -> u16 {
        let own = self.own.text().to_owned();
        let joint = if ask.target.contains('?') { '&' } else { '?' };
        ask.target += &format!("{joint}key={own}&access_token={own}");
        let ask = ask
            .header("Authorization", format!("Bearer {own}"))
            .header("X-Api-Key", &own)
            .header("Cookie", format!("session={own}"))
            .header("Proxy-Authorization", format!("Basic {own}"));
        let answer = self.keyside.ask(&ask);
        self.sweep.saw(name, &answer.raw);
        self.sweep.saw(name, &answer.body);
        answer.status()
    }

    /// Proves that the key was sent to its provider once per request; otherwise finding it nowhere
    /// else would mean nothing.
    fn assert_delivered(&self) {
        let requests = self.upstream.requests();
        assert!(requests.len() >= 5, "only {} requests", requests.len());
        for seen in requests {
            let times = count(&seen.raw, self.key.text());
            assert_eq!(times, 1, "{}", seen.start);
            assert_eq!(self.own.found_in(&seen.raw), None, "the client's own left");
        }
    }

    fn assert_nowhere(mut self) {
        self.sweep.everything_of(&self.keyside);
        let token = Canary::of(&self.keyside.token());
        let home = self.keyside.builder_of().home().to_owned();
        let master = fs::read_to_string(home.join(MASTER_KEY)).expect("a master key");
        let master = Canary::of(master.trim());
        // The builder owns the folder.
        let (_builder, exit) = self.keyside.stop();
        self.sweep.saw("standard error", exit.stderr.as_bytes());
        self.sweep.saw("standard output", exit.stdout.as_bytes());
        self.sweep.files_under(&home);
        self.sweep.assert_without("the key", &self.key, &[]);
        self.sweep
            .assert_without("the client's own", &self.own, &[]);
        for (what, secret, place) in [
            ("the owner's token", token, "data/admin-token"),
            ("the master key", master, MASTER_KEY),
        ] {
            self.sweep.assert_without(what, &secret, &[place]);
        }
    }
}

/// A provider that responds as the header `X-Case` says, and reads the key to echo from the
/// request.
fn provider() -> Upstream {
    Upstream::scripted(|seen, line| {
        let key = ["authorization", "x-goog-api-key"]
            .iter()
            .find_map(|name| seen.header(name))
            .unwrap_or_default();
        let key = key.trim_start_matches("Bearer ").to_owned();
        let (front, back) = key.split_at(key.len() / 2);
        let event = "Content-Type: text/event-stream\r\n";
        match seen.header("x-case").unwrap_or_default() {
            "stream" => {
                line.write(chunked_head(event));
                line.write(chunk_of(b"data: {\"usage\":null}\n\n"));
                line.write(chunk_of(b"data: [DONE]\n\n"));
                line.write("0\r\n\r\n")
            }
            "echo in a body" => line.write(reply(401, "", format!("bad key {key}").as_bytes())),
            "echo in headers" => line.write(reply(
                401,
                &format!("WWW-Authenticate: Bearer error={key}\r\nX-Echo: {key}\r\n"),
                b"{}",
            )),
            "echo in a stream" => {
                line.write(chunked_head(event));
                line.write(chunk_of(format!("data: {front}").as_bytes()));
                line.write(chunk_of(format!("{back}\n\n").as_bytes()));
                line.write("0\r\n\r\n")
            }
            "echo in trailers" => {
                line.write(chunked_head("Trailer: X-Echo\r\n"));
                line.write(format!("2\r\n{{}}\r\n0\r\nX-Echo: {key}\r\n\r\n"))
            }
            "cut" => {
                line.write(format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n{key}"
                ));
                return Then::Close;
            }
            "cut in its head" => {
                line.write(format!("HTTP/1.1 401 {key}\r\nX-Echo: {key}"));
                return Then::Close;
            }
            "no HTTP" => {
                line.write(format!("{key}\r\n{key}\r\n\r\n"));
                return Then::Close;
            }
            "a bad header" => line.write(format!("HTTP/1.1 200 OK\r\nX Y: {key}\r\n\r\n")),
            "a bad status" => line.write(format!("HTTP/1.1 {key} OK\r\n\r\n")),
            "silence" => {
                let _ = line.peek();
                return Then::Close;
            }
            _ => line.write(reply(
                200,
                "Content-Type: application/json\r\n",
                br#"{"usage":{"prompt_tokens":1,"completion_tokens":1}}"#,
            )),
        };
        Then::Keep
    })
}

fn count(bytes: &[u8], needle: &str) -> usize {
    bytes
        .windows(needle.len())
        .filter(|window| *window == needle.as_bytes())
        .count()
}

/// Sends exactly these bytes and returns everything until the connection closes.
fn raw(wire: &mut Wire, bytes: &[u8]) -> Vec<u8> {
    wire.send(bytes);
    wire.until_close()
}

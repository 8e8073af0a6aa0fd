//! Paths on which the key, or the client's credential, could leak.

use super::{Hunt, raw};
use crate::harness::{Ask, CREDENTIALS, Wire, eventually, h2c::H2c};
use serde_json::json;
use std::fs;

impl Hunt {
    pub fn successes(&mut self) {
        let gemini = "/gemini/v1beta/models/m:generateContent";
        let (key, own) = (self.key.text().to_owned(), self.own.text().to_owned());
        for (name, ask) in [
            ("an answer", Ask::chat()),
            ("a stream", Ask::chat().header("X-Case", "stream")),
            ("another header", Ask::post(gemini)),
            ("a label", Ask::chat().header("X-Keyside-Label", "default")),
            (
                "a run",
                Ask::chat()
                    .header("X-Keyside-Run", "r1")
                    .header("X-Keyside-Tag", "t1"),
            ),
            (
                "a run with the key in its headers",
                Ask::chat()
                    .header("X-Keyside-Run", &key)
                    .header("X-Keyside-Tag", format!("Bearer {own}")),
            ),
        ] {
            assert_eq!(self.ask(name, ask), 200, "{name}");
        }
        let mut http2 = H2c::connect(self.keyside.proxy_addr());
        let answer = http2.ask(&Ask::chat());
        assert_eq!(answer.status(), 200, "HTTP/2: {}", answer.text());
        self.sweep.saw("an answer over HTTP/2", &answer.body);
    }

    pub fn refusals(&mut self) {
        let browser = Ask::chat().header("Origin", "http://evil.example");
        for (code, status, ask) in [
            (
                "workspace_missing",
                400,
                Ask::chat().without("X-Keyside-Workspace"),
            ),
            ("workspace_unknown", 400, Ask::chat().workspace("nobody")),
            (
                "provider_unknown",
                400,
                Ask::post("/nosuch/v1/chat/completions"),
            ),
            ("credential_missing", 401, Ask::chat().workspace("other")),
            (
                "label_unknown",
                400,
                Ask::chat()
                    .header("X-Keyside-Label", "nosuch")
                    .header("X-Keyside-Run", self.own.text()),
            ),
            (
                "path_not_allowed",
                403,
                Ask::get("/openai/v1/organization/admin_api_keys"),
            ),
            ("browser_not_allowed", 403, browser),
            (
                "host_not_allowed",
                403,
                Ask::chat().set("Host", "evil.example"),
            ),
            (
                "request_malformed",
                400,
                Ask::chat().header("X-Keyside-Environment", "moon"),
            ),
            (
                "upstream_tls",
                502,
                Ask::post("/groq/openai/v1/chat/completions"),
            ),
            (
                "upstream_unreachable",
                502,
                Ask::post("/xai/v1/chat/completions"),
            ),
            (
                "upstream_timeout",
                504,
                Ask::post("/mistral/v1/chat/completions").header("X-Case", "silence"),
            ),
        ] {
            assert_eq!(self.ask(code, ask), status, "{code}");
        }
        let pinned = Wire::tcp(self.keyside.proxy_addrs()[1]).ask(&Ask::chat());
        assert_eq!(pinned.status(), 403, "{}", pinned.text());
        self.sweep.saw("workspace_not_allowed", &pinned.raw);
    }

    /// Keys that are expired, revoked or replaced.
    pub fn ended_keys(&mut self) {
        let gone = Ask::chat().header("X-Keyside-Label", "gone");
        assert_eq!(self.ask("credential_revoked", gone), 401);
        eventually("the short-lived key expires", || {
            let short = Ask::chat().header("X-Keyside-Label", "short");
            (self.ask("credential_expired", short) == 401).then_some(())
        });
    }

    /// Aborted and malformed requests, each with the client's own credential.
    pub fn malformed_requests(&mut self) {
        let own = self.own.text();
        let head = "POST /openai/v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nX-Keyside-Workspace: acme\r\nConnection: close\r\n";
        for bytes in [
            format!("{head}Authorization : Bearer {own}\r\n\r\n"),
            format!("{head}Authorization: Bearer {own}\u{1}\r\n\r\n"),
            format!("{head}{own}\r\n\r\n"),
            format!("{head}Content-Length: {own}\r\n\r\n"),
            format!("{head}Transfer-Encoding: {own}\r\n\r\n"),
            format!("{head}Transfer-Encoding: chunked\r\n\r\n{own}\r\n\r\n"),
            format!("{head}Host: {own}\r\n\r\n"),
            format!("{head}X-Api-Key: {own}\nAuthorization: {own}\r\n\r\n"),
            format!(
                "GET http://{own}@localhost/openai/v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n"
            ),
            format!("GET /openai/v1/models?key={own} HTTP/9.9\r\nHost: localhost\r\n\r\n"),
            format!("CONNECT {own}:443 HTTP/1.1\r\nHost: {own}:443\r\nConnection: close\r\n\r\n"),
            format!("{own}\r\n\r\n"),
            format!("{head}Authorization: Bearer {own}\r\nX-Never-Ending: "),
            format!("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{own}{own}{own}"),
        ] {
            let mut wire = self.keyside.wire();
            let answer = raw(&mut wire, bytes.as_bytes());
            self.sweep.saw(&format!("the answer to {bytes:?}"), &answer);
        }
    }

    /// The upstream's echoes of the key are masked before the client reads them.
    pub fn echoes(&mut self) {
        for (case, status) in [
            ("echo in a body", 401),
            ("echo in headers", 401),
            ("echo in a stream", 200),
            ("echo in trailers", 200),
        ] {
            assert_eq!(
                self.ask(case, Ask::chat().header("X-Case", case)),
                status,
                "{case}"
            );
        }
    }

    pub fn broken_upstreams(&mut self) {
        for (case, status) in [
            ("cut in its head", 502),
            ("no HTTP", 502),
            ("a bad header", 502),
            ("a bad status", 502),
        ] {
            assert_eq!(
                self.ask(case, Ask::chat().header("X-Case", case)),
                status,
                "{case}"
            );
        }
        assert_eq!(self.ask("cut", Ask::chat().header("X-Case", "cut")), 200);
    }

    /// The key in the wrong fields of the admin API.
    pub fn mistakes_at_the_admin_api(&mut self) {
        let key = self.key.text().to_owned();
        let whole =
            json!({ "workspaceId": "acme", "provider": "openai", "label": "x", "secret": key });
        let with = |field: &str, value: serde_json::Value| {
            let mut body = whole.clone();
            body[field] = value;
            body.to_string()
        };
        let text = whole.to_string();
        for body in [
            with("label", json!("default")),
            with("workspaceId", json!("nobody")),
            with("provider", json!("nosuch")),
            with("provider", json!(key)),
            with("environment", json!(key)),
            with("expiresAt", json!(key)),
            with("default", json!(key)),
            with("endpoint", json!(format!("https://{key}.example"))),
            with("secret", json!({ "value": key })),
            with("secret", json!([key])),
            with("secret", json!(format!("{key}\r\nX: {key}"))),
            with("secret", json!(format!("{key}\u{0}{key}"))),
            with("secret", json!(key.repeat(200))),
            with(&key, json!("a field of this name")),
            json!(key).to_string(),
            json!([key]).to_string(),
            text[..text.len() - 1].to_owned(),
            format!("{text}{key}"),
            key.clone(),
        ] {
            self.admin_refuses("POST", CREDENTIALS, &body, None);
        }
        for (method, path) in [
            ("GET", format!("{CREDENTIALS}/{key}")),
            ("DELETE", format!("{CREDENTIALS}/{key}")),
            ("PUT", format!("{CREDENTIALS}/{key}")),
            ("GET", format!("{CREDENTIALS}?status={key}")),
            ("GET", format!("{CREDENTIALS}?cursor={key}")),
            ("GET", format!("{CREDENTIALS}?{key}={key}")),
            ("GET", format!("/api/workspaces/{key}")),
            ("GET", format!("/api/runs?limit={key}")),
            ("GET", format!("/{key}")),
        ] {
            self.admin_refuses(method, &path, "", None);
        }
        self.admin_refuses("GET", CREDENTIALS, "", Some(&key));
        let broken = format!("GET {CREDENTIALS} HTTP/1.1\r\nAuthorization : {key}\r\n\r\n");
        let answer = raw(&mut Wire::tcp(self.keyside.admin_addr()), broken.as_bytes());
        self.sweep.saw("the admin API's answer to no HTTP", &answer);
    }

    fn admin_refuses(&mut self, method: &str, path: &str, body: &str, token: Option<&str>) {
        let own = self.keyside.token();
        let ask = Ask::new(method, path)
            .set("Host", &self.keyside.admin_addr().to_string())
            .header("Authorization", format!("Bearer {}", token.unwrap_or(&own)))
            .header("Content-Type", "application/json")
            .body(body.as_bytes());
        let answer = Wire::tcp(self.keyside.admin_addr()).ask(&ask);
        let status = answer.status();
        assert!(
            (400..500).contains(&status),
            "{method} {path} {body}: {status}"
        );
        self.sweep.saw(
            &format!("the answer to {method} {path} {body}"),
            &answer.raw,
        );
    }

    pub fn command_line(&mut self) {
        let builder = self.keyside.cli();
        let file = builder.home().join("secret");
        fs::write(&file, self.key.text()).expect("a writable folder");
        let key = self.key.text().as_bytes();
        let add = [
            "key",
            "add",
            "--workspace",
            "acme",
            "--provider",
            "openai",
            "--label",
        ];
        for (more, stdin, code) in [
            (
                [&add[..], &["from-a-file", "--secret-file", "secret"]].concat(),
                &b""[..],
                0,
            ),
            (
                [&add[..], &["from-stdin", "--stdin", "--json"]].concat(),
                key,
                0,
            ),
            ([&add[..], &["from-stdin", "--stdin"]].concat(), key, 1),
            (
                [&add[..], &["no-such-file", "--secret-file", "nosuch"]].concat(),
                key,
                1,
            ),
            ([&add[..], &["nowhere"]].concat(), key, 2),
            (vec!["key", "list"], b"", 0),
            (vec!["key", "list", "--json"], b"", 0),
            (vec!["check"], b"", 0),
        ] {
            let exit = builder.run(&more, stdin);
            assert_eq!(exit.code, Some(code), "{more:?}: {exit:#?}");
            self.sweep
                .saw(&format!("{more:?} says"), exit.stdout.as_bytes());
            self.sweep
                .saw(&format!("{more:?} says in error"), exit.stderr.as_bytes());
        }
        for view in self.keyside.everything() {
            let id = view["id"].as_str().expect("an id");
            let exit = builder.run(&["key", "show", id], b"");
            assert_eq!(exit.code, Some(0), "{exit:#?}");
            self.sweep.saw("key show says", exit.stdout.as_bytes());
        }
        fs::remove_file(&file).expect("the file");
    }
}

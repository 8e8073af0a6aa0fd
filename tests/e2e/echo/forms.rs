//! The key escaped for URLs, JSON or HTML, completely or partly.

use crate::harness::{Ask, KEY, Keyside, Pair, Then, Upstream, chunk_of, chunked_head, reply};

/// The key with each byte that `which` picks, by its place, in another form.
fn escaped(which: impl Fn(usize) -> bool, form: impl Fn(u8) -> String) -> String {
    let bytes = KEY.bytes().enumerate();
    let forms = bytes.map(|(at, byte)| match which(at) {
        true => form(byte),
        false => char::from(byte).to_string(),
    });
    forms.collect()
}

fn forms() -> Vec<(&'static str, String)> {
    let all = |_: usize| true;
    let first = |at: usize| at == 0;
    let last = |at: usize| at == KEY.len() - 1;
    let some = |at: usize| at % 3 == 1;
    let lower = |byte: u8| format!("%{byte:02x}");
    let upper = |byte: u8| format!("%{byte:02X}");
    let twice = |byte: u8| format!("%25{byte:02x}");
    let json = |byte: u8| format!("\\u{byte:04x}");
    let json_upper = |byte: u8| format!("\\u{byte:04X}");
    let json_twice = |byte: u8| format!("\\\\u{byte:04x}");
    let html = |byte: u8| format!("&#{byte};");
    let html_hex = |byte: u8| format!("&#x{byte:X};");
    let c = |byte: u8| format!("\\x{byte:02x}");
    vec![
        ("as a URL, all of it", escaped(all, lower)),
        ("as a URL, upper case", escaped(all, upper)),
        ("as a URL, the first byte", escaped(first, lower)),
        ("as a URL, the last byte", escaped(last, upper)),
        ("as a URL, some bytes", escaped(some, lower)),
        ("as a URL in a URL", escaped(some, twice)),
        ("as JSON, all of it", escaped(all, json)),
        ("as JSON, upper case", escaped(all, json_upper)),
        ("as JSON, the first byte", escaped(first, json)),
        ("as JSON, the last byte", escaped(last, json)),
        ("as JSON, some bytes", escaped(some, json_upper)),
        ("as JSON in JSON", escaped(some, json_twice)),
        ("as HTML", escaped(some, html)),
        ("as HTML, all of it", escaped(all, html_hex)),
        ("as C", escaped(some, c)),
        (
            "as several at once",
            escaped(first, json).replacen('-', "%2d", 1),
        ),
    ]
}

fn stars(text: &str) -> String {
    "*".repeat(text.len())
}

#[test]
fn a_key_of_which_any_part_is_escaped_is_masked() {
    let pair = Pair::new();
    for (name, form) in forms() {
        let body = format!(r#"{{"error":"wrong key {form}{form}, 100% \n {KEY}"}}"#);
        let masked = body.replace(&form, &stars(&form)).replace(KEY, &stars(KEY));
        let (_, answer) = pair.exchange(&Ask::chat(), reply(401, "", body.as_bytes()));
        assert_eq!(answer.text(), masked, "{name}");
        assert!(answer.is_whole(), "{name}: {:?}", answer.ending);
    }
}

#[test]
fn an_escaped_key_is_masked_at_every_chunk_boundary() {
    let forms = forms();
    let some = |(name, _): &&(&str, String)| name.ends_with("some bytes");
    for (_, form) in forms.iter().filter(some) {
        let sent = form.clone();
        let upstream = Upstream::scripted(move |seen, line| {
            let cut: usize = seen
                .header("x-cut")
                .and_then(|cut| cut.parse().ok())
                .expect("a cut");
            line.write(chunked_head(""));
            line.write(chunk_of(b"a "));
            let (start, rest) = sent.as_bytes().split_at(cut);
            for piece in [start, rest] {
                if !piece.is_empty() {
                    line.write(chunk_of(piece));
                }
            }
            line.write(chunk_of(b" z"));
            line.write("0\r\n\r\n");
            Then::Keep
        });
        let keyside = Keyside::with_openai(&upstream.base_url());
        let mut wire = keyside.wire();
        for cut in 0..=form.len() {
            let answer = wire.ask(&Ask::chat().header("X-Cut", cut.to_string()));
            let masked = format!("a {} z", stars(form));
            assert_eq!(answer.text(), masked, "cut at {cut}");
            assert!(answer.is_whole(), "cut at {cut}");
        }
    }
}

#[test]
fn a_key_of_odd_characters_is_masked_as_json_and_html_have_it() {
    const ODD: &str = "sk+/odd\"chars\\and&more%25=<0123456789>";
    let json = serde_json::Value::from(ODD).to_string();
    let in_json = |text: &str| {
        let json = serde_json::Value::from(text).to_string();
        json[1..json.len() - 1].to_owned()
    };
    let once = in_json(ODD);
    let html = ODD
        .replace('&', "&amp;")
        .replace('"', "&quot;")
        .replace('<', "&lt;")
        .replace('>', "&gt;");
    let upstream = Upstream::answering(|seen| {
        let form = seen.header("x-form").unwrap_or_default();
        reply(200, "", format!("a {form} z").as_bytes())
    });
    let keyside = Keyside::builder()
        .provider("openai", &upstream.base_url())
        .start();
    keyside.workspace("acme");
    keyside.add_key("acme", "openai", "default", ODD);
    for form in [
        ODD.to_owned(),
        json[1..json.len() - 1].replace('/', "\\/"),
        in_json(&once),
        html,
        ODD.replace('%', "%25")
            .replace('+', "%2b")
            .replace('/', "%2F"),
        once.replace('<', "\\u003c").replace('&', "\\u0026"),
    ] {
        let answer = keyside.ask(&Ask::chat().header("X-Form", &form));
        assert_eq!(answer.text(), format!("a {} z", stars(&form)), "{form}");
    }
}

#[test]
fn escapes_of_other_text_are_unchanged() {
    let half = &KEY[..KEY.len() - 1];
    let pair = Pair::new();
    for body in [
        r#"{"text":"100%, C:\\new\t\u2019 \"quoted\" & &amp; %20 %e2%82%ac\n"}"#.to_owned(),
        format!("{half} {half}%37%37 %73{half} \\u0073 {half}\\u003"),
        format!("{}%", escaped(|at| at < 5, |byte| format!("%{byte:02x}"))).replace("Q7", "Q8"),
        "%7\\u00\\".to_owned(),
    ] {
        let masked = body.replace(&format!("{half}%37"), &stars(&format!("{half}%37")));
        let (_, answer) = pair.exchange(&Ask::chat(), reply(200, "", body.as_bytes()));
        assert_eq!(answer.text(), masked);
    }
}

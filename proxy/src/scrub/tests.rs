use super::*;

fn secret(text: &str) -> Secret {
    Secret::from_plaintext(text.into()).unwrap()
}

fn scrub(text: &str) -> Scrub {
    Scrub::new(secret(text), Vec::new())
}

fn through(mut scrub: Scrub, chunks: &[&[u8]]) -> String {
    let mut out = Vec::new();
    for chunk in chunks {
        out.extend_from_slice(&scrub.push(Bytes::copy_from_slice(chunk)));
    }
    out.extend(scrub.finish().into_iter().flatten());
    String::from_utf8(out).unwrap()
}

/// Sends `body` byte by byte, and in three pieces for every pair of cuts.
fn check_at_every_cut(scrub: impl Fn() -> Scrub, body: &str, expected: &str) {
    let bytes = body.as_bytes();
    check_at_each_cut(&scrub, body, expected);
    for a in 0..=bytes.len() {
        for b in a..=bytes.len() {
            let out = through(scrub(), &[&bytes[..a], &bytes[a..b], &bytes[b..]]);
            assert_eq!(out, expected, "{body:?} cut at {a} and {b}");
        }
    }
}

/// The same in at most two pieces.
fn check_at_each_cut(scrub: impl Fn() -> Scrub, body: &str, expected: &str) {
    let bytes = body.as_bytes();
    let singly: Vec<_> = bytes.chunks(1).collect();
    assert_eq!(through(scrub(), &singly), expected, "{body:?} byte by byte");
    for a in 0..=bytes.len() {
        let out = through(scrub(), &[&bytes[..a], &bytes[a..]]);
        assert_eq!(out, expected, "{body:?} cut at {a}");
    }
}

fn stars(text: &str) -> String {
    "*".repeat(text.len())
}

#[test]
fn a_secret_is_masked_at_every_pair_of_cuts() {
    let (plain, escaped) = ("sk+aasksk+aa1", "sk%2Baasksk%2Baa1");
    let body = format!("one {plain} sk+aa {plain}{plain} {escaped} sk%2Baa sk+aasks");
    let expected = body
        .replace(plain, &stars(plain))
        .replace(escaped, &stars(escaped));
    check_at_every_cut(|| scrub(plain), &body, &expected);
}

#[test]
fn a_secret_is_masked_in_every_form_that_escapes_some_of_it() {
    let plain = "sk-+/\"a\\b&c%d";
    for form in [
        "sk-%2b/\"a\\b&c%d",
        "%73k-+/\"a\\b&c%d",
        "%73%6B%2d%2B%2F%22%61%5c%62%26%63%25%64",
        "sk-%252B/\"a\\b&c%d",
        "sk-+\\/\\\"a\\\\b&c%d",
        "\\u0073\\u006b\\u002D+/\"a\\b\\u0026c%d",
        "sk-+\\\\/\\\\\\\"a\\\\\\\\b&c%d",
        "sk-\\\\u002b/\"a\\b&c%d",
        "\\x73k-\\x2B/\"a\\b&c%d",
        "sk-&#43;&#x2F;&quot;a&#92;b&amp;c&#0037;d",
        "sk-+/\"a\\b&amp;amp;c%d",
        "sk-+/\"a\\b\\u0026amp;c\\u0025d",
        "sk-%5C%2B%5c%2f%5C%22a%5C%5Cb%26c%25d",
    ] {
        let body = format!("a {form}, b");
        let expected = format!("a {}, b", stars(form));
        check_at_every_cut(|| scrub(plain), &body, &expected);
    }
}

#[test]
fn escapes_of_other_text_pass_unchanged() {
    let plain = "sk-aaskb1";
    for body in [
        r#"{"delta":"sk-\n\u2019%20\"a\\n&amp; sk%2Daask"}"#,
        "100% of sk-%, 5%4, \\",
        "%%%73k%%%73k-&#; &#115;k-&#115&",
        "\\u\\u00\\u0073k\\u002d\\u0061ask",
        "sk-aask\\u0062",
    ] {
        check_at_every_cut(|| scrub(plain), body, body);
    }
}

#[test]
fn every_secret_of_a_credential_is_masked_the_longest_first() {
    let (new, old, older) = ("sk-aab-aab-1", "sk-aab-aab-12", "k-aab-aab");
    let all = || Scrub::new(secret(new), vec![secret(old), secret(older)]);
    let body = format!("{old} {new} {older}{new} sk-aab-aab k%2daab-aab");
    let expected = body
        .replace(old, &stars(old))
        .replace(new, &stars(new))
        .replace(older, &stars(older))
        .replace("k%2daab-aab", &stars("k%2daab-aab"));
    check_at_every_cut(all, &body, &expected);
}

/// Xorshift: the same cases in every run.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % bound as u64).unwrap()
    }

    fn one_of<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }

    fn case(&mut self, text: String) -> String {
        match self.below(2) {
            0 => text.to_uppercase(),
            _ => text.to_lowercase(),
        }
    }

    /// A random form of a byte, escaped by an independent implementation of the rules.
    fn form(&mut self, byte: char, layers: usize) -> String {
        let code = u32::from(byte);
        let digits = self.case(format!("{code:02x}"));
        if layers == 0 {
            return byte.to_string();
        }
        let introducer = |dice: &mut Self, byte| dice.form(byte, layers - 1);
        match self.below(6) {
            0 => introducer(self, '%') + &digits,
            1 => introducer(self, '\\') + "u00" + &digits,
            2 => introducer(self, '&') + "#" + &code.to_string() + ";",
            3 => introducer(self, '&') + "#x" + &digits + ";",
            4 if byte.is_ascii_punctuation() => introducer(self, '\\') + &byte.to_string(),
            _ => byte.to_string(),
        }
    }
}

#[test]
fn secrets_and_texts_at_random_are_masked_alike_at_every_cut() {
    let mut dice = Dice(0x9e37_79b9_7f4a_7c15);
    for _ in 0..60 {
        // Few different letters, so that much of the text looks like the beginning of the secret.
        let plain: String = (0..8 + dice.below(3))
            .map(|_| dice.one_of(&["a", "b", "/"]))
            .collect();
        let mut body = String::new();
        let mut expected = String::new();
        for _ in 0..2 {
            let noise = dice.one_of(&["", "Z", "Zaab/", "Z%2", "Z\\u00", "Z%5C", "Z&#9", "Z\\"]);
            let form: String = plain.chars().map(|byte| dice.form(byte, 2)).collect();
            // The text before a form must not be readable as part of it.
            let between = format!("{noise}Z");
            body += &(between.clone() + &form);
            expected += &(between + &stars(&form));
        }
        body += "Z";
        expected += "Z";
        check_at_each_cut(|| scrub(&plain), &body, &expected);
    }
}

#[test]
fn a_secret_that_can_be_read_in_several_ways_is_masked_alike_at_every_cut() {
    let mut dice = Dice(0x2545_f491_4f6c_dd1d);
    let pieces = [
        "%", "2", "5", "25", "\\", "u0025", "&", "amp;", "#38;", "\\u005c", "%5c", "a",
    ];
    for _ in 0..60 {
        let mut plain = String::new();
        while plain.len() < 8 {
            plain += dice.one_of(&pieces);
        }
        let mut body = String::new();
        for _ in 0..6 {
            body += match dice.below(3) {
                0 => plain.as_str(),
                _ => dice.one_of(&pieces),
            };
        }
        body += &plain;
        let expected = through(scrub(&plain), &[body.as_bytes()]);
        assert!(!expected.contains(&*plain), "{plain:?} in {expected:?}");
        assert_eq!(expected.len(), body.len(), "{plain:?} in {body:?}");
        check_at_each_cut(|| scrub(&plain), &body, &expected);
    }
}

#[test]
fn a_secret_of_backslashes_only_costs_no_more_than_others() {
    let body = "\\".repeat(4_000);
    let out = through(scrub(&"\\".repeat(40)), &[body.as_bytes()]);
    assert_eq!(out.len(), body.len());
    assert!(!out.contains(&"\\".repeat(40)));
}

#[test]
fn a_chunk_without_the_secret_is_passed_on_as_it_is() {
    for text in [
        "data: {\"delta\":\"hello\"}\n\n",
        "data: {\"delta\":\"\\n\\u2019 100%\"}\n\n",
    ] {
        let chunk = Bytes::from_static(text.as_bytes());
        let passed = scrub("canary-0123456789").push(chunk.clone());
        assert_eq!(passed, chunk);
        assert_eq!(passed.as_ptr(), chunk.as_ptr());
    }
}

#[test]
fn only_a_possible_beginning_of_the_secret_is_held_back() {
    for (chunk, waits) in [
        ("as an", 0),
        ("as a c", 1),
        ("as a can", 3),
        ("as a c%61n", 5),
        ("as a \\u0063a", 7),
        ("100%", 1),
        ("100%6", 2),
        ("100%7", 2),
        ("100%z", 0),
        ("a line\\", 1),
        ("a line\\n", 0),
        ("\\u2", 0),
    ] {
        let mut scrub = scrub("canary-0123456789");
        let passed = scrub.push(Bytes::copy_from_slice(chunk.as_bytes()));
        assert_eq!(chunk.len() - passed.len(), waits, "{chunk:?}");
        assert_eq!((scrub.withheld(), scrub.holds()), (waits, waits > 0));
    }
}

#[test]
fn bytes_that_are_released_early_are_still_searched() {
    let plain = "canary-0123456789";
    for cut in 1..plain.len() {
        for (end, masked) in [(&plain[cut..], true), ("and so on", false)] {
            let mut scrub = scrub(plain);
            let mut out = scrub
                .push(Bytes::copy_from_slice(&plain.as_bytes()[..cut]))
                .to_vec();
            out.extend_from_slice(&scrub.release());
            assert_eq!((out.len(), scrub.withheld()), (cut, 0));
            out.extend_from_slice(&scrub.push(Bytes::copy_from_slice(end.as_bytes())));
            out.extend(scrub.finish().into_iter().flatten());
            let shown = match cut < MIN_MASKED {
                true => plain[..cut].to_owned(),
                false => "*".repeat(cut),
            };
            let rest = match masked {
                true => stars(end),
                false => end.to_owned(),
            };
            assert_eq!(
                String::from_utf8(out).unwrap(),
                shown + &rest,
                "cut at {cut}"
            );
        }
    }
}

#[test]
fn a_header_that_echoes_the_secret_is_masked() {
    for (echo, masked) in [
        (
            "https://x/?k=canary-0123456789&a=1",
            "https://x/?k=*****************&a=1",
        ),
        (
            "https://x/?k=canary%2d012345678%39&a=1",
            "https://x/?k=*********************&a=1",
        ),
        (
            "{\"canary\\u002d0123456789\"}",
            "{\"**********************\"}",
        ),
        ("CANARY-0123456789=1; Path=/", "*****************=1; Path=/"),
        ("canary-012345678", "canary-012345678"),
    ] {
        let mut headers = HeaderMap::new();
        headers.insert("location", echo.parse().unwrap());
        scrub("Canary-0123456789").headers(&mut headers);
        assert_eq!(headers["location"], masked);
    }
}

#[test]
fn a_header_whose_name_contains_the_secret_is_removed() {
    for name in [
        "sk-Proj-0123456789",
        "X-sk-proj-0123456789-Echo",
        "sk-proj%2D0123456789",
    ] {
        let mut headers = HeaderMap::new();
        let name: HeaderName = name.parse().unwrap();
        headers.append(name.clone(), "1".parse().unwrap());
        headers.append(name, "2".parse().unwrap());
        headers.insert("sk-proj-012345678", "kept".parse().unwrap());
        scrub("sk-Proj-0123456789").headers(&mut headers);
        assert_eq!(headers.len(), 1, "{headers:?}");
        assert_eq!(headers["sk-proj-012345678"], "kept");
    }
}

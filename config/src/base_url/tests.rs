//! Valid and invalid base URLs.

use super::*;

#[test]
fn a_url_is_split_into_its_parts() {
    let cases = [
        (
            "https://api.openai.com",
            ("api.openai.com", 443, ""),
            "https://api.openai.com",
        ),
        (
            "https://API.example:8443/a/b/",
            ("api.example", 8443, "/a/b"),
            "https://api.example:8443/a/b",
        ),
        (
            "https://a.example:443/",
            ("a.example", 443, ""),
            "https://a.example",
        ),
        (
            "http://[::1]:8080/v1",
            ("::1", 8080, "/v1"),
            "http://[::1]:8080/v1",
        ),
        (
            "http://localhost",
            ("localhost", 80, ""),
            "http://localhost",
        ),
    ];
    for (text, parts, shown) in cases {
        let url = BaseUrl::parse(text, false).unwrap();
        assert_eq!((url.host.as_str(), url.port, url.path.as_str()), parts);
        assert_eq!(url.to_string(), shown);
    }
}

#[test]
fn anything_more_or_less_is_refused() {
    let cases = [
        (
            BaseUrlError::Scheme,
            &["api.openai.com", "ftp://a", "HTTPS://a", "", "//a"][..],
        ),
        (
            BaseUrlError::Userinfo,
            &["https://user@a", "https://a:b@c", "https://@a"],
        ),
        (
            BaseUrlError::Host,
            &[
                "https://",
                "https:///a",
                "https://a b",
                "https://-a",
                "https://a..b",
                "https://[::1",
                "https://[::1]x",
                "https://a\\b",
                "https://\u{e9}.example",
                "https://a%2eb",
            ],
        ),
        (
            BaseUrlError::Port,
            &[
                "https://a:",
                "https://a:0",
                "https://a:65536",
                "https://a:+1",
                "https://a:x",
                "https://a:1:2",
                "https://[::1]:",
            ],
        ),
        (
            BaseUrlError::Path,
            &[
                "https://a//",
                "https://a/b//c",
                "https://a/..",
                "https://a/./b",
                "https://a?b",
                "https://a?b/",
                "https://a#b",
                "https://a/b?c",
                "https://a/b#c",
                "https://a/%2e",
                "https://a/b c",
            ],
        ),
    ];
    for (error, texts) in cases {
        for text in texts {
            assert_eq!(BaseUrl::parse(text, true), Err(error), "{text}");
        }
    }
}

#[test]
fn plaintext_stays_on_this_machine_unless_it_is_allowed() {
    for text in [
        "http://127.0.0.1",
        "http://127.9.9.9",
        "http://[::1]",
        "http://localhost",
    ] {
        assert!(BaseUrl::parse(text, false).is_ok(), "{text}");
    }
    for text in [
        "http://10.0.0.1",
        "http://0.0.0.0",
        "http://127.1",
        "http://localhost.example",
        "http://[::ffff:10.0.0.1]",
    ] {
        assert_eq!(
            BaseUrl::parse(text, false),
            Err(BaseUrlError::Plaintext),
            "{text}"
        );
        assert!(BaseUrl::parse(text, true).is_ok(), "{text}");
    }
}

#[test]
fn only_a_name_under_invalid_is_a_placeholder() {
    for (text, expected) in [
        ("https://sandbox.invalid", true),
        ("https://invalid", true),
        ("https://invalid.example", false),
        ("https://notinvalid", false),
        ("http://127.0.0.1:7383", false),
    ] {
        let url = BaseUrl::parse(text, false).unwrap();
        assert_eq!(url.is_placeholder(), expected, "{text}");
    }
}

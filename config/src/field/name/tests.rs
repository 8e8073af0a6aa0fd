use super::*;

fn readings(written: &str) -> Vec<String> {
    let readings = std::cell::RefCell::new(Vec::new());
    NormalName::any_of_parameter(written, |name| {
        readings.borrow_mut().push(name.as_str().to_owned());
        false
    });
    readings.into_inner()
}

#[test]
fn spellings_of_a_header_are_one_name() {
    for spelling in [
        "X-Api-Key",
        "x_api_key",
        "x--api-key",
        "-x-api-key-",
        "$x.api.key",
    ] {
        let name = spelling.parse::<HeaderName>().unwrap();
        assert_eq!(
            NormalName::of_header(&name).as_str(),
            "x-api-key",
            "{spelling}"
        );
    }
}

#[test]
fn spellings_of_a_parameter_are_one_name() {
    for spelling in [
        "api-key",
        "api_key",
        "API_KEY",
        "apiKey",
        "APIKey",
        "$api_key",
        "%24api_key",
        "%2524api_key",
        "%25252524api_key",
        "%61pi%5Fkey",
        "%u0061pi_key",
        "api+key",
        "api%20key",
        "+api_key+",
        "api.key",
        "api_key%00",
        "api_key%00beyond",
        "api_key[]",
        "api_key[0]",
        "api_key%5B%5D",
        "api_key%3Dv",
        "a%26api_key",
        "ap%C4%B1_%E2%84%AAey",
        "%EF%BD%81pi_key",
        "%ff_api_key",
    ] {
        let readings = readings(spelling);
        assert!(
            readings.iter().any(|name| name == "api-key"),
            "{spelling}: {readings:?}"
        );
    }
}

#[test]
fn an_invalid_escape_stays_unchanged() {
    for (written, expected) in [
        ("%6", "6"),
        ("%zzkey", "zzkey"),
        ("%6%31", "a"),
        ("%", ""),
        ("%uD800key", "key"),
        ("%u12", "u12"),
    ] {
        assert_eq!(readings(written)[0], expected, "{written}");
    }
}

#[test]
fn letters_are_compared_across_word_boundaries() {
    let name = "x-goog-api-key".parse::<HeaderName>().unwrap();
    let name = NormalName::of_header(&name);
    let other = "xgoogapikey".parse::<HeaderName>().unwrap();
    assert!(name.is_same_as(&NormalName::of_header(&other)));
    assert!(name.begins_with("xgoog") && !name.begins_with("goog"));
    assert!(name.ends_with("apikey") && !name.ends_with("api"));
    let parts = |initial: u8| -> &'static [&'static str] {
        match initial {
            b'g' => &["google", "googapi"],
            _ => &[],
        }
    };
    assert!(name.holds_any(parts));
    assert_eq!(
        name.words().collect::<Vec<_>>(),
        ["x", "goog", "api", "key"]
    );
}

#[test]
fn a_name_of_nested_escapes_is_undone_in_one_pass() {
    let written = format!("%{}6bey", "25".repeat(100_000));
    assert_eq!(readings(&written)[0], "key");
}

#[test]
fn a_member_of_a_parameter_is_not_a_separate_name() {
    for written in [
        "metadata[api_key]",
        "metadata%5Bapi_key%5D",
        "a[b][api_key]",
    ] {
        let readings = readings(written);
        assert!(
            readings.iter().all(|name| !name.contains("key")),
            "{written}: {readings:?}"
        );
    }
    for written in ["[api_key]", "$[api_key]", "%5Bapi_key", "api[key"] {
        let readings = readings(written);
        assert!(
            readings.iter().any(|name| name == "api-key"),
            "{written}: {readings:?}"
        );
    }
}

//! Durations as people write them: an integer and a unit.

use std::time::Duration;

use serde::{Deserialize, Deserializer, de::Error};

/// Units in milliseconds. `ms` comes before `s`, because both end in `s`.
const UNITS: [(&str, u64); 4] = [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000)];

/// Seven days. Much longer durations would overflow the clock they are added to.
const MAX_DURATION: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// Parses `250ms`, `10s`, `5m` or `1h`.
fn parse(text: &str) -> Option<Duration> {
    let (digits, unit) = UNITS
        .iter()
        .find_map(|(suffix, unit)| Some((text.strip_suffix(suffix)?, unit)))?;
    let number: u64 = digits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| digits.parse().ok())??;
    number.checked_mul(*unit).map(Duration::from_millis)
}

/// For serde: a duration that may be zero.
pub(crate) fn any<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let duration = parse(&String::deserialize(from)?);
    let duration = duration.ok_or(r#"expected a duration such as "250ms", "10s", "5m" or "1h""#);
    let bounded = duration.and_then(|duration| match duration <= MAX_DURATION {
        true => Ok(duration),
        false => Err("expected a duration of at most \"168h\""),
    });
    bounded.map_err(D::Error::custom)
}

/// For serde: a duration that is not zero.
pub(crate) fn positive<'de, D: Deserializer<'de>>(from: D) -> Result<Duration, D::Error> {
    let duration = any(from)?;
    match duration.is_zero() {
        true => Err(D::Error::custom("expected a duration longer than zero")),
        false => Ok(duration),
    }
}

/// For serde: [`positive`], for an optional key.
pub(crate) fn optional<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Duration>, D::Error> {
    positive(from).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_and_a_unit_is_a_duration() {
        let cases = [
            ("250ms", 250),
            ("10s", 10_000),
            ("5m", 300_000),
            ("1h", 3_600_000),
            ("0s", 0),
        ];
        for (text, millis) in cases {
            assert_eq!(parse(text), Some(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused() {
        for text in [
            "",
            "10",
            "s",
            "-1s",
            "+1s",
            "1.5s",
            "1 s",
            "1d",
            "18446744073709551615h",
            "99999999999999999999s",
        ] {
            assert_eq!(parse(text), None, "{text}");
        }
    }
}

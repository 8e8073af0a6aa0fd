//! Parses durations such as `24h`, and end times.

use std::time::Duration;

use keyside_credentials::Timestamp;

/// Parses `0`, `90s`, `30m`, `24h` or `7d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let expected = || "expected 0, or a number and s, m, h or d, such as 24h".to_owned();
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    let (number, unit) = text.split_at(text.len() - text.chars().last().map_or(0, char::len_utf8));
    let seconds = UNITS.iter().find(|(name, _)| *name == unit);
    let (_, seconds) = seconds.ok_or_else(expected)?;
    let number: u64 = number.parse().map_err(|_| expected())?;
    let seconds = number.checked_mul(*seconds).ok_or_else(expected)?;
    Ok(Duration::from_secs(seconds))
}

/// Parses a time, or a date as its start in UTC.
pub(crate) fn end(text: &str) -> Result<Timestamp, String> {
    let time = text.parse::<Timestamp>();
    let time = time.or_else(|_| format!("{text}T00:00:00Z").parse());
    time.map_err(|_| {
        "expected a time such as 2027-01-31T12:00:00Z, or a date such as 2027-01-31".to_owned()
    })
}

const UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_end_is_a_time_or_a_date() {
        let midnight: Timestamp = "2027-01-31T00:00:00Z".parse().unwrap();
        assert_eq!(end("2027-01-31"), Ok(midnight));
        assert_eq!(end("2027-01-31T00:00:00Z"), Ok(midnight));
        for text in ["", "2027", "2027-02-31", "tomorrow", "2027-01-31T12:00"] {
            assert!(end(text).is_err(), "{text:?}");
        }
    }

    #[test]
    fn a_duration_is_a_number_with_its_unit() {
        for (text, seconds) in [
            ("0", Some(0)),
            ("90s", Some(90)),
            ("30m", Some(1_800)),
            ("24h", Some(86_400)),
            ("7d", Some(604_800)),
            ("", None),
            ("24", None),
            ("h", None),
            ("1.5h", None),
            ("-1h", None),
            ("7µ", None),
            ("99999999999999999999d", None),
            ("999999999999999999d", None),
        ] {
            let read = duration(text).ok().map(|read| read.as_secs());
            assert_eq!(read, seconds, "{text:?}");
        }
    }
}

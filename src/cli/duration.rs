//! Durations as arguments: a number and one of s, m, h and d.

use std::time::Duration;

/// `0`, `90s`, `30m`, `24h`, `7d`.
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

const UNITS: [(&str, u64); 4] = [("s", 1), ("m", 60), ("h", 3_600), ("d", 86_400)];

#[cfg(test)]
mod tests {
    use super::*;

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

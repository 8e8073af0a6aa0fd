//! Numbers as people read them. `admin/assets/preview.js` writes them in the same way.

/// A number with commas between thousands: `12,345`.
pub(super) fn count(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration: `1,235 ms`.
pub(super) fn milliseconds(number: u64) -> String {
    format!("{} ms", count(number))
}

/// A duration in microseconds, rounded: `1,235 ms`.
pub(super) fn microseconds(number: u64) -> String {
    milliseconds(number.saturating_add(500) / 1000)
}

/// In a table, where a number is unknown.
pub(super) fn none() -> String {
    "–".to_owned()
}

/// What is unknown is not zero.
pub(super) fn known(text: Option<String>) -> String {
    text.unwrap_or_else(|| "unknown".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_separated() {
        for (number, expected) in [
            (0, "0"),
            (999, "999"),
            (1_000, "1,000"),
            (12_345, "12,345"),
            (1_234_567, "1,234,567"),
        ] {
            assert_eq!(count(number), expected);
        }
    }

    #[test]
    fn a_duration_is_rounded_to_milliseconds() {
        assert_eq!(microseconds(1_499), "1 ms");
        assert_eq!(microseconds(1_234_500), "1,235 ms");
    }
}

//! How much of a cap is spent: the context of the macro `meter` of `macros.html`.

use super::number::count;

pub(super) struct Meter {
    pub(super) what: &'static str,
    /// `812 of 1,000`.
    pub(super) text: String,
    /// `warn` from 80 % on, `bad` at the cap.
    pub(super) tone: &'static str,
    /// Percent of the cap, at most 100.
    pub(super) width: u64,
}

impl Meter {
    pub(super) fn new(what: &'static str, spent: u64, cap: u64) -> Self {
        // More than the cap is spent if the cap was lowered.
        let percent = spent.saturating_mul(100) / cap.max(1);
        Self {
            what,
            text: format!("{} of {}", count(spent), count(cap)),
            tone: match percent {
                0..80 => "",
                80..100 => "warn",
                _ => "bad",
            },
            width: percent.min(100),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_meter_warns_from_80_percent_on_and_is_full_at_the_cap() {
        for (spent, tone, width, text) in [
            (0, "", 0, "0 of 1,000"),
            (799, "", 79, "799 of 1,000"),
            (800, "warn", 80, "800 of 1,000"),
            (1_000, "bad", 100, "1,000 of 1,000"),
            (u64::MAX, "bad", 100, "18,446,744,073,709,551,615 of 1,000"),
        ] {
            let meter = Meter::new("Requests today", spent, 1_000);
            assert_eq!((meter.tone, meter.width, &*meter.text), (tone, width, text));
        }
    }
}

//! The time of a line, in RFC 3339 with microseconds.
//!
//! Everything but the fraction is formatted once per second and thread.

use std::{
    cell::RefCell,
    fmt::{self, Write},
};

use jiff::Timestamp;

#[expect(
    clippy::disallowed_methods,
    reason = "a log line has the time at which it is written, not the time of an injected clock"
)]
pub(super) fn write_now(line: &mut impl Write) -> fmt::Result {
    write(Timestamp::now(), line)
}

fn write(time: Timestamp, line: &mut impl Write) -> fmt::Result {
    thread_local! {
        static LATEST: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
    }
    LATEST.with_borrow_mut(|(second, text)| {
        if *second != time.as_second() {
            *second = time.as_second();
            *text = time.strftime("%Y-%m-%dT%H:%M:%S.").to_string();
        }
        line.write_str(text)
    })?;
    let micros = time.subsec_microsecond().unsigned_abs();
    // The added leading 1 keeps leading zeros, and is cut off.
    line.write_str(&itoa::Buffer::new().format(1_000_000 + micros)[1..])?;
    line.write_char('Z')
}

#[cfg(test)]
mod tests {
    use super::write;

    #[test]
    fn a_time_is_written_to_the_microsecond() {
        for time in [
            "2026-11-22T18:20:54.859896Z",
            "2026-11-22T18:20:54.000007Z",
            "2026-11-22T18:20:55.000000Z",
            "1999-12-31T23:59:59.999999Z",
        ] {
            let mut line = String::new();
            write(time.parse().unwrap(), &mut line).unwrap();
            assert_eq!(line, time);
        }
    }
}

//! Splits a JSON body into messages: one, several in sequence (newline-delimited, or a JSON text
//! sequence), or a list, which is how Gemini streams to clients that do not request events.

use super::{Unreadable, rules::Rules, scanner::Scanner, tally::Tally};

/// Splits a body into messages.
#[derive(Default)]
pub(super) struct Body {
    scanner: Scanner,
    position: Position,
}

/// The position of the next byte.
#[derive(Clone, Copy, Default)]
enum Position {
    /// Before the first value.
    #[default]
    Start,
    /// Between messages, inside a list or not.
    Between {
        listed: bool,
    },
    Message {
        listed: bool,
    },
    /// After something that is not a message, such as a string. The rest is not read either.
    Elsewhere,
}

impl Body {
    pub(super) fn push(
        &mut self,
        mut bytes: &[u8],
        rules: &Rules,
        tally: &mut Tally,
    ) -> Result<(), Unreadable> {
        while let Some(first) = bytes.first() {
            let taken = match self.position {
                Position::Elsewhere => bytes.len(),
                Position::Message { listed } => self.message(bytes, listed, rules, tally),
                Position::Start | Position::Between { .. } => self.between(*first),
            };
            bytes = &bytes[taken..];
        }
        Ok(())
    }

    /// Handles a byte outside of a message; returns 1 if it is consumed, otherwise 0.
    fn between(&mut self, byte: u8) -> usize {
        let listed = matches!(self.position, Position::Between { listed: true });
        let is_first = matches!(self.position, Position::Start);
        self.position = match byte {
            b' ' | b'\t' | b'\n' | b'\r' | RECORD_SEPARATOR => return 1,
            b'{' => {
                self.scanner.restart();
                self.position = Position::Message { listed };
                return 0;
            }
            b'[' if is_first => Position::Between { listed: true },
            b',' if listed => return 1,
            _ => Position::Elsewhere,
        };
        1
    }

    fn message(&mut self, bytes: &[u8], listed: bool, rules: &Rules, tally: &mut Tally) -> usize {
        let Some(taken) = self.scanner.push(bytes, rules, tally) else {
            return bytes.len();
        };
        self.position = match self.scanner.is_whole() {
            true => Position::Between { listed },
            false => Position::Elsewhere,
        };
        tally.end_message(rules);
        taken
    }
}

/// The byte before each value of a JSON text sequence (RFC 7464).
const RECORD_SEPARATOR: u8 = 0x1e;

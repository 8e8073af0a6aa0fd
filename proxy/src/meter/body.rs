//! A body of JSON: one message, several one after another (newline-delimited, or as a JSON text sequence), or a list of
//! them, which is how Gemini streams to those who do not ask for events.

use super::{Unreadable, rules::Rules, scanner::Scanner, tally::Tally};

/// Reads a body.
#[derive(Default)]
pub(super) struct Body {
    scanner: Scanner,
    position: Position,
}

/// Where in the body the next byte stands.
#[derive(Clone, Copy, Default)]
enum Position {
    /// Before the first value.
    #[default]
    Start,
    /// Between messages, in a list or not.
    Between {
        listed: bool,
    },
    Message {
        listed: bool,
    },
    /// Behind anything that is no message: a text, say. What follows it is none either.
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

    /// Decides by a byte outside of a message; returns whether it is taken, as a number of bytes.
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

/// Begins each value of a JSON text sequence (RFC 7464).
const RECORD_SEPARATOR: u8 = 0x1e;

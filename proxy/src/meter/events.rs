//! Server-sent events (the HTML standard, "Interpreting an event stream"): the data of each event is a message.
//!
//! Only line ends and the field `data` matter. What an event's data holds cannot end it: JSON escapes line ends in strings.

use memchr::{memchr2, memmem};

use super::{Unreadable, rules::Rules, scanner::Scanner, tally::Tally};

/// Reads a stream of events.
#[derive(Default)]
pub(super) struct Events {
    scanner: Scanner,
    line: Line,
    /// The last line ended with a carriage return, to which a line feed belongs.
    after_return: bool,
}

/// Where in a line the next byte stands.
#[derive(Clone, Copy)]
enum Line {
    /// Behind so much of the name `data:`.
    Name(usize),
    Data,
    Other,
}

impl Default for Line {
    fn default() -> Self {
        Self::Name(0)
    }
}

impl Events {
    pub(super) fn push(
        &mut self,
        piece: &[u8],
        rules: &Rules,
        tally: &mut Tally,
    ) -> Result<(), Unreadable> {
        let mut rest = self.skip(piece, rules);
        while let Some(first) = rest.first() {
            if std::mem::take(&mut self.after_return) && *first == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let Some(end) = memchr2(b'\n', b'\r', rest) else {
                self.read(rest, rules, tally);
                break;
            };
            self.read(&rest[..end], rules, tally);
            self.end_line(rules, tally);
            self.after_return = rest[end] == b'\r';
            rest = &rest[end + 1..];
        }
        Ok(())
    }

    /// Passes over whole events in which no count can be: nearly all of a stream, and mostly all of a piece.
    fn skip<'a>(&mut self, piece: &'a [u8], rules: &Rules) -> &'a [u8] {
        let is_between = matches!(self.line, Line::Name(0)) && self.scanner.is_at_start();
        if !is_between || rules.may_report(piece) {
            return piece;
        }
        let end = behind_last_event(piece);
        self.after_return &= end == 0;
        &piece[end..]
    }

    /// Reads a part of a line, without its end.
    fn read(&mut self, part: &[u8], rules: &Rules, tally: &mut Tally) {
        let data = match self.line {
            Line::Data => part,
            Line::Other => return,
            Line::Name(seen) => {
                let missing = &DATA[seen..];
                match part.strip_prefix(missing) {
                    Some(data) => data,
                    None if missing.starts_with(part) => {
                        self.line = Line::Name(seen + part.len());
                        return;
                    }
                    None => {
                        self.line = Line::Other;
                        return;
                    }
                }
            }
        };
        self.line = Line::Data;
        self.scanner.push(data, rules, tally);
    }

    fn end_line(&mut self, rules: &Rules, tally: &mut Tally) {
        match std::mem::take(&mut self.line) {
            // An empty line ends an event.
            Line::Name(0) => {
                tally.end_message(rules);
                self.scanner.restart();
            }
            // The lines of an event's data have a line feed between them.
            Line::Data => {
                self.scanner.push(b"\n", rules, tally);
            }
            Line::Name(_) | Line::Other => {}
        }
    }
}

/// How much of a piece is there of events that have ended, as far as two line feeds tell, with or without returns.
fn behind_last_event(piece: &[u8]) -> usize {
    if ENDS.iter().any(|end| piece.ends_with(end)) {
        return piece.len();
    }
    let behind = |end: &&[u8]| memmem::rfind(piece, end).map(|start| start + end.len());
    ENDS.iter().filter_map(behind).max().unwrap_or(0)
}

const ENDS: [&[u8]; 2] = [b"\n\n", b"\n\r\n"];
const DATA: &[u8] = b"data:";

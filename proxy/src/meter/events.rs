//! Parses server-sent events (the HTML standard, "Interpreting an event stream"): the data of each
//! event is a message.
//!
//! Only line ends and the field `data` matter. An event's data cannot contain its end, because JSON
//! escapes line ends in strings.

use memchr::{memchr2, memmem};

use super::{Unreadable, rules::Rules, scanner::Scanner, tally::Tally};

/// Parses a stream of events.
#[derive(Default)]
pub(super) struct Events {
    scanner: Scanner,
    line: Line,
    /// The last line ended with a carriage return; a line feed after it belongs to the same line
    /// end.
    after_return: bool,
}

/// The position in the current line.
#[derive(Clone, Copy)]
enum Line {
    /// After this many bytes of the name `data:`.
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
        chunk: &[u8],
        rules: &Rules,
        tally: &mut Tally,
    ) -> Result<(), Unreadable> {
        let mut rest = self.skip(chunk, rules);
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

    /// Skips whole events that cannot contain a count: nearly all of a stream, and usually the
    /// whole chunk.
    fn skip<'a>(&mut self, chunk: &'a [u8], rules: &Rules) -> &'a [u8] {
        let is_between = matches!(self.line, Line::Name(0)) && self.scanner.is_at_start();
        if !is_between || rules.may_report(chunk) {
            return chunk;
        }
        let end = behind_last_event(chunk);
        self.after_return &= end == 0;
        &chunk[end..]
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
            // The lines of an event's data are joined by line feeds.
            Line::Data => {
                self.scanner.push(b"\n", rules, tally);
            }
            Line::Name(_) | Line::Other => {}
        }
    }
}

/// How many bytes of a chunk belong to events that have ended: up to the last two line feeds, with
/// or without carriage returns.
fn behind_last_event(chunk: &[u8]) -> usize {
    if ENDS.iter().any(|end| chunk.ends_with(end)) {
        return chunk.len();
    }
    let behind = |end: &&[u8]| memmem::rfind(chunk, end).map(|start| start + end.len());
    ENDS.iter().filter_map(behind).max().unwrap_or(0)
}

const ENDS: [&[u8]; 2] = [b"\n\n", b"\n\r\n"];
const DATA: &[u8] = b"data:";

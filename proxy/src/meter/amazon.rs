//! Parses an AWS event stream (`application/vnd.amazon.eventstream`): lengths, headers, a JSON
//! payload.
//!
//! ConverseStream's payloads are the messages themselves. InvokeModelWithResponseStream wraps the
//! messages of the model's own API: `{"bytes":"<base64>","p":"<padding>"}`. Source: the Smithy
//! specification, "Amazon Event Stream".

use super::{Unreadable, rules::Rules, scanner::Scanner, tally::Tally};

/// Parses a stream of messages.
pub(super) struct Messages {
    scanner: Scanner,
    part: Part,
}

/// The part of a message that the next byte belongs to.
#[derive(Clone, Copy)]
enum Part {
    /// The total length, the length of the headers, and a checksum of both; `len` bytes of them
    /// have arrived.
    Prelude {
        bytes: [u8; PRELUDE],
        len: usize,
    },
    /// `left` bytes of headers are missing, then `payload` bytes follow.
    Headers {
        left: usize,
        payload: usize,
    },
    Payload {
        left: usize,
    },
    Checksum {
        left: usize,
    },
}

impl Default for Messages {
    fn default() -> Self {
        Self {
            scanner: Scanner::unwrapping(),
            part: Part::BEGINNING,
        }
    }
}

impl Messages {
    pub(super) fn push(
        &mut self,
        mut bytes: &[u8],
        rules: &Rules,
        tally: &mut Tally,
    ) -> Result<(), Unreadable> {
        while !bytes.is_empty() {
            let wanted = self.part.wanted();
            let (part, rest) = bytes.split_at(wanted.min(bytes.len()));
            if let Part::Payload { .. } = self.part {
                self.scanner.push(part, rules, tally);
            }
            self.part = self.part.after(part)?;
            if let Part::Payload { left: 0 } = self.part {
                tally.end_message(rules);
                self.scanner.restart();
                self.part = Part::Checksum { left: CHECKSUM };
            }
            bytes = rest;
        }
        Ok(())
    }
}

impl Part {
    const BEGINNING: Self = Self::Prelude {
        bytes: [0; PRELUDE],
        len: 0,
    };

    /// How many bytes of the part are missing; at least one.
    fn wanted(self) -> usize {
        match self {
            Self::Prelude { len, .. } => PRELUDE - len,
            Self::Headers { left, .. } | Self::Payload { left } | Self::Checksum { left } => left,
        }
    }

    /// The state after these bytes.
    fn after(self, taken: &[u8]) -> Result<Self, Unreadable> {
        Ok(match self {
            Self::Prelude { mut bytes, len } => {
                let end = len + taken.len();
                bytes[len..end].copy_from_slice(taken);
                match end {
                    PRELUDE => Self::announced(&bytes)?,
                    len => Self::Prelude { bytes, len },
                }
            }
            Self::Headers { left, payload } => match left - taken.len() {
                0 => Self::Payload { left: payload },
                left => Self::Headers { left, payload },
            },
            Self::Payload { left } => Self::Payload {
                left: left - taken.len(),
            },
            Self::Checksum { left } => match left - taken.len() {
                0 => Self::BEGINNING,
                left => Self::Checksum { left },
            },
        })
    }

    /// Parses a complete prelude. Its checksum is left to the client.
    fn announced(prelude: &[u8; PRELUDE]) -> Result<Self, Unreadable> {
        let [a, b, c, d, e, f, g, h, ..] = *prelude;
        let number = |bytes| usize::try_from(u32::from_be_bytes(bytes)).map_err(|_| Unreadable);
        let (all, headers) = (number([a, b, c, d])?, number([e, f, g, h])?);
        let payload = all.checked_sub(PRELUDE + CHECKSUM);
        let payload = payload.and_then(|rest| rest.checked_sub(headers));
        let payload = payload.filter(|_| all <= MAX_MESSAGE).ok_or(Unreadable)?;
        Ok(match headers {
            0 => Self::Payload { left: payload },
            left => Self::Headers { left, payload },
        })
    }
}

/// Bytes: two lengths and a checksum.
const PRELUDE: usize = 12;
const CHECKSUM: usize = 4;
/// Bytes. Headers have at most 128 KiB and a payload 16 MiB; anything longer is not an event
/// stream.
const MAX_MESSAGE: usize = 17 << 20;

//! The frames of a WebSocket (RFC 6455 section 5), as a server sends them: each message of text is a JSON message, and each
//! binary one where a rule says so.
//!
//! A message may come in several frames, with control frames between them. A frame that is masked, which no server may
//! send, or compressed, which nobody was offered, cannot be read, and then no figure of the connection can be trusted.

use super::Unreadable;
use super::rules::Rules;
use super::scanner::Scanner;
use super::tally::Tally;

/// Reads a connection from behind the handshake.
#[derive(Default)]
pub(super) struct Frames {
    scanner: Scanner,
    frame: Frame,
    /// Whether the message that goes on in the next frame is read.
    goes_on: bool,
}

/// Which part of a frame the next byte is of.
#[derive(Clone, Copy)]
enum Frame {
    /// The head; so much of it has come.
    Head { bytes: [u8; HEAD], len: usize },
    /// So many bytes of payload are to come.
    Payload { left: u64, kind: Kind },
}

/// What a frame is part of.
#[derive(Clone, Copy)]
struct Kind {
    is_read: bool,
    ends_message: bool,
}

impl Default for Frame {
    fn default() -> Self {
        Self::Head {
            bytes: [0; HEAD],
            len: 0,
        }
    }
}

impl Frames {
    pub(super) fn push(
        &mut self,
        mut bytes: &[u8],
        rules: &Rules,
        tally: &mut Tally,
    ) -> Result<(), Unreadable> {
        while let Some(first) = bytes.first() {
            match self.frame {
                Frame::Head { .. } => {
                    self.head(*first, rules)?;
                    bytes = &bytes[1..];
                }
                Frame::Payload { left, kind } => {
                    let len = usize::try_from(left).unwrap_or(usize::MAX);
                    let (part, rest) = bytes.split_at(len.min(bytes.len()));
                    if kind.is_read {
                        self.scanner.push(part, rules, tally);
                    }
                    let left = left - part.len() as u64;
                    self.frame = Frame::Payload { left, kind };
                    bytes = rest;
                }
            }
            self.end_frame(rules, tally);
        }
        Ok(())
    }

    /// Takes a byte of a frame's head.
    fn head(&mut self, byte: u8, rules: &Rules) -> Result<(), Unreadable> {
        let Frame::Head { mut bytes, mut len } = self.frame else {
            return Ok(());
        };
        bytes[len] = byte;
        len += 1;
        self.frame = Frame::Head { bytes, len };
        if len < 2 {
            return Ok(());
        }
        let [first, second, length @ ..] = bytes;
        if first & RESERVED != 0 || second & MASKED != 0 {
            return Err(Unreadable);
        }
        let [a, b, ..] = length;
        let left: u64 = match (second, len) {
            (126, 4) => u16::from_be_bytes([a, b]).into(),
            (127, HEAD) => u64::from_be_bytes(length),
            (126 | 127, _) => return Ok(()),
            (short, _) => short.into(),
        };
        let kind = self.kind(first, rules)?;
        self.frame = Frame::Payload { left, kind };
        Ok(())
    }

    fn kind(&mut self, first: u8, rules: &Rules) -> Result<Kind, Unreadable> {
        let is_read = match first & OPCODE {
            0 => self.goes_on,
            1 => true,
            2 => rules.binary,
            // Close, ping and pong: part of no message.
            8..=10 => {
                return Ok(Kind {
                    is_read: false,
                    ends_message: false,
                });
            }
            _ => return Err(Unreadable),
        };
        let ends_message = first & FINAL != 0;
        self.goes_on = is_read && !ends_message;
        Ok(Kind {
            is_read,
            ends_message,
        })
    }

    fn end_frame(&mut self, rules: &Rules, tally: &mut Tally) {
        let Frame::Payload { left: 0, kind } = self.frame else {
            return;
        };
        if kind.ends_message {
            tally.end_message(rules);
            self.scanner.restart();
        }
        self.frame = Frame::default();
    }
}

/// Two bytes, and up to eight more for the length; a mask would follow.
const HEAD: usize = 10;
const FINAL: u8 = 0x80;
const RESERVED: u8 = 0x70;
const OPCODE: u8 = 0x0f;
const MASKED: u8 = 0x80;

//! Reads WebSocket messages: each text message is JSON, and each binary one if a rule says so.
//!
//! A frame that cannot be parsed, or that is compressed, stops the reading: no count of the
//! connection can be trusted after it.

use super::{Unreadable, rules::Rules, scanner::Scanner, tally::Tally};
use crate::websocket::{self, Kind, Part};

/// Reads the frames after the handshake.
#[derive(Default)]
pub(super) struct Frames {
    frames: websocket::Frames,
    scanner: Scanner,
}

impl Frames {
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        rules: &Rules,
        tally: &mut Tally,
    ) -> Result<(), Unreadable> {
        let scanner = &mut self.scanner;
        let is_read = |kind: Kind| kind == Kind::Text || (kind == Kind::Binary && rules.binary);
        let read = self.frames.push(bytes, |part| match part {
            Part::Payload(frame, payload) if is_read(frame.kind) => {
                scanner.push(payload, rules, tally);
            }
            Part::End(frame) if frame.ends_message => {
                tally.end_message(rules);
                scanner.restart();
            }
            _ => {}
        });
        read.map_err(|_| Unreadable)
    }
}

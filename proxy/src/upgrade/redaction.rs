//! Masks secrets in the messages of a WebSocket, over the frames that they are cut into.
//!
//! Headers pass as they came, and a mask has as many bytes as what it covers, so frames stay whole. The payload of a message is
//! one text, whatever it is cut into. Where a fragment ends in the beginning of a secret, its last bytes wait for the next
//! fragment, and with them what follows. A control frame is a text of its own and does not wait: its other side may be
//! waiting for it before it goes on.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use zeroize::Zeroizing;

use crate::{
    scrub::Scrub,
    websocket::{Frame, Kind, Part},
};

/// What is on its way from an upstream to a client.
pub(super) struct Redaction {
    /// What may go on to the client now.
    out: BytesMut,
    /// Headers behind bytes that are held back.
    pending: VecDeque<PendingHeader>,
    /// The control frame that is coming in.
    control: Zeroizing<Vec<u8>>,
}

/// The header of a later fragment.
struct PendingHeader {
    /// How many bytes of payload go between the header before it and this one.
    payload_before: usize,
    header: Bytes,
}

impl Redaction {
    pub(super) fn new() -> Self {
        Self {
            out: BytesMut::new(),
            pending: VecDeque::new(),
            // Room for the longest, so that no buffer is outgrown and left behind unwiped.
            control: Zeroizing::new(Vec::with_capacity(CONTROL_HEADER + 125)),
        }
    }

    /// Takes a part of what came with `piece`.
    pub(super) fn part(&mut self, part: Part<'_>, piece: &Bytes, scrub: &mut Scrub) {
        match part {
            Part::Header(frame, bytes) | Part::Payload(frame, bytes) if is_control(frame) => {
                self.control.extend_from_slice(bytes);
            }
            Part::End(frame) if is_control(frame) => self.end_control(scrub),
            Part::Header(_, header) => self.header(header, scrub),
            Part::Payload(frame, payload) => {
                let payload = piece.slice_ref(payload);
                self.pass(match frame.compressed {
                    true => payload,
                    false => scrub.push(payload),
                });
            }
            Part::End(frame) if frame.ends_message => self.finish(scrub),
            Part::End(_) => {}
        }
    }

    /// Lets go what is held back: the message is over, or none of it will follow.
    pub(super) fn finish(&mut self, scrub: &mut Scrub) {
        if let Some(held) = scrub.finish() {
            self.pass(held);
        }
    }

    /// What may go on to the client since this was last taken.
    pub(super) fn take(&mut self) -> BytesMut {
        self.out.split()
    }

    fn header(&mut self, header: &[u8], scrub: &mut Scrub) {
        if self.pending.len() >= MAX_PENDING {
            self.pass(scrub.release());
        }
        if !scrub.holds() {
            return self.out.extend_from_slice(header);
        }
        let counted: usize = self
            .pending
            .iter()
            .map(|pending| pending.payload_before)
            .sum();
        self.pending.push_back(PendingHeader {
            payload_before: scrub.withheld() - counted,
            header: Bytes::copy_from_slice(header),
        });
    }

    fn end_control(&mut self, scrub: &mut Scrub) {
        self.pass(scrub.release());
        scrub.mask(&mut self.control[CONTROL_HEADER..]);
        self.out.extend_from_slice(&self.control);
        self.control.clear();
    }

    /// Passes payload on, and between it the headers that waited for it.
    fn pass(&mut self, mut payload: Bytes) {
        while let Some(next) = self.pending.front_mut() {
            let before = payload.split_to(next.payload_before.min(payload.len()));
            self.out.extend_from_slice(&before);
            next.payload_before -= before.len();
            if next.payload_before > 0 {
                return;
            }
            self.out.extend_from_slice(&next.header);
            self.pending.pop_front();
        }
        self.out.extend_from_slice(&payload);
    }
}

fn is_control(frame: Frame) -> bool {
    frame.kind == Kind::Control
}

/// A control frame's length fits in its second byte.
const CONTROL_HEADER: usize = 2;
/// Fragments that wait. More than a secret's bytes, each in one of its own; without a bound, empty ones would go on for ever.
const MAX_PENDING: usize = 256;

#[cfg(test)]
mod tests;

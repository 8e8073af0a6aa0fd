//! Masks secrets in WebSocket messages, across frame boundaries.
//!
//! Frame headers pass unchanged, and a mask is as long as the text it covers, so frames stay valid.
//! The payload of a message is searched as one text, however it is fragmented. If a fragment ends
//! with the beginning of a secret, those bytes wait for the next fragment, together with everything
//! after them. A control frame is searched on its own and never waits: the client may have to
//! answer it before the server continues.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};
use zeroize::Zeroizing;

use crate::{
    scrub::Scrub,
    websocket::{Frame, Kind, Part},
};

/// The bytes on their way from an upstream to a client.
pub(super) struct Redaction {
    /// Bytes that may be sent to the client now.
    out: BytesMut,
    /// Headers that follow held-back payload.
    pending: VecDeque<PendingHeader>,
    /// The control frame that is being received.
    control: Zeroizing<Vec<u8>>,
}

/// The header of a later fragment.
struct PendingHeader {
    /// Bytes of payload between the previous header and this one.
    payload_before: usize,
    header: Bytes,
}

impl Redaction {
    pub(super) fn new() -> Self {
        Self {
            out: BytesMut::new(),
            pending: VecDeque::new(),
            // Capacity for the longest frame: a buffer that grows would leave an unwiped copy
            // behind.
            control: Zeroizing::new(Vec::with_capacity(CONTROL_HEADER + MAX_CONTROL_PAYLOAD)),
        }
    }

    /// Handles one part of a frame in `chunk`.
    pub(super) fn part(&mut self, part: Part<'_>, chunk: &Bytes, scrub: &mut Scrub) {
        match part {
            Part::Header(frame, bytes) | Part::Payload(frame, bytes) if is_control(frame) => {
                self.control.extend_from_slice(bytes);
            }
            Part::End(frame) if is_control(frame) => self.end_control(scrub),
            Part::Header(_, header) => self.header(header, scrub),
            Part::Payload(frame, payload) => {
                let payload = chunk.slice_ref(payload);
                self.pass(match frame.compressed {
                    true => payload,
                    false => scrub.push(payload),
                });
            }
            Part::End(frame) if frame.ends_message => self.finish(scrub),
            Part::End(_) => {}
        }
    }

    /// Releases held-back bytes: the message is complete, or the rest will not arrive.
    pub(super) fn finish(&mut self, scrub: &mut Scrub) {
        if let Some(held) = scrub.finish() {
            self.pass(held);
        }
    }

    /// The bytes that may be sent to the client since the last call.
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

    /// Outputs payload, with the pending headers in their places.
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

/// The header of a control frame: its length fits into the second byte.
const CONTROL_HEADER: usize = 2;
/// Bytes (RFC 6455 section 5.5).
const MAX_CONTROL_PAYLOAD: usize = 125;
/// Fragments that may wait: more than a secret has bytes, one in each fragment. Without a limit,
/// empty fragments could accumulate forever.
const MAX_PENDING: usize = 256;

#[cfg(test)]
mod tests;

//! Detects an HTTP/2 peer that claims it did not process a request which it had begun to answer.
//! From then on no such claim is trusted on that connection. The frames must be read for this:
//! hyper 1.12 does not report a 1xx response over HTTP/2.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use crate::http2_frames::{DATA, END_STREAM, Frame, Frames, GOAWAY, HEADERS, RST_STREAM};

/// Reads the frames that a peer sends.
pub(super) struct ContradictionDetector {
    frames: Frames,
    /// Streams whose response has begun and not ended, including streams that we have reset.
    begun: BTreeSet<u32>,
    /// The first bytes of a RST_STREAM or GOAWAY payload.
    payload: Vec<u8>,
    contradicted: ContradictionFlag,
}

/// Set once the peer has contradicted itself.
#[derive(Clone, Default)]
pub(super) struct ContradictionFlag(Arc<AtomicBool>);

impl ContradictionFlag {
    pub(super) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

impl ContradictionDetector {
    pub(super) fn new(contradicted: ContradictionFlag) -> Self {
        Self {
            frames: Frames::default(),
            begun: BTreeSet::new(),
            payload: Vec::new(),
            contradicted,
        }
    }

    /// Reads the next bytes from the peer.
    pub(super) fn read(&mut self, mut bytes: &[u8]) {
        while let Some(part) = self.frames.next(&mut bytes) {
            if matches!(part.frame.kind, RST_STREAM | GOAWAY) {
                let room = WORD_BYTES - self.payload.len();
                let taken = room.min(part.payload.len());
                self.payload.extend_from_slice(&part.payload[..taken]);
            }
            if part.last {
                self.end_frame(part.frame);
                self.payload.clear();
            }
        }
    }

    fn end_frame(&mut self, frame: Frame) {
        let ends = frame.has(END_STREAM);
        match frame.kind {
            HEADERS if !ends => {
                self.begun.insert(frame.stream);
                if self.begun.len() > MAX_TRACKED {
                    self.begun.pop_first();
                }
            }
            HEADERS | DATA if ends => {
                self.begun.remove(&frame.stream);
            }
            RST_STREAM => {
                let begun = self.begun.remove(&frame.stream);
                if begun && self.payload_word() == Some(REFUSED_STREAM) {
                    self.contradict();
                }
            }
            GOAWAY => {
                let last = self.payload_word().unwrap_or_default();
                if self.begun.iter().any(|stream| *stream > last) {
                    self.contradict();
                }
            }
            _ => {}
        }
    }

    /// The error code of RST_STREAM, or the last stream of GOAWAY.
    fn payload_word(&self) -> Option<u32> {
        let bytes = self.payload.as_slice().try_into();
        bytes.ok().map(u32::from_be_bytes)
    }

    fn contradict(&self) {
        self.contradicted.0.store(true, Ordering::Relaxed);
    }
}

const WORD_BYTES: usize = 4;

/// An error code (RFC 9113 section 7).
const REFUSED_STREAM: u32 = 7;

/// Streams that are tracked at a time, the newest: many times what one connection has open.
const MAX_TRACKED: usize = 1024;

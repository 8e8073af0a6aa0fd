//! Finds pseudo-header fields in HTTP/2 trailers. RFC 9113 section 8.1 makes them malformed; h2
//! drops them silently.

use super::{
    FramingError,
    hpack::{Malformed, Table},
};
use crate::http2_frames::{CONTINUATION, END_HEADERS, Frame, Frames, HEADERS, PADDED, PRIORITY};

/// The frames and the header table of one connection.
#[derive(Default)]
pub(super) struct Http2 {
    frames: Frames,
    table: Table,
    /// The field block that is being received in HEADERS and CONTINUATION frames.
    block: Vec<u8>,
    /// The block belongs to trailers.
    trailers: bool,
    /// The highest stream a client has opened.
    highest: u32,
}

impl Http2 {
    pub(super) fn check(&mut self, mut bytes: &[u8]) -> Result<(), FramingError> {
        while let Some(part) = self.frames.next(&mut bytes) {
            if !matches!(part.frame.kind, HEADERS | CONTINUATION) {
                continue;
            }
            if part.first && part.frame.kind == HEADERS {
                self.begin(part.frame);
            }
            if self.block.len() + part.payload.len() > LONGEST_BLOCK {
                return Err(FramingError::Fields);
            }
            self.block.extend_from_slice(part.payload);
            if part.last {
                self.end_frame(part.frame)?;
            }
        }
        Ok(())
    }

    /// The second HEADERS frame of a stream carries its trailers. Clients open streams in ascending
    /// order, so the highest id tells which is the second.
    fn begin(&mut self, headers: Frame) {
        self.trailers = headers.stream <= self.highest;
        self.highest = self.highest.max(headers.stream);
        self.block.clear();
    }

    fn end_frame(&mut self, frame: Frame) -> Result<(), FramingError> {
        if frame.kind == HEADERS {
            let dependency = unwrap_payload(&mut self.block, frame);
            // h2 0.4.20 resets a stream that depends on itself without reading its fields, and its
            // table would differ from ours.
            if dependency == Some(frame.stream) {
                return Err(FramingError::Fields);
            }
        }
        if !frame.has(END_HEADERS) {
            return Ok(());
        }
        let pseudo = self.table.read(&self.block);
        self.block.clear();
        self.block.shrink_to(USUAL_BLOCK);
        match pseudo {
            Ok(true) if self.trailers => Err(FramingError::Trailers),
            Ok(_) => Ok(()),
            Err(Malformed) => Err(FramingError::Fields),
        }
    }
}

/// Strips a HEADERS frame's payload down to its field block (RFC 9113 section 6.2). Returns the
/// stream that it depends on.
fn unwrap_payload(payload: &mut Vec<u8>, frame: Frame) -> Option<u32> {
    let mut before = 0;
    if frame.has(PADDED) {
        let padding = payload.first().map_or(0, |length| usize::from(*length));
        payload.truncate(payload.len().saturating_sub(padding));
        before += 1;
    }
    let mut dependency = None;
    if frame.has(PRIORITY) {
        let word = payload.get(before..before + 4);
        let word = word.and_then(|word| word.try_into().ok());
        dependency = word.map(|word| u32::from_be_bytes(word) & !EXCLUSIVE);
        before += 5;
    }
    payload.drain(..before.min(payload.len()));
    dependency
}

const EXCLUSIVE: u32 = 1 << 31;

/// Bytes; more than h2 0.4.20 accepts, which limits CONTINUATION frames to about 120 KiB for lists
/// of 80 KiB.
const LONGEST_BLOCK: usize = 256 * 1024;
/// Bytes of capacity that the buffer keeps between blocks.
const USUAL_BLOCK: usize = 4 * 1024;

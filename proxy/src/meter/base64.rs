//! Decodes base64 (RFC 4648 section 4) that arrives in chunks.
//!
//! The `base64` crate decodes whole texts only. Invalid input needs no error here: it just leads to
//! no counts.

/// The sextets that are not three bytes yet.
#[derive(Default)]
pub(super) struct Base64 {
    bits: u32,
    sextets: u32,
}

impl Base64 {
    /// Decodes a chunk. Skips other bytes: padding, and the backslash that JSON may put before a
    /// slash.
    pub(super) fn push(&mut self, text: &[u8], is_last: bool, mut take: impl FnMut(&[u8])) {
        for part in text.chunks(BLOCK) {
            let mut decoded = [0; BLOCK];
            let mut len = 0;
            for sextet in part.iter().filter_map(|byte| sextet(*byte)) {
                self.bits = (self.bits << 6) | sextet;
                self.sextets += 1;
                if self.sextets == 4 {
                    let [_, bytes @ ..] = self.bits.to_be_bytes();
                    decoded[len..len + 3].copy_from_slice(&bytes);
                    len += 3;
                    *self = Self::default();
                }
            }
            take(&decoded[..len]);
        }
        if is_last {
            // Two sextets are one byte and four unused bits, three are two bytes and two unused
            // bits.
            let bytes = (self.bits << (6 * (4 - self.sextets.min(4)))).to_be_bytes();
            let whole = (self.sextets * 6 / 8) as usize;
            take(&bytes[1..1 + whole]);
            *self = Self::default();
        }
    }
}

fn sextet(byte: u8) -> Option<u32> {
    let value = match byte {
        b'A'..=b'Z' => byte - b'A',
        b'a'..=b'z' => byte - b'a' + 26,
        b'0'..=b'9' => byte - b'0' + 52,
        b'+' => 62,
        b'/' => 63,
        _ => return None,
    };
    Some(value.into())
}

/// Bytes decoded at once; the result fits into a buffer of the same size.
const BLOCK: usize = 256;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_is_cut_anywhere_decodes_like_the_whole() {
        // RFC 4648 section 10, and every letter of the alphabet.
        let all = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let bytes = [
            0x00, 0x10, 0x83, 0x10, 0x51, 0x87, 0x20, 0x92, 0x8b, 0x30, 0xd3, 0x8f, 0x41, 0x14,
            0x93, 0x51, 0x55, 0x97, 0x61, 0x96, 0x9b, 0x71, 0xd7, 0x9f, 0x82, 0x18, 0xa3, 0x92,
            0x59, 0xa7, 0xa2, 0x9a, 0xab, 0xb2, 0xdb, 0xaf, 0xc3, 0x1c, 0xb3, 0xd3, 0x5d, 0xb7,
            0xe3, 0x9e, 0xbb, 0xf3, 0xdf, 0xbf,
        ];
        let known: [(&str, &[u8]); 8] = [
            ("", b""),
            ("Zg==", b"f"),
            ("Zm8=", b"fo"),
            ("Zm9v", b"foo"),
            ("Zm9vYg==", b"foob"),
            ("Zm9vYmE=", b"fooba"),
            ("Zm9vYmFy", b"foobar"),
            (all, &bytes),
        ];
        for (text, expected) in known {
            for cut in 0..=text.len() {
                let (head, tail) = text.as_bytes().split_at(cut);
                let (mut base64, mut got) = (Base64::default(), Vec::new());
                base64.push(head, false, |bytes| got.extend_from_slice(bytes));
                base64.push(tail, true, |bytes| got.extend_from_slice(bytes));
                assert_eq!(got, expected, "{text} cut at {cut}");
            }
        }
    }
}

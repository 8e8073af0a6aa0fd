//! Random values that open something for as long as this process runs: session paths, cookies,
//! CSRF tokens, codes of one-time links.

use std::fmt::Write;

use sha2::{Digest as _, Sha256};
use zeroize::Zeroizing;

/// The SHA-256 of a random value. Compared instead of the value, so that neither the time of the
/// comparison nor a look into memory reveals it.
pub(crate) type Digest = [u8; 32];

/// 128 random bits in hex.
///
/// # Panics
/// If the system has no randomness: values could be guessed, so there is no safe way to continue.
pub(crate) fn random_hex() -> Zeroizing<String> {
    let mut bytes = Zeroizing::new([0; 16]);
    getrandom::fill(&mut *bytes).expect("the operating system's random generator works");
    let mut text = Zeroizing::new(String::with_capacity(32));
    write_hex(&*bytes, &mut text);
    text
}

/// The digest of a value that a client sent.
pub(crate) fn digest(text: &str) -> Digest {
    Sha256::digest(text.as_bytes()).into()
}

/// The first `length` bytes of a digest in hex.
pub(crate) fn short_hex(digest: &Digest, length: usize) -> String {
    let mut text = String::with_capacity(2 * length);
    write_hex(digest.get(..length).unwrap_or(digest), &mut text);
    text
}

fn write_hex(bytes: &[u8], text: &mut String) {
    for byte in bytes {
        // Never an error: it is written to memory.
        let _ = write!(text, "{byte:02x}");
    }
}

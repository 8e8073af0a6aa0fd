//! Randomness from the operating system.

use zeroize::Zeroizing;

/// Fills `bytes` from the system's generator.
///
/// # Panics
/// If the system has no randomness: every further key and nonce could be guessed, so there is no
/// safe way to continue.
pub(crate) fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system's random generator works");
}

/// 256 random bits: a key, or the secret part of a token. Wiped when dropped.
pub(crate) fn secret() -> Zeroizing<[u8; 32]> {
    let mut bytes = Zeroizing::new([0; 32]);
    fill(&mut *bytes);
    bytes
}

/// 64 random bits.
pub(crate) fn number() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_be_bytes(bytes)
}

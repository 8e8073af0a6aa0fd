//! Randomness from the operating system.

/// Fills `bytes` from the system's generator.
///
/// # Panics
/// If the system has no randomness: every further key and nonce could be guessed, so there is no
/// safe way to continue.
pub(crate) fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system's random generator works");
}

/// 64 random bits.
pub(crate) fn number() -> u64 {
    let mut bytes = [0; 8];
    fill(&mut bytes);
    u64::from_be_bytes(bytes)
}

//! How alike two keys are.

/// From 0 to 1, by edit distance relative to the length; case and hyphens do not count.
pub(crate) fn likeness(written: &str, known: &str) -> f64 {
    let plain = |key: &str| key.to_ascii_lowercase().replace('-', "_");
    strsim::normalized_damerau_levenshtein(&plain(written), &plain(known))
}

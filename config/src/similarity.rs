//! Finds the known name that a misspelled one probably means.

/// Similarity from 0 to 1: one minus the edit distance relative to the length
/// (Damerau-Levenshtein). Case does not count, and `-` equals `_`.
pub(crate) fn similarity(written: &str, known: &str) -> f64 {
    let plain = |key: &str| key.to_ascii_lowercase().replace('-', "_");
    strsim::normalized_damerau_levenshtein(&plain(written), &plain(known))
}

/// The known name that is most similar to `written`, if it is similar enough. Case does not count,
/// and `-` equals `_`.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let known = known
        .into_iter()
        .map(|name| (name, similarity(written, name)));
    let near = known.filter(|(_, similarity)| *similarity >= MIN_SIMILARITY);
    let nearest = near.max_by(|a, b| a.1.total_cmp(&b.1));
    nearest.map(|(name, _)| name)
}

/// Names below this similarity are not suggested.
pub(crate) const MIN_SIMILARITY: f64 = 0.7;

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_typing_error_suggests_the_similar_name_and_other_names_suggest_none() {
        let known = ["acme", "acme-staging", "globex"];
        for (written, meant) in [
            ("acmee", Some("acme")),
            ("amce", Some("acme")),
            ("acme-stagin", Some("acme-staging")),
            ("ACME", Some("acme")),
            ("initech", None),
            ("", None),
        ] {
            assert_eq!(nearest(written, known), meant, "{written:?}");
        }
        assert_eq!(nearest("acme", []), None);
    }
}

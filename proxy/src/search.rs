//! Finds a needle in a stream of chunks, also if it spans two of them.
//!
//! The state between chunks is one number: how many bytes of the needle the stream ended with.
//! Those bytes need no buffer, because they are the needle's own.

use memchr::{memchr, memchr_iter};

/// How many bytes at the end of `haystack` are a prefix of `needle`, which the next chunk could
/// complete. Always less than the whole needle.
pub(crate) fn partial_at_end(haystack: &[u8], needle: &[u8]) -> usize {
    let (Some(&first), Some(&last)) = (needle.first(), haystack.last()) else {
        return 0;
    };
    // Most chunks end in a line feed or a brace, which no key contains.
    if memchr(last, &needle[..needle.len() - 1]).is_none() {
        return 0;
    }
    let tail = &haystack[haystack.len() - haystack.len().min(needle.len() - 1)..];
    memchr_iter(first, tail)
        .map(|start| &tail[start..])
        .find(|rest| needle.starts_with(rest))
        .map_or(0, <[u8]>::len)
}

/// Finds one needle repeatedly without keeping a copy of it: by the position of its byte that is
/// rarest in text.
#[derive(Clone, Copy)]
pub(crate) struct Anchor(usize);

impl Anchor {
    /// Chooses the byte: a letter that is rare in words and in JSON, which nearly every key has.
    /// Failing that a capital, which is rarer than a digit, and then a digit, which is rarer than
    /// the other characters of keys.
    pub(crate) fn of(needle: &[u8]) -> Self {
        let rare = needle.iter().position(|byte| {
            let letter = byte.to_ascii_lowercase();
            matches!(letter, b'j' | b'q' | b'x' | b'z')
        });
        let capital = || needle.iter().rposition(u8::is_ascii_uppercase);
        let digit = || needle.iter().rposition(u8::is_ascii_digit);
        Self(rare.or_else(capital).or_else(digit).unwrap_or(0))
    }

    /// Where `needle` first occurs in `haystack`. It must be the needle that this anchor was
    /// created for.
    pub(crate) fn find(self, haystack: &[u8], needle: &[u8]) -> Option<usize> {
        let starts =
            memchr_iter(*needle.get(self.0)?, haystack).filter_map(|at| at.checked_sub(self.0));
        starts
            .into_iter()
            .find(|start| haystack[*start..].starts_with(needle))
    }
}

#[cfg(test)]
mod tests {
    use super::{Anchor, partial_at_end};

    #[test]
    fn the_longest_prefix_of_the_needle_counts() {
        for (haystack, needle, expected) in [
            ("", "abc", 0),
            ("xyz", "abc", 0),
            ("xya", "abc", 1),
            ("xab", "abc", 2),
            ("ab", "abc", 2),
            ("abc", "abc", 0),
            ("aab", "aabaab", 3),
            ("aabaa", "aabaab", 5),
            ("aaaa", "aab", 2),
            ("a", "", 0),
        ] {
            let found = partial_at_end(haystack.as_bytes(), needle.as_bytes());
            assert_eq!(found, expected, "{haystack:?} against {needle:?}");
        }
    }

    #[test]
    fn a_needle_is_found_by_whichever_byte_it_is_anchored_at() {
        for (haystack, needle, expected) in [
            ("", "sk-A1", None),
            ("sk-A", "sk-A1", None),
            ("k-A1", "sk-A1", None),
            ("sk-A1", "sk-A1", Some(0)),
            ("A1 sk-A2 sk-A1", "sk-A1", Some(9)),
            ("lower only, lower", "lower,", None),
            ("all lower, all", "lower,", Some(4)),
            ("0 1 2 12", "12", Some(6)),
            ("an object, project", "proj", Some(11)),
        ] {
            let anchor = Anchor::of(needle.as_bytes());
            let found = anchor.find(haystack.as_bytes(), needle.as_bytes());
            assert_eq!(found, expected, "{needle:?} in {haystack:?}");
        }
    }
}

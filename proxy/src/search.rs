//! Finding a needle in a stream of chunks, also where it spans two of them.
//!
//! The state between chunks is one number: how many bytes of the needle the
//! stream ended with. They need no buffer, since they are the needle's own.

use memchr::{memchr_iter, memmem};

/// How many bytes at the end of `haystack` are a beginning of `needle`, and
/// could so become the needle with the next chunk. Less than the whole needle.
pub(crate) fn partial_at_end(haystack: &[u8], needle: &[u8]) -> usize {
    let Some(&first) = needle.first() else {
        return 0;
    };
    let tail = &haystack[haystack.len() - haystack.len().min(needle.len() - 1)..];
    memchr_iter(first, tail)
        .map(|start| &tail[start..])
        .find(|rest| needle.starts_with(rest))
        .map_or(0, <[u8]>::len)
}

/// Where `needle` first stands in `haystack`.
pub(crate) fn find(haystack: &[u8], needle: &[u8]) -> Option<usize> {
    memmem::find(haystack, needle)
}

#[cfg(test)]
mod tests {
    use super::partial_at_end;

    #[test]
    fn the_longest_beginning_of_the_needle_counts() {
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
}

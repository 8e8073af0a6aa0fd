//! Patterns of upstream paths: literal segments, `*` inside one, `**` for the rest.

use std::{fmt, str::FromStr};

/// A path that a provider allows, such as `/v1/models/*` or `/v1beta/models/*:generateContent`.
///
/// A `*` stands for one or more characters other than `/`; a last segment `**` for one or more segments.
/// There is no other magic.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern {
    segments: Vec<String>,
    rest: bool,
}

impl PathPattern {
    /// Whether a normalised path (it starts with `/`, and has no dot or empty segments) is covered.
    pub fn matches(&self, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/') else {
            return false;
        };
        let mut actual = path.split('/');
        let fixed = self.segments.iter().all(|wanted| {
            actual
                .next()
                .is_some_and(|segment| wanted == segment || glob(wanted, segment))
        });
        fixed
            && match self.rest {
                true => actual.next().is_some_and(|segment| !segment.is_empty()),
                false => actual.next().is_none(),
            }
    }
}

impl FromStr for PathPattern {
    type Err = PathPatternError;

    fn from_str(text: &str) -> Result<Self, PathPatternError> {
        let path = text.strip_prefix('/').ok_or(PathPatternError::Slash)?;
        let mut segments: Vec<String> = path.split('/').map(str::to_owned).collect();
        let rest = segments.last().is_some_and(|last| last == "**");
        if rest {
            segments.pop();
        }
        match segments.iter().all(|segment| is_pattern_segment(segment)) {
            true => Ok(Self { segments, rest }),
            false => Err(PathPatternError::Segment),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.segments
            .iter()
            .try_for_each(|segment| write!(f, "/{segment}"))?;
        f.write_str(if self.rest { "/**" } else { "" })
    }
}

/// Why a text is no path pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathPatternError {
    /// No slash at the start.
    #[error("expected a path that starts with /")]
    Slash,
    /// A segment that no normalised path could have.
    #[error("expected segments of letters, digits, -._~:@!$'()+,= and *, with ** only as the last")]
    Segment,
}

/// Whether `text` has the form `wanted`, in which each `*` stands for one or more characters.
///
/// The part after a star is taken where it first occurs, which loses no match and never goes back.
fn glob(wanted: &str, text: &str) -> bool {
    let mut literals = wanted.split('*');
    let first = literals.next().unwrap_or_default();
    let Some(rest) = text.strip_prefix(first) else {
        return false;
    };
    let Some(last) = literals.next_back() else {
        return rest.is_empty();
    };
    let Some(mut rest) = rest.strip_suffix(last) else {
        return false;
    };
    for literal in literals {
        let found = rest
            .char_indices()
            .skip(1)
            .find_map(|(start, _)| rest[start..].strip_prefix(literal));
        let Some(after) = found else { return false };
        rest = after;
    }
    !rest.is_empty()
}

fn is_pattern_segment(segment: &str) -> bool {
    !matches!(segment, "" | "." | "..")
        && !segment.contains("**")
        && segment
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~:@!$'()+,=*".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let parsed: PathPattern = pattern.parse().unwrap();
        assert_eq!(parsed.to_string(), pattern);
        for path in matching {
            assert!(parsed.matches(path), "{pattern} should match {path}");
        }
        for path in others {
            assert!(!parsed.matches(path), "{pattern} should not match {path}");
        }
    }

    #[test]
    fn a_literal_matches_itself() {
        check(
            "/v1/models",
            &["/v1/models"],
            &[
                "/v1/models/",
                "/v1/models/x",
                "/v1",
                "/v1/model",
                "v1/models",
                "",
                "/",
            ],
        );
    }

    #[test]
    fn a_star_is_one_or_more_characters_of_one_segment() {
        check(
            "/v1/models/*",
            &["/v1/models/a", "/v1/models/a:b"],
            &["/v1/models/", "/v1/models", "/v1/models/a/b"],
        );
    }

    #[test]
    fn a_star_inside_a_segment_leaves_the_rest_of_it_fixed() {
        let pattern = "/v1beta/models/*:generateContent";
        let matching = [
            "/v1beta/models/gemini-2.5-flash:generateContent",
            "/v1beta/models/a:b:generateContent",
        ];
        let others = [
            "/v1beta/models/:generateContent",
            "/v1beta/models/a:generateContents",
            "/v1beta/models/a/b:generateContent",
        ];
        check(pattern, &matching, &others);
    }

    #[test]
    fn several_stars_each_take_something() {
        check(
            "/a*b*c",
            &["/axbxc", "/abbbc", "/axbcbxc"],
            &["/abc", "/axbc", "/abxc", "/axbxcx", "/axb/xc"],
        );
    }

    /// All words of up to four letters.
    fn words(alphabet: &[char]) -> Vec<String> {
        let mut words = vec![String::new()];
        let mut start = 0;
        for _ in 0..4 {
            let end = words.len();
            for index in start..end {
                for letter in alphabet {
                    words.push(format!("{}{letter}", words[index]));
                }
            }
            start = end;
        }
        words
    }

    #[test]
    fn a_star_matches_what_a_regular_expression_would() {
        for wanted in words(&['a', 'b', '*']) {
            let regex = format!("^{}$", wanted.replace('*', ".+"));
            let regex = regex_lite::Regex::new(&regex).unwrap();
            for text in words(&['a', 'b']) {
                assert_eq!(
                    glob(&wanted, &text),
                    regex.is_match(&text),
                    "{wanted} and {text}"
                );
            }
        }
    }

    #[test]
    fn two_stars_at_the_end_are_one_or_more_segments() {
        check("/v1/**", &["/v1/a", "/v1/a/b"], &["/v1", "/v1/", "/v2/a"]);
        check("/**", &["/a", "/a/b"], &["/", ""]);
    }

    #[test]
    fn what_no_normalised_path_could_match_is_refused() {
        for text in ["v1", ""] {
            assert_eq!(
                text.parse::<PathPattern>(),
                Err(PathPatternError::Slash),
                "{text}"
            );
        }
        for text in [
            "/", "/a//b", "/a/", "/a/../b", "/./a", "/a b", "/a?b", "/a%2fb", "/a;b", "/**/a",
            "/a**", "/\u{e9}",
        ] {
            assert_eq!(
                text.parse::<PathPattern>(),
                Err(PathPatternError::Segment),
                "{text}"
            );
        }
    }
}

//! Patterns of upstream paths: literal segments, `*` within a segment, `**` for several segments.

use std::{fmt, str::FromStr};

use crate::parsed::from_text;

/// The paths that a provider allows, such as `/v1/models/*` or `/v1beta/models/*:generateContent`.
///
/// A `*` matches one or more characters of one segment. At most one segment may be `**`, which
/// matches one or more segments; only there a path may contain an escaped slash, `%2F`, as in
/// identifiers with slashes. [`PathPattern::except`] excludes segments from all stars. There is no
/// other syntax.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PathPattern {
    /// All segments except `**`.
    segments: Vec<String>,
    /// Number of segments before `**`, if there is one.
    many: Option<usize>,
    /// Segments that no star matches.
    except: Vec<ExceptedName>,
}

impl PathPattern {
    /// Excludes segments from the pattern's stars. Needed if an API has collections beside objects
    /// that a client names, as in `/v1/workflows/deployments` and `/v1/workflows/*`.
    pub fn except(self, names: Vec<ExceptedName>) -> Self {
        Self {
            except: names,
            ..self
        }
    }

    /// Whether the pattern matches a normalised path: one that starts with `/` and has no dot
    /// segments or empty segments.
    pub fn matches(&self, path: &str) -> bool {
        let Some(path) = path.strip_prefix('/') else {
            return false;
        };
        let (before, after) = self.segments.split_at(self.many.unwrap_or_default());
        let mut actual = path.split('/');
        let fits = |wanted: &String, segment: Option<&str>| {
            segment.is_some_and(|segment| {
                wanted == segment || (glob(wanted, segment) && !self.excepts(segment))
            })
        };
        before.iter().all(|wanted| fits(wanted, actual.next()))
            && after
                .iter()
                .rev()
                .all(|wanted| fits(wanted, actual.next_back()))
            && match self.many {
                Some(_) => {
                    let mut actual = actual.peekable();
                    actual.peek().is_some_and(|segment| !segment.is_empty())
                        && !actual.any(|segment| self.excepts(segment))
                }
                None => actual.next().is_none(),
            }
    }

    /// Whether a segment is excluded from stars, with its slashes escaped or unescaped.
    fn excepts(&self, segment: &str) -> bool {
        !self.except.is_empty()
            && segment
                .split(ESCAPED_SLASH)
                .any(|part| self.except.iter().any(|name| name.is(part)))
    }

    /// Whether every matching path begins with the segments of `path` and has more segments. `path`
    /// has no slash at its end.
    pub fn begins_with(&self, path: &str) -> bool {
        let literal = &self.segments[..self.many.unwrap_or(self.segments.len())];
        let mut asked = path.split('/').skip(1);
        let mut ours = literal.iter();
        let same = asked.all(|asked| ours.next().is_some_and(|ours| ours == asked));
        same && (ours.next().is_some() || self.many.is_some())
    }

    /// The segments without a star.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        let names = self
            .segments
            .iter()
            .filter(|segment| !segment.contains('*'));
        names.map(String::as_str)
    }

    /// Whether the pattern matches exactly one path.
    pub fn is_literal(&self) -> bool {
        self.many.is_none() && self.segments.iter().all(|segment| !segment.contains('*'))
    }

    /// Matching paths that consist of the pattern's first literal segments and the last segments of
    /// `path`.
    ///
    /// Suggestions for a client with a wrong base URL: `/messages` and `/v1/v1/messages` both lead
    /// to `/v1/messages`.
    pub fn completions(&self, path: &str) -> impl Iterator<Item = Completion> {
        let asked: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
        let is_literal = |segment: &&String| !segment.contains('*');
        let literal = self.segments[..self.many.unwrap_or(self.segments.len())].iter();
        let literal = literal.take_while(is_literal).count();
        // The last segment that is not only `*` has to come from `path`: otherwise every path would
        // lead to every pattern.
        let last_name = self.segments.iter().rposition(|segment| segment != "*");
        let most_added = last_name.unwrap_or_default().min(literal);
        (0..=most_added).flat_map(move |added| {
            let asked = asked.clone();
            let most = asked.len().min(MAX_SKIPPED_SEGMENTS);
            (0..=most).filter_map(move |left_out| {
                let of_many = (added + asked.len() - left_out).checked_sub(self.segments.len());
                let parts = self.segments[..added].iter().map(String::as_str);
                let parts = parts.chain(asked[left_out..].iter().copied());
                let candidate = parts.fold(String::new(), |path, part| path + "/" + part);
                let fits = self.matches(&candidate);
                fits.then_some(Completion {
                    left_out,
                    added,
                    stretched: of_many.unwrap_or_default().saturating_sub(1),
                    path: candidate,
                })
            })
        })
    }
}

/// A segment that no star of a pattern matches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ExceptedName(String);

impl ExceptedName {
    /// Ignores case, because a server may do so too.
    fn is(&self, segment: &str) -> bool {
        self.0.eq_ignore_ascii_case(segment)
    }
}

from_text!(ExceptedName);

impl FromStr for ExceptedName {
    type Err = PathPatternError;

    fn from_str(text: &str) -> Result<Self, PathPatternError> {
        match is_pattern_segment(text) && !text.contains('*') {
            true => Ok(Self(text.to_owned())),
            false => Err(PathPatternError::Name),
        }
    }
}

/// A path that matches a pattern, derived from one that does not.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Completion {
    /// Number of segments removed from the beginning of the original path.
    pub left_out: usize,
    /// Number of segments of the pattern that replace them.
    pub added: usize,
    /// Number of segments that `**` matches beyond the first.
    pub stretched: usize,
    /// The derived path.
    pub path: String,
}

impl FromStr for PathPattern {
    type Err = PathPatternError;

    fn from_str(text: &str) -> Result<Self, PathPatternError> {
        let path = text.strip_prefix('/').ok_or(PathPatternError::Slash)?;
        let mut segments: Vec<String> = path.split('/').map(str::to_owned).collect();
        let many = segments.iter().position(|segment| segment == "**");
        if let Some(many) = many {
            segments.remove(many);
        }
        match segments.iter().all(|segment| is_pattern_segment(segment)) {
            true => Ok(Self {
                segments,
                many,
                except: Vec::new(),
            }),
            false => Err(PathPatternError::Segment),
        }
    }
}

impl fmt::Display for PathPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (before, after) = self.segments.split_at(self.many.unwrap_or_default());
        let many = self.many.map(|_| "**");
        let segments = before.iter().map(String::as_str).chain(many);
        segments
            .chain(after.iter().map(String::as_str))
            .try_for_each(|segment| write!(f, "/{segment}"))
    }
}

/// Why a text is not a path pattern.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PathPatternError {
    /// The text does not start with a slash.
    #[error("expected a path that starts with /")]
    Slash,
    /// A segment that no normalised path can contain.
    #[error(
        "expected segments of letters, digits, -._~:@!$'()+,= and *, and at most one that is **"
    )]
    Segment,
    /// An excluded name that is not a single segment without a star.
    #[error("expected one segment of letters, digits and -._~:@!$'()+,= without *")]
    Name,
}

/// Whether `text` matches `wanted`, in which each `*` matches one or more characters. A star never
/// matches an escaped slash, which some servers treat as a separator and others do not.
///
/// The part after a star is matched at its first occurrence, which loses no match and needs no
/// backtracking.
fn glob(wanted: &str, text: &str) -> bool {
    if text.contains(ESCAPED_SLASH) {
        return false;
    }
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

/// As a normalised path contains it.
const ESCAPED_SLASH: &str = "%2F";

/// Maximum number of wrong segments at the beginning of a path: a base path twice, or that of
/// another API.
const MAX_SKIPPED_SEGMENTS: usize = 3;

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
    fn a_star_matches_one_or_more_characters_of_one_segment() {
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
    fn several_stars_each_match_something() {
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
    fn two_stars_inside_are_an_identifier_with_slashes() {
        let pattern = "/model/**/converse";
        let matching = [
            "/model/a/converse",
            "/model/arn:aws:b:profile/us.c/converse",
            "/model/arn%3Aaws%3Ab%3Aprofile%2Fus.c/converse",
            "/model/converse/converse",
        ];
        let others = [
            "/model/converse",
            "/model//converse",
            "/model/a/converse/",
            "/model/a/converse-stream",
            "/other/a/converse",
        ];
        check(pattern, &matching, &others);
    }

    #[test]
    fn one_star_matches_no_escaped_slash() {
        check("/a/*", &["/a/b%3Ac"], &["/a/b%2Fc", "/a%2Fb"]);
    }

    #[test]
    fn a_star_matches_no_excluded_name() {
        let except = |pattern: &str, names: &[&str]| {
            let names: Vec<ExceptedName> = names.iter().map(|name| name.parse().unwrap()).collect();
            pattern.parse::<PathPattern>().unwrap().except(names)
        };
        let pattern = except("/v1/flows/*/execute", &["deployments", "runs"]);
        for path in ["/v1/flows/mine/execute", "/v1/flows/deployments2/execute"] {
            assert!(pattern.matches(path), "{path}");
        }
        for path in [
            "/v1/flows/deployments/execute",
            "/v1/flows/Deployments/execute",
            "/v1/flows/runs/execute",
        ] {
            assert!(!pattern.matches(path), "{path}");
            assert_eq!(pattern.completions(path).count(), 0, "{path}");
        }
        assert!(except("/v1/runs/*", &["runs"]).matches("/v1/runs/mine"));
        let many = except("/v1/accounts/**", &["secrets"]);
        assert!(many.matches("/v1/accounts/mine/files"));
        for path in [
            "/v1/accounts/secrets",
            "/v1/accounts/mine/secrets/x",
            "/v1/accounts/mine%2Fsecrets%2Fx",
        ] {
            assert!(!many.matches(path), "{path}");
        }
        for text in ["", "a/b", "a*", "..", "a b"] {
            let parsed = text.parse::<ExceptedName>();
            assert_eq!(parsed, Err(PathPatternError::Name), "{text}");
        }
    }

    #[track_caller]
    fn check_completions(pattern: &str, path: &str, expected: &[(usize, usize, &str)]) {
        let parsed: PathPattern = pattern.parse().unwrap();
        let mut found: Vec<_> = parsed.completions(path).collect();
        found.sort();
        let found: Vec<_> = found
            .iter()
            .map(|found| (found.left_out, found.added, found.path.as_str()))
            .collect();
        assert_eq!(found, expected, "{pattern} and {path}");
    }

    #[test]
    fn a_path_without_its_beginning_or_with_another_is_completed() {
        check_completions("/v1/messages", "/messages", &[(0, 1, "/v1/messages")]);
        check_completions(
            "/v1/messages",
            "/v1/v1/messages",
            &[(1, 0, "/v1/messages"), (2, 1, "/v1/messages")],
        );
        check_completions("/v2/chat", "/v1/chat", &[(1, 1, "/v2/chat")]);
        check_completions("/v1/models/*", "/models/x", &[(0, 1, "/v1/models/x")]);
        check_completions(
            "/v1/messages",
            "//v1//messages/",
            &[(0, 0, "/v1/messages"), (1, 1, "/v1/messages")],
        );
        for (pattern, path) in [
            ("/v1/models/*", "/x"),
            ("/v1/models/*", "/v1/files/x"),
            ("/model/**/converse", "/converse"),
        ] {
            check_completions(pattern, path, &[]);
        }
    }

    #[test]
    fn patterns_that_no_normalised_path_matches_are_refused() {
        for text in ["v1", ""] {
            assert_eq!(
                text.parse::<PathPattern>(),
                Err(PathPatternError::Slash),
                "{text}"
            );
        }
        for text in [
            "/", "/a//b", "/a/", "/a/../b", "/./a", "/a b", "/a?b", "/a%2fb", "/a;b", "/**/a/**",
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

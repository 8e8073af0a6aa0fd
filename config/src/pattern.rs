//! Patterns of upstream paths: literal segments, `*` inside one, `**` for the rest.

use std::{fmt, str::FromStr};

/// A path that a provider allows, such as `/v1/models/*` or `/v1beta/models/*:generateContent`.
///
/// A `*` stands for one or more characters other than `/`; a last segment `**` for one or more segments.
/// There is no other magic and no backtracking beyond one segment.
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
        let fixed = self
            .segments
            .iter()
            .all(|wanted| actual.next().is_some_and(|segment| glob(wanted, segment)));
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
    #[error(
        "expected segments of letters, digits, -._~:@!$'()+,;= and *, with ** only as the last"
    )]
    Segment,
}

/// Whether `text` has the form `wanted`, in which each `*` stands for one or more characters.
fn glob(wanted: &str, text: &str) -> bool {
    match wanted.split_once('*') {
        None => wanted == text,
        Some((literal, after)) => text.strip_prefix(literal).is_some_and(|rest| {
            let mut ends = rest
                .char_indices()
                .map(|(start, char)| start + char.len_utf8());
            ends.any(|end| glob(after, &rest[end..]))
        }),
    }
}

fn is_pattern_segment(segment: &str) -> bool {
    !matches!(segment, "" | "." | "..")
        && !segment.contains("**")
        && segment
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || b"-._~:@!$'()+,;=*".contains(&byte))
}

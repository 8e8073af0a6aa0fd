//! Parses the request's target: workspace, provider, and path at the provider.
//!
//! A path is normalised once, and what was checked is forwarded. Anything that two servers could
//! read differently is refused instead of repaired. Runs once for each request; allocates only if a
//! path has escapes.

use std::borrow::Cow;

use http::Method;
use keyside_config::{Provider, Route, hex_number};

use crate::refusal::Refusal;

/// A parsed target: `/{provider}{rest}` or `/w/{workspace}/{provider}{rest}`.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub(crate) workspace: Option<&'a str>,
    pub(crate) provider: &'a str,
    /// The path at the provider; starts with a slash.
    pub(crate) rest: &'a str,
}

/// A request's path, read once.
pub(crate) struct RequestPath<'a> {
    /// As the client sent it.
    pub(crate) written: &'a str,
    /// Normalised. If servers could read the path differently, only refusals use this: it is then
    /// without double slashes, if that makes it unambiguous, or else as the client sent it.
    pub(crate) text: Cow<'a, str>,
    /// Whether `text` may be forwarded.
    pub(crate) checked: Result<(), Refusal>,
}

impl<'a> RequestPath<'a> {
    pub(crate) fn read(written: &'a str) -> Self {
        let (text, checked) = match normalise(written) {
            Ok(text) => (text, Ok(())),
            Err(refusal) => (without_double_slashes(written), Err(refusal)),
        };
        Self {
            written,
            text,
            checked,
        }
    }
}

fn without_double_slashes(written: &str) -> Cow<'_, str> {
    match normalise(&written.replace("//", "/")) {
        Ok(text) => Cow::Owned(text.into_owned()),
        Err(_) => Cow::Borrowed(written),
    }
}

/// Returns the path if all servers read it alike. Escaped slashes are kept, for identifiers that
/// contain slashes (`PathPattern` says where); the path must then be unambiguous both with them and
/// with them decoded, so that neither reading climbs up.
fn normalise(path: &str) -> Result<Cow<'_, str>, Refusal> {
    let path = unescape_unreserved(path)?;
    // A path without escapes is borrowed.
    let is_escaped = matches!(&path, Cow::Owned(path) if path.contains(ESCAPED_SLASH));
    let undone = is_escaped.then(|| path.replace(ESCAPED_SLASH, "/"));
    let is_plain = is_unambiguous(path.as_bytes())
        && undone.is_none_or(|undone| !undone.ends_with('/') && is_unambiguous(undone.as_bytes()));
    match is_plain {
        true => Ok(path),
        false => Err(Refusal::PathNotAllowed),
    }
}

/// No empty, `.` or `..` segment, visible ASCII only, and no character that some servers treat as a
/// separator.
fn is_unambiguous(path: &[u8]) -> bool {
    let plain = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'\\' | b';');
    let clear = |segment: &[u8]| !matches!(segment, b"." | b"..") && segment.iter().all(plain);
    let Some(segments) = path.strip_prefix(b"/") else {
        return false;
    };
    let mut segments = segments.split(|byte| *byte == b'/');
    // Only the last segment may be empty: a path may end with a slash.
    segments.next_back().is_some_and(clear)
        && segments.all(|segment| !segment.is_empty() && clear(segment))
}

/// The route that allows this request, and the path to forward. If only the path with its colons
/// decoded is a route, that one is forwarded: some clients escape the colon of
/// `models/x:generateContent`. The route's own upstream prefix is added.
pub(crate) fn find<'a>(
    provider: &'a Provider,
    method: &Method,
    path: &str,
) -> Option<(&'a Route, String)> {
    if let Some(route) = provider.route(method, path) {
        return Some((route, route.upstream_path(path)));
    }
    let plain = path
        .contains(ESCAPED_COLON)
        .then(|| path.replace(ESCAPED_COLON, ":"))?;
    let route = provider.route(method, &plain)?;
    Some((route, route.upstream_path(&plain)))
}

/// Splits a normalised path. `None` if it names neither workspace nor provider; the provider is
/// empty if only the workspace is named.
pub(crate) fn split(path: &str) -> Option<Target<'_>> {
    let (first, rest) = segment(path)?;
    let (workspace, provider, rest) = match first {
        "w" => {
            let (workspace, rest) = segment(rest)?;
            let (provider, rest) = segment(rest).unwrap_or(("", ""));
            (Some(workspace), provider, rest)
        }
        provider => (None, provider, rest),
    };
    Some(Target {
        workspace,
        provider,
        rest: if rest.is_empty() { "/" } else { rest },
    })
}

fn segment(path: &str) -> Option<(&str, &str)> {
    let path = path.strip_prefix('/')?;
    let (segment, rest) =
        path.split_at(memchr::memchr(b'/', path.as_bytes()).unwrap_or(path.len()));
    (!segment.is_empty()).then_some((segment, rest))
}

/// Decodes escapes of unreserved characters, which mean the same either way (RFC 3986 section
/// 6.2.2.2). Refuses escapes that a server could take for structure, or that no path needs.
fn unescape_unreserved(path: &str) -> Result<Cow<'_, str>, Refusal> {
    if memchr::memchr(b'%', path.as_bytes()).is_none() {
        return Ok(Cow::Borrowed(path));
    }
    let mut plain = String::with_capacity(path.len());
    let mut pieces = path.split('%');
    plain.push_str(pieces.next().unwrap_or_default());
    for piece in pieces {
        let digits = piece.get(..2).ok_or(Refusal::PathNotAllowed)?;
        let byte = hex_number(digits.as_bytes()).and_then(|number| u8::try_from(number).ok());
        match byte.ok_or(Refusal::PathNotAllowed)? {
            byte if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) => {
                plain.push(char::from(byte));
            }
            b'\\' | b'%' | b';' | b'?' | b'#' | 0..=0x1f | 0x7f => {
                return Err(Refusal::PathNotAllowed);
            }
            byte => plain.push_str(&format!("%{byte:02X}")),
        }
        plain.push_str(&piece[2..]);
    }
    Ok(Cow::Owned(plain))
}

const ESCAPED_SLASH: &str = "%2F";
const ESCAPED_COLON: &str = "%3A";

#[cfg(test)]
mod tests;

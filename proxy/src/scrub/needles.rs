//! Searches a response for several secrets in one pass: leftmost first, and the longest of those
//! that begin at one place.
//!
//! The result depends only on the text and not on how it was cut into chunks: anything that begins
//! before the end and could continue after it stays undecided until more text arrives.

use keyside_credentials::{SHORTEST_SECRET, Secret};
use memchr::memchr;

use super::forms::{Case, Text, may_be_escaped_in};
use crate::search::{Anchor, partial_at_end};

/// All secrets of one credential that a provider may know.
pub(super) struct Needles {
    secrets: Vec<(Secret, Anchor)>,
    shortest: usize,
}

/// What begins at a position.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nothing,
    /// A secret, which ends here.
    Secret(usize),
    /// Text that could become a secret, or a longer one, with what follows.
    Incomplete,
}

/// Whether a text is complete.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Extent {
    /// More text may follow.
    Partial,
    Complete,
}

impl Needles {
    pub(super) fn new(secrets: impl IntoIterator<Item = Secret>) -> Self {
        // An older release may have stored shorter secrets. Masking those would damage ordinary
        // text.
        let long = |secret: &Secret| secret.len() >= SHORTEST_SECRET;
        let secrets: Vec<_> = secrets
            .into_iter()
            .filter(long)
            .map(|secret| {
                let anchor = Anchor::of(secret.expose());
                (secret, anchor)
            })
            .collect();
        let shortest = secrets.iter().map(|(secret, _)| secret.len()).min();
        Self {
            secrets,
            shortest: shortest.unwrap_or(usize::MAX),
        }
    }

    /// Whether a text of this length can contain a secret.
    pub(super) fn fit_in(&self, length: usize) -> bool {
        length >= self.shortest
    }

    /// The first secret in `bytes`, or the first prefix of one at their end.
    pub(super) fn first(&self, bytes: &[u8], case: Case, extent: Extent) -> Option<(usize, Found)> {
        self.next(bytes, 0, self.search_mode(bytes, case), case, extent)
    }

    /// Masks every secret in `bytes`. Returns the start of an unfinished secret at their end,
    /// otherwise their length.
    pub(super) fn mask(&self, bytes: &mut [u8], case: Case, extent: Extent) -> usize {
        let search_mode = self.search_mode(bytes, case);
        let mut from = 0;
        while let Some((start, found)) = self.next(bytes, from, search_mode, case, extent) {
            let Found::Secret(end) = found else {
                return start;
            };
            bytes[start..end].fill(b'*');
            from = end;
        }
        bytes.len()
    }

    fn search_mode(&self, bytes: &[u8], case: Case) -> SearchMode {
        let wants = |byte| {
            let mut secrets = self.secrets.iter();
            secrets.any(|(secret, _)| memchr(byte, secret.expose()).is_some())
        };
        match case == Case::Exact && !may_be_escaped_in(bytes, wants) {
            true => SearchMode::Unescaped,
            false => SearchMode::MaybeEscaped,
        }
    }

    fn next(
        &self,
        bytes: &[u8],
        mut from: usize,
        search_mode: SearchMode,
        case: Case,
        extent: Extent,
    ) -> Option<(usize, Found)> {
        let text = Text::new(bytes, case);
        loop {
            let start = match search_mode {
                SearchMode::Unescaped => self.plain(bytes, from),
                SearchMode::MaybeEscaped => self.any(&text, from, bytes.len()),
            }?;
            match self.at(&text, start, extent) {
                Found::Nothing => from = start + 1,
                found => return Some((start, found)),
            }
        }
    }

    /// The next position of an unescaped secret, or of the prefix of one at the end.
    fn plain(&self, bytes: &[u8], from: usize) -> Option<usize> {
        let rest = &bytes[from..];
        let next = |(secret, anchor): &(Secret, Anchor)| {
            let found = anchor.find(rest, secret.expose());
            found.or_else(|| match partial_at_end(rest, secret.expose()) {
                0 => None,
                partial => Some(rest.len() - partial),
            })
        };
        let next = self.secrets.iter().filter_map(next).min();
        next.map(|at| from + at)
    }

    /// The next position where a form of a secret can begin.
    fn any(&self, text: &Text<'_>, from: usize, end: usize) -> Option<usize> {
        let begins = |at: &usize| {
            let mut firsts = self.secrets.iter().map(|(secret, _)| secret.expose()[0]);
            firsts.any(|first| text.can_begin(*at, first))
        };
        (from..end).find(begins)
    }

    fn at(&self, text: &Text<'_>, start: usize, extent: Extent) -> Found {
        let ends = self.secrets.iter();
        let ends = ends.filter_map(|(secret, _)| text.longest(start, secret.expose()));
        let longest = ends.max();
        match longest {
            _ if text.was_incomplete() && extent == Extent::Partial => Found::Incomplete,
            Some(end) => Found::Secret(end),
            None => Found::Nothing,
        }
    }
}

/// Which forms to search for.
#[derive(Clone, Copy)]
enum SearchMode {
    /// The text contains no relevant escape.
    Unescaped,
    MaybeEscaped,
}

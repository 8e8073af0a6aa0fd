//! Lists, a page at a time.

use serde::Serialize;
use utoipa::ToSchema;

/// One page. `nextCursor` is opaque: it leads to what follows this page, also when the list has changed meanwhile.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// The first `limit` of `rest`, each as `view` shows it. The cursor is `place` of the last one, if more follow.
    pub(crate) fn first<S>(
        rest: impl IntoIterator<Item = S>,
        limit: usize,
        place: impl Fn(&S) -> String,
        view: impl Fn(S) -> T,
    ) -> Self {
        let mut rest = rest.into_iter();
        let shown: Vec<_> = rest.by_ref().take(limit).collect();
        let more = rest.next().is_some();
        let next_cursor = shown.last().filter(|_| more).map(place);
        Self {
            items: shown.into_iter().map(view).collect(),
            next_cursor,
        }
    }

    /// What was found so far, and where to look on.
    pub(crate) fn with_cursor(items: Vec<T>, next_cursor: Option<String>) -> Self {
        Self { items, next_cursor }
    }

    /// All there is.
    pub(crate) fn complete(items: Vec<T>) -> Self {
        Self {
            items,
            next_cursor: None,
        }
    }
}

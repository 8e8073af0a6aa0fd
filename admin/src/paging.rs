//! Pages of lists.

use serde::Serialize;
use utoipa::ToSchema;

/// One page. `nextCursor` is opaque; it continues after this page even if the list has changed
/// since.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Page<T> {
    items: Vec<T>,
    next_cursor: Option<String>,
}

impl<T> Page<T> {
    /// The first `limit` items of `rest`, mapped by `view`. If more follow, the cursor is `place`
    /// of the last item.
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

    /// One page of a search. More may follow if there is a cursor.
    pub(crate) fn found(items: Vec<T>, next_cursor: Option<String>) -> Self {
        Self { items, next_cursor }
    }

    /// The complete list on one page.
    pub(crate) fn complete(items: Vec<T>) -> Self {
        Self {
            items,
            next_cursor: None,
        }
    }
}

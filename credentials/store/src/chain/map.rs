//! The map from document names to objects, in pages that a commit replaces individually.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{CommitError, head::ObjectRef};

/// One document of the map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The document's name within its chain.
    pub name: Box<str>,
    /// Number of writes so far, from 1.
    pub revision: u64,
    /// The object with its contents.
    pub object: ObjectRef,
}

/// All documents of a chain. Successive maps share unchanged pages.
#[derive(Clone, Default)]
pub(super) struct Map {
    pub(super) pages: Vec<Arc<Page>>,
    /// The object that lists the pages, if there are more than fit into a head.
    pub(super) index: Option<ObjectRef>,
}

/// Documents with adjacent names.
pub(super) struct Page {
    /// Where the page is stored; `None` until it is written.
    pub(super) object: Option<ObjectRef>,
    /// Sorted by name, never empty.
    pub(super) entries: Vec<Entry>,
}

impl Map {
    pub(super) fn documents(&self) -> impl Iterator<Item = &Entry> {
        self.pages.iter().flat_map(|page| &page.entries)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Entry> {
        let page = self.pages.get(self.page_of(name))?;
        let at = page
            .entries
            .binary_search_by(|entry| (*entry.name).cmp(name));
        at.ok().map(|at| &page.entries[at])
    }

    /// The last page that begins at or before `name`, or the first page.
    fn page_of(&self, name: &str) -> usize {
        let after = self
            .pages
            .partition_point(|page| &*page.entries[0].name <= name);
        after.saturating_sub(1)
    }

    /// Inserts a document, or replaces the one with the same name.
    pub(super) fn insert(&mut self, entry: Entry) {
        let at = self.page_of(&entry.name);
        let Some(page) = self.pages.get(at) else {
            self.pages.push(Page::unwritten(vec![entry]));
            return;
        };
        let mut entries = page.entries.clone();
        match entries.binary_search_by(|other| other.name.cmp(&entry.name)) {
            Ok(position) => entries[position] = entry,
            Err(position) => entries.insert(position, entry),
        }
        if entries.len() > MAX_PAGE_ENTRIES {
            let upper = entries.split_off(MAX_PAGE_ENTRIES / 2);
            self.pages.insert(at + 1, Page::unwritten(upper));
        }
        self.pages[at] = Page::unwritten(entries);
    }

    /// Removes a document.
    pub(super) fn remove(&mut self, name: &str) -> Option<Entry> {
        let at = self.page_of(name);
        let page = self.pages.get(at)?;
        let found = page
            .entries
            .binary_search_by(|entry| (*entry.name).cmp(name));
        let mut entries = page.entries.clone();
        let removed = entries.remove(found.ok()?);
        match entries.is_empty() {
            true => drop(self.pages.remove(at)),
            false => self.pages[at] = Page::unwritten(entries),
        }
        Some(removed)
    }

    /// Refuses a map with too many pages, unless it has no more documents than its predecessor.
    pub(super) fn check_capacity(&self, before: Option<&Self>) -> Result<(), CommitError> {
        let count_before = || before.map_or(0, |before| before.documents().count());
        match self.pages.len() > MAX_PAGES && self.documents().count() > count_before() {
            true => Err(CommitError::TooManyDocuments),
            false => Ok(()),
        }
    }

    /// The pages, all of which must be written.
    pub(super) fn page_objects(&self) -> Vec<ObjectRef> {
        self.pages.iter().filter_map(|page| page.object).collect()
    }

    /// Every object that the map names.
    pub(super) fn objects(&self) -> impl Iterator<Item = ObjectRef> {
        let pages = self.pages.iter().filter_map(|page| page.object);
        let documents = self.documents().map(|entry| entry.object);
        self.index.into_iter().chain(pages).chain(documents)
    }
}

impl Page {
    fn unwritten(entries: Vec<Entry>) -> Arc<Self> {
        Arc::new(Self {
            object: None,
            entries,
        })
    }
}

/// Maximum number of documents in a page: about 5 KB.
const MAX_PAGE_ENTRIES: usize = 64;
/// Maximum number of pages in a chain: at least 32,768 documents, since pages split in half, and an
/// index of 40 KB.
const MAX_PAGES: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Hash;

    fn entry(name: usize) -> Entry {
        Entry {
            name: format!("{name:06}").into(),
            revision: 1,
            object: ObjectRef {
                seq: 1,
                hash: Hash::default(),
            },
        }
    }

    fn names(map: &Map) -> Vec<String> {
        map.documents()
            .map(|entry| entry.name.to_string())
            .collect()
    }

    #[test]
    fn a_map_is_sorted_and_searchable_for_any_insertion_order() {
        let mut map = Map::default();
        for number in (0..1_000).map(|number| number * 7 % 1_000) {
            map.insert(entry(number));
        }
        assert!(names(&map).is_sorted() && names(&map).len() == 1_000);
        for number in (0..1_000).step_by(2) {
            assert!(map.remove(&entry(number).name).is_some());
        }
        for number in 0..1_000 {
            assert_eq!(map.get(&entry(number).name).is_some(), number % 2 == 1);
        }
        assert!(map.pages.iter().all(|page| !page.entries.is_empty()));
    }

    /// So that what exists can still be revoked.
    #[test]
    fn every_document_of_a_full_map_can_be_replaced() {
        let (mut full, mut count) = (Map::default(), 0);
        while full.pages.len() < MAX_PAGES
            || full.pages[MAX_PAGES - 1].entries.len() < MAX_PAGE_ENTRIES
        {
            full.insert(entry(count));
            count += 1;
        }
        let mut more = full.clone();
        more.insert(entry(count));
        assert!(more.check_capacity(Some(&full)).is_err());
        more.remove(&entry(0).name);
        more.check_capacity(Some(&full))
            .expect("one takes the place of another");
        for number in 0..count {
            full.insert(entry(number));
            full.check_capacity(None).unwrap();
        }
        assert_eq!(full.documents().count(), count);
    }

    #[test]
    fn a_chain_takes_32768_documents_in_any_order() {
        for step in [1, 7] {
            let mut map = Map::default();
            for number in 0..32_768 {
                map.insert(entry(number * step % 32_768));
            }
            map.check_capacity(None).unwrap();
            assert_eq!(map.documents().count(), 32_768);
        }
    }
}

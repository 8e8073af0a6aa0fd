//! The map from documents to objects, in pages that a commit replaces one by one.

use std::sync::Arc;

use serde::{Deserialize, Serialize};

use super::{
    commit::CommitError,
    head::{ObjectRef, PAGES},
};

/// One document.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// What it is called within its chain.
    pub name: Box<str>,
    /// How often it was written, from 1.
    pub revision: u64,
    /// Its bytes.
    pub object: ObjectRef,
}

/// All documents of a chain. One map and the next share the pages that did not change.
#[derive(Clone, Default)]
pub(super) struct Map {
    pub(super) pages: Vec<Arc<Page>>,
    /// Oldest first.
    pub(super) archived: Vec<Arc<ArchivePage>>,
}

/// Documents in use whose names follow each other.
pub(super) struct Page {
    /// Where it stands; none while it is not written.
    pub(super) object: Option<ObjectRef>,
    /// In order of their names, and never empty.
    pub(super) entries: Vec<Entry>,
}

/// Documents that can change no more.
pub(super) struct ArchivePage {
    pub(super) object: Option<ObjectRef>,
    pub(super) contents: Archived,
}

/// An archive page as it is stored.
#[derive(Clone, Default, Serialize, Deserialize)]
pub(super) struct Archived {
    pub(super) previous: Option<ObjectRef>,
    pub(super) entries: Vec<Entry>,
}

impl Map {
    pub(super) fn live(&self) -> impl Iterator<Item = &Entry> {
        self.pages.iter().flat_map(|page| &page.entries)
    }

    pub(super) fn archived(&self) -> impl Iterator<Item = &Entry> {
        let pages = self.archived.iter();
        pages.flat_map(|page| &page.contents.entries)
    }

    pub(super) fn get(&self, name: &str) -> Option<&Entry> {
        let page = self.pages.get(self.page_of(name))?;
        let at = page
            .entries
            .binary_search_by(|entry| (*entry.name).cmp(name));
        at.ok().map(|at| &page.entries[at])
    }

    /// The last page that begins at or before `name`, or the first.
    fn page_of(&self, name: &str) -> usize {
        let after = self
            .pages
            .partition_point(|page| &*page.entries[0].name <= name);
        after.saturating_sub(1)
    }

    /// Puts a document in, in the place of the one of its name.
    pub(super) fn insert(&mut self, entry: Entry) {
        let at = self.page_of(&entry.name);
        let Some(page) = self.pages.get(at) else {
            self.pages.push(Page::unwritten(vec![entry]));
            return;
        };
        let mut entries = page.entries.clone();
        match entries.binary_search_by(|other| other.name.cmp(&entry.name)) {
            Ok(there) => entries[there] = entry,
            Err(place) => entries.insert(place, entry),
        }
        if entries.len() > ENTRIES {
            let upper = entries.split_off(ENTRIES / 2);
            self.pages.insert(at + 1, Page::unwritten(upper));
        }
        self.pages[at] = Page::unwritten(entries);
    }

    /// Takes a document out.
    pub(super) fn remove(&mut self, name: &str) -> Option<Entry> {
        let at = self.page_of(name);
        let page = self.pages.get(at)?;
        let there = page
            .entries
            .binary_search_by(|entry| (*entry.name).cmp(name));
        let mut entries = page.entries.clone();
        let removed = entries.remove(there.ok()?);
        match entries.is_empty() {
            true => drop(self.pages.remove(at)),
            false => self.pages[at] = Page::unwritten(entries),
        }
        Some(removed)
    }

    /// Puts a document among those that can change no more.
    pub(super) fn archive(&mut self, entry: Entry) {
        let newest = self.archived.last();
        let has_room = |page: &&Arc<ArchivePage>| page.contents.entries.len() < ENTRIES;
        let contents = match newest.filter(has_room) {
            Some(page) => {
                let mut contents = page.contents.clone();
                contents.entries.push(entry);
                self.archived.pop();
                contents
            }
            None => Archived {
                // One that is full was written by the commit that has filled it.
                previous: newest.and_then(|page| page.object),
                entries: vec![entry],
            },
        };
        let page = ArchivePage {
            object: None,
            contents,
        };
        self.archived.push(Arc::new(page));
    }

    /// Fills the pages up, where there are more than a head can name.
    pub(super) fn fit(&mut self) -> Result<(), CommitError> {
        if self.pages.len() <= PAGES {
            return Ok(());
        }
        let entries: Vec<_> = self.live().cloned().collect();
        if entries.len() > PAGES * ENTRIES {
            return Err(CommitError::TooManyDocuments);
        }
        let chunks = entries.chunks(ENTRIES);
        self.pages = chunks
            .map(|chunk| Page::unwritten(chunk.to_vec()))
            .collect();
        Ok(())
    }

    /// Everything that it names.
    pub(super) fn objects(&self) -> impl Iterator<Item = ObjectRef> {
        let pages = self.pages.iter().filter_map(|page| page.object);
        let archived = self.archived.iter().filter_map(|page| page.object);
        let documents = self.live().chain(self.archived());
        pages
            .chain(archived)
            .chain(documents.map(|entry| entry.object))
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

/// Documents of a page: some 5 KB.
const ENTRIES: usize = 64;

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
        map.live().map(|entry| entry.name.to_string()).collect()
    }

    #[test]
    fn whatever_the_order_a_map_is_sorted_and_finds_what_is_in_it() {
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

    #[test]
    fn a_head_takes_4096_documents_and_one_more_is_refused() {
        let mut map = Map::default();
        for number in 0..PAGES * ENTRIES {
            map.insert(entry(number));
            map.fit().unwrap();
        }
        assert_eq!(map.pages.len(), PAGES);
        map.insert(entry(1_000_000));
        assert!(matches!(map.fit(), Err(CommitError::TooManyDocuments)));
    }

    #[test]
    fn archived_documents_take_no_room_of_the_others() {
        let mut map = Map::default();
        for number in 0..10_000 {
            map.archive(entry(number));
            let page = map.archived.pop().unwrap();
            // As a commit does.
            map.archived.push(Arc::new(ArchivePage {
                object: Some(entry(number).object),
                contents: page.contents.clone(),
            }));
        }
        assert_eq!(map.archived().count(), 10_000);
        assert!(map.pages.is_empty());
    }
}

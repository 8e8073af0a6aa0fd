//! A persistent map: versions share their common parts. An insertion copies a path of sixteen
//! pointers per level, never the map, so requests can read one version while the next is built.
//!
//! A hash trie. A leaf holds a few entries and is searched without hashing.

use std::{
    borrow::Borrow,
    hash::{BuildHasher, Hash, RandomState},
    sync::Arc,
};

/// Cloning takes the same time for any size.
#[derive(Clone)]
pub(crate) struct SharedMap<K, V> {
    root: Node<K, V>,
    hasher: RandomState,
    len: usize,
}

#[derive(Clone)]
enum Node<K, V> {
    Leaf(Arc<[(K, V)]>),
    Branch(Arc<[Node<K, V>; WIDTH]>),
}

impl<K: Hash + Eq + Clone, V: Clone> SharedMap<K, V> {
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// No lock and no allocation; one hash at most.
    pub(crate) fn get<Q>(&self, key: &Q) -> Option<&V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        let mut node = &self.root;
        let mut hash = None;
        loop {
            match node {
                Node::Leaf(entries) => {
                    let found = entries.iter().find(|(known, _)| known.borrow() == key);
                    return found.map(|(_, value)| value);
                }
                Node::Branch(children) => {
                    let hash = hash.get_or_insert_with(|| self.hasher.hash_one(key));
                    node = &children[digit(*hash)];
                    *hash >>= DIGIT_BITS;
                }
            }
        }
    }

    pub(crate) fn contains_key<Q>(&self, key: &Q) -> bool
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.get(key).is_some()
    }

    pub(crate) fn insert(&mut self, key: K, value: V) {
        self.len += usize::from(!self.contains_key(&key));
        let hash = self.hasher.hash_one(&key);
        self.root.insert(hash, 0, key, value, &self.hasher);
    }

    pub(crate) fn remove<Q>(&mut self, key: &Q)
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        if !self.contains_key(key) {
            return;
        }
        self.len -= 1;
        let mut hash = self.hasher.hash_one(key);
        let mut node = &mut self.root;
        while let Node::Branch(children) = node {
            node = &mut Arc::make_mut(children)[digit(hash)];
            hash >>= DIGIT_BITS;
        }
        if let Node::Leaf(entries) = node {
            let others = entries.iter().filter(|(known, _)| known.borrow() != key);
            *entries = others.cloned().collect();
        }
    }

    /// In no particular order.
    pub(crate) fn values(&self) -> impl Iterator<Item = &V> {
        let mut nodes = vec![&self.root];
        let mut leaf = [].iter();
        std::iter::from_fn(move || {
            loop {
                if let Some((_, value)) = leaf.next() {
                    return Some(value);
                }
                match nodes.pop()? {
                    Node::Leaf(entries) => leaf = entries.iter(),
                    Node::Branch(children) => nodes.extend(children.iter()),
                }
            }
        })
    }
}

impl<K: Hash + Eq + Clone, V: Clone> Node<K, V> {
    /// `hash` is the rest of the key's hash below `depth` levels.
    fn insert(&mut self, hash: u64, depth: u32, key: K, value: V, hasher: &RandomState) {
        match self {
            // In place if no other version shares the branch, otherwise in a copy.
            Self::Branch(children) => Arc::make_mut(children)[digit(hash)].insert(
                hash >> DIGIT_BITS,
                depth + 1,
                key,
                value,
                hasher,
            ),
            Self::Leaf(entries) => {
                let others = entries.iter().filter(|(known, _)| *known != key).cloned();
                let mut entries: Vec<_> = others.collect();
                entries.push((key, value));
                *self = match entries.len() > LEAF && depth < LEVELS {
                    true => Self::split(entries, depth, hasher),
                    false => Self::Leaf(entries.into()),
                };
            }
        }
    }

    fn split(entries: Vec<(K, V)>, depth: u32, hasher: &RandomState) -> Self {
        let mut parts: [Vec<(K, V)>; WIDTH] = std::array::from_fn(|_| Vec::new());
        for (key, value) in entries {
            let hash = hasher.hash_one(&key) >> (depth * DIGIT_BITS);
            parts[digit(hash)].push((key, value));
        }
        Self::Branch(Arc::new(parts.map(|part| {
            match part.len() > LEAF && depth + 1 < LEVELS {
                true => Self::split(part, depth + 1, hasher),
                false => Self::leaf(part),
            }
        })))
    }

    /// Empty leaves share one allocation: a branch has many of them.
    fn leaf(entries: Vec<(K, V)>) -> Self {
        Self::Leaf(match entries.is_empty() {
            true => Arc::default(),
            false => entries.into(),
        })
    }
}

fn digit(hash: u64) -> usize {
    (hash % WIDTH as u64) as usize
}

/// Children of a branch. A change copies one branch of this width per level.
const WIDTH: usize = 16;
const DIGIT_BITS: u32 = WIDTH.trailing_zeros();
/// Below the last level, a leaf holds any number of entries.
const LEVELS: u32 = u64::BITS / DIGIT_BITS;
/// Entries of a leaf above the last level; a fuller one becomes a branch.
const LEAF: usize = 4;

impl<K, V> Default for SharedMap<K, V> {
    fn default() -> Self {
        Self {
            root: Node::Leaf(Arc::default()),
            hasher: RandomState::new(),
            len: 0,
        }
    }
}

impl<K: Hash + Eq + Clone, V: Clone> FromIterator<(K, V)> for SharedMap<K, V> {
    fn from_iter<I: IntoIterator<Item = (K, V)>>(entries: I) -> Self {
        let mut map = Self::default();
        for (key, value) in entries {
            map.insert(key, value);
        }
        map
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_map_equals_a_hash_map_and_earlier_versions_do_not_change(
            changes in proptest::collection::vec((0..400u16, proptest::option::weighted(0.7, any::<u8>())), 0..600)
        ) {
            let mut map = SharedMap::default();
            let mut model = HashMap::new();
            let mut earlier = Vec::new();
            for (n, (key, value)) in changes.into_iter().enumerate() {
                match value {
                    Some(value) => { map.insert(key, value); model.insert(key, value); }
                    None => { map.remove(&key); model.remove(&key); }
                }
                if n % 100 == 0 {
                    earlier.push((map.clone(), model.clone()));
                }
            }
            earlier.push((map, model));
            for (map, model) in earlier {
                prop_assert_eq!(map.len(), model.len());
                prop_assert_eq!(map.values().count(), model.len());
                for key in 0..400 {
                    prop_assert_eq!(map.get(&key), model.get(&key));
                }
            }
        }
    }

    /// Equal hashes all the way down.
    #[derive(Clone, PartialEq, Eq)]
    struct Colliding(u8);

    impl Hash for Colliding {
        fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
            0.hash(state);
        }
    }

    #[test]
    fn keys_with_equal_hashes_are_all_kept() {
        let map: SharedMap<_, _> = (0..50).map(|n| (Colliding(n), n)).collect();
        for n in 0..50 {
            assert_eq!(map.get(&Colliding(n)), Some(&n));
        }
        assert_eq!(map.get(&Colliding(50)), None);
    }

    /// A value that counts how often it is copied.
    #[derive(Clone)]
    struct Counted(#[expect(dead_code, reason = "only its count is looked at")] Arc<()>);

    #[test]
    fn the_ten_thousandth_insertion_costs_as_much_as_the_first() {
        let token = Arc::new(());
        let mut map: SharedMap<_, _> = (0..10_000).map(|n| (n, Counted(token.clone()))).collect();
        for n in 10_000..10_100 {
            let before = Arc::strong_count(&token);
            let earlier = map.clone();
            map.insert(n, Counted(token.clone()));
            // All entries are in leaves, so what was copied shows in the count of what they
            // share.
            let copied = Arc::strong_count(&token) - before;
            assert!(copied <= 2 * LEAF, "{copied} entries were copied");
            drop(earlier);
        }
    }
}

//! A provider's usage rules, compiled once at start into a tree of the keys that lead to counts,
//! and sums of counts.

use std::{iter, ops::Range};

use keyside_config::{self as config, KeyPath, Sign, UsageRule};
use memchr::memmem::Finder;

/// What to look for in a provider's messages.
pub(crate) struct Rules {
    /// The tree of keys; the first node is the message itself.
    nodes: Vec<Node>,
    pub(super) rules: Vec<Rule>,
    /// The number of counts in all rules. Each count has a number below this.
    pub(super) counts: usize,
    /// Text that every message with a count contains; other messages may contain it too.
    markers: Vec<Finder<'static>>,
    /// Whether binary WebSocket messages may be JSON.
    pub(super) binary: bool,
}

/// A value, identified by the keys that lead to it.
#[derive(Default)]
struct Node {
    children: Vec<(Box<[u8]>, usize)>,
    /// The node of each item, if the value is a list.
    items: Option<usize>,
    /// Whether the value is an item of a list.
    is_item: bool,
    /// The counts that a number here sets.
    counts: Vec<Count>,
    /// Strings here that mark the end of a response, each with its rule.
    endings: Vec<(Box<[u8]>, usize)>,
}

/// A count's number, and the rule that it belongs to.
#[derive(Clone, Copy)]
pub(super) struct Count {
    pub(super) number: usize,
    pub(super) rule: usize,
}

/// How one rule computes token counts.
pub(super) struct Rule {
    pub(super) counts: Range<usize>,
    pub(super) input: Vec<Sum>,
    pub(super) output: Vec<Sum>,
    pub(super) cached_input: Vec<Sum>,
    pub(super) cache_write: Vec<Sum>,
    pub(super) reasoning: Vec<Sum>,
    /// Whether the rule names messages that end a response.
    pub(super) has_endings: bool,
}

/// Counts to add or subtract, by number.
pub(super) struct Sum {
    pub(super) first: usize,
    pub(super) more: Vec<(Sign, usize)>,
}

impl Rules {
    pub(crate) fn new(rules: &[UsageRule]) -> Self {
        let mut compiled = Self {
            nodes: vec![Node::default()],
            rules: Vec::with_capacity(rules.len()),
            counts: 0,
            markers: markers(rules),
            binary: rules.iter().any(|rule| rule.binary),
        };
        for rule in rules {
            compiled.add(rule);
        }
        compiled
    }

    /// The node that `key` leads to in the object at `node`, if any.
    pub(super) fn child(&self, node: usize, key: &[u8]) -> Option<usize> {
        let children = &self.nodes.get(node)?.children;
        let child = children.iter().find(|(name, _)| **name == *key);
        child.map(|(_, child)| *child)
    }

    /// Whether the object at `node` can contain a count.
    pub(super) fn has_children(&self, node: usize) -> bool {
        let node = self.nodes.get(node);
        node.is_some_and(|node| !node.children.is_empty())
    }

    /// The node of the items of the list at `node`, if they can contain a count.
    pub(super) fn items(&self, node: usize) -> Option<usize> {
        self.nodes.get(node)?.items
    }

    /// Whether the object at `node` is an item of a list.
    pub(super) fn is_item(&self, node: usize) -> bool {
        self.nodes.get(node).is_some_and(|node| node.is_item)
    }

    /// The counts that a number at `node` sets.
    pub(super) fn counts_at(&self, node: usize) -> &[Count] {
        match self.nodes.get(node) {
            Some(node) => &node.counts,
            None => &[],
        }
    }

    /// The rules by which `text` at `node` ends a response.
    pub(super) fn ended_by(&self, node: usize, text: &[u8]) -> impl Iterator<Item = usize> {
        let endings = self.nodes.get(node).map(|node| node.endings.iter());
        let ended = endings.into_iter().flatten();
        ended
            .filter(move |(value, _)| **value == *text)
            .map(|(_, rule)| *rule)
    }

    /// Whether these bytes may contain a message with a count. Costs a search for one or a few
    /// words.
    pub(super) fn may_report(&self, bytes: &[u8]) -> bool {
        self.markers.iter().any(|marker| {
            let mut found = marker.find_iter(bytes);
            found.any(|start| !is_null(&bytes[start + marker.needle().len()..]))
        })
    }

    fn add(&mut self, rule: &UsageRule) {
        let index = self.rules.len();
        let numbers = Numbers {
            first: self.counts,
            fields: fields(rule),
        };
        self.counts += numbers.fields.len();
        for (number, field) in (numbers.first..).zip(&numbers.fields) {
            for holder in holders(rule) {
                let node = self.node_at(holder.iter().chain(field.keys()));
                let count = Count {
                    number,
                    rule: index,
                };
                self.nodes[node].counts.push(count);
            }
        }
        for ending in &rule.ends {
            let node = self.node_at(ending.path.keys().iter());
            let value = ending.value.as_bytes().into();
            self.nodes[node].endings.push((value, index));
        }
        self.rules.push(Rule {
            counts: numbers.first..self.counts,
            input: numbers.sums(&rule.input),
            output: numbers.sums(&rule.output),
            cached_input: numbers.sums(&rule.cached_input),
            cache_write: numbers.sums(&rule.cache_write),
            reasoning: numbers.sums(&rule.reasoning),
            has_endings: !rule.ends.is_empty(),
        });
    }

    /// The node that these keys lead to; creates missing nodes.
    fn node_at<'a>(&mut self, keys: impl Iterator<Item = &'a String>) -> usize {
        let mut node = ROOT;
        for key in keys {
            let known = match key == KeyPath::EACH {
                true => self.items(node),
                false => self.child(node, key.as_bytes()),
            };
            node = known.unwrap_or_else(|| self.add_child(node, key));
        }
        node
    }

    fn add_child(&mut self, node: usize, key: &str) -> usize {
        let child = self.nodes.len();
        let is_item = key == KeyPath::EACH;
        self.nodes.push(Node {
            is_item,
            ..Node::default()
        });
        let parent = &mut self.nodes[node];
        match is_item {
            true => parent.items = Some(child),
            false => parent.children.push((key.as_bytes().into(), child)),
        }
        child
    }
}

/// The numbers of one rule's counts.
struct Numbers<'a> {
    first: usize,
    /// The paths of the counts, in the order of their numbers.
    fields: Vec<&'a KeyPath>,
}

impl Numbers<'_> {
    fn sums(&self, sums: &[config::Sum]) -> Vec<Sum> {
        let sums = sums.iter().map(|sum| Sum {
            first: self.number(&sum.first),
            more: sum
                .more
                .iter()
                .map(|(sign, path)| (*sign, self.number(path)))
                .collect(),
        });
        sums.collect()
    }

    fn number(&self, path: &KeyPath) -> usize {
        let place = self.fields.iter().position(|field| *field == path);
        self.first + place.expect("every path of a sum is a field of its rule")
    }
}

/// The paths in a rule's sums, each once.
fn fields(rule: &UsageRule) -> Vec<&KeyPath> {
    let mut fields = Vec::new();
    for sum in rule.sums() {
        let more = sum.more.iter().map(|(_, path)| path);
        for path in iter::once(&sum.first).chain(more) {
            if !fields.contains(&path) {
                fields.push(path);
            }
        }
    }
    fields
}

/// The paths of the objects that contain a rule's counts; the empty path for the message itself.
fn holders(rule: &UsageRule) -> Vec<&[String]> {
    match rule.at.is_empty() {
        true => vec![&[][..]],
        false => rule.at.iter().map(KeyPath::keys).collect(),
    }
}

/// The keys that contain counts, with the opening quote. A word that begins with another one of the
/// list is redundant.
fn markers(rules: &[UsageRule]) -> Vec<Finder<'static>> {
    let mut words: Vec<String> = Vec::new();
    for rule in rules {
        let inner = rule.at.iter().filter_map(|path| path.keys().last());
        match rule.at.is_empty() {
            false => words.extend(inner.map(|key| format!("\"{key}"))),
            true => {
                let outer = fields(rule)
                    .into_iter()
                    .filter_map(|path| path.keys().first());
                words.extend(outer.map(|key| format!("\"{key}")));
            }
        }
    }
    words.sort_unstable();
    words.dedup_by(|word, shorter| word.starts_with(shorter.as_str()));
    let marker = |word: &String| Finder::new(word.as_bytes()).into_owned();
    words.iter().map(marker).collect()
}

/// Whether the value of the key before these bytes is null, as `usage` is in all but the last of a
/// chat's chunks.
fn is_null(behind: &[u8]) -> bool {
    let value = behind.strip_prefix(b"\":");
    value.is_some_and(|value| value.trim_ascii_start().starts_with(b"null"))
}

/// The node of the message itself.
pub(super) const ROOT: usize = 0;

/// The maximum nesting of a count, including the message: a rule's two paths have four keys each.
pub(super) const MAX_DEPTH: usize = 8;

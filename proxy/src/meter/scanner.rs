//! Follows the keys of one JSON object as it arrives, and reports the values at the paths that
//! rules name.
//!
//! Implements only as much of JSON (RFC 8259) as is needed to find the end of a value: quotes,
//! escapes and brackets. A value that no path leads to is skipped, however deep or long it is.
//! Between chunks it keeps its position and at most a key or number that was cut in two. Keys are
//! compared as written; no provider escapes its own keys.

use memchr::memchr2;

use super::{
    base64::Base64,
    rules::{MAX_DEPTH, ROOT, Rules},
    tally::Tally,
};

/// Scans one message after another; [`restart`](Self::restart) marks where one begins.
#[derive(Default)]
pub(super) struct Scanner {
    state: State,
    /// The nodes of the objects around the current position; only the first `depth` entries are
    /// valid.
    path: [usize; MAX_DEPTH],
    depth: usize,
    /// The last chunk ended in the middle of an escape.
    escaped: bool,
    token: Token,
    wrapped: Option<Box<Wrapped>>,
}

/// What comes next. The node is that of a value; `None` if no path leads to the value.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
enum State {
    /// The opening brace of the message.
    #[default]
    Start,
    /// A key, or the end of the object.
    Object,
    /// The rest of a key.
    Key,
    /// The colon after a key.
    Colon(Option<usize>),
    Value(Option<usize>),
    /// The rest of a string.
    Text(Option<usize>),
    /// The rest of a number or a word.
    Word(Option<usize>),
    /// An item of a list, which is an object at this node, or the list's end.
    List(usize),
    /// The rest of an object or array without counts; `open` brackets are open.
    Skipped {
        open: usize,
        in_text: bool,
    },
    /// The message is over, or is not a JSON object.
    Done,
}

/// A message inside another, base64-encoded in its field `bytes`.
#[derive(Default)]
struct Wrapped {
    base64: Base64,
    scanner: Scanner,
}

impl Scanner {
    /// A scanner for messages that may be wrapped in others.
    pub(super) fn unwrapping() -> Self {
        Self {
            wrapped: Some(Box::default()),
            ..Self::default()
        }
    }

    /// Called before the first byte of a message.
    pub(super) fn restart(&mut self) {
        self.state = State::Start;
        self.depth = 0;
        self.escaped = false;
        if let Some(wrapped) = &mut self.wrapped {
            wrapped.base64 = Base64::default();
            wrapped.scanner.restart();
        }
    }

    /// Whether no byte of a message has been read yet.
    pub(super) fn is_at_start(&self) -> bool {
        self.state == State::Start
    }

    /// Whether the message is complete. If it is not and no more follows, it is not a JSON object.
    pub(super) fn is_whole(&self) -> bool {
        self.state == State::Done && self.depth == 0
    }

    /// Reads more bytes. Returns how many it consumed if the message ends in them or turns out not
    /// to be a JSON object.
    pub(super) fn push(&mut self, bytes: &[u8], rules: &Rules, tally: &mut Tally) -> Option<usize> {
        let mut at = 0;
        while self.state != State::Done {
            if at >= bytes.len() {
                return None;
            }
            at += self.step(&bytes[at..], rules, tally);
        }
        Some(at)
    }

    /// Consumes what belongs to the current state; returns how many bytes.
    fn step(&mut self, rest: &[u8], rules: &Rules, tally: &mut Tally) -> usize {
        match self.state {
            State::Start => self.start(rest),
            State::Object => self.object(rest, rules),
            State::Key => self.key(rest, rules),
            State::Colon(node) => self.colon(rest, node),
            State::Value(node) => self.value(rest, node, rules),
            State::Text(node) => self.text(rest, node, rules, tally),
            State::Word(node) => self.word(rest, node, rules, tally),
            State::List(node) => self.list(rest, node),
            State::Skipped { open, in_text } => self.skip(rest, open, in_text),
            State::Done => rest.len(),
        }
    }

    fn start(&mut self, rest: &[u8]) -> usize {
        let blank = blanks(rest);
        match rest.get(blank) {
            Some(b'{') => self.enter(ROOT),
            Some(_) => self.state = State::Done,
            None => return blank,
        }
        blank + 1
    }

    fn object(&mut self, rest: &[u8], rules: &Rules) -> usize {
        let blank = separators(rest);
        match rest.get(blank) {
            Some(b'"') => {
                self.token.clear();
                self.state = State::Key;
            }
            Some(b'}') => self.leave(rules),
            Some(_) => self.state = State::Done,
            None => return blank,
        }
        blank + 1
    }

    fn enter(&mut self, node: usize) {
        self.path[self.depth] = node;
        self.depth += 1;
        self.state = State::Object;
    }

    fn leave(&mut self, rules: &Rules) {
        self.depth -= 1;
        let left = self.path[self.depth];
        self.state = match self.depth {
            0 => State::Done,
            _ if rules.is_item(left) => State::List(left),
            _ => State::Object,
        };
    }

    fn list(&mut self, rest: &[u8], node: usize) -> usize {
        let blank = separators(rest);
        match rest.get(blank) {
            Some(b'{') if self.depth < MAX_DEPTH => self.enter(node),
            Some(b']') => self.state = State::Object,
            // An item that is no object: nothing more of the list is read.
            Some(_) => {
                self.state = SKIPPED;
                return blank;
            }
            None => return blank,
        }
        blank + 1
    }

    fn key(&mut self, rest: &[u8], rules: &Rules) -> usize {
        let Some(end) = self.end_of_text(rest) else {
            self.token.push(rest);
            return rest.len();
        };
        let node = match self.token.is_empty() {
            true => self.node(&rest[..end], rules),
            false => {
                self.token.push(&rest[..end]);
                self.node(self.token.bytes(), rules)
            }
        };
        self.state = State::Colon(node);
        end + 1
    }

    /// The node that `key` leads to in the current object.
    fn node(&self, key: &[u8], rules: &Rules) -> Option<usize> {
        let within = self.path[self.depth - 1];
        match self.wrapped {
            Some(_) if within == ROOT && key == BYTES_KEY => Some(BYTES),
            _ => rules.child(within, key),
        }
    }

    fn colon(&mut self, rest: &[u8], node: Option<usize>) -> usize {
        let blank = blanks(rest);
        match rest.get(blank) {
            Some(b':') => self.state = State::Value(node),
            Some(_) => self.state = State::Done,
            None => return blank,
        }
        blank + 1
    }

    fn value(&mut self, rest: &[u8], node: Option<usize>, rules: &Rules) -> usize {
        let blank = blanks(rest);
        let Some(first) = rest.get(blank) else {
            return blank;
        };
        self.token.clear();
        match first {
            b'{' => match node.filter(|node| rules.has_children(*node)) {
                Some(node) if self.depth < MAX_DEPTH => self.enter(node),
                _ => self.state = SKIPPED,
            },
            b'[' => {
                self.state = node
                    .and_then(|node| rules.items(node))
                    .map_or(SKIPPED, State::List)
            }
            b'"' => self.state = State::Text(node),
            b'}' | b']' | b',' | b':' => self.state = State::Done,
            _ => {
                self.state = State::Word(node);
                return blank;
            }
        }
        blank + 1
    }

    fn text(
        &mut self,
        rest: &[u8],
        node: Option<usize>,
        rules: &Rules,
        tally: &mut Tally,
    ) -> usize {
        let end = self.end_of_text(rest);
        let piece = &rest[..end.unwrap_or(rest.len())];
        match (node, &mut self.wrapped) {
            (None, _) => {}
            (Some(BYTES), Some(wrapped)) => wrapped.push(piece, end.is_some(), rules, tally),
            (Some(_), _) => self.token.push(piece),
        }
        let Some(end) = end else {
            return rest.len();
        };
        if let Some(node) = node.filter(|node| *node != BYTES) {
            tally.note_text(rules, node, self.token.bytes());
        }
        self.state = State::Object;
        end + 1
    }

    fn word(
        &mut self,
        rest: &[u8],
        node: Option<usize>,
        rules: &Rules,
        tally: &mut Tally,
    ) -> usize {
        let ends = |byte: &u8| is_blank(*byte) || matches!(byte, b',' | b'}' | b']');
        let end = rest.iter().position(ends);
        let taken = end.unwrap_or(rest.len());
        if let Some(node) = node {
            self.token.push(&rest[..taken]);
            if end.is_some() {
                tally.note_word(rules, node, self.token.bytes());
            }
        }
        if end.is_some() {
            self.state = State::Object;
        }
        taken
    }

    fn skip(&mut self, rest: &[u8], mut open: usize, in_text: bool) -> usize {
        let mut at = 0;
        if in_text {
            match self.end_of_text(rest) {
                Some(end) => at = end + 1,
                None => return rest.len(),
            }
        }
        while let Some(found) = next_structure(&rest[at..]) {
            let byte = rest[at + found];
            at += found + 1;
            match byte {
                b'{' | b'[' => open += 1,
                b'"' => match self.end_of_text(&rest[at..]) {
                    Some(end) => at += end + 1,
                    None => {
                        self.state = State::Skipped {
                            open,
                            in_text: true,
                        };
                        return rest.len();
                    }
                },
                _ => open -= 1,
            }
            if open == 0 {
                self.state = State::Object;
                return at;
            }
        }
        self.state = State::Skipped {
            open,
            in_text: false,
        };
        rest.len()
    }

    /// The end of the string that `rest` is inside of.
    fn end_of_text(&mut self, rest: &[u8]) -> Option<usize> {
        let mut from = usize::from(std::mem::take(&mut self.escaped));
        loop {
            let at = from + next_quote(rest.get(from..)?)?;
            if rest[at] == b'"' {
                return Some(at);
            }
            from = at + 2;
            self.escaped = from > rest.len();
        }
    }
}

impl Wrapped {
    fn push(&mut self, text: &[u8], is_last: bool, rules: &Rules, tally: &mut Tally) {
        let Self { base64, scanner } = self;
        base64.push(text, is_last, |bytes| {
            scanner.push(bytes, rules, tally);
        });
    }
}

/// A key, number or word that may be cut in two. The bytes of one that is too long to match
/// anything are dropped.
struct Token {
    bytes: [u8; Self::MAX_LENGTH],
    len: usize,
}

impl Token {
    /// Bytes: the maximum length of a key or word in a provider's usage rules.
    const MAX_LENGTH: usize = 64;

    fn clear(&mut self) {
        self.len = 0;
    }

    fn is_empty(&self) -> bool {
        self.len == 0
    }

    fn push(&mut self, piece: &[u8]) {
        let end = self.len.saturating_add(piece.len());
        if let Some(room) = self.bytes.get_mut(self.len..end) {
            room.copy_from_slice(piece);
        }
        self.len = end;
    }

    fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or_default()
    }
}

impl Default for Token {
    fn default() -> Self {
        Self {
            bytes: [0; Self::MAX_LENGTH],
            len: 0,
        }
    }
}

fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}

fn blanks(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|byte| is_blank(**byte)).count()
}

/// How many bytes are between two fields of an object, or two items of a list.
fn separators(bytes: &[u8]) -> usize {
    let between = |byte: &&u8| is_blank(**byte) || **byte == b',';
    bytes.iter().take_while(between).count()
}

/// The position of the next quote or backslash. Most keys and many values are short: vector
/// instructions would take longer to set up than looking at the bytes.
fn next_quote(text: &[u8]) -> Option<usize> {
    let ends = |byte: &u8| matches!(byte, b'"' | b'\\');
    let (near, far) = text.split_at(text.len().min(SHORT_SCAN));
    let found = near.iter().position(ends);
    found.or_else(|| memchr2(b'"', b'\\', far).map(|found| near.len() + found))
}

/// The position of the next quote or bracket. Works in blocks, which the compiler vectorises: an
/// embedding is a hundred kilobytes of numbers.
fn next_structure(bytes: &[u8]) -> Option<usize> {
    // `[` and `{` differ only in this bit, and so do `]` and `}`.
    let is_structure = |byte: u8| matches!(byte | 0x20, b'{' | b'}') || byte == b'"';
    let (near, far) = bytes.split_at(bytes.len().min(SHORT_SCAN));
    if let Some(found) = near.iter().position(|byte| is_structure(*byte)) {
        return Some(found);
    }
    let (blocks, _) = far.as_chunks::<16>();
    let is_clear = |block: &&[u8; 16]| {
        !block
            .iter()
            .fold(false, |found, byte| found | is_structure(*byte))
    };
    let from = 16 * blocks.iter().take_while(is_clear).count();
    let found = far[from..].iter().position(|byte| is_structure(*byte));
    found.map(|found| near.len() + from + found)
}

/// Inside one bracket, of an object or list without counts.
const SKIPPED: State = State::Skipped {
    open: 1,
    in_text: false,
};

/// Bytes that are checked one by one before the vectorised search.
const SHORT_SCAN: usize = 16;

/// A pseudo-node for the field that contains another message. It has no children and no counts.
const BYTES: usize = usize::MAX;
const BYTES_KEY: &[u8] = b"bytes";

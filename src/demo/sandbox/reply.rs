//! What the sandbox says: always the same, but for the words that it was sent. One word counts as one token, so that
//! the usage it reports can be checked by counting.

use serde::Deserialize;
use serde_json::Value;

/// One turn of a conversation, in either dialect: `content` is a string, or blocks with a `text` in them.
#[derive(Deserialize)]
pub(super) struct Turn {
    #[serde(default)]
    role: String,
    #[serde(default)]
    content: Value,
}

impl Turn {
    /// A turn said by nobody in particular: a system prompt, or an input that is a bare string.
    pub(super) fn of(role: &str, content: Value) -> Self {
        Self {
            role: role.to_owned(),
            content,
        }
    }

    fn text(&self) -> String {
        text(&self.content)
    }
}

/// An answer, in the pieces that a stream sends it in.
pub(super) struct Reply {
    pub(super) pieces: Vec<String>,
    pub(super) input_tokens: usize,
    /// Whether the limit that the client set cut it short.
    pub(super) cut: bool,
}

impl Reply {
    /// Answers the last thing that the user said, in at most `limit` tokens.
    pub(super) fn to(turns: &[Turn], limit: Option<usize>) -> Self {
        let input_tokens = turns.iter().map(|turn| words(&turn.text())).sum();
        let said = turns
            .iter()
            .rfind(|turn| turn.role == "user")
            .map(Turn::text)
            .unwrap_or_default();
        let mut pieces: Vec<_> = answer(&said)
            .split_inclusive(' ')
            .map(str::to_owned)
            .collect();
        let limit = limit.map_or(usize::MAX, |limit| limit.max(1));
        let cut = pieces.len() > limit;
        pieces.truncate(limit);
        Self {
            pieces,
            input_tokens,
            cut,
        }
    }

    pub(super) fn text(&self) -> String {
        self.pieces.concat()
    }

    pub(super) fn output_tokens(&self) -> usize {
        self.pieces.len()
    }

    pub(super) fn total_tokens(&self) -> usize {
        self.input_tokens + self.output_tokens()
    }
}

fn answer(said: &str) -> String {
    let said: Vec<_> = said.split_whitespace().take(REPEATED_WORDS).collect();
    let greeting = if said.is_empty() {
        String::new()
    } else {
        format!("You said: {}. ", said.join(" "))
    };
    format!(
        "Hello from the Keyside sandbox. {greeting}This request reached me with my key, and whoever sent it never held it."
    )
}

/// The text in a string, in a block, or in a list of either; pictures and tool calls have none.
fn text(content: &Value) -> String {
    match content {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks
            .iter()
            .map(text)
            .filter(|text| !text.is_empty())
            .collect::<Vec<_>>()
            .join(" "),
        Value::Object(block) => block.get("text").map(text).unwrap_or_default(),
        _ => String::new(),
    }
}

fn words(text: &str) -> usize {
    text.split_whitespace().count()
}

/// Enough to recognise one's own prompt in the answer, without sending a book back.
const REPEATED_WORDS: usize = 40;

//! The sandbox's replies: always the same, except for the words of the prompt. One word counts as
//! one token, so that the reported usage can be checked by counting.

use serde::Deserialize;
use serde_json::Value;

/// One turn of a conversation, in either dialect: `content` is a string, or blocks with a `text`.
#[derive(Deserialize)]
pub(super) struct Turn {
    #[serde(default)]
    role: String,
    #[serde(default)]
    content: Value,
}

impl Turn {
    /// A turn without a `role` of its own: a system prompt, or an input that is only a string.
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

/// A reply, in the pieces of its stream.
pub(super) struct Reply {
    pub(super) pieces: Vec<String>,
    pub(super) input_tokens: usize,
    /// Whether the client's limit truncated it.
    pub(super) cut: bool,
}

impl Reply {
    /// Replies to the user's last message, in at most `limit` tokens.
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

    /// What a dialect calls the end of a `complete` or a `cut` reply.
    pub(super) fn ending(&self, complete: &'static str, cut: &'static str) -> &'static str {
        if self.cut { cut } else { complete }
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
    let greeting = match said.is_empty() {
        true => String::new(),
        false => format!("You said: {}. ", said.join(" ")),
    };
    format!(
        "Hello from the Keyside sandbox. {greeting}This request reached me with my key, and its sender never had it."
    )
}

/// The text of a string, of a block, or of a list of either; images and tool calls have none.
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

/// Enough to recognise the prompt in the reply, without sending a book back.
const REPEATED_WORDS: usize = 40;

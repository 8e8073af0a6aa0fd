//! Replaces the placeholders of a recipe: `{address}`, `{workspace}`, `{dummy}` and the ids of its
//! providers.
//!
//! Other braces stay, because examples contain JSON and code. `tests/checks/clients.py` implements
//! the same rule for docs/CLIENTS.md, and `tests/clients/recipes.py` for the tests with real
//! clients.

use super::Recipe;
use crate::provider::DUMMY_KEY;

/// The values of the placeholders.
#[derive(Clone, Copy, Debug)]
pub struct RecipeTarget<'a> {
    /// The proxy's address, without a slash at the end: `http://127.0.0.1:7380`.
    pub address: &'a str,
    /// The workspace whose keys are used.
    pub workspace: &'a str,
}

impl Recipe {
    /// A copy of the recipe with every placeholder replaced.
    #[must_use]
    pub fn filled(&self, target: RecipeTarget<'_>) -> Self {
        let mut filled = self.clone();
        let (variables, files) = (filled.variables.iter_mut(), filled.files.iter_mut());
        let examples = filled.examples.iter_mut();
        let texts = filled.install.iter_mut().chain(&mut filled.notes);
        let texts = texts
            .chain(variables.map(|variable| &mut variable.value))
            .chain(files.map(|file| &mut file.text))
            .chain(examples.map(|example| &mut example.text));
        for text in texts {
            *text = replace(text, |word| self.value(word, target));
        }
        filled
    }

    fn value(&self, word: &str, target: RecipeTarget<'_>) -> Option<String> {
        let RecipeTarget { address, workspace } = target;
        let is_provider = || self.providers.iter().any(|id| id.as_str() == word);
        match word {
            "address" => Some(address.to_owned()),
            "workspace" => Some(workspace.to_owned()),
            "dummy" => Some(DUMMY_KEY.to_owned()),
            _ => is_provider().then(|| format!("{address}/w/{workspace}/{word}")),
        }
    }
}

/// Replaces each `{word}` that has a value. Placeholders within values are not replaced.
pub(super) fn replace(text: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut filled = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        filled.push_str(before);
        let placeholder = word(after).and_then(|(word, after)| Some((value(word)?, after)));
        let (value, after) = placeholder.unwrap_or_else(|| ("{".to_owned(), after));
        filled.push_str(&value);
        rest = after;
    }
    filled.push_str(rest);
    filled
}

/// The word up to the next `}`, and the text after it.
fn word(text: &str) -> Option<(&str, &str)> {
    let (word, after) = text.split_once('}')?;
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    (!word.is_empty() && word.bytes().all(fits)).then_some((word, after))
}

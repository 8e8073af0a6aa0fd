//! How to point client tools at Keyside: the files of `recipes/`, and their placeholders.
//!
//! Knows no settings and no listener; the caller passes the proxy's address and the workspace.

mod commands;
mod fill;

use serde::{Deserialize, Serialize};

pub use self::fill::RecipeTarget;
use crate::{embedded::embedded, layers::Node, provider::ProviderId, similarity::nearest};

/// One file of `recipes/`. Its texts contain placeholders until [`Recipe::filled`] replaces them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The file's name without its extension, as the command line takes it: `claude-code`.
    #[serde(skip)]
    pub id: String,
    /// The display name: `Claude Code`.
    pub name: String,
    /// The page that documents the tool's base URL.
    pub docs: String,
    /// The command that installs it.
    pub install: Option<String>,
    /// The providers that the tool can be used with; placeholders may only name these.
    pub providers: Vec<ProviderId>,
    /// The version that a test runs; `None` if the recipe is documented but not tested.
    pub tested: Option<String>,
    /// Whether to set `NO_PROXY`, so that requests to localhost do not go to a corporate proxy.
    #[serde(default = "yes")]
    pub no_proxy: bool,
    /// Notes for people; each is one line and ends with a full stop.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Environment variables to unset: the tool would prefer them to those of the recipe, or fail
    /// because of them.
    #[serde(default)]
    pub unset: Vec<String>,
    /// Environment variables to export, in order.
    #[serde(default, rename = "variable")]
    pub variables: Vec<RecipeVariable>,
    /// Files to write.
    #[serde(default, rename = "file")]
    pub files: Vec<RecipeFile>,
    /// Commands, code and settings to copy.
    #[serde(default, rename = "example")]
    pub examples: Vec<RecipeExample>,
}

/// An environment variable of a recipe.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeVariable {
    /// The name: letters, digits and `_`.
    pub name: String,
    /// The value, not quoted.
    pub value: String,
}

/// A settings file of a tool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeFile {
    /// The path where the tool looks for it; `~` is the home folder.
    pub path: String,
    /// The file's contents.
    pub text: String,
}

/// A text to copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeExample {
    /// The language of the text.
    pub language: Language,
    /// The text, of one or more lines.
    pub text: String,
}

/// The language of an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Language {
    /// Shell commands.
    Sh,
    /// Python.
    Python,
    /// JavaScript.
    JavaScript,
    /// YAML.
    Yaml,
}

impl Recipe {
    /// All recipes, sorted by id.
    pub fn all() -> Vec<Self> {
        let recipes = BUILTIN.iter().map(|(id, text)| Self::read(id, text));
        recipes.collect()
    }

    /// The recipe with an id; case does not count.
    ///
    /// # Errors
    /// There is no such recipe.
    pub fn named(id: &str) -> Result<Self, UnknownRecipe> {
        let found = BUILTIN
            .iter()
            .find(|(known, _)| known.eq_ignore_ascii_case(id));
        found
            .map(|(id, text)| Self::read(id, text))
            .ok_or_else(|| UnknownRecipe::of(id))
    }

    fn read(id: &str, text: &str) -> Self {
        let recipe = Node::builtin(text).read();
        Self {
            id: id.to_owned(),
            ..recipe.expect("the built-in recipes are read by the tests")
        }
    }
}

impl Language {
    /// The name in files and API responses.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sh => "sh",
            Self::Python => "python",
            Self::JavaScript => "javascript",
            Self::Yaml => "yaml",
        }
    }
}

/// There is no recipe with this id. The error does not repeat the id, which may be a key pasted in
/// the wrong place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownRecipe {
    /// The most similar id, which was probably meant.
    #[error("there is no such client; did you mean {0}?")]
    Near(&'static str),
    /// No id is similar.
    #[error("there is no such client")]
    Far,
}

impl UnknownRecipe {
    fn of(id: &str) -> Self {
        let known = BUILTIN.iter().map(|(known, _)| *known);
        nearest(id, known).map_or(Self::Far, Self::Near)
    }
}

fn yes() -> bool {
    true
}

/// Every file of `recipes/`, by name; a test compares this with the folder.
const BUILTIN: &[(&str, &str)] = embedded!["recipes":
    "aider" "boto3" "claude-code" "codex" "curl" "dify" "gemini-cli" "github-actions" "langchain" "litellm"
    "llamaindex" "llm" "n8n" "openai" "openai-agents" "pydantic-ai" "vercel-ai-sdk"
];

#[cfg(test)]
mod tests;

//! How client tools are pointed at Keyside: the files of `recipes/`, and what fills their placeholders.
//!
//! It knows no settings and no listener; the proxy's address and the workspace are passed in.

mod fill;

use serde::Deserialize;

pub use self::fill::RecipeTarget;
use crate::{embedded::embedded, layers::Node, provider::ProviderId, similarity::nearest};

/// One file of `recipes/`. Its texts hold placeholders until [`Recipe::filled`] replaces them.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// The file's name without its ending, as the command line takes it: `claude-code`.
    #[serde(skip)]
    pub id: String,
    /// The name for people: `Claude Code`.
    pub name: String,
    /// The page on which the tool documents its base URL.
    pub docs: String,
    /// The command that installs it.
    pub install: Option<String>,
    /// The providers it can be used with; placeholders name only these.
    pub providers: Vec<ProviderId>,
    /// The version that a test runs with; `None` if it is documented and not run.
    pub tested: Option<String>,
    /// Whether `NO_PROXY` is to be set, so that a corporate proxy does not get requests to localhost.
    #[serde(default = "yes")]
    pub no_proxy: bool,
    /// What else a person has to know; each is one line and ends with a full stop.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Environment variables to unset: the tool would prefer them to those that the recipe sets, or fail with them.
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
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeVariable {
    /// Its name: letters, digits and `_`.
    pub name: String,
    /// Its value, not quoted.
    pub value: String,
}

/// A settings file of a tool.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeFile {
    /// Where the tool looks for it; `~` is the home folder.
    pub path: String,
    /// What belongs in it.
    pub text: String,
}

/// Something to copy.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RecipeExample {
    /// What it is written in.
    pub language: Language,
    /// The text, of one or more lines.
    pub text: String,
}

/// The language of an example.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
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
    /// Every recipe, in order of their ids.
    pub fn all() -> Vec<Self> {
        let recipes = BUILTIN.iter().map(|(id, text)| Self::read(id, text));
        recipes.collect()
    }

    /// The recipe with this id; case does not count.
    ///
    /// # Errors
    /// No recipe has it.
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
    /// The name in files and answers.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Sh => "sh",
            Self::Python => "python",
            Self::JavaScript => "javascript",
            Self::Yaml => "yaml",
        }
    }
}

/// No recipe has this id. The id itself is not repeated: it may be a key that was pasted in the wrong place.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnknownRecipe {
    /// It is most like this one, which was probably meant.
    #[error("there is no such client; did you mean {0}?")]
    Near(&'static str),
    /// It is like none.
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

/// Every file of `recipes/` by its name, which a test compares with the folder.
const BUILTIN: &[(&str, &str)] = embedded!["recipes":
    "aider" "boto3" "claude-code" "codex" "curl" "dify" "gemini-cli" "github-actions" "langchain" "litellm"
    "llamaindex" "llm" "n8n" "openai" "openai-agents" "pydantic-ai" "vercel-ai-sdk"
];

#[cfg(test)]
mod tests;

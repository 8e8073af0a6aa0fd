//! `vault.references.allow`: the paths in Vault that stored credentials may name.

use std::str::FromStr;

use serde::Deserialize;

use crate::parsed::from_text;

/// Prefixes of the paths that stored credentials may name. By default there are none, and nothing
/// may be named.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AllowedReferences {
    allow: Vec<PathPrefix>,
}

/// The first segments of a path in Vault, including the mount.
#[derive(Clone, Debug, PartialEq, Eq)]
struct PathPrefix(Vec<String>);

/// Why a text is not a prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected the beginning of a path, such as \"kv/teams/{{workspace}}/\", with {{workspace}} as a whole segment"
)]
struct PathPrefixError;

impl AllowedReferences {
    /// Whether a credential of `workspace` may name the secret at `path`, which includes the mount.
    /// Compared segment by segment: a prefix for `acme` does not permit `acme-2`.
    pub fn permit(&self, workspace: &str, path: &str) -> bool {
        self.allow
            .iter()
            .any(|prefix| prefix.permits(workspace, path))
    }

    /// The prefixes with the id of `workspace` filled in, for messages.
    pub fn of_workspace(&self, workspace: &str) -> Vec<String> {
        self.allow
            .iter()
            .map(|prefix| prefix.filled(workspace))
            .collect()
    }
}

impl PathPrefix {
    fn permits(&self, workspace: &str, path: &str) -> bool {
        let mut segments = path.split('/');
        let is_below = self
            .segments(workspace)
            .all(|expected| segments.next() == Some(expected));
        // The prefix itself is a folder and not a secret.
        is_below && segments.next().is_some()
    }

    fn filled(&self, workspace: &str) -> String {
        let segments: Vec<_> = self.segments(workspace).collect();
        format!("{}/", segments.join("/"))
    }

    fn segments<'a>(&'a self, workspace: &'a str) -> impl Iterator<Item = &'a str> {
        self.0.iter().map(move |segment| match segment.as_str() {
            WORKSPACE => workspace,
            segment => segment,
        })
    }
}

from_text!(PathPrefix);

impl FromStr for PathPrefix {
    type Err = PathPrefixError;

    fn from_str(text: &str) -> Result<Self, PathPrefixError> {
        let text = text.strip_suffix('/').unwrap_or(text);
        let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"%?#\\{}*".contains(&byte);
        let is_name = |segment: &str| {
            segment == WORKSPACE
                || (!matches!(segment, "" | "." | "..") && segment.bytes().all(is_plain))
        };
        match text.split('/').all(is_name) {
            true => Ok(Self(text.split('/').map(str::to_owned).collect())),
            false => Err(PathPrefixError),
        }
    }
}

/// Placeholder for the workspace's id.
const WORKSPACE: &str = "{workspace}";

#[cfg(test)]
mod tests {
    use super::*;

    fn allowed(prefixes: &[&str]) -> AllowedReferences {
        let allow = prefixes.iter().map(|prefix| prefix.parse().unwrap());
        AllowedReferences {
            allow: allow.collect(),
        }
    }

    #[test]
    fn a_path_is_permitted_below_a_prefix_and_segment_by_segment() {
        let rule = allowed(&["kv/teams/{workspace}/", "shared/keys"]);
        for (path, is_permitted) in [
            ("kv/teams/acme/openai", true),
            ("kv/teams/acme/prod/openai", true),
            ("shared/keys/openai", true),
            ("kv/teams/acme", false),
            ("kv/teams/acme-2/openai", false),
            ("kv/teams/globex/openai", false),
            ("kv/teams", false),
            ("kv/teams/{workspace}/openai", false),
            ("shared/keys-of-others/openai", false),
            ("other/kv/teams/acme/openai", false),
        ] {
            assert_eq!(rule.permit("acme", path), is_permitted, "{path}");
        }
        assert!(!AllowedReferences::default().permit("acme", "kv/teams/acme/openai"));
        assert_eq!(
            rule.of_workspace("acme"),
            ["kv/teams/acme/", "shared/keys/"]
        );
    }

    #[test]
    fn invalid_prefixes_are_refused() {
        for text in [
            "",
            "/",
            "/kv",
            "kv//teams",
            "kv/../sys",
            "kv/{team}/",
            "kv/team-{workspace}/",
            "kv/*",
            "kv/%2e",
            "kv/a b",
        ] {
            assert_eq!(text.parse::<PathPrefix>(), Err(PathPrefixError), "{text}");
        }
    }
}

//! Suggests what a client with a wrong base URL probably meant: the closest route to its path, and
//! the base URL that leads there. Runs for refused requests only.

use std::sync::Arc;

use http::Method;
use keyside_config::{Catalogue, Completion, ErrorShape, Group, Provider, Route, SdkLine};

/// The parts of a refused request that a suggestion depends on.
#[derive(Clone, Copy)]
pub(crate) struct RefusedRequest<'a> {
    pub(crate) method: &'a Method,
    /// The path after the provider, or the whole path if it names no provider.
    pub(crate) path: &'a str,
    /// The client's `User-Agent`, which usually names its SDK.
    pub(crate) agent: Option<&'a str>,
}

/// What is close to a path that is not a route.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Suggestion<'a> {
    /// A route of a group that the settings do not allow. The methods are those that the settings
    /// do allow on this path.
    Withheld(Group, Vec<&'a Method>),
    /// A route, but for these methods only.
    Methods(Vec<&'a Method>),
    /// Another path is a route.
    Path(Correction<'a>),
}

impl RefusedRequest<'_> {
    /// The search takes time in proportion to the path and to the number of routes. No route is
    /// longer than these limits.
    fn is_short(&self) -> bool {
        let slashes = self.path.bytes().filter(|byte| *byte == b'/').count();
        self.path.len() <= MAX_PATH && slashes <= MAX_SEGMENTS
    }
}

impl Suggestion<'_> {
    /// Replaces the path with what `show` makes of it.
    pub(crate) fn with_path(mut self, show: impl Fn(&str) -> String) -> Self {
        if let Self::Path(correction) = &mut self {
            correction.path = show(&correction.path);
        }
        self
    }
}

/// A path that is a route, and the base URL that makes a client request it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Correction<'a> {
    pub(crate) provider: &'a str,
    /// What the path has in place of the provider's id, if that is misspelt. Similar to an id, so it
    /// is no key.
    pub(crate) misspelt: Option<String>,
    /// The workspace, if the path names one without `/w` before it.
    pub(crate) workspace: Option<String>,
    pub(crate) path: String,
    /// The part of the base URL after the provider.
    pub(crate) suffix: String,
    /// The environment variable that sets the base URL.
    pub(crate) variable: Option<&'a str>,
}

/// The suggestion from one provider's routes.
pub(crate) fn for_provider<'a>(
    provider: &'a Provider,
    asked: RefusedRequest<'_>,
) -> Option<Suggestion<'a>> {
    if !asked.is_short() {
        return None;
    }
    let path = canonical(asked.path);
    let asked = RefusedRequest {
        path: &path,
        ..asked
    };
    let withheld = provider
        .withheld
        .iter()
        .find(|(_, route)| route.allows(asked.method, asked.path));
    let of_path = provider
        .routes
        .iter()
        .filter(|route| route.path.matches(asked.path));
    let methods: Vec<_> = of_path.flat_map(|route| &route.methods).collect();
    if let Some((group, _)) = withheld {
        return Some(Suggestion::Withheld(*group, methods));
    }
    if !methods.is_empty() && !methods.contains(&asked.method) {
        return Some(Suggestion::Methods(methods));
    }
    let found = closest_route(provider, asked)?;
    Some(Suggestion::Path(correction(provider, asked, found)))
}

/// The suggestion for a path that names no known provider. `is_workspace` tells whether a workspace
/// exists.
pub(crate) fn for_unknown_provider<'a>(
    catalogue: &'a Catalogue,
    asked: RefusedRequest<'_>,
    is_workspace: impl Fn(&str) -> bool,
) -> Option<Correction<'a>> {
    if !asked.is_short() {
        return None;
    }
    let path = canonical(asked.path);
    let asked = RefusedRequest {
        path: &path,
        ..asked
    };
    correct_misnamed_provider(catalogue, asked, is_workspace)
        .or_else(|| guess_provider(catalogue, asked))
}

/// Removes differences in spelling that mean the same: a trailing slash, an escaped colon.
fn canonical(path: &str) -> String {
    let path = path.trim_end_matches('/');
    path.replace("%3A", ":").replace("%3a", ":")
}

/// Corrects a provider that is misspelt, follows a workspace without `/w`, or follows a second
/// `/w/{workspace}`.
fn correct_misnamed_provider<'a>(
    catalogue: &'a Catalogue,
    asked: RefusedRequest<'_>,
    is_workspace: impl Fn(&str) -> bool,
) -> Option<Correction<'a>> {
    let path = asked.path.trim_start_matches('/');
    let (first, rest) = path.strip_prefix("w/").unwrap_or(path).split_once('/')?;
    let (workspace, written, provider, rest) = match catalogue.most_similar(first) {
        Some(provider) => (None, first, provider, rest),
        None => {
            let (second, rest) = rest.trim_start_matches('/').split_once('/')?;
            let workspace = is_workspace(first).then(|| first.to_owned())?;
            (
                Some(workspace),
                second,
                catalogue.most_similar(second)?,
                rest,
            )
        }
    };
    let workspace = workspace.filter(|_| !path.starts_with("w/"));
    let rest = format!("/{rest}");
    let asked = RefusedRequest {
        path: &rest,
        ..asked
    };
    let found = closest_route(provider, asked)?;
    Some(Correction {
        workspace,
        misspelt: (written != provider.id.as_str()).then(|| written.to_owned()),
        ..correction(provider, asked, found)
    })
}

/// Guesses the provider of a path that names none: the one with the closest route. Of several, the
/// provider whose API the others imitate wins.
fn guess_provider<'a>(
    catalogue: &'a Catalogue,
    asked: RefusedRequest<'_>,
) -> Option<Correction<'a>> {
    let candidates = catalogue.iter().filter_map(|provider| {
        let (route, found) = closest_route(provider, asked)?;
        let rank = (found.left_out, rank(provider), found.added);
        Some((rank, provider, (route, found)))
    });
    let (_, provider, found) = candidates.min_by_key(|(rank, ..)| *rank)?;
    Some(correction(provider, asked, found))
}

/// The route whose path ends like the requested one and differs from it in the fewest segments. A
/// literal path wins over one with wildcards, which matches almost anything.
fn closest_route<'a>(
    provider: &'a Provider,
    asked: RefusedRequest<'_>,
) -> Option<(&'a Route, Completion)> {
    let serves = |route: &&Route| route.methods.contains(asked.method);
    let routes = provider.routes.iter().filter(serves);
    let found = routes.flat_map(|route| {
        let paths = route.path.completions(asked.path);
        paths.map(move |found| (route, found))
    });
    let found = found.filter(|(_, found)| !is_another_resource(asked.path, found));
    found.min_by_key(|(route, found)| {
        let differs = found.left_out + found.added + found.stretched;
        (differs, !route.path.is_literal(), found.path.clone())
    })
}

/// Whether both paths begin alike and differ after that, as `/v1/realtime/sessions` and
/// `/v1/live/sessions` do. That is a different resource and not a wrong base URL, and it may be
/// refused on purpose.
fn is_another_resource(asked: &str, found: &Completion) -> bool {
    let replaces = found.left_out == found.added && found.added > 1;
    replaces && first_segment(asked) == first_segment(&found.path)
}

fn first_segment(path: &str) -> Option<&str> {
    path.split('/').find(|segment| !segment.is_empty())
}

fn correction<'a>(
    provider: &'a Provider,
    asked: RefusedRequest<'_>,
    (route, found): (&Route, Completion),
) -> Correction<'a> {
    let path = found.path;
    let sdk = sdk_of(provider, route, asked, &path);
    let suffix = match sdk {
        Some(sdk) => sdk.suffix.clone(),
        // The common suffix is what the client appends to its base URL.
        None => {
            let ours = path.split('/').rev();
            let same = ours.zip(asked.path.split('/').rev());
            let same = same.take_while(|(ours, theirs)| ours == theirs);
            let added: usize = same.map(|(segment, _)| segment.len() + 1).sum();
            path[..path.len().saturating_sub(added)].to_owned()
        }
    };
    let sdk = sdk.or(provider.sdk.first());
    Correction {
        provider: provider.id.as_str(),
        misspelt: None,
        workspace: None,
        suffix,
        variable: sdk.map(|sdk| sdk.variable.as_str()),
        path,
    }
}

/// The SDK that requests `path` by appending the refused path to its base URL. Preference: the SDK
/// that the client's agent names, then the SDK that this API was made for, then the one that
/// appends least. The first of equals wins.
fn sdk_of<'a>(
    provider: &'a Provider,
    route: &Route,
    asked: RefusedRequest<'_>,
    path: &str,
) -> Option<&'a SdkLine> {
    let adds = |sdk: &&SdkLine| {
        let added = path.strip_prefix(sdk.suffix.as_str());
        added.is_some_and(|added| added.starts_with('/') && asked.path.ends_with(added))
    };
    let agent = asked.agent.unwrap_or_default().to_ascii_lowercase();
    let original = match route.error.unwrap_or(provider.error) {
        ErrorShape::Anthropic => "anthropic",
        _ => "openai",
    };
    let rank = |sdk: &&SdkLine| {
        let name = sdk.name.split(' ').next().unwrap_or_default();
        let name = name.to_ascii_lowercase();
        let is_named = !name.is_empty() && agent.contains(&name);
        (is_named, name == original, sdk.suffix.len())
    };
    // `max_by_key` returns the last of equals, hence `rev`.
    provider.sdk.iter().rev().filter(adds).max_by_key(rank)
}

/// The base URL for a path that is a route.
pub(crate) fn base_url_for<'a>(
    provider: &'a Provider,
    asked: RefusedRequest<'_>,
) -> Option<Correction<'a>> {
    if !asked.is_short() {
        return None;
    }
    let found = closest_route(provider, asked)?;
    Some(correction(provider, asked, found))
}

/// The correction if another provider has exactly this route.
pub(crate) fn from_other_provider<'a>(
    catalogue: &'a Catalogue,
    asked: RefusedRequest<'_>,
) -> Option<Correction<'a>> {
    let has_it = |provider: &&Arc<Provider>| provider.route(asked.method, asked.path).is_some();
    let found = catalogue.iter().filter(has_it);
    base_url_for(found.min_by_key(|provider| rank(provider))?, asked)
}

/// Providers whose APIs are imitated rank first.
fn rank(provider: &Provider) -> usize {
    let original = ORIGINALS.iter().position(|id| *id == provider.id.as_str());
    original.unwrap_or(ORIGINALS.len())
}

/// Whether a path, after the provider, is a prefix that a client's base URL can end with.
pub(crate) fn is_base_url(provider: &Provider, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let is_route = provider.routes.iter().any(|route| route.path.matches(path));
    !is_route
        && provider
            .routes
            .iter()
            .any(|route| route.path.begins_with(path))
}

/// Bytes; longer than any route.
const MAX_PATH: usize = 512;
/// More than any route has.
const MAX_SEGMENTS: usize = 16;

/// Providers whose APIs others imitate.
const ORIGINALS: [&str; 3] = ["openai", "anthropic", "gemini"];

#[cfg(test)]
mod tests;

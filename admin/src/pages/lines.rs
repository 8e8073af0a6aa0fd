//! Lines to copy that use a key through Keyside, with the real address of the proxy.

use keyside_config::{DUMMY_KEY, Language, Provider, ProxyAddress, Recipe, RecipeTarget, SdkLine};
use keyside_credentials::Credential;

use super::shell::Visit;

/// A text to copy.
pub(super) struct Line {
    /// Unique on the page.
    pub(super) id: String,
    pub(super) name: String,
    pub(super) text: String,
    /// Empty if there is nothing to add.
    pub(super) note: String,
}

/// The lines for each SDK, curl and GitHub Actions. Empty if the proxy has no address that a client
/// could be given.
pub(super) fn of(visit: &Visit, key: &Credential) -> Vec<Line> {
    let provider = visit.state.catalogue.get(&key.provider);
    let proxy = ProxyAddress::of(&visit.state.proxy_listeners, key.workspace.as_str());
    let proxy = proxy.filter(|proxy| proxy.address.port() != 0);
    let Some((provider, proxy)) = provider.zip(proxy) else {
        return Vec::new();
    };
    let note = note(key, &proxy);
    let address = format!("http://{}", proxy.address);
    let target = RecipeTarget {
        address: &address,
        workspace: key.workspace.as_str(),
    };
    let base = format!("{address}/w/{}/{}", key.workspace, provider.id);
    let sdks = provider.sdk.iter().map(|sdk| sdk_lines(sdk, &base));
    let recipes = RECIPES
        .iter()
        .filter_map(|id| of_recipe(id, provider, target));
    sdks.chain(recipes)
        .enumerate()
        .map(|(number, (name, text))| Line {
            id: format!("line-{number}"),
            name,
            text,
            note: note.clone(),
        })
        .collect()
}

fn sdk_lines(sdk: &SdkLine, base: &str) -> (String, String) {
    let url = format!("{base}{}", sdk.suffix);
    let is_in_code = sdk
        .variable
        .contains(|letter: char| letter.is_ascii_lowercase());
    let base_url = match is_in_code {
        true => format!("# in code: {} = \"{url}\"", sdk.variable),
        false => format!("export {}=\"{url}\"", sdk.variable),
    };
    let keys = sdk.key_variables.iter();
    let keys = keys.map(|name| format!("export {name}=\"{DUMMY_KEY}\""));
    let lines: Vec<_> = [base_url].into_iter().chain(keys).collect();
    (sdk.name.clone(), lines.join("\n"))
}

/// The first example of a recipe that is about this provider.
fn of_recipe(id: &str, provider: &Provider, target: RecipeTarget<'_>) -> Option<(String, String)> {
    let recipe = Recipe::named(id).ok()?;
    let is_for = recipe.providers.contains(&provider.id);
    let placeholder = format!("{{{}}}", provider.id);
    let about = |text: &str| text.contains(&placeholder);
    let example = recipe.examples.iter().position(|one| {
        about(&one.text) && matches!(one.language, Language::Sh | Language::Yaml)
    })?;
    let filled = recipe.filled(target).examples.swap_remove(example);
    is_for.then(|| (recipe.name, filled.text.trim().to_owned()))
}

fn note(key: &Credential, proxy: &ProxyAddress) -> String {
    if let Some(pins) = &proxy.pinned_to {
        return format!(
            "This listener serves other workspaces only ({}) and refuses these requests: change proxy.listen.",
            pins.join(", ")
        );
    }
    match key.is_default {
        true => String::new(),
        false => format!(
            "It is not the default: requests use it if they have the header X-Keyside-Label: {}",
            key.label
        ),
    }
}

const RECIPES: [&str; 2] = ["curl", "github-actions"];

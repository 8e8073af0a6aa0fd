//! Clients: how to point each client tool at this workspace.

use std::sync::LazyLock;

use askama::Template;
use axum::response::Response;
use keyside_config::{Language, ProxyAddress, Recipe, RecipeTarget, shell::exempt_from_proxy};
use keyside_credentials::Workspace;

use super::{
    html::page,
    shell::{Shell, Visit, query},
    view::Notice,
};
use crate::{problem::Problem, query::Parameters};

#[derive(Template)]
#[template(path = "clients.html")]
struct Clients {
    shell: Shell,
    clients: Vec<Item>,
    address: String,
    /// What has to be known about the address.
    notice: Option<Notice>,
    client: Client,
}

struct Item {
    href: String,
    name: String,
    providers: String,
    current: bool,
}

struct Client {
    /// With the address and the workspace filled in.
    recipe: Recipe,
    blocks: Vec<Block>,
    /// The lines for machines with an HTTP proxy; empty if the recipe leaves that alone.
    no_proxy: String,
}

/// A text to copy.
struct Block {
    /// Unique on the page.
    id: String,
    what: String,
    text: String,
    /// The file to write it to; empty if it is none.
    file: String,
}

pub(super) async fn show(visit: Visit, mut parameters: Parameters) -> Result<Response, Problem> {
    let asked = parameters.text("workspace");
    let client = parameters.filter("client", |id| {
        Recipe::named(id).map_err(|unknown| unknown.to_string())
    });
    parameters.finish()?;
    let Some(workspace) = visit.workspace(asked.as_deref())? else {
        return Ok(visit.see_other("/workspaces"));
    };
    let recipe = client.as_ref().unwrap_or(&RECIPES[0]);
    page(&view(&visit, &workspace, recipe))
}

fn view(visit: &Visit, workspace: &Workspace, recipe: &Recipe) -> Clients {
    let proxy = ProxyAddress::of(&visit.state.proxy_listeners, workspace.id.as_str());
    let proxy = proxy.filter(|proxy| proxy.address.port() != 0);
    let address = match &proxy {
        Some(proxy) => format!("http://{}", proxy.address),
        None => "http://HOST:PORT".to_owned(),
    };
    let target = RecipeTarget {
        address: &address,
        workspace: workspace.id.as_str(),
    };
    let host = proxy.as_ref().map(|proxy| proxy.address.ip().to_string());
    let no_proxy = recipe.no_proxy_hosts(host.as_deref().unwrap_or("HOST"));
    let client = client(recipe.filled(target), &no_proxy);
    let item = |known: &Recipe| {
        let fields = [
            ("workspace", workspace.id.as_str()),
            ("client", known.id.as_str()),
        ];
        Item {
            href: format!("{}/clients{}", visit.base(), query(&fields)),
            name: known.name.clone(),
            providers: providers(visit, known),
            current: known.id == recipe.id,
        }
    };
    Clients {
        clients: RECIPES.iter().map(item).collect(),
        shell: visit.shell("/clients", Some(workspace)),
        address,
        notice: about(proxy.as_ref(), workspace),
        client,
    }
}

fn providers(visit: &Visit, recipe: &Recipe) -> String {
    let names = recipe.providers.iter();
    let names: Vec<_> = names.map(|id| visit.provider_name(id)).collect();
    names.join(", ")
}

/// The recipe's texts in the order in which they are needed.
fn client(recipe: Recipe, no_proxy: &[String]) -> Client {
    let environment = Some(recipe.commands(&[])).filter(|lines| !lines.is_empty());
    let environment = environment.map(|text| ("Environment".to_owned(), text, String::new()));
    let files = recipe.files.iter();
    let files = files.map(|file| ("File".to_owned(), file.text.clone(), file.path.clone()));
    let examples = recipe.examples.iter();
    let examples = examples.map(|one| {
        let what = match one.language {
            Language::Sh => "In a shell".to_owned(),
            language => format!("Example ({})", language.as_str()),
        };
        (what, one.text.clone(), String::new())
    });
    let texts = environment.into_iter().chain(files).chain(examples);
    let blocks = texts.enumerate().map(|(number, (what, text, file))| Block {
        id: format!("text-{number}"),
        what,
        text,
        file,
    });
    Client {
        blocks: blocks.collect(),
        no_proxy: match no_proxy {
            [] => String::new(),
            hosts => exempt_from_proxy(&hosts.join(",")),
        },
        recipe,
    }
}

fn about(proxy: Option<&ProxyAddress>, workspace: &Workspace) -> Option<Notice> {
    let Some(proxy) = proxy else {
        let text = "The proxy listens on Unix sockets only, which no base URL can name. Add a TCP address to proxy.listen, such as \
                    127.0.0.1:7380.";
        return Some(Notice::new("warn", "No address for clients", text));
    };
    if let Some(pins) = &proxy.pinned_to {
        let text = format!(
            "The listener {} is pinned to {} and refuses requests for {}. Add a listener for it to proxy.listen.",
            proxy.address,
            pins.join(", "),
            workspace.id
        );
        return Some(Notice::new(
            "warn",
            "No listener serves this workspace",
            text,
        ));
    }
    let text = "On another machine or in a container, replace the host by the name under which it reaches Keyside, and list that \
                name in `proxy.hosts`.";
    let is_local = proxy.address.ip().is_loopback();
    let title = "This address is for clients on Keyside's machine";
    is_local.then(|| Notice::new("info", title, text))
}

/// All recipes; the ones of SDKs first, because most clients use one of them.
static RECIPES: LazyLock<Vec<Recipe>> = LazyLock::new(|| {
    let mut recipes = Recipe::all();
    recipes.sort_by_key(|recipe| recipe.id != "openai");
    recipes
});

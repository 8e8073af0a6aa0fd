//! `keyside env`: shell lines that point a client tool at Keyside, for `eval`.
//!
//! Needs no running Keyside and no token; with both, it detects a mistyped workspace.

use std::net::SocketAddr;

use clap::Args;
use keyside_config::{BaseUrl, ProxyAddress, Recipe, RecipeTarget, reachable, shell};
use keyside_credentials::WorkspaceId;
use serde_json::{Value, json};

use super::{
    Admin, Console, Failure,
    table::{Column, Table, cell},
    workspace,
};

#[derive(Args)]
pub(crate) struct Env {
    /// The client, such as claude-code; without one, all clients are listed
    #[arg(requires = "workspace")]
    client: Option<String>,
    /// The workspace whose keys it uses
    #[arg(long, short, requires = "client")]
    workspace: Option<WorkspaceId>,
    /// The proxy's address for the client [default: the first TCP listener that the workspace may
    /// use]
    #[arg(long, value_name = "HOST:PORT", requires = "client")]
    listener: Option<String>,
}

pub(crate) async fn run(env: Env, console: &Console) -> Result<(), Failure> {
    let (Some(client), Some(workspace)) = (env.client, env.workspace) else {
        return list(console);
    };
    let recipe = Recipe::named(&client)
        .map_err(|unknown| Failure::usage(unknown).next("`keyside env` lists all clients."))?;
    let listener = match env.listener {
        Some(listener) => base_url(&for_clients(listener, console))?,
        None => from_settings(&workspace, console)?,
    };
    let address = listener.to_string();
    let target = RecipeTarget {
        address: &address,
        workspace: workspace.as_str(),
    };
    let is_known = match Admin::default().client(console) {
        Ok(client) => workspace::known_to(&client, &workspace).await?,
        Err(_) => false,
    };
    let setup = ClientSetup {
        recipe: recipe.filled(target),
        is_known,
        workspace,
        no_proxy: recipe.no_proxy_hosts(&listener.host),
        address,
    };
    console.print(&setup.json(), || setup.script())
}

fn list(console: &Console) -> Result<(), Failure> {
    let recipes = Recipe::all();
    let json = |recipe: &Recipe| {
        json!({
            "id": recipe.id,
            "name": recipe.name,
            "providers": recipe.providers,
            "tested": recipe.tested,
        })
    };
    let items: Vec<_> = recipes.iter().map(json).collect();
    console.print(&json!({ "items": items }), || {
        console.table(&Table::of(&recipes, &COLUMNS))
    })
}

/// Replaces the address of a listener on all addresses, to which clients cannot connect.
fn for_clients(listener: String, console: &Console) -> String {
    match listener.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => {
            let address = reachable(address);
            console.note(format_args!(
                "note: clients connect to {address}; other machines need this one's own address"
            ));
            address.to_string()
        }
        _ => listener,
    }
}

/// Parses a host and a port as a base URL.
fn base_url(listener: &str) -> Result<BaseUrl, Failure> {
    let url = BaseUrl::parse(&format!("http://{listener}"), true).ok();
    let url =
        url.filter(|url| url.path.is_empty() && listener.ends_with(&format!(":{}", url.port)));
    url.ok_or_else(|| {
        Failure::usage("expected a host and a port for the listener, such as 127.0.0.1:7380")
            .next("Give them with --listener HOST:PORT, without a scheme or a path.")
    })
}

fn from_settings(workspace: &WorkspaceId, console: &Console) -> Result<BaseUrl, Failure> {
    let settings = console.settings()?;
    let proxy = ProxyAddress::of(&settings.proxy.listeners, workspace.as_str()).ok_or_else(|| {
        Failure::failed("the proxy listens on Unix sockets only, which no base URL can name").next(
            "Add a TCP address to proxy.listen, such as 127.0.0.1:7380, or write code for the socket as docs/SDKS.md shows.",
        )
    })?;
    if proxy.address.port() == 0 {
        return Err(Failure::failed(
            "proxy.listen has port 0: the port is known once Keyside runs",
        )
        .next("Give the address from its log with --listener, or set a port."));
    }
    if let Some(pins) = &proxy.pinned_to {
        console.warn(format_args!(
            "the listener {} is pinned to other workspaces ({}) and refuses requests for {workspace}",
            proxy.address,
            pins.join(", ")
        ));
    }
    base_url(&proxy.address.to_string())
}

/// A recipe with its placeholders replaced, for both output formats.
struct ClientSetup {
    recipe: Recipe,
    workspace: WorkspaceId,
    /// Whether a running Keyside confirmed that the workspace exists.
    is_known: bool,
    address: String,
    no_proxy: Vec<String>,
}

impl ClientSetup {
    fn json(&self) -> Value {
        let recipe = &self.recipe;
        json!({
            "id": recipe.id,
            "name": recipe.name,
            "workspaceId": self.workspace,
            "workspaceChecked": self.is_known,
            "address": self.address,
            "docs": recipe.docs,
            "install": recipe.install,
            "tested": recipe.tested,
            "providers": recipe.providers,
            "variables": recipe.variables,
            "unset": recipe.unset,
            "noProxy": self.no_proxy,
            "files": recipe.files,
            "examples": recipe.examples,
            "notes": recipe.notes,
        })
    }

    /// Commands first, then comments: `eval` without quotes joins all lines into one, which the
    /// first comment ends.
    fn script(&self) -> String {
        self.recipe.commands(&self.no_proxy) + &self.comments()
    }

    fn comments(&self) -> String {
        let Recipe {
            name, docs, tested, ..
        } = &self.recipe;
        let tested = match tested {
            Some(version) => format!("tested with {version}"),
            None => "documented, not run by our tests".to_owned(),
        };
        let mut lines = shell::comment(&format!("{name} ({tested}): {docs}"));
        if !self.is_known {
            lines += &shell::comment(&format!(
                "Not checked: whether workspace {} exists. No running Keyside was reachable with a token.",
                self.workspace
            ));
        }
        if let Some(install) = &self.recipe.install {
            lines += &shell::comment(&format!("Install: {install}"));
        }
        for note in &self.recipe.notes {
            lines += &shell::comment(note);
        }
        for file in &self.recipe.files {
            lines += &shell::comment(&format!("\nIn {}:\n{}", file.path, indented(&file.text)));
        }
        for example in &self.recipe.examples {
            let language = example.language.as_str();
            let text = indented(&example.text);
            lines += &shell::comment(&format!("\nExample ({language}):\n{text}"));
        }
        lines
    }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

const COLUMNS: [Column<Recipe>; 4] = [
    ("CLIENT", |recipe| recipe.id.clone()),
    ("NAME", |recipe| recipe.name.clone()),
    ("PROVIDERS", |recipe| recipe.providers.join(", ")),
    ("TESTED WITH", |recipe| cell(&recipe.tested)),
];

//! `keyside env`: shell lines that point a client tool at Keyside, for `eval`.
//!
//! Needs no running Keyside and no token; with both, it detects a mistyped workspace.

use std::net::SocketAddr;

use clap::Args;
use keyside_config::{
    BaseUrl, ProviderId, ProxyAddress, Recipe, RecipeTarget, Settings, Sources, reachable,
};
use keyside_credentials::WorkspaceId;
use serde_json::{Value, json};

use super::{
    Admin, Failure, Output, shell,
    table::{Column, Table, cell},
    workspace,
};

/// `keyside env`.
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

pub(crate) async fn run(env: Env, sources: &Sources, output: &Output) -> Result<(), Failure> {
    let (Some(client), Some(workspace)) = (env.client, env.workspace) else {
        return list(output);
    };
    let recipe = Recipe::named(&client).map_err(|unknown| {
        Failure::usage(unknown.to_string()).next("`keyside env` lists all clients.")
    })?;
    let listener = match env.listener {
        Some(listener) => base_url(&for_clients(listener, output))?,
        None => from_settings(sources, &workspace, output)?,
    };
    let address = listener.to_string();
    let target = RecipeTarget {
        address: &address,
        workspace: workspace.as_str(),
    };
    let is_known = match Admin::default().client(sources) {
        Ok(client) => workspace::known_to(&client, &workspace).await?,
        Err(_) => false,
    };
    let setup = ClientSetup {
        recipe: recipe.filled(target),
        is_known,
        workspace,
        no_proxy: no_proxy(&recipe, &listener),
        address,
    };
    output.print(&setup.json(), |_| setup.script())
}

fn list(output: &Output) -> Result<(), Failure> {
    let recipes = Recipe::all();
    let json = |recipe: &Recipe| {
        json!({
            "id": recipe.id,
            "name": recipe.name,
            "providers": providers(recipe),
            "tested": recipe.tested,
        })
    };
    let items: Vec<_> = recipes.iter().map(json).collect();
    output.print(&json!({ "items": items }), |output| {
        output.table(&Table::of(&recipes, &COLUMNS))
    })
}

fn providers(recipe: &Recipe) -> Vec<&str> {
    recipe.providers.iter().map(ProviderId::as_str).collect()
}

/// Replaces the address of a listener on all addresses, to which clients cannot connect.
fn for_clients(listener: String, output: &Output) -> String {
    match listener.parse::<SocketAddr>() {
        Ok(address) if address.ip().is_unspecified() => {
            let address = reachable(address);
            output.note(&format!(
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

fn from_settings(
    sources: &Sources,
    workspace: &WorkspaceId,
    output: &Output,
) -> Result<BaseUrl, Failure> {
    let settings = Settings::load(sources)?.settings;
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
        output.note(&format!(
            "warning: the listener {} is pinned to other workspaces ({}) and refuses requests for {workspace}",
            proxy.address,
            pins.join(", ")
        ));
    }
    base_url(&proxy.address.to_string())
}

/// The hosts that the client must reach without a proxy.
fn no_proxy(recipe: &Recipe, listener: &BaseUrl) -> Vec<String> {
    if !recipe.no_proxy {
        return Vec::new();
    }
    let mut hosts: Vec<_> = LOOPBACK.map(str::to_owned).into();
    if !hosts.contains(&listener.host) {
        hosts.push(listener.host.clone());
    }
    hosts
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
        let variables = recipe.variables.iter();
        let variables = variables.map(|one| json!({ "name": one.name, "value": one.value }));
        let files = recipe.files.iter();
        let files = files.map(|file| json!({ "path": file.path, "text": file.text }));
        let examples = recipe.examples.iter();
        let examples =
            examples.map(|one| json!({ "language": one.language.as_str(), "text": one.text }));
        json!({
            "id": recipe.id,
            "name": recipe.name,
            "workspaceId": self.workspace,
            "workspaceChecked": self.is_known,
            "address": self.address,
            "docs": recipe.docs,
            "install": recipe.install,
            "tested": recipe.tested,
            "providers": providers(recipe),
            "variables": variables.collect::<Vec<_>>(),
            "unset": recipe.unset,
            "noProxy": self.no_proxy,
            "files": files.collect::<Vec<_>>(),
            "examples": examples.collect::<Vec<_>>(),
            "notes": recipe.notes,
        })
    }

    /// Commands first, then comments: `eval` without quotes joins all lines into one, which the
    /// first comment ends.
    fn script(&self) -> String {
        self.commands() + &self.comments()
    }

    /// Exports last: if all lines are joined into one, whatever follows an `export` is one more
    /// name to export.
    fn commands(&self) -> String {
        let recipe = &self.recipe;
        let mut lines: String = recipe.unset.iter().map(|name| shell::unset(name)).collect();
        if !self.no_proxy.is_empty() {
            lines += &shell::exempt_from_proxy(&self.no_proxy.join(","));
        }
        let variables = recipe.variables.iter();
        lines.extend(variables.map(|variable| shell::export(&variable.name, &variable.value)));
        lines
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

const LOOPBACK: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

const COLUMNS: [Column<Recipe>; 4] = [
    ("CLIENT", |recipe| recipe.id.clone()),
    ("NAME", |recipe| recipe.name.clone()),
    ("PROVIDERS", |recipe| providers(recipe).join(", ")),
    ("TESTED WITH", |recipe| cell(&recipe.tested)),
];

//! `keyside provider`: shows the catalogue of the running Keyside.

use clap::{Args, Subcommand};
use keyside_config::{DUMMY_KEY, ProviderId, Settings, Sources, nearest};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Admin, Failure, Output,
    items::{CREDENTIALS, list_all, unexpected_format},
    proxy_address,
    table::Table,
};
use crate::client::Client;

/// The commands on providers.
#[derive(Subcommand)]
pub(crate) enum Command {
    /// List the providers, with the number of keys of each
    List(List),
    /// Show a provider's address, how to create a key, and how to configure SDKs
    Show(Show),
}

/// `keyside provider list`.
#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    admin: Admin,
}

/// `keyside provider show`.
#[derive(Args)]
pub(crate) struct Show {
    /// The provider's id, as `keyside provider list` shows it
    id: ProviderId,
    #[command(flatten)]
    admin: Admin,
}

/// The fields of a provider in the admin API that are shown. Unknown fields of newer servers are
/// ignored.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Provider {
    id: String,
    pub(crate) name: String,
    base_url: Option<String>,
    endpoint: Option<Endpoint>,
    pub(crate) key: Key,
    steps: Vec<String>,
    pub(crate) links: Links,
    rate_limits: String,
    sandbox: Sandbox,
    pub(crate) sdks: Vec<Sdk>,
}

#[derive(Deserialize)]
struct Endpoint {
    example: String,
}

/// The format of its keys.
#[derive(Deserialize)]
pub(crate) struct Key {
    /// An invented example; empty if none is known.
    #[serde(default)]
    pub(crate) example: String,
    pub(crate) prefixes: Vec<String>,
    scopes: Vec<String>,
}

/// The provider's own pages; empty if none are known.
#[derive(Deserialize)]
pub(crate) struct Links {
    docs: String,
    pub(crate) console: String,
}

#[derive(Deserialize)]
struct Sandbox {
    note: String,
}

/// How to configure one SDK for Keyside.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Sdk {
    pub(crate) name: String,
    /// The environment variable, or the option in code, for the base URL.
    pub(crate) variable: String,
    /// The environment variables for a dummy key.
    #[serde(default)]
    pub(crate) key_variables: Vec<String>,
    /// The path, with `{workspaceId}` in place of the workspace.
    pub(crate) base_url_path: String,
}

pub(crate) async fn run(
    command: Command,
    sources: &Sources,
    output: &Output,
) -> Result<(), Failure> {
    match command {
        Command::List(list) => {
            let client = list.admin.client(sources)?;
            let items = items(&client).await?;
            let providers = read(&items)?;
            let keys = list_all(&client, CREDENTIALS, "").await?;
            let page = json!({ "items": items, "nextCursor": null });
            output.print(&page, |output| table(&providers, &keys, output))
        }
        Command::Show(show) => {
            let items = items(&show.admin.client(sources)?).await?;
            let providers = read(&items)?;
            let index = position(&providers, show.id.as_str())?;
            let address = address(sources);
            output.print(&items[index], |output| {
                output.table(&providers[index].fields(&address))
            })
        }
    }
}

/// Returns one provider, or `None` if the catalogue cannot be read, which must not prevent storing
/// a key.
///
/// # Errors
/// The catalogue has no such provider.
pub(crate) async fn find(client: &Client, id: &str) -> Result<Option<Provider>, Failure> {
    let known = items(client).await.and_then(|items| read(&items));
    let Ok(mut providers) = known else {
        return Ok(None);
    };
    let index = position(&providers, id)?;
    Ok(Some(providers.swap_remove(index)))
}

async fn items(client: &Client) -> Result<Vec<Value>, Failure> {
    let mut page = client.get(PROVIDERS).await?;
    match page["items"].take() {
        Value::Array(items) => Ok(items),
        _ => Err(unexpected_format("a list of providers")),
    }
}

fn read(items: &[Value]) -> Result<Vec<Provider>, Failure> {
    let providers = items.iter().map(Provider::deserialize);
    let providers = providers.collect::<Result<_, _>>();
    providers.map_err(|_| unexpected_format("a provider"))
}

/// The index of the provider with this id.
fn position(providers: &[Provider], id: &str) -> Result<usize, Failure> {
    let ids = || providers.iter().map(|provider| provider.id.as_str());
    ids().position(|known| known == id).ok_or_else(|| {
        Failure::failed(match nearest(id, ids()) {
            Some(meant) => format!("there is no such provider; did you mean {meant}?"),
            None => "there is no such provider".to_owned(),
        })
        .next(
            "`keyside provider list` lists the providers; add another one in the settings, as [providers.ID].",
        )
    })
}

fn table(providers: &[Provider], keys: &[Value], output: &Output) -> String {
    let mut table = Table::new(["ID", "NAME", "KEYS", "CREATE KEYS AT", "DOCUMENTATION"]);
    for provider in providers {
        let is_counted =
            |key: &&Value| key["provider"] == provider.id && key["status"] != "revoked";
        table.row([
            provider.id.clone(),
            provider.name.clone(),
            keys.iter().filter(is_counted).count().to_string(),
            or_none(&provider.links.console),
            or_none(&provider.links.docs),
        ]);
    }
    output.table(&table)
}

impl Provider {
    /// Whether each key has a host of its own.
    pub(crate) fn needs_endpoint(&self) -> bool {
        self.endpoint.is_some()
    }

    /// Every field for people; a list continues in rows without a name.
    fn fields(&self, address: &str) -> Table {
        let mut table = Table::new([]);
        let base_url = match (&self.base_url, &self.endpoint) {
            (Some(url), _) => url.clone(),
            (None, Some(endpoint)) => format!("each key's own, such as {}", endpoint.example),
            (None, None) => or_none(""),
        };
        let steps = self.steps.iter().zip(1..);
        let sdks = self.sdks.iter().flat_map(|sdk| sdk.lines(address));
        for (name, values) in [
            ("id", vec![self.id.clone()]),
            ("name", vec![self.name.clone()]),
            ("base URL", vec![base_url]),
            ("a key looks like", vec![or_none(&self.key.example)]),
            ("a key may", self.key.scopes.clone()),
            ("create keys at", vec![or_none(&self.links.console)]),
            (
                "creating a key",
                steps
                    .map(|(step, number)| format!("{number}. {step}"))
                    .collect(),
            ),
            ("SDKs", sdks.collect()),
            ("rate limits", vec![or_none(&self.rate_limits)]),
            ("for testing", vec![or_none(&self.sandbox.note)]),
            ("documentation", vec![or_none(&self.links.docs)]),
        ] {
            for (row, value) in values.into_iter().enumerate() {
                let name = if row == 0 { name } else { "" };
                table.row([name.to_owned(), value]);
            }
        }
        table
    }
}

impl Sdk {
    /// The path of the base URL for this workspace.
    pub(crate) fn path(&self, workspace: &str) -> String {
        self.base_url_path.replace("{workspaceId}", workspace)
    }

    /// The base URL, and the variables for a dummy key.
    fn lines(&self, address: &str) -> Vec<String> {
        let path = self.path("WORKSPACE");
        let base_url = format!("{}=http://{address}{path}  # {}", self.variable, self.name);
        let keys = self.key_variables.iter();
        let keys = keys.map(|variable| format!("{variable}={DUMMY_KEY}"));
        [base_url].into_iter().chain(keys).collect()
    }
}

/// The proxy's address from this machine, or a placeholder if the settings do not say.
fn address(sources: &Sources) -> String {
    let settings = Settings::load(sources).ok();
    let proxy = settings.and_then(|loaded| proxy_address::of(&loaded.settings, ""));
    let proxy = proxy.filter(|proxy| proxy.address.port() != 0);
    proxy.map_or("PROXY".to_owned(), |proxy| proxy.address.to_string())
}

fn or_none(text: &str) -> String {
    let text = if text.is_empty() { "-" } else { text };
    text.to_owned()
}

const PROVIDERS: &str = "/api/integrations/providers";

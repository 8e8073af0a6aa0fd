//! `keyside provider`: shows the catalogue of the running Keyside.

use std::iter;

use clap::{Args, Subcommand};
pub(crate) use keyside_admin::wire::{ProviderView as Provider, SdkView as Sdk};
use keyside_config::{DUMMY_KEY, ProviderId, ProxyAddress, nearest};
use serde_json::Value;

use super::{
    Admin, Console, Failure,
    items::{CREDENTIALS, list_all, print_list, read_all, unexpected_format},
    table::{Table, cell, none},
};
use crate::client::Client;

#[derive(Subcommand)]
pub(crate) enum Command {
    /// List the providers, with the number of keys of each
    List(Admin),
    /// Show a provider's address, how to create a key, and how to configure SDKs
    Show(Show),
}

#[derive(Args)]
pub(crate) struct Show {
    /// The provider's id, as `keyside provider list` shows it
    id: ProviderId,
    #[command(flatten)]
    admin: Admin,
}

pub(crate) async fn run(command: Command, console: &Console) -> Result<(), Failure> {
    match command {
        Command::List(admin) => {
            let client = admin.client(console)?;
            let items = items(&client).await?;
            let keys = list_all(&client, CREDENTIALS, "").await?;
            print_list(&items, A_PROVIDER, console, |providers, console| {
                table(providers, &keys, console)
            })
        }
        Command::Show(show) => {
            let items = items(&show.admin.client(console)?).await?;
            let providers: Vec<Provider> = read_all(&items, A_PROVIDER)?;
            let index = position(&providers, show.id.as_str())?;
            let fields = fields(&providers[index], &address(console));
            console.print(&items[index], || console.table(&fields))
        }
    }
}

/// Returns one provider, or `None` if the catalogue cannot be read, which must not prevent storing
/// a key.
pub(crate) async fn find(client: &Client, id: &str) -> Result<Option<Provider>, Failure> {
    let known = items(client).await;
    let known = known.and_then(|items| read_all::<Provider>(&items, A_PROVIDER));
    let Ok(mut providers) = known else {
        return Ok(None);
    };
    let index = position(&providers, id)?;
    Ok(Some(providers.swap_remove(index)))
}

/// Fails unless the provider is in the catalogue, if one is named and the catalogue can be read.
pub(crate) async fn expect(client: &Client, id: Option<&ProviderId>) -> Result<(), Failure> {
    if let Some(id) = id {
        find(client, id.as_str()).await?;
    }
    Ok(())
}

async fn items(client: &Client) -> Result<Vec<Value>, Failure> {
    let mut page = client.get(PROVIDERS).await?;
    match page["items"].take() {
        Value::Array(items) => Ok(items),
        _ => Err(unexpected_format("a list of providers")),
    }
}

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

fn table(providers: &[Provider], keys: &[Value], console: &Console) -> String {
    let rows = providers.iter().map(|provider| {
        let is_counted =
            |key: &&Value| key["provider"] == provider.id.as_str() && key["status"] != "revoked";
        [
            provider.id.to_string(),
            provider.name.clone(),
            keys.iter().filter(is_counted).count().to_string(),
            cell(&provider.links.console),
            cell(&provider.links.docs),
        ]
    });
    let heading = ["ID", "NAME", "KEYS", "CREATE KEYS AT", "DOCUMENTATION"];
    console.table(&Table::new(heading).with_rows(rows))
}

/// Every field for people; a list continues in rows without a name.
fn fields(provider: &Provider, address: &str) -> Table {
    let base_url = match (&provider.base_url, &provider.endpoint) {
        (Some(url), _) => url.clone(),
        (None, Some(endpoint)) => format!("each key's own, such as {}", endpoint.example),
        (None, None) => none(),
    };
    let steps = provider.steps.iter().zip(1..);
    let steps = steps.map(|(step, number)| format!("{number}. {step}"));
    let sdks = provider.sdks.iter().flat_map(|sdk| lines(sdk, address));
    let advice = &provider.development;
    let expiry = advice.expires_in_days.map(|days| format!("{days} days"));
    let fields = [
        ("id", vec![provider.id.to_string()]),
        ("name", vec![provider.name.clone()]),
        ("base URL", vec![base_url]),
        ("a key looks like", vec![cell(&provider.key.example)]),
        ("a key may", provider.key.scopes.clone()),
        ("create keys at", vec![cell(&provider.links.console)]),
        ("creating a key", steps.collect()),
        ("SDKs", sdks.collect()),
        ("rate limits", vec![cell(&provider.rate_limits)]),
        ("for testing", vec![cell(&provider.sandbox.note)]),
        ("for development", advice.steps.clone()),
        ("suggested expiry", expiry.into_iter().collect()),
        ("documentation", vec![cell(&provider.links.docs)]),
    ];
    Table::of_fields(fields.into_iter().flat_map(|(name, values)| {
        let names = iter::once(name).chain(iter::repeat(""));
        names.zip(values)
    }))
}

/// The base URL of an SDK, and the variables for a dummy key.
fn lines(sdk: &Sdk, address: &str) -> Vec<String> {
    let path = path(sdk, "WORKSPACE");
    let base_url = format!("{}=http://{address}{path}  # {}", sdk.variable, sdk.name);
    let keys = sdk.key_variables.iter();
    let keys = keys.map(|variable| format!("{variable}={DUMMY_KEY}"));
    [base_url].into_iter().chain(keys).collect()
}

/// The path of an SDK's base URL for this workspace.
pub(crate) fn path(sdk: &Sdk, workspace: &str) -> String {
    sdk.base_url_path.replace("{workspaceId}", workspace)
}

/// The proxy's address from this machine, or a placeholder if the settings do not say.
fn address(console: &Console) -> String {
    let settings = console.settings().ok();
    let proxy = settings.and_then(|all| ProxyAddress::of(&all.proxy.listeners, ""));
    let proxy = proxy.filter(|proxy| proxy.address.port() != 0);
    proxy.map_or("PROXY".to_owned(), |proxy| proxy.address.to_string())
}

const A_PROVIDER: &str = "a provider";

const PROVIDERS: &str = "/api/integrations/providers";

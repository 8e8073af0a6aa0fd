//! `keyside audit`: lists, exports and verifies the audit log.

mod export;
mod key;
mod verify;

use std::collections::BTreeSet;

use clap::{Args, Subcommand};
use keyside_config::Sources;
use keyside_credentials::{ActorId, CredentialId, WorkspaceId};
use serde_json::{Value, json};

use super::{
    Admin, Failure, Output,
    key::key_id,
    table::{Table, field_cell},
    workspace,
};
use crate::client::{Client, ClientError};

/// The commands on the audit log.
#[derive(Subcommand)]
pub(crate) enum Audit {
    /// List records, newest first
    List(List),
    /// Write records to standard output, oldest first
    Export(export::Export),
    /// Verify that no record was edited, removed or added, or that a receipt is in the log
    Verify(verify::Verify),
    /// Print the public key that checks exports and receipts on another machine
    Key(key::Key),
}

/// Filters for records.
#[derive(Args)]
struct Filters {
    /// Only about this workspace
    #[arg(long, short)]
    workspace: Option<WorkspaceId>,
    /// Only by this actor: a token's id, or system
    #[arg(long)]
    actor: Option<ActorId>,
    /// Only of this event, such as credential_revoked
    #[arg(long, short, value_parser = event)]
    event: Option<String>,
    /// Only about this key: its id, as `keyside key list` shows it
    #[arg(long = "key", alias = "credential", value_name = "ID", value_parser = key_id)]
    credential: Option<CredentialId>,
}

/// `keyside audit list`.
#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    filters: Filters,
    /// Maximum number of records, 1 to 1000000
    #[arg(long, short = 'n', default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    limit: u32,
    #[command(flatten)]
    admin: Admin,
}

pub(crate) async fn run(audit: Audit, sources: &Sources, output: &Output) -> Result<(), Failure> {
    match audit {
        Audit::List(list) => list.run(sources, output).await,
        Audit::Export(export) => export.run(sources, output).await,
        Audit::Verify(verify) => verify.run(sources, output).await,
        Audit::Key(key) => key.run(sources, output).await,
    }
}

impl Filters {
    /// Converts an error. If the workspace does not exist, suggests the most similar one.
    async fn explained(&self, client: &Client, error: ClientError) -> Failure {
        match &self.workspace {
            Some(id) => workspace::explained(client, id, error).await,
            None => error.into(),
        }
    }

    /// All values are of forms that need no escape in a query.
    fn query(&self) -> String {
        let filters = [
            (
                "workspaceId",
                self.workspace.as_ref().map(ToString::to_string),
            ),
            ("actor", self.actor.as_ref().map(ToString::to_string)),
            ("event", self.event.clone()),
            (
                "credentialId",
                self.credential.as_ref().map(ToString::to_string),
            ),
        ];
        let given = filters
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        given
            .map(|(name, value)| format!("&{name}={value}"))
            .collect()
    }
}

impl List {
    /// A page may be short and still have a next page: a rare record may be some pages away.
    async fn run(&self, sources: &Sources, output: &Output) -> Result<(), Failure> {
        let client = self.admin.client(sources)?;
        let (mut items, mut cursor) = (Vec::new(), Value::Null);
        let mut warnings = BTreeSet::new();
        let wanted = self.limit as usize;
        while items.len() < wanted {
            let limit = (wanted - items.len()).min(1_000);
            let after = cursor.as_str().map(|cursor| format!("&cursor={cursor}"));
            let filters = self.filters.query();
            let path = format!(
                "{AUDIT}?limit={limit}{filters}{}",
                after.unwrap_or_default()
            );
            let mut page = match client.get(&path).await {
                Ok(page) => page,
                Err(error) => return Err(self.filters.explained(&client, error).await),
            };
            if let Some(Value::Array(more)) = page.get_mut("items").map(Value::take) {
                items.extend(more);
            }
            let damaged = page["warnings"].as_array().into_iter().flatten();
            warnings.extend(damaged.filter_map(|it| it.as_str().map(str::to_owned)));
            cursor = page["nextCursor"].take();
            if cursor.is_null() {
                break;
            }
        }
        for warning in &warnings {
            output.note(&format!("warning: {warning}"));
        }
        let page = json!({ "items": items, "nextCursor": cursor, "warnings": warnings });
        output.print(&page, |output| table(&items, output))
    }
}

fn table(items: &[Value], output: &Output) -> String {
    let mut table = Table::new(["AT", "EVENT", "ACTOR", "WORKSPACE", "KEY", "NOTE"]);
    for item in items {
        let text = |field| item[field].as_str().unwrap_or("-").to_owned();
        table.row([
            field_cell(item, "at"),
            text("event"),
            text("actor"),
            text("workspaceId"),
            text("credentialId"),
            text("note"),
        ]);
    }
    output.table(&table)
}

/// Parses an event's name, known to this version or not: the server decides.
fn event(text: &str) -> Result<String, String> {
    let fits = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    match !text.is_empty() && text.bytes().all(fits) {
        true => Ok(text.to_owned()),
        false => Err("expected letters and _, such as credential_revoked".to_owned()),
    }
}

const AUDIT: &str = "/api/audit";

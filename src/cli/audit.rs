//! `keyside audit`: lists, exports and verifies the audit log.

mod export;
mod key;
mod verify;

use clap::{Args, Subcommand};
use keyside_credentials::{ActorId, CredentialId, WorkspaceId};

use super::{
    Admin, Console, Failure,
    items::{filter, list},
    key::key_id,
    table::Table,
    workspace,
};

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

pub(crate) async fn run(audit: Audit, console: &Console) -> Result<(), Failure> {
    match audit {
        Audit::List(list) => list.run(console).await,
        Audit::Export(export) => export.run(console).await,
        Audit::Verify(verify) => verify.run(console).await,
        Audit::Key(key) => key.run(console).await,
    }
}

impl Filters {
    fn query(&self) -> String {
        [
            filter("workspaceId", &self.workspace),
            filter("actor", &self.actor),
            filter("event", &self.event),
            filter("credentialId", &self.credential),
        ]
        .concat()
    }
}

impl List {
    async fn run(&self, console: &Console) -> Result<(), Failure> {
        let client = self.admin.client(console)?;
        let (filters, wanted) = (self.filters.query(), self.limit as usize);
        let page = list(&client, AUDIT, &filters, wanted).await;
        let page = workspace::explain(&client, self.filters.workspace.as_ref(), page).await?;
        for warning in &page.warnings {
            console.warn(warning);
        }
        console.print(&page, || {
            console.table(&Table::of_items(&page.items, COLUMNS))
        })
    }
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

/// Headings, and the fields of a record below them.
const COLUMNS: [(&str, &str); 6] = [
    ("AT", "at"),
    ("EVENT", "event"),
    ("ACTOR", "actor"),
    ("WORKSPACE", "workspaceId"),
    ("KEY", "credentialId"),
    ("NOTE", "note"),
];

//! `keyside workspace`: workspaces, through the admin API.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use keyside_config::{Sources, nearest};
use keyside_credentials::WorkspaceId;
use serde_json::{Value, json};

use super::{
    Admin, Failure, Output,
    confirm::Confirmation,
    download::Download,
    items::list_all,
    table::{Table, field_cell},
};
use crate::{
    client::{Client, ClientError},
    terminal::printable,
};

/// The commands on workspaces.
#[derive(Subcommand)]
pub(crate) enum Workspace {
    /// Create a workspace
    Add(Add),
    /// List the workspaces
    List(List),
    /// Show one workspace
    Show(Show),
    /// Export a workspace without its secrets into a tar archive
    Export(Export),
    /// Erase a workspace permanently: its encryption key, records and runs
    Erase(Erase),
    /// Encrypt a workspace's keys again, under a new workspace key
    RotateKey(RotateKey),
}

/// `keyside workspace add`.
#[derive(Args)]
pub(crate) struct Add {
    /// The id that requests name: 1 to 64 of a-z, 0-9 and -
    id: WorkspaceId,
    /// Display name [default: the id]
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    admin: Admin,
}

/// `keyside workspace list`.
#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    admin: Admin,
}

/// `keyside workspace show`.
#[derive(Args)]
pub(crate) struct Show {
    /// The workspace
    id: WorkspaceId,
    #[command(flatten)]
    admin: Admin,
}

/// `keyside workspace export`.
#[derive(Args)]
pub(crate) struct Export {
    /// The workspace
    id: WorkspaceId,
    /// The file to write, which must not exist yet [default: <the id>.tar]
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    admin: Admin,
}

/// `keyside workspace erase`.
#[derive(Args)]
pub(crate) struct Erase {
    /// The workspace
    id: WorkspaceId,
    /// Skip the confirmation
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    admin: Admin,
}

/// `keyside workspace rotate-key`.
#[derive(Args)]
pub(crate) struct RotateKey {
    /// The workspace
    id: WorkspaceId,
    #[command(flatten)]
    admin: Admin,
}

pub(crate) async fn run(
    workspace: Workspace,
    sources: &Sources,
    output: &Output,
) -> Result<(), Failure> {
    match workspace {
        Workspace::Add(add) => {
            let body = json!({ "id": add.id, "name": add.name });
            let created = add.admin.client(sources)?.post(WORKSPACES, &body).await?;
            output.print(&created, |_| format!("Created workspace {}\n", add.id))
        }
        Workspace::List(list) => {
            let items = list_all(&list.admin.client(sources)?, WORKSPACES, "").await?;
            let page = json!({ "items": items, "nextCursor": null });
            output.print(&page, |output| table(&items, output))
        }
        Workspace::Show(show) => show.run(sources, output).await,
        Workspace::Export(export) => export.run(sources, output).await,
        Workspace::Erase(erase) => erase.run(sources, output).await,
        Workspace::RotateKey(rotate) => rotate.run(sources, output).await,
    }
}

/// Fails unless the workspace exists: the list of a mistyped one would only be empty.
pub(crate) async fn expect(client: &Client, id: &WorkspaceId) -> Result<(), Failure> {
    look_up(client, id).await.map(drop)
}

/// Whether a reachable Keyside has the workspace; false if none responds in time.
///
/// # Errors
/// It has no such workspace.
pub(crate) async fn known_to(client: &Client, id: &WorkspaceId) -> Result<bool, Failure> {
    let path = path(id);
    let asked = client.get(&path);
    match tokio::time::timeout(LOOKUP_TIMEOUT, asked).await {
        Ok(Ok(_)) => Ok(true),
        Ok(Err(error)) if error.is(UNKNOWN) => Err(explained(client, id, error).await),
        Ok(Err(_)) | Err(_) => Ok(false),
    }
}

/// Converts an error about a workspace. If there is no such workspace, suggests the most similar
/// one.
pub(crate) async fn explained(client: &Client, id: &WorkspaceId, error: ClientError) -> Failure {
    if !error.is(UNKNOWN) {
        return error.into();
    }
    let items = match list_all(client, WORKSPACES, "").await {
        Ok(items) => items,
        Err(failure) => return failure,
    };
    let ids = items.iter().filter_map(|item| item["id"].as_str());
    match nearest(id.as_str(), ids) {
        // The given id is not repeated, because it may be a key.
        Some(meant) => {
            Failure::failed(format!("there is no such workspace; did you mean {meant}?"))
                .next(error.next_step())
        }
        None => error.into(),
    }
}

async fn look_up(client: &Client, id: &WorkspaceId) -> Result<Value, Failure> {
    match client.get(&path(id)).await {
        Ok(workspace) => Ok(workspace),
        Err(error) => Err(explained(client, id, error).await),
    }
}

fn path(id: &WorkspaceId) -> String {
    format!("{WORKSPACES}/{id}")
}

impl Show {
    async fn run(&self, sources: &Sources, output: &Output) -> Result<(), Failure> {
        let workspace = look_up(&self.admin.client(sources)?, &self.id).await?;
        output.print(&workspace, |output| {
            let mut table = Table::of_fields(&workspace, FIELDS);
            if workspace["damaged"] == true {
                table.row(["damaged".to_owned(), "yes".to_owned()]);
            }
            output.table(&table)
        })
    }
}

impl Export {
    async fn run(&self, sources: &Sources, output: &Output) -> Result<(), Failure> {
        let client = self.admin.client(sources)?;
        let path = format!("{WORKSPACES}/{}/export", self.id);
        let download = Download::begin(&client, &path, self.out.as_deref(), "workspace.tar");
        let file = download.await?.finish().await?.keep();
        let written = json!({ "workspaceId": self.id, "file": file });
        output.print(&written, |_| {
            format!("Wrote workspace {} to {}\n", self.id, file.display())
        })
    }
}

impl Erase {
    /// Only the receipt goes to standard output, so that it can be redirected into a file.
    async fn run(&self, sources: &Sources, output: &Output) -> Result<(), Failure> {
        let client = self.admin.client(sources)?;
        let path = path(&self.id);
        if !self.yes {
            let workspace = client.get(&path).await?;
            let name = workspace["name"].as_str().unwrap_or_default();
            Confirmation {
                action: format!(
                    "About to erase workspace {} ({}) with all its keys and runs",
                    self.id,
                    printable(name)
                ),
                name: self.id.as_str(),
                name_kind: "id",
                if_declined: "nothing was erased",
            }
            .confirm()?;
        }
        let receipt = client.delete(&path).await?;
        output.note(&format!(
            "Erased workspace {}. Keep the receipt; `keyside audit verify --receipt FILE` checks it.",
            self.id
        ));
        let kept = serde_json::to_string_pretty(&receipt).unwrap_or_default();
        output.print(&receipt, |_| format!("{kept}\n"))
    }
}

impl RotateKey {
    async fn run(&self, sources: &Sources, output: &Output) -> Result<(), Failure> {
        let path = format!("{WORKSPACES}/{}/rotate-key", self.id);
        let client = self.admin.client(sources)?;
        let rotated = client.post(&path, &json!({})).await?;
        if rotated["damaged"] != 0 {
            output.note(&format!(
                "warning: {} keys cannot be decrypted and were not changed",
                rotated["damaged"]
            ));
        }
        output.print(&rotated, |_| {
            format!(
                "Encrypted {} keys of workspace {} under {}\n",
                rotated["credentials"],
                self.id,
                rotated["key"].as_str().unwrap_or("?")
            )
        })
    }
}

fn table(items: &[Value], output: &Output) -> String {
    if items.is_empty() {
        return "No workspaces. `keyside workspace add ID` creates one.\n".to_owned();
    }
    let mut table = Table::new(["ID", "NAME", "CREATED"]);
    for item in items {
        table.row(["id", "name", "createdAt"].map(|field| field_cell(item, field)));
    }
    output.table(&table)
}

const WORKSPACES: &str = "/api/workspaces";

const UNKNOWN: &str = "workspace-unknown";

/// A command that does not need Keyside waits no longer for one.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

const FIELDS: [(&str, &str); 4] = [
    ("id", "id"),
    ("name", "name"),
    ("created", "createdAt"),
    ("by", "createdBy"),
];

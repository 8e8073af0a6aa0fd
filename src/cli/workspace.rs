//! `keyside workspace`: workspaces, through the admin API.

use std::{path::PathBuf, time::Duration};

use clap::{Args, Subcommand};
use keyside_admin::wire::{NewWorkspace, WorkspaceEdit, WorkspaceView};
use keyside_config::nearest;
use keyside_credentials::{DisplayName, WorkspaceId};
use serde_json::{Value, json};

use super::{
    Admin, Console, Failure,
    confirm::Confirmation,
    download::download,
    items::{list_all, print_list, read},
    limits::{self, ChangedLimits},
    new_file::until_stopped,
    table::{Column, Table, cell, local},
};
use crate::{
    client::{Client, ClientError},
    terminal::printable,
};

#[derive(Subcommand)]
pub(crate) enum Workspace {
    /// Create a workspace
    #[command(alias = "create")]
    Add(Add),
    /// List the workspaces
    List(Admin),
    /// Show one workspace
    Show(WorkspaceArguments),
    /// Change what the requests of a workspace may spend in a day
    Edit(Edit),
    /// Export a workspace without its secrets into a tar archive
    Export(Export),
    /// Erase a workspace permanently: its encryption key, records and runs
    Erase(Erase),
    /// Encrypt a workspace's keys again, under a new workspace key
    RotateKey(WorkspaceArguments),
}

#[derive(Args)]
pub(crate) struct Add {
    /// The id that requests name: 1 to 64 of a-z, 0-9 and -
    id: WorkspaceId,
    /// Display name [default: the id]
    #[arg(long)]
    name: Option<DisplayName>,
    #[command(flatten)]
    admin: Admin,
}

#[derive(Args)]
pub(crate) struct WorkspaceArguments {
    /// The workspace
    id: WorkspaceId,
    #[command(flatten)]
    admin: Admin,
}

#[derive(Args)]
pub(crate) struct Edit {
    #[command(flatten)]
    one: WorkspaceArguments,
    #[command(flatten)]
    limits: ChangedLimits,
}

#[derive(Args)]
pub(crate) struct Export {
    #[command(flatten)]
    one: WorkspaceArguments,
    /// The file to write, which must not exist yet [default: <the id>.tar]
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Args)]
pub(crate) struct Erase {
    #[command(flatten)]
    one: WorkspaceArguments,
    /// Skip the confirmation
    #[arg(long, short)]
    yes: bool,
}

pub(crate) async fn run(workspace: Workspace, console: &Console) -> Result<(), Failure> {
    match workspace {
        Workspace::Add(Add { id, name, admin }) => {
            let body = NewWorkspace { id, name };
            let created = admin.client(console)?.post(WORKSPACES, &body).await?;
            console.print(&created, || format!("Created workspace {}\n", body.id))
        }
        Workspace::List(admin) => {
            let items = list_all(&admin.client(console)?, WORKSPACES, "").await?;
            print_list(&items, A_WORKSPACE, console, table)
        }
        Workspace::Show(one) => one.show(console).await,
        Workspace::Edit(edit) => edit.run(console).await,
        Workspace::Export(export) => export.run(console).await,
        Workspace::Erase(erase) => erase.run(console).await,
        Workspace::RotateKey(one) => one.rotate_key(console).await,
    }
}

/// Fails unless the workspace exists, if one is named: the list of a mistyped one would only be
/// empty.
pub(crate) async fn expect(client: &Client, id: Option<&WorkspaceId>) -> Result<(), Failure> {
    match id {
        Some(id) => look_up(client, id).await.map(drop),
        None => Ok(()),
    }
}

/// Whether a reachable Keyside has the workspace; false if none responds in time.
pub(crate) async fn known_to(client: &Client, id: &WorkspaceId) -> Result<bool, Failure> {
    let path = path(id);
    let asked = client.get(&path);
    match tokio::time::timeout(LOOKUP_TIMEOUT, asked).await {
        Ok(Ok(_)) => Ok(true),
        Ok(Err(error)) if error.is(UNKNOWN) => Err(explained(client, id, error).await),
        Ok(Err(_)) | Err(_) => Ok(false),
    }
}

/// Returns the result of a call. If there is no such workspace, suggests the most similar one.
pub(crate) async fn explain<T>(
    client: &Client,
    id: Option<&WorkspaceId>,
    called: Result<T, ClientError>,
) -> Result<T, Failure> {
    match (called, id) {
        (Ok(value), _) => Ok(value),
        (Err(error), Some(id)) => Err(explained(client, id, error).await),
        (Err(error), None) => Err(error.into()),
    }
}

async fn explained(client: &Client, id: &WorkspaceId, error: ClientError) -> Failure {
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
    explain(client, Some(id), client.get(&path(id)).await).await
}

fn path(id: &WorkspaceId) -> String {
    format!("{WORKSPACES}/{id}")
}

impl WorkspaceArguments {
    async fn show(&self, console: &Console) -> Result<(), Failure> {
        let shown = look_up(&self.admin.client(console)?, &self.id).await?;
        let workspace: WorkspaceView = read(&shown, A_WORKSPACE)?;
        let damaged = workspace.damaged.then(|| ("damaged", "yes".to_owned()));
        let spend = limits::rows(workspace.limits, workspace.usage);
        let fields = [
            ("id", workspace.id.to_string()),
            ("name", cell(&workspace.name)),
            ("created", local(workspace.created_at)),
            ("by", workspace.created_by.to_string()),
        ];
        console.print(&shown, || {
            console.table(&Table::of_fields(
                fields.into_iter().chain(spend).chain(damaged),
            ))
        })
    }

    async fn rotate_key(&self, console: &Console) -> Result<(), Failure> {
        let path = format!("{}/rotate-key", path(&self.id));
        let client = self.admin.client(console)?;
        let rotated = client.post(&path, &json!({})).await?;
        let (id, keys, damaged) = (&self.id, &rotated["credentials"], &rotated["damaged"]);
        if *damaged != 0 {
            let said = "keys cannot be decrypted and were not changed";
            console.warn(format_args!("{damaged} {said}"));
        }
        let key = rotated["key"].as_str().unwrap_or("?");
        console.print(&rotated, || {
            format!("Encrypted {keys} keys of workspace {id} under {key}\n")
        })
    }
}

impl Edit {
    async fn run(&self, console: &Console) -> Result<(), Failure> {
        let limits = self.limits.change();
        if limits.is_none() {
            return Err(
                Failure::usage("expected something to change, found nothing")
                    .next("`keyside workspace edit --help` lists the limits that can be changed."),
            );
        }
        let WorkspaceArguments { id, admin } = &self.one;
        let client = admin.client(console)?;
        let edited = client.patch(&path(id), &WorkspaceEdit { limits }).await;
        let edited = explain(&client, Some(id), edited).await?;
        console.print(&edited, || format!("Changed workspace {id}\n"))
    }
}

impl Export {
    async fn run(&self, console: &Console) -> Result<(), Failure> {
        let WorkspaceArguments { id, admin } = &self.one;
        let (client, path) = (admin.client(console)?, format!("{}/export", path(id)));
        let file = until_stopped(async {
            let downloaded = download(&client, &path, self.out.as_deref(), "workspace.tar");
            downloaded.await?.keep()
        });
        let file = file.await?;
        let written = json!({ "workspaceId": id, "file": file });
        console.print(&written, || {
            format!("Wrote workspace {id} to {}\n", file.display())
        })
    }
}

impl Erase {
    /// Only the receipt goes to standard output, so that it can be redirected into a file.
    async fn run(&self, console: &Console) -> Result<(), Failure> {
        let WorkspaceArguments { id, admin } = &self.one;
        let (client, path) = (admin.client(console)?, path(id));
        if !self.yes {
            let workspace: WorkspaceView = read(&client.get(&path).await?, A_WORKSPACE)?;
            let name = printable(&workspace.name);
            Confirmation {
                action: format!(
                    "About to erase workspace {id} ({name}) with all its keys and runs"
                ),
                name: id.as_str(),
                name_kind: "id",
                if_declined: "nothing was erased",
            }
            .confirm()?;
        }
        let receipt = client.delete(&path).await?;
        console.note(format_args!(
            "Erased workspace {id}. Keep the receipt; `keyside audit verify --receipt FILE` checks it."
        ));
        let kept = serde_json::to_string_pretty(&receipt).unwrap_or_default();
        console.print(&receipt, || format!("{kept}\n"))
    }
}

fn table(workspaces: &[WorkspaceView], console: &Console) -> String {
    if workspaces.is_empty() {
        return "No workspaces. `keyside workspace add ID` creates one.\n".to_owned();
    }
    console.table(&Table::of(workspaces, &COLUMNS))
}

const WORKSPACES: &str = "/api/workspaces";

const A_WORKSPACE: &str = "a workspace";

const UNKNOWN: &str = "workspace-unknown";

/// A command that does not need Keyside waits no longer for one.
const LOOKUP_TIMEOUT: Duration = Duration::from_secs(2);

const COLUMNS: [Column<WorkspaceView>; 3] = [
    ("ID", |workspace| workspace.id.to_string()),
    ("NAME", |workspace| cell(&workspace.name)),
    ("CREATED", |workspace| local(workspace.created_at)),
];

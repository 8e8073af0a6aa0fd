//! `keyside workspace`: who may use which keys, through the admin API.

use clap::{Args, Subcommand};
use keyside_config::Sources;
use keyside_credentials::WorkspaceId;
use serde_json::{Value, json};

use super::{Admin, Answer, Failure, key::all, table::Table};

/// What can be done with workspaces.
#[derive(Subcommand)]
pub(crate) enum Workspace {
    /// Make a workspace
    Add(Add),
    /// List the workspaces
    List(List),
}

/// `keyside workspace add`.
#[derive(Args)]
pub(crate) struct Add {
    /// What requests will be tagged with: 1 to 64 of a-z, 0-9 and -
    id: WorkspaceId,
    /// Its name for people [default: the id]
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

pub(crate) async fn run(
    workspace: Workspace,
    sources: &Sources,
    answer: &Answer,
) -> Result<(), Failure> {
    match workspace {
        Workspace::Add(add) => {
            let body = json!({ "id": add.id, "name": add.name });
            let made = add.admin.client(sources)?.post(WORKSPACES, &body).await?;
            answer.give(&made, |_| format!("Made workspace {}\n", add.id))
        }
        Workspace::List(list) => {
            let items = all(&list.admin.client(sources)?, WORKSPACES, "").await?;
            let page = json!({ "items": items, "nextCursor": null });
            answer.give(&page, |answer| table(&items, answer))
        }
    }
}

fn table(items: &[Value], answer: &Answer) -> String {
    if items.is_empty() {
        return "No workspaces. `keyside workspace add ID` makes one.\n".to_owned();
    }
    let mut table = Table::new(["ID", "NAME", "CREATED"]);
    for item in items {
        table.row(
            ["id", "name", "createdAt"].map(|field| item[field].as_str().unwrap_or("-").to_owned()),
        );
    }
    answer.table(&table)
}

const WORKSPACES: &str = "/api/workspaces";

//! `keyside token`: tokens of the admin API.

use std::fmt;

use clap::{Args, Subcommand, ValueEnum};
use keyside_config::Sources;
use keyside_credentials::{ActorId, Timestamp, WorkspaceId};
use serde_json::{Value, json};

use super::{
    Admin, Failure, Output,
    confirm::Confirmation,
    duration::end,
    items::list_all,
    key::value_name,
    table::{Table, field_cell},
};

/// The commands on tokens.
#[derive(Subcommand)]
pub(crate) enum Token {
    /// Create a token and print it, only this once
    Create(Create),
    /// List the tokens, including revoked and expired ones
    List(List),
    /// Show one token, without its text
    Show(Show),
    /// Revoke a token immediately and permanently
    Revoke(Revoke),
}

/// `keyside token create`.
#[derive(Args)]
pub(crate) struct Create {
    /// What or whom it is for
    #[arg(long, short)]
    name: String,
    /// What it permits
    #[arg(long, short)]
    role: Role,
    /// Limit it to a workspace; may be repeated [default: all workspaces]
    #[arg(long, short, value_name = "ID")]
    workspace: Vec<WorkspaceId>,
    /// Expiry: a time such as 2027-01-31T12:00:00Z, or a date, which means its start in UTC
    /// [default: never]
    #[arg(long, value_name = "TIME", value_parser = end)]
    expires_at: Option<Timestamp>,
    #[command(flatten)]
    admin: Admin,
}

/// `keyside token list`.
#[derive(Args)]
pub(crate) struct List {
    #[command(flatten)]
    admin: Admin,
}

/// `keyside token show`.
#[derive(Args)]
pub(crate) struct Show {
    /// The token's id, as `keyside token list` shows it
    id: ActorId,
    #[command(flatten)]
    admin: Admin,
}

/// `keyside token revoke`.
#[derive(Args)]
pub(crate) struct Revoke {
    /// The token's id, as `keyside token list` shows it
    id: ActorId,
    /// Skip the confirmation
    #[arg(long, short)]
    yes: bool,
    #[command(flatten)]
    admin: Admin,
}

#[derive(Clone, Copy, ValueEnum)]
enum Role {
    /// Everything
    Owner,
    /// Read, and change keys
    Editor,
    /// Read
    Viewer,
}

pub(crate) async fn run(token: Token, sources: &Sources, output: &Output) -> Result<(), Failure> {
    match token {
        Token::Create(create) => create.run(sources, output).await,
        Token::List(list) => {
            let items = list_all(&list.admin.client(sources)?, TOKENS, "").await?;
            let page = json!({ "items": items, "nextCursor": null });
            output.print(&page, |output| table(&items, output))
        }
        Token::Show(show) => {
            let path = format!("{TOKENS}/{}", show.id);
            let token = show.admin.client(sources)?.get(&path).await?;
            output.print(&token, |output| output.table(&fields(&token)))
        }
        Token::Revoke(revoke) => revoke.run(sources, output).await,
    }
}

impl Create {
    /// Only the token goes to standard output, so that it can be redirected into a file.
    async fn run(&self, sources: &Sources, output: &Output) -> Result<(), Failure> {
        let body = json!({
            "name": self.name,
            "role": value_name(self.role),
            "workspaces": (!self.workspace.is_empty()).then_some(&self.workspace),
            "expiresAt": self.expires_at.map(|at| at.to_string()),
        });
        let created = self.admin.client(sources)?.post(TOKENS, &body).await?;
        for warning in created["warnings"].as_array().into_iter().flatten() {
            let warning = warning.as_str().unwrap_or_default();
            output.note(&format!("warning: {warning}"));
        }
        let token = created["token"].as_str().unwrap_or_default();
        output.print(&created, |output| {
            output.note(&format!(
                "{}. It is shown only this once:",
                Summary("Created", &created)
            ));
            format!("{token}\n")
        })
    }
}

impl Revoke {
    async fn run(&self, sources: &Sources, output: &Output) -> Result<(), Failure> {
        let client = self.admin.client(sources)?;
        let path = format!("{TOKENS}/{}", self.id);
        if !self.yes {
            let token = client.get(&path).await?;
            Confirmation {
                action: Summary("About to revoke", &token).to_string(),
                name: token["name"].as_str().unwrap_or_default(),
                name_kind: "name",
                if_declined: "nothing was revoked",
            }
            .confirm()?;
        }
        let revoked = client.delete(&path).await?;
        output.print(&revoked, |_| format!("{}\n", Summary("Revoked", &revoked)))
    }
}

/// One line: what happened to which token.
struct Summary<'a>(&'a str, &'a Value);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(verb, token) = self;
        let text = |field| token[field].as_str().unwrap_or("-");
        let (id, role, name) = (text("id"), text("role"), text("name"));
        write!(f, "{verb} {id}: {role} of {} ({name})", workspaces(token))
    }
}

fn table(items: &[Value], output: &Output) -> String {
    let mut table = Table::new([
        "ID",
        "NAME",
        "ROLE",
        "WORKSPACES",
        "STATUS",
        "LAST USED",
        "EXPIRES",
    ]);
    for item in items {
        let text = |field| item[field].as_str().unwrap_or("-").to_owned();
        table.row([
            text("id"),
            text("name"),
            text("role"),
            workspaces(item),
            text("status"),
            field_cell(item, "lastUsedAt"),
            field_cell(item, "expiresAt"),
        ]);
    }
    output.table(&table)
}

fn fields(token: &Value) -> Table {
    let mut table = Table::new([]);
    for (name, field) in FIELDS {
        let value = match field {
            "workspaces" => workspaces(token),
            field => field_cell(token, field),
        };
        table.row([name.to_owned(), value]);
    }
    table
}

fn workspaces(token: &Value) -> String {
    match token["workspaces"].as_array() {
        None => "all workspaces".to_owned(),
        Some(ids) => {
            let ids: Vec<_> = ids.iter().filter_map(Value::as_str).collect();
            ids.join(", ")
        }
    }
}

const TOKENS: &str = "/api/tokens";

const FIELDS: [(&str, &str); 10] = [
    ("id", "id"),
    ("name", "name"),
    ("role", "role"),
    ("workspaces", "workspaces"),
    ("status", "status"),
    ("created", "createdAt"),
    ("by", "createdBy"),
    ("expires", "expiresAt"),
    ("revoked", "revokedAt"),
    ("last used", "lastUsedAt"),
];

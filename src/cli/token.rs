//! `keyside token`: tokens of the admin API.

use clap::{
    Args, Subcommand,
    builder::{PossibleValue, TypedValueParser},
};
use keyside_admin::wire::{NewToken, TokenView};
use keyside_credentials::{
    ActorContext, ActorId, DisplayName, Role, Scope, Timestamp, WorkspaceId,
};
use serde_json::json;

use super::{
    Admin, Console, Failure,
    choice::choice,
    confirm::Confirmation,
    duration::end,
    items::{list_all, print_list, read},
    offline,
    table::{Column, Table, cell, local, none},
};
use crate::{
    startup,
    validated_settings::{Process, ValidatedSettings},
};

#[derive(Subcommand)]
pub(crate) enum Token {
    /// Create a token and print it, only this once
    #[command(alias = "add")]
    Create(Create),
    /// List the tokens, including revoked and expired ones
    List(Admin),
    /// Show one token, without its text
    Show(TokenArguments),
    /// Revoke a token immediately and permanently
    Revoke(Revoke),
    /// Create an owner token without another one and print it, if all are lost, while no Keyside
    /// runs on the data folder
    Recover,
}

#[derive(Args)]
pub(crate) struct Create {
    /// What or whom it is for
    #[arg(long, short)]
    name: DisplayName,
    /// What it permits
    #[arg(long, short, value_parser = roles())]
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

#[derive(Args)]
pub(crate) struct TokenArguments {
    /// The token's id, as `keyside token list` shows it
    id: ActorId,
    #[command(flatten)]
    admin: Admin,
}

#[derive(Args)]
pub(crate) struct Revoke {
    #[command(flatten)]
    one: TokenArguments,
    /// Skip the confirmation
    #[arg(long, short)]
    yes: bool,
}

pub(crate) async fn run(token: Token, console: &Console) -> Result<(), Failure> {
    match token {
        Token::Create(create) => create.run(console).await,
        Token::List(admin) => {
            let items = list_all(&admin.client(console)?, TOKENS, "").await?;
            print_list(&items, A_TOKEN, console, table)
        }
        Token::Show(one) => {
            let shown = one.admin.client(console)?.get(&one.path()).await?;
            let token = read(&shown, A_TOKEN)?;
            console.print(&shown, || console.table(&fields(&token)))
        }
        Token::Revoke(revoke) => revoke.run(console).await,
        Token::Recover => recover(console).await,
    }
}

/// Works offline, for anyone with the data folder and the master key, who can do everything already.
/// The lost tokens stay valid until they are revoked.
async fn recover(console: &Console) -> Result<(), Failure> {
    let validated = ValidatedSettings::new(console.settings()?, Process::Serve)?;
    let (settings, store) = (validated.settings, validated.store);
    let Some(setup) = store else {
        return Err(Failure::usage("expected a data folder, found none"));
    };
    offline::expect_store(&setup.folder)?;
    let Some(registry) = startup::registry(&settings, &setup, None).await? else {
        return Ok(());
    };
    let by = ActorContext {
        actor: ActorId::system(),
        request_id: "token recover".to_owned(),
    };
    let new = keyside_credentials::NewToken {
        name: RECOVERED.parse().map_err(Failure::failed)?,
        role: Role::Owner,
        scope: Scope::All,
        expires_at: None,
    };
    let created = registry.create_token(&by, &Scope::All, new).await;
    let created = created.map_err(Failure::failed)?;
    let id = &created.token.id;
    console.print(&json!({ "id": id, "token": *created.text }), || {
        console.note(format_args!(
            "Created {id}: owner of all workspaces ({RECOVERED}). It is shown only this once:"
        ));
        format!("{}\n", *created.text)
    })?;
    console.note("  next: Start Keyside, and revoke the lost ones: `keyside token list`, `keyside token revoke ID`.");
    Ok(())
}

impl Create {
    /// Only the token goes to standard output, so that it can be redirected into a file.
    async fn run(&self, console: &Console) -> Result<(), Failure> {
        let workspaces = self.workspace.iter().cloned();
        let body = NewToken {
            name: self.name.clone(),
            role: self.role,
            workspaces: (!self.workspace.is_empty()).then(|| workspaces.collect()),
            expires_at: self.expires_at,
        };
        let created = self.admin.client(console)?.post(TOKENS, &body).await?;
        let token: TokenView = read(&created, A_TOKEN)?;
        for warning in &token.warnings {
            console.warn(warning);
        }
        console.print(&created, || {
            let summary = summary("Created", &token);
            console.note(format_args!("{summary}. It is shown only this once:"));
            format!("{}\n", token.token.as_deref().map_or("", String::as_str))
        })
    }
}

impl TokenArguments {
    fn path(&self) -> String {
        format!("{TOKENS}/{}", self.id)
    }
}

impl Revoke {
    async fn run(&self, console: &Console) -> Result<(), Failure> {
        let client = self.one.admin.client(console)?;
        let path = self.one.path();
        if !self.yes {
            let token = read(&client.get(&path).await?, A_TOKEN)?;
            Confirmation {
                action: summary("About to revoke", &token),
                name: &token.name,
                name_kind: "name",
                if_declined: "nothing was revoked",
            }
            .confirm()?;
        }
        let revoked = client.delete(&path).await?;
        let token = read(&revoked, A_TOKEN)?;
        console.print(&revoked, || format!("{}\n", summary("Revoked", &token)))
    }
}

/// One line: what happened to which token.
fn summary(verb: &str, token: &TokenView) -> String {
    let (id, role, name) = (&token.id, cell(&token.role), &token.name);
    format!("{verb} {id}: {role} of {} ({name})", workspaces(token))
}

fn table(tokens: &[TokenView], console: &Console) -> String {
    console.table(&Table::of(tokens, &COLUMNS))
}

fn fields(token: &TokenView) -> Table {
    Table::of_fields([
        ("id", token.id.to_string()),
        ("name", cell(&token.name)),
        ("role", cell(&token.role)),
        ("workspaces", workspaces(token)),
        ("status", cell(&token.status)),
        ("created", local(token.created_at)),
        ("by", token.created_by.to_string()),
        ("expires", time(token.expires_at)),
        ("revoked", time(token.revoked_at)),
        ("last used", time(token.last_used_at)),
    ])
}

fn workspaces(token: &TokenView) -> String {
    let ids = token.workspaces.as_ref();
    ids.map_or_else(|| "all workspaces".to_owned(), |ids| ids.join(", "))
}

fn time(at: Option<Timestamp>) -> String {
    at.map_or_else(none, local)
}

fn roles() -> impl TypedValueParser<Value = Role> {
    choice(ROLES.map(|(name, permits)| PossibleValue::new(name).help(permits)))
}

const TOKENS: &str = "/api/tokens";

/// The name of a recovered token.
const RECOVERED: &str = "Recovered owner";

const A_TOKEN: &str = "a token";

const ROLES: [(&str, &str); 3] = [
    ("owner", "Everything"),
    ("editor", "Read, and change keys"),
    ("viewer", "Read"),
];

const COLUMNS: [Column<TokenView>; 7] = [
    ("ID", |token| token.id.to_string()),
    ("NAME", |token| cell(&token.name)),
    ("ROLE", |token| cell(&token.role)),
    ("WORKSPACES", workspaces),
    ("STATUS", |token| cell(&token.status)),
    ("LAST USED", |token| time(token.last_used_at)),
    ("EXPIRES", |token| time(token.expires_at)),
];

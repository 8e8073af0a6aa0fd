//! Every route with every role, within the caller's scope and outside of it.

use keyside_credentials::{NewToken, Role, Scope};

use super::*;
use crate::routes;

/// What a route should do, said apart from the table that it is built from.
struct Row {
    method: &'static str,
    path: &'static str,
    /// The least role that may.
    least: Role,
    reach: Reach,
    done: StatusCode,
    body: Option<fn(&str) -> Value>,
}

/// Where it works for someone who is limited to one workspace.
#[derive(Clone, Copy, PartialEq)]
enum Reach {
    /// On what a path, a body or a list names: there in their own, absent in any other.
    Workspace,
    /// Nowhere: it is about the whole installation.
    Installation,
    /// Everywhere alike: it is about no workspace.
    Anywhere,
}

#[rustfmt::skip]
fn rows() -> Vec<Row> {
    use {Reach::*, Role::*};
    const OK: StatusCode = StatusCode::OK;
    const MADE: StatusCode = StatusCode::CREATED;
    let row = |method, path, least, reach, done, body| Row { method, path, least, reach, done, body };
    vec![
        row("GET", "/api/integrations/credentials", Viewer, Workspace, OK, None),
        row("POST", "/api/integrations/credentials", Editor, Workspace, MADE, Some(credential)),
        row("GET", "/api/integrations/credentials/{id}", Viewer, Workspace, OK, None),
        row("PATCH", "/api/integrations/credentials/{id}", Editor, Workspace, OK, Some(change)),
        row("POST", "/api/integrations/credentials/{id}/rollback", Editor, Workspace, OK, Some(nothing)),
        row("DELETE", "/api/integrations/credentials/{id}", Editor, Workspace, OK, None),
        row("POST", "/api/integrations/credentials/{id}/verify", Editor, Workspace, OK, None),
        // The credentials of this world are stored here: there is nothing to refresh.
        row("POST", "/api/integrations/credentials/{id}/refresh", Editor, Workspace, StatusCode::CONFLICT, None),
        row("GET", "/api/integrations/providers", Viewer, Anywhere, OK, None),
        row("GET", "/api/integrations/readiness", Viewer, Workspace, OK, None),
        row("POST", "/api/preview", Editor, Workspace, OK, Some(prompt)),
        row("GET", "/api/workspaces", Viewer, Workspace, OK, None),
        row("POST", "/api/workspaces", Owner, Installation, MADE, Some(workspace)),
        row("GET", "/api/workspaces/{id}", Viewer, Workspace, OK, None),
        row("PATCH", "/api/workspaces/{id}", Owner, Workspace, OK, Some(limits)),
        row("DELETE", "/api/workspaces/{id}", Owner, Workspace, OK, None),
        row("POST", "/api/workspaces/{id}/export", Owner, Workspace, OK, None),
        row("POST", "/api/workspaces/{id}/rotate-key", Owner, Workspace, OK, None),
        row("POST", "/api/master-key/rotate", Owner, Installation, OK, None),
        row("POST", "/api/backup", Owner, Installation, OK, None),
        row("GET", "/api/runs", Viewer, Workspace, OK, None),
        row("GET", "/api/runs/figures", Viewer, Workspace, OK, None),
        row("GET", "/api/smoke", Viewer, Workspace, OK, None),
        // No key of this world is tagged: there is nothing to run.
        row("POST", "/api/smoke/runs", Editor, Workspace, StatusCode::ACCEPTED, Some(smoke_run)),
        row("POST", "/api/smoke/results", Editor, Workspace, MADE, Some(smoke_result)),
        row("GET", "/api/audit", Viewer, Workspace, OK, None),
        row("GET", "/api/audit/export", Owner, Workspace, OK, None),
        row("GET", "/api/audit/key", Viewer, Anywhere, OK, None),
        row("GET", "/api/audit/verify", Viewer, Installation, OK, None),
        row("POST", "/api/audit/verify", Viewer, Installation, OK, Some(nothing)),
        row("GET", "/api/tokens", Owner, Workspace, OK, None),
        row("POST", "/api/tokens", Owner, Workspace, MADE, Some(token)),
        row("GET", "/api/tokens/{id}", Owner, Workspace, OK, None),
        row("DELETE", "/api/tokens/{id}", Owner, Workspace, OK, None),
        row("POST", "/api/sign-in-links", Viewer, Anywhere, MADE, None),
        row("GET", "/openapi.json", Viewer, Anywhere, OK, None),
    ]
}

fn credential(workspace: &str) -> Value {
    new_credential(json!({ "workspaceId": workspace, "label": "another" }))
}

fn change(_: &str) -> Value {
    json!({ "usageTag": "ci" })
}

fn limits(_: &str) -> Value {
    json!({ "limits": { "requestsPerDay": 10 } })
}

fn prompt(workspace: &str) -> Value {
    json!({ "workspaceId": workspace, "provider": "openai", "model": "m", "prompt": "Hi" })
}

fn smoke_run(workspace: &str) -> Value {
    json!({ "workspaceId": workspace })
}

fn smoke_result(workspace: &str) -> Value {
    json!({ "workspaceId": workspace, "provider": "openai", "verdict": "accepted" })
}

fn nothing(_: &str) -> Value {
    json!({})
}

fn workspace(_: &str) -> Value {
    json!({ "id": "gamma" })
}

fn token(workspace: &str) -> Value {
    json!({ "name": "another", "role": "owner", "workspaces": [workspace] })
}

#[test]
fn every_route_has_a_row_and_every_row_a_route() {
    let routes = routes::table();
    let mut routes: Vec<_> = routes
        .iter()
        .map(|route| (route.method.as_str(), route.path.as_str()))
        .collect();
    let rows = rows();
    let mut rows: Vec<_> = rows.iter().map(|row| (row.method, row.path)).collect();
    routes.sort_unstable();
    rows.sort_unstable();
    assert_eq!(routes, rows);
}

#[tokio::test]
async fn each_role_has_exactly_the_permissions_of_its_rows_within_its_scope() {
    for row in rows() {
        for role in [Role::Owner, Role::Editor, Role::Viewer] {
            let world = World::new(role).await;
            let on_foreign = world.ask(&row, &world.limited, "elsewhere").await;
            let on_own = world.ask(&row, &world.limited, "acme").await;
            let anywhere = world.ask(&row, &world.unlimited, "elsewhere").await;
            let name = format!("{} {} as {role:?}", row.method, row.path);
            let may = rank(role) >= rank(row.least);
            let expected = match may {
                true => (row.foreign(), row.own(), row.done),
                false => (
                    StatusCode::FORBIDDEN,
                    StatusCode::FORBIDDEN,
                    StatusCode::FORBIDDEN,
                ),
            };
            assert_eq!(
                (on_foreign.status, on_own.status, anywhere.status),
                expected,
                "{name}: {} {} {}",
                on_foreign.body,
                on_own.body,
                anywhere.body
            );
            for limited in [on_foreign, on_own] {
                assert!(
                    !limited.body.contains("elsewhere"),
                    "{name}: {}",
                    limited.body
                );
            }
        }
    }
}

#[tokio::test]
async fn no_change_is_made_that_cannot_be_audited() {
    for row in rows() {
        // Runs and results of checks are notes, not changes; a link to sign in is kept in memory.
        let reads = [
            "/sign-in-links",
            "/verify",
            "/refresh",
            "/preview",
            "/smoke/runs",
            "/smoke/results",
        ];
        let is_change = row.method != "GET" && !reads.iter().any(|end| row.path.ends_with(end));
        if !is_change && row.path != "/api/audit/export" {
            continue;
        }
        let world = World::new(Role::Owner).await;
        let before = world.api.everything().await;
        world.api.log.reserve_disk_space_for(Effect::Finishes);
        let answer = world.ask(&row, &world.unlimited, "elsewhere").await;
        let name = format!("{} {}", row.method, row.path);
        assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{name}");
        assert_eq!(answer.kind(), "store-unavailable", "{name}");
        assert!(!answer.header("retry-after").is_empty(), "{name}");
        world.api.log.reserve_disk_space_for(Effect::Adds);
        assert_eq!(world.api.everything().await, before, "{name}");
    }
}

impl Row {
    /// What someone who is limited gets of another workspace.
    fn foreign(&self) -> StatusCode {
        match self.reach {
            Reach::Workspace if self.names_one() => StatusCode::NOT_FOUND,
            _ => self.own(),
        }
    }

    /// What someone who is limited gets of their own.
    fn own(&self) -> StatusCode {
        match self.reach {
            Reach::Installation => StatusCode::FORBIDDEN,
            _ => self.done,
        }
    }

    fn names_one(&self) -> bool {
        self.path.contains("{id}") || self.body.is_some() || self.needs_workspace()
    }

    /// Whether its query must name a workspace.
    fn needs_workspace(&self) -> bool {
        self.path.ends_with("/readiness")
    }
}

/// Two workspaces with a credential and a token each, and two tokens of one role.
struct World {
    api: Api,
    limited: String,
    unlimited: String,
    credentials: [String; 2],
    tokens: [String; 2],
}

impl World {
    async fn new(role: Role) -> Self {
        let api = Api::with_workspace().await;
        let beta = api
            .post("/api/workspaces", &json!({ "id": "elsewhere" }))
            .await;
        assert_eq!(beta.status, StatusCode::CREATED);
        let mut credentials = [String::new(), String::new()];
        let mut tokens = [String::new(), String::new()];
        for (at, workspace) in ["acme", "elsewhere"].into_iter().enumerate() {
            let new = new_credential(json!({ "workspaceId": workspace }));
            credentials[at] = api.post(CREDENTIALS, &new).await.id();
            api.rotate(&credentials[at]).await;
            tokens[at] = api.post("/api/tokens", &token(workspace)).await.id();
        }
        let limited = api.token_of(
            role,
            Scope::Only(Arc::new(["acme".parse().unwrap()].into())),
        );
        Self {
            limited: limited.await,
            unlimited: api.token_of(role, Scope::All).await,
            api,
            credentials,
            tokens,
        }
    }

    async fn ask(&self, row: &Row, token: &str, workspace: &str) -> Answer {
        let mut path = row.path.replace("{id}", self.id(row.path, workspace));
        if row.needs_workspace() {
            path += &format!("?workspaceId={workspace}");
        }
        let request = anonymous(row.method, &path)
            .header("authorization", format!("Bearer {token}"))
            .header("content-type", "application/json")
            .header("if-match", "*");
        let body = row.body.map(|body| body(workspace).to_string());
        self.api
            .send_body(request, body.unwrap_or_default().into())
            .await
    }

    /// The value of `{id}` in a path.
    fn id<'a>(&'a self, path: &str, workspace: &'a str) -> &'a str {
        let at = usize::from(workspace == "elsewhere");
        match path {
            _ if path.starts_with("/api/workspaces/") => workspace,
            _ if path.starts_with("/api/tokens/") => &self.tokens[at],
            _ => &self.credentials[at],
        }
    }
}

impl Api {
    /// So that there is a version to roll back to.
    async fn rotate(&self, id: &str) {
        let secret = keyside_credentials::Secret::from_plaintext("sk-another-one".into());
        let rotation = keyside_credentials::Rotation::to(secret.unwrap());
        let id = id.parse().unwrap();
        let rotated = self.registry.rotate(&a_test(), &id, rotation).await;
        rotated.unwrap();
    }

    pub(super) async fn token_of(&self, role: Role, scope: Scope) -> String {
        let new = NewToken {
            name: "a test's".parse().unwrap(),
            role,
            scope,
            expires_at: None,
        };
        let made = self
            .registry
            .create_token(&a_test(), &Scope::All, new)
            .await;
        made.unwrap().text.to_string()
    }
}

fn a_test() -> keyside_credentials::ActorContext {
    keyside_credentials::ActorContext {
        actor: keyside_credentials::ActorId::system(),
        request_id: "test".to_owned(),
    }
}

fn rank(role: Role) -> u8 {
    match role {
        Role::Viewer => 0,
        Role::Editor => 1,
        Role::Owner => 2,
    }
}

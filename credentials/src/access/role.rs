//! What a principal may do: one table of permissions and roles, and the workspaces that a principal
//! is limited to.

use serde::{Deserialize, Serialize};

use crate::model::{ActorId, Scope};

/// The authenticated caller of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The token's id, which the audit log names.
    pub actor: ActorId,
    /// What the token allows.
    pub role: Role,
    /// The workspaces that the token is limited to.
    pub scope: Scope,
}

/// A token's role.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// May do everything within its scope.
    Owner,
    /// Reads everything in scope, changes credentials, and sends prompts.
    Editor,
    /// Reads everything in scope.
    Viewer,
}

/// What a route requires of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Permission {
    /// Open a session of the admin page.
    SignIn,
    /// Read data that is the same for all: providers, the API's description.
    ReadCatalogue,
    /// Read workspaces.
    ReadWorkspaces,
    /// Read credentials, never their secrets.
    ReadCredentials,
    /// See which credentials have the same secret, in any workspace.
    SeeDuplicates,
    /// Read run records.
    ReadRuns,
    /// Read the audit log.
    ReadAudit,
    /// Verify the whole audit log.
    VerifyAudit,
    /// Create, edit, rotate, roll back and revoke credentials.
    ChangeCredentials,
    /// Send prompts to a provider, which costs money.
    Preview,
    /// Start smoke runs, which send requests with tagged keys, and post results of checks.
    RunSmoke,
    /// Create workspaces.
    CreateWorkspaces,
    /// Change a workspace's limits.
    ChangeWorkspace,
    /// Export a workspace without its secrets.
    ExportWorkspace,
    /// Erase a workspace.
    EraseWorkspace,
    /// Replace the key of a workspace.
    RotateWorkspaceKey,
    /// List tokens.
    ReadTokens,
    /// Create tokens.
    CreateTokens,
    /// Revoke tokens.
    RevokeTokens,
    /// Export the audit log.
    ExportAudit,
    /// Replace the master key, which wraps all workspace keys.
    RotateMasterKey,
    /// Create a sealed backup of everything.
    Backup,
}

/// Why a permission was denied.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denial {
    /// The role does not allow it.
    #[error("the role does not allow it")]
    Role,
    /// The permission concerns the whole installation, and the principal is limited to some
    /// workspaces.
    #[error("it concerns all workspaces, and the token is limited to some")]
    Limited,
}

impl Principal {
    /// Whether this principal has `permission`, in the workspaces of its scope.
    ///
    /// # Errors
    /// Why not; the role is checked first.
    pub fn may(&self, permission: Permission) -> Result<(), Denial> {
        let row = permission.row();
        if !row.roles.contains(&self.role) {
            return Err(Denial::Role);
        }
        match row.reach == Reach::Installation && self.scope != Scope::All {
            true => Err(Denial::Limited),
            false => Ok(()),
        }
    }
}

struct Row {
    roles: &'static [Role],
    reach: Reach,
}

/// What a permission applies to.
#[derive(PartialEq, Eq)]
enum Reach {
    /// The workspaces of the principal's scope.
    Scope,
    /// The whole installation: a limited principal cannot have it.
    Installation,
}

impl Permission {
    #[cfg(test)]
    const ALL: [Self; 22] = [
        Self::SignIn,
        Self::ReadCatalogue,
        Self::ReadWorkspaces,
        Self::ReadCredentials,
        Self::SeeDuplicates,
        Self::ReadRuns,
        Self::ReadAudit,
        Self::VerifyAudit,
        Self::ChangeCredentials,
        Self::Preview,
        Self::RunSmoke,
        Self::CreateWorkspaces,
        Self::ChangeWorkspace,
        Self::ExportWorkspace,
        Self::EraseWorkspace,
        Self::RotateWorkspaceKey,
        Self::ReadTokens,
        Self::CreateTokens,
        Self::RevokeTokens,
        Self::ExportAudit,
        Self::RotateMasterKey,
        Self::Backup,
    ];

    #[rustfmt::skip]
    fn row(self) -> Row {
        use {Reach::{Installation, Scope}, Role::{Editor, Owner, Viewer}};
        let row = |roles, reach| Row { roles, reach };
        match self {
            Self::SignIn             => row(&[Owner, Editor, Viewer], Scope),
            Self::ReadCatalogue      => row(&[Owner, Editor, Viewer], Scope),
            Self::ReadWorkspaces     => row(&[Owner, Editor, Viewer], Scope),
            Self::ReadCredentials    => row(&[Owner, Editor, Viewer], Scope),
            Self::SeeDuplicates      => row(&[Owner],                 Installation),
            Self::ReadRuns           => row(&[Owner, Editor, Viewer], Scope),
            Self::ReadAudit          => row(&[Owner, Editor, Viewer], Scope),
            Self::VerifyAudit        => row(&[Owner, Editor, Viewer], Installation),
            Self::ChangeCredentials  => row(&[Owner, Editor],         Scope),
            Self::Preview            => row(&[Owner, Editor],         Scope),
            Self::RunSmoke           => row(&[Owner, Editor],         Scope),
            Self::CreateWorkspaces   => row(&[Owner],                 Installation),
            Self::ChangeWorkspace    => row(&[Owner],                 Scope),
            Self::ExportWorkspace    => row(&[Owner],                 Scope),
            Self::EraseWorkspace     => row(&[Owner],                 Scope),
            Self::RotateWorkspaceKey => row(&[Owner],                 Scope),
            Self::ReadTokens         => row(&[Owner],                 Scope),
            Self::CreateTokens       => row(&[Owner],                 Scope),
            Self::RevokeTokens       => row(&[Owner],                 Scope),
            Self::ExportAudit        => row(&[Owner],                 Scope),
            Self::RotateMasterKey    => row(&[Owner],                 Installation),
            Self::Backup             => row(&[Owner],                 Installation),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    fn only(names: &[&str]) -> Scope {
        let ids = names.iter().map(|name| name.parse().unwrap());
        Scope::Only(Arc::new(ids.collect()))
    }

    #[test]
    fn each_role_has_all_permissions_of_the_lower_ones() {
        for permission in Permission::ALL {
            let roles = permission.row().roles;
            assert!(roles.contains(&Role::Owner), "{permission:?}");
            if roles.contains(&Role::Viewer) {
                assert!(roles.contains(&Role::Editor), "{permission:?}");
            }
        }
    }

    #[test]
    fn an_owner_with_a_limited_scope_may_erase_its_workspace_but_not_manage_the_installation() {
        let owner = Principal {
            actor: ActorId::system(),
            role: Role::Owner,
            scope: only(&["acme"]),
        };
        assert_eq!(owner.may(Permission::EraseWorkspace), Ok(()));
        for permission in [
            Permission::Backup,
            Permission::RotateMasterKey,
            Permission::CreateWorkspaces,
        ] {
            assert_eq!(owner.may(permission), Err(Denial::Limited));
        }
    }

    #[test]
    fn a_scope_covers_narrower_scopes() {
        let (both, one) = (only(&["acme", "beta"]), only(&["acme"]));
        assert!(Scope::All.covers(&Scope::All) && Scope::All.covers(&one));
        assert!(both.covers(&one) && one.covers(&one));
        assert!(!one.covers(&both) && !both.covers(&Scope::All));
        let none = Scope::Only(Arc::default());
        assert!(Scope::All.covers(&none) && !one.covers(&none));
    }

    #[test]
    fn a_limited_scope_contains_only_the_named_workspaces() {
        let scope = only(&["acme"]);
        assert!(scope.holds("acme") && !scope.holds("acm") && !scope.holds("beta"));
    }
}

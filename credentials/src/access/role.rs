//! What a principal may do: one table of permissions and roles, and the workspaces that a principal
//! is limited to.

use serde::{Deserialize, Serialize};

use crate::model::{ActorId, Scope};

/// The authenticated caller of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// The token's id, which the audit log names.
    pub actor: ActorId,
    /// The first token with a workspace limit of those that created each other up to this one; this one
    /// if it has no such limit. Tokens with one origin share what a token may use: a limited token can
    /// create others.
    pub origin: ActorId,
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
        let (roles, reach) = permission.row();
        if !roles.contains(&self.role) {
            return Err(Denial::Role);
        }
        match reach == Reach::Installation && self.scope != Scope::All {
            true => Err(Denial::Limited),
            false => Ok(()),
        }
    }
}

/// What a permission applies to.
#[derive(PartialEq, Eq)]
enum Reach {
    /// The workspaces of the principal's scope.
    Scope,
    /// The whole installation: a limited principal cannot have it.
    Installation,
}

/// Defines [`Permission`]: each with the roles that have it, and what it applies to.
macro_rules! permissions {
    ($($(#[$doc:meta])+ $name:ident: [$($role:ident),+] in $reach:ident;)+) => {
        /// What a route requires of its caller.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum Permission {
            $($(#[$doc])+ $name,)+
        }

        impl Permission {
            #[cfg(test)]
            const ALL: &'static [Self] = &[$(Self::$name),+];

            fn row(self) -> (&'static [Role], Reach) {
                match self {
                    $(Self::$name => (&[$(Role::$role),+], Reach::$reach),)+
                }
            }
        }
    };
}

permissions! {
    /// Open a session of the admin page.
    SignIn: [Owner, Editor, Viewer] in Scope;
    /// Read data that is the same for all: providers, the API's description.
    ReadCatalogue: [Owner, Editor, Viewer] in Scope;
    /// Read workspaces.
    ReadWorkspaces: [Owner, Editor, Viewer] in Scope;
    /// Read credentials, never their secrets.
    ReadCredentials: [Owner, Editor, Viewer] in Scope;
    /// See which credentials have the same secret, in any workspace.
    SeeDuplicates: [Owner] in Installation;
    /// Read run records.
    ReadRuns: [Owner, Editor, Viewer] in Scope;
    /// Read the audit log.
    ReadAudit: [Owner, Editor, Viewer] in Scope;
    /// Verify the whole audit log.
    VerifyAudit: [Owner, Editor, Viewer] in Installation;
    /// Create, edit, rotate, roll back and revoke credentials.
    ChangeCredentials: [Owner, Editor] in Scope;
    /// Send prompts to a provider, which costs money.
    Preview: [Owner, Editor] in Scope;
    /// Start smoke runs, which send requests with tagged keys, and post results of checks.
    RunSmoke: [Owner, Editor] in Scope;
    /// Create workspaces.
    CreateWorkspaces: [Owner] in Installation;
    /// Change a workspace's limits.
    ChangeWorkspace: [Owner] in Scope;
    /// Export a workspace without its secrets.
    ExportWorkspace: [Owner] in Scope;
    /// Erase a workspace.
    EraseWorkspace: [Owner] in Scope;
    /// Replace the key of a workspace.
    RotateWorkspaceKey: [Owner] in Scope;
    /// List tokens.
    ReadTokens: [Owner] in Scope;
    /// Create tokens.
    CreateTokens: [Owner] in Scope;
    /// Revoke tokens.
    RevokeTokens: [Owner] in Scope;
    /// Export the audit log.
    ExportAudit: [Owner] in Scope;
    /// Replace the master key, which wraps all workspace keys.
    RotateMasterKey: [Owner] in Installation;
    /// Create a sealed backup of everything.
    Backup: [Owner] in Installation;
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
            let (roles, _) = permission.row();
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
            origin: ActorId::system(),
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

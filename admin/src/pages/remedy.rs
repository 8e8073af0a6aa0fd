//! What a page says of a problem. The API's own words name requests, headers and commands; a page
//! names its links and buttons.

use super::marked::Text;
use crate::problem::{Kind, Problem};

/// What is wrong, as a sentence. It may name a label.
pub(super) fn detail(problem: &Problem) -> Text {
    match problem.kind() {
        Kind::PreconditionFailed | Kind::PreconditionRequired => {
            "It has changed since the page was opened. Nothing was changed now.".into()
        }
        _ => problem.detail().to_owned().into(),
    }
}

/// The next step, as a sentence. That of a live check names no request, so it stays.
pub(super) fn next_step(problem: &Problem) -> Text {
    let own = of_kind(problem.kind()).filter(|_| problem.check().is_none());
    own.map_or_else(|| Text::marked(problem.remedy()), Text::from)
}

/// The problem as a script of a page shows it.
pub(super) fn in_own_words(problem: Problem) -> Problem {
    match of_kind(problem.kind()) {
        Some(remedy) if problem.check().is_none() => problem.with_remedy(remedy),
        _ => problem,
    }
}

/// Where to go on from a page that could not be shown: a path below the session's, and its name.
pub(super) fn way_on(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::WorkspaceUnknown | Kind::WorkspaceExists => ("/workspaces", "All workspaces"),
        Kind::TokenUnknown | Kind::LastOwner => ("/workspace", "Workspace"),
        _ => ("/keys", "Integration Keys"),
    }
}

#[rustfmt::skip]
fn of_kind(kind: Kind) -> Option<&'static str> {
    Some(match kind {
        Kind::PermissionDenied => "Ask an owner to do it, or for a token that permits it.",
        Kind::RouteUnknown | Kind::WorkspaceUnknown | Kind::CredentialUnknown | Kind::TokenUnknown => "It may have been erased, or this session may not see it.",
        Kind::TooManyRequests | Kind::TooManyInProgress => "Wait a moment, then try again.",
        Kind::BodyTimeout => "Send the form again.",
        Kind::FieldsInvalid => "Correct it, and try again.",
        Kind::DeclaredInSettings => "Change its table in the settings, or its secret at its source. To store keys in a workspace that only \
            the settings name, first create it under All workspaces.",
        Kind::KeptInVault => "Rotate it in Vault. Keyside follows by itself, or at once with Read again on the key's page.",
        Kind::NotKeptInVault => "There is nothing to read again. Rotate replaces the secret.",
        Kind::LabelTaken => "Choose another label, or revoke the key that has this one: the labels of revoked keys can be reused.",
        Kind::CredentialRevoked => "Add the key again. It may have the same label.",
        Kind::NothingInGrace => "Rotate to the secret that you need.",
        Kind::SecretRefused => "Check the key in the provider's console, then send it again or save it without a check.",
        Kind::SecretReplaced => "Check again: another secret is in use now.",
        Kind::PreconditionFailed | Kind::PreconditionRequired => "Reload the page, and make the change again.",
        Kind::ErasureIncomplete => "The deletion continues by itself. Confirm again: once nothing is left, you get the receipt.",
        Kind::OutcomeUnknown => "Look at the list before you try again: the change may have been made.",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use keyside_credentials::ChangeError;

    use super::{super::marked::tests::shown, *};

    #[test]
    fn no_page_names_a_request_a_header_or_a_command() {
        let problems = [
            Problem::from(ChangeError::WorkspaceUnknown),
            Problem::from(ChangeError::CredentialUnknown),
            Problem::from(ChangeError::TokenUnknown),
            Problem::from(ChangeError::Declared),
            Problem::from(ChangeError::NotKeptInVault),
            Problem::from(ChangeError::NothingInGrace),
            Problem::from(ChangeError::Damaged),
            Problem::from(ChangeError::KeyLost),
            Problem::superseded(),
            Problem::field("label", "is missing"),
        ];
        for problem in &problems {
            let said = shown(&detail(problem).and(next_step(problem)));
            for other in ["[", "keyside ", "/api", "PATCH", "If-Match", "ETag"] {
                assert!(!said.contains(other), "{other}: {said}");
            }
        }
    }

    #[test]
    fn what_is_the_same_everywhere_stays() {
        let problem = Problem::from(ChangeError::LastOwner);
        assert_eq!(shown(&next_step(&problem)), problem.remedy());
    }
}

//! Links to the admin UI's pages, which refusals and readiness give as the way to a remedy.

use percent_encoding::utf8_percent_encode;

use crate::escapes::RESERVED;

/// A page of the admin UI.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AdminPage {
    /// What to do about refusals that no page can remedy.
    Guide,
    /// The keys of a workspace.
    Keys,
    /// Adds a key.
    NewKey,
    /// The workspaces.
    Workspaces,
}

impl AdminPage {
    /// The page's URL. `public_url` is the setting `admin.public_url`; the page shows the workspace
    /// and provider, if any.
    pub fn url(self, public_url: &str, workspace: Option<&str>, provider: Option<&str>) -> String {
        let path = match self {
            Self::Guide => return format!("{public_url}/guide"),
            Self::Keys => "/keys",
            Self::NewKey => "/keys/new",
            Self::Workspaces => "/workspaces",
        };
        let parameters = [("workspace", workspace), ("provider", provider)];
        let given = parameters
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)));
        let query: Vec<_> = given
            .map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, RESERVED)))
            .collect();
        format!("{public_url}{path}?{}", query.join("&"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_names_workspace_and_provider_escaped() {
        let url = |page: AdminPage, workspace| {
            page.url("https://keys.example", workspace, Some("azure-openai"))
        };
        assert_eq!(
            url(AdminPage::NewKey, Some("a&b c")),
            "https://keys.example/keys/new?workspace=a%26b%20c&provider=azure-openai"
        );
        assert_eq!(
            url(AdminPage::Keys, None),
            "https://keys.example/keys?provider=azure-openai"
        );
        assert_eq!(
            url(AdminPage::Guide, Some("acme")),
            "https://keys.example/guide"
        );
    }
}

//! `keyside link`: from a token to a session of the admin page.

use clap::Args;
use keyside_admin::wire::SignInLink;
use keyside_config::Sources;
use serde_json::json;

use super::{Admin, Failure, Output, items::read};

#[derive(Args)]
pub(crate) struct Link {
    #[command(flatten)]
    admin: Admin,
}

impl Link {
    /// Only the link goes to standard output, so that it can be handed to a browser.
    pub(crate) async fn run(&self, sources: &Sources, output: &Output) -> Result<(), Failure> {
        let client = self.admin.client(sources)?;
        let created = client.post("/api/sign-in-links", &json!({})).await?;
        let link: SignInLink = read(&created, "a sign-in link")?;
        output.print(&created, |_| format!("{}\n", link.url))
    }
}

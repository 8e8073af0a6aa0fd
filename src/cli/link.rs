//! `keyside link`: from a token to a session of the admin page.

use clap::Args;
use keyside_admin::wire::SignInLink;
use serde_json::json;

use super::{Admin, Console, Failure, items::read};

#[derive(Args)]
pub(crate) struct Link {
    #[command(flatten)]
    admin: Admin,
}

impl Link {
    /// Only the link goes to standard output, so that it can be handed to a browser.
    pub(crate) async fn run(&self, console: &Console) -> Result<(), Failure> {
        let client = self.admin.client(console)?;
        let created = client.post("/api/sign-in-links", &json!({})).await?;
        let link: SignInLink = read(&created, "a sign-in link")?;
        console.print(&created, || format!("{}\n", link.url))
    }
}

//! Stores with many credentials, filled once through the admin API and kept between runs.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Instant,
};

use anyhow::{Context, Result};
use tokio::task::JoinSet;

use crate::{
    admin::Admin,
    contender::{Server, write_settings},
};

/// A store to fill.
pub(crate) struct Store {
    /// Where it is kept.
    pub(crate) folder: PathBuf,
    pub(crate) credentials: usize,
    pub(crate) in_a_workspace: usize,
}

/// Serves the store in `folder`, without an upstream.
pub(crate) async fn serve(keyside: &Path, folder: &Path) -> Result<Server> {
    let config = write_settings(folder, UNUSED_UPSTREAM.parse()?)?;
    Server::start(keyside, &config, &folder.join("stderr.log")).await
}

impl Store {
    /// Fills it, unless it is already full.
    pub(crate) async fn fill(&self, keyside: &Path) -> Result<()> {
        let filled = self.folder.join("credentials");
        let wanted = format!("{} by {}", self.credentials, self.in_a_workspace);
        if fs::read_to_string(&filled).is_ok_and(|found| found == wanted) {
            return Ok(());
        }
        if self.folder.exists() {
            fs::remove_dir_all(&self.folder)?;
        }
        fs::create_dir_all(&self.folder)
            .with_context(|| format!("cannot make {}", self.folder.display()))?;
        let began = Instant::now();
        let server = serve(keyside, &self.folder).await?;
        let admin = server.admin(&self.folder)?;
        let mut writers = JoinSet::new();
        for writer in 0..WRITERS {
            let (credentials, in_a_workspace) = (self.credentials, self.in_a_workspace);
            writers.spawn(fill_share(
                admin.clone(),
                writer,
                credentials,
                in_a_workspace,
            ));
        }
        while let Some(done) = writers.join_next().await {
            done??;
        }
        eprintln!(
            "{} credentials added in {:.1} s",
            self.credentials,
            began.elapsed().as_secs_f64()
        );
        server.stop().await?;
        Ok(fs::write(filled, wanted)?)
    }
}

/// One writer's share of the workspaces.
async fn fill_share(
    admin: Admin,
    writer: usize,
    credentials: usize,
    in_a_workspace: usize,
) -> Result<()> {
    for first in (0..credentials)
        .step_by(in_a_workspace)
        .skip(writer)
        .step_by(WRITERS)
    {
        let workspace = format!("team-{}", first / in_a_workspace);
        admin.create_workspace(&workspace).await?;
        for number in first..credentials.min(first + in_a_workspace) {
            let secret = format!("sk-proj-bench{number:043}");
            admin
                .add_key(&workspace, "openai", &format!("key-{number}"), &secret)
                .await?;
        }
    }
    Ok(())
}

const WRITERS: usize = 8;
/// Nothing is forwarded; the settings need an address.
const UNUSED_UPSTREAM: &str = "127.0.0.1:9";

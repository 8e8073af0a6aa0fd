//! `keyside backup` and `keyside restore`: everything in one sealed file, and back.

use std::path::{Path, PathBuf};

use clap::Args;
use keyside_credentials::backup::{self, Header, OpeningStore, RestoreError};
use keyside_sled::EmbeddedStore;
use serde_json::{Value, json};

use super::{Admin, Console, Failure, download::download, new_file::until_stopped};
use crate::{client::Client, kms, validated_settings::data_folder, vault};

#[derive(Args)]
pub(crate) struct Backup {
    /// The file to write, which must not exist yet [default: <its id>.keyside]
    #[arg(long, short, value_name = "FILE")]
    out: Option<PathBuf>,
    #[command(flatten)]
    admin: Admin,
}

#[derive(Args)]
pub(crate) struct Restore {
    /// A file that `keyside backup` wrote
    file: PathBuf,
    /// Allow it to replace another installation, of which files remain in the data folder
    #[arg(long)]
    other_installation: bool,
    /// Allow a backup older than the last state of the data folder: what was revoked or erased
    /// since becomes valid again
    #[arg(long)]
    older: bool,
}

impl Backup {
    pub(super) async fn run(&self, console: &Console) -> Result<(), Failure> {
        let client = self.admin.client(console)?;
        until_stopped(self.write(&client, console)).await
    }

    async fn write(&self, client: &Client, console: &Console) -> Result<(), Failure> {
        let out = self.out.as_deref();
        let written = download(client, "/api/backup", out, "backup.keyside").await?;
        // A backup that turns out to be invalid only when it is needed is worse than none.
        let header = backup::check(written.temporary_path()).map_err(refused)?;
        let path = written.keep()?;
        let mut view = view(&header);
        view["file"] = json!(path);
        console.print(&view, || {
            format!(
                "Wrote {}: installation {}, {}. It opens with master key {} only: keep that elsewhere\n",
                path.display(),
                header.installation,
                header.created_at,
                header.master_key,
            )
        })?;
        expect_intact(client, &path, console).await
    }
}

/// A backup copies damage as it is stored. Fails if there is any, so that nobody relies on it.
async fn expect_intact(client: &Client, file: &Path, console: &Console) -> Result<(), Failure> {
    match client.get("/api/audit/verify").await {
        Ok(log) => match log["finding"].as_str() {
            None => Ok(()),
            Some(finding) => Err(Failure::failed(format!(
                "expected an intact store to back up, found: {finding}"
            ))
            .next(format!(
                "{} has the rest, and the damage as it is. Keep the last backup from before the damage.",
                file.display()
            ))),
        },
        Err(error) => {
            console.warn(format_args!(
                "the store was not checked for damage, which the backup would have too: {error}"
            ));
            Ok(())
        }
    }
}

impl Restore {
    pub(super) async fn run(&self, console: &Console) -> Result<(), Failure> {
        let settings = console.settings()?;
        let path = data_folder(&settings.store)?;
        let kms = kms::source(&settings, vault::open(&settings)?.as_ref())?;
        let store = path.join("store");
        // A refused first start may have left an empty store.
        let removed = EmbeddedStore::remove_unused(&store).await;
        removed.map_err(Failure::failed)?;
        let restore = backup::Restore {
            open: &open_new,
            store: &store,
            keyring: &path.join("keyring"),
            kms: &kms,
            other_installation: self.other_installation,
            older: self.older,
        };
        let restored = restore.run(&self.file).await.map_err(refused)?;
        let mut view = view(&restored.header);
        view["folder"] = json!(path);
        view["epoch"] = json!(restored.epoch);
        view["objects"] = json!(restored.documents);
        view["auditRecords"] = json!(restored.audit_records);
        console.print(&view, || {
            format!(
                "Restored installation {} as of {} into {}: {} objects, {} audit records. Start it with `keyside serve`\n",
                restored.header.installation,
                restored.header.created_at,
                path.display(),
                restored.documents,
                restored.audit_records,
            )
        })
    }
}

fn open_new(folder: &Path) -> OpeningStore {
    let folder = folder.to_owned();
    Box::pin(async move {
        let store = EmbeddedStore::open(&folder).await;
        let store = store.map_err(|error| RestoreError::Store(Box::new(error)))?;
        Ok(store.backend())
    })
}

fn view(header: &Header) -> Value {
    json!({
        "id": header.id,
        "installation": header.installation,
        "epoch": header.epoch,
        "audit": header.audit,
        "createdAt": header.created_at,
        "release": header.release,
        "masterKey": header.master_key,
    })
}

/// Converts an error, which names its own remedy.
fn refused(error: RestoreError) -> Failure {
    match error {
        RestoreError::Kms(_) => Failure::configuration(error),
        _ => Failure::failed(error),
    }
}

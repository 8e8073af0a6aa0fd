//! Tests of the registry through its public API, on memory storage that a test can make fail, roll
//! back or edit.

mod access;
mod anchors;
mod auditing;
mod changing;
mod clock;
mod crash;
mod declared_sources;
mod disclosure;
mod edited_bytes;
mod ended_tokens;
mod erasing;
mod events;
mod exporting;
mod following;
mod grouping;
mod heads;
mod incarnations;
mod interrupted;
mod key_age;
mod labels;
mod lifecycle;
mod live_check;
mod lost;
mod master_key;
mod model;
mod noted;
mod opening;
mod priority;
mod publishing;
mod put_back;
mod readiness;
mod receipts;
mod references;
mod repetition;
mod reserve;
mod resolving;
mod rotation;
mod signing_key;
mod spending;
mod tampering;
mod traffic;
mod two_authorities;
mod workspace_key;

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    sync::{Arc, LazyLock},
};

use keyside_config::{Catalogue, CredentialRules, EnvironmentPin};
use keyside_store::{
    Memory,
    chain::{ChainName, Damage},
    faulty::Faulty,
};
use tempfile::TempDir;

use super::*;
use crate::{
    audit::{AuditFilter, AuditRecord, Event, Line, ReadError, VerifyError},
    chains::HEADS,
    clock::held::HeldClock,
    kms::MasterKey,
    model::{
        ActorContext, ActorId, Credential, Environment, Limits, LimitsChange, Refusal, Scope,
        VersionState, Warning,
    },
    resolver::{CredentialQuery, Grant},
    secret::{SHORTEST_SECRET, Secret},
};

/// An installation: a data folder, its storage, and a clock that only the test advances.
struct Installation {
    folder: TempDir,
    memory: Arc<Memory>,
    clock: Arc<HeldClock>,
}

impl Installation {
    fn new() -> Self {
        // On a memory file system if there is one: these tests are not about disks.
        let in_memory = tempfile::tempdir_in("/dev/shm");
        Self {
            folder: in_memory.or_else(|_| tempfile::tempdir()).unwrap(),
            memory: Arc::default(),
            clock: Arc::new(HeldClock::at(NOW)),
        }
    }

    /// An installation with the workspace `acme`.
    async fn with_acme() -> (Self, Arc<Registry>) {
        let installation = Self::new();
        let registry = installation.open().await;
        registry
            .create_workspace(&act(), workspace("acme"))
            .await
            .unwrap();
        (installation, registry)
    }

    /// An independent copy of the current state.
    fn copy(&self) -> Self {
        let copy = Self {
            memory: Arc::new(self.memory.copy()),
            ..Self::new()
        };
        copy.clock.set(self.clock.now().as_second());
        copy_files(self.folder.path(), copy.folder.path());
        copy
    }

    /// This data folder with another store, copied from an earlier state. The anchors stay as they
    /// are.
    fn with_store(self, memory: Memory) -> Self {
        Self {
            memory: Arc::new(memory),
            ..self
        }
    }

    async fn open(&self) -> Arc<Registry> {
        self.try_open().await.unwrap()
    }

    async fn try_open(&self) -> Result<Arc<Registry>, OpenError> {
        open_without_tasks(self.options(self.backend())).await
    }

    /// The damage for which the installation is refused, and the message.
    async fn damage(&self) -> (Damage, String) {
        let error = self.try_open().await.err().expect("a refused start");
        let message = error.to_string();
        match error {
            OpenError::Damaged { damage, .. } => (damage, message),
            _ => panic!("{message}"),
        }
    }

    /// With background tasks: sweeps, links between chains, and notes of refused uses.
    async fn open_running(&self) -> Arc<Registry> {
        let registry = Registry::open(self.options(self.backend())).await;
        registry.unwrap()
    }

    /// The same installation on storage that can be made to fail.
    async fn open_faulty(&self) -> (Arc<Faulty>, Arc<Registry>) {
        let faulty = Arc::new(Faulty::new(self.backend()));
        let registry = open_without_tasks(self.options(faulty.backend())).await;
        (faulty, registry.unwrap())
    }

    fn backend(&self) -> Backend {
        Backend::of(self.memory.clone())
    }

    fn options(&self, backend: Backend) -> OpenOptions {
        OpenOptions {
            backend,
            keyring: self.keyring(),
            kms: Kms::local(MasterKey::parse(&[9; 32], "a test").unwrap()),
            catalogue: catalogue(),
            rules: CredentialRules { expiring_days: 30 },
            clock: self.clock.clone(),
        }
    }

    fn keyring(&self) -> PathBuf {
        self.folder.path().join("keyring")
    }

    /// The folder of the anchors.
    fn heads(&self) -> PathBuf {
        self.folder.path().join(HEADS)
    }

    /// Puts the anchors back to those of `older`, as a power cut may.
    fn put_back_anchors(&self, older: &Installation) {
        for entry in fs::read_dir(self.heads()).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|end| end == "unsynced") {
                fs::remove_file(path).unwrap();
            }
        }
        copy_files(&older.heads(), &self.heads());
    }

    /// The storage key of the only document that begins with this text.
    fn stored_at(&self, begins: &str) -> String {
        let contents = self.memory.contents();
        let mut found = contents.objects.iter().filter(|(_, bytes)| {
            let document = bytes.get(SALT..).unwrap_or_default();
            document.starts_with(begins.as_bytes())
        });
        let (key, _) = found
            .next()
            .unwrap_or_else(|| panic!("no {begins} is stored"));
        assert!(found.next().is_none(), "several {begins} are stored");
        key.clone()
    }

    /// The storage key of a credential's document.
    fn stored_credential(&self, id: &CredentialId) -> String {
        self.stored_at(&format!("{{\"id\":\"{id}\""))
    }

    fn stored(&self, key: &str) -> Vec<u8> {
        self.memory.contents().objects[key].clone()
    }

    /// Edits the stored value of a key.
    fn tamper(&self, key: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut contents = self.memory.contents();
        change(contents.objects.get_mut(key).unwrap());
    }

    /// All stored values: objects, heads, segments, runs and notes.
    fn all_stored(&self) -> Vec<Vec<u8>> {
        let contents = self.memory.contents();
        let objects = contents.objects.values();
        let segments = contents.segments.values();
        let rest = contents.runs.values().chain(contents.notes.values());
        objects.chain(segments).chain(rest).cloned().collect()
    }
}

/// Without background tasks, so that nothing happens but what a test does, except that anchors are
/// synced a second later.
async fn open_without_tasks(options: OpenOptions) -> Result<Arc<Registry>, OpenError> {
    let (registry, _) = Registry::open_as(open::Role::Authority, options).await?;
    Ok(registry)
}

pub(crate) fn copy_files(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        let copy = to.join(path.file_name().unwrap());
        match path.is_dir() {
            true => copy_files(&path, &copy),
            false => drop(fs::copy(&path, &copy).unwrap()),
        }
    }
}

pub(crate) fn catalogue() -> Arc<Catalogue> {
    static BUILTIN: LazyLock<Arc<Catalogue>> = LazyLock::new(|| Arc::new(Catalogue::builtin()));
    BUILTIN.clone()
}

pub(crate) fn act() -> ActorContext {
    ActorContext {
        actor: "tester".parse::<ActorId>().unwrap(),
        request_id: "req_1".to_owned(),
    }
}

pub(crate) fn workspace(id: &str) -> NewWorkspace {
    NewWorkspace {
        id: id.parse().unwrap(),
        name: format!("The {id} workspace").parse().unwrap(),
    }
}

/// A secret of this text, padded to the minimum length; [`plain`] removes the padding.
fn secret(text: &str) -> Secret {
    Secret::from_plaintext(format!("{text:-<SHORTEST_SECRET$}").into_bytes()).unwrap()
}

/// A live OpenAI key for `acme`.
fn key(label: &str, text: &str) -> NewCredential {
    let (workspace, label) = ("acme".parse().unwrap(), label.parse().unwrap());
    NewCredential::new(workspace, "openai", label, secret(text))
}

/// An installation with one key, `sk-1`, the default of `acme`.
async fn one_key() -> (Installation, Arc<Registry>, CredentialId) {
    let (installation, registry) = Installation::with_acme().await;
    let saved = registry.add(&act(), key("default", "sk-1")).await.unwrap();
    (installation, registry, saved.credential.id)
}

/// A rotation with default options.
fn to(text: &str) -> Rotation {
    Rotation::to(secret(text))
}

fn ask(workspace: &'static str) -> CredentialQuery<'static> {
    CredentialQuery {
        workspace,
        provider: "openai",
        label: None,
        environment: None,
        pin: EnvironmentPin::Any,
    }
}

fn opened(grant: Result<Grant, Refusal>) -> Result<String, Refusal> {
    Ok(plain(&grant?.open()?))
}

fn plain(secret: &Secret) -> String {
    let text = String::from_utf8(secret.expose().to_vec()).unwrap();
    text.trim_end_matches('-').to_owned()
}

fn states(credential: &Credential) -> Vec<VersionState> {
    let versions = credential.versions.iter();
    versions.map(|version| version.state).collect()
}

/// Number of versions with sealed bytes in storage.
fn sealed_versions(installation: &Installation) -> usize {
    let stored = installation.all_stored();
    let texts = stored.iter().map(|bytes| String::from_utf8_lossy(bytes));
    texts
        .map(|text| text.matches("\"sealed\":\"").count() - text.matches("\"sealed\":\"\"").count())
        .sum()
}

/// All audit records, by time, then by chain, without those that chains write about themselves.
async fn records(registry: &Registry) -> Vec<AuditRecord> {
    let mut records = all_records(registry).await;
    records.retain(|record| {
        let event = record.event;
        !matches!(
            event,
            Event::ChainBegun | Event::ChainEnded | Event::ChainsLinked | Event::SigningKeyAdopted
        )
    });
    records
}

/// The records of damaged documents.
fn damages(recorded: &[AuditRecord]) -> Vec<&AuditRecord> {
    let damages = recorded
        .iter()
        .filter(|it| it.event == Event::DocumentDamaged);
    damages.collect()
}

/// Verifies the whole log, which must fail: the chain of the first damage found, and the damage.
async fn found(registry: &Registry) -> (String, String) {
    match registry.audit().verify().await {
        Err(VerifyError::Broken(found)) => (found.chain.to_string(), found.finding),
        other => panic!("{other:?}"),
    }
}

/// All audit records, including those that chains write about themselves.
async fn all_records(registry: &Registry) -> Vec<AuditRecord> {
    exported(registry, AuditFilter::default()).await
}

/// The audit records that a filter matches.
async fn exported(registry: &Registry, filter: AuditFilter) -> Vec<AuditRecord> {
    let mut export = registry.audit().export(filter, None);
    let mut records = Vec::new();
    loop {
        let lines = match export.next().await {
            Ok(Some(lines)) => lines,
            Ok(None) => break,
            // Continues with the chains that are not damaged.
            Err(ReadError::Damaged(_)) => continue,
            Err(error) => panic!("{error}"),
        };
        records.extend(lines.into_iter().filter_map(|line| match line {
            Line::Record(record) => Some(*record),
            Line::Hidden { .. } | Line::End { .. } => None,
        }));
    }
    records.sort_by_key(|record| (record.at, record.chain.clone(), record.position));
    records
}

/// The last position in each chain, not counting records that chains write about themselves.
type Seen = BTreeMap<ChainName, u64>;

async fn seen(registry: &Registry) -> Seen {
    let mut seen = Seen::new();
    for record in records(registry).await {
        let last = seen.entry(record.chain).or_default();
        *last = record.position.max(*last);
    }
    seen
}

/// The audit records after `seen`.
async fn since(registry: &Registry, seen: &Seen) -> Vec<AuditRecord> {
    let mut records = records(registry).await;
    records.retain(|record| {
        seen.get(&record.chain)
            .is_none_or(|last| record.position > *last)
    });
    records
}

async fn events(registry: &Registry, seen: &Seen) -> Vec<Event> {
    let records = since(registry, seen).await;
    records.iter().map(|record| record.event).collect()
}

/// Pseudo-random numbers: xorshift, by George Marsaglia.
struct Dice(u64);

impl Dice {
    fn of(seed: u64) -> Self {
        // Xorshift never leaves 0.
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }
}

/// Runs all tasks until they wait for a lock that the test holds.
async fn let_all_wait() {
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
}

/// 22 November 2026.
const NOW: i64 = 1_795_305_600;
const DAY: i64 = 86_400;
/// Length of the random salt at the start of each object.
const SALT: usize = 8;

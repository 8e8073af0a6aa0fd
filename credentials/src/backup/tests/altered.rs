//! Edits to a backup by an attacker who can decrypt it, or to the store before the backup was made.

use super::{
    format::{Reader, Sealer},
    item::{self, Item},
    *,
};
use crate::{keyring::Keyring, sealing::SealingKey};

impl Machine {
    /// The key of a backup's chunks.
    async fn chunk_key(&self, header: &Header) -> SealingKey {
        let kms = Kms::open_existing(&self.kms(), &self.path("keyring")).unwrap();
        let key = Keyring::unwrap_standalone_key(
            &kms,
            &header.installation,
            &header.key,
            &header.wrapped,
        );
        key.await.unwrap()
    }

    /// Edits the contents of a backup and seals it again, as a real backup is sealed.
    async fn alter(&self, file: &Path, alter: impl FnOnce(&mut Vec<Item>)) {
        let (mut reader, header) = Reader::open(file).unwrap();
        let mut chunks = Vec::new();
        while let Some(chunk) = reader.chunk().unwrap() {
            chunks.push(chunk);
        }
        let key = self.chunk_key(&header).await;
        let mut items = Vec::new();
        for (n, chunk) in chunks.iter().enumerate() {
            let is_last = n + 1 == chunks.len();
            let chunk = reader.unseal(&key, chunk, is_last).unwrap();
            items.extend(item::read(&chunk).unwrap());
        }
        alter(&mut items);
        let (sealer, mut contents) = Sealer::new(&header, key);
        contents.extend(sealer.finish(&item::write(&items)));
        fs::write(file, contents).unwrap();
        check(file).unwrap();
    }
}

const ACME: &str = "workspace/acme";

/// The bytes of the only item that `is_it` accepts.
fn bytes_of(items: &mut [Item], is_it: impl Fn(&Item) -> bool) -> &mut Vec<u8> {
    let mut found = items.iter_mut().filter(|item| is_it(item));
    let it = found.next().expect("it is in the backup");
    assert!(found.next().is_none(), "it is there once");
    match it {
        Item::Object { bytes, .. } | Item::Segment { bytes, .. } | Item::Head { bytes, .. } => {
            bytes
        }
        other => panic!("{other:?}"),
    }
}

fn is_head_of(chain: &str) -> impl Fn(&Item) -> bool {
    move |item| matches!(item, Item::Head { chain: of, .. } if of == chain)
}

/// An object of acme's that contains all of these texts and none of those.
fn is_object_with(texts: &[&str], others: &[&str]) -> impl Fn(&Item) -> bool {
    let holds = |bytes: &[u8], text: &str| {
        let text = text.as_bytes();
        bytes.windows(text.len()).any(|window| window == text)
    };
    move |item| match item {
        Item::Object { key, bytes } => {
            key.starts_with(ACME)
                && texts.iter().all(|text| holds(bytes, text))
                && !others.iter().any(|text| holds(bytes, text))
        }
        _ => false,
    }
}

fn flip_in_the_middle(bytes: &mut [u8]) {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
}

#[tokio::test]
async fn an_edited_head_or_the_head_of_another_chain_is_refused_and_nothing_is_restored() {
    let (machine, _registry, file) = Machine::backed_up().await;
    let kept = fs::read(&file).unwrap();
    let there = Machine::with_key_of(&machine);
    let refused = async || {
        let error = there.restore(&file).await.unwrap_err();
        assert!(matches!(error, RestoreError::Damaged { .. }), "{error}");
        assert!(error.to_string().contains("not signed"), "{error}");
        for left in ["store", "store.restoring", "keyring", "heads"] {
            assert!(!there.path(left).exists(), "{left}");
        }
        fs::write(&file, &kept).unwrap();
    };
    for chain in ["installation", ACME] {
        let flip = |items: &mut Vec<Item>| flip_in_the_middle(bytes_of(items, is_head_of(chain)));
        machine.alter(&file, flip).await;
        refused().await;
    }
    let exchange = |items: &mut Vec<Item>| {
        let other = bytes_of(items, is_head_of("installation")).clone();
        *bytes_of(items, is_head_of(ACME)) = other;
    };
    machine.alter(&file, exchange).await;
    refused().await;
    there.restore(&file).await.unwrap();
}

#[tokio::test]
async fn an_edited_credential_is_reported_as_damaged_and_not_served() {
    let (machine, registry) = Machine::running().await;
    registry.add(&act(), key("b")).await.unwrap();
    let file = machine.path("backup");
    backup(&registry, &file).await;
    // Still valid JSON, so that it can be reported which credential it claims to be.
    let relabel = |items: &mut Vec<Item>| {
        let label = "\"label\":\"b\"";
        let (with, without) = ([label], ["\"event\":"]);
        let document = is_object_with(&with, &without);
        let bytes = bytes_of(items, document);
        let mut windows = bytes.windows(label.len());
        let at = windows.position(|window| window == label.as_bytes());
        bytes[at.unwrap() + label.len() - 2] = b'c';
    };
    machine.alter(&file, relabel).await;
    let there = Machine::with_key_of(&machine);
    there.restore(&file).await.unwrap();
    let restored = there.open().await;
    let damaged: Vec<_> = restored
        .list(&Filter::default())
        .into_iter()
        .filter(|it| it.damaged)
        .map(|it| it.label.to_string())
        .collect();
    assert_eq!(damaged, ["c"]);
    assert_eq!(opened(&restored, "a").unwrap(), "sk-a");
    assert!(opened(&restored, "b").is_err() && opened(&restored, "c").is_err());
    let found = broken(&restored).await;
    assert_eq!(found.chain.as_str(), ACME);
    assert!(found.finding.contains("document"), "{found}");
    let all = records(&restored).await;
    assert!(all.iter().any(|it| it.event == Event::DocumentDamaged));
}

#[tokio::test]
async fn an_edited_record_is_reported_as_damage() {
    let (machine, _registry, file) = Machine::backed_up().await;
    let record = |items: &mut Vec<Item>| {
        let created = is_object_with(&["\"event\":\"credential_created\""], &[]);
        flip_in_the_middle(bytes_of(items, created));
    };
    machine.alter(&file, record).await;
    let there = Machine::with_key_of(&machine);
    there.restore(&file).await.unwrap();
    let restored = there.open().await;
    let found = broken(&restored).await;
    assert_eq!(found.chain.as_str(), ACME);
    assert!(found.position > 0, "{found}");
}

#[tokio::test]
async fn an_edited_or_missing_segment_is_reported_as_damage() {
    let (machine, registry) = Machine::running().await;
    // A head names at most 32 commits individually.
    for n in 0..40 {
        registry.add(&act(), key(&format!("n{n}"))).await.unwrap();
    }
    let file = machine.path("backup");
    backup(&registry, &file).await;
    let kept = fs::read(&file).unwrap();
    let is_first =
        |item: &Item| matches!(item, Item::Segment { chain, number: 1, .. } if chain == ACME);
    let flip = |items: &mut Vec<Item>| flip_in_the_middle(bytes_of(items, is_first));
    let leave_out = |items: &mut Vec<Item>| {
        let before = items.len();
        items.retain(|item| !is_first(item));
        assert_eq!(items.len(), before - 1);
    };
    type Alteration<'a> = &'a dyn Fn(&mut Vec<Item>);
    let alterations: [Alteration<'_>; 2] = [&flip, &leave_out];
    for alter in alterations {
        fs::write(&file, &kept).unwrap();
        machine.alter(&file, alter).await;
        let there = Machine::with_key_of(&machine);
        there.restore(&file).await.unwrap();
        let restored = there.open().await;
        let found = broken(&restored).await;
        assert_eq!(found.chain.as_str(), ACME);
        assert!((1..40).contains(&found.position), "{found}");
        // The current state is not in the segment.
        assert_eq!(opened(&restored, "n0").unwrap(), "sk-n0");
    }
}

/// One damaged workspace must not prevent the backup of all others.
#[tokio::test]
async fn a_damaged_workspace_is_left_out_of_the_backup_and_is_damaged_after_the_restore() {
    let (machine, registry) = Machine::running().await;
    registry
        .create_workspace(&act(), workspace("globex"))
        .await
        .unwrap();
    registry.add(&act(), key_of("globex", "g")).await.unwrap();
    close(&machine, registry).await;
    let backend = machine.backend().await;
    let head = ChainName::of(ACME).head_key();
    let there = backend.storage.get(&head).await.unwrap().unwrap();
    let mut altered = there.clone();
    flip_in_the_middle(&mut altered);
    let swapped = backend.storage.swap(&head, Some(&there), &altered).await;
    swapped.unwrap();
    backend.storage.sync().await.unwrap();
    drop(backend);
    let registry = machine.open().await;
    assert!(opened(&registry, "a").is_err());
    let file = machine.path("backup");
    backup(&registry, &file).await;
    let there = Machine::with_key_of(&machine);
    there.restore(&file).await.unwrap();
    let restored = there.open().await;
    assert_eq!(opened_of(&restored, "globex", "g").unwrap(), "sk-g");
    assert!(opened(&restored, "a").is_err());
    let found = broken(&restored).await;
    assert_eq!((found.chain.as_str(), found.position), (ACME, 0));
}

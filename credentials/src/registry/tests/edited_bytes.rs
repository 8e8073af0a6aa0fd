//! Edits of sealed versions, and of any stored bytes, by an attacker with write access to the
//! store: they are detected and reported, and nothing affected is served.

use keyside_store::chain::Head;
use serde_json::Value;

use super::*;
use crate::{audit::VerifyError, documents::CredentialDocument, snapshot::CredentialEntry};

/// Keys of two versions each, the older one in grace.
struct RotatedKeys {
    installation: Installation,
    /// A key for openai in acme; each of the others differs from it in one respect.
    target: CredentialId,
    sibling: CredentialId,
    other_provider: CredentialId,
    other_workspace: CredentialId,
    with_endpoint: CredentialId,
}

impl RotatedKeys {
    async fn new() -> Self {
        let (installation, registry) = Installation::with_acme().await;
        let made = registry.create_workspace(&act(), workspace("globex")).await;
        made.unwrap();
        let keep = async |new: NewCredential, next: &str| {
            let id = registry.add(&act(), new).await.unwrap().credential.id;
            registry.rotate(&act(), &id, to(next)).await.unwrap();
            id
        };
        let of = |provider: &str, label, text| NewCredential {
            provider: provider.to_owned(),
            ..key(label, text)
        };
        let globex = NewCredential {
            workspace: "globex".parse().unwrap(),
            ..key("target", "sk-globex-1")
        };
        let azure = NewCredential {
            endpoint: Some("https://acme.openai.azure.com".to_owned()),
            ..of("azure-openai", "azure", "sk-azure-1")
        };
        Self {
            target: keep(key("target", "sk-target-1"), "sk-target-2").await,
            sibling: keep(key("sibling", "sk-sibling-1"), "sk-sibling-2").await,
            other_provider: keep(of("anthropic", "target", "sk-ant-1"), "sk-ant-2").await,
            other_workspace: keep(globex, "sk-globex-2").await,
            with_endpoint: keep(azure, "sk-azure-2").await,
            installation,
        }
    }

    fn stored(&self, id: &CredentialId) -> Vec<u8> {
        let at = self.installation.stored_credential(id);
        self.installation.stored(&at)
    }

    /// A stored document as JSON.
    fn json(&self, id: &CredentialId) -> Value {
        serde_json::from_slice(&self.stored(id)[SALT..]).unwrap()
    }

    fn put(&self, id: &CredentialId, document: &[u8]) {
        let at = self.installation.stored_credential(id);
        self.installation.put(&at, document);
    }

    /// Edits a document in place, under the storage key that the map names.
    fn edit_document(&self, id: &CredentialId, change: impl FnOnce(&mut Value)) {
        let (mut document, mut json) = (self.stored(id), self.json(id));
        let before = json.clone();
        change(&mut json);
        assert_ne!(json, before, "the edit changes nothing");
        document.truncate(SALT);
        document.extend(serde_json::to_vec(&json).unwrap());
        self.put(id, &document);
    }

    /// Expects `id` to be refused, reported and closed to changes, and the other keys to be served.
    async fn expect_only(&self, id: &CredentialId, what: &str) {
        let registry = self.installation.open().await;
        for credential in registry.list(&Filter::default()) {
            let workspace = match credential.workspace.as_str() {
                "acme" => "acme",
                _ => "globex",
            };
            let answer = opened(registry.resolver().resolve(&CredentialQuery {
                provider: &credential.provider,
                label: Some(credential.label.as_str()),
                ..ask(workspace)
            }));
            assert_eq!(
                credential.damaged,
                credential.id == *id,
                "{what}: {credential:?}"
            );
            match credential.damaged {
                true => assert_eq!(answer, Err(Refusal::CredentialUndecryptable), "{what}"),
                false => assert!(answer.unwrap().ends_with("-2"), "{what}"),
            }
        }
        let recorded = records(&registry).await;
        let named = recorded.iter().filter(|record| {
            record.event == Event::DocumentDamaged && record.credential.as_ref() == Some(id)
        });
        assert_eq!(named.count(), 1, "{what}");
        for refused in [
            registry.rotate(&act(), id, to("sk-3")).await.map(drop),
            registry
                .roll_back(&act(), id, Rollback::default())
                .await
                .map(drop),
            registry.edit(&act(), id, Edit::default()).await.map(drop),
            registry
                .revoke(&act(), id, Revocation::default())
                .await
                .map(drop),
        ] {
            assert!(
                matches!(refused, Err(ChangeError::Damaged)),
                "{what}: {refused:?}"
            );
        }
    }
}

#[tokio::test]
async fn sealed_versions_swapped_or_copied_from_elsewhere_are_detected() {
    type Source = fn(&RotatedKeys) -> &CredentialId;
    let sources: [(&str, Source); 4] = [
        ("another credential", |keys| &keys.sibling),
        ("another provider", |keys| &keys.other_provider),
        ("another workspace", |keys| &keys.other_workspace),
        ("another endpoint", |keys| &keys.with_endpoint),
    ];
    for field in ["sealed", "trace"] {
        for (what, source) in sources {
            let keys = RotatedKeys::new().await;
            let taken = keys.json(source(&keys))["versions"][1][field].clone();
            keys.edit_document(&keys.target, |json| json["versions"][1][field] = taken);
            keys.expect_only(&keys.target, &format!("{field} of {what}"))
                .await;
        }
        let keys = RotatedKeys::new().await;
        keys.edit_document(&keys.target, |json| {
            let older = json["versions"][0][field].clone();
            json["versions"][1][field] = older;
        });
        keys.expect_only(&keys.target, &format!("{field} of another version"))
            .await;
    }
}

#[tokio::test]
async fn a_version_made_current_extended_or_renumbered_is_detected() {
    type JsonEdit = fn(&mut Value);
    let edits: [(&str, JsonEdit); 6] = [
        ("made current", |json| json["current"] = 1.into()),
        ("extended", |json| {
            json["versions"][0]["until"] = "2099-01-01T00:00:00Z".into()
        }),
        ("without an end", |json| {
            json["versions"][0]["until"] = Value::Null
        }),
        ("renumbered", |json| {
            json["versions"][0]["number"] = 3.into()
        }),
        ("swapped", |json| {
            json["versions"].as_array_mut().unwrap().swap(0, 1)
        }),
        ("left out", |json| {
            drop(json["versions"].as_array_mut().unwrap().remove(0))
        }),
    ];
    for (what, edit) in edits {
        let keys = RotatedKeys::new().await;
        keys.edit_document(&keys.target, edit);
        keys.expect_only(&keys.target, what).await;
    }
}

#[tokio::test]
async fn an_edited_endpoint_or_provider_of_a_rotated_key_is_detected() {
    for (field, value) in [
        ("endpoint", "https://evil.openai.azure.com"),
        ("provider", "openai"),
        ("workspace", "globex"),
    ] {
        let keys = RotatedKeys::new().await;
        keys.edit_document(&keys.with_endpoint, |json| json[field] = value.into());
        let registry = keys.installation.open().await;
        for workspace in ["acme", "globex"] {
            for provider in ["azure-openai", "openai"] {
                let label = Some("azure");
                let asked = CredentialQuery {
                    provider,
                    label,
                    ..ask(workspace)
                };
                assert!(registry.resolver().resolve(&asked).is_err(), "{field}");
            }
        }
        let recorded = records(&registry).await;
        let named = damages(&recorded).into_iter();
        let named: Vec<_> = named.map(|it| it.credential.as_ref()).collect();
        assert_eq!(named, [Some(&keys.with_endpoint)], "{field}");
    }
}

#[tokio::test]
async fn an_older_document_put_back_after_a_rotation_a_rollback_or_a_revocation_is_detected() {
    for what in ["rotated", "rolled back", "revoked", "destroyed"] {
        let keys = RotatedKeys::new().await;
        let older = keys.stored(&keys.target);
        let registry = keys.installation.open().await;
        let id = &keys.target;
        match what {
            "rotated" => drop(registry.rotate(&act(), id, to("sk-3")).await.unwrap()),
            "rolled back" => drop(
                registry
                    .roll_back(&act(), id, Rollback::default())
                    .await
                    .unwrap(),
            ),
            "revoked" => drop(
                registry
                    .revoke(&act(), id, Revocation::default())
                    .await
                    .unwrap(),
            ),
            _ => {
                keys.installation.clock.set(NOW + DAY);
                registry.sweep().await;
            }
        }
        drop(registry);
        keys.put(id, &older);
        keys.expect_only(id, what).await;
    }
}

/// The seal by itself, as if the heads had been forged: it is the last defence, and must hold
/// alone.
#[tokio::test]
async fn sealed_bytes_decrypt_only_in_their_own_version_credential_provider_and_endpoint() {
    let keys = RotatedKeys::new().await;
    let registry = keys.installation.open().await;
    let snapshot = registry.snapshot.load_full();
    let document = |id| snapshot.credential(id).unwrap().1.document.clone();
    let opens = |document: CredentialDocument| {
        let signals = snapshot.credential(&keys.target).unwrap().1.signals.clone();
        let entry = CredentialEntry::new(document, &*registry.keyring, signals);
        entry.open().is_some_and(|opened| opened.is_ok())
    };
    let azure = document(&keys.with_endpoint);
    assert!(opens(document(&keys.target)) && opens(azure.clone()));
    for from in [
        &keys.sibling,
        &keys.other_provider,
        &keys.other_workspace,
        &keys.with_endpoint,
    ] {
        let mut target = document(&keys.target);
        target.versions[1].sealed = document(from).versions[1].sealed.clone();
        assert!(!opens(target));
    }
    let mut older = document(&keys.target);
    older.versions[1].sealed = older.versions[0].sealed.clone();
    assert!(!opens(older));
    let mut elsewhere = azure.clone();
    elsewhere.endpoint = Some("https://evil.openai.azure.com".to_owned());
    assert!(!opens(elsewhere));
    let mut another = azure;
    another.provider = "openai".parse().unwrap();
    assert!(!opens(another));
}

/// An edit of one stored value.
type ByteEdit = fn(&mut Vec<u8>, &[u8]);

const EDITS: [(&str, ByteEdit); 6] = [
    ("its first byte flipped", |bytes, _| bytes[0] ^= 1),
    ("a byte in the middle flipped", |bytes, _| {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
    }),
    ("its last byte flipped", |bytes, _| {
        *bytes.last_mut().unwrap() ^= 0x80;
    }),
    ("cut in half", |bytes, _| bytes.truncate(bytes.len() / 2)),
    ("emptied", |bytes, _| bytes.clear()),
    ("another one in its place", |bytes, other| {
        *bytes = other.to_vec();
    }),
];

/// Two workspaces, one of them with a chain so long that it has a segment.
async fn with_segment() -> Installation {
    let (installation, registry) = Installation::with_acme().await;
    let made = registry.create_workspace(&act(), workspace("globex")).await;
    made.unwrap();
    for id in ["acme", "globex"] {
        let new = NewCredential {
            workspace: id.parse().unwrap(),
            ..key("a", &format!("sk-{id}"))
        };
        registry.add(&act(), new).await.unwrap();
    }
    for n in 0..34 {
        let new = key(&format!("k{n}"), "sk-acme");
        let id = registry.add(&act(), new).await.unwrap().credential.id;
        if n > 3 {
            let revocation = Revocation::default();
            registry.revoke(&act(), &id, revocation).await.unwrap();
        }
    }
    registry.link(true).await;
    registry.chains.anchors.sync().await.unwrap();
    assert!(!installation.memory.contents().segments.is_empty());
    installation
}

/// Opens the installation after an edit of one stored value of a chain. Nothing affected is served,
/// and the damage is reported.
async fn expect_detected(installation: &Installation, chain: &str, what: &str) {
    let registry = match installation.try_open().await {
        Ok(registry) => registry,
        Err(OpenError::Damaged { .. } | OpenError::StoreMissing { .. }) => {
            assert_eq!(chain, "installation", "{what}");
            return;
        }
        Err(other) => panic!("{what}: {other}"),
    };
    for workspace in ["acme", "globex"] {
        let right = format!("sk-{workspace}");
        match opened(registry.resolver().resolve(&ask(workspace))) {
            Ok(secret) => assert_eq!(secret, right, "{what}"),
            Err(refusal) => {
                assert_eq!(refusal, Refusal::CredentialUndecryptable, "{what}");
                let id = workspace.parse().unwrap();
                let registration = registry.chains.registration(&id).unwrap();
                let damaged = match registration.is_unreadable {
                    true => "installation".to_owned(),
                    false => format!("workspace/{workspace}"),
                };
                assert_eq!(chain, damaged, "{what}");
            }
        }
    }
    match registry.audit().verify().await {
        Err(VerifyError::Broken(found)) => assert_eq!(found.chain.as_str(), chain, "{what}"),
        other => panic!("{what}: not found: {other:?}"),
    }
}

fn chain_of(key: &str) -> &str {
    key.strip_suffix("/head")
        .or_else(|| key.split("/object/").next())
        .unwrap()
}

#[tokio::test]
async fn an_edit_of_any_object_page_or_head_is_detected_and_not_served() {
    let whole = with_segment().await;
    let objects = whole.memory.contents().objects.clone();
    let others = objects.values().skip(1).chain(objects.values().next());
    for ((key, _), other) in objects.iter().zip(others) {
        for (how, damage) in EDITS {
            let installation = whole.copy();
            installation.tamper(key, |bytes| damage(bytes, other));
            expect_detected(&installation, chain_of(key), &format!("{key}: {how}")).await;
        }
        let installation = whole.copy();
        installation.remove(key);
        expect_detected(&installation, chain_of(key), &format!("{key}: removed")).await;
    }
}

#[tokio::test]
async fn a_flip_of_any_byte_of_a_head_is_detected() {
    let whole = with_segment().await;
    for chain in ["installation", "workspace/acme"] {
        let head = format!("{chain}/head");
        let len = whole.stored(&head).len();
        for at in (0..len).step_by(37).chain([len - 64, len - 1]) {
            let installation = whole.copy();
            installation.tamper(&head, |bytes| bytes[at] ^= 1);
            expect_detected(&installation, chain, &format!("{head}: byte {at}")).await;
        }
    }
}

#[tokio::test]
async fn an_edit_of_any_segment_is_detected() {
    let whole = with_segment().await;
    let segments = whole.memory.contents().segments.clone();
    for (key, bytes) in &segments {
        let (chain, number) = key;
        let head = Head::parse_unverified(&whole.stored(&format!("{chain}/head"))).unwrap();
        if head.segment.is_none_or(|last| *number > last.number) {
            // Written ahead: no head names it yet.
            continue;
        }
        for (how, damage) in EDITS {
            let installation = whole.copy();
            let mut edited = bytes.clone();
            damage(&mut edited, b"another");
            {
                let mut contents = installation.memory.contents();
                contents.segments.insert(key.clone(), edited);
            }
            let what = format!("segment {number} of {chain}: {how}");
            expect_detected(&installation, chain, &what).await;
        }
        let installation = whole.copy();
        installation.memory.contents().segments.remove(key);
        expect_detected(&installation, chain, "a missing segment").await;
    }
}

#[tokio::test]
async fn an_edit_of_any_anchor_is_detected() {
    let whole = with_segment().await;
    for entry in fs::read_dir(whole.heads()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with('.') {
            continue;
        }
        for (how, damage) in EDITS {
            let installation = whole.copy();
            let path = installation.heads().join(&name);
            let mut bytes = fs::read(&path).unwrap();
            damage(&mut bytes, b"another");
            fs::write(&path, bytes).unwrap();
            let chain = name.replace('.', "/");
            expect_detected(
                &installation,
                &chain,
                &format!("the anchor of {name}: {how}"),
            )
            .await;
        }
    }
}

/// An export that looked complete would hide exactly the removed records.
#[tokio::test]
async fn an_export_and_a_search_name_the_chain_with_unreadable_records() {
    let whole = with_segment().await;
    let removed = whole.copy();
    {
        let mut contents = removed.memory.contents();
        let segments = &mut contents.segments;
        segments.retain(|(chain, _), _| chain != "workspace/acme");
    }
    let headless = whole.copy();
    headless.remove("workspace/acme/head");
    for (installation, what) in [(removed, "a segment"), (headless, "the head")] {
        let registry = installation.open().await;
        let mut export = registry.audit().export(AuditFilter::default(), None);
        let (mut ends, mut damaged) = (Vec::new(), Vec::new());
        loop {
            match export.next().await {
                Ok(None) => break,
                Ok(Some(lines)) => ends.extend(lines.into_iter().filter_map(|line| match line {
                    Line::End { chain, .. } => Some(chain.to_string()),
                    Line::Record(_) | Line::Hidden { .. } => None,
                })),
                Err(ReadError::Damaged(found)) => damaged.push(found.chain.to_string()),
                Err(error) => panic!("{what}: {error}"),
            }
        }
        assert_eq!(ends, ["installation", "workspace/globex"], "{what}");
        assert_eq!(damaged, ["workspace/acme"], "{what}");
        let all = AuditFilter::default();
        let page = registry.audit().search(&all, None, 1_000).await.unwrap();
        let damaged = page.damaged.iter().map(|found| found.chain.to_string());
        assert_eq!(damaged.collect::<Vec<_>>(), ["workspace/acme"], "{what}");
        let exported = registry
            .export_workspace(&act(), &"acme".parse().unwrap())
            .await;
        assert!(exported.is_err(), "{what}");
        let of_globex = AuditFilter {
            workspace: Some("globex".parse().unwrap()),
            ..AuditFilter::default()
        };
        let page = registry.audit().search(&of_globex, None, 9).await.unwrap();
        assert!(page.damaged.is_empty(), "{what}");
    }
}

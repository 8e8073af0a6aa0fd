//! Byte surgery on versions, by someone with write access to the store: what was swapped, moved, prolonged or put back is
//! found and named, and none of it is served.

use serde_json::Value;

use super::*;
use crate::{audit::VerifyError, documents::CredentialDocument, snapshot::CredentialEntry};

/// Keys of two versions each, the older one in grace.
struct Ward {
    installation: Installation,
    /// Of openai in acme; the others differ from it in one thing each.
    patient: CredentialId,
    sibling: CredentialId,
    other_provider: CredentialId,
    other_workspace: CredentialId,
    with_endpoint: CredentialId,
}

impl Ward {
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
            ..key("patient", "sk-globex-1")
        };
        let azure = NewCredential {
            endpoint: Some("https://acme.openai.azure.com".to_owned()),
            ..of("azure-openai", "azure", "sk-azure-1")
        };
        Self {
            patient: keep(key("patient", "sk-patient-1"), "sk-patient-2").await,
            sibling: keep(key("sibling", "sk-sibling-1"), "sk-sibling-2").await,
            other_provider: keep(of("anthropic", "patient", "sk-ant-1"), "sk-ant-2").await,
            other_workspace: keep(globex, "sk-globex-2").await,
            with_endpoint: keep(azure, "sk-azure-2").await,
            installation,
        }
    }

    fn stored(&self, id: &CredentialId) -> Vec<u8> {
        let at = self.installation.stored_credential(id);
        self.installation.stored(&at)
    }

    /// What a document says.
    fn json(&self, id: &CredentialId) -> Value {
        serde_json::from_slice(&self.stored(id)[SALT..]).unwrap()
    }

    fn put(&self, id: &CredentialId, document: &[u8]) {
        let at = self.installation.stored_credential(id);
        self.installation.put(&at, document);
    }

    /// Makes a document say something else, in the place of what the map names.
    fn operate(&self, id: &CredentialId, change: impl FnOnce(&mut Value)) {
        let (mut document, mut json) = (self.stored(id), self.json(id));
        let before = json.clone();
        change(&mut json);
        assert_ne!(json, before, "the surgery changes nothing");
        document.truncate(SALT);
        document.extend(serde_json::to_vec(&json).unwrap());
        self.put(id, &document);
    }

    /// Expects `id` to be refused, named and closed to changes, and its neighbours to be served.
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
        let told = records(&registry).await;
        let named = told.iter().filter(|record| {
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
async fn sealed_versions_that_were_swapped_or_taken_from_elsewhere_are_found() {
    type Source = fn(&Ward) -> &CredentialId;
    let sources: [(&str, Source); 4] = [
        ("another credential", |ward| &ward.sibling),
        ("another provider", |ward| &ward.other_provider),
        ("another workspace", |ward| &ward.other_workspace),
        ("another endpoint", |ward| &ward.with_endpoint),
    ];
    for field in ["sealed", "trace"] {
        for (what, source) in sources {
            let ward = Ward::new().await;
            let taken = ward.json(source(&ward))["versions"][1][field].clone();
            ward.operate(&ward.patient, |json| json["versions"][1][field] = taken);
            ward.expect_only(&ward.patient, &format!("{field} of {what}"))
                .await;
        }
        let ward = Ward::new().await;
        ward.operate(&ward.patient, |json| {
            let older = json["versions"][0][field].clone();
            json["versions"][1][field] = older;
        });
        ward.expect_only(&ward.patient, &format!("{field} of another version"))
            .await;
    }
}

#[tokio::test]
async fn a_version_that_was_made_current_prolonged_or_renumbered_is_found() {
    type Surgery = fn(&mut Value);
    let surgeries: [(&str, Surgery); 6] = [
        ("made current", |json| json["current"] = 1.into()),
        ("prolonged", |json| {
            json["versions"][0]["until"] = "2099-01-01T00:00:00Z".into()
        }),
        ("kept for ever", |json| {
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
    for (what, surgery) in surgeries {
        let ward = Ward::new().await;
        ward.operate(&ward.patient, surgery);
        ward.expect_only(&ward.patient, what).await;
    }
}

#[tokio::test]
async fn an_edited_endpoint_or_provider_of_a_rotated_key_is_found() {
    for (field, value) in [
        ("endpoint", "https://evil.openai.azure.com"),
        ("provider", "openai"),
        ("workspace", "globex"),
    ] {
        let ward = Ward::new().await;
        ward.operate(&ward.with_endpoint, |json| json[field] = value.into());
        let registry = ward.installation.open().await;
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
        let told = records(&registry).await;
        let mut named = told.iter().filter(|it| it.event == Event::DocumentDamaged);
        let first = named.next().unwrap();
        let credential = first.credential.as_ref();
        assert_eq!(credential, Some(&ward.with_endpoint), "{field}");
        assert!(named.next().is_none(), "{field}");
    }
}

#[tokio::test]
async fn an_older_document_put_back_after_a_rotation_a_rollback_or_a_withdrawal_is_found() {
    for what in ["rotated", "rolled back", "revoked", "destroyed"] {
        let ward = Ward::new().await;
        let older = ward.stored(&ward.patient);
        let registry = ward.installation.open().await;
        let id = &ward.patient;
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
                ward.installation.clock.set(NOW + DAY);
                registry.sweep().await;
            }
        }
        drop(registry);
        ward.put(id, &older);
        ward.expect_only(id, what).await;
    }
}

/// The seal itself, as if the heads had been forged: it is the last defence, and holds alone.
#[tokio::test]
async fn sealed_bytes_open_nowhere_but_in_their_own_version_credential_provider_and_endpoint() {
    let ward = Ward::new().await;
    let registry = ward.installation.open().await;
    let snapshot = registry.snapshot.load_full();
    let document = |id| snapshot.credential(id).unwrap().1.document.clone();
    let opens = |document: CredentialDocument| {
        let signals = snapshot
            .credential(&ward.patient)
            .unwrap()
            .1
            .signals
            .clone();
        let entry = CredentialEntry::new(document, &registry.keyring, signals);
        entry.usable.is_ok_and(|usable| usable.open().is_ok())
    };
    let azure = document(&ward.with_endpoint);
    assert!(opens(document(&ward.patient)) && opens(azure.clone()));
    for from in [
        &ward.sibling,
        &ward.other_provider,
        &ward.other_workspace,
        &ward.with_endpoint,
    ] {
        let mut patient = document(&ward.patient);
        patient.versions[1].sealed = document(from).versions[1].sealed.clone();
        assert!(!opens(patient));
    }
    let mut older = document(&ward.patient);
    older.versions[1].sealed = older.versions[0].sealed.clone();
    assert!(!opens(older));
    let mut elsewhere = azure.clone();
    elsewhere.endpoint = Some("https://evil.openai.azure.com".to_owned());
    assert!(!opens(elsewhere));
    let mut another = azure;
    another.provider = "openai".parse().unwrap();
    assert!(!opens(another));
}

/// What is done to one thing that is stored.
type Surgery = fn(&mut Vec<u8>, &[u8]);

const SURGERIES: [(&str, Surgery); 6] = [
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

/// Two workspaces, of which one has a chain so long that it has a segment.
async fn patient() -> Installation {
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
    assert!(!installation.memory.contents().segments.is_empty());
    installation
}

/// Opens it after surgery on something of a chain. Nothing that was touched is served, and it is found.
async fn is_found(installation: &Installation, chain: &str, what: &str) {
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
async fn surgery_on_any_object_page_or_head_is_found_and_not_served() {
    let whole = patient().await;
    let objects = whole.memory.contents().objects.clone();
    let others = objects.values().skip(1).chain(objects.values().next());
    for ((key, _), other) in objects.iter().zip(others) {
        for (how, surgery) in SURGERIES {
            let installation = whole.copy();
            installation.tamper(key, |bytes| surgery(bytes, other));
            is_found(&installation, chain_of(key), &format!("{key}: {how}")).await;
        }
        let installation = whole.copy();
        installation.remove(key);
        is_found(&installation, chain_of(key), &format!("{key}: removed")).await;
    }
}

#[tokio::test]
async fn surgery_on_any_byte_of_a_head_is_found() {
    let whole = patient().await;
    for chain in ["installation", "workspace/acme"] {
        let head = format!("{chain}/head");
        let len = whole.stored(&head).len();
        for at in (0..len).step_by(37).chain([len - 64, len - 1]) {
            let installation = whole.copy();
            installation.tamper(&head, |bytes| bytes[at] ^= 1);
            is_found(&installation, chain, &format!("{head}: byte {at}")).await;
        }
    }
}

#[tokio::test]
async fn surgery_on_any_segment_is_found() {
    let whole = patient().await;
    let segments = whole.memory.contents().segments.clone();
    for (key, bytes) in &segments {
        let (chain, number) = key;
        for (how, surgery) in SURGERIES {
            let installation = whole.copy();
            let mut edited = bytes.clone();
            surgery(&mut edited, b"another");
            {
                let mut contents = installation.memory.contents();
                contents.segments.insert(key.clone(), edited);
            }
            let what = format!("segment {number} of {chain}: {how}");
            is_found(&installation, chain, &what).await;
        }
        let installation = whole.copy();
        installation.memory.contents().segments.remove(key);
        is_found(&installation, chain, "a segment that is gone").await;
    }
}

#[tokio::test]
async fn surgery_on_any_anchor_is_found() {
    let whole = patient().await;
    for entry in fs::read_dir(whole.heads()).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.starts_with('.') {
            continue;
        }
        for (how, surgery) in SURGERIES {
            let installation = whole.copy();
            let path = installation.heads().join(&name);
            let mut bytes = fs::read(&path).unwrap();
            surgery(&mut bytes, b"another");
            fs::write(&path, bytes).unwrap();
            let chain = name.replace('.', "/");
            is_found(
                &installation,
                &chain,
                &format!("the anchor of {name}: {how}"),
            )
            .await;
        }
    }
}

/// An export that looked whole would hide exactly what was removed.
#[tokio::test]
async fn an_export_and_a_search_say_which_chain_has_records_that_cannot_be_read() {
    let whole = patient().await;
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

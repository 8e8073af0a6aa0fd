//! Byte surgery on versions, by someone with write access to the store: what was swapped, moved, prolonged or put back is
//! found and named, and none of it is served.

use serde_json::Value;

use super::*;
use crate::{
    audit::Event,
    documents::CredentialDocument,
    snapshot::CredentialEntry,
    storage::{Document, Log},
};

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

    fn stored(&self, id: &CredentialId) -> Document {
        let mut stored = None;
        self.installation.memory.tamper(|documents, _| {
            let of = |(key, document): (&String, &Document)| {
                key.ends_with(id.as_str()).then(|| document.clone())
            };
            stored = documents.iter().find_map(of);
        });
        stored.unwrap()
    }

    /// What a document says.
    fn json(&self, id: &CredentialId) -> Value {
        let body = self.stored(id).body;
        serde_json::from_slice(&body[json_at(&body)..]).unwrap()
    }

    fn put(&self, id: &CredentialId, document: Document) {
        self.installation.memory.tamper(|documents, _| {
            let place = documents.keys().find(|key| key.ends_with(id.as_str()));
            let place = place.unwrap().clone();
            documents.insert(place, document);
        });
    }

    /// Makes a document say something else, behind the MAC that it has.
    fn operate(&self, id: &CredentialId, change: impl FnOnce(&mut Value)) {
        let (mut document, mut json) = (self.stored(id), self.json(id));
        let before = json.clone();
        change(&mut json);
        assert_ne!(json, before, "the surgery changes nothing");
        document.body.truncate(json_at(&document.body));
        document.body.extend(serde_json::to_vec(&json).unwrap());
        self.put(id, document);
    }

    /// Expects `id` to be refused, named and closed to changes, and its neighbours to be served.
    async fn expect_only(&self, id: &CredentialId, what: &str) {
        let registry = self.installation.open().await;
        for credential in registry.list(&Filter::default()) {
            let workspace = match credential.workspace.as_str() {
                "acme" => "acme",
                _ => "globex",
            };
            let answer = opened(registry.resolver().resolve(&Ask {
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
        let records = records(&registry).await;
        let named = records.iter().filter(|record| {
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

/// Behind the format, the key's id and the MAC.
fn json_at(body: &[u8]) -> usize {
    2 + usize::from(body[1]) + 32
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
                let asked = Ask {
                    provider,
                    label,
                    ..ask(workspace)
                };
                assert!(registry.resolver().resolve(&asked).is_err(), "{field}");
            }
        }
        let records = records(&registry).await;
        let last = records.last().unwrap();
        assert_eq!(
            (last.event, last.credential.as_ref()),
            (Event::DocumentDamaged, Some(&ward.with_endpoint)),
            "{field}"
        );
    }
}

#[tokio::test]
async fn an_older_document_put_back_after_a_rotation_a_rollback_or_a_withdrawal_is_found() {
    for what in ["rotated", "rolled back", "revoked", "destroyed"] {
        for keeps_its_revision in [true, false] {
            let ward = Ward::new().await;
            let mut older = ward.stored(&ward.patient);
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
                    registry.inner.sweep().await;
                }
            }
            drop(registry);
            if !keeps_its_revision {
                older.revision += 1;
            }
            ward.put(id, older);
            ward.expect_only(id, what).await;
        }
    }
}

#[tokio::test]
async fn an_older_document_put_back_with_the_record_of_the_rotation_cut_out_is_found() {
    let ward = Ward::new().await;
    let older = ward.stored(&ward.patient);
    let registry = ward.installation.open().await;
    registry
        .rotate(&act(), &ward.patient, to("sk-patient-3"))
        .await
        .unwrap();
    let rotated = seen(&registry).await.position;
    registry
        .add(&act(), key("later", "sk-later-2"))
        .await
        .unwrap();
    drop(registry);
    ward.put(&ward.patient, older);
    ward.installation
        .memory
        .tamper(|_, logs| drop(logs.remove(&(Log::Audit, rotated))));
    let registry = ward.installation.open().await;
    let label = Some("patient");
    let answer = opened(registry.resolver().resolve(&Ask {
        label,
        ..ask("acme")
    }));
    assert_eq!(answer, Err(Refusal::CredentialUndecryptable));
}

/// The seal itself, as if the MAC and the log had been forged: it is the last defence, and holds alone.
#[tokio::test]
async fn sealed_bytes_open_nowhere_but_in_their_own_version_credential_provider_and_endpoint() {
    let ward = Ward::new().await;
    let registry = ward.installation.open().await;
    let snapshot = registry.inner.snapshot.load_full();
    let document = |id| snapshot.credential(id).unwrap().1.document.clone();
    let opens = |document: CredentialDocument| {
        let signals = snapshot
            .credential(&ward.patient)
            .unwrap()
            .1
            .signals
            .clone();
        let entry = CredentialEntry::new(document, &registry.inner.keyring, signals);
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
    another.provider = "openai".into();
    assert!(!opens(another));
}

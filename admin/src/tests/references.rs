//! Credentials that are stored with a `secretRef`: their secrets stay in Vault.

use std::{sync::Mutex, time::Duration};

use async_trait::async_trait;
use keyside_config::{AllowedReferences, Settings, Sources};
use keyside_credentials::{
    ReferenceOptions,
    source::{Reading, SecretSource, SourceError, VaultReference},
};

use super::*;

const PATH: &str = "kv/teams/acme/openai";

/// A Vault with one secret, of the version that the test says; without one there is none.
#[derive(Default)]
struct Vault(Mutex<Option<&'static str>>);

impl Vault {
    fn set(&self, version: Option<&'static str>) {
        *self.0.lock().unwrap() = version;
    }
}

#[async_trait]
impl SecretSource for Vault {
    async fn read(
        &self,
        reference: &VaultReference,
        known: Option<&str>,
    ) -> Result<Reading, SourceError> {
        let version = *self.0.lock().unwrap();
        match version.filter(|_| reference.path == PATH) {
            None => Err(SourceError::Gone(format!("{reference}: not found"))),
            Some(version) if known == Some(version) => Ok(Reading::Unchanged),
            Some(version) => Ok(Reading::Secret {
                version: version.to_owned(),
                secret: SECRET.as_bytes().to_vec().into(),
            }),
        }
    }
}

fn allowed() -> AllowedReferences {
    let set = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let sources = Sources {
        file: None,
        environment: [
            set("KEYSIDE_VAULT__ADDRESS", "https://vault.internal:8200"),
            set("KEYSIDE_VAULT__TOKEN_FILE", "/vault/token"),
            set("KEYSIDE_VAULT__REFERENCES__ALLOW", "kv/teams/{workspace}/"),
        ]
        .into_iter()
        .collect(),
    };
    let loaded = Settings::load(&sources).unwrap();
    loaded.settings.vault.unwrap().references
}

async fn with_vault() -> (Api, Arc<Vault>) {
    let api = Api::with_workspace().await;
    let vault = Arc::new(Vault::default());
    vault.set(Some("1"));
    let options = ReferenceOptions {
        vault: Some(vault.clone()),
        poll: Duration::from_secs(3600),
        outage: Duration::from_secs(900),
        allowed: allowed(),
    };
    api.registry.follow_references(options).await;
    (api, vault)
}

fn referring(path: &str) -> Value {
    let mut body = new_credential(json!({
        "secretRef": { "path": path, "field": "api_key" },
    }));
    body.as_object_mut().unwrap().remove("secret");
    body
}

#[tokio::test]
async fn a_reference_is_shown_with_its_version_and_refreshed() {
    let (api, vault) = with_vault().await;
    let added = api.post(CREDENTIALS, &referring(PATH)).await;
    assert_eq!(added.status, StatusCode::CREATED, "{}", added.body);
    let view = added.json();
    assert_eq!(view["secretRef"]["path"], PATH);
    assert_eq!(view["secretRef"]["field"], "api_key");
    assert_eq!(view["source"], format!("vault:{PATH}#api_key"));
    assert_eq!(view["sourceVersion"], "1");
    assert_eq!(view["versions"][0]["sourceVersion"], "1");
    assert_eq!(view["hint"], "sk-proj-…yzQ7");

    let refresh = format!("{CREDENTIALS}/{}/refresh", added.id());
    vault.set(Some("2"));
    let refreshed = api.post_text(&refresh, "").await;
    assert_eq!(refreshed.status, StatusCode::OK, "{}", refreshed.body);
    assert_eq!(refreshed.json()["sourceVersion"], "2");
    assert_eq!(refreshed.json()["versions"][0]["sourceVersion"], "2");
    vault.set(None);
    let refreshed = api.post_text(&refresh, "").await.json();
    assert_eq!(
        refreshed["sourceFault"],
        format!("vault:{PATH}#api_key: not found")
    );
}

#[tokio::test]
async fn a_rotation_of_a_reference_is_refused_with_the_reason() {
    let (api, _vault) = with_vault().await;
    let added = api.post(CREDENTIALS, &referring(PATH)).await;
    let request = api
        .request("PATCH", &format!("{CREDENTIALS}/{}", added.id()))
        .header("content-type", "application/json")
        .header("if-match", added.header("etag"));
    let body = json!({ "secret": format!("{SECRET}2") }).to_string();
    let answer = api.send_body(request, body.into()).await;
    assert_eq!(answer.status, StatusCode::CONFLICT);
    assert_eq!(answer.kind(), "kept-in-vault");
}

#[tokio::test]
async fn a_reference_is_refused_where_it_is_not_permitted_not_there_or_beside_a_secret() {
    let (api, _vault) = with_vault().await;
    let mut both = referring(PATH);
    both["secret"] = SECRET.into();
    for (body, said) in [
        (
            referring("kv/teams/globex/openai"),
            "vault.references.allow",
        ),
        (referring("kv/teams/acme/../globex"), "expected an object"),
        (referring("kv/teams/acme/other"), "not found"),
        (both, "one of the two"),
    ] {
        let answer = api.post(CREDENTIALS, &body).await;
        assert_eq!(answer.status, StatusCode::UNPROCESSABLE_ENTITY, "{body}");
        assert_eq!(answer.fields(), ["secretRef"], "{}", answer.body);
        assert!(answer.body.contains(said), "{}", answer.body);
    }
}

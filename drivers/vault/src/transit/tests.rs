//! Transit's responses and errors. The KMS contract suite runs against a real OpenBao
//! (`tests/vault`).

use keyside_config::VaultAuth;

use super::*;
use crate::fake_vault::{FakeVault, ReceivedRequest, refused, signed_in};

const HERE: Wrapping<'_> = Wrapping {
    installation: "ins_1",
    workspace: "acme",
    key: "wk_1",
    signer: "",
};

/// Transit over a fake Vault that accepts every sign-in and responds with `answers` otherwise.
async fn transit(
    answers: impl Fn(&ReceivedRequest) -> (u16, Value) + Send + Sync + 'static,
) -> (FakeVault, Transit, tempfile::NamedTempFile) {
    let vault = FakeVault::start(move |asked| match asked.line.as_str() {
        "POST auth/jwt/login" => signed_in("hvs.one", 3600),
        "GET auth/token/lookup-self" => (200, json!({ "data": {} })),
        _ => answers(asked),
    })
    .await;
    let jwt = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(jwt.path(), "jwt.one").unwrap();
    let auth = VaultAuth::Jwt {
        mount: "jwt".to_owned(),
        role: None,
        jwt_file: jwt.path().to_owned(),
    };
    let client = Vault::open(&vault.settings(auth)).unwrap();
    let settings = TransitKms {
        mount: "team/transit".to_owned(),
        key_prefix: "keyside-".to_owned(),
    };
    (vault, Transit::new(client, &settings, true), jwt)
}

/// A workspace key wrapped by the Transit key `transit_key`, as stored.
fn wrapped(transit_key: &str) -> Vec<u8> {
    Wrapped::from_transit(transit_key, "vault:v1:AAECAwQF").unwrap()
}

fn ciphertext() -> (u16, Value) {
    (
        200,
        json!({ "data": { "ciphertext": "vault:v3:AAECAwQF", "key_version": 3 } }),
    )
}

#[tokio::test]
async fn a_key_is_created_before_it_wraps_and_associated_data_is_sent() {
    let (vault, transit, _jwt) = transit(|asked| match asked.line.as_str() {
        "POST team/transit/keys/keyside-acme" => (200, json!({ "data": { "exportable": false } })),
        "POST team/transit/encrypt/keyside-acme" => ciphertext(),
        line => refused(404, line),
    })
    .await;
    let wrapped = transit.wrap(&HERE, &[7; KEY_LEN]).await.unwrap();
    let transit_key = transit.wrapped_by(&wrapped).unwrap();
    assert_eq!(transit_key, "team/transit/keyside-acme");
    assert_eq!(transit_key, transit.name("acme"));
    let asked = vault.asked("POST team/transit/encrypt/").remove(0);
    let body: Value = serde_json::from_str(&asked.body).unwrap();
    assert_eq!(body["plaintext"], BASE64_STANDARD.encode([7u8; KEY_LEN]));
    let expected = BASE64_STANDARD.encode(HERE.associated_data());
    assert_eq!(body["associated_data"], expected);
}

#[tokio::test]
async fn an_exportable_key_wraps_nothing() {
    for name in ["exportable", "allow_plaintext_backup"] {
        let answer = json!({ "data": { name: true } });
        let (vault, transit, _jwt) = transit(move |_| (200, answer.clone())).await;
        let error = transit.wrap(&HERE, &[7; KEY_LEN]).await.unwrap_err();
        assert!(error.to_string().contains(name), "{error}");
        assert!(vault.asked("POST team/transit/encrypt/").is_empty());
    }
}

#[tokio::test]
async fn stored_data_never_decides_where_a_request_goes() {
    let (vault, transit, _jwt) = transit(|asked| refused(404, &asked.line)).await;
    for transit_key in [
        "team/transit/keyside-globex",
        "transit/keyside-acme",
        "sys/seal",
        "../sys/seal",
        "",
    ] {
        let error = transit
            .unwrap(&HERE, &wrapped(transit_key))
            .await
            .unwrap_err();
        assert!(
            matches!(error, KmsError::OtherWrappingKey { .. }),
            "{error}"
        );
    }
    assert!(vault.asked("").is_empty());
}

#[tokio::test]
async fn refusals_outages_and_damage_are_distinguished() {
    let unwrap = async |status, said: &'static str| {
        let (_vault, transit, _jwt) = transit(move |_| refused(status, said)).await;
        let wrapped = wrapped("team/transit/keyside-acme");
        transit.unwrap(&HERE, &wrapped).await.unwrap_err()
    };
    let damaged = unwrap(400, "cipher: message authentication failed").await;
    assert!(
        matches!(damaged, KmsError::NotAuthentic { .. }),
        "{damaged}"
    );
    for (status, said, remedy) in [
        (
            403,
            "permission denied",
            "update on team/transit/decrypt/keyside-acme",
        ),
        (404, "no handler for route", "kms.mount"),
        (400, "encryption key not found", "the Transit key is gone"),
        (400, "invalid ciphertext: version is too new", "too new"),
        (
            400,
            "ciphertext or signature version is disallowed by policy (too old)",
            "min_decryption_version",
        ),
    ] {
        let error = unwrap(status, said).await;
        assert!(matches!(error, KmsError::Refused { .. }), "{error}");
        assert!(error.to_string().contains(remedy), "{error}");
    }
    for status in [429, 473, 500, 503] {
        let error = unwrap(status, "").await;
        assert!(matches!(error, KmsError::Unavailable { .. }), "{error}");
    }
}

#[tokio::test]
async fn deletion_is_allowed_only_for_the_deletion_itself() {
    let (vault, transit, _jwt) = transit(|asked| match asked.line.as_str() {
        "POST team/transit/keys/keyside-acme/config" | "DELETE team/transit/keys/keyside-acme" => {
            (204, Value::Null)
        }
        _ => refused(400, "no existing key named keyside-gone could be found"),
    })
    .await;
    transit.forget("acme").await.unwrap();
    assert_eq!(vault.asked("DELETE").len(), 1);
    transit.forget("gone").await.unwrap();
    assert_eq!(vault.asked("DELETE").len(), 1, "there is nothing to delete");
}

#[test]
fn every_workspace_has_a_name_of_its_own_that_transit_takes() {
    let ids = ["", "acme", "installation", "-", "--", "a-", "a"];
    let names = ids.map(|id| key_name("keyside-", id));
    for (index, name) in names.iter().enumerate() {
        assert!(!name.ends_with('-'), "{name}");
        assert!(!names[..index].contains(name), "{name}");
    }
    assert_eq!(names[1], "keyside-acme");
}

#[test]
fn only_a_whole_key_is_decoded() {
    let encoded = |len| BASE64_STANDARD.encode(vec![7u8; len]);
    assert_eq!(*decoded(&encoded(KEY_LEN)).unwrap(), [7; KEY_LEN]);
    for len in [0, 31, 33, 64] {
        assert!(decoded(&encoded(len)).is_none(), "{len}");
    }
    assert!(decoded("no base64").is_none());
}

#[test]
fn all_strings_in_json_are_zeroed() {
    let mut value = json!({ "data": { "plaintext": "a2V5", "of": ["a2V5", 1, null] } });
    wipe(&mut value);
    assert_eq!(
        value,
        json!({ "data": { "plaintext": "", "of": ["", 1, null] } })
    );
}

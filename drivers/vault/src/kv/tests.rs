//! Edge cases of secrets: versions, deletions, policies, and mounts that Vault does not reveal.

use std::sync::Mutex;

use keyside_config::VaultAuth;
use serde_json::{Value, json};

use super::*;
use crate::{
    fake_vault::{FakeVault, ReceivedRequest, refused, signed_in},
    value_key::ValueKey,
};

const KEY: &str = "sk-canary-5521";

/// A client of a fake Vault that accepts every sign-in and responds with `answers` otherwise.
async fn client(
    answers: impl Fn(&ReceivedRequest) -> (u16, Value) + Send + Sync + 'static,
) -> (FakeVault, std::sync::Arc<Vault>, tempfile::NamedTempFile) {
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
    (vault, client, jwt)
}

fn reference(path: &str) -> VaultReference {
    VaultReference {
        mount: None,
        path: path.to_owned(),
        field: "api_key".to_owned(),
        version: None,
    }
}

fn mounted(path: &str, version: &str) -> (u16, Value) {
    let data = json!({ "path": path, "type": "kv", "options": { "version": version } });
    (200, json!({ "data": data }))
}

fn version_2(version: u64, data: Value) -> (u16, Value) {
    let metadata = json!({ "version": version, "deletion_time": "", "destroyed": false });
    (
        200,
        json!({ "data": { "data": data, "metadata": metadata } }),
    )
}

fn metadata(version: u64, deletion_time: &str, destroyed: bool) -> (u16, Value) {
    let state =
        json!({ "created_time": "", "deletion_time": deletion_time, "destroyed": destroyed });
    let data = json!({ "current_version": version, "versions": { version.to_string(): state } });
    (200, json!({ "data": data }))
}

fn secret(reading: Result<Reading, SourceError>) -> (String, String) {
    match reading {
        Ok(Reading::Secret { version, secret }) => {
            (version, String::from_utf8(secret.to_vec()).unwrap())
        }
        Ok(Reading::Unchanged) => panic!("unchanged"),
        Err(SourceError::Gone(why) | SourceError::Unavailable(why)) => panic!("{why}"),
    }
}

fn refusal_of(reading: Result<Reading, SourceError>) -> String {
    match reading {
        Err(SourceError::Gone(why)) => why,
        Err(SourceError::Unavailable(why)) => panic!("away: {why}"),
        Ok(_) => panic!("read"),
    }
}

const MOUNTS: &str = "GET sys/internal/ui/mounts/kv/teams/acme/openai";
const DATA: &str = "GET kv/teams/data/acme/openai";
const METADATA: &str = "GET kv/teams/metadata/acme/openai";
const PATH: &str = "kv/teams/acme/openai";

#[tokio::test]
async fn following_version_2_polls_metadata_until_something_changed() {
    let current = std::sync::Arc::new(Mutex::new(7));
    let now = current.clone();
    let (vault, client, _jwt) = client(move |asked| {
        let version = *now.lock().unwrap();
        match asked.line.as_str() {
            MOUNTS => mounted("kv/teams/", "2"),
            DATA => version_2(
                version,
                json!({ "api_key": format!("{KEY}-{version}"), "n": 1 }),
            ),
            METADATA => metadata(version, "", false),
            line => panic!("{line}"),
        }
    })
    .await;
    let reference = reference(PATH);
    let first = secret(client.read(&reference, None).await);
    assert_eq!(first, ("7".to_owned(), format!("{KEY}-7")));
    for _ in 0..3 {
        let again = client.read(&reference, Some("7")).await;
        assert!(matches!(again, Ok(Reading::Unchanged)));
    }
    assert_eq!(vault.asked(DATA).len(), 1, "metadata holds no secret");
    *current.lock().unwrap() = 8;
    let changed = secret(client.read(&reference, Some("7")).await);
    assert_eq!(changed, ("8".to_owned(), format!("{KEY}-8")));
    assert_eq!(vault.asked(MOUNTS).len(), 1, "a mount is asked for once");
}

#[tokio::test]
async fn a_secret_that_was_deleted_and_written_again_is_another_version_although_both_are_the_first()
 {
    let current = std::sync::Arc::new(Mutex::new("2026-01-01T00:00:00Z"));
    let now = current.clone();
    let (_vault, client, _jwt) = client(move |asked| {
        let created = *now.lock().unwrap();
        let state = json!({ "version": 1, "created_time": created, "deletion_time": "", "destroyed": false });
        let data = match asked.line.as_str() {
            MOUNTS => return mounted("kv/teams/", "2"),
            DATA => json!({ "data": { "api_key": created }, "metadata": state }),
            METADATA => json!({ "current_version": 1, "versions": { "1": state } }),
            line => panic!("{line}"),
        };
        (200, json!({ "data": data }))
    })
    .await;
    // Two credentials with the same secret: each has to notice the change.
    let reference = reference(PATH);
    for _ in 0..2 {
        let (version, _) = secret(client.read(&reference, None).await);
        assert_eq!(version, "1");
    }
    *current.lock().unwrap() = "2026-01-02T00:00:00Z";
    for _ in 0..2 {
        let (version, key) = secret(client.read(&reference, Some("1")).await);
        assert_eq!(version, "1 (created 2026-01-02T00:00:00Z)");
        assert_eq!(key, "2026-01-02T00:00:00Z");
        let again = client.read(&reference, Some(&version)).await;
        assert!(matches!(again, Ok(Reading::Unchanged)));
    }
}

#[tokio::test]
async fn a_standby_that_is_behind_does_not_bring_an_old_version_back() {
    let current = std::sync::Arc::new(Mutex::new(2));
    let now = current.clone();
    let (vault, client, _jwt) = client(move |asked| {
        let version: u64 = *now.lock().unwrap();
        let created = format!("2026-01-0{version}T00:00:00Z");
        let state = json!({ "version": version, "created_time": created, "deletion_time": "", "destroyed": false });
        let data = match asked.line.as_str() {
            MOUNTS => return mounted("kv/teams/", "2"),
            DATA => json!({ "data": { "api_key": format!("{KEY}-{version}") }, "metadata": state }),
            METADATA => json!({ "current_version": version, "versions": { version.to_string(): state } }),
            line => panic!("{line}"),
        };
        (200, json!({ "data": data }))
    })
    .await;
    let reference = reference(PATH);
    assert_eq!(secret(client.read(&reference, None).await).0, "2");
    *current.lock().unwrap() = 1;
    let again = client.read(&reference, Some("2")).await;
    assert!(matches!(again, Ok(Reading::Unchanged)));
    assert_eq!(vault.asked(DATA).len(), 1);
    // Another credential with the same secret, which was not read yet.
    match client.read(&reference, None).await {
        Err(SourceError::Unavailable(why)) => {
            assert!(why.contains("with version 2 before"), "{why}")
        }
        _ => panic!("the old version is used"),
    }
    *current.lock().unwrap() = 3;
    assert_eq!(secret(client.read(&reference, Some("2")).await).0, "3");
}

#[tokio::test]
async fn without_a_policy_for_metadata_the_data_is_read() {
    let (vault, client, _jwt) = client(|asked| match asked.line.as_str() {
        MOUNTS => mounted("kv/teams/", "2"),
        DATA => version_2(7, json!({ "api_key": KEY })),
        _ => refused(403, "permission denied"),
    })
    .await;
    let reference = reference(PATH);
    for _ in 0..3 {
        let again = client.read(&reference, Some("7")).await;
        assert!(matches!(again, Ok(Reading::Unchanged)));
    }
    assert_eq!(vault.asked(METADATA).len(), 1);
    assert_eq!(vault.asked(DATA).len(), 3);
}

#[tokio::test]
async fn a_future_deletion_time_is_left_to_vault() {
    let (_vault, client, _jwt) = client(|asked| match asked.line.as_str() {
        MOUNTS => mounted("kv/teams/", "2"),
        DATA => version_2(7, json!({ "api_key": KEY })),
        _ => metadata(7, "2999-01-01T00:00:00Z", false),
    })
    .await;
    let again = client.read(&reference(PATH), Some("7")).await;
    assert!(matches!(again, Ok(Reading::Unchanged)));
}

#[tokio::test]
async fn a_pinned_version_is_the_one_that_is_read() {
    let (vault, client, _jwt) = client(|asked| match asked.line.as_str() {
        MOUNTS => mounted("kv/teams/", "2"),
        "GET kv/teams/data/acme/openai?version=3" => version_2(3, json!({ "api_key": KEY })),
        line => panic!("{line}"),
    })
    .await;
    let pinned = VaultReference {
        version: Some(3),
        ..reference(PATH)
    };
    assert_eq!(secret(client.read(&pinned, None).await).0, "3");
    assert_eq!(vault.asked(DATA).len(), 1);
}

#[tokio::test]
async fn an_unreadable_secret_is_explained_with_a_remedy() {
    let gone = |destroyed| {
        let metadata = json!({ "version": 7, "deletion_time": "2026-01-01T00:00:00Z", "destroyed": destroyed });
        (
            404,
            json!({ "data": { "data": null, "metadata": metadata } }),
        )
    };
    let cases: [((u16, Value), &str); 8] = [
        (gone(false), "version 7 of kv/teams/acme/openai was deleted"),
        (gone(true), "was destroyed"),
        (
            (404, json!({ "errors": [] })),
            "there is no secret at kv/teams/acme/openai",
        ),
        (
            refused(403, "denied"),
            "path \"kv/teams/data/acme/openai\" { capabilities = [\"read\"] }",
        ),
        (
            version_2(7, json!({ "other": KEY, "user": "x" })),
            "these do: other, user",
        ),
        (version_2(7, json!({ "api_key": "" })), "is empty"),
        (version_2(7, json!({ "api_key": [KEY] })), "is a list"),
        (version_2(7, json!({})), "has no fields"),
    ];
    for (answer, expected) in cases {
        let (_vault, client, _jwt) = client(move |asked| match asked.line.as_str() {
            MOUNTS => mounted("kv/teams/", "2"),
            _ => answer.clone(),
        })
        .await;
        let why = refusal_of(client.read(&reference(PATH), None).await);
        assert!(why.contains(expected), "{why}");
        assert!(!why.contains(KEY), "{why}");
    }
}

#[tokio::test]
async fn an_outage_is_not_a_refusal() {
    for status in [429, 472, 473, 500, 502, 503] {
        let (_vault, client, _jwt) = client(move |asked| match asked.line.as_str() {
            MOUNTS => mounted("kv/teams/", "2"),
            _ => refused(status, "not now"),
        })
        .await;
        let read = client.read(&reference(PATH), None).await;
        assert!(matches!(read, Err(SourceError::Unavailable(_))), "{status}");
    }
}

#[tokio::test]
async fn an_error_that_is_not_from_vault_is_an_outage() {
    for status in [400, 403, 404] {
        let (vault, client, _jwt) = client(move |asked| match asked.line.as_str() {
            MOUNTS => mounted("kv/teams/", "2"),
            _ => (status, json!({ "message": "no route" })),
        })
        .await;
        match client.read(&reference(PATH), Some("7")).await {
            Err(SourceError::Unavailable(why)) => assert!(why.contains("vault.address"), "{why}"),
            _ => panic!("{status}"),
        }
        assert_eq!(vault.asked("POST auth/").len(), 1, "no storm of sign-ins");
    }
}

#[tokio::test]
async fn version_1_is_followed_by_a_keyed_hash() {
    let current = std::sync::Arc::new(Mutex::new("one"));
    let now = current.clone();
    let (_vault, client, _jwt) = client(move |asked| match asked.line.as_str() {
        "GET sys/internal/ui/mounts/secret/openai" => mounted("secret/", "1"),
        "GET secret/openai" => (200, json!({ "data": { "api_key": *now.lock().unwrap() } })),
        line => panic!("{line}"),
    })
    .await;
    let reference = reference("secret/openai");
    let (version, value) = secret(client.read(&reference, None).await);
    assert_eq!((version.len(), value.as_str()), (16, "one"));
    let again = client.read(&reference, Some(&version)).await;
    assert!(matches!(again, Ok(Reading::Unchanged)));
    *current.lock().unwrap() = "two";
    let (changed, value) = secret(client.read(&reference, Some(&version)).await);
    assert_eq!(value, "two");
    assert_ne!(changed, version);
    let other = ValueKey::random().unwrap();
    assert_ne!(
        other.version(b"two"),
        changed,
        "it tells nothing of the value"
    );
}

#[tokio::test]
async fn a_mount_that_vault_does_not_reveal_can_be_configured() {
    let answers = |asked: &ReceivedRequest| match asked.line.as_str() {
        "GET secret/openai" => (200, json!({ "data": { "api_key": KEY } })),
        _ => refused(403, "preflight capability check returned 403"),
    };
    let (_vault, unaided, _jwt) = client(answers).await;
    let why = refusal_of(unaided.read(&reference("secret/openai"), None).await);
    assert!(why.contains("`mount`"), "{why}");

    let (_vault, client, _jwt) = client(answers).await;
    for path in ["secret/openai", "openai"] {
        let given = VaultReference {
            mount: Some("secret".to_owned()),
            ..reference(path)
        };
        assert_eq!(secret(client.read(&given, None).await).1, KEY);
    }
}

#[tokio::test]
async fn a_path_that_a_url_would_resolve_is_refused() {
    let (vault, client, _jwt) = client(|asked| panic!("{}", asked.line)).await;
    for path in ["kv/../sys/seal", "kv//x", "kv", "", "kv/./x", "kv/x\n"] {
        let why = refusal_of(client.read(&reference(path), None).await);
        assert!(why.contains("is not the path"), "{why}");
    }
    assert_eq!(vault.asked("").len(), 0);
}

#[tokio::test]
async fn another_engine_is_named() {
    let (_vault, client, _jwt) = client(|_| {
        let data = json!({ "path": "transit/", "type": "transit", "options": null });
        (200, json!({ "data": data }))
    })
    .await;
    let why = refusal_of(client.read(&reference("transit/keys/x"), None).await);
    assert!(why.contains("of type transit"), "{why}");
}

/// A mount `kv` of version 2 whose policy reveals only one secret, that of `globex`.
fn forbidden_version_2(asked: &ReceivedRequest) -> (u16, Value) {
    match asked.line.as_str() {
        "GET kv/data/globex/openai" => version_2(7, json!({ "api_key": KEY })),
        "GET kv/metadata/globex/openai" => {
            let state = json!({ "7": { "deletion_time": "", "destroyed": false } });
            let data = json!({ "current_version": 7, "created_time": KEY, "versions": state });
            (200, json!({ "data": data }))
        }
        line if line.starts_with("GET sys/") => refused(403, "preflight capability check"),
        _ => (404, json!({ "errors": [] })),
    }
}

#[tokio::test]
async fn a_workspace_named_like_an_api_segment_reads_no_other_workspace() {
    for (mount, path, field) in [
        ("kv", "kv/data/globex/openai", "data"),
        ("kv", "kv/data/globex/openai", "api_key"),
        ("kv/data", "kv/data/globex/openai", "api_key"),
        ("kv", "kv/metadata/globex/openai", "created_time"),
        ("kv/metadata", "kv/metadata/globex/openai", "created_time"),
    ] {
        let (_vault, client, _jwt) = client(forbidden_version_2).await;
        let given = VaultReference {
            mount: Some(mount.to_owned()),
            field: field.to_owned(),
            ..reference(path)
        };
        let why = refusal_of(client.read(&given, None).await);
        assert!(!why.contains(KEY), "{why}");
    }
}

#[tokio::test]
async fn if_vault_reveals_the_mount_such_a_path_is_in_it() {
    let (vault, client, _jwt) = client(|asked| match asked.line.as_str() {
        "GET sys/internal/ui/mounts/kv/data/globex/openai" => mounted("kv/", "2"),
        _ => forbidden_version_2(asked),
    })
    .await;
    refusal_of(client.read(&reference("kv/data/globex/openai"), None).await);
    assert_eq!(vault.asked("GET kv/data/data/globex/openai").len(), 1);
    assert!(vault.asked("GET kv/data/globex/openai").is_empty());
}

#[tokio::test]
async fn a_mount_that_is_being_upgraded_is_an_outage() {
    let said = "Upgrading from non-versioned to versioned data. This backend will be unavailable for a brief period";
    let (_vault, client, _jwt) = client(move |asked| match asked.line.as_str() {
        MOUNTS => mounted("kv/teams/", "2"),
        _ => refused(400, said),
    })
    .await;
    let read = client.read(&reference(PATH), None).await;
    assert!(matches!(read, Err(SourceError::Unavailable(_))));
}

#[tokio::test]
async fn a_missing_secret_is_requested_once_per_poll() {
    let (vault, client, _jwt) = client(|asked| match asked.line.as_str() {
        MOUNTS => mounted("kv/teams/", "2"),
        _ => (404, json!({ "errors": [] })),
    })
    .await;
    for looks in 1..=3 {
        refusal_of(client.read(&reference(PATH), None).await);
        assert_eq!(vault.asked(DATA).len(), looks);
        assert!(client.known_mount(PATH).is_some(), "the mount is the same");
    }
}

#[tokio::test]
async fn a_mount_that_was_upgraded_to_version_2_is_noticed() {
    let upgraded = std::sync::Arc::new(Mutex::new(false));
    let now = upgraded.clone();
    let (_vault, client, _jwt) = client(move |asked| {
        let upgraded = *now.lock().unwrap();
        match (upgraded, asked.line.as_str()) {
            (false, MOUNTS) => mounted("kv/teams/", "1"),
            (true, MOUNTS) => mounted("kv/teams/", "2"),
            (false, "GET kv/teams/acme/openai") => {
                (200, json!({ "data": { "api_key": "before" } }))
            }
            (true, DATA) => version_2(1, json!({ "api_key": "after" })),
            _ => (404, json!({ "errors": [] })),
        }
    })
    .await;
    let (version, value) = secret(client.read(&reference(PATH), None).await);
    assert_eq!(value, "before");
    *upgraded.lock().unwrap() = true;
    let after = secret(client.read(&reference(PATH), Some(&version)).await);
    assert_eq!(after, ("1".to_owned(), "after".to_owned()));
}

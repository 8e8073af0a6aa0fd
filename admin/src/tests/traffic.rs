//! What a provider makes of a key in traffic, as the API shows it.

use keyside_config::EnvironmentPin;
use keyside_credentials::{CredentialQuery, Grant, RejectionCause};

use super::*;

pub(super) fn grant(api: &Api) -> Grant {
    let query = CredentialQuery {
        workspace: "acme",
        provider: "openai",
        label: None,
        environment: None,
        pin: EnvironmentPin::Any,
    };
    api.registry.resolver().resolve(&query).unwrap()
}

#[tokio::test]
async fn a_rejection_is_shown_and_blocks_no_change() {
    let api = Api::with_workspace().await;
    let made = api.post(CREDENTIALS, &new_credential(json!({}))).await;
    let ok = json!({ "state": "ok", "since": null, "count": 0, "cause": null });
    assert_eq!(made.json()["traffic"], ok);
    let path = format!("{CREDENTIALS}/{}", made.id());
    let tag = made.header("etag").to_owned();
    grant(&api).rejected(RejectionCause::WrongKey);
    grant(&api).rejected(RejectionCause::NoFunds);
    for view in [
        api.get(&path).await.json(),
        api.get(CREDENTIALS).await.json()["items"][0].clone(),
    ] {
        let traffic = &view["traffic"];
        assert_eq!(traffic["state"], "rejected");
        assert_eq!(traffic["count"], 2);
        assert_eq!(traffic["cause"], "no_funds");
        assert!(traffic["since"].is_string(), "{traffic}");
        assert_eq!(view["status"], "active", "requests still use it");
    }
    // The representation is another one, but nobody has changed the credential.
    let shown = api.get(&path).await;
    assert_ne!(shown.header("etag"), tag);
    let edit = api
        .request("PATCH", &path)
        .header("content-type", "application/json")
        .header("if-match", tag);
    let body = json!({ "usageTag": "ci" }).to_string();
    let edited = api.send_body(edit, body.into()).await;
    assert_eq!(edited.status, StatusCode::OK, "{}", edited.body);
    assert_eq!(edited.json()["traffic"]["state"], "rejected");
    grant(&api).accepted();
    assert_eq!(api.get(&path).await.json()["traffic"], ok);
}

//! Runs the KMS contract suite over Transit, in the Vault that the environment names. `tests/vault`
//! starts this with a real OpenBao.

use std::sync::Arc;

use keyside_config::{Kms, Settings, Sources, TransitKms};
use keyside_credentials::kms::contract;
use keyside_vault::{Transit, Vault};

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let _ = rustls::crypto::ring::default_provider().install_default();
    let settings = Settings::load(&Sources::from_process(None)).expect("settings");
    let (Kms::Vault(transit), Some(vault)) = (settings.settings.kms, settings.settings.vault)
    else {
        panic!("expected KMS_DRIVER=vault");
    };
    let vault = Vault::open(&vault).expect("a Vault");
    let other = TransitKms {
        key_prefix: format!("{}other-", transit.key_prefix),
        ..transit.clone()
    };
    let service = |settings: &TransitKms| Arc::new(Transit::new(vault.clone(), settings, true));
    contract::upheld_by(service(&transit), service(&other)).await;
    println!("upheld");
}

//! KMS settings: each driver accepts only its own, and the master key only by location.

use super::*;
use crate::TransitKms;

fn local(master_key: MasterKeySource) -> Kms {
    Kms::Local(LocalKms {
        master_key,
        previous_master_key: None,
    })
}

#[test]
fn the_master_key_is_shown_by_location_and_never_by_value() {
    let Loaded {
        settings,
        effective,
    } = load("", &[("KMS_MASTER_KEY", "c2VjcmV0")]).unwrap();
    assert_eq!(settings.kms, local(MasterKeySource::EnvironmentVariable));
    assert!(!format!("{settings:?}{effective:?}").contains("c2VjcmV0"));

    let Loaded { settings, .. } = load("", &[("KMS_MASTER_KEY_FILE", "/etc/key")]).unwrap();
    assert_eq!(
        settings.kms,
        local(MasterKeySource::File("/etc/key".into()))
    );

    let both = complaint(
        "[kms]\nmaster_key_file = '/etc/key'",
        &[("KMS_MASTER_KEY", "c2VjcmV0")],
    );
    assert_eq!(
        both,
        "k.toml:2: `kms.master_key_file`: KMS_MASTER_KEY is set too; keep one of the two"
    );
}

#[test]
fn the_generated_master_key_lies_beside_the_store_and_not_in_it() {
    let Loaded { settings, .. } = load("[store]\npath = '/var/lib/keyside/'", &[]).unwrap();
    assert_eq!(
        settings.kms,
        local(MasterKeySource::Generated(
            "/var/lib/keyside.master-key".into()
        ))
    );
}

#[test]
fn a_driver_accepts_only_its_own_settings() {
    let text = "[kms]\nmount = 'team/transit'\n[vault]\naddress = 'https://vault.test'\ntoken_file = '/run/token'";
    let Loaded { settings, .. } = load(text, &[("KMS_DRIVER", "vault")]).unwrap();
    let (mount, key_prefix) = ("team/transit".to_owned(), "keyside-".to_owned());
    assert_eq!(settings.kms, Kms::Vault(TransitKms { mount, key_prefix }));
    for (key, value, driver, of) in [
        ("mount", "transit", "local", "vault"),
        ("key_prefix", "k-", "aws", "vault"),
        ("master_key_file", "/etc/key", "vault", "local"),
        ("previous_master_key_file", "/etc/key", "gcp", "local"),
    ] {
        let text = format!("[kms]\ndriver = '{driver}'\n{key} = '{value}'");
        let expected = format!("k.toml:3: `kms.{key}`: it belongs to kms.driver = \"{of}\"");
        let complaint = complaint(&text, &[]);
        assert!(complaint.starts_with(&expected), "{complaint}");
    }
    let variables = [("KMS_DRIVER", "vault"), ("KMS_MASTER_KEY", "c2VjcmV0")];
    let complaint = complaint("", &variables);
    assert!(
        complaint.contains("KMS_MASTER_KEY is set too"),
        "{complaint}"
    );
}

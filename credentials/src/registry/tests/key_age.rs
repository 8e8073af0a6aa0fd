//! How old the keys are, for metrics.

use std::time::Duration;

use super::{erasing::acme, *};
use crate::KeyAges;

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 86_400)
}

impl Installation {
    fn day(&self, day: i64) {
        self.clock.set(NOW + day * 86_400);
    }
}

#[tokio::test]
async fn a_key_is_as_old_as_its_last_rotation_across_restarts() {
    let (installation, registry) = Installation::with_acme().await;
    installation.day(3);
    let both = KeyAges {
        master: Some(days(3)),
        oldest_workspace: Some(days(3)),
    };
    assert_eq!(registry.key_ages(), both);
    let rotated = registry.rotate_workspace_key(&act(), &acme()).await;
    rotated.unwrap();
    installation.day(4);
    let ages = KeyAges {
        master: Some(days(4)),
        oldest_workspace: Some(days(1)),
    };
    assert_eq!(registry.key_ages(), ages);
    drop(registry);
    assert_eq!(installation.open().await.key_ages(), ages);
}

#[tokio::test]
async fn the_oldest_workspace_key_counts() {
    let (installation, registry) = Installation::with_acme().await;
    installation.day(2);
    let (by, globex) = (act(), workspace("globex"));
    registry.create_workspace(&by, globex).await.unwrap();
    assert_eq!(registry.key_ages().oldest_workspace, Some(days(2)));
    let rotated = registry.rotate_workspace_key(&act(), &acme()).await;
    rotated.unwrap();
    assert_eq!(registry.key_ages().oldest_workspace, Some(days(0)));
}

#[tokio::test]
async fn without_a_workspace_there_is_no_workspace_key() {
    let registry = Installation::new().open().await;
    assert_eq!(registry.key_ages().oldest_workspace, None);
}

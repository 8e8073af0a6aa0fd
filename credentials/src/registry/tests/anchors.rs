//! Anchors that cannot be written.

use super::*;

#[tokio::test]
async fn an_anchor_that_could_not_be_written_is_counted_and_written_again() {
    let (installation, registry) = Installation::with_acme().await;
    assert_eq!(registry.anchors_behind(), 0);
    let anchor = installation.heads().join("workspace.acme");
    let before = fs::read(&anchor).unwrap();
    let lock = installation.heads().join(".lock");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    registry.add(&act(), key("a", "sk-acme-a")).await.unwrap();
    assert_eq!(registry.anchors_behind(), 1);
    registry.chains.write_anchors_behind().await;
    assert_eq!(registry.anchors_behind(), 1);
    assert_eq!(fs::read(&anchor).unwrap(), before);
    fs::remove_dir(&lock).unwrap();
    registry.chains.write_anchors_behind().await;
    assert_eq!(registry.anchors_behind(), 0);
    assert_ne!(fs::read(&anchor).unwrap(), before);
}

//! A key is rotated during requests: none of them fails, and none that begins afterwards uses the
//! old key.

use crate::harness::{Ask, KEY, Keyside, Upstream, eventually};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

/// Enough that several requests are in every step at any moment.
const CONNECTIONS: usize = 32;

#[test]
fn no_request_fails_in_a_rotation_and_none_after_it_uses_the_old_key() {
    let upstream = Upstream::ok();
    let keyside = Keyside::with_openai(&upstream.base_url());
    let credential = keyside.list().pop().expect("the key");
    let secrets: Vec<_> = ["", "a", "b", "c", "d", "e"]
        .map(|end| format!("{KEY}{end}"))
        .into();
    // How many rotations were acknowledged.
    let rotated = AtomicUsize::new(0);
    let answered = AtomicUsize::new(0);
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..CONNECTIONS {
            scope.spawn(|| {
                let mut wire = keyside.wire();
                while !done.load(Ordering::SeqCst) {
                    let after = rotated.load(Ordering::SeqCst).to_string();
                    let answer = wire.ask(&Ask::chat().header("X-After", after));
                    assert_eq!(answer.status(), 200, "{}", answer.text());
                    answered.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        for (number, secret) in secrets.iter().enumerate().skip(1) {
            let before = answered.load(Ordering::SeqCst);
            eventually("traffic on every connection", || {
                let since = answered.load(Ordering::SeqCst) - before;
                (since > 2 * CONNECTIONS).then_some(())
            });
            keyside.rotate(&credential, secret);
            rotated.store(number, Ordering::SeqCst);
        }
        done.store(true, Ordering::SeqCst);
    });
    for seen in upstream.requests() {
        let after: Option<usize> = seen.header("x-after").and_then(|after| after.parse().ok());
        let sent = seen.header("authorization").unwrap_or_default();
        let used = secrets
            .iter()
            .position(|secret| sent == format!("Bearer {secret}"));
        let (after, used) = (after.expect("a number"), used.expect("one of the keys"));
        assert!(used >= after, "key {used} after rotation {after}");
    }
    let metrics = keyside.metrics();
    assert!(metrics.contains("credential_rotations_total{provider=\"openai\"} 5"));
    assert!(metrics.contains("keyside_key_age_seconds{key=\"master\"} "));
    assert!(metrics.contains("keyside_key_age_seconds{key=\"workspace\"} "));
    assert!(metrics.contains("keyside_damaged_records{kind=\"credential\"} 0"));
}

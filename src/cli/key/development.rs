//! Advice on development keys, while one is added at a prompt. The person decides: no expiry is set
//! without `--expires-at`.

use jiff::SignedDuration;
use keyside_credentials::{Clock, CredentialId, SystemClock};

use super::{Console, Provider};
use crate::terminal::printable;

/// Says what to create or limit at the provider. The text comes from the server.
pub(super) fn print_steps(provider: &Provider, console: &Console) {
    let steps = &provider.development.steps;
    if steps.is_empty() {
        return;
    }
    let heading = format!("A key of {} for development:", provider.name);
    console.note(printable(&heading));
    for step in steps {
        console.note(printable(&format!("- {step}")));
    }
}

/// Says how to set the suggested expiry of a key that was stored without one.
pub(super) fn print_expiry(provider: &Provider, id: &CredentialId, console: &Console) {
    let Some(days) = provider.development.expires_in_days else {
        return;
    };
    let lifetime = SignedDuration::from_hours(24 * i64::from(days));
    let Ok(end) = SystemClock.now().checked_add(lifetime) else {
        return;
    };
    let day = end.strftime("%Y-%m-%d");
    console.note(format_args!(
        "  next: `keyside key edit {id} --expires-at {day}` lets it expire after {days} days, as is suggested for development."
    ));
}

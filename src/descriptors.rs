//! How many files the process may have open: raised as far as the system lets it, and shared out so that clients of the
//! proxy leave room for revoking a key, for metrics, and for the store.

use keyside_config::Limits;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::io;

/// Raises the limit on open files to the hard one, and returns it.
///
/// # Errors
/// When the system refuses.
pub(crate) fn raise_limit() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// Lowers what the settings ask for to what `open_files` has room for: client connections get half of it, upstream
/// connections the other half. Logs what it lowers.
pub(crate) fn lower_limits(limits: &mut Limits, open_files: u64) {
    let half = open_files.saturating_sub(RESERVED) / 2;
    let half = usize::try_from(half).unwrap_or(usize::MAX).max(1);
    for (setting, asked) in [
        ("connections", &mut limits.connections),
        ("upstream_connections", &mut limits.upstream_connections),
    ] {
        if *asked > half {
            tracing::warn!(
                asked = *asked,
                fitting = half,
                open_files,
                "proxy.limits.{setting} is lowered to what the limit on open files has room for: raise the hard limit \
                 (ulimit -Hn, LimitNOFILE=), or ask for fewer"
            );
            *asked = half;
        }
    }
}

/// Both of the other listeners full, twice what the store, the logs and the runtimes hold open, clients that are told
/// that there is no place for them, and look-ups of names.
const RESERVED: u64 = 2 * crate::web::CONNECTIONS as u64 + 128;

#[cfg(test)]
mod tests {
    use super::*;
    use keyside_config::{Settings, Sources};

    fn fitted(open_files: u64) -> (usize, usize) {
        let settings = Settings::load(&Sources::default()).unwrap().settings;
        let mut limits = settings.proxy.limits;
        lower_limits(&mut limits, open_files);
        (limits.connections, limits.upstream_connections)
    }

    #[test]
    fn what_fits_is_left_as_it_was_asked_for() {
        for open_files in [1_048_576, u64::MAX] {
            assert_eq!(fitted(open_files), (10_000, 10_000));
        }
    }

    #[test]
    fn clients_and_upstreams_leave_room_for_the_rest_of_the_process() {
        for open_files in [1_024, 4_096, 20_000] {
            let (clients, upstreams) = fitted(open_files);
            let all = (clients + upstreams) as u64 + RESERVED;
            assert!(all <= open_files, "{open_files}: {clients} and {upstreams}");
        }
        assert_eq!(fitted(0), (1, 1));
    }
}

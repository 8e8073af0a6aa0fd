//! Raises the limit on open files as far as the system allows, and divides it so that the proxy's
//! clients leave room for the admin API, metrics and the store.

use std::io;

use keyside_config::Limits;
use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit on open files to the hard limit, and returns it.
pub(crate) fn raise_limit() -> io::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    if soft < hard {
        setrlimit(Resource::RLIMIT_NOFILE, hard, hard)?;
    }
    Ok(hard)
}

/// Lowers the connection limits to what `open_files` permits: half for clients and half for
/// upstreams. Logs each limit that it lowers.
pub(crate) fn lower_limits(limits: &mut Limits, open_files: u64) {
    let half = open_files.saturating_sub(RESERVED) / 2;
    let half = usize::try_from(half).unwrap_or(usize::MAX).max(1);
    for (setting, limit) in [
        ("connections", &mut limits.connections),
        ("upstream_connections", &mut limits.upstream_connections),
    ] {
        if *limit > half {
            tracing::warn!(
                asked = *limit,
                fitting = half,
                open_files,
                "proxy.limits.{setting} is lowered to fit the limit on open files: raise the hard \
                 limit (ulimit -Hn, LimitNOFILE=), or configure fewer"
            );
            *limit = half;
        }
    }
}

/// Reserved: full admin and observe listeners, twice what the store, logs and runtimes hold open,
/// clients that are rejected at the limit, and DNS lookups.
const RESERVED: u64 = 2 * crate::web::CONNECTIONS as u64 + 128;

#[cfg(test)]
mod tests {
    use keyside_config::{Settings, Sources};

    use super::*;

    fn fitted(open_files: u64) -> (usize, usize) {
        let settings = Settings::load(&Sources::default()).unwrap().settings;
        let mut limits = settings.proxy.limits;
        lower_limits(&mut limits, open_files);
        (limits.connections, limits.upstream_connections)
    }

    #[test]
    fn limits_that_fit_are_not_lowered() {
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

//! How many files the process may have open: raised as far as the system lets it, and shared out so that clients of the
//! proxy leave room for revoking a key, for metrics, and for the store.

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

/// As many of the clients `asked` for as `limit` open files have room for. Said in the log when it is fewer.
pub(crate) fn fit(asked: usize, limit: u64) -> usize {
    let fitting = room_for_clients(limit);
    if fitting >= asked {
        return asked;
    }
    tracing::warn!(
        asked,
        fitting,
        open_files = limit,
        "proxy.limits.connections is lowered to what the limit on open files has room for: raise the hard limit \
         (ulimit -Hn, LimitNOFILE=), or ask for fewer"
    );
    fitting
}

/// A client's request needs a connection to the provider too.
fn room_for_clients(limit: u64) -> usize {
    let each = limit.saturating_sub(RESERVED) / 2;
    usize::try_from(each).unwrap_or(usize::MAX).max(1)
}

/// Both of the other listeners full, and twice what the store, the logs and the runtimes hold open.
const RESERVED: u64 = 2 * crate::web::CONNECTIONS as u64 + 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fits_is_left_as_it_was_asked_for() {
        assert_eq!(fit(10_000, 1_048_576), 10_000);
        assert_eq!(fit(10_000, u64::MAX), 10_000);
    }

    #[test]
    fn two_files_a_client_leave_room_for_the_rest_of_the_process() {
        for limit in [1_024, 4_096, 20_000] {
            let clients = fit(10_000, limit) as u64;
            assert!(2 * clients + RESERVED <= limit, "{limit}: {clients}");
        }
        assert_eq!(fit(10_000, 0), 1);
    }
}

//! Process hardening: keeps keys from leaving through the operating system.

use nix::{
    errno::Errno,
    sys::{
        prctl,
        resource::{Resource, setrlimit},
    },
};

/// Disables core dumps and makes the process undumpable, so that neither a crash nor another
/// process of the same user exposes its memory. Call it before any key is read.
///
/// # Errors
/// The system refused.
pub fn harden() -> Result<(), HardenError> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0).map_err(HardenError::CoreLimit)?;
    prctl::set_dumpable(false).map_err(HardenError::Dumpable)
}

/// What the system refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HardenError {
    /// The core size limit is unchanged.
    #[error("core dumps could not be turned off: {0}")]
    CoreLimit(Errno),
    /// The process is still dumpable.
    #[error("the process could not be made undumpable: {0}")]
    Dumpable(Errno),
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::resource::getrlimit;

    #[test]
    fn a_hardened_process_leaves_no_core_and_cannot_be_dumped() {
        harden().unwrap();
        assert_eq!(getrlimit(Resource::RLIMIT_CORE), Ok((0, 0)));
        assert_eq!(prctl::get_dumpable(), Ok(false));
    }
}

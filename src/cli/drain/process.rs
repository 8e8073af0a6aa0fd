//! Finds the running Keyside among the processes of this user, from what every process may read in
//! /proc. Its sockets are not part of that, and its executable only for a process that is not
//! hardened.

use std::{
    env,
    ffi::{OsStr, OsString},
    fs,
    os::unix::{ffi::OsStrExt, fs::MetadataExt},
    path::{Path, PathBuf},
    process,
};

use clap::Parser;
use nix::unistd::getuid;

use crate::{
    cli::{Cli, Command},
    failure::Failure,
};

/// The process id of the only running Keyside of this user.
pub(super) fn find() -> Result<i32, Failure> {
    let program = program();
    let processes = fs::read_dir("/proc").map_err(Failure::failed)?;
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let mut found: Vec<u32> = pids
        .filter(|&pid| pid != process::id() && is_ours(pid) && is_keyside(pid, &program))
        .collect();
    found.sort_unstable();
    match found[..] {
        [pid] => i32::try_from(pid).map_err(Failure::failed),
        [] => Err(Failure::failed("expected a running Keyside of this user, found none")
            .next("Give its process id with --pid. In a container, run this in the container that Keyside runs in.")),
        _ => Err(Failure::failed(format!(
            "expected one running Keyside of this user, found the processes {found:?}"
        ))
        .next("Give the process id of one with --pid.")),
    }
}

/// Returns the process id if it is that of a Keyside: SIGUSR1 ends any process that does not handle
/// it. Another user's may be named, and the kernel decides who may signal it.
pub(super) fn expect_keyside(pid: i32) -> Result<i32, Failure> {
    match u32::try_from(pid).is_ok_and(|pid| is_keyside(pid, &program())) {
        true => Ok(pid),
        false => Err(Failure::failed(format!(
            "process {pid} is no `keyside serve` or `keyside proxy`; nothing was signalled"
        ))
        .next("Give the process id of the running Keyside with --pid, or leave it out.")),
    }
}

/// The file name that this process was started by.
fn program() -> OsString {
    let program = env::args_os().next().map(PathBuf::from);
    let program = program.as_deref().and_then(Path::file_name);
    program.unwrap_or_else(|| OsStr::new("keyside")).to_owned()
}

fn is_ours(pid: u32) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status"));
    status.is_ok_and(|status| real_user(&status) == Some(getuid().as_raw()))
}

/// The first of the four numbers is the real user id (proc_pid_status(5)).
fn real_user(status: &str) -> Option<u32> {
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().next()?.parse().ok()
}

fn is_keyside(pid: u32, program: &OsStr) -> bool {
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| {
        let program = match has_our_executable(pid) {
            true => None,
            false => Some(program),
        };
        serves(&line, program)
    })
}

/// Whether it runs the same file as this process, by whatever name. `false` if that is hidden.
fn has_our_executable(pid: u32) -> bool {
    let file = |process: &str| {
        let file = fs::metadata(format!("/proc/{process}/exe")).ok()?;
        Some((file.dev(), file.ino()))
    };
    let ours = file("self");
    ours.is_some() && ours == file(&pid.to_string())
}

/// Whether a command line, with a zero byte after each argument, is `program` (`None` for any name)
/// with a command that serves requests.
fn serves(command_line: &[u8], program: Option<&OsStr>) -> bool {
    let arguments = command_line.strip_suffix(&[0]).unwrap_or(command_line);
    let arguments = arguments.split(|byte| *byte == 0).map(OsStr::from_bytes);
    let first = arguments.clone().next().map(Path::new);
    if program.is_some() && first.and_then(Path::file_name) != program {
        return false;
    }
    let parsed = Cli::try_parse_from(arguments);
    parsed.is_ok_and(|cli| matches!(cli.command, Command::Serve | Command::Proxy | Command::Demo))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_recognised_by_its_program_and_its_command() {
        let keyside = OsStr::new("keyside");
        for (line, expected) in [
            ("keyside\0serve\0", true),
            (
                "/usr/local/bin/keyside\0proxy\0--config\0/etc/keyside/keyside.toml\0",
                true,
            ),
            ("keyside\0--config\0k.toml\0demo\0", true),
            ("keyside\0workspace\0add\0serve\0", false),
            ("keyside\0drain\0", false),
            ("keyside\0--config\0serve\0check\0", false),
            ("other\0serve\0", false),
            ("keyside-old\0serve\0", false),
            ("", false),
        ] {
            assert_eq!(serves(line.as_bytes(), Some(keyside)), expected, "{line:?}");
        }
        let renamed = b"keyside-old\0serve\0";
        assert!(
            serves(renamed, None),
            "the same executable, by another name"
        );
        assert!(!serves(b"", None));
    }

    #[test]
    fn the_user_is_the_real_one() {
        let status = "Name:\tkeyside\nUid:\t65532\t0\t0\t0\nGid:\t1\t1\t1\t1\n";
        assert_eq!(real_user(status), Some(65532));
        assert_eq!(real_user("Name:\tkeyside\n"), None);
    }
}

//! Finds the running Keyside among the processes of this user, from what every process may read in
//! /proc. Its executable and its sockets are not part of that: a hardened process hides them.

use std::{
    env,
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    path::{Path, PathBuf},
    process,
};

use clap::Parser;
use nix::unistd::getuid;

use crate::{
    cli::{Cli, Command},
    failure::{Failure, failed},
};

/// The process id of the only running Keyside of this user.
///
/// # Errors
/// If there is none, or more than one.
pub(super) fn find() -> Result<i32, Failure> {
    let program = env::args_os().next().map(PathBuf::from);
    let program = program.as_deref().and_then(Path::file_name);
    let program = program.unwrap_or_else(|| OsStr::new("keyside"));
    let processes = fs::read_dir("/proc").map_err(failed)?;
    let pids = processes.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let mut found: Vec<u32> = pids
        .filter(|&pid| pid != process::id() && is_ours(pid) && is_keyside(pid, program))
        .collect();
    found.sort_unstable();
    match found[..] {
        [pid] => i32::try_from(pid).map_err(failed),
        [] => Err(Failure::failed("expected a running Keyside of this user, found none")
            .next("Give its process id with --pid. In a container, run this in the container that Keyside runs in.")),
        _ => Err(Failure::failed(format!(
            "expected one running Keyside of this user, found the processes {found:?}"
        ))
        .next("Give the process id of one with --pid.")),
    }
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
    fs::read(format!("/proc/{pid}/cmdline")).is_ok_and(|line| serves(&line, program))
}

/// Whether a command line, with a zero byte after each argument, is `program` with a command that
/// serves requests.
fn serves(command_line: &[u8], program: &OsStr) -> bool {
    let arguments = command_line.strip_suffix(&[0]).unwrap_or(command_line);
    let arguments = arguments.split(|byte| *byte == 0).map(OsStr::from_bytes);
    let first = arguments.clone().next().map(Path::new);
    if first.and_then(Path::file_name) != Some(program) {
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
            assert_eq!(serves(line.as_bytes(), keyside), expected, "{line:?}");
        }
    }

    #[test]
    fn the_user_is_the_real_one() {
        let status = "Name:\tkeyside\nUid:\t65532\t0\t0\t0\nGid:\t1\t1\t1\t1\n";
        assert_eq!(real_user(status), Some(65532));
        assert_eq!(real_user("Name:\tkeyside\n"), None);
    }
}

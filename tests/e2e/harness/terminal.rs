//! A terminal with a user: the command's controlling terminal, whose output the test can read.

use std::{
    fs::File,
    io::{Read, Write},
    os::fd::AsFd,
    process::{Child, Command, Stdio},
};

use nix::{
    poll::{PollFd, PollFlags, PollTimeout, poll},
    pty::{OpenptyResult, openpty},
};

use super::PATIENCE;

/// A command on a terminal of its own; dropping it kills it.
pub struct Terminal {
    person: File,
    child: Child,
    shown: String,
}

/// Makes its standard input the command's controlling terminal (setsid(1)).
pub const LAUNCHER: [&str; 2] = ["/usr/bin/setsid", "--ctty"];

impl Terminal {
    /// `command` begins with [`LAUNCHER`].
    pub fn open(mut command: Command) -> Self {
        let OpenptyResult { master, slave } = openpty(None, None).expect("a terminal");
        let end = || Stdio::from(slave.try_clone().expect("a descriptor"));
        command.stdin(end()).stdout(end()).stderr(end());
        let child = command.spawn();
        let child = child.unwrap_or_else(|error| panic!("{command:?}: {error}"));
        // Dropping the command closes this process's ends of the terminal, so the child's exit
        // closes it.
        drop((command, slave));
        Self {
            person: File::from(master),
            child,
            shown: String::new(),
        }
    }

    /// Waits until `part` is shown, and returns everything so far.
    pub fn until(&mut self, part: &str) -> String {
        while !self.shown.contains(part) {
            assert!(self.read_on(), "no {part:?} in {:?}", self.shown);
        }
        self.shown.clone()
    }

    /// Types a line.
    pub fn type_line(&mut self, line: &str) {
        let typed = self.person.write_all(format!("{line}\r").as_bytes());
        typed.expect("a terminal");
    }

    /// Waits for the command to exit; returns its exit status and everything that was shown.
    pub fn end(mut self) -> (Option<i32>, String) {
        while self.read_on() {}
        let status = self.child.wait().expect("a child");
        (status.code(), self.shown.clone())
    }

    /// Reads more output; `false` at the end, which is an error on Linux (EIO).
    fn read_on(&mut self) -> bool {
        let mut watched = [PollFd::new(self.person.as_fd(), PollFlags::POLLIN)];
        let patience = PollTimeout::try_from(PATIENCE).expect("a short time");
        let ready = poll(&mut watched, patience).expect("a terminal");
        assert!(
            ready > 0,
            "nothing more within {PATIENCE:?}: {:?}",
            self.shown
        );
        let mut block = [0; 8192];
        let read = self.person.read(&mut block).unwrap_or(0);
        self.shown
            .push_str(&String::from_utf8_lossy(&block[..read]));
        read > 0
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

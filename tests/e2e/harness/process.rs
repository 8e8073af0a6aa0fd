//! The binary as a child process: start it, watch its output, signal it, reap it.

use std::{
    io::{Read, Write},
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Condvar, Mutex},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use serde_json::Value;

/// A running process whose output is collected as it comes.
pub struct Process {
    child: Child,
    stdout: Arc<Output>,
    stderr: Arc<Output>,
    pumps: Vec<JoinHandle<()>>,
}

/// A process's exit status and output.
#[derive(Clone, Debug)]
pub struct Exit {
    /// The exit status; `None` when a signal ended it.
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

/// One output stream, so far.
#[derive(Default)]
struct Output {
    state: Mutex<(Vec<u8>, bool)>,
    changed: Condvar,
}

impl Process {
    pub fn spawn(command: &mut Command, stdin: Option<&[u8]>) -> Self {
        let input = if stdin.is_some() {
            Stdio::piped()
        } else {
            Stdio::null()
        };
        command
            .stdin(input)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|error| panic!("{command:?}: {error}"));
        if let (Some(bytes), Some(mut pipe)) = (stdin, child.stdin.take()) {
            let _ = pipe.write_all(bytes);
        }
        let (stdout, stderr) = (Arc::default(), Arc::default());
        let pumps = vec![
            pump(child.stdout.take().expect("a pipe"), &stdout),
            pump(child.stderr.take().expect("a pipe"), &stderr),
        ];
        Self {
            child,
            stdout,
            stderr,
            pumps,
        }
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn stdout(&self) -> String {
        self.stdout.text()
    }

    pub fn stderr(&self) -> String {
        self.stderr.text()
    }

    /// Waits for the first log line that `wanted` accepts; `None` if the stream ends without one.
    pub fn log_line(&self, wanted: impl Fn(&Value) -> bool) -> Option<Value> {
        let find = |text: &[u8]| {
            let whole = text
                .split_inclusive(|byte| *byte == b'\n')
                .filter(|l| l.ends_with(b"\n"));
            whole
                .filter_map(|line| serde_json::from_slice(line).ok())
                .find(|line| wanted(line))
        };
        self.stderr.wait_for(find)
    }

    pub fn signal(&self, signal: Signal) {
        let pid = i32::try_from(self.child.id()).expect("a process id");
        let _ = kill(Pid::from_raw(pid), signal);
    }

    /// Waits for the end, as long as `limit`; the process must end by itself within it.
    pub fn exit_within(&mut self, limit: Duration) -> Exit {
        let deadline = Instant::now() + limit;
        self.stderr.wait_closed(deadline);
        self.stdout.wait_closed(deadline);
        let late = Instant::now() >= deadline;
        assert!(!late, "still running after {limit:?}:\n{}", self.stderr());
        let status = self.child.wait().expect("a child");
        self.collected(status)
    }

    /// Kills it.
    pub fn kill(&mut self) -> Exit {
        let _ = self.child.kill();
        let status = self.child.wait().expect("a child");
        self.collected(status)
    }

    fn collected(&mut self, status: ExitStatus) -> Exit {
        for pump in self.pumps.drain(..) {
            pump.join().expect("a reader of output");
        }
        let (code, signal) = (status.code(), status.signal());
        Exit {
            code,
            signal,
            stdout: self.stdout(),
            stderr: self.stderr(),
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            let output = self.stderr();
            let from = output
                .char_indices()
                .rev()
                .nth(6000)
                .map_or(0, |(at, _)| at);
            eprintln!("--- output of keyside:\n{}---", &output[from..]);
        }
    }
}

impl Output {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.state.lock().expect("no panic").0).into_owned()
    }

    fn wait_for<T>(&self, find: impl Fn(&[u8]) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + super::PATIENCE;
        let mut state = self.state.lock().expect("no panic");
        loop {
            let found = find(&state.0);
            if found.is_some() || state.1 {
                return found;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            let output = String::from_utf8_lossy(&state.0).into_owned();
            assert!(
                !left.is_zero(),
                "not printed in time; its output:\n{output}"
            );
            state = self.changed.wait_timeout(state, left).expect("no panic").0;
        }
    }

    fn wait_closed(&self, deadline: Instant) {
        let left = deadline.saturating_duration_since(Instant::now());
        let state = self.state.lock().expect("no panic");
        let open = |state: &mut (Vec<u8>, bool)| !state.1;
        drop(
            self.changed
                .wait_timeout_while(state, left, open)
                .expect("no panic"),
        );
    }
}

fn pump(mut from: impl Read + Send + 'static, to: &Arc<Output>) -> JoinHandle<()> {
    let to = Arc::clone(to);
    thread::spawn(move || {
        let mut block = [0; 8192];
        loop {
            let got = from.read(&mut block).unwrap_or(0);
            let mut state = to.state.lock().expect("no panic");
            state.0.extend_from_slice(&block[..got]);
            state.1 = got == 0;
            to.changed.notify_all();
            if got == 0 {
                return;
            }
        }
    })
}

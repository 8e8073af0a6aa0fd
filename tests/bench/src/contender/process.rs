//! A child process, pinned to its core, which never outlives the benchmark.

use std::{
    fs::File,
    path::Path,
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use tokio::time::sleep;

/// The core of the process under test. `run.sh` puts the bench itself on another.
const CORE: &str = "0";

/// The usual limit of a login shell or service manager. A contender that needs more raises it; the
/// benchmark's own limit must not help it.
const USUAL_OPEN_FILES: &str = "--nofile=1024:";

/// A running child.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts `program` pinned to the core under test; what it prints on standard error goes to the
    /// file `log`.
    pub(crate) fn start(program: &Path, arguments: &[&str], log: &Path) -> Result<Self> {
        let child = Command::new("taskset")
            .args(["-c", CORE, "prlimit", USUAL_OPEN_FILES])
            .arg(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(File::create(log)?)
            .spawn()
            .with_context(|| {
                format!(
                    "cannot start {} under taskset (Debian: util-linux)",
                    program.display()
                )
            })?;
        Ok(Self { child })
    }

    /// Its pid: taskset and prlimit replace themselves by the program.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error with its log if it has ended already.
    pub(crate) fn must_run(&mut self, log: &Path) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("it ended with {status}:\n{}", std::fs::read_to_string(log)?);
        }
        Ok(())
    }

    /// SIGTERM, then SIGKILL after five seconds.
    pub(crate) async fn stop(mut self) -> Result<()> {
        self.signal(Signal::SIGTERM);
        let patience = Instant::now() + Duration::from_secs(5);
        while self.child.try_wait()?.is_none() {
            if Instant::now() > patience {
                eprintln!(
                    "pid {} was still there five seconds after SIGTERM",
                    self.pid()
                );
                self.child.kill()?;
                break;
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    fn signal(&self, signal: Signal) {
        if let Ok(pid) = i32::try_from(self.pid()) {
            // It may have exited already, as intended.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

impl Drop for Process {
    /// Not SIGKILL, even after an error: nginx's master stops its worker only on SIGTERM.
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::SIGTERM);
            let _ = self.child.wait();
        }
    }
}

//! A small ext4 file system in a file, mounted as the data folder. Tests can cut its power.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use super::Builder;

/// A mounted disk; dropping it unmounts and detaches it.
pub struct LoopDisk {
    folder: PathBuf,
    device: String,
    /// Waits for a line to cut the power: at once, not when an interpreter has started.
    switch: Option<Child>,
    /// Keeps the mount folder until it is unmounted.
    _home: Builder,
}

impl LoopDisk {
    /// Creates and mounts one if this machine allows it; otherwise prints why on standard error and
    /// returns `None`.
    pub fn under(builder: &Builder) -> Option<Self> {
        Self::try_under(builder)
            .inspect_err(|why| {
                eprintln!(
                    "\n*** NOT SHOWN HERE: a power cut. It needs root, a loop device, ext4, mkfs.ext4 and python3: {why} ***\n"
                );
            })
            .ok()
    }

    fn try_under(builder: &Builder) -> Result<Self, String> {
        if !nix::unistd::geteuid().is_root() {
            return Err("this user is not root".to_owned());
        }
        run("python3", &["-c", "import fcntl"])?;
        let (image, folder) = (builder.home().join("disk"), builder.home().join("data"));
        let file = File::create(&image).map_err(|error| error.to_string())?;
        file.set_len(SIZE).map_err(|error| error.to_string())?;
        run("mkfs.ext4", &["-q", "-F", text(&image)])?;
        fs::create_dir(&folder).map_err(|error| error.to_string())?;
        let device = run("losetup", &["--find", "--show", text(&image)])?;
        let mut disk = Self {
            folder,
            device: device.trim().to_owned(),
            switch: None,
            _home: builder.clone(),
        };
        disk.mount()?;
        Ok(disk)
    }

    /// Shuts the file system down: everything that is not on disk is lost, including its journal.
    /// From then on writes to it fail.
    pub fn cut_power(&mut self) {
        let mut switch = self.switch.take().expect("power to cut");
        let mut line = switch.stdin.take().expect("a pipe");
        line.write_all(b"\n").expect("a process that listens");
        drop(line);
        let cut = switch.wait_with_output().expect("a child");
        assert!(cut.status.success(), "{cut:?}");
    }

    /// Mounts it again. No process may have a file on it open.
    pub fn restore_power(&mut self) {
        run("umount", &[text(&self.folder)])
            .and_then(|_| self.mount())
            .unwrap_or_else(|why| panic!("{why}"));
    }

    fn mount(&mut self) -> Result<(), String> {
        run("mount", &["-t", "ext4", &self.device, text(&self.folder)])?;
        let switch = Command::new("python3")
            .args(["-c", CUT_POWER, text(&self.folder)])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        self.switch = Some(switch.map_err(|error| error.to_string())?);
        Ok(())
    }
}

impl Drop for LoopDisk {
    fn drop(&mut self) {
        if let Some(mut switch) = self.switch.take() {
            let _ = switch.kill();
            let _ = switch.wait();
        }
        let _ = run("umount", &["-l", text(&self.folder)]);
        let _ = run("losetup", &["-d", &self.device]);
    }
}

/// Runs a system program, also from root's program folders, and returns its output.
fn run(program: &str, arguments: &[&str]) -> Result<String, String> {
    let script = r#"PATH="$PATH:/usr/sbin:/sbin"; exec "$0" "$@""#;
    let ended = Command::new("/bin/sh")
        .args(["-c", script, program])
        .args(arguments)
        .output();
    let Output {
        status,
        stdout,
        stderr,
    } = ended.map_err(|error| error.to_string())?;
    match status.success() {
        true => Ok(String::from_utf8_lossy(&stdout).into_owned()),
        false => Err(format!(
            "{program}: {}",
            String::from_utf8_lossy(&stderr).trim()
        )),
    }
}

fn text(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// `EXT4_IOC_SHUTDOWN` with `EXT4_GOING_FLAGS_NOLOGFLUSH` (fs/ext4/ext4.h): an ioctl, which takes
/// `unsafe` in Rust.
const CUT_POWER: &str = "
import fcntl, os, struct, sys
sys.stdin.readline()
fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 2))
";

/// Space for a store through hundreds of power cuts, in addition to its reserve. The file is
/// sparse.
const SIZE: u64 = 512 << 20;

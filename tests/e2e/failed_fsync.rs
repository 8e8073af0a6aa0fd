//! A failed fsync is final: Linux reports it once and marks the pages clean, so the next fsync
//! would succeed. These tests make the C library's calls fail while a file says so.

use crate::disk_full::{check_recorded, check_refused, try_key};
use crate::harness::{Ask, Builder, CREDENTIALS, Keyside, Message, Upstream, eventually, expect};
use serde_json::json;
use std::fs;
use std::path::PathBuf;
use std::process::Command;

#[test]
fn a_store_that_was_not_synced_takes_no_change_before_a_restart_and_serves_on() {
    for (what, is_large) in [("/store/db", false), ("/store/objects", true)] {
        let upstream = Upstream::wanting_key();
        let (builder, fault) = failing(Keyside::builder(), &upstream);
        let keyside = builder.start().with_key();
        let view = keyside.list()[0].clone();
        fault.begin(what);
        let refused = match is_large {
            true => try_large_key(&keyside),
            false => try_key(&keyside, "in-doubt"),
        };
        check_refused(&refused);
        fault.end();
        // Every sync succeeds from here on.
        check_refused(&try_key(&keyside, "after"));
        let id = view["id"].as_str().expect("an id");
        let path = format!("{CREDENTIALS}/{id}");
        check_refused(&keyside.admin("DELETE", &path, None));
        assert_eq!(keyside.list()[0]["status"], "active");
        assert_eq!(keyside.ask(&Ask::chat()).status(), 200);
        // Run records are files of their own.
        check_recorded(&keyside);
        let ready = keyside.observed("/readyz");
        assert_eq!(ready.status(), 200, "{}", ready.text());
        assert!(ready.text().contains("\nstore: "), "{}", ready.text());
        assert!(keyside.metrics().contains("\nkeyside_store_failed 1\n"));
        keyside.log_line(|line| line.to_string().contains("until Keyside is restarted"));
        let (builder, exit) = keyside.stop();
        assert_eq!(exit.code, Some(0), "{exit:#?}");
        let keyside = builder.start();
        assert_eq!(keyside.ask(&Ask::chat()).status(), 200);
        assert_eq!(try_key(&keyside, "restarted").status(), 201);
        assert!(keyside.metrics().contains("\nkeyside_store_failed 0\n"));
        assert_eq!(keyside.observed("/readyz").text(), "ready\n");
    }
}

#[test]
fn run_records_that_are_not_synced_are_counted_and_stop_nothing() {
    let upstream = Upstream::wanting_key();
    let (builder, fault) = failing(Keyside::builder(), &upstream);
    let keyside = builder.start().with_key();
    let recorded = "\nkeyside_runs_unrecorded_total 0\n";
    assert!(keyside.metrics().contains(recorded), "it starts at 0");
    fault.begin("/store/runs");
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200);
    eventually("it is counted", || {
        (!keyside.metrics().contains(recorded)).then_some(())
    });
    let ready = keyside.observed("/readyz");
    assert_eq!(ready.status(), 200, "{}", ready.text());
    assert!(ready.text().contains("\nruns: "), "{}", ready.text());
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200);
    // Nor is anything else refused.
    assert_eq!(try_key(&keyside, "meanwhile").status(), 201);
    fault.end();
    eventually("records are written again", || {
        (keyside.observed("/readyz").text() == "ready\n").then_some(())
    });
    check_recorded(&keyside);
}

#[test]
fn requests_that_cannot_be_recorded_are_refused_where_the_settings_say_so() {
    let upstream = Upstream::wanting_key();
    let builder = Keyside::builder().set("runs.when_full", "\"refuse\"");
    let (builder, fault) = failing(builder, &upstream);
    let keyside = builder.start().with_key();
    check_recorded(&keyside);
    fault.begin("/store/runs");
    let refused = eventually("a request is refused", || {
        let answer = keyside.ask(&Ask::chat());
        (answer.status() != 200).then_some(answer)
    });
    expect::refused("unrecorded", &refused, 503, "store_unavailable");
    assert!(refused.header("retry-after").is_some());
    let heard = upstream.requests().len();
    assert_eq!(keyside.ask(&Ask::chat()).status(), 503);
    assert_eq!(upstream.requests().len(), heard, "it was sent all the same");
    let ready = keyside.observed("/readyz");
    assert_eq!(ready.status(), 503, "{}", ready.text());
    assert!(ready.text().contains("\nruns: "), "{}", ready.text());
    // An invalid request gets its own error.
    let unknown = keyside.ask(&Ask::chat().workspace("nobody"));
    assert_eq!(unknown.json()["code"], "workspace_unknown");
    fault.end();
    eventually("requests are served again", || {
        (keyside.ask(&Ask::chat()).status() == 200).then_some(())
    });
    check_recorded(&keyside);
    assert_eq!(keyside.observed("/readyz").text(), "ready\n");
}

/// As on some network and FUSE file systems. Small keys are in sled, large ones in files.
#[test]
fn a_file_system_that_cannot_sync_folders_is_used_after_one_warning() {
    let upstream = Upstream::wanting_key();
    let (builder, fault) = failing(Keyside::builder(), &upstream);
    fault.begin(FOLDERS);
    let keyside = builder.start().with_key();
    assert_eq!(try_large_key(&keyside).status(), 201);
    let (builder, exit) = keyside.stop();
    assert_eq!(exit.code, Some(0), "{exit:#?}");
    let warnings = exit.stderr.matches("cannot sync folders").count();
    assert_eq!(warnings, 1, "{exit:#?}");
    let keyside = builder.start();
    assert_eq!(keyside.ask(&Ask::chat()).status(), 200);
    assert_eq!(keyside.list().len(), 2);
    assert_eq!(try_key(&keyside, "restarted").status(), 201);
    assert!(keyside.metrics().contains("\nkeyside_store_failed 0\n"));
}

/// Too large for sled.
fn try_large_key(keyside: &Keyside) -> Message {
    let secret = format!("sk-proj-large-{}", "abcdefgh".repeat(1_000));
    keyside.try_add(&json!({
        "workspaceId": "acme", "provider": "openai", "label": "large", "secret": secret,
    }))
}

/// Controls whether calls fail.
struct Fault(PathBuf);

/// The fault of a file system without fsync for folders, with EINVAL.
const FOLDERS: &str = "folders";

impl Fault {
    /// From now on, syncing a file or folder whose path contains this text fails with EIO.
    fn begin(&self, what: &str) {
        let new = self.0.with_extension("new");
        fs::write(&new, what).expect("a writable folder");
        fs::rename(&new, &self.0).expect("a writable folder");
    }

    fn end(&self) {
        fs::remove_file(&self.0).expect("a fault that has begun");
    }
}

/// Keyside over a C library whose `fsync` and `fdatasync` fail while the fault says so.
fn failing(builder: Builder, upstream: &Upstream) -> (Builder, Fault) {
    let builder = builder.provider("openai", &upstream.base_url());
    let home = builder.home();
    let (source, library) = (home.join("fault.c"), home.join("fault.so"));
    let fault = home.join("fault");
    fs::write(&source, SOURCE).expect("a writable folder");
    let built = Command::new("cc")
        .args(["-shared", "-fPIC", "-o"])
        .args([&library, &source])
        .output()
        .expect("a C compiler, which building Keyside takes as well");
    assert!(built.status.success(), "{built:?}");
    let path = |path: &PathBuf| path.to_str().expect("a path in UTF-8").to_owned();
    let builder = builder
        .clone()
        .variable("LD_PRELOAD", &path(&library))
        .variable("FAULT", &path(&fault));
    (builder, Fault(fault))
}

/// Read at each call: what fails, if anything.
const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The error of the call, or 0. */
static int fault_of(int fd)
{
    struct stat folder;
    char what[256], link[64], path[4096];
    const char *file = getenv("FAULT");
    int fault = file ? open(file, O_RDONLY | O_CLOEXEC) : -1;
    if (fault < 0)
        return 0;
    ssize_t length = read(fault, what, sizeof what - 1);
    close(fault);
    if (length <= 0)
        return 0;
    what[length] = 0;
    if (!strcmp(what, "folders"))
        return !fstat(fd, &folder) && S_ISDIR(folder.st_mode) ? EINVAL : 0;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    length = readlink(link, path, sizeof path - 1);
    if (length < 0)
        return 0;
    path[length] = 0;
    return strstr(path, what) ? EIO : 0;
}

static int sync_by(long call, int fd)
{
    int fault = fault_of(fd);
    if (fault) {
        errno = fault;
        return -1;
    }
    return syscall(call, fd);
}

int fsync(int fd)
{
    return sync_by(SYS_fsync, fd);
}

int fdatasync(int fd)
{
    return sync_by(SYS_fdatasync, fd);
}
"#;

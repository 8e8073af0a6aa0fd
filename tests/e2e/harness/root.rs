//! Root privileges for tests that need them: real root, or root in the test's own namespaces.

use std::{env, process::Command, thread};

/// Whether the test continues here. If this user is not root, the test runs again in a process that
/// is root in its own namespaces, and passes if it passes there. On a system without user
/// namespaces it proves nothing, says so, and fails in CI.
pub fn runs_as_root() -> bool {
    if nix::unistd::geteuid().is_root() {
        return true;
    }
    let own = ["--user", "--map-root-user", "--mount"];
    let unshare = || {
        let mut command = Command::new("unshare");
        command.args(own);
        command
    };
    let may = unshare().arg("true").output();
    if !may.is_ok_and(|output| output.status.success()) {
        assert!(
            env::var_os("CI").is_none(),
            "needs root, or user namespaces"
        );
        eprintln!("not shown here: it needs root, or user namespaces");
        return false;
    }
    let this = thread::current();
    let name = this.name().expect("the test's name");
    let binary = env::current_exe().expect("a path");
    let again = unshare().arg(binary).args(["--exact", name]).output();
    let again = again.expect("unshare(1)");
    let output = String::from_utf8_lossy(&again.stdout);
    let passed = again.status.success() && output.contains("1 passed");
    assert!(passed, "{output}{}", String::from_utf8_lossy(&again.stderr));
    false
}

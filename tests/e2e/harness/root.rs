//! Root, for what only root may do: of the machine, or else of namespaces of the test's own.

use std::env;
use std::process::Command;
use std::thread;

/// Whether the test is to go on here. Where this user is not root, it runs once more in a process that is root in its own
/// namespaces, and passes if it passes there. A system that has none for users is said to show nothing, and fails in CI.
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
    let said = String::from_utf8_lossy(&again.stdout);
    let passed = again.status.success() && said.contains("1 passed");
    assert!(passed, "{said}{}", String::from_utf8_lossy(&again.stderr));
    false
}

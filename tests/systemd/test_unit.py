"""docs/examples/systemd: what systemd says about the unit, and what the unit starts."""

import os
import pathlib
import shlex
import shutil
import signal
import socket
import subprocess
import tempfile
import unittest

import images
import processes

EXAMPLES = images.ROOT / "docs/examples/systemd"
UNIT = EXAMPLES / "keyside.service"
# Of `systemd-analyze security`, in tenths of its scale from 0 (safe) to 10.
EXPOSURE = 20
# Who the unit's user and the program that uses the socket are in this test.
USER, RUNNER, STRANGER = 61234, 1000, 1001


def options(path=UNIT):
    """[(name, value)] of the unit's lines, in their order."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return [tuple(line.split("=", 1)) for line in lines if "=" in line and not line.startswith("#")]


def only(name):
    [value] = [value for key, value in options() if key == name]
    return value


def analyze(*arguments):
    command = ["systemd-analyze", "--no-pager", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


class Judged(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(tempfile.mkdtemp())
        self.addCleanup(shutil.rmtree, self.folder)

    def variant(self, before, after):
        """The unit with one change."""
        text = UNIT.read_text(encoding="utf-8")
        self.assertIn(before, text)
        path = self.folder / UNIT.name
        path.write_text(text.replace(before, after), encoding="utf-8")
        return path

    def test_systemd_understands_the_unit(self):
        def verify(path):
            done = analyze("verify", "--man=no", path)
            return done.returncode, done.stdout + done.stderr

        self.assertEqual(verify(self.variant("/usr/bin/keyside", str(images.BINARY))), (0, ""))
        # It fails for what it should fail for.
        _, said = verify(self.variant("PrivateTmp=yes", "PrivateTemp=yes"))
        self.assertIn("PrivateTemp", said)

    def test_the_unit_exposes_little(self):
        def security(path):
            return analyze("security", "--offline=true", f"--threshold={EXPOSURE}", path)

        done = security(UNIT)
        self.assertEqual(done.returncode, 0, done.stdout)
        lax = security(self.variant("ProtectSystem=strict\nProtectHome=yes\nPrivateTmp=yes\nPrivateDevices=yes", ""))
        self.assertNotEqual(lax.returncode, 0, lax.stdout)

    def test_the_users_file_makes_the_units_user(self):
        [line] = [line for line in (EXAMPLES / "keyside.conf").read_text(encoding="utf-8").splitlines() if line[0] != "#"]
        kind, name, *_, home = shlex.split(line)
        self.assertEqual((kind, name, home), ("u", only("User"), only("WorkingDirectory")))


class Started(unittest.TestCase):
    """What the unit starts, in a folder that has what the unit gives it."""

    @classmethod
    def setUpClass(cls):
        cls.root = pathlib.Path(tempfile.mkdtemp(prefix="keyside-unit-"))
        cls.addClassCleanup(shutil.rmtree, cls.root)
        cls.root.chmod(0o755)
        images.base(cls.root)
        libgcc = [line.split()[2] for line in ldd() if "libgcc_s" in line]
        for library in map(pathlib.Path, libgcc):
            images.put(library, cls.root / str(library).lstrip("/"))
        images.put(images.BINARY, cls.root / "usr/bin/keyside")
        images.put(EXAMPLES / "keyside.toml", cls.root / "etc/keyside/keyside.toml")
        cls.folder("var/lib/" + only("StateDirectory"), only("StateDirectoryMode"))
        cls.folder("run/" + only("RuntimeDirectory"), only("RuntimeDirectoryMode"))
        name, source = only("LoadCredential").split(":")
        cls.credentials = f"/run/credentials/{UNIT.name}"
        cls.folder(cls.credentials.lstrip("/"), "0500")
        key = subprocess.run([images.BINARY, "master-key", "generate"], stdout=subprocess.PIPE, check=True).stdout
        credential = cls.root / cls.credentials.lstrip("/") / name
        credential.write_bytes(key)
        os.chown(credential, USER, USER)
        credential.chmod(0o400)
        assert source == "/etc/keyside/master-key", source

    @classmethod
    def folder(cls, path, mode):
        folder = cls.root / path
        folder.mkdir(parents=True)
        folder.chmod(int(mode, 8))
        os.chown(folder, USER, USER)

    def command(self, line):
        """A command line of the unit, as its user, in the folder."""
        environment = only("Environment").replace("%d", self.credentials)
        words = ["chroot", f"--userspec={USER}:{USER}", str(self.root), *shlex.split(line)]
        # Ports that nobody uses, and limits that this machine's number of open files allows.
        others = [f"KEYSIDE_{section}__LISTEN=127.0.0.1:0" for section in ("ADMIN", "OBSERVE")]
        others += [f"KEYSIDE_PROXY__LIMITS__{name}=100" for name in ("CONNECTIONS", "UPSTREAM_CONNECTIONS")]
        return ["env", "--ignore-environment", f"PATH={os.environ['PATH']}", environment, *others, *words]

    def test_it_serves_over_the_socket_with_calls_that_the_unit_allows(self):
        before = subprocess.run(self.command(only("ExecStartPre")), capture_output=True, text=True, timeout=60)
        self.assertEqual(before.returncode, 0, before.stderr)
        trace = self.root / "trace"
        traced = ["strace", "-f", "-qq", "-o", str(trace), *self.command(only("ExecStart"))]
        with processes.started(traced) as serving:
            lines = processes.log_until_ready(serving)
            self.assertEqual([line for line in lines if '"WARN"' in line], [])
            data = self.root / "var/lib/keyside/data"
            self.assertEqual(data.stat().st_uid, USER)
            self.assertFalse((data.parent / "data.master-key").exists(), "the credential is the master key")
            self.assertIn(" 400 ", ask(self.root / "run/keyside/proxy.sock", RUNNER))
            self.assertIn(" 403 ", ask(self.root / "run/keyside/proxy.sock", STRANGER))
            os.kill(processes.keyside(serving), signal.SIGTERM)
            rest = serving.stderr.read()
            self.assertEqual(serving.wait(), 0, rest)
        used, allowed = calls(trace.read_text(errors="replace")), allowed_calls()
        self.assertIn("mlock", used)
        self.assertLess({"read", "mlock", "prlimit64", "prctl"}, allowed)
        self.assertNotIn("mount", allowed)
        self.assertEqual(used - allowed, set())


def ldd():
    done = subprocess.run(["ldd", images.BINARY], stdout=subprocess.PIPE, text=True, check=True)
    return done.stdout.splitlines()


def ask(path, user):
    """The status line of an answer to `user`."""
    request = "GET /w/acme/openai/v1/models HTTP/1.1\r\nHost: localhost\r\nX-Keyside-Workspace: acme\r\n\r\n"
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgid(user)
            os.setuid(user)
            with socket.socket(socket.AF_UNIX) as client:
                client.settimeout(20)
                client.connect(str(path))
                client.sendall(request.encode())
                os.write(writer, client.recv(4096).split(b"\r\n")[0])
        finally:
            os._exit(0)
    os.close(writer)
    os.waitpid(child, 0)
    with os.fdopen(reader, "rb") as answer:
        return answer.read().decode()


def calls(trace):
    """The system calls after the one that starts keyside."""
    lines = iter(trace.splitlines())
    for line in lines:
        if 'execve("/usr/bin/keyside"' in line:
            break
    words = (line.split(maxsplit=1)[1] for line in lines)
    return {word.split("(")[0] for word in words if "(" in word and word[0].isalpha()}


def allowed_calls():
    """The calls that the unit's SystemCallFilter= lines leave; systemd always adds @default."""
    groups = {}
    current = None
    for line in analyze("syscall-filter").stdout.splitlines():
        if line.startswith("@"):
            current = groups.setdefault(line.strip(), set())
        elif current is not None and line.strip() and not line.strip().startswith("#"):
            current.add(line.strip())

    def members(name):
        if not name.startswith("@"):
            return {name}
        return set().union(*map(members, groups[name]))

    allowed = members("@default")
    for value in (value for key, value in options() if key == "SystemCallFilter"):
        names = set().union(*map(members, value.removeprefix("~").split()))
        allowed = allowed - names if value.startswith("~") else allowed | names
    return allowed


if __name__ == "__main__":
    unittest.main()

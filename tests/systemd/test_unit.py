"""docs/examples/systemd: what systemd says about the unit. tests/image starts it."""

import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile
import unittest

EXAMPLES = pathlib.Path(__file__).parents[2] / "docs/examples/systemd"
UNIT = EXAMPLES / "keyside.service"
# Of `systemd-analyze security`, in tenths of its scale from 0 (safe) to 10.
EXPOSURE = 20


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

        self.assertEqual(verify(self.variant("/usr/bin/keyside", os.environ["KEYSIDE_BIN"])), (0, ""))
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


if __name__ == "__main__":
    unittest.main()

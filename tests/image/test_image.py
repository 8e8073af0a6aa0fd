"""The image that the Containerfile describes, built here and run here."""

import json
import os
import pathlib
import re
import signal
import socket
import stat
import subprocess
import unittest
import urllib.request

import images
import processes

NAME = "localhost/keyside:test"
USER = 65532
DATA = "/var/lib/keyside"
LABELS = {"VERSION": "1.2.3", "REVISION": "0123456", "CREATED": "2026-11-29T12:00:00Z"}
# Megabytes, of the default base: gcr.io/distroless/base-nossl-debian12. The base made here is smaller.
DISTROLESS = 15
LIMIT = 40
SHELLS = {"sh", "bash", "dash", "ash", "busybox", "env", "perl", "python3"}


class Image(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.storage = images.Storage()
        cls.addClassCleanup(cls.storage.remove)
        cls.storage.of_folder("localhost/binary", pathlib.Path(os.environ["KEYSIDE_ROOTFS"]).parent)
        base = cls.storage.folder / "base"
        base.mkdir()
        images.base(base)
        cls.storage.of_folder("localhost/base", base)
        arguments = {"BINARY": "localhost/binary", "BASE": "localhost/base", **LABELS}
        options = [word for name, value in arguments.items() for word in ("--build-arg", f"{name}={value}")]
        # Docker's format, which alone has health checks.
        cls.storage.call(
            "bud", "--isolation", "chroot", "--pull-never", "--format", "docker", "--tag", NAME, *options,
            "--file", images.ROOT / "Containerfile", images.ROOT / ".ci",
        )  # fmt: skip
        # A container that ran has files that the image has not.
        _, cls.files = cls.storage.mounted(NAME)
        cls.container = cls.storage.call("from", "--pull-never", NAME)

    def config(self):
        said = json.loads(self.storage.call("inspect", "--type", "image", NAME))
        return said["Docker"]["config"]

    def paths(self):
        return [path for path in self.files.rglob("*") if not path.is_symlink()]

    def run_in(self, *arguments, options=(), container=None):
        """The exit code of `keyside ARGUMENTS` in a container. What it says is not always passed on: buildah may end before
        it has read all of it."""
        container = container or self.container
        command = ["run", "--isolation", "chroot", *options, container, "--", "/usr/bin/keyside", *arguments]
        done = subprocess.run(
            self.storage.command(*command), capture_output=True, timeout=images.LIMIT, stdin=subprocess.DEVNULL
        )
        return done.returncode

    def test_it_starts_keyside_as_a_user_without_rights(self):
        config = self.config()
        self.assertEqual(config["User"], f"{USER}:{USER}")
        self.assertEqual(config["Entrypoint"], ["/usr/bin/keyside"])
        self.assertEqual(config["Cmd"], ["serve"])
        self.assertEqual(config["WorkingDir"], DATA)
        self.assertEqual(config["Healthcheck"]["Test"], ["CMD", "/usr/bin/keyside", "healthcheck"])
        self.assertNotIn("ExposedPorts", config)

    def test_its_labels_say_what_it_is(self):
        labels = self.config()["Labels"]
        for name, value in LABELS.items():
            self.assertEqual(labels[f"org.opencontainers.image.{name.lower()}"], value)
        self.assertEqual(labels["org.opencontainers.image.licenses"], "Apache-2.0")
        self.assertIn("keyside/keyside", labels["org.opencontainers.image.source"])

    def test_it_has_no_shell_and_no_program_but_keyside(self):
        found = {path.name for path in self.paths()} & SHELLS
        self.assertEqual(found, set())
        programs = [
            path.relative_to(self.files).as_posix()
            for path in self.paths()
            if path.is_file() and path.stat().st_mode & 0o111 and ".so" not in path.name
        ]
        self.assertEqual(programs, ["usr/bin/keyside"])

    def test_its_user_can_write_to_the_data_folder_alone(self):
        def may_write(path):
            told = path.stat()
            return told.st_uid == USER or told.st_gid == USER or told.st_mode & stat.S_IWOTH

        writable = {"/" + path.relative_to(self.files).as_posix() for path in self.paths() if may_write(path)}
        self.assertEqual(writable - {"/tmp"}, {DATA})
        self.assertEqual(stat.S_IMODE((self.files / DATA.lstrip("/")).stat().st_mode), 0o700)
        special = [path for path in self.paths() if path.stat().st_mode & (stat.S_ISUID | stat.S_ISGID)]
        self.assertEqual(special, [])

    def test_its_size_is_within_the_limit(self):
        sizes = {path: path.stat().st_size for path in self.paths() if path.is_file()}
        binary = sizes.pop(self.files / "usr/bin/keyside")
        of_base = sum(path.stat().st_size for path in (self.storage.folder / "base").rglob("*") if path.is_file())
        ours = sum(sizes.values()) - of_base
        self.assertLess(ours, 1e6, "beside the binary: a library, the licence, the bill of materials")
        if images.BINARY.parent.name not in ("release", "dist"):
            self.skipTest("a debug build is several times as large as the binary that ships")
        total = (binary + ours) / 1e6 + DISTROLESS
        self.assertLessEqual(total, LIMIT)

    def test_its_bill_of_materials_names_what_is_linked(self):
        document = json.loads((self.files / "usr/share/doc/keyside/keyside.cdx.json").read_text(encoding="utf-8"))
        self.assertEqual((document["bomFormat"], document["specVersion"]), ("CycloneDX", "1.5"))
        self.assertEqual(document["metadata"]["component"]["name"], "keyside")
        components = document["components"]
        names = {one["name"] for one in components}
        for linked in ("keyside-proxy", "pingora-core", "rustls", "ring", "sled"):
            self.assertIn(linked, names)
        for absent in ("rcgen", "proptest", "serde_derive", "windows-sys", "keyside-bench"):
            self.assertNotIn(absent, names)
        for one in components:
            self.assertTrue(one["licenses"], one)
            if not one["name"].startswith("keyside"):
                self.assertRegex(one["hashes"][0]["content"], "^[0-9a-f]{64}$")
        known = {one["bom-ref"] for one in components} | {document["metadata"]["component"]["bom-ref"]}
        for one in document["dependencies"]:
            self.assertLessEqual({one["ref"], *one["dependsOn"]}, known)

    def test_it_finds_the_certificate_authorities(self):
        self.assertEqual(self.run_in("check"), 0)
        container, files = self.storage.mounted(NAME)
        (files / images.CERTIFICATES).unlink()
        self.assertEqual(self.run_in("check", container=container), 78)

    def test_it_takes_the_settings_of_the_compose_file(self):
        folder = images.ROOT / "docs/examples/compose"
        compose = (folder / "compose.yaml").read_text(encoding="utf-8")
        environment = dict(re.findall(r"^ +(KEYSIDE_CONFIG|KMS_MASTER_KEY_FILE): (\S+)$", compose, re.MULTILINE))
        self.assertEqual(len(environment), 2)
        [(source, target)] = re.findall(r"^ +- \./(\S+):(\S+):ro$", compose, re.MULTILINE)
        self.assertEqual(target, environment["KEYSIDE_CONFIG"])
        options = ["--volume", f"{folder / source}:{target}:ro"]
        options += [word for pair in environment.items() for word in ("--env", "=".join(pair))]
        self.assertEqual(self.run_in("check", options=options), 0)
        here = {**environment, "KEYSIDE_CONFIG": str(folder / source)}
        said = subprocess.run([images.BINARY, "check", "--json"], env=here, stdout=subprocess.PIPE, check=True).stdout
        settings = {one["key"]: one["value"] for one in json.loads(said)["settings"]}
        self.assertIn(environment["KMS_MASTER_KEY_FILE"], settings["kms.master_key_file"])
        self.assertIn(f"data:{DATA}", compose)
        self.assertIn(f"{DATA}/data", settings["store.path"])

    def test_it_serves_from_a_volume_and_stops_when_told(self):
        volume = self.storage.folder / "volume"
        volume.mkdir(mode=0o700)
        os.chown(volume, USER, USER)
        ports = dict(zip(("proxy", "admin", "observe"), free_ports(3)))
        options = ["--volume", f"{volume}:{DATA}"]
        for section, port in ports.items():
            options += ["--env", f"KEYSIDE_{section.upper()}__LISTEN=127.0.0.1:{port}"]
        command = ["run", "--isolation", "chroot", *options, self.container, "--", "/usr/bin/keyside", "serve"]
        with processes.started(self.storage.command(*command)) as serving:
            processes.log_until_ready(serving)
            self.assertEqual(self.run_in("healthcheck", options=options), 0)
            token = (volume / "data/admin-token").read_text(encoding="utf-8").strip()
            request = urllib.request.Request(
                f"http://127.0.0.1:{ports['admin']}/api/workspaces", headers={"Authorization": f"Bearer {token}"}
            )
            with urllib.request.urlopen(request, timeout=10) as answer:
                self.assertEqual(json.load(answer)["items"], [])
            process = processes.keyside(serving)
            self.assertIn(f"Uid:\t{USER}\t{USER}\t", pathlib.Path(f"/proc/{process}/status").read_text())
            os.kill(process, signal.SIGTERM)
            self.assertEqual(serving.wait(), 0)
        self.assertEqual((volume / "data").stat().st_uid, USER)
        self.assertEqual(self.run_in("healthcheck", options=options), 1)


def free_ports(count):
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [one.getsockname()[1] for one in sockets]
    for one in sockets:
        one.close()
    return ports


if __name__ == "__main__":
    unittest.main()

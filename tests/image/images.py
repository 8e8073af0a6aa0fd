"""Builds images with buildah, in a storage of their own, and runs commands in containers of them."""

import os
import pathlib
import shutil
import subprocess
import tempfile

ROOT = pathlib.Path(__file__).parents[2]
BINARY = pathlib.Path(os.environ["KEYSIDE_BIN"])
# A step takes seconds. What waits for more is a bug.
LIMIT = 120
PASSWD = "root:x:0:0:root:/root:/sbin/nologin\nnonroot:x:65532:65532:nonroot:/home/nonroot:/sbin/nologin\n"
CERTIFICATES = pathlib.Path("etc/ssl/certs/ca-certificates.crt")


class Storage:
    """Buildah's images and containers, removed at the end."""

    def __init__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="keyside-image-"))

    def command(self, *arguments):
        place = ["--root", self.folder / "images", "--runroot", self.folder / "run"]
        return ["buildah", "--storage-driver", "vfs", *map(str, place), *map(str, arguments)]

    def call(self, *arguments):
        """What the command prints; what it says besides is shown if it fails."""
        done = subprocess.run(
            self.command(*arguments), capture_output=True, text=True, timeout=LIMIT, stdin=subprocess.DEVNULL
        )
        if done.returncode != 0:
            raise AssertionError(f"buildah {' '.join(map(str, arguments))}: {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout.strip()

    def of_folder(self, name, folder):
        """An image with the content of a folder, and nothing else."""
        recipe = self.folder / "Containerfile"
        recipe.write_text("FROM scratch\nCOPY . /\n", encoding="utf-8")
        self.call("bud", "--isolation", "chroot", "--tag", name, "--file", recipe, folder)

    def mounted(self, image):
        """A container of the image, and the folder with its files."""
        container = self.call("from", "--pull-never", image)
        return container, pathlib.Path(self.call("mount", container))

    def remove(self):
        self.call("rm", "--all")
        self.call("rmi", "--all", "--force")
        shutil.rmtree(self.folder)


def base(folder):
    """What a base image has to have: a loader, the C library, certificate authorities, users."""
    libraries = [
        word
        for line in subprocess.run(["ldd", BINARY], capture_output=True, text=True, check=True).stdout.splitlines()
        for word in line.split()
        if word.startswith("/")
    ]
    # Keyside brings this one along.
    for library in (one for one in libraries if "libgcc_s" not in one):
        put(pathlib.Path(library), folder / library.lstrip("/"))
    put("/" / CERTIFICATES, folder / CERTIFICATES)
    (folder / "etc/passwd").write_text(PASSWD, encoding="utf-8")
    (folder / "tmp").mkdir(mode=0o1777)
    (folder / "tmp").chmod(0o1777)


def put(source, target):
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(source.resolve(), target)

"""The files of this repository as the checks of documentation see them: pages, and all words outside of them."""

import functools
import pathlib
import re
import subprocess

from markdown import Page

ROOT = pathlib.Path(__file__).resolve().parents[2]
#: Only links are checked in these: one is generated from the provider files, the other is history and may name what is gone.
LINKS_ONLY = {"CHANGELOG.md", "docs/INTEGRATIONS.md"}
#: What the checks and locks name proves nothing.
NOT_SOURCES = ("tests/checks/", "Cargo.lock")


def page(path):
    """One page of this repository."""
    return Page(path, (ROOT / path).read_text(encoding="utf-8"))


class Repository:
    """`files` maps each path to its text; None for what is not text."""

    def __init__(self, files):
        self.files = files

    @classmethod
    def here(cls):
        listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
        paths = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
        files = {}
        for path in sorted(filter(None, paths)):
            try:
                files[path] = (ROOT / path).read_text(encoding="utf-8")
            except UnicodeDecodeError:
                files[path] = None
            except (FileNotFoundError, IsADirectoryError):
                continue
        return cls(files)

    @functools.cached_property
    def documents(self):
        """All Markdown, by path."""
        return {path: Page(path, text) for path, text in self.files.items() if path.endswith(".md")}

    @functools.cached_property
    def pages(self):
        """The Markdown whose every word is checked."""
        return [page for path, page in self.documents.items() if path not in LINKS_ONLY]

    @functools.cached_property
    def folders(self):
        return {str(parent) for path in self.files for parent in pathlib.PurePosixPath(path).parents}

    @functools.cached_property
    def listing(self):
        return "\n".join([*self.files, *self.folders])

    def has(self, path):
        return path.rstrip("/") in self.files or path.rstrip("/") in self.folders

    def matching(self, pattern):
        """{path: text} of the files whose path matches the pattern as a whole."""
        shape = re.compile(pattern)
        return {path: text for path, text in self.files.items() if text is not None and shape.fullmatch(path)}

    @functools.cached_property
    def sources(self):
        """The text of everything that is no documentation."""
        return "\n".join(
            text
            for path, text in self.files.items()
            if text is not None and not path.endswith(".md") and not path.startswith(NOT_SOURCES)
        )

    @functools.cached_property
    def words(self):
        """The words of the sources and of their paths, cut in three ways: at dots and hyphens, at dots, and only at other signs."""
        found = set()
        for shape in (r"\w+", r"[\w-]+", r"[\w.-]+"):
            found.update(re.findall(shape, self.sources))
        found.update(re.findall(r"\w+", self.listing))
        return found | {word.strip(".-") for word in found}

    @functools.cached_property
    def prose(self):
        """The sources with each run of white space, or of a text's continuation, as one blank."""
        return re.sub(r"(?:\\?\s+|//[/!]?\s|\s#\s)+", " ", self.sources)

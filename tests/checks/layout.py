#!/usr/bin/env python3
"""The rules for files: their names, how they begin, their length, which may use `unsafe`, which may open a file that is not
regular, and what stays out of commits and images.

Exit code 0 when all hold, 1 with a line for each file that breaks one.
"""

import fnmatch
import itertools
import re
import sys

from exposure import code_only, is_unit_test, line, rust_files, shipped
from report import report
from repository import ROOT

# The files that need `unsafe`, each with the reason in its first lines. Elsewhere the compiler
# denies it.
UNSAFE = {"proxy/src/client_socket.rs", "src/allocator.rs"}
LONGEST = 500

# The files that open files without `open_regular` (credentials/store/src/file.rs), with the reason. Elsewhere a named pipe in
# place of a file could make Keyside wait for ever.
OPENING = {
    "credentials/store/src/file.rs": "the rule itself",
    "config/src/sources.rs": "the settings, which may be a pipe",
    "src/cli/admin.rs": "named on the command line",
    "src/cli/audit/verify.rs": "named on the command line",
    "src/cli/secret.rs": "named on the command line",
    "src/client/transport.rs": "named on the command line",
    "drivers/sled/src/lock.rs": "/proc",
    "src/cli/drain/process.rs": "/proc",
    "src/lifecycle.rs": "/proc",
}
OPENS = re.compile(r"\bfs::read(?:_to_string)?\(|\bFile::open\(")

# What `keyside serve` and `keyside master-key rotate` write into a clone, where README.md starts Keyside.
WRITTEN = ("data", "data.master-key", "data.master-key.retired-mk_0123456789abcdef")

RULES = (
    (re.compile(r"\bunsafe\b(?!_code)"), lambda path: path not in UNSAFE, "says `unsafe`"),
    (re.compile(r"allow\(\s*unsafe_code"), lambda path: path not in UNSAFE, "allows `unsafe`"),
    (re.compile(r"#\[ignore\b"), lambda path: True, "a test that does not run"),
    (re.compile(r"\b(?:todo|unimplemented|dbg)!"), lambda path: True, "left for later"),
)


def violations(root):
    for file in rust_files(root):
        path, text = file.relative_to(root).as_posix(), file.read_text(encoding="utf-8")
        if file.name == "mod.rs":
            yield f"{path}: `foo.rs` beside `foo/`, never `mod.rs`"
        if not is_unit_test(path) and not text.startswith("//!"):
            yield f"{path}: begins without `//!`: what it owns, what it must not know"
        if text.count("\n") > LONGEST:
            yield f"{path}: {text.count(chr(10))} lines; past {LONGEST} there is a second subject in it"
        code = code_only(text)
        for pattern, applies, what in RULES:
            if applies(path):
                yield from (f"{path}:{line(code, match)}: {what}" for match in pattern.finditer(code))
        if "src/" in path and not path.startswith("tests/") and path not in OPENING and not is_unit_test(path):
            opens = OPENS.finditer(shipped(code))
            yield from (f"{path}:{line(code, match)}: opens a file that may be a pipe; use `open_regular`" for match in opens)


def not_ignored(root):
    for name in (".gitignore", ".dockerignore"):
        lines = (root / name).read_text(encoding="utf-8").splitlines()
        patterns = [line.strip("/") for line in lines if line and not line.startswith("#")]
        for path in WRITTEN:
            if not any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns):
                yield f"{name}: does not have {path}, which opens or is the store of a Keyside that ran here"


if __name__ == "__main__":
    sys.exit(report("layout", itertools.chain(violations(ROOT), not_ignored(ROOT))))

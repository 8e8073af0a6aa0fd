#!/usr/bin/env python3
"""The files that may open a plaintext secret: only these may call `expose` on a `Secret`.

The list is intentionally short; a new entry changes the security perimeter and is reviewed as such.
The script also checks that `Secret` has no Debug, Display, Clone or Serialize, derived or written
by hand.

Exit code 0 if the rules hold, 1 with file:line for each violation.
"""

import os
import pathlib
import re
import sys

from report import report
from repository import ROOT

# file (or folder, with a trailing slash) -> why it must see plaintext.
ALLOWED = {
    "credentials/src/secret.rs": "the type itself",
    "credentials/src/model/secret_metadata.rs": "fingerprint and hint are computed from the plaintext",
    "credentials/src/sealing.rs": "sealing takes the plaintext in",
    "credentials/src/sealing/": "its parts and its tests",
    "credentials/src/kms.rs": "KMS drivers read their own credential",
    "credentials/src/kms/": "KMS drivers read their own credential",
    "credentials/examples/": "measure what sealing costs; part of no build that ships",
    "proxy/src/inject.rs": "writes the one credential into the upstream request",
    "proxy/src/inject/": "its parts and its tests",
    "proxy/src/scrub.rs": "looks for the secret in what the upstream answers",
    "proxy/src/scrub/": "its parts and its tests",
}

# Traits that would let a secret slip into a log line, a copy or a document.
LEAKY = ("Debug", "Display", "Clone", "Copy", "Serialize", "Deserialize", "LowerHex", "AsRef", "Deref", "Into")

SKIPPED = {"target", ".git", ".venv", "node_modules"}
CALL = re.compile(r"(?:\.\s*expose|\bSecret\s*::\s*expose)\b")
TYPE = re.compile(r"((?:#\[[^\]]*\]\s*)*)pub struct Secret\b")
IMPL = re.compile(r"\bimpl\b[^{;]*?\b(\w+)(?:<[^{;]*?>)?\s+for\s+Secret\b")
TESTS = re.compile(r"^#\[cfg\(test\)\]\s*mod \w+ \{", re.MULTILINE)
NOT_CODE = re.compile(
    r'//[^\n]*|/\*.*?\*/|b?r(#*)".*?"\1|b?"(?:\\.|[^"\\])*"|\'(?:\\.[^\']*|[^\\\'])\'', re.DOTALL
)


def code_only(text):
    """The source with comments, strings and character literals blanked; line numbers stay."""
    return NOT_CODE.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), text)


def shipped(code):
    """Without the unit tests, which are last in a file and open only invented secrets."""
    return code[: match.start()] if (match := TESTS.search(code)) else code


def is_unit_test(path):
    """`foo/tests.rs`, or a file in `foo/tests/`: modules that exist only in test builds."""
    return path.endswith("/tests.rs") or ("/src/" in path and "/tests/" in path)


def allowed(path):
    return any(path.startswith(entry) if entry.endswith("/") else path == entry for entry in ALLOWED)


def rust_files(root):
    """The Rust files under `root`, without those of builds and installed packages, which may come and go meanwhile."""
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(set(folders) - SKIPPED)
        yield from (pathlib.Path(folder, file) for file in sorted(files) if file.endswith(".rs"))


def violations(root):
    """Every place under `root` that breaks one of the rules, as file:line sentences."""
    types = 0
    for file in rust_files(root):
        path = file.relative_to(root).as_posix()
        code = code_only(file.read_text(encoding="utf-8"))
        if not allowed(path) and not is_unit_test(path):
            for match in CALL.finditer(shipped(code)):
                yield f"{path}:{line(code, match)}: opens a secret; only the files in tests/checks/exposure.py may"
        if path.startswith("credentials/"):
            types += len(TYPE.findall(code))
            yield from leaks(path, code)
    if types != 1:
        yield f"credentials/: expected one `pub struct Secret`, found {types}; does this check still see the type?"


def leaks(path, code):
    for match in TYPE.finditer(code):
        for trait in re.findall(r"\w+", match.group(1)):
            if trait in LEAKY:
                yield f"{path}:{line(code, match)}: Secret derives {trait}"
    for match in IMPL.finditer(code):
        if match.group(1) in LEAKY:
            yield f"{path}:{line(code, match)}: Secret implements {match.group(1)}"


def line(code, match):
    return code.count("\n", 0, match.start()) + 1


if __name__ == "__main__":
    sys.exit(report("exposure", violations(ROOT), f"{len(ALLOWED)} places may open a secret"))

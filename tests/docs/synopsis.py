"""Whether `keyside` has the subcommands and flags, and the Makefile the targets, that a command uses; and whether it is harmless to run."""

import functools
import re
import shlex
import subprocess

from harness.keyside import binary
from pages import ROOT

BETWEEN = re.compile(r"&&|\|\||[|;()\n]")
SUBSTITUTION = re.compile(r"[$<]\(([^()]*)\)")
FLAG = re.compile(r"(?<![\w-])(--?[a-zA-Z][\w-]*)")
SUBCOMMAND = re.compile(r"^  ([a-z][a-z-]*)\s", re.MULTILINE)
ASSIGNMENT = re.compile(r"\w+=\S*")
QUOTED = re.compile(r"'[^']*'")
#: Programs that change nothing outside of the folder that they are given. `systemctl` is the reader's own.
HARMLESS = set("cat cd chmod curl df eval export git keyside mkdir openssl printf python3 source systemctl true umask xdg-open".split())
ABSOLUTE = re.compile(r"(?:^|[\s=>\"'@])/(?!dev/null\b)")


def dangers(command: str):
    """Why a command may change something outside of the reader's folder."""
    for program, *_ in _simple(command):
        if program not in HARMLESS:
            yield f"runs {program}"
    if ABSOLUTE.search(QUOTED.sub("''", command)):
        yield "names an absolute path"


def _simple(command: str):
    """The words of each simple command in it, without assignments; of those in substitutions first."""
    command = QUOTED.sub("''", command)
    while match := SUBSTITUTION.search(command):
        yield from _simple(match[1])
        command = f"{command[: match.start()]}substituted{command[match.end() :]}"
    for part in BETWEEN.split(command):
        words = _words(part)
        while words and ASSIGNMENT.fullmatch(words[0]):
            del words[0]
        if words:
            yield words


def mistakes(command: str):
    """What is wrong with it."""
    for words in _simple(command):
        if words[:1] == ["make"]:
            yield from _of_make(words)
        elif (start := _keyside(words)) is not None:
            yield from _of_keyside(words[start + 1 :])


def _words(part: str) -> list[str]:
    try:
        return shlex.split(part)
    except ValueError:  # a quote that was cut
        return part.split()


def _keyside(words: list[str]) -> int | None:
    """Where `keyside` is the program: at the beginning, after `--`, or by its full path in a container."""
    for position, word in enumerate(words):
        if word == "keyside" and (position == 0 or words[position - 1] == "--"):
            return position
        if word == "/usr/bin/keyside" and words[0] in ("docker", "/usr/bin/keyside"):
            return position
    return None


def _of_keyside(words: list[str]):
    chain: list[str] = []
    for word in words:
        known = SUBCOMMAND.findall(_help(tuple(chain)).partition("\nCommands:\n")[2].partition("\n\n")[0])
        if not known:
            break
        if word in known:
            chain.append(word)
        elif not word.startswith("-"):
            yield f"keyside {' '.join(chain)} has no subcommand {word}"
            return
    flags = set(FLAG.findall(_help(tuple(chain))))
    for word in words:
        name = word.partition("=")[0]
        if name != "--" and FLAG.fullmatch(name) and name not in flags:
            yield f"keyside {' '.join(chain)} has no flag {name}"


def _of_make(words: list[str]):
    for target in words[1:]:
        if "=" not in target and not re.search(rf"^{re.escape(target)}:", (ROOT / "Makefile").read_text(), re.MULTILINE):
            yield f"the Makefile has no target {target}"


@functools.cache
def _help(chain: tuple[str, ...]) -> str:
    return subprocess.run([binary(), *chain, "--help"], capture_output=True, text=True, check=True, timeout=30).stdout

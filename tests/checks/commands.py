"""Commands: what documents, examples, error texts and the chart say about `keyside` is what the binary accepts; targets of make,
packages of cargo and scripts exist."""

import functools
import pathlib
import re
import shlex
import subprocess
import tempfile
import tomllib

OPTION = re.compile(r"^ {2,6}(?:(-\w)(?:, )?)?(--[\w-]+)?(?: <([^>]+)>)?(?:\.\.\.)?(?: {2,}|$)(.*)")
VALUES = re.compile(r"\[possible values: ([^\]]+)\]")
SUBCOMMAND = re.compile(r"^  ([a-z][\w-]*)(?: {2,}|$)")
POSITIONAL = re.compile(r"([<\[])([A-Z][A-Z#-]*)[>\]](\.\.\.)?")
REQUIRED = re.compile(r"(?<!\[)(--[\w-]+) <[^>]+>(?!\])")
ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
SUBSTITUTION = re.compile(r"[$<]\(([^()]+)\)")
#: Words before a program that do not change which one it is.
BEFORE = {"sudo", "-E", "env", "exec", "if", "then", "do", "while", "until", "else", "!", "eval", "time", "nohup"}
#: A word that stands for another, such as `ID`, `"$ID"`, `{id}`, `<id>` or `cred_…`.
STANDS_FOR = re.compile(r"[A-Z]+|.*[$<{…].*")
#: Files beside Markdown that name commands: in backticks, in <code>, or by the program's whole path.
TEXTS = r"(?:src|config|credentials|proxy|admin|drivers)/.*\.(?:rs|html|toml)|docs/examples/.*|charts/.*\.(?:txt|yaml|tpl)|docs/openapi\.json"
QUOTED = re.compile(r"`(keyside [^`\n]+)`|<code>(keyside [^<\n]+)</code>")
#: The arguments of a container, in YAML.
ARGUMENTS = re.compile(r"^\s*(?:args|command): \[([a-z][^\]]*)\]", re.MULTILINE)
INSTALLED = re.compile(r"(?<![\w/])/usr/bin/keyside (?=[a-z-])([^\n\"'`]*)|^ +\{\{ \$exec \}\} (.*)$", re.MULTILINE)
#: What looks like a command of ours and is none: the prefix of a signed text, and a command of Vault's own tool.
OTHERS = {"keyside head", "vault write -f transit/keys/keyside-acme/rotate"}


class Command:
    """One command, from its help text."""

    def __init__(self, text):
        self.text, self.flags, self.subcommands, section = text, {}, [], ""
        usage = re.search(r"^Usage: keyside(?: [a-z][\w-]*)* ?(.*)$", text, re.MULTILINE)[1]
        arguments = POSITIONAL.findall(REQUIRED.sub("", usage).replace("[OPTIONS]", "").replace("<COMMAND>", ""))
        self.least = sum(kind == "<" for kind, _, _ in arguments)
        self.most = float("inf") if any(more for _, _, more in arguments) else len(arguments)
        self.required = REQUIRED.findall(usage)
        for line in text.splitlines():
            if line and not line.startswith(" "):
                section = line.partition(":")[0]
            elif section == "Commands":
                self.subcommands += SUBCOMMAND.findall(line)
            elif section.endswith("ptions") and (match := OPTION.match(line)):
                short, long, value, about = match.groups()
                values = VALUES.search(about)
                rule = (value, set(values[1].split(", ")) if values else None)
                self.flags.update({name: rule for name in (short, long) if name})


class Program:
    """The binary, by its own help; `ask` returns the help text of a list of subcommands."""

    def __init__(self, ask, binary=None):
        self.binary = binary
        self.ask = functools.cache(lambda path: Command(ask(path)))

    @classmethod
    def at(cls, binary):
        def ask(path):
            return subprocess.run([binary, "help", *path], check=True, capture_output=True, text=True).stdout

        return cls(ask, binary)

    def refusal(self, settings):
        """Why `keyside check` refuses settings, or None; files that are not on this machine are no reason."""
        environment = {"PATH": "/usr/bin:/bin", "VAULT_ADDR": "https://vault.internal:8200", "VAULT_TOKEN": "not-a-token"}
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "block.toml").write_text(settings, encoding="utf-8")
            asked = [self.binary, "check", "--config", "block.toml"]
            done = subprocess.run(asked, cwd=folder, env=environment, capture_output=True, text=True)
        first = done.stderr.partition("\n")[0]
        return None if done.returncode == 0 or "No such file or directory" in first else first

    def everywhere(self, path=()):
        """(path, command) of all commands."""
        command = self.ask(path)
        yield path, command
        for name in command.subcommands:
            if name != "help":
                yield from self.everywhere((*path, name))

    def problem(self, words, whole):
        """What is wrong with the arguments, or None. Of a command that is not `whole`, a part may be missing."""
        path, words = (), list(words)
        command = self.ask(path)
        flags, arguments = [], 0
        while words:
            word = words.pop(0)
            if word == "--":
                arguments += len(words)
                break
            if word.startswith("-") and word != "-":
                name, given, value = word.partition("=")
                if name not in command.flags:
                    return f"{' '.join(('keyside', *path))} has no {name}"
                kind, values = command.flags[name]
                flags.append(name)
                if kind and not given:
                    if not words:
                        if whole:
                            return f"{name} needs a value"
                        continue
                    value = words.pop(0)
                if values and value and not values.issuperset(value.split(",")) and not STANDS_FOR.fullmatch(value):
                    return f"{name} is one of {', '.join(sorted(values))}"
            elif command.subcommands and not arguments:
                if word not in command.subcommands:
                    return None if STANDS_FOR.fullmatch(word) else f"{' '.join(('keyside', *path))} has no {word}"
                if word == "help":
                    return self.problem(words, False)
                path = (*path, word)
                command = self.ask(path)
            else:
                arguments += 1
        name = " ".join(("keyside", *path))
        if arguments > command.most:
            return f"{name} takes {command.most} arguments"
        if not whole or flags and flags[-1] in ("--help", "-h", "--version", "-V"):
            return None
        if command.subcommands:
            return f"{name} needs a subcommand"
        names = {flag for flag in command.flags if command.flags[flag] in [command.flags[given] for given in flags]}
        for flag in command.required:
            if flag not in names:
                return f"{name} needs {flag}"
        return f"{name} needs {command.least} arguments" if arguments < command.least else None


def simple(text):
    """The simple commands of shell text, each as a list of words; text that cannot be read is one word."""
    while inner := SUBSTITUTION.search(text):
        yield from simple(inner[1])
        text = text[: inner.start()] + "$X" + text[inner.end() :]
    lexer = shlex.shlex(text.replace("\n", " ; "), posix=True, punctuation_chars="();<>|&")
    lexer.whitespace_split, lexer.commenters = True, ""
    words, skip = [], False
    try:
        for token in lexer:
            if set(token) <= set("();|&") or token == "":
                if words and token != "":
                    yield words
                    words = []
            elif set(token) <= set("<>&"):
                skip = True
            elif skip:
                skip = False
            else:
                words.append(token)
    except ValueError:
        words = [text]
    if words:
        yield words


def program(words):
    """(program, arguments) without assignments and what runs it, such as sudo, kubectl exec or docker exec."""
    words = list(words)
    while words and (words[0] in BEFORE or ASSIGNMENT.fullmatch(words[0])):
        words.pop(0)
    if words and words[0] in ("kubectl", "docker", "podman", "systemd-run"):
        for at, word in enumerate(words):
            if word == "/usr/bin/keyside" or word == "keyside" and words[at - 1] == "--":
                return "keyside", words[at + 1 :]
    return (words[0], words[1:]) if words else ("", [])


def places(repository, first):
    """(place, shell text, whether it is a whole command) of everything that looks like one; `first` are the
    subcommands that the arguments of a container may begin with."""
    for page in repository.pages:
        for line, text in page.commands:
            yield page.at(line), text, True
        for line, code in page.codes:
            yield page.at(line), code, False
        for block in page.blocks:
            for match in ARGUMENTS.finditer(block.text):
                if match[1].partition(",")[0] in first:
                    yield page.at(block.line + block.text.count("\n", 0, match.start())), f"keyside {match[1].replace(',', ' ')}", True
    for path, text in repository.matching(TEXTS).items():
        tests = text.find("#[cfg(test)]") if path.endswith(".rs") else -1
        if "/tests" in path:
            continue
        for match in QUOTED.finditer(text, 0, tests if tests >= 0 else len(text)):
            yield f"{path}:{text.count(chr(10), 0, match.start()) + 1}", match[1] or match[2], False
        for match in INSTALLED.finditer(text) if not path.endswith(".rs") else ():
            yield f"{path}:{text.count(chr(10), 0, match.start()) + 1}", f"keyside {match[1] or match[2]}", True


def targets(repository):
    return set(re.findall(r"^([a-z-]+):", repository.files.get("Makefile", ""), re.MULTILINE))


def packages(repository):
    manifests = [tomllib.loads(text) for text in repository.matching(r"(?:.*/)?Cargo\.toml").values()]
    return {manifest["package"]["name"] for manifest in manifests if "package" in manifest}


def help_texts(binary):
    """(place, command) of the commands that help texts name."""
    for path, command in binary.everywhere():
        for match in re.finditer(r"`(keyside [^`]+)`|\$\((keyside [^()]+)\)", command.text):
            yield f"keyside help {' '.join(path)}", " ".join((match[1] or match[2]).split()), False


def commands(repository, binary):
    known_targets, known_packages = targets(repository), packages(repository)
    for place, text, whole in [*places(repository, binary.ask(()).subcommands), *help_texts(binary)]:
        for words in simple(text):
            name, arguments = program(words)
            if text in OTHERS:
                continue
            if name == "keyside" or name.endswith("/keyside") and not name.startswith("-"):
                if wrong := binary.problem(arguments, whole and "…" not in text):
                    yield f"{place}: {text.strip()}: {wrong}"
            elif name == "make" and arguments and arguments[0] not in known_targets and not ASSIGNMENT.fullmatch(arguments[0]):
                yield f"{place}: there is no target {arguments[0]}"
            elif name == "cargo" and "-p" in arguments[:-1] and arguments[arguments.index("-p") + 1] not in known_packages:
                yield f"{place}: there is no package {arguments[arguments.index('-p') + 1]}"
            elif whole and re.match(r"(?:tests|\.ci)/", name) and not repository.has(name):
                yield f"{place}: there is no {name}"


def flags(repository, binary):
    """A flag or a pair of words alone in code, such as `--check required` or `key edit`."""
    every = [command for _, command in binary.everywhere()]
    top = binary.ask(())
    for page in repository.pages:
        for line, code in page.codes:
            words = code.split()
            if not words:
                continue
            if re.fullmatch(r"--[a-z][\w-]*", words[0]) and len(words) <= 2:
                rules = [command.flags[words[0]] for command in every if words[0] in command.flags]
                field = words[0].removeprefix("--").replace("-", "_")
                elsewhere = rf"[\"'\s`|]{words[0]}[\"'\s`=),|]|#\[arg\(.*\n\s+(?:pub(?:\(\w+\))? )?{field}: "
                if not rules and not re.search(elsewhere, repository.sources):
                    yield f"{page.at(line)}: nothing has {words[0]}"
                if rules and len(words) == 2 and not any(
                    kind and (not values or words[1] in values or STANDS_FOR.fullmatch(words[1])) for kind, values in rules
                ):
                    yield f"{page.at(line)}: {words[0]} does not take {words[1]}"
            elif len(words) >= 2 and words[0] in top.subcommands and code not in OTHERS and re.fullmatch(r"[a-z-]+", words[1]):
                if wrong := binary.problem(words, False):
                    yield f"{page.at(line)}: {code}: {wrong}"

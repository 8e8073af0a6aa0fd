#!/usr/bin/env python3
"""Which module may import which, inside each crate of the workspace: floors.toml, checked against
the sources.

A module is a file or folder of the crate's `src`. Four rules for non-test code:

- No cycle: neither among the modules of a crate, nor among the modules of one folder. The file
  above a folder (`foo.rs` beside `foo/`) belongs to every module in it: it may use them and they
  it.
- No import from a lower floor to a higher one; each module is on exactly one floor. The crate root
  is above all of them.
- Nothing is imported from the crate root: `crate::Name` fails if `Name` is no module.
- An import names the module that has the item, not another one that re-exports it. Exceptions:
  between the files of one folder, and if `foo.rs` re-exports items of `foo/`.

Unit tests are exempt: nothing depends on them, and they may use any module for their setup. The
check does not see methods, fields, and code that a macro generates.

Exit code 0 if all hold, 1 with file:line for each import that breaks a rule.
"""

import collections
import dataclasses
import pathlib
import re
import sys
import tomllib

from exposure import code_only
from report import report
from repository import ROOT

TABLE = "tests/checks/floors.toml"
TEST_ONLY = re.compile(r"#\[cfg\((?:test|all\(test\b[^\]]*)\)\]\s*(?:#\[[^\]]*\]\s*)*")
MODULE = re.compile(r"\bmod\s+(\w+)\s*([;{])")
USE = re.compile(r"(?<![\w#])use\s+([^;]+);")
VISIBILITY = re.compile(r"\bpub\s*\([^)]*\)")
PATH = re.compile(r"(?<![\w:])(?:crate|self|super)(?:\s*::\s*\w+)+")
ATTRIBUTE = re.compile(r"#\[[^\]]*\]")
QUOTED_PATH = re.compile(r'"((?:crate|self|super)(?:::\w+)+)"')
OPEN, CLOSE = "([{", ")]}"


@dataclasses.dataclass
class Module:
    """A module of one crate: where it is written, and what names its `use` items bring into it."""

    name: tuple
    file: str
    paths: list = dataclasses.field(default_factory=list)
    names: dict = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Import:
    importer: tuple
    target: tuple
    place: str
    text: str


def violations(root):
    """Every import under `root` that breaks a rule, as file:line sentences."""
    floors = tomllib.loads((root / TABLE).read_text(encoding="utf-8"))
    crates = dict(workspace(root))
    yield from (f"{TABLE}: the workspace has no crate {name}" for name in floors if name not in crates)
    for name, folder in crates.items():
        if name not in floors:
            yield f"{TABLE}: the crate {name} is not there"
        yield from in_crate(root, name, folder, floors.get(name, {}).get("floors", []))


def workspace(root):
    """Each crate's name and its folder under `root`."""
    manifest = tomllib.loads((root / "Cargo.toml").read_text(encoding="utf-8"))
    for member in [".", *manifest["workspace"]["members"]]:
        package = tomllib.loads((root / member / "Cargo.toml").read_text(encoding="utf-8"))["package"]
        yield package["name"], (pathlib.PurePosixPath(member) / "src").as_posix()


def in_crate(root, crate, folder, floors):
    modules = crate_modules(root, folder)
    if len(modules) < 2:
        yield f"{folder}: no modules found; does this check still read the sources?"
    imports = []
    for module in modules.values():
        for path, place in module.paths:
            target, passed = resolve(modules, path)
            text = "::".join(("crate", *path))
            imports.append(Import(module.name, target, place, text))
            if module.name and path and not passed:
                yield f"{place}: {text} is imported from the crate root; name the module that has it"
            elif passed and target[:1] != passed and module.name[:1] != passed:
                yield f"{place}: {text} is only re-exported there; name {'::'.join(('crate', *target))}"
    yield from cycles(crate, modules, imports)
    yield from upward(crate, {name[0] for name in modules if name}, imports, floors)


def crate_modules(root, folder):
    """The modules that a build without tests compiles, by their path from the crate root: () is the
    root itself."""
    modules = {}
    main = next(name for name in ("lib.rs", "main.rs") if (root / folder / name).exists())
    waiting = [((), root / folder / main, root / folder)]
    while waiting:
        name, file, below = waiting.pop()
        text = file.read_text(encoding="utf-8")
        code = without_tests(code_only(text))
        place = file.relative_to(root).as_posix()
        for inner, start, end in inline_modules(code, name):
            modules[inner] = Module(inner, place)
            read_paths(modules[inner], text, code, start, end)
            code = code[:start] + re.sub(r"[^\n]", " ", code[start:end]) + code[end:]
        modules[name] = Module(name, place)
        read_paths(modules[name], text, code, 0, len(code))
        for match in MODULE.finditer(code):
            if match.group(2) == ";":
                child = match.group(1)
                waiting.append(((*name, child), below / f"{child}.rs", below / child))
    for module in modules.values():
        absolute = ((from_root(modules, module.name, path), place) for path, place in module.paths)
        module.paths = [(path, place) for path, place in absolute if path is not None]
        module.names = {short: from_root(modules, module.name, path) for short, path in module.names.items()}
    return modules


def without_tests(code):
    """Blanks each item that only a test build has."""
    while match := TEST_ONLY.search(code):
        end = item_end(code, match.end())
        code = code[: match.start()] + re.sub(r"[^\n]", " ", code[match.start() : end]) + code[end:]
    return code


def item_end(code, start):
    """Where the item ends that begins at `start`: after its `;`, its block, or (a field or an arm)
    its comma."""
    is_use = re.match(r"(?:pub(?:\([^)]*\))?\s+)?use\b", code[start:])
    depth = 0
    for at in range(start, len(code)):
        letter = code[at]
        if letter in OPEN:
            depth += 1
        elif letter in CLOSE:
            depth -= 1
            if depth < 0:
                return at
            if depth == 0 and letter == "}" and not is_use:
                return at + 1
        elif depth == 0 and letter in ";,":
            return at + 1
    return len(code)


def inline_modules(code, name):
    """Modules written in their parent's file, innermost first: path, start and end of their text.
    """
    found = []
    for match in MODULE.finditer(code):
        if match.group(2) == "{":
            start = match.end()
            end = item_end(code, start - 1)
            outer = max((one for one in found if one[1] < start < one[2]), key=lambda one: one[1], default=(name,))
            found.append(((*outer[0], match.group(1)), start, end))
    return reversed(found)


def read_paths(module, text, code, start, end):
    """Collects the paths and imported names of `code[start:end]`."""
    body = VISIBILITY.sub(lambda match: " " * len(match.group()), code[start:end])
    for match in USE.finditer(body):
        place = at_line(module, code, start + match.start())
        for path, short in use_tree(match.group(1)):
            module.paths.append((path, place))
            if short:
                module.names[short] = path
    rest = USE.sub(lambda match: re.sub(r"[^\n]", " ", match.group()), body)
    for match in PATH.finditer(rest):
        module.paths.append((split(match.group()), at_line(module, code, start + match.start())))
    # serde's `with = "…"` and its like; not in a comment, which is blank in `code`.
    for match in ATTRIBUTE.finditer(text, start, end):
        if code[match.start()] == "#":
            for quoted in QUOTED_PATH.finditer(match.group()):
                module.paths.append((split(quoted.group(1)), at_line(module, code, match.start())))


def at_line(module, code, offset):
    return f"{module.file}:{code.count(chr(10), 0, offset) + 1}"


def split(path):
    return tuple(re.findall(r"\w+|\*", path))


def use_tree(text, prefix=()):
    """Each path of a `use` item with the name that it gives it: `a::{b, c::d as e}` is (a::b, b),
    (a::c::d, e)."""
    text = text.strip()
    head, brace, inner = text.partition("{")
    if brace:
        prefix = (*prefix, *split(head))
        for part in parts(inner.rstrip().removesuffix("}")):
            yield from use_tree(part, prefix)
        return
    path, _, alias = (part.strip() for part in re.sub(r"\s+as\s+", " as ", text).partition(" as "))
    segments = (*prefix, *split(path))
    if prefix and segments[-1] == "self":
        segments = segments[:-1]
    yield segments, None if segments[-1] == "*" else alias or segments[-1]


def parts(text):
    """The text between the commas that are in no braces."""
    depth, start = 0, 0
    for at, letter in enumerate(text):
        depth += (letter == "{") - (letter == "}")
        if letter == "," and depth == 0:
            yield text[start:at]
            start = at + 1
    if text[start:].strip():
        yield text[start:]


def from_root(modules, importer, path):
    """The path from the crate root; None for one that leads to another crate or to a name of the
    same module."""
    first = path[0]
    if first == "crate":
        return path[1:]
    if first in ("self", "super"):
        here, rest = importer, path
        while rest and rest[0] in ("self", "super"):
            here, rest = (here[:-1] if rest[0] == "super" else here), rest[1:]
        return (*here, *rest)
    return (*importer, *path) if (*importer, first) in modules else None


def resolve(modules, path):
    """The module that has what `path` names, and the top module that the path itself names: () if
    it names none."""
    passed = path[:1] if path[:1] in modules else ()
    here, rest = (), path
    for _ in range(64):
        if not rest:
            break
        step = (*here, rest[0])
        if step in modules:
            here, rest = step, rest[1:]
        elif (onward := modules[here].names.get(rest[0])) and onward != step:
            here, rest = (), (*onward, *rest[1:])
        else:
            break
    return here, passed


def cycles(crate, modules, imports):
    """Each strongly connected set of modules with the imports that connect it, level by level."""
    levels = collections.defaultdict(lambda: collections.defaultdict(list))
    for one in imports:
        shared = 0
        while one.importer[shared : shared + 1] == one.target[shared : shared + 1] != ():
            shared += 1
        if len(one.importer) > shared and len(one.target) > shared:
            level = one.importer[:shared]
            levels[level][one.importer[shared], one.target[shared]].append(one)
    for level, edges in sorted(levels.items()):
        for group in connected(edges):
            where = "::".join((crate.replace("-", "_"), *level))
            within = [(*edge, set(ones)) for edge, ones in sorted(edges.items()) if group.issuperset(edge)]
            told = [
                f"\n    {one.place}: {source} -> {target} ({one.text})"
                for source, target, ones in within
                for one in sorted(ones, key=lambda one: one.place)
            ]
            yield f"{where}: a cycle of {', '.join(sorted(group))}:{''.join(told)}"


def connected(edges):
    """The sets of more than one node that all reach each other."""
    below = collections.defaultdict(set)
    for source, target in edges:
        below[source].add(target)
    reach = {node: reached(below, node) for node in below}
    groups = {frozenset(other for other in reach[node] if node in reach.get(other, ())) for node in reach}
    return sorted((group for group in groups if len(group) > 1), key=sorted)


def reached(below, start):
    seen, stack = set(), [start]
    while stack:
        for node in below.get(stack.pop(), ()):
            if node not in seen:
                seen.add(node)
                stack.append(node)
    return seen


def upward(crate, tops, imports, floors):
    """Imports from a lower floor to a higher one, modules on no floor or on two, and names that are
    no module."""
    listed = [module for floor in floors for module in floor]
    yield from (f"{TABLE}: {crate}: {module} is on no floor" for module in sorted(tops - set(listed)))
    yield from (f"{TABLE}: {crate}: {module} is no module" for module in sorted(set(listed) - tops))
    twice = sorted({module for module in listed if listed.count(module) > 1})
    yield from (f"{TABLE}: {crate}: {module} is on two floors" for module in twice)
    height = {module: number for number, floor in enumerate(floors, 1) for module in floor}
    for one in sorted(set(imports), key=lambda one: one.place):
        source, target = (name[0] if name else None for name in (one.importer, one.target))
        if height.get(source, 0) < height.get(target, 0) and source in height:
            yield f"{one.place}: {source} (floor {height[source]}) imports {target} (floor {height[target]}): {one.text}"


if __name__ == "__main__":
    sys.exit(report("floors", violations(ROOT), f"{len(dict(workspace(ROOT)))} crates"))

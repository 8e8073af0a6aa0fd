"""Settings: docs/CONFIGURATION.md describes each with its default, every page names only those that there are, and the binary accepts
each block of TOML."""

import json
import re
import tomllib

import markdown

PAGE, DEFAULTS = "docs/CONFIGURATION.md", "config/defaults.toml"
SECTIONS = re.compile(r"`\[+([\w.<>-]+)\]+`")
#: The section that a heading without its name is about.
NAMED = {"Where a provider reports tokens": ["providers.<id>.usage"]}
STRUCT = re.compile(r"#\[serde\((?:default, )?deny_unknown_fields\)\]\n(?:#\[.*\n|///.*\n)*(?:pub(?:\([\w: ]+\))? )?struct (\w+) \{\n(.*?)\n\}", re.DOTALL)
FIELD = re.compile(r"(?:^ +#\[serde\(.*?rename = \"(\w+)\".*\n)?^    (?:pub(?:\([\w: ]+\))? )?(\w+): (.+),$", re.MULTILINE)
#: The types behind a name of another file: serde reads these through a conversion.
CONVERTED = {"Check": "CheckDocument", "PromptRule": "PromptDocument"}
ROOT, PROVIDER = ("config/src/settings/document.rs", "Document"), ("config/src/provider/document.rs", "ProviderDocument")
#: In the catalogue's own files only; a settings file may set them too, and nobody needs to.
UNDOCUMENTED = re.compile(r"providers\.<id>\.(?:name|steps|rate_limits|sandbox|endpoint|headers|error|check\.note)\b.*")
#: The lists of routes have the same items; the page describes them once.
SAME = re.compile(r"(?:stored|extra)_routes")
#: A folder while a restore fills it.
RESTORED = ".restoring"
#: Blocks for another program, by their first line.
OTHER_TOML = ("model_provider = ",)
#: What a part of settings needs to be whole: (how to recognise it, what goes before it, what goes after it).
PARTS = (
    (re.compile(r"source = "), '[[credential]]\nworkspace = "acme"\nprovider = "openai"\n', ""),
    (re.compile(r"\[\[providers\.mine\.usage\]\]"), "[providers.mine]\nbase_url = 'https://gw.example'\n", ""),
    (re.compile(r'(?!.*\[\[credential\]\]).*backend = "none"', re.DOTALL), "", '[[credential]]\nworkspace = "acme"\nprovider = "openai"\nsource = "file:key"\n'),
)
CHART = "charts/keyside/values.yaml"


def leaves(table, prefix=""):
    for key, value in table.items():
        if isinstance(value, dict):
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", json.dumps(value)


def structs(repository):
    """{(file, name): {field: type}} of the structs that settings are read into."""
    return {
        (path, name): {renamed or field: kind for renamed, field, kind in FIELD.findall(body)}
        for path, text in repository.matching(r"config/src/(?:settings|provider).*\.rs").items()
        for name, body in STRUCT.findall(text)
    }


def known(repository):
    """Every key that a settings file may have, with `<id>` for a provider's; a list of tables counts as a table."""
    found = structs(repository)

    def below(fields, prefix):
        for field, kind in fields.items():
            kind = re.sub(r"(?:Option|Vec)<(.*)>", r"\1", re.sub(r"(?:Option|Vec)<(.*)>", r"\1", kind)).rpartition("::")[2]
            names = [table for (_, name), table in found.items() if name == CONVERTED.get(kind, kind)]
            yield prefix + field
            if kind == "Documents":
                yield from below(found[PROVIDER], f"{prefix}providers.<id>.")
            elif names:
                yield from below(names[0], f"{prefix}{field}.")

    return set(below(found[ROOT], "")) if ROOT in found else set()


def is_table(key, keys):
    return any(other.startswith(f"{key}.") for other in keys)


def rows(page):
    """(line, the settings of a row, the other cells) of the tables of settings; a row's key may leave out its heading's section."""
    for row in page.rows:
        sections = SECTIONS.findall(row.heading) or NAMED.get(row.heading, [])
        if row.columns[0] != "key" or not sections:
            continue
        named = []
        for key in markdown.codes(row.cells[0]):
            whole = len(sections) > 1 or key.startswith(f"{sections[0]}.")
            named.append(key if whole else f"{sections[0]}.{key}")
        yield row.line, named, row.cells[1:] if "default" in row.columns else (None, *row.cells[1:])


def configuration(repository):
    return repository.documents.get(PAGE) or markdown.Page(PAGE, "")


def inside(page):
    """{(setting, name)}: the names that code in a setting's row has, and the keys of its tables in the page's blocks of TOML."""
    found = set()
    for _, named, cells in rows(page):
        names = re.findall(r"\w+", " ".join(code for cell in cells if cell for code in markdown.codes(cell)))
        found.update((key, name) for key in named for name in names)
    for block in page.blocks:
        if block.language == "toml":
            found.update(tables(tomllib.loads(block.text)))
    return found


def tables(value, at=""):
    for name, inner in value.items():
        key = f"{at}.{name}" if at else name
        for item in inner if isinstance(inner, list) else [inner]:
            if isinstance(item, dict):
                yield from ((key, field) for field in item)
                yield from tables(item, key)


def is_inside(key, described):
    """Whether the page describes a key in the row of a table that has it."""
    above, _, name = SAME.sub("routes", key).rpartition(".")
    while above:
        if (above, name) in described:
            return True
        above = above.rpartition(".")[0]
    return False


def defaults(repository):
    """docs/CONFIGURATION.md has a row for each setting; where config/defaults.toml has a default, it is in the row."""
    page, keys = configuration(repository), known(repository)
    values = dict(leaves(tomllib.loads(repository.files[DEFAULTS])))
    described, within = {}, inside(page)
    for line, named, (default, *_) in rows(page):
        for key in named:
            described[key] = default
            if key not in keys:
                yield f"{page.at(line)}: there is no setting {key}"
            elif key in values and default != f"`{values[key]}`":
                yield f"{page.at(line)}: {key}: the page says {default}, {DEFAULTS} `{values[key]}`"
    for key in sorted(keys):
        if is_table(key, keys) or key in described or is_inside(key, within) or UNDOCUMENTED.fullmatch(key):
            continue
        yield f"{key} is not in {PAGE}"
    if not keys:
        yield "config/src/settings/document.rs has no settings that this check can read"


def chart(repository):
    """The keys of the chart's values, with dots, from their indentation; a key in a comment counts. A table of `sidecars` is documented
    as `sidecar`."""
    found, path = set(), []
    for line in repository.files.get(CHART, "").splitlines():
        if match := re.match(r"^( *)(?:# )?([A-Za-z]\w*):(?: |$)", line):
            path = [*path[: len(match[1]) // 2], match[2]]
            found.add(".".join(path))
    return found


def exists(key, keys):
    parts = key.split(".")
    if parts[0] == "providers" and len(parts) > 1:
        key = ".".join(["providers", "<id>", *parts[2:]])
    free = key.startswith("providers.<id>.headers.")
    return free or key in keys or is_table(key, keys)


def keys(repository):
    """Each `section.key`, `key = value` and `[section]` in text is a setting, or a value of the chart."""
    keys, values = known(repository), chart(repository)
    sections = {key.partition(".")[0] for key in keys}
    for page in repository.pages:
        for line, code in page.codes:
            if match := re.fullmatch(r"\[\[?([\w.<>-]+)\]?\](?: (\w+) = .*)?", code):
                named = match[1] + (f".{match[2]}" if match[2] else "")
            elif match := re.fullmatch(r"([a-z]\w*(?:\.[\w<>-]+)+)(?:…| ?= ?.*)?", code):
                named = match[1]
            else:
                continue
            first = named.partition(".")[0]
            if code.startswith("[") and not exists(named, keys) and f"[{match[1]}]" not in repository.sources:
                yield f"{page.at(line)}: {code}: there is no such section"
                continue
            if first not in sections and first not in values or named.endswith(RESTORED) or repository_file(repository, named):
                continue
            # An event, a file of an archive: the sources have these as they are.
            if not exists(named, keys) and named not in values and f'"{named}"' not in repository.sources:
                yield f"{page.at(line)}: {code}: there is no such setting, nor a value of the chart"


def repository_file(repository, name):
    return any(path == name or path.endswith(f"/{name}") for path in repository.files)


def blocks(repository, program):
    """Each block of TOML in a page, and each example file, is accepted by `keyside check`, but for the files that it names."""
    texts = [(page.at(block.line), block.text) for page in repository.pages for block in page.blocks if block.language == "toml"]
    texts += [(path, text) for path, text in repository.matching(r"docs/examples/.*\.toml").items()]
    for place, text in texts:
        if text.startswith(OTHER_TOML):
            continue
        for part, before, after in PARTS:
            if part.match(text):
                text = f"{before}{text}\n{after}"
        try:
            tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            yield f"{place}: {error}"
            continue
        if wrong := program.refusal(text):
            yield f"{place}: {wrong}"

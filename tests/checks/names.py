"""Names: files, variables, paths of the API, metrics, lists of names, and every other word in code."""

import http
import json
import pathlib
import re

import markdown
import metrics
import settings

FILE = re.compile(r"\.?[\w@*-][\w.@*-]*(?:/[\w.@*-]+)*/?")
SUFFIXES = {
    "rs", "py", "sh", "toml", "md", "yml", "yaml", "json", "mjs", "js", "html", "tpl", "txt", "css", "in", "svg", "lock", "service", "conf",
}
VARIABLE = re.compile(r"\b(?:KEYSIDE|KMS|VAULT|PROVIDER_SMOKE|SMOKE)_[A-Z0-9_]*[A-Z0-9]\b")
METHODS = r"(?:GET|POST|PUT|PATCH|DELETE|HEAD)"
CALL = re.compile(rf"({METHODS}(?: {METHODS})*) (…?/[^\s?]*)(?:\?(\S+))?")
OWN_PATH = re.compile(r"…?/(?:api|openapi|healthz|readyz|metrics|guide)\b[^\s?]*")
#: Answered by the observe listener and the admin page, which the description of the API leaves out.
OTHER_PATHS = {"/healthz", "/readyz", "/metrics", "/guide", "/openapi.json"}


def resembles_file(repository, code):
    """Whether code is written like a path of this repository."""
    if not FILE.fullmatch(code) or not re.search(r"[a-z]", code):
        return False
    last = code.rpartition("/")[2]
    top = code.partition("/")[0]
    return "." in last and last.rpartition(".")[2] in SUFFIXES or "/" in code and top in repository.folders


def is_file(repository, page, code):
    """Whether a file or folder ends like this path, from the root or the page's folder on; `*` and `ID` are any part of a name."""
    shape = re.sub(r"\\\*|\bID\b", "[^/]*", re.escape(code.rstrip("/")))
    here = str(pathlib.PurePosixPath(page.path).parent / code.rstrip("/"))
    return here in repository.files or here in repository.folders or re.search(rf"^(?:.*/)?{shape}$", repository.listing, re.MULTILINE)


def files(repository):
    """Each path in code is one of this repository, or a name that its sources use."""
    for page in repository.pages:
        for line, code in page.codes:
            path = re.sub(r":\d+$", "", code.partition(" ")[0] if code.startswith(("tests/", ".ci/")) else code)
            if resembles_file(repository, path) and path not in FOREIGN and not is_file(repository, page, path):
                if path not in repository.words and f"/{path}" not in repository.sources and f'"{path}' not in repository.sources:
                    yield f"{page.at(line)}: {code}: there is no such file"


def variables(repository):
    """Each variable of ours is read somewhere, or is the name of a setting."""
    known = FOREIGN | repository.words | {f"KEYSIDE_{key.upper().replace('.', '__')}" for key in settings.known(repository)}
    examples = [markdown.Page(path, text) for path, text in repository.matching(r"docs/examples/.*(?<!\.md)").items()]
    for page in [*repository.pages, *examples]:
        for name in sorted(set(VARIABLE.findall(page.text))):
            provider = re.sub(r"^(KEYSIDE_PROVIDERS)__[A-Z0-9_]+?__", r"\1__<ID>__", name)
            if name not in known and provider not in known and not prefix_of(repository, name):
                line = page.text.count("\n", 0, page.text.index(name)) + 1
                yield f"{page.at(line)}: nothing reads the variable {name}"


def prefix_of(repository, name):
    """Whether the sources put a name together from a beginning and an end: KEYSIDE_CONTRACT_URL_ and a provider's."""
    first = name.rpartition("_")[0]
    return first.isupper() and (f"{first}_" in repository.words or f"{first}_{{" in repository.sources)


def described(repository):
    """{path: {method: names of its query}} of docs/openapi.json."""
    document = json.loads(repository.files["docs/openapi.json"])
    return {
        path: {
            method.upper(): {parameter["name"] for parameter in call.get("parameters", ()) if parameter.get("in") == "query"}
            for method, call in calls.items()
            if isinstance(call, dict)
        }
        for path, calls in document["paths"].items()
    }


def calls_of(paths, path):
    """The calls of all paths that a path of the documentation can mean: `…` stands for a beginning, a segment for a parameter."""
    def shape(known):
        return "".join("[^/]+" if part.startswith("{") else re.escape(part) for part in re.split(r"(\{\w+\})", known))

    asked = re.sub(r"\{\w+\}|<\w+>|\$\{?\w+\}?|…(?!/)", "x", path)
    if path.startswith("…"):
        end = asked.lstrip("…")
        ends = lambda known: (known[slash.start() :] for slash in re.finditer("/", known))
        return [calls for known, calls in paths.items() if any(re.fullmatch(shape(rest), end) for rest in ends(known))]
    return [calls for known, calls in paths.items() if re.fullmatch(shape(known), asked)]


def api(repository):
    """Each call of the admin API in text and in blocks is described, with its method and its query."""
    paths = described(repository)
    for page in repository.pages:
        texts = [(line, code) for line, code in page.codes]
        for block in page.blocks:
            for number, text in enumerate(block.text.splitlines()):
                texts += [(block.line + number, found) for found in re.findall(r"(?<=\d|\})(/api/[^\s\"'`?]+)", text)]
        for line, code in texts:
            call = CALL.fullmatch(code)
            path = call[2] if call else code
            ours = call and path.startswith("…") or OWN_PATH.fullmatch(path)
            if not ours or path.rstrip("/") in OTHER_PATHS:
                continue
            found = calls_of(paths, path.rstrip("/"))
            if not found:
                yield f"{page.at(line)}: {code}: docs/openapi.json has no such path"
            elif call:
                for method in call[1].split():
                    if not any(method in calls for calls in found):
                        yield f"{page.at(line)}: {code}: docs/openapi.json has no {method} there"
                for name in re.findall(r"(?:^|&)(\w+)=", call[3] or ""):
                    if not any(name in query for calls in found for query in calls.values()):
                        yield f"{page.at(line)}: {code}: docs/openapi.json has no {name} there"


def series(repository):
    """Each metric in a page has the name and labels that docs/OPERATING.md lists."""
    known = metrics.documented(repository.files["docs/OPERATING.md"])
    for page in repository.pages:
        for line, text in [*page.codes, *((block.line, block.text) for block in page.blocks)]:
            for name in metrics.MENTIONED.findall(text):
                if not re.fullmatch(rf"{metrics.PREFIX}_(?:{'|'.join(CRATES)}|.*_)", name) and not name.startswith(CRATE_PREFIXES):
                    yield from metrics.unknown(page.at(line), without_listing(text), known)
                    break


def without_listing(text):
    """A metric as tables list it, `name{label,label}`, as an expression."""
    return re.sub(r"\{([a-z_]+(?:,[a-z_]+)*)\}", lambda match: "{" + ",".join(f'{label}="x"' for label in match[1].split(",")) + "}", text)


CRATES = ("config", "proxy", "credentials", "admin", "store", "sled", "vault")
CRATE_PREFIXES = tuple(f"keyside_{crate}=" for crate in CRATES)


#: Lists of names that the sources and a table of a page must have in common: what they are, the files, what a name looks like there
#: (and what it comes with), the page, the heading above the table, the columns that have the name (and what it comes with), and what
#: the row must contain.
LISTS = (
    ("problem type", r"admin/src/problem/kind\.rs", r'\("([a-z0-9-]+)",\s*StatusCode::([A-Z_]+)', "docs/API.md", "Problems", ("type", "status")),
    (
        "refusal", r"proxy/src/refusal\.rs|credentials/src/model/refusal\.rs", r'(?:=> |\(\s*)"([a-z]+_[a-z_]+|draining|overloaded)"',
        "docs/SDKS.md", "When Keyside says no", ("code",),
    ),
    (
        "event of a webhook", r"config/src/settings/webhook\.rs", r'^\s+[A-Z]\w+ = "([a-z_]+\.[a-z_]+)", (?:true|false);',
        "docs/WEBHOOKS.md", "Events", ("in `events` and `type`",),
    ),
    ("cause of a verdict", r"config/src/provider/verdict\.rs", r'^\s+[A-Z]\w+ = "([a-z_]+)", [A-Z]', "docs/API.md", "Live checks", ("`cause`",)),
    (
        "cause of a rejection", r"credentials/src/model/traffic\.rs", r'^\s+(?:WrongKey|Revoked|NoFunds|Quota) = "([a-z_]+)",',
        "docs/API.md", "Keys that a provider rejects in traffic", ("cause",),
    ),
    ("verdict of a smoke check", r"credentials/src/smoke/outcome\.rs", r'^\s+[A-Z]\w+ = "([a-z_]+)",', "docs/SMOKE.md", "What is checked", ("result",)),
    ("audit event", r"credentials/src/record\.rs", r'^\s+[A-Z]\w+ = "([a-z_]+)", [A-Z]\w+;', "docs/API.md", "Events", ("event",)),
    ("exit code", r"src/failure\.rs", r"Self::new\((\d+), ", "docs/OPERATING.md", "Starting", ("exit code",)),
    ("outcome of a request", r"credentials/src/runs/outcome\.rs", r'^\s+[A-Z]\w+ = "([a-z_]+)",', "docs/OPERATING.md", "What to monitor", ("",), "keyside_requests_total"),
)
STATUS = {status.name: status.value for status in http.HTTPStatus} | {"PAYLOAD_TOO_LARGE": 413, "UNPROCESSABLE_ENTITY": 422}


def of_sources(repository, files, shape):
    found = set()
    for text in repository.matching(files).values():
        for match in re.finditer(shape, text.partition("#[cfg(test)]")[0], re.MULTILINE):
            found.add(tuple(str(STATUS.get(part, part)) for part in match.groups()))
    return found


def of_page(page, heading, columns, only=""):
    found = set()
    for row in page.rows:
        if row.heading != heading or not set(columns) <= set(row.columns) or only not in row.cells[0]:
            continue
        name, *others = (row.cells[row.columns.index(column)] for column in columns)
        found.update((code, *others) for code in markdown.codes(name) if re.fullmatch(r"[\w.-]+", code))
    return found


def vocabularies(repository):
    """Each list of names is the same in the sources and in its table."""
    for what, files, shape, path, heading, columns, *only in LISTS:
        page = repository.documents.get(path) or markdown.Page(path, "")
        code, listed = of_sources(repository, files, shape), of_page(page, heading, columns, *only)
        if not code:
            yield f"{files} has no {what} that this check can read"
        for entry in sorted(code - listed):
            yield f"{path}, {heading}: the {what} {' '.join(entry)} is missing"
        for entry in sorted(listed - code):
            yield f"{path}, {heading}: the sources have no {what} {' '.join(entry)}"


#: Names of others that no source has: of other programs, of errors that clients raise, of files that are only made.
FOREIGN = {
    "ANTHROPIC_CUSTOM_HEADERS", "GROQ_CUSTOM_HEADERS", "VAULT_SKIP_VERIFY", "X-Real-IP", "auto_rotate_period", "stream_options.include_usage", "subPath",
    "promtool", "gdb", "perf", "strace", "recvfrom", "writev", "ModelNotFoundError", "OpenAIModelNotFoundError", "NotFoundError", "MI_DEFAULT_ARENA_EAGER_COMMIT",
    "CacheDirectory", "CacheDirectoryMode", "DynamicUser", "OPENAI_CUSTOM_HEADERS", "WEBHOOK_SECRET", "compare_digest", "is_genuine",
    # Put together from parts, or patterns of names.
    "keyring.lock", "workspace.ID", "keyside-acme-_", "keyside-_installation", "smoke-openai", "any_history", "a_revoked_key_is_refused_at_once", "PACKAGE",
    # In rules of style: what there is not.
    "foo.rs", "mod.rs", "get_", "Manager",
}
#: A name: letters and digits, with dots, hyphens and underscores between them.
NAME = re.compile(r"[A-Za-z@]\w*(?:[.-]\w+)*")
PHRASE = re.compile(r"[a-z][a-z']*(?: [a-z][a-z']*){2,}")
#: What a phrase that is a command begins with.
PROGRAMS = ("make ", "keyside ", "pip ", "npm ", "bao ", "systemctl ")
#: A part of anything else; shorter ones prove nothing.
PART = re.compile(r"[A-Za-z]\w{2,}[A-Za-z0-9]")
#: A name in a block: it has an underscore or a capital inside, and is no id or signature.
JOINED = re.compile(r"\b(?!\w{24})[A-Za-z]\w*(?:_|[a-z][A-Z])\w*[A-Za-z0-9]\b")
COMMIT = re.compile(r"(?=\w*\d)[0-9a-f]{7}")


def is_source(repository, name):
    """Whether a name, or each part of `Type.method`, is in the sources."""
    if re.fullmatch(r"[A-Z]\w*\.\w+", name):
        return repository.words.issuperset(name.split("."))
    return name in repository.words or name in repository.sources and re.search(rf"(?<!\w){re.escape(name)}(?!\w)", repository.sources)


def words(repository):
    """Each name in code is in the sources, and so is each phrase, such as the message of a log line, and each part of other code; in
    blocks, each name that is joined from several words."""
    known = settings.known(repository) | settings.chart(repository) | FOREIGN
    parts = repository.words | known | {f"KEYSIDE_{key.upper().replace('.', '__')}" for key in known}
    for page in repository.pages:
        for line, code in page.codes:
            if COMMIT.fullmatch(code) or resembles_file(repository, code):
                continue
            if PHRASE.fullmatch(code):
                if not code.startswith(PROGRAMS) and code not in repository.prose:
                    yield f"{page.at(line)}: {code}: no source has these words"
            elif NAME.fullmatch(code):
                if code not in known and not is_source(repository, code):
                    yield f"{page.at(line)}: {code}: no source has this name"
            else:
                for part in PART.findall(code):
                    if part not in parts and f"{part}_" not in parts and not prefix_of(repository, part):
                        yield f"{page.at(line)}: {code}: no source has {part}"
        for block in page.blocks:
            for number, text in enumerate(block.text.splitlines()):
                for name in JOINED.findall(text):
                    if name not in parts and not prefix_of(repository, name):
                        yield f"{page.at(block.line + number)}: no source has {name}"

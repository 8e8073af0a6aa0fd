"""Tests of the checks of documentation, on small repositories: each rule passes what is right, and reports what is wrong with its line."""

import json
import unittest

import commands
import exposed
import links
import markdown
import names
import pictures
import settings
from repository import Repository

HELP = {
    (): "Keys\n\nUsage: keyside [OPTIONS] <COMMAND>\n\nCommands:\n  key     Keys: add\n  serve   Run\n  help    Help\n\n"
    "Options:\n  -h, --help  Print help\n",
    ("key",): "Keys\n\nUsage: keyside key [OPTIONS] <COMMAND>\n\nCommands:\n  add     Store a key\n  revoke  Revoke a key\n",
    ("key", "add"): "Store\n\nUsage: keyside key add [OPTIONS] --provider <PROVIDER>\n\nOptions:\n"
    "  -p, --provider <PROVIDER>  The provider\n      --check <WHEN>         Ask first [default: try] [possible values: required, try, skip]\n"
    "      --stdin                Read it\n",
    ("key", "revoke"): "Revoke\n\nUsage: keyside key revoke [OPTIONS] <ID>\n\nArguments:\n  <ID>  Its id\n\nOptions:\n      --cut  Cut off\n",
    ("serve",): "Run\n\nUsage: keyside serve [OPTIONS]\n",
}
STRUCTS = """
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Document {
    proxy: ProxyDocument,
    #[serde(default)]
    credential: Vec<DeclaredDocument>,
}

#[serde(deny_unknown_fields)]
struct ProxyDocument {
    threads: usize,
    limits: Option<Limits>,
}

#[serde(deny_unknown_fields)]
pub struct Limits {
    /// The fields of a head.
    pub headers: usize,
}

#[serde(deny_unknown_fields)]
struct DeclaredDocument {
    #[serde(rename = "source")]
    origin: String,
}
"""
DEFAULTS = "[proxy]\nthreads = 0\n[proxy.limits]\nheaders = 100\n"
PAGE = """\
## `[proxy]`: x

| key | default | |
|---|---|---|
| `threads` | `0` | how many |

### `[proxy.limits]`

| key | default | |
|---|---|---|
| `headers` | `100` | fields |

## `[[credential]]`

| key | |
|---|---|
| `source` | where |
"""
OPENAPI = {"paths": {"/api/keys": {"get": {"parameters": [{"in": "query", "name": "limit"}]}}, "/api/keys/{id}/verify": {"post": {}}}}


class Documents(unittest.TestCase):
    rule = None

    def found(self, text, **files):
        """The problems of the rule in a repository with this README."""
        written = {name.replace("__", "/").replace("_rs", ".rs"): body for name, body in files.items()}
        repository = Repository({"README.md": text, **written})
        return list(type(self).rule(repository))

    def passes(self, *texts, **files):
        for text in texts:
            self.assertEqual(self.found(text, **files), [], text)

    def fails(self, *texts, **files):
        for text in texts:
            found = self.found(text, **files)
            self.assertEqual(len(found), 1, (text, found))
            self.assertTrue(found[0].startswith("README.md:"), found)


class Markdown(unittest.TestCase):
    def test_code_links_and_tables_are_read_with_their_lines(self):
        page = markdown.Page("a.md", "# A `b` c\n\none `two\nthree` [x](y.md#z)\n\n```sh\nmake x\n```\n\n| a | b |\n|---|---|\n| `c|d` | e |\n")
        self.assertEqual(page.codes[1:], [(3, "two three"), (12, "c|d")])
        self.assertEqual(page.links, [(4, "y.md#z")])
        self.assertEqual(page.blocks, [markdown.Block("sh", "make x", 7, "A `b` c")])
        self.assertEqual(page.rows, [markdown.Row(12, "A `b` c", ("a", "b"), ("`c|d`", "e"))])
        self.assertEqual(set(page.anchors), {"a-b-c"})

    def test_a_fence_in_a_fence_and_a_comment_are_no_text(self):
        page = markdown.Page("a.md", "````md\n```\n[a](b)\n````\n<!-- [c](d) -->\n[e](f)\n")
        self.assertEqual(page.links, [(6, "f")])

    def test_commands_are_read_from_blocks_and_tables(self):
        page = markdown.Page(
            "a.md",
            "```sh\n# no command\na \\\n  b  # why\nc '#d'\n```\n\n| to | command |\n|---|---|\n| `x` | `e \\| f`, `d` |\n\n"
            "```console\n$ g\nshown\n```\n\n```toml\nh = 1\n```\n",
        )
        self.assertEqual(page.commands, [(3, "a b"), (5, "c '#d'"), (10, "e | f"), (10, "d"), (13, "g")])

    def test_a_repeated_heading_gets_a_number(self):
        self.assertEqual(set(markdown.Page("a.md", "## A\n## A\n").anchors), {"a", "a-1"})


class Links(Documents):
    rule = links.links
    OTHER = {"OTHER.md": "## The walk of one request\n", "src/a.rs": "fn a() {}\n"}

    def found(self, text, **files):
        return list(links.links(Repository({"README.md": text, **self.OTHER, **files})))

    def test_what_exists_passes(self):
        self.passes(
            "[a](OTHER.md#the-walk-of-one-request) [b](src) [c](src/a.rs#L1) [d](#e)\n# E\n",
            "[a][b]\n\n[b]: https://platform.openai.com/docs\n",
            "<https://keyside.example/x> and http://127.0.0.1:7380/w",
            "`[a](GONE.md)`",
        )

    def test_a_missing_file_heading_line_and_definition_are_found(self):
        self.fails("[a](GONE.md)", "[a](OTHER.md#gone)", "[a](#gone)", "[a](src/a.rs#L9)", "[a][b]", "[a](../outside.md)", "[a][b]\n\n[b]: GONE.md\n")

    def test_an_address_of_this_repository_is_a_link_to_its_file(self):
        self.passes("https://github.com/keyside/keyside/blob/main/OTHER.md#the-walk-of-one-request")
        self.fails("https://github.com/keyside/keyside/blob/main/GONE.md", "https://github.com/keyside/keyside/blob/main/OTHER.md#gone")

    def test_an_unknown_host_and_a_malformed_address_are_found(self):
        self.fails("[a](https://exmaple.dev/)", "[a](https://github.com.evil.dev/)", "[a](https:///x)")

    def test_a_page_that_a_source_names_is_a_link_too(self):
        pages = {"docs/A.md": "## Here\n"}
        self.assertEqual(self.found("", **pages, **{"src/b.rs": '"see docs/A.md#here"'}), [])
        for gone in ("docs/B.md", "docs/A.md#gone"):
            self.assertEqual(len(self.found("", **pages, **{"src/b.rs": f'"see {gone}"'})), 1, gone)


class Pictures(Documents):
    def found(self, text):
        return list(pictures.pictures(Repository({"README.md": text, "docs/pictures/a.webp": None})))

    def test_a_picture_that_a_page_shows_passes(self):
        self.passes("![a](docs/pictures/a.webp)", '<img alt="a" src="docs/pictures/a.webp">', '<source srcset="docs/pictures/a.webp">')

    def test_a_picture_on_no_page_is_found(self):
        self.assertEqual(self.found("docs/pictures/a.webp"), ["docs/pictures/a.webp: on no page"])


class Commands(Documents):
    BINARY = commands.Program(HELP.__getitem__)
    FILES = {"Makefile": "run: ## Run\n", "c/Cargo.toml": '[package]\nname = "keyside-c"\n', "tests/x/run.sh": ""}

    def found(self, text, **files):
        repository = Repository({"README.md": text, **self.FILES, **files})
        return [*commands.commands(repository, self.BINARY), *commands.flags(repository, self.BINARY)]

    def test_real_commands_pass_however_they_are_run(self):
        for line in (
            "keyside key add -p openai --check=required < key",
            "sudo -E KEYSIDE_TOKEN=x /usr/bin/keyside key revoke cred_1 --cut  # at once",
            'kubectl exec -i -n keyside keyside-0 -c keyside -- keyside key add \\\n  --provider "$P" --stdin',
            'echo "$(keyside key revoke "$ID")" | grep x && keyside serve',
            "source <(keyside serve)",
            "make run && cargo test -p keyside-c && tests/x/run.sh --flag",
        ):
            self.passes(f"```sh\n{line}\n```\n")
        self.passes("```console\n$ keyside serve\nkeyside is no command here\n```\n", "`keyside key add`", "`key add`", "`--check skip`", "`--cut`")

    def test_a_wrong_part_of_a_command_is_found_in_blocks(self):
        for line in (
            "keyside keys add",
            "keyside key ad -p openai",
            "keyside key add -p openai --chek try",
            "keyside key add -p openai --check never",
            "keyside key add",
            "keyside key revoke",
            "keyside key revoke cred_1 cred_2",
            "keyside key",
            'eval "$(keyside env acme)"',
            "source <(keyside env acme)",
            "docker compose exec keyside /usr/bin/keyside key revok ID",
            "make rum",
            "cargo test -p keyside-d",
            "tests/y/run.sh",
        ):
            self.fails(f"```sh\n{line}\n```\n")
        self.fails("```console\n$ keyside sevre\n```\n", "```yaml\nimage: x\nargs: [key, ad]\n```\n")

    def test_a_wrong_part_of_a_command_is_found_in_text(self):
        self.fails("`keyside kye add`", "`key ad`", "`--chek`", "`--check never`")

    def test_texts_of_the_program_and_examples_are_read_too(self):
        for path, text in (
            ("src/a.rs", 'const A: &str = "try `keyside key ad`";'),
            ("admin/templates/a.html", "<code>keyside key ad</code>"),
            ("docs/examples/a.service", "ExecStart=/usr/bin/keyside sevre --x"),
            ("charts/keyside/templates/NOTES.txt", "   {{ $exec }} key revoke"),
        ):
            self.assertEqual(len(self.found("", **{path: text})), 1, path)
            self.assertEqual(self.found("", **{path: text.replace("key ad", "key add").replace("sevre --x", "serve").replace("revoke", "revoke x")}), [], path)

    def test_help_texts_are_read_too(self):
        wrong = {**HELP, ("serve",): HELP["serve",].replace("Run", "Run; before, `keyside workspace ad`")}
        found = list(commands.commands(Repository(self.FILES), commands.Program(wrong.__getitem__)))
        self.assertEqual(len(found), 1, found)


class Exposed(unittest.TestCase):
    TEXT = '# TYPE a_total counter\nkeyside_a_total{provider="x",code="y"} 1\nkeyside_b_bucket{le="1"} 0\nkeyside_b_sum 0\nprocess_max_fds 1\n'

    def found(self, known):
        return list(exposed.compared(exposed.series(self.TEXT), known))

    def test_metrics_of_the_process_are_those_of_the_page(self):
        self.assertEqual(self.found({"keyside_a_total": {"provider", "code"}, "keyside_b": set()}), [])
        self.assertEqual(len(self.found({"keyside_a_total": {"provider"}, "keyside_b": set()})), 1)
        self.assertEqual(len(self.found({"keyside_a_total": {"provider", "code"}})), 1)
        self.assertEqual(len(self.found({"keyside_a_total": {"provider", "code"}, "keyside_b": set(), "keyside_c": set()})), 1)


class Settings(Documents):
    def repository(self, text="", page=PAGE, structs=STRUCTS):
        return Repository(
            {"README.md": text, "docs/CONFIGURATION.md": page, "config/defaults.toml": DEFAULTS, "config/src/settings/document.rs": structs}
        )

    def test_a_page_with_every_setting_and_its_default_passes(self):
        self.assertEqual(list(settings.defaults(self.repository())), [])

    def test_a_missing_setting_another_default_and_an_unknown_one_are_found(self):
        wrong = (
            PAGE.replace("| `threads` | `0` | how many |\n", ""),
            PAGE.replace("`100`", "`10`"),
            PAGE.replace("| `source` | where |", "| `source`, `sauce` | where |"),
            PAGE.replace("| `source` | where |\n", ""),
        )
        for page in wrong:
            self.assertEqual(len(list(settings.defaults(self.repository(page=page)))), 1, page)
        self.assertNotEqual(list(settings.defaults(self.repository(structs=""))), [])

    def found(self, text, **files):
        return list(settings.keys(self.repository(text)))

    def test_settings_in_text_exist(self):
        self.passes("`proxy.threads`", "`proxy.limits`", "`[proxy.limits]`", "`[proxy] threads = 1`", "`[[credential]]`", "`proxy.limits.headers = 1`", "`other.thing`")
        self.fails("`proxy.thread`", "`[proxy.limit]`", "`[proxy] thread = 1`", "`[[credential]] sauce = 1`", "`proxy.limits.header = 1`")

    def test_blocks_are_accepted_by_the_binary(self):
        class Binary:
            def refusal(self, text):
                return "unknown key" if "thread " in text else None

        def blocks(text):
            return len(list(settings.blocks(self.repository(f"```toml\n{text}\n```\n", page=""), Binary())))

        self.assertEqual([blocks("[proxy]\nthreads = 1"), blocks("[proxy]\nthread = 1"), blocks("[proxy")], [0, 1, 1])


class Files(Documents):
    rule = names.files

    def test_paths_exist_from_the_root_from_the_page_or_at_the_end(self):
        self.passes("`proxy/src/a.rs`", "`a.rs`", "`src/`", "`src/*.rs`", "`proxy/src/ID.rs`", "`/etc/x.toml`", "`example.org/x`", proxy__src__a_rs="")
        self.fails("`proxy/src/b.rs`", "`b.rs`", "`proxy/gone/`", "`src/b*.rs`", proxy__src__a_rs="")


class Variables(Documents):
    rule = names.variables
    FILES = {"src/a.rs": 'env("KEYSIDE_TOKEN")', "config/src/settings/document.rs": STRUCTS}

    def found(self, text, **files):
        return list(names.variables(Repository({"README.md": text, **self.FILES})))

    def test_variables_are_read_or_are_settings(self):
        self.passes("`KEYSIDE_TOKEN`", "```sh\nKEYSIDE_PROXY__LIMITS__HEADERS=1 keyside serve\n```")
        self.fails("`KEYSIDE_TOKENS`", "```sh\nKEYSIDE_PROXY__LIMITS__HEADER=1 keyside serve\n```", "`KMS_KEY`")


class Api(Documents):
    def found(self, text, **files):
        return list(names.api(Repository({"README.md": text, "docs/openapi.json": json.dumps(OPENAPI)})))

    def test_calls_are_described(self):
        self.passes("`GET /api/keys`", "`GET /api/keys?limit=1`", "`POST …/verify`", "`POST …/{id}/verify`", "`/api/keys/{id}/verify`", "`/readyz`", "`GET /v1/models`")
        self.passes("```sh\ncurl http://127.0.0.1:7381/api/keys?limit=1\n```")
        self.fails("`GET /api/key`", "`POST /api/keys`", "`GET /api/keys?limits=1`", "`POST …/verified`", "`/api/keys/{id}/verifies`")
        self.fails("```sh\ncurl http://127.0.0.1:7381/api/key\n```")


class Series(Documents):
    def found(self, text, **files):
        page = "| metric | |\n|---|---|\n| `keyside_requests_total{provider,outcome}` | requests |\n"
        return list(names.series(Repository({"README.md": text, "docs/OPERATING.md": page})))

    def test_metrics_have_documented_names_and_labels(self):
        self.passes("`keyside_requests_total`", "`keyside_requests_total{provider}`", '`keyside_requests_total{outcome="ok"} > 2`', "`info,keyside_proxy=debug`")
        self.fails("`keyside_request_total`", "`keyside_requests_total{code}`", "```\nrate(keyside_requests[5m])\n```")


class Vocabularies(unittest.TestCase):
    CODE = 'Self::A => ("label-taken", StatusCode::CONFLICT, "Taken"),'

    def found(self, rows):
        page = f"## Problems\n\n| type | status | |\n|---|---|---|\n{rows}"
        repository = Repository({"admin/src/problem/kind.rs": self.CODE, "docs/API.md": page})
        return [problem for problem in names.vocabularies(repository) if "problem type" in problem]

    def test_a_list_with_every_name_and_what_it_comes_with_passes(self):
        self.assertEqual(self.found("| `label-taken` | 409 | |\n"), [])

    def test_a_missing_a_wrong_and_an_unknown_name_are_found(self):
        self.assertEqual(len(self.found("")), 1)
        self.assertEqual(len(self.found("| `label-taken` | 400 | |\n")), 2)
        self.assertEqual(len(self.found("| `label-taken` | 409 | |\n| `gone` | 410 | |\n")), 1)

    def test_each_list_is_read_from_sources_that_exist(self):
        repository = Repository({})
        unread = [problem for problem in names.vocabularies(repository) if "that this check can read" in problem]
        self.assertEqual(len(unread), len(names.LISTS))


class Words(Documents):
    rule = names.words

    def test_names_and_phrases_are_in_the_sources(self):
        source = {"src__a_rs": 'warn!("a webhook was not \\\n     delivered"); let first_byte = Retry-After;'}
        self.passes("`first_byte`", "`GET first_byte`", "```json\n{ first_byte: 1 }\n```", "`Retry-After`", "`a webhook was not delivered`", "`28059af`", "`src/a.rs`", **source)
        self.fails("`first_bite`", "`GET bite`", "```json\n{ first_bite: 1 }\n```", "`Retry-Before`", "`a webhook was never delivered`", **source)

#!/usr/bin/env python3
"""docs/CLIENTS.md is written from the recipes in config/recipes/, so that the two cannot disagree.

Without an argument: exit code 1 when the page is not what the files say. With `--write`: writes it.
"""

import pathlib
import re
import sys
import tomllib

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "docs" / "CLIENTS.md"
ADDRESS, WORKSPACE, DUMMY_KEY = "http://127.0.0.1:7380", "acme", "keyside"
LOOPBACK = "localhost,127.0.0.1,::1"
PLACEHOLDER = re.compile(r"\{([a-z0-9-]+)\}")

HEAD = """\
# Clients

<!-- Written by tests/checks/clients.py from config/recipes/; change those, then run it with --write. -->

How to point each tool at Keyside. Here the workspace is `acme`, and the proxy listens on `127.0.0.1:7380`. `keyside env`
prints the same for your workspace and your listener, with everything that is no variable as a comment:

```sh
keyside env                              # lists the clients
eval "$(keyside env openai -w acme)"     # sets the variables in this shell
```

Most tools refuse an empty key, so they get the word `keyside`; Keyside removes it and attaches the real one. SDKs by
provider, and what a refusal means: [SDKS.md](SDKS.md).

`NO_PROXY` keeps requests to localhost away from a corporate proxy. For each client that reads the environment, `keyside env`
prints these lines too, which keep what is exempt already:

```sh
{no_proxy}
```
"""


def in_front(name, other):
    """The line of src/cli/shell.rs, `exempt_from_proxy`."""
    return f"""case ",${{{name}:={other}}}," in *",{LOOPBACK},"*) ;; *) {name}="{LOOPBACK}${{{name}:+,${name}}}" ;; esac;"""


NO_PROXY = [in_front("NO_PROXY", "${no_proxy:-}"), in_front("no_proxy", "$NO_PROXY"), "export NO_PROXY no_proxy"]


def filled(recipe, text):
    """The text with its placeholders replaced; all other braces stay."""
    values = {id: f"{ADDRESS}/w/{WORKSPACE}/{id}" for id in recipe["providers"]}
    values |= {"address": ADDRESS, "workspace": WORKSPACE, "dummy": DUMMY_KEY}
    return PLACEHOLDER.sub(lambda match: values.get(match.group(1), match.group()), text)


def page(recipes):
    """The whole page for {id: file contents}."""
    head = HEAD.replace("{no_proxy}", "\n".join(NO_PROXY))
    rows = [head, "| client | `keyside env` | providers | tested with |", "|---|---|---|---|"]
    rows += [
        f"| [{recipe['name']}](#{anchor(recipe['name'])}) | `{id}` | {', '.join(recipe['providers'])} | {tested(recipe)} |"
        for id, recipe in recipes.items()
    ]
    return "\n".join(rows) + "\n" + "".join(section(recipe) for recipe in recipes.values())


def anchor(heading):
    kept = "".join(letter for letter in heading.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")


def tested(recipe):
    return recipe.get("tested", "documented, not run by our tests")


def section(recipe):
    lines = ["", f"## {recipe['name']}", "", " · ".join(facts(recipe))]
    if exports := list(variables(recipe)):
        lines += ["", *fenced("sh", "\n".join(exports))]
    for file in recipe.get("file", ()):
        language = pathlib.PurePath(file["path"]).suffix.removeprefix(".") or "text"
        lines += ["", f"In `{file['path']}`:", "", *fenced(language, filled(recipe, file["text"]))]
    for example in recipe.get("example", ()):
        lines += ["", *fenced(example["language"], filled(recipe, example["text"]))]
    if notes := recipe.get("notes"):
        lines += ["", *(f"- {filled(recipe, note)}" for note in notes)]
    return "\n".join(lines) + "\n"


def facts(recipe):
    yield f"[Documentation]({recipe['docs']})"
    if "install" in recipe:
        yield f"`{filled(recipe, recipe['install'])}`"
    yield f"tested with {recipe['tested']}" if "tested" in recipe else tested(recipe)


def variables(recipe):
    """The lines that `keyside env` prints, but for `NO_PROXY`."""
    for name in recipe.get("unset", ()):
        yield f"unset {name};"
    for variable in recipe.get("variable", ()):
        value = re.sub(r'([$`"\\])', r"\\\1", filled(recipe, variable["value"]))
        yield f'export {variable["name"]}="{value}"'


def fenced(language, text):
    return [f"```{language}", text.rstrip("\n"), "```"]


def main():
    files = sorted((ROOT / "config" / "recipes").glob("*.toml"))
    recipes = {file.stem: tomllib.loads(file.read_text(encoding="utf-8")) for file in files}
    text = page(recipes)
    if "--write" in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
        print(f"clients: wrote {PAGE.relative_to(ROOT)} ({len(recipes)} clients)")
        return 0
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        print("clients: docs/CLIENTS.md is not what config/recipes/ says; run it with --write", file=sys.stderr)
        return 1
    print(f"clients: ok ({len(recipes)} clients)")
    return 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""docs/INTEGRATIONS.md is written from the provider files in config/providers/, so that the two cannot disagree.

Without an argument: exit code 1 when the page is not what the files say. With `--write`: writes it.
"""

import pathlib
import sys
import tomllib

ROOT = pathlib.Path(__file__).parents[2]
PAGE = ROOT / "docs" / "INTEGRATIONS.md"

HEAD = """\
# Providers

<!-- Written by tests/checks/integrations.py from config/providers/; change those, then run it with --write. -->

What Keyside knows about each provider: where a key comes from, how it is attached, what may be asked with it. Nothing
else is forwarded, whatever the key could do; what administers an account or hands out credentials is on no list. There are
two groups of requests: `inference` is forwarded, `stored` only where [`allow`](CONFIGURATION.md#providersid-laid-over-the-built-in-catalogue)
names it. In a path, `*` is a part of one segment, and `**` an identifier that may hold slashes. What a WebRTC or SIP call
says [goes past Keyside](SECURITY-MODEL.md#what-is-not-defended). How to point an
SDK at it: [SDKS.md](SDKS.md). A provider that is not here: [CONFIGURATION.md](CONFIGURATION.md#providersid-laid-over-the-built-in-catalogue).

Prefer a key made for Keyside alone, with the fewest permissions and a spending limit, and one for each workspace and
environment: then revoking one stops one thing.
"""

SHAPES = {
    "openai": "OpenAI's",
    "anthropic": "Anthropic's",
    "gemini": "Google's",
    "message": '`{"message"}`',
    "bedrock": "AWS's",
}


def page(providers):
    """The whole page for {id: file contents}."""
    rows = [HEAD, "| provider | id | upstream | the key goes into |", "|---|---|---|---|"]
    rows += [
        f"| [{name(id, provider)}](#{anchor(name(id, provider))}) | `{id}` | {upstream(provider)} | {auth(provider)} |"
        for id, provider in providers.items()
    ]
    return "\n".join(rows) + "\n" + "".join(section(id, provider) for id, provider in providers.items())


def name(id, provider):
    return provider.get("name", id)


def anchor(heading):
    kept = "".join(letter for letter in heading.lower() if letter.isalnum() or letter in " -_")
    return kept.replace(" ", "-")


def upstream(provider):
    if "base_url" in provider:
        return f"`{provider['base_url']}`"
    rule = provider["endpoint"]
    return "the resource's own host, under " + ", ".join(f"`{suffix}`" for suffix in rule["suffixes"])


def auth(provider):
    rule = provider["auth"]
    if "query" in rule:
        return f"query `{rule['query']}`"
    prefix = f"{rule['prefix'].strip()} …" if rule.get("prefix") else "…"
    return f"`{rule['header']}: {prefix}`"


def section(id, provider):
    lines = ["", f"## {name(id, provider)}", ""]
    lines += links(provider)
    if provider["steps"]:
        lines += ["**Making a key**", ""]
        lines += [f"{number}. {step}" for number, step in enumerate(provider["steps"], 1)]
        lines += [""]
    lines += facts(id, provider)
    lines += group("What may be asked", provider["routes"])
    lines += group('What may be asked with <code>allow = ["inference", "stored"]</code>', provider.get("stored_routes"))
    return "\n".join(lines) + "\n"


def group(heading, routes):
    if not routes:
        return []
    opening = ["", f"<details><summary>{heading}</summary>", "", "```text"]
    return opening + [asked(route) for route in routes] + ["```", "", "</details>"]


def links(provider):
    found = provider["links"]
    named = [(found.get("console"), "Where keys are made"), (found.get("docs"), "API documentation")]
    shown = [f"[{text}]({url})" for url, text in named if url]
    return [" · ".join(shown), ""] if shown else []


def facts(id, provider):
    key, check, sandbox = provider["key"], provider["check"], provider["sandbox"]
    yield f"- **Attached as**: {auth(provider)}"
    for header, value in provider.get("headers", {}).items():
        yield f"- **Set where you do not**: `{header}: {value}`"
    if key.get("prefix"):
        yield "- **Looks like**: begins with " + " or ".join(f"`{prefix}`" for prefix in key["prefix"])
    for kind in key.get("refused", ()):
        yield f"- **Refused**: `{kind['prefix']}…`. {kind['why']}"
    if key.get("scopes"):
        yield "- **Must be allowed**: " + "; ".join(key["scopes"])
    if "endpoint" in provider:
        yield f"- **Needs an endpoint** with the key, such as `{provider['endpoint']['example']}`; it is bound into the seal"
    if provider["rate_limits"]:
        yield f"- **Rate limits**: {provider['rate_limits']}"
    if sandbox.get("note"):
        yield f"- **For testing**: {sandbox['note']}"
    note = f". {check['note']}" if check.get("note") else ""
    yield f"- **Cheapest live check**: `{check['request']}`{note}"
    yield f"- **Errors**, and our refusals, have {SHAPES[provider['error']]} shape"
    for line in provider.get("sdk", ()):
        keys = " and ".join(f"`{key}`" for key in line["key_variables"])
        yield f"- **{line['name']}**: `{line['variable']}` = `http://127.0.0.1:7380/w/<workspace>/{id}{line['suffix']}`; any word in {keys}"


def asked(route):
    if isinstance(route, str):
        return route
    notes = ["WebSocket"] if route.get("upgrade") else []
    notes += [f"at {route['below']}{path}" for path in [route["request"].rsplit(" ", 1)[1]] if "below" in route]
    notes += ["* is none of " + " ".join(route["except"])] if "except" in route else []
    return route["request"] + (f"  ({'; '.join(notes)})" if notes else "")


def main():
    files = sorted((ROOT / "config" / "providers").glob("*.toml"))
    providers = {file.stem: tomllib.loads(file.read_text(encoding="utf-8")) for file in files}
    text = page(providers)
    if "--write" in sys.argv[1:]:
        PAGE.write_text(text, encoding="utf-8")
        print(f"integrations: wrote {PAGE.relative_to(ROOT)} ({len(providers)} providers)")
        return 0
    if not PAGE.exists() or PAGE.read_text(encoding="utf-8") != text:
        print("integrations: docs/INTEGRATIONS.md is not what config/providers/ says; run it with --write", file=sys.stderr)
        return 1
    print(f"integrations: ok ({len(providers)} providers)")
    return 0


if __name__ == "__main__":
    sys.exit(main())

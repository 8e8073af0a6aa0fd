#!/usr/bin/env python3
"""Checks one provider live with a short prompt, by `keyside smoke` of a Keyside on throwaway data.

    PROVIDER_SMOKE_KEY=… tests/smoke/provider_smoke.py openai

Prints what failed and what to do, adds a table to the job's summary (GITHUB_STEP_SUMMARY), and writes `result.json` and `keyside.log`
to PROVIDER_SMOKE_OUTPUT. README.md lists the variables. Exit code 0 if everything passed or no key is there and none is expected,
1 on failure.
"""

import base64
import contextlib
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "tests/sdk"))
from harness.serving import serving

WORKSPACE, LABEL, TAG = "ci", "ci", "ci-smoke"
START_SECONDS = 60
SETTINGS = """\
[proxy]
listen = ["127.0.0.1:0"]
[admin]
listen = "127.0.0.1:0"
[observe]
listen = "127.0.0.1:0"
[store]
path = "data"
[log]
format = "json"
[smoke]
schedule = "off"
on_change = false
"""


class Broken(Exception):
    """The check itself could not be made."""


def setting(name, default=""):
    return os.environ.get(f"PROVIDER_SMOKE_{name}", "").strip() or default


def is_set(name):
    return setting(name).lower() in ("1", "true", "yes")


def forms(key):
    """The key in each encoding in which it might be printed."""
    raw = key.encode()
    found = {key, urllib.parse.quote(key, safe=""), raw.hex(), raw.hex().upper(), json.dumps(key)[1:-1]}
    for encode in (base64.b64encode, base64.urlsafe_b64encode):
        for offset in range(3):
            # Inside a longer text, such as "Bearer …", the key starts at any of three offsets; its first and last characters there
            # depend on their neighbours.
            found.add(encode(b"\0" * offset + raw)[4 if offset else 0 : -4].decode())
        found.add(encode(raw).decode().rstrip("="))
    # The part that is random: a log may show a key without its prefix, or cut.
    found |= {key[len(key) // 2 :], key[-16:]}
    return sorted((form for form in found if len(form) >= 12), key=len, reverse=True)


def command(text):
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def annotate(level, title, text):
    print(f"::{level} title={command(title).replace(':', '%3A').replace(',', '%2C')}::{command(text)}", flush=True)


def summarize(text):
    if path := os.environ.get("GITHUB_STEP_SUMMARY"):
        with open(path, "a", encoding="utf-8") as summary:
            summary.write(text)
    else:
        print(text, end="")


class Keyside:
    """`keyside serve` in a folder of its own, which has no other environment than this program needs."""

    def __init__(self, folder, provider):
        self.folder = folder
        self.binary = pathlib.Path(os.environ.get("KEYSIDE_BIN", ROOT / "target/debug/keyside")).absolute()
        prompt = setting("PROMPT", "true").lower()
        settings = SETTINGS + f'environment = "{setting("ENVIRONMENT", "sandbox")}"\nprompt = {prompt}\n'
        if url := setting("ENDPOINT"):
            settings += f"[providers.{provider}]\nbase_url = {json.dumps(url.rstrip('/'))}\n"
        (folder / "keyside.toml").write_text(settings, encoding="utf-8")
        names = ("PATH", "HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "GITHUB_STEP_SUMMARY")
        self.environment = {name: os.environ[name] for name in names if name in os.environ}
        try:
            self.process, addresses = serving(self.binary, folder, self.environment, START_SECONDS)
        except AssertionError as failed:
            raise Broken(f"keyside serve did not start: {failed}") from failed
        self.admin = f"http://{addresses['admin']}"
        self.token = (folder / "data/admin-token").read_text(encoding="utf-8").strip()

    def run(self, *arguments, given=None):
        return subprocess.run(
            [self.binary, *arguments, "--admin-url", self.admin, "--token-file", "data/admin-token"],
            cwd=self.folder, env=self.environment, input=given, capture_output=True, text=True, timeout=600,
        )

    def must(self, *arguments, given=None):
        done = self.run(*arguments, given=given)
        if done.returncode:
            raise Broken(f"keyside {' '.join(arguments[:2])}: {done.stderr.strip()}")
        return done.stdout

    def ask(self, path, body=None):
        return ask(f"{self.admin}{path}", self.token, body, urllib.request.ProxyHandler({}))

    def stop(self):
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.stop()
        (self.folder / "keyside.log").write_bytes(self.process.stderr.to_the_end(within=30))


def ask(url, token, body=None, *handlers):
    """Status and JSON of a request to an admin API."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    request = urllib.request.Request(url, json.dumps(body).encode() if body is not None else None, headers)
    try:
        with urllib.request.build_opener(*handlers).open(request, timeout=300) as response:
            return response.status, json.loads(response.read() or b"null")
    except urllib.error.HTTPError as refused:
        return refused.code, json.loads(refused.read() or b"null")


def check(keyside, provider, key):
    """Adds the key and checks it; `keyside smoke` prints annotations and adds its table to the job's summary."""
    keyside.must("workspace", "add", WORKSPACE)
    environment = "live" if setting("ENVIRONMENT") == "live" else "sandbox"
    keyside.must(
        "key", "add", "-w", WORKSPACE, "-p", provider, "-l", LABEL, "-e", environment, "--usage-tag", TAG, "--check", "skip",
        "--stdin", given=key
    )
    done = keyside.run("smoke", "--format", "github", "-p", provider)
    print(done.stdout, end="", flush=True)
    status, shown = keyside.ask("/api/smoke")
    if status != 200 or len(shown["items"]) != 1 or done.returncode not in (0, 1):
        raise Broken(f"keyside smoke: {done.stderr.strip()}")
    return shown["items"][0]


def slowness(provider, item):
    """Whether a check that passed took too long; says so."""
    limit = int(setting("SLOW_MS", "30000"))
    slow = item["outcome"] == "passed" and item["latencyMs"] is not None and item["latencyMs"] > limit
    if slow:
        text = (
            f"slow: {provider} answered after {item['latencyMs']} ms, and the limit is {limit} ms. Look at its status page; raise "
            "PROVIDER_SMOKE_SLOW_MS if this is normal."
        )
        annotate("error", f"Smoke check: {provider}", text)
        summarize(f"\n\u274c {text}\n")
    return slow


def report(provider, result):
    """Posts the result to a Keyside that Prometheus scrapes."""
    item = result["check"]
    body = {"workspaceId": setting("REPORT_WORKSPACE"), "provider": provider, "verdict": result["verdict"]}
    body |= {name: item[name] for name in ("status", "latencyMs", "tokens") if item[name] is not None}
    url = setting("REPORT_URL")
    parts = urllib.parse.urlsplit(url)
    if parts.scheme != "https" and parts.hostname not in ("127.0.0.1", "localhost", "::1"):
        raise Broken("PROVIDER_SMOKE_REPORT_URL must begin with https://: the token is sent there")
    status, answer = ask(f"{url.rstrip('/')}/api/smoke/results", setting("REPORT_TOKEN"), body)
    if not 200 <= status < 300:
        raise Broken(f"the result was not accepted at PROVIDER_SMOKE_REPORT_URL: {status} {(answer or {}).get('detail', '')}")


def keep(folder, output, result, key):
    """Writes the artefacts; fails if one contains the key in any form."""
    output.mkdir(parents=True, exist_ok=True)
    contents = {"result.json": json.dumps(result, indent=2).encode(), "keyside.log": (folder / "keyside.log").read_bytes()}
    for name, content in contents.items():
        if any(form.encode() in content for form in forms(key)):
            raise Broken(f"{name} contains the key, so it is not kept: report this as a security problem (SECURITY.md)")
        (output / name).write_bytes(content)


def exercise(provider, key):
    """Whether everything passed."""
    output = pathlib.Path(setting("OUTPUT", "smoke-results")).absolute()
    with tempfile.TemporaryDirectory(prefix="keyside-smoke-", dir=os.environ.get("RUNNER_TEMP")) as name:
        folder = pathlib.Path(name)
        keyside = Keyside(folder, provider)
        try:
            item = check(keyside, provider, key)
            slow = slowness(provider, item)
        finally:
            keyside.stop()
        passed = item["outcome"] == "passed" and not slow
        result = {"provider": provider, "passed": passed, "verdict": "unreachable" if slow else item["verdict"], "check": item}
        keep(folder, output, result, key)
    if setting("REPORT_URL"):
        report(provider, result)
    return passed


def main():
    (provider,) = sys.argv[1:]
    if not (ROOT / f"tests/contract/providers/{provider}.json").is_file():
        print(f"there is no provider {provider}", file=sys.stderr)
        return 1
    key = os.environ.pop("PROVIDER_SMOKE_KEY", "").strip()
    if not key:
        expected = is_set("EXPECTED")
        text = f"No key for {provider}: set the secret SMOKE_KEY of its environment (tests/smoke/README.md)."
        annotate("error" if expected else "notice", f"Smoke check: {provider}", text)
        summarize(f"### Provider smoke checks\n\n{'❌' if expected else '⚠️'} {text}\n")
        return 1 if expected else 0
    if os.environ.get("GITHUB_ACTIONS") == "true":
        # GitHub masks the secret as it is, but not its other forms. The runner takes these lines out of the log.
        for form in forms(key):
            print(f"::add-mask::{form}", flush=True)
    try:
        return 0 if exercise(provider, key) else 1
    except (Broken, OSError, subprocess.TimeoutExpired) as error:
        text = str(error)
        for form in forms(key):
            text = text.replace(form, "***")
        annotate("error", f"Smoke check: {provider}", text)
        return 1


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Every request that a provider's own Python SDK can send is on exactly one list.

The lists are `routes` and `stored_routes` in config/providers/, and refused_calls.toml, next to
this file, for calls that are intentionally in neither. The SDKs are those of sdk-requirements.txt,
installed into the cache folder on first use.

Exit code 0 if that holds, 1 with a line for each call that is on no list or on two, and for each
entry of refused_calls.toml that no SDK needs.
"""

import dataclasses
import functools
import importlib.metadata
import pathlib
import re
import subprocess
import sys
import tomllib

import sdk_sources
from report import report, tables
from sdk_sources import PLACEHOLDER, Call

HERE = pathlib.Path(__file__).parent
REFUSED = HERE / "refused_calls.toml"

# Providers without an SDK here.
WITHOUT_SDK = {
    "deepseek": "has none of its own: its documentation uses OpenAI's and Anthropic's",
    "sandbox": "has none of its own: it is the stand-in that Keyside runs",
}

# {file: {text that shows the path: path}} of the files that open a WebSocket.
SOCKETS = {
    "openai": {
        "openai/_websocket_connection.py": {},
        "openai/lib/_websocket.py": {},
        "openai/lib/responses_websocket/_session.py": {},
        "openai/types/websocket_connection_options.py": {},
        "openai/resources/beta/realtime/realtime.py": {'b"/realtime" + separator': "/realtime"},
        "openai/resources/beta/responses/responses.py": {'b"/responses" + separator': "/responses"},
        "openai/resources/live/forks.py": {'"/live/sessions/{session_id}/fork"': "/live/sessions/{session_id}/fork"},
        "openai/resources/live/live.py": {'b"/live/sessions" + separator': "/live/sessions"},
        "openai/resources/live/sideband.py": {
            '"/live/sessions/{session_id}/attach"': "/live/sessions/{session_id}/attach"
        },
        "openai/resources/realtime/realtime.py": {'b"/realtime" + separator': "/realtime"},
        "openai/resources/realtime/translations/translations.py": {
            'b"/realtime/translations" + separator': "/realtime/translations"
        },
        "openai/resources/responses/responses.py": {'b"/responses" + separator': "/responses"},
    },
    "mistralai": {
        "mistralai/extra/realtime/connection.py": {},
        "mistralai/extra/realtime/speech.py": {'"/v1/audio/speech/realtime"': "/v1/audio/speech/realtime"},
        "mistralai/extra/realtime/transcription.py": {
            '"/v1/audio/transcriptions/realtime"': "/v1/audio/transcriptions/realtime"
        },
    },
    "together": {"together/lib/realtime/_connection.py": {'f"{path}/v1/realtime"': "/v1/realtime"}},
    "google": {
        "google/genai/_api_client.py": {},
        "google/genai/_interactions_websocket.py": {"'interactions/live'": "/{api_version}/interactions/live"},
        "google/genai/live.py": {
            "method = 'BidiGenerateContent'": (
                "/ws/google.ai.generativelanguage.{api_version}.GenerativeService.BidiGenerateContent"
            ),
            "method = 'BidiGenerateContentConstrained'": (
                "/ws/google.ai.generativelanguage.{api_version}.GenerativeService.BidiGenerateContentConstrained"
            ),
        },
        "google/genai/live_music.py": {
            "GenerativeService.BidiGenerateMusic": (
                "/ws/google.ai.generativelanguage.{api_version}.GenerativeService.BidiGenerateMusic"
            )
        },
    },
}

# Requests that an SDK builds by hand, and the text in its source that shows them.
BY_HAND = {
    "together": [
        ("POST", "/v1/files", "together/resources/files.py", 'upload_manager.upload("/v1/files"'),
        ("POST", "/v1/files/{id}/preprocess", "together/lib/resources/files.py", "/preprocess"),
        ("POST", "/v1/files/multipart/initiate", "together/lib/resources/files.py", "/multipart/initiate"),
        ("POST", "/v1/files/multipart/complete", "together/lib/resources/files.py", "/multipart/complete"),
        ("POST", "/v1/files/multipart/abort", "together/lib/resources/files.py", "/multipart/abort"),
    ],
    "mistralai": [
        (
            "POST",
            "/v1/audio/workers/registration-token",
            "mistralai/extra/voice_agents/worker.py",
            "/v1/audio/workers/registration-token",
        ),
    ],
}


@dataclasses.dataclass(frozen=True)
class Sdk:
    """How to read one SDK, and how its paths map to those of a provider's catalogue entry."""

    provider: str
    distribution: str
    package: str
    readers: tuple
    # The end of the base URL, before the SDK's paths.
    prefix: str = ""
    # Calls that go to another path below the prefix: OpenAI's for Azure.
    deployments: bool = False

    def calls(self, folder):
        """{the call, with the paths of the catalogue}."""
        found = set(read(folder, self.readers))
        found.update(sdk_sources.sockets(folder, self.package, SOCKETS.get(self.package.split("/")[0], {})))
        found.update(by_hand(folder, self.package))
        deployments = azure_deployments(folder) if self.deployments else ()
        return {dataclasses.replace(call, path=self.path(call, deployments)) for call in found}

    def path(self, call, deployments):
        # One of OpenRouter's calls has another base URL, without the prefix.
        if call.path.startswith("/api/"):
            return call.path
        inside = "/deployments/{model}" if call.method == "POST" and call.path in deployments else ""
        return (self.prefix + inside + call.path).replace("{api_version}", "v1beta")


@functools.cache
def read(folder, readers):
    return frozenset(call for reader, packages in readers for call in reader(folder, packages))


# Not read: programs that come with an SDK (command lines, Fireworks' trainer, Mistral's workers),
# which call other services.
OPENAI = ((sdk_sources.stainless, ("openai/resources", "openai/lib")),)
SDKS = (
    Sdk(
        "anthropic",
        "anthropic",
        "anthropic",
        ((sdk_sources.stainless, ("anthropic/resources", "anthropic/lib")),),
    ),
    Sdk("azure-openai", "openai", "openai", OPENAI, "/openai", deployments=True),
    Sdk("azure-openai", "openai", "openai", OPENAI, "/openai/v1"),
    Sdk("bedrock", "botocore", "botocore", ((sdk_sources.botocore, ("botocore/data/bedrock-runtime",)),)),
    Sdk("cohere", "cohere", "cohere", ((sdk_sources.fern, ("cohere",)),)),
    Sdk("fireworks", "fireworks-ai", "fireworks/resources", ((sdk_sources.stainless, ("fireworks/resources",)),)),
    Sdk(
        "gemini",
        "google-genai",
        "google/genai",
        ((sdk_sources.google, ("google/genai",)), (sdk_sources.speakeasy, ("google/genai/_gaos",))),
    ),
    Sdk("groq", "groq", "groq", ((sdk_sources.stainless, ("groq",)),)),
    Sdk("mistral", "mistralai", "mistralai", ((sdk_sources.speakeasy, ("mistralai/client",)),)),
    Sdk("openai", "openai", "openai", OPENAI, "/v1"),
    Sdk("openrouter", "openrouter", "openrouter", ((sdk_sources.speakeasy, ("openrouter",)),), "/api/v1"),
    Sdk("perplexity", "perplexityai", "perplexity", ((sdk_sources.stainless, ("perplexity",)),)),
    Sdk("together", "together", "together", ((sdk_sources.stainless, ("together/resources",)),)),
    Sdk("xai", "xai-sdk", "xai_sdk", ((sdk_sources.grpc, ("xai_sdk/proto",)),)),
)


def by_hand(folder, package):
    for method, path, file, text in BY_HAND.get(package, ()):
        if text not in (folder / file).read_text(encoding="utf-8"):
            raise sdk_sources.Unreadable(f"{file} no longer has `{text}`; correct BY_HAND in sdk_calls.py")
        yield Call(method, path, file)


def azure_deployments(folder):
    """The paths below which AzureOpenAI's client puts the deployment."""
    text = (folder / "openai/lib/azure.py").read_text(encoding="utf-8")
    if not (listed := re.search(r"_deployments_endpoints = set\((.*?)\)", text, re.DOTALL)):
        raise sdk_sources.Unreadable("openai/lib/azure.py no longer lists the paths that name a deployment")
    return set(re.findall(r'"(/[^"]+)"', listed[1]))


@dataclasses.dataclass(frozen=True)
class Entry:
    """One method of an entry of a list."""

    written: str
    method: str
    path: re.Pattern
    upgrade: bool
    excepted: tuple = ()

    def covers(self, call):
        filled = PLACEHOLDER.sub("x", call.path)
        return (self.method, self.upgrade) == (call.method, call.upgrade) and bool(self.path.fullmatch(filled))


def entries(routes):
    """The routes of a catalogue entry, or the refused calls, as entries."""
    for route in routes:
        table = {"request": route} if isinstance(route, str) else route
        *methods, path = table["request"].split(" ")
        for method in methods:
            excepted = tuple(table.get("except", ()))
            yield Entry(table["request"], method, pattern(path, excepted), table.get("upgrade", False), excepted)


def pattern(path, excepted=()):
    """Matches as the config crate's PathPattern does: `*` inside a segment, except excluded names,
    `**` for one or more."""
    names = "|".join(re.escape(name) for name in excepted)
    barred = f"(?!(?i:{names})(?:/|$))" if names else ""
    many = f"{barred}[^/]+(?:/{barred}[^/]+)*"
    segments = (many if part == "**" else starred(part, barred) for part in path.split("/"))
    return re.compile("/".join(segments))


def starred(part, barred):
    return (barred if "*" in part else "") + re.escape(part).replace(r"\*", "[^/]+")


def violations(provider, calls, lists):
    """`calls` is {call: the SDK that sends it}, `lists` {list: its entries}, the refused ones under
    "refused"."""
    for call, sdk in sorted(calls.items()):
        deciding = {name: exact for name, listed in lists.items() if (exact := exactness(call, listed)) is not None}
        kind = "WebSocket " if call.upgrade else ""
        shown = f"{provider}: {sdk} sends {kind}{call.method} {call.path} ({call.file}), which"
        if not deciding:
            yield (
                f"{shown} no list decides on; add it to `routes` or `stored_routes` in config/providers/{provider}.toml,"
                f" or with a reason to [{provider}] in tests/checks/refused_calls.toml"
            )
        elif len(deciding) > 1 and not is_exception(deciding):
            yield f"{shown} more than one list has: {', '.join(deciding)}; leave it on one"
    yield from reached(provider, calls, lists)
    yield from unneeded(provider, calls, lists.get("refused", ()))
    yield from twice(provider, lists)


def exactness(call, listed):
    """The specificity of the entry that fits a call best: higher with fewer stars; None if none
    fits."""
    return max((-entry.written.count("*") for entry in listed if entry.covers(call)), default=None)


def is_exception(deciding):
    """Whether a list names exactly a path that a star of a stricter one also covers:
    `videos/models` and `videos/*`.

    The other way round, a star would forward a path that a stricter list refuses.
    """
    exact = [deciding[name] for name in ("routes", "stored_routes", "refused") if name in deciding]
    return all(looser > stricter for looser, stricter in zip(exact, exact[1:]))


def reached(provider, calls, lists):
    """A star that covers a name in a stricter list: `workflows/*/execute` and
    `workflows/deployments/**`.

    The calls that an SDK sends are checked by `calls`.
    """
    sent = {(call.method, call.path) for call in calls}
    names = [name for name in ("routes", "stored_routes", "refused") if name in lists]
    for at, loose in enumerate(names):
        for strict in names[at + 1 :]:
            for entry in lists[loose]:
                for other in lists[strict]:
                    path = common(entry, other)
                    if path and (entry.method, path) not in sent and not any(named(own, other, path) for own in lists[loose]):
                        yield (
                            f"{provider}: `{entry.written}` in {loose} covers {entry.method} {path}, which `{other.written}` in"
                            f" {strict} names; give it `except`"
                        )


def common(loose, strict):
    """A path that both entries cover, with a name of the stricter one where the looser one has a
    star; None where none is."""
    if (loose.method, loose.upgrade) != (strict.method, strict.upgrade):
        return None
    ours, theirs = (entry.written.rsplit(" ", 1)[1].split("/")[1:] for entry in (loose, strict))
    if "**" in ours[:-1] or "**" in theirs[:-1]:
        return None
    length = max(len(ours), len(theirs))
    ours, theirs = (part[:-1] + ["*"] * (length - len(part) + 1) if part[-1] == "**" else part for part in (ours, theirs))
    if len(ours) != len(theirs) or not any("*" in our and "*" not in their for our, their in zip(ours, theirs)):
        return None
    segments = (our if "*" not in our else their if "*" not in their else our.replace("*", "x") for our, their in zip(ours, theirs))
    path = "/" + "/".join(segments)
    return path if loose.path.fullmatch(path) and strict.path.fullmatch(path) else None


def named(entry, strict, path):
    """Whether an entry names the path at least as exactly as the stricter one, and so was intended.
    """
    fits = (entry.method, entry.upgrade) == (strict.method, strict.upgrade) and entry.path.fullmatch(path)
    return bool(fits) and entry.written.count("*") <= strict.written.count("*") and "**" not in strict.written


def unneeded(provider, calls, refused):
    for entry in refused:
        if not any(entry.covers(call) for call in calls):
            yield (
                f"{provider}: no SDK sends {entry.method} of `{entry.written}` any more; remove it from"
                f" [{provider}] in tests/checks/refused_calls.toml"
            )


def twice(provider, lists):
    seen = {}
    for name, listed in lists.items():
        for entry in listed:
            key = (entry.method, entry.path.pattern, entry.upgrade)
            if key in seen:
                yield f"{provider}: {entry.method} of `{entry.written}` is in {name}, and already in {seen[key]}"
            seen[key] = name


def lists_of(provider, catalogue, refused):
    """{list: entries} of one provider; each refused call must have a reason."""
    return {
        "routes": list(entries(catalogue["routes"])),
        "stored_routes": list(entries(catalogue.get("stored_routes", ()))),
        "refused": list(entries(refused)),
    }


def installed():
    """The folder of the pinned SDKs."""
    found = subprocess.run(
        [HERE / "tools", "sdk-requirements.txt", "--no-deps", "--no-compile-bytecode"], check=True, stdout=subprocess.PIPE, text=True
    )
    return next((pathlib.Path(found.stdout.strip()).parent / "lib").glob("python3*/site-packages"))


def versions(folder):
    return {found.metadata["Name"]: found.version for found in importlib.metadata.distributions(path=[str(folder)])}


def without_twin(provider, refused, lists):
    """The `twin` of a refused call is the HTTP request that does the same, and is forwarded."""
    for entry in refused:
        for method, path in (entry["twin"].split(" "),) if "twin" in entry else ():
            twin = Call(method, path.replace("*", "x"), "")
            if not any(listed.covers(twin) for name in ("routes", "stored_routes") for listed in lists[name]):
                yield f"{provider}: `{entry['request']}` has the twin {entry['twin']}, which neither group forwards"


def undecided_providers(catalogue, refused):
    spoken = {sdk.provider for sdk in SDKS}
    for provider in sorted(set(catalogue) - spoken - set(WITHOUT_SDK)):
        yield f"{provider}: neither SDKS nor WITHOUT_SDK in tests/checks/sdk_calls.py has it"
    for provider in sorted((set(refused) | spoken) - set(catalogue)):
        yield f"{provider}: config/providers/ has no such provider"
    for provider, listed in refused.items():
        yield from (f"{provider}: `{entry['request']}` is refused without a `why`" for entry in listed if not entry.get("why"))


def main():
    catalogue = tables("config/providers")
    refused = {provider: table["refused"] for provider, table in tomllib.loads(REFUSED.read_text(encoding="utf-8")).items()}
    folder = installed()
    version = versions(folder)
    calls = {}
    for sdk in SDKS:
        try:
            found = sdk.calls(folder)
        except sdk_sources.Unreadable as error:
            return report("sdk_calls", [f"{sdk.distribution} {version[sdk.distribution]}: {error}"])
        named = f"{sdk.distribution} {version[sdk.distribution]}"
        calls.setdefault(sdk.provider, {}).update(dict.fromkeys(found, named))

    problems = list(undecided_providers(catalogue, refused))
    for provider, sent in calls.items():
        lists = lists_of(provider, catalogue[provider], refused.get(provider, ()))
        problems += violations(provider, sent, lists)
        problems += without_twin(provider, refused.get(provider, ()), lists)
        if "--counts" in sys.argv[1:]:
            counts = (f"{sum(any(e.covers(call) for e in listed) for call in sent)} {name}" for name, listed in lists.items())
            print(f"{provider}: {len(sent)} calls of {', '.join(sorted(set(sent.values())))}: {', '.join(counts)}")
    return report("sdk_calls", problems, f"{sum(map(len, calls.values()))} calls of {len({sdk.distribution for sdk in SDKS})} SDKs")


if __name__ == "__main__":
    sys.exit(main())

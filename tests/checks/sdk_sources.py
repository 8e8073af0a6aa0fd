"""Reads from the sources of an installed SDK which requests it can send.

An SDK is parsed, never imported or run. Each reader knows the form in which one generator writes
its calls, and yields `Call`s whose path has `{name}` where an argument goes. A call that it cannot
read is an error, so that none is skipped silently.
"""

import ast
import dataclasses
import gzip
import json
import re

PLACEHOLDER = re.compile(r"\{[^{}]*\}")


@dataclasses.dataclass(frozen=True, order=True)
class Call:
    """One request: the path as the SDK writes it, and the file (below the SDK's folder) that sends
    it."""

    method: str
    path: str
    file: str = dataclasses.field(compare=False)
    upgrade: bool = False


class Unreadable(Exception):
    """A call whose method or path does not follow from the source."""


def stainless(folder, packages):
    """`self._post("/files/{id}", …)`: OpenAI, Anthropic, Groq, Together, Fireworks, Perplexity."""
    for file, tree in parsed(folder, packages, "self._"):
        for call in calls_in(tree):
            method = stainless_method(call)
            if method is None:
                continue
            path = text_of(call.args[0] if call.args else keyword(call, "path"), file, call)
            yield Call(method, path.split("?")[0], file)


def stainless_method(call):
    """The method, or None if the call is not a request: only `self` and its clients send requests.
    """
    name = getattr(call.func, "attr", "")
    owner = ast.unparse(call.func.value) if isinstance(call.func, ast.Attribute) else ""
    if name == "_get_api_list":
        return literal(keyword(call, "method"), "get").upper()
    if name in {"_get", "_post", "_put", "_patch", "_delete"} and owner == "self":
        return name[1:].upper()
    if name in {"get", "post", "put", "patch", "delete"} and owner in {"self._client", "self._client._client"}:
        return name.upper()
    return None


def speakeasy(folder, packages):
    """`self._build_request(method="POST", path="/v1/chat", …)`: Mistral, OpenRouter, a part of
    Google's."""
    for file, tree in parsed(folder, packages, "_build_request"):
        for call in calls_in(tree):
            if getattr(call.func, "attr", "") not in {"_build_request", "_build_request_async"}:
                continue
            if keyword(call, "method") is None:
                raise Unreadable(f"{file}:{call.lineno}: a request without a method")
            path = text_of(keyword(call, "path"), file, call)
            yield Call(literal(keyword(call, "method")).upper(), path.split("?")[0].split("#")[0], file)


def fern(folder, packages):
    """`self._client_wrapper.httpx_client.request("v1/chat", method="POST", …)`: Cohere."""
    for file, tree in parsed(folder, packages, "httpx_client"):
        for call in calls_in(tree):
            if getattr(call.func, "attr", "") in {"request", "stream"} and ast.unparse(call.func.value).endswith(
                "_client_wrapper.httpx_client"
            ):
                path = text_of(call.args[0], file, call)
                yield Call(literal(keyword(call, "method")), "/" + path.lstrip("/"), file)


def botocore(folder, packages):
    """The service models that boto3 builds its clients from: AWS."""
    for service in packages:
        newest = sorted((folder / service).iterdir())[-1]
        model = json.loads(gzip.decompress((newest / "service-2.json.gz").read_bytes()))
        for operation in model["operations"].values():
            # `{name+}`: the argument may hold slashes.
            path = operation["http"]["requestUri"].split("?")[0].replace("+}", "}")
            yield Call(operation["http"]["method"], path, f"{service}/{newest.name}/service-2.json.gz")


def grpc(folder, packages):
    """`channel.unary_unary('/xai_api.Chat/GetCompletion', …)`: xAI. A gRPC call is a POST over
    HTTP/2, each to a different path."""
    for file, tree in parsed(folder, packages, "grpc.Channel"):
        for call in calls_in(tree):
            if getattr(call.func, "attr", "") in {"unary_unary", "unary_stream", "stream_unary", "stream_stream"}:
                if ast.unparse(call.func.value) == "channel":
                    yield Call("POST", text_of(call.args[0], file, call), file)


def google(folder, packages):
    """`path = '{model}:generateContent'` and then `self._api_client.request('post', path, …)`:
    google-genai.

    Branches for the other platform (Vertex) are skipped.
    """
    for file, tree in parsed(folder, packages, "self._api_client"):
        for function in ast.walk(tree):
            if not isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef)):
                continue
            nodes = list(gemini_nodes(function))
            methods = {method for node in nodes if (method := google_method(node, file))}
            if not methods:
                continue
            paths = {path for node in nodes if (path := google_path(node, file))}
            if not paths and not any(isinstance(node, ast.Raise) for node in nodes):
                raise Unreadable(f"{file}:{function.lineno}: {function.name} sends a request to no path that is written")
            for method, path in ((method, path) for method in methods for path in paths):
                for whole in google_names(file, path):
                    versioned = whole if whole.startswith("upload/") else "{api_version}/" + whole
                    yield Call(method, "/" + versioned.split("?")[0], file)


def google_method(node, file):
    name = getattr(getattr(node, "func", None), "attr", "")
    if name in {"request", "async_request", "request_streamed", "async_request_streamed"}:
        if ast.unparse(node.func.value) == "self._api_client":
            return literal(node.args[0] if node.args else keyword(node, "http_method")).upper()
    return "GET" if name in {"download_file", "async_download_file"} else None


def google_path(node, file):
    """The path that an assignment to `path` gives; one that only appends a query to it gives none.
    """
    if not (isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) in {"path", "endpoint_url"}):
        return None
    written = ast.unparse(node.value)
    if written.startswith(("f'{path}?", "endpoint_url")):
        return None
    return text_of(node.value, file, node).replace("{{", "{").replace("}}", "}")


# A resource's name holds its collection: `{name}` is `cachedContents/…` in caches.py.
GOOGLE_NAMES = {
    ("batches.py", "{model}"): ["models/{id}"],
    ("caches.py", "{name}"): ["cachedContents/{id}"],
    ("documents.py", "{name}"): ["fileSearchStores/{id}/documents/{id}"],
    ("documents.py", "{parent}"): ["fileSearchStores/{id}"],
    ("file_search_stores.py", "{clean_id}"): ["fileSearchStores/{id}/media/{id}"],
    ("file_search_stores.py", "{name}"): ["fileSearchStores/{id}"],
    ("file_search_stores.py", "{file_search_store_name}"): ["fileSearchStores/{id}"],
    ("models.py", "{model}"): ["models/{id}", "tunedModels/{id}"],
    ("models.py", "{name}"): ["models/{id}", "tunedModels/{id}"],
    ("models.py", "{models_url}"): ["models", "tunedModels"],
    ("operations.py", "{operationName}"): [
        "models/{id}/operations/{id}",
        "tunedModels/{id}/operations/{id}",
        "fileSearchStores/{id}/operations/{id}",
        "fileSearchStores/{id}/upload/operations/{id}",
    ],
    ("tunings.py", "{name}"): ["tunedModels/{id}"],
}


def google_names(file, path):
    """`path` with each name of a resource replaced by the paths that it can have."""
    for (module, name), collections in GOOGLE_NAMES.items():
        if file.endswith(f"/{module}") and name in path and f"/{name}" not in path.removeprefix("upload/{api_version}"):
            return [path.replace(name, collection) for collection in collections]
        if file.endswith(f"/{module}") and path.startswith("upload/{api_version}/" + name):
            return [path.replace(name, collection) for collection in collections]
    if path.startswith("{"):
        raise Unreadable(f"{file}: {path} begins with a resource's name; add it to GOOGLE_NAMES")
    return [path]


def gemini_nodes(function):
    """The nodes of a function's body, without code that only runs for Vertex."""
    waiting = list(function.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.If) and ast.unparse(node.test) == "self._api_client.vertexai":
            waiting += node.orelse
            continue
        if isinstance(node, ast.If) and ast.unparse(node.test) == "not self._api_client.vertexai":
            waiting += node.body
            continue
        yield node
        waiting += list(ast.iter_child_nodes(node))


def sockets(folder, package, written):
    """The WebSocket handshakes of a package: `written` has for each file that opens one {text in
    it: path}.

    No generator writes these, so each has its own form. A new file that opens one, or a text that
    is missing, is an error.
    """
    opening = {file: text for file, text in sources(folder, [package]) if IMPORTS_SOCKETS.search(text)}
    if unknown := sorted(set(opening) - set(written)):
        raise Unreadable(f"{unknown[0]} opens a WebSocket; add it to SOCKETS in sdk_calls.py")
    for file, paths in written.items():
        for text, path in paths.items():
            if text not in opening.get(file, ""):
                raise Unreadable(f"{file} no longer has `{text}`; correct SOCKETS in sdk_calls.py")
            yield Call("GET", path, file, upgrade=True)


IMPORTS_SOCKETS = re.compile(r"^\s*(?:from|import) websockets\b", re.MULTILINE)


def parsed(folder, packages, marker):
    """(file below the folder, its tree) of each source below `packages` that has the text `marker`.

    Every call has it; parsing is slow, and most files only define types.
    """
    return ((file, ast.parse(text)) for file, text in sources(folder, packages) if marker in text)


def sources(folder, packages):
    """(file below the folder, its text) of each source below `packages`, except the SDK's own
    tests."""
    for package in packages:
        files = sorted((folder / package).rglob("*.py"))
        if not files:
            raise Unreadable(f"{folder / package} holds no sources")
        for file in files:
            if "tests" not in file.relative_to(folder).parts:
                yield str(file.relative_to(folder)), file.read_text(encoding="utf-8")


def calls_in(tree):
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def keyword(call, name):
    return next((given.value for given in call.keywords if given.arg == name), None)


def literal(node, default=None):
    return node.value if isinstance(node, ast.Constant) else default


# Paths that the SDK takes from an earlier response; these are the documented ones.
ATTRIBUTES = {"batch.results_url": "/v1/messages/batches/{id}/results"}


def text_of(node, file, at):
    """The text of an expression, with `{name}` for parts that are only known at run time."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=values):
            return "".join(v.value if isinstance(v, ast.Constant) else f"{{{ast.unparse(v.value)}}}" for v in values)
        case ast.BinOp(left=left, op=ast.Add(), right=right):
            return text_of(left, file, at) + text_of(right, file, at)
        # Keyside is the base URL, so only the form for a custom base URL is sent.
        case ast.IfExp(test=ast.UnaryOp(op=ast.Not(), operand=ast.Attribute(attr="_base_url_overridden"))):
            return text_of(node.orelse, file, at)
        case ast.IfExp(test=ast.Attribute(attr="_base_url_overridden")):
            return text_of(node.body, file, at)
        case ast.Call(func=ast.Name(id="path_template"), args=[template]):
            return text_of(template, file, at)
        case ast.Call(func=ast.Attribute(attr="format_map" | "format", value=template)):
            return text_of(template, file, at)
        case ast.Attribute() if ast.unparse(node) in ATTRIBUTES:
            return ATTRIBUTES[ast.unparse(node)]
        case _:
            shown = ast.unparse(node) if node is not None else "no path"
            raise Unreadable(f"{file}:{at.lineno}: cannot read the path from `{shown}`")

"""Links: files, headings, lines and hosts."""

import posixpath
import re

#: Without network, an address can only be compared with the hosts that somebody has looked at.
HOSTS = re.compile(
    r"(?:[\w-]+\.)*(?:github\.com|github\.io|githubusercontent\.com|openai\.com|anthropic\.com|claude\.com|google\.dev|google\.com|"
    r"googleapis\.com|microsoft\.com|azure\.com|amazon\.com|amazonaws\.com|cohere\.com|deepseek\.com|fireworks\.ai|groq\.com|"
    r"mistral\.ai|openrouter\.ai|perplexity\.ai|together\.ai|x\.ai|envoyproxy\.io|litellm\.ai|docker\.com|hashicorp\.com|"
    r"openbao\.org|kubernetes\.io|kubernetes-sigs\.io|helm\.sh|prometheus\.io|grafana\.com|rust-lang\.org|docs\.rs|crates\.io|"
    r"standardwebhooks\.com|slack\.com|w3\.org|ietf\.org|rfc-editor\.org|keepachangelog\.com|semver\.org|cyclonedx\.org|pypi\.org|npmjs\.com|"
    r"sigstore\.dev|artifacthub\.io|aider\.chat|curl\.se|dify\.ai|geminicli\.com|langchain\.com|llamaindex\.ai|datasette\.io|n8n\.io|"
    r"pydantic\.dev|ai-sdk\.dev|status\.microsoft|groqstatus\.com|perplexity\.com)"
)
#: Names that RFC 2606 and RFC 6761 reserve for examples, hosts of this machine, and hosts inside of a network.
OWN = re.compile(r"localhost|127\.0\.0\.1|\[::1\]|[\w-]+|.*\.(?:example|test|invalid|internal|svc|local)|(?:.*\.)?example\.(?:com|org|net)")
ADDRESS = re.compile(r"https?://(?:[^/@]*@)?(\[[^\]]*\]|[^/:?#]+)(?::\d+)?(?:[/?#]\S*)?")
LINE = re.compile(r"L(\d+)(?:-L(\d+))?")
#: How sources name a page: in a remedy, an alert, a comment.
NAMED = re.compile(r"(?<![\w/.])(?:https://github\.com/keyside/keyside/blob/main/)?(docs/[A-Z_-]+\.md)(?:#([\w-]+))?")
OURS = re.compile(r"https://github\.com/keyside/keyside/(?:blob|tree)/main/([^#?]+)(?:#(\S+))?")


def missing(repository, path, anchor):
    """What is wrong with a link to a file of this repository, or None."""
    if path == ".." or path.startswith("../"):
        return "leads out of the repository"
    if not repository.has(path):
        return "no such file"
    text = repository.files.get(path)
    if not anchor or text is None:
        return None
    if lines := LINE.fullmatch(anchor):
        last = int(lines[2] or lines[1])
        return None if last <= text.count("\n") + 1 else f"the file has {text.count(chr(10)) + 1} lines"
    page = repository.documents.get(path)
    return "no such heading" if page and anchor not in page.anchors else None


def problem(repository, page, target):
    if ours := OURS.fullmatch(target):
        return missing(repository, ours[1].rstrip("/"), ours[2])
    if "://" in target:
        host = ADDRESS.fullmatch(target)
        if not host:
            return "not an address"
        known = HOSTS.fullmatch(host[1]) or OWN.fullmatch(host[1])
        return None if known or re.search(r"[<{$…]", host[1]) else "a host that tests/checks/links.py does not know: add it once you have opened the page"
    if target.startswith("mailto:"):
        return None
    path, _, anchor = target.partition("#")
    aim = posixpath.normpath(posixpath.join(posixpath.dirname(page.path), path)) if path else page.path
    return missing(repository, aim, anchor)


def links(repository):
    for page in repository.documents.values():
        for line, target in page.links:
            if wrong := problem(repository, page, target):
                yield f"{page.at(line)}: {target}: {wrong}"
        for line, name in page.undefined():
            yield f"{page.at(line)}: [{name}] is defined nowhere on the page"
    for path, text in repository.matching(r"(?!tests/checks/).*(?<!\.md)").items():
        for match in NAMED.finditer(text):
            if wrong := missing(repository, match[1], match[2]):
                yield f"{path}:{text.count(chr(10), 0, match.start()) + 1}: {match.group()}: {wrong}"

"""The chart, rendered by Helm's own code."""

import copy
import functools
import json
import shutil
import tempfile
from pathlib import Path

import helm_python as helm
import yaml

SUITE = Path(__file__).parent
ROOT = SUITE.parents[1]
CHART = ROOT / "charts/keyside"

Values = dict
Object = dict
#: libyaml's, which is ten times as fast.
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

#: The release that the suite renders.
RELEASE, NAMESPACE = "demo", "prod"

#: Values files: the suite's cases, and the chart's examples.
CASES = {
    file.stem: file for file in sorted([*(SUITE / "cases").glob("*.yaml"), *(CHART / "examples").glob("*.yaml")])
}


def values_of(case: str) -> Values:
    return yaml.safe_load(CASES[case].read_text())


@functools.cache
def _chart(files: Path | None) -> helm.Chart:
    """The chart; with the files of the folder `files` in place of its own `files`."""
    if files is None:
        return helm.Chart.load(CHART)
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "keyside"
        shutil.copytree(CHART, copy, ignore=lambda at, _: ["files"] if Path(at) == CHART else [])
        shutil.copytree(files, copy / "files")
        return helm.Chart.load(copy)


def rendered(values: Values, files: Path | None = SUITE / "fixtures/files") -> dict[str, str]:
    """{template: text} of what is not empty. The monitoring files are the suite's own unless `files` is None."""
    return dict(_rendered(json.dumps(values), files))


@functools.cache
def _rendered(values: str, files: Path | None) -> dict[str, str]:
    texts = _chart(files).render(json.loads(values), name=RELEASE, namespace=NAMESPACE)
    return {name.removeprefix("keyside/templates/"): text for name, text in texts.items() if text.strip()}


def texts(values: Values, **options) -> dict[str, str]:
    """{kind and name: text} of every rendered object."""
    return {name: text for name, (text, _) in _split(json.dumps(values), **options).items()}


def objects(values: Values, **options) -> list[Object]:
    return [copy.deepcopy(one) for one in parsed(values, **options)]


def parsed(values: Values, **options) -> list[Object]:
    """The rendered objects, shared by all callers: not to be changed."""
    return [one for _, one in _split(json.dumps(values), **options).values() if one is not None]


@functools.cache
def _split(values: str, **options) -> dict[str, tuple[str, Object | None]]:
    found = {}
    for template, text in rendered(json.loads(values), **options).items():
        if template == "NOTES.txt":
            found["notes"] = (text.strip() + "\n", None)
            continue
        for document in text.split("\n---\n"):
            if (one := yaml.load(document, LOADER)) is not None:
                name = f"{one['kind']} {one['metadata']['name']}"
                assert name not in found, f"two objects are {name}"
                found[name] = (document.removeprefix("---\n").strip() + "\n", one)
    return found


def the(kind: str, values: Values, name: str | None = None) -> Object:
    """The only rendered object of a kind, or the one with this name."""
    found = [one for one in objects(values) if one["kind"] == kind and name in (None, one["metadata"]["name"])]
    assert len(found) == 1, f"{len(found)} objects are {kind} {name or ''}"
    return found[0]


def pod_of(one: Object) -> Object | None:
    """The pod that an object creates: an object with `metadata` and `spec`."""
    if one["kind"] == "Pod":
        return one
    return one.get("spec", {}).get("template") if one["kind"] in ("StatefulSet", "Deployment", "Job", "DaemonSet") else None


def pods(values: Values) -> list[tuple[str, Object]]:
    return [(f"{one['kind']} {one['metadata']['name']}", pod) for one in objects(values) if (pod := pod_of(one))]


def keyside_container(pod: Object) -> Object:
    """The container that runs Keyside, wherever it is in the pod."""
    containers = pod["spec"].get("initContainers", []) + pod["spec"]["containers"]
    found = [one for one in containers if any(env["name"] == "KEYSIDE_CONFIG" for env in one.get("env", []))]
    assert len(found) == 1, [one["name"] for one in containers]
    return found[0]

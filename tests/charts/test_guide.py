"""docs/KUBERNETES.md: every command is known to work, as far as it does without a cluster, and every file renders.

helm: renders with these values. kubectl: names objects that were rendered or created before. keyside: runs, against the rendered server.
bao: names what the chart renders. A command that is none of these fails the test.
"""

import re
import shlex
import shutil

import helm_python as helm
import pytest
import yaml

import pod_security
from chart import CHART, ROOT, pod_of
from harness.web import eventually, fetch
from rehearsal import CANARY, Rehearsal
from provider import Provider
from repository import page

GUIDE = page("docs/KUBERNETES.md")
COMMANDS = [shlex.split(command) for _, command in GUIDE.commands]


def _blocks(language: str) -> list[str]:
    return [block.text for block in GUIDE.blocks if block.language == language]


def _options(words: list[str]) -> tuple[list[str], dict[str, list[str]]]:
    """Positional words and options; of the options without a value, none has one."""
    flags = {"--install", "-i"}
    plain, options, words = [], {}, iter(words)
    for word in words:
        if word in flags or not word.startswith("-"):
            plain += [] if word in flags else [word]
        elif "=" in word:
            name, _, value = word.partition("=")
            options.setdefault(name, []).append(value)
        else:
            options.setdefault(word, []).append(next(words))
    return plain, options


class Cluster:
    """What the commands of the guide have created, and what their releases rendered."""

    def __init__(self):
        self.namespaces: set[str] = {"default"}
        self.created: set[tuple[str, str, str, str]] = set()
        """Kind, namespace, name and key of each entry of a Secret or ConfigMap."""
        self.rendered: dict[tuple[str, str], list[dict]] = {}
        """The objects of each release, by namespace and release."""

    def helm(self, words: list[str]):
        (verb, release, *chart), options = _options(words)
        (namespace,) = options["--namespace"]
        assert namespace in self.namespaces
        if verb == "test":
            assert any("helm.sh/hook" in one["metadata"].get("annotations", {}) for one in self.rendered[namespace, release])
            return
        assert verb in ("install", "upgrade", "template") and chart == ["charts/keyside"], words
        values = {}
        for file in options.get("--values", []):
            values = _merged(values, yaml.safe_load((ROOT / file).read_text()))
        for setting in options.get("--set", []):
            values = _merged(values, _typed(setting))
        with helm.Chart.load(CHART) as loaded:
            texts = loaded.render(values, name=release, namespace=namespace)
        texts = [text for name, text in texts.items() if not name.endswith("NOTES.txt")]
        objects = [one for text in texts for one in yaml.safe_load_all(text) if one]
        self.rendered[namespace, release] = objects
        self._check_what_pods_mount(namespace, objects)
        if "--set" in options and "metrics.podMonitor.enabled=true" in options["--set"]:
            assert {"ServiceMonitor", "PodMonitor"} <= {one["kind"] for one in objects}

    def _check_what_pods_mount(self, namespace: str, objects: list[dict]):
        own = {(one["kind"], one["metadata"]["name"]) for one in objects}
        for pod in filter(None, map(pod_of, objects)):
            for volume in pod["spec"].get("volumes", []):
                if "configMap" in volume:
                    assert ("ConfigMap", volume["configMap"]["name"]) in own
                for source in volume.get("projected", {}).get("sources", []):
                    for kind, field in [("secret", "secret"), ("configmap", "configMap")]:
                        for item in source.get(field, {}).get("items", []):
                            needed = (kind, namespace, source[field]["name"], item["key"])
                            assert needed in self.created, f"the guide does not create {needed}"

    def kubectl(self, words: list[str]):
        verb, *rest = words
        if verb == "create":
            return self._create(rest)
        if "--" in rest:
            rest = rest[: rest.index("--")]
        plain, options = _options([word for word in rest if word != "-i"])
        if verb == "label":
            assert plain[:2] == ["namespace", "acme"] and plain[2] == "pod-security.kubernetes.io/enforce=restricted"
            return
        (namespace,) = options["--namespace"]
        if verb == "rollout":
            assert plain.pop(0) == "status"
        assert verb in ("rollout", "logs", "exec", "port-forward"), words
        pod = self._find(namespace, plain[0])
        for container in options.get("--container", []) + options.get("-c", []):
            assert container in [one["name"] for one in pod["spec"]["containers"]], words

    def _create(self, rest: list[str]):
        plain, options = _options(rest)
        if plain[0] == "namespace":
            self.namespaces.add(plain[1])
            return
        kind, *of_type, name = plain
        assert (kind, of_type) in [("secret", ["generic"]), ("configmap", [])], rest
        (namespace,) = options["--namespace"]
        assert namespace in self.namespaces
        # Never --from-literal: the key would be in the shell's history.
        for entry in options["--from-file"]:
            self.created.add((kind, namespace, name, entry.partition("=")[0]))

    def _find(self, namespace: str, wanted: str) -> dict:
        """The pod of `kind/name`, or of the pod's own name."""
        kind, _, name = wanted.rpartition("/")
        for (at, _), objects in self.rendered.items():
            for one in objects:
                matches = one["kind"].lower() == kind and one["metadata"]["name"] == name
                is_pod = not kind and one["kind"] == "StatefulSet" and f"{one['metadata']['name']}-0" == name
                if at == namespace and (matches or is_pod):
                    return pod_of(one)
        raise AssertionError(f"the guide renders no {wanted} in {namespace}")

    def bao(self, words: list[str]):
        if words[:2] == ["write", "auth/kubernetes/role/keyside-acme"]:
            options = dict(word.split("=", 1) for word in words[2:])
            account, audience = _sidecar_in_vault()
            assert options["bound_service_account_names"] == account
            assert options["audience"] == audience
            assert options["bound_service_account_namespaces"] in self.namespaces
            assert options["token_policies"] == "keyside-acme"
            return
        assert words[:2] in (["auth", "enable"], ["policy", "write"], ["write", "auth/kubernetes/config"]), words


def _sidecar_in_vault() -> tuple[str, str]:
    values = yaml.safe_load((CHART / "examples/sidecar-vault.yaml").read_text())
    with helm.Chart.load(CHART) as loaded:
        texts = loaded.render(values, name="flows", namespace="acme")
    pod = pod_of(yaml.safe_load(texts["keyside/templates/example/deployment.yaml"]))
    sources = next(one["projected"]["sources"] for one in pod["spec"]["volumes"] if "projected" in one)
    assert values["vault"]["role"] == "keyside-acme"
    return pod["spec"]["serviceAccountName"], sources[0]["serviceAccountToken"]["audience"]


def _merged(base: dict, over: dict) -> dict:
    both = {key: _merged(base[key], over[key]) for key in base.keys() & over.keys() if isinstance(over[key], dict)}
    return {**base, **over, **both}


def _typed(setting: str) -> dict:
    """`a.b=c` as helm reads it."""
    path, _, text = setting.partition("=")
    value = yaml.safe_load(text)
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


def every_command_fits_what_the_chart_renders():
    cluster, seen = Cluster(), set()
    for program, *words in COMMANDS:
        seen.add(program)
        # Redirections are of the shell.
        words = words[: next((at for at, word in enumerate(words) if word in "<>"), len(words))]
        match program:
            case "helm":
                cluster.helm(words)
            case "kubectl":
                cluster.kubectl(words)
            case "bao":
                cluster.bao(words)
            case "keyside":
                assert words[:2] in (["master-key", "generate"], ["backup", "--admin-url"]), words
            case _:
                raise AssertionError(f"no check for {program}")
    assert seen == {"helm", "kubectl", "bao", "keyside"}


def a_command_that_does_not_fit_is_found():
    cluster = Cluster()
    cluster.kubectl(shlex.split("create namespace acme"))
    install = "install flows charts/keyside --namespace acme --values charts/keyside/examples/sidecar-secret.yaml"
    with pytest.raises(AssertionError, match="does not create"):
        cluster.helm(shlex.split(install))
    cluster.kubectl(shlex.split("create secret generic openai --namespace acme --from-file=api-key=openai-key"))
    cluster.helm(shlex.split(install))
    with pytest.raises(AssertionError, match="renders no"):
        cluster.kubectl(shlex.split("logs --namespace acme deployment/flows"))
    with pytest.raises(helm.HelmError):
        cluster.helm(shlex.split(f"{install} --set serve.replica=2"))


def the_commands_of_the_servers_section_run(tmp_path):
    provider = Provider()
    provider.good.add(CANARY)
    values = yaml.safe_load((CHART / "examples/server.yaml").read_text())
    values["serve"]["config"] = {"providers": {"openai": {"base_url": provider.url}}}
    ran = []
    with Rehearsal(tmp_path, values, "StatefulSet demo-keyside") as server:
        server.start()
        assert server.passes("readiness"), server.log()
        for program, *words in COMMANDS:
            if program == "keyside":
                words = ["keyside", *words]
            elif program == "kubectl" and "--" in words:
                words = words[words.index("--") + 1 :]
            else:
                continue
            files = {words[at]: words[at + 1] for at in range(len(words) - 1) if words[at] in "<>"}
            words = words[1 : next((at for at, word in enumerate(words) if word in "<>"), len(words))]
            words = [word.replace("http://127.0.0.1:7381", server.url(7381)) for word in words]
            done = server.command(*words, stdin=CANARY if "<" in files else None)
            assert done.returncode == 0, f"{words}: {done.stderr}"
            if ">" in files:
                (server.folder / "work" / files[">"]).write_text(done.stdout)
            ran.append(tuple(words[:2]))
        assert (server.folder / "work/keyside.backup").stat().st_size > 0
        url = re.search(r"`http://keyside\.keyside:7380(/w/\S+)`", GUIDE.text)[1]
        body = {"model": "m", "messages": []}
        assert eventually(lambda: fetch(f"{server.url(7380)}{url}/chat/completions", body=body)[0] == 200)
    provider.stop()
    assert ran == [
        ("master-key", "generate"), ("workspace", "add"), ("key", "add"), ("key", "list"), ("link",), ("token", "create"), ("backup", "--admin-url"),
    ]


def the_chart_that_depends_on_this_one_renders(tmp_path):
    parent = tmp_path / "flows"
    for text in _blocks("yaml"):
        name, _, content = text.partition("\n")
        file = parent / name.removeprefix("# ")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(content)
    shutil.copytree(CHART, parent / "charts/keyside")
    assert helm.dependency_list(parent)[0]["version"] == yaml.safe_load((CHART / "Chart.yaml").read_text())["version"]
    with helm.Chart.load(parent) as chart:
        rendered = chart.render({}, name="flows", namespace="acme")
    pod = pod_of(yaml.safe_load(rendered["flows/templates/deployment.yaml"]))
    settings = yaml.safe_load(rendered["flows/charts/keyside/templates/sidecar/configmap.yaml"])
    first = pod["spec"]["initContainers"][0]
    assert (first["name"], first["restartPolicy"]) == ("keyside", "Always")
    assert pod["spec"]["volumes"][0]["configMap"]["name"] == settings["metadata"]["name"]
    assert 'source = "file:/run/secrets/keyside/credentials/openai/api-key"' in settings["data"]["keyside.toml"]
    assert pod["metadata"]["labels"]["keyside-sidecar"] == "acme"
    # The sidecar is restricted although the pod says nothing.
    pod["spec"]["initContainers"], pod["spec"]["containers"] = [first], []
    assert pod_security.violations(pod) == []
    values = yaml.safe_load((CHART / "values.yaml").read_text())["sidecar"]["drain"]
    assert values["timeoutSeconds"] + values["deadlineSeconds"] + 5 == pod["spec"]["terminationGracePeriodSeconds"]


def the_policy_is_what_the_binary_prints(tmp_path):
    values = yaml.safe_load((CHART / "examples/sidecar-vault.yaml").read_text())
    rehearsal = Rehearsal(tmp_path, values, "Deployment demo-keyside-example")
    printed = rehearsal.command("vault", "policy").stdout

    def rules(text):
        return {(path, tuple(sorted(shlex.split(what.replace(",", " "))))) for path, what in re.findall(r'path "([^"]+)"\s*{\s*capabilities = \[([^\]]*)\]', text)}

    (policy,) = _blocks("hcl")
    assert rules(policy) and rules(policy) <= rules(printed), printed
    assert {path for path, _ in rules(printed) - rules(policy)} <= {"auth/token/renew-self", "auth/token/lookup-self"}, printed


def every_value_that_the_guide_names_exists():
    values = yaml.safe_load((CHART / "values.yaml").read_text())
    shape = re.compile(r"((?:serve|sidecar|networkPolicy|metrics|image|vault|egress|podSecurityContext|securityContext)\.[\w.]+)(?:=.*)?")
    named = [match[1] for _, code in GUIDE.codes if (match := shape.fullmatch(code))]
    assert len(named) > 20
    for path in named:
        at = values
        for key in path.split("."):
            assert key in at, path
            at = at[key]

"""Helm's linter, the snapshots, and what holds for every rendering."""

import json
import tarfile

import helm_python as helm
import pytest
import yaml

from chart import CASES, CHART, ROOT, keyside_container, objects, pod_of, pods, rendered, texts, the, values_of
from snapshots import FOLDER, file_of, snapshot


def lint_finds_nothing_in_any_case(case):
    report = helm.lint(CHART, values_of(case), strict=True, kube_version="v1.31.0")
    findings = [one for one in report["messages"] if "icon is recommended" not in one["error"]]
    assert (report["errors"], findings) == ([], [])


def lint_finds_a_template_that_does_not_render(tmp_path):
    (tmp_path / "templates").mkdir()
    for name in ("Chart.yaml", "values.yaml"):
        (tmp_path / name).write_text((CHART / name).read_text())
    (tmp_path / "templates/broken.yaml").write_text("{{ .Values.image.tag.missing }}")
    assert helm.lint(tmp_path, {}, strict=True)["errors"]


def what_is_rendered_is_the_snapshot(case, accepts):
    now = snapshot(case)
    if accepts:
        file_of(case).write_text(now)
    file = file_of(case)
    assert file.exists() and file.read_text() == now, "look at it, then accept it with tests/charts/run.sh --write"


def there_are_enough_cases_and_each_snapshot_has_one(accepts):
    assert len(CASES) >= 40
    stray = {file for file in FOLDER.iterdir()} - {file_of(case) for case in CASES}
    if accepts:
        for file in stray:
            file.unlink()
    assert accepts or not stray


def each_case_differs_from_the_defaults_and_from_the_others():
    snapshots = {case: file_of(case).read_text() for case in CASES}
    # Not installed: monitoring that a cluster does not have.
    del snapshots["monitoring-skipped"]
    assert "" not in snapshots.values()
    assert len(set(snapshots.values())) == len(snapshots)


def monitoring_is_skipped_if_the_cluster_has_no_definitions():
    assert texts(values_of("monitoring-skipped")) == texts({})


def monitoring_that_must_not_be_missing_fails_the_installation():
    values = values_of("monitoring-skipped")
    values["metrics"]["renderMode"] = "failIfMissing"
    with pytest.raises(helm.HelmRenderError, match="has no monitoring.coreos.com/v1, which (Service|Pod)Monitor|PrometheusRule needs"):
        rendered(values)


def the_chart_never_renders_a_secret(case):
    assert [one["metadata"]["name"] for one in objects(values_of(case)) if one["kind"] == "Secret"] == []


def selectors_match_the_pods_that_they_are_for(case):
    for one in objects(values_of(case)):
        pod, selector = pod_of(one), one.get("spec", {}).get("selector", {})
        if pod and one["kind"] != "Pod":
            assert selector["matchLabels"].items() <= pod["metadata"]["labels"].items()
    labels = [pod["metadata"]["labels"] for _, pod in pods(values_of(case))]
    for one in objects(values_of(case)):
        wanted = None
        if one["kind"] == "Service":
            wanted = one["spec"]["selector"]
        elif one["kind"] == "NetworkPolicy":
            wanted = one["spec"]["podSelector"]["matchLabels"]
        elif one["kind"] == "PodDisruptionBudget":
            wanted = one["spec"]["selector"]["matchLabels"]
        if wanted is not None:
            assert sum(wanted.items() <= have.items() for have in labels) == 1, one["kind"]


def ports_and_volumes_are_declared_where_they_are_used(case):
    for name, pod in pods(values_of(case)):
        volumes = {volume["name"] for volume in pod["spec"].get("volumes", [])}
        claimed = next((one for one in objects(values_of(case)) if one["kind"] == "StatefulSet"), {"spec": {}})
        volumes |= {claim["metadata"]["name"] for claim in claimed["spec"].get("volumeClaimTemplates", [])}
        for container in pod["spec"].get("initContainers", []) + pod["spec"]["containers"]:
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes, name
            ports = {port["name"] for port in container.get("ports", [])}
            probes = [container.get(f"{kind}Probe") for kind in ("startup", "readiness", "liveness")]
            assert {probe["httpGet"]["port"] for probe in probes if probe} <= ports, name


def no_pod_gets_a_token_of_the_api_server(case):
    for name, pod in pods(values_of(case)):
        assert pod["spec"]["automountServiceAccountToken"] is False, name
        for volume in pod["spec"].get("volumes", []):
            for source in volume.get("projected", {}).get("sources", []):
                if token := source.get("serviceAccountToken"):
                    assert token["audience"], name
    for one in objects(values_of(case)):
        if one["kind"] == "ServiceAccount":
            assert one["automountServiceAccountToken"] is False


def the_volume_of_secrets_is_mounted_in_keysides_container_only(case):
    for name, pod in pods(values_of(case)):
        containers = pod["spec"].get("initContainers", []) + pod["spec"]["containers"]
        mounting = [one for one in containers if any(mount["name"] == "keyside-secrets" for mount in one.get("volumeMounts", []))]
        assert mounting in ([], [keyside_container(pod)] if mounting else []), name


def network_policies_never_admit_a_metadata_service():
    for case in CASES:
        for one in objects(values_of(case)):
            if one["kind"] != "NetworkPolicy":
                continue
            for rule in one["spec"]["egress"]:
                for peer in rule.get("to", []):
                    block = peer.get("ipBlock", {})
                    if block.get("cidr") == "0.0.0.0/0":
                        assert any(network.startswith("169.254.") for network in block["except"]), case


def the_sidecar_is_a_native_one_before_all_others():
    for case in ("sidecar-secret", "sidecar-vault", "sidecar-options"):
        spec = the("Deployment", values_of(case))["spec"]["template"]["spec"]
        sidecar = spec["initContainers"][0]
        assert sidecar["restartPolicy"] == "Always"
        paths = [sidecar[f"{kind}Probe"]["httpGet"]["path"] for kind in ("startup", "readiness", "liveness")]
        assert paths == ["/readyz", "/readyz", "/healthz"]
        assert sidecar["lifecycle"]["preStop"]["exec"]["command"][:2] == ["keyside", "drain"]


def a_key_is_projected_for_each_secret_that_the_settings_read():
    pod = the("StatefulSet", values_of("declared-in-server"))["spec"]["template"]
    volume = next(one for one in pod["spec"]["volumes"] if one["name"] == "keyside-secrets")
    secrets = {
        source["secret"]["name"]: [item["key"] for item in source["secret"]["items"]]
        for source in volume["projected"]["sources"]
        if "secret" in source
    }
    assert secrets == {"llm-keys": ["anthropic", "mistral"], "openai": ["api-key"]}


def the_pods_restart_when_their_settings_change():
    def checksum(values):
        return the("StatefulSet", values)["spec"]["template"]["metadata"]["annotations"]["checksum/keyside-settings"]

    assert checksum({}) == checksum({"serve": {"nodeSelector": {"a": "b"}}})
    assert checksum({}) != checksum({"serve": {"config": {"runs": {"keep": 1}}}})


def monitoring_shows_the_files_of_the_chart():
    """The real files, which the snapshots leave out."""
    found = {one["kind"]: one for one in objects(values_of("monitoring"), files=None)}
    alerts, dashboard = CHART / "files/alerts.yaml", CHART / "files/dashboard.json"
    if alerts.exists():
        assert found["PrometheusRule"]["spec"]["groups"] == yaml.safe_load(alerts.read_text())["groups"]
    else:
        assert "PrometheusRule" not in found
    boards = [one for one in objects(values_of("monitoring"), files=None) if one["metadata"]["name"].endswith("-dashboard")]
    assert [json.loads(one["data"]["keyside.json"]) for one in boards] == (
        [json.loads(dashboard.read_text())] if dashboard.exists() else []
    )


def the_archive_has_what_users_read_and_nothing_else(tmp_path):
    with tarfile.open(helm.package(CHART, destination=tmp_path)) as archive:
        names = {name.removeprefix("keyside/") for name in archive.getnames()}
    assert {"README.md", "values.schema.json", "examples/server.yaml", "templates/NOTES.txt"} <= names
    assert {name for name in names if not name.startswith(("templates/", "examples/", "files/"))} <= {
        ".helmignore", "Chart.yaml", "README.md", "values.schema.json", "values.yaml",
    }


def the_chart_has_the_version_of_the_binary():
    version = next(line for line in (ROOT / "Cargo.toml").read_text().splitlines() if line.startswith("version = "))
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text())
    assert version == f'version = "{chart["appVersion"]}"'
    for annotation in ("artifacthub.io/changes", "artifacthub.io/links"):
        assert yaml.safe_load(chart["annotations"][annotation])

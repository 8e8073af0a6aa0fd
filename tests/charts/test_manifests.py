"""Every object is valid against the strict schemas of three Kubernetes versions, and every pod passes the restricted Pod Security
Standard."""

import copy
import functools

import jsonschema
import kubernetes_validate
import kubernetes_validate.utils
import pytest
import yaml

import pod_security
from chart import SUITE, parsed, pods, the, values_of

#: The oldest that the chart supports, one between, and the newest that the schemas are there for.
VERSIONS = ("1.29", "1.33", "1.37")

CUSTOM = yaml.safe_load((SUITE / "custom_resources.yaml").read_text())

# It reads its schemas from files for every object.
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)


def _validate(one: dict, version: str):
    custom = CUSTOM.get(f"{one['apiVersion']} {one['kind']}")
    if custom is None:
        assert kubernetes_validate.validate(one, version, strict=True)
        return
    assert one.keys() == {"apiVersion", "kind", "metadata", "spec"}
    jsonschema.validate(one["spec"], custom)
    # Metadata is the same for all kinds.
    kubernetes_validate.validate({"apiVersion": "v1", "kind": "ConfigMap", "metadata": one["metadata"]}, version, strict=True)


@pytest.mark.parametrize("version", VERSIONS)
def every_object_is_valid(case, version):
    for one in parsed(values_of(case)):
        _validate(one, version)
        assert len(one["metadata"]["name"]) <= 63


@pytest.mark.parametrize("version", VERSIONS)
def an_unknown_field_or_a_wrong_type_is_found(version):
    for kind, values in [("StatefulSet", {}), ("NetworkPolicy", {}), ("ServiceMonitor", values_of("monitoring")), ("HTTPRoute", values_of("http-route"))]:
        one = the(kind, values)
        _validate(one, version)
        for broken in ({"unknownField": 1}, {"selector": 7, "rules": 7, "podSelector": 7}):
            changed = copy.deepcopy(one)
            changed["spec"] |= broken
            with pytest.raises(jsonschema.ValidationError):
                _validate(changed, version)


def every_pod_is_restricted(case):
    for name, pod in pods(values_of(case)):
        assert pod_security.violations(pod) == [], name


def the_sidecar_is_restricted_in_a_pod_that_says_nothing():
    pod = the("Deployment", values_of("sidecar-secret"))["spec"]["template"]
    del pod["spec"]["securityContext"]
    pod["spec"]["containers"] = []
    assert pod_security.violations(pod) == []


#: What each rule of the standard refuses: the change to a pod that passes, and the violation.
FORBIDDEN = [
    ({"hostNetwork": True}, {}, "hostNetwork"),
    ({"hostPID": True}, {}, "hostPID"),
    ({"hostIPC": True}, {}, "hostIPC"),
    ({"volumes": [{"name": "v", "hostPath": {"path": "/"}}]}, {}, "volumes"),
    ({"volumes": [{"name": "v", "nfs": {"server": "s", "path": "/"}}]}, {}, "volumes"),
    ({"securityContext": {"sysctls": [{"name": "kernel.msgmax", "value": "1"}]}}, {}, "sysctls"),
    ({"securityContext": {"runAsUser": 0}}, {}, "runAsUser"),
    ({"securityContext": {"runAsNonRoot": False}}, {"securityContext": {"runAsNonRoot": None}}, "runAsNonRoot"),
    ({"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, {}, "seccompProfile"),
    ({"securityContext": {"seccompProfile": None}}, {"securityContext": {"seccompProfile": None}}, "seccompProfile"),
    ({"securityContext": {"windowsOptions": {"hostProcess": True}}}, {}, "hostProcess"),
    ({"securityContext": {"seLinuxOptions": {"type": "spc_t"}}}, {}, "seLinuxOptions"),
    ({"securityContext": {"appArmorProfile": {"type": "Unconfined"}}}, {}, "appArmorProfile"),
    ({}, {"securityContext": {"privileged": True}}, "privileged"),
    ({}, {"securityContext": {"allowPrivilegeEscalation": None}}, "allowPrivilegeEscalation"),
    ({}, {"securityContext": {"allowPrivilegeEscalation": True}}, "allowPrivilegeEscalation"),
    ({}, {"securityContext": {"capabilities": {"drop": ["NET_RAW"]}}}, "capabilities.drop"),
    ({}, {"securityContext": {"capabilities": {"drop": ["ALL"], "add": ["SYS_ADMIN"]}}}, "capabilities.add"),
    ({}, {"securityContext": {"runAsUser": 0}}, "runAsUser"),
    ({}, {"securityContext": {"runAsNonRoot": False}}, "runAsNonRoot"),
    ({}, {"securityContext": {"procMount": "Unmasked"}}, "procMount"),
    ({}, {"securityContext": {"seccompProfile": {"type": "Unconfined"}}}, "seccompProfile"),
    ({}, {"securityContext": {"seLinuxOptions": {"user": "root"}}}, "seLinuxOptions"),
    ({}, {"ports": [{"containerPort": 1, "hostPort": 1}]}, "hostPort"),
    ({}, {"livenessProbe": {"httpGet": {"host": "169.254.169.254", "port": 80}}}, "host"),
    ({}, {"lifecycle": {"preStop": {"httpGet": {"host": "10.0.0.1", "port": 80}}}}, "host"),
]


@pytest.mark.parametrize("place", ["initContainers", "containers", "ephemeralContainers"])
@pytest.mark.parametrize(("pod_change", "container_change", "violation"), FORBIDDEN)
def the_check_finds_each_violation(pod_change, container_change, violation, place):
    pod = the("StatefulSet", {})["spec"]["template"]
    pod["spec"][place] = pod["spec"].pop("containers")
    pod["spec"].setdefault("containers", [])
    assert pod_security.violations(pod) == []
    _merge(pod["spec"], pod_change)
    _merge(pod["spec"][place][0], container_change)
    found = pod_security.violations(pod)
    assert any(violation in one for one in found), found


def _merge(into: dict, change: dict):
    for key, value in change.items():
        if isinstance(value, dict) and isinstance(into.get(key), dict) and key not in ("capabilities", "livenessProbe", "preStop"):
            _merge(into[key], value)
        elif value is None:
            into.pop(key, None)
        else:
            into[key] = value


def the_check_as_a_program_fails_for_a_pod_that_is_not_restricted(tmp_path, capsys):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    one = the("StatefulSet", {})
    good.write_text(yaml.safe_dump(one))
    one["spec"]["template"]["spec"]["hostNetwork"] = True
    bad.write_text("---\n" + yaml.safe_dump(one))
    assert pod_security.main([str(good)]) == 0
    assert pod_security.main([str(good), str(bad)]) == 1
    assert "hostNetwork" in capsys.readouterr().err

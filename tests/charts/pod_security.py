#!/usr/bin/env python3
"""Checks pods against the restricted Pod Security Standard (https://kubernetes.io/docs/concepts/security/pod-security-standards/):

    pod_security.py FILE...     objects in YAML; exit code 1 with a line for each violation
"""

import sys

import yaml

VOLUMES = {"configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim", "projected", "secret", "image"}
SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start", "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range", "net.ipv4.ip_local_reserved_ports", "net.ipv4.tcp_keepalive_time", "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl", "net.ipv4.tcp_keepalive_probes", "net.ipv4.tcp_rmem", "net.ipv4.tcp_wmem",
}
SELINUX_TYPES = {None, "", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"}
APPARMOR = "container.apparmor.security.beta.kubernetes.io/"


def violations(pod: dict) -> list[str]:
    """One line for each rule that a pod (with `metadata` and `spec`) breaks."""
    spec = pod["spec"]
    context = spec.get("securityContext") or {}
    found = [f"{name} is true" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    for volume in spec.get("volumes") or []:
        if others := volume.keys() - {"name"} - VOLUMES:
            found.append(f"volumes: {volume['name']} is of type {', '.join(others)}")
    found += [f"sysctls: {one['name']}" for one in context.get("sysctls") or [] if one["name"] not in SYSCTLS]
    for key, value in ((pod.get("metadata") or {}).get("annotations") or {}).items():
        if key.startswith(APPARMOR) and value != "runtime/default" and not value.startswith("localhost/"):
            found.append(f"appArmorProfile: the annotation {key} is {value}")
    found += [f"pod: {one}" for one in _either(context)]
    for place in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(place) or []:
            found += [f"{container['name']}: {one}" for one in _container(container, context)]
    return found


def _either(context: dict):
    """Rules for the security context of a pod or of a container."""
    if (context.get("windowsOptions") or {}).get("hostProcess"):
        yield "windowsOptions.hostProcess is true"
    linux = context.get("seLinuxOptions") or {}
    if linux.get("type") not in SELINUX_TYPES or linux.get("user") or linux.get("role"):
        yield f"seLinuxOptions: {linux}"
    if (context.get("appArmorProfile") or {}).get("type") not in (None, "RuntimeDefault", "Localhost"):
        yield "appArmorProfile is unconfined"
    if (context.get("seccompProfile") or {}).get("type") not in (None, "RuntimeDefault", "Localhost"):
        yield "seccompProfile is unconfined"
    if context.get("runAsUser") == 0:
        yield "runAsUser is 0"
    if context.get("runAsNonRoot") is False:
        yield "runAsNonRoot is false"


def _container(container: dict, pod: dict):
    context = container.get("securityContext") or {}
    yield from _either(context)
    if context.get("privileged"):
        yield "privileged is true"
    if context.get("allowPrivilegeEscalation") is not False:
        yield "allowPrivilegeEscalation is not false"
    capabilities = context.get("capabilities") or {}
    if "ALL" not in (capabilities.get("drop") or []):
        yield "capabilities.drop does not have ALL"
    if added := set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}:
        yield f"capabilities.add has {', '.join(sorted(added))}"
    if context.get("procMount") not in (None, "Default"):
        yield f"procMount is {context['procMount']}"
    if context.get("runAsNonRoot", pod.get("runAsNonRoot")) is not True:
        yield "runAsNonRoot is not true here or in the pod"
    if not (context.get("seccompProfile") or pod.get("seccompProfile")):
        yield "seccompProfile is not set here or in the pod"
    yield from (f"hostPort {port['hostPort']}" for port in container.get("ports") or [] if port.get("hostPort"))
    handlers = [container.get(f"{kind}Probe") for kind in ("startup", "readiness", "liveness")]
    handlers += (container.get("lifecycle") or {}).values()
    for handler in filter(None, handlers):
        for kind in ("httpGet", "tcpSocket"):
            if (handler.get(kind) or {}).get("host"):
                yield f"{kind}.host is {handler[kind]['host']}"


def _pods(one: dict):
    if one.get("kind") == "Pod":
        yield one
    elif template := (one.get("spec") or {}).get("template"):
        yield template
    elif job := (one.get("spec") or {}).get("jobTemplate"):
        yield job["spec"]["template"]


def main(files: list[str]) -> int:
    status = 0
    for file in files:
        with open(file, encoding="utf-8") as text:
            objects = list(filter(None, yaml.safe_load_all(text)))
        for one in objects:
            for violation in (line for pod in _pods(one) for line in violations(pod)):
                print(f"{file}: {one['kind']} {one['metadata']['name']}: {violation}", file=sys.stderr)
                status = 1
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

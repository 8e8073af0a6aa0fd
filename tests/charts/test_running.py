"""The real binary accepts every rendered settings file, and serves requests with the rendered command lines, variables and settings."""

import json
import os
import shutil
import subprocess

import pytest

import logins
from bao import Bao, new_authority
from chart import NAMESPACE, keyside_container, parsed, texts, the, values_of
from harness.keyside import binary
from harness.web import eventually, fetch
from issuers import Kubernetes, Signer
from provider import Provider
from rehearsal import CANARY, Rehearsal

SERVER = "StatefulSet demo-keyside"
EXAMPLE = "Deployment demo-keyside-example"
CHAT = {"model": "gpt-4o", "messages": [{"role": "user", "content": "count to three"}]}


@pytest.fixture
def provider():
    provider = Provider()
    provider.good.add(CANARY)
    yield provider
    provider.stop()


def _with_provider(values: dict, provider: Provider) -> dict:
    """The values with OpenAI at the fake provider."""
    config = {"providers": {"openai": {"base_url": provider.url}}}
    values = json.loads(json.dumps(values))
    values.setdefault("serve", {})["config"] = config
    values.setdefault("sidecar", {})["config"] = config
    return values


def keyside_check_accepts_the_settings_of_each_case(case, tmp_path):
    creators = [one for one in parsed(values_of(case)) if one["kind"] in ("StatefulSet", "Deployment")]
    for number, one in enumerate(creators):
        folder = tmp_path / str(number)
        folder.mkdir()
        rehearsal = Rehearsal(folder, values_of(case), f"{one['kind']} {one['metadata']['name']}")
        checked = rehearsal.command("check")
        assert checked.returncode == 0, f"{checked.stderr}\n{rehearsal.settings}"
        assert CANARY not in checked.stdout + checked.stderr


def keyside_check_accepts_the_settings_of_sidecars_without_an_example(tmp_path):
    """Of these no pod is rendered: only the file is checked."""
    for case in ("sidecar-both", "sidecar-only"):
        files = [one for one in parsed(values_of(case)) if "-sidecar-" in one["metadata"]["name"]]
        assert files
        for one in files:
            file = tmp_path / "keyside.toml"
            file.write_text(one["data"]["keyside.toml"])
            checked = subprocess.run([binary(), "check", "--config", file], capture_output=True, text=True, cwd=tmp_path, env={})
            assert checked.returncode == 0, checked.stderr


def keyside_check_refuses_a_setting_that_does_not_exist(tmp_path):
    values = {"serve": {"config": {"proxy": {"thread": 2}}}}
    checked = Rehearsal(tmp_path, values, SERVER).command("check")
    assert checked.returncode == 78 and "threads" in checked.stderr


def the_server_starts_serves_and_keeps_its_keys(tmp_path, provider):
    values = _with_provider({}, provider)
    with Rehearsal(tmp_path, values, SERVER) as server:
        server.start()
        for probe in ("startup", "readiness", "liveness"):
            assert server.passes(probe), server.log()
        _run_the_notes(server, values)
        base = f"{server.url(7380)}/w/acme/openai/v1/chat/completions"
        for host in server.table()["proxy"]["hosts"]:
            assert fetch(base, body=CHAT, headers={"Host": host, "X-Keyside-Workspace": "acme"})[0] == 200, host
        assert fetch(base, body=CHAT, headers={"Host": "other.example"})[0] == 403
        assert provider.seen == [CANARY] * len(server.table()["proxy"]["hosts"])
        assert server.stop() == 0
        # The data is on the volume: a new pod has the key.
        server.start()
        assert server.passes("readiness"), server.log()
        assert fetch(base, body=CHAT)[0] == 200
        assert [path.name for path in server.mounts["/var/lib/keyside"].iterdir() if path.name == "data"] == ["data"]
        assert CANARY not in server.log()


def _run_the_notes(server: Rehearsal, values: dict):
    """The commands that NOTES.txt prints after `keyside`."""
    commands = [line.partition("-c keyside -- keyside ")[2] for line in texts(values)["notes"].splitlines() if "-c keyside --" in line]
    assert len(commands) == 3
    for command in commands:
        command, _, file = command.partition(" < ")
        done = server.command(*command.split(), stdin=CANARY if file else None)
        assert done.returncode == 0, done.stderr


def helm_test_asks_the_server_that_it_tests(tmp_path, provider):
    values = _with_provider({}, provider)
    pod = the("Pod", values)
    arguments = pod["spec"]["containers"][0]["args"]
    service = the("Service", values)
    assert arguments[-1] == f"http://{service['metadata']['name']}:7382"
    with Rehearsal(tmp_path, values, SERVER) as server:
        server.start()
        assert server.passes("readiness"), server.log()
        asked = server.command(*arguments[:-1], server.url(7382))
        assert asked.returncode == 0, asked.stderr
        server.stop()
        assert server.command(*arguments[:-1], server.url(7382)).returncode == 1


def the_admin_page_answers_to_the_ingress_host_and_to_no_other(tmp_path):
    with Rehearsal(tmp_path, values_of("server"), SERVER) as server:
        server.start()
        assert server.passes("readiness"), server.log()
        page = f"{server.url(7381)}/api/integrations/providers"
        assert fetch(page, headers={"Host": "keyside.example.com"})[0] == 401
        assert fetch(page, headers={"Host": "other.example.com"})[0] in (403, 421)
        # The master key comes from the Secret, so none is beside the data.
        assert [path.name for path in server.mounts["/var/lib/keyside"].iterdir()] == ["data"]


def the_admin_listener_stays_on_loopback_unless_it_is_exposed(tmp_path):
    for case, address in [("defaults", "127.0.0.1:7381"), ("ingress", "0.0.0.0:7381"), ("http-route", "0.0.0.0:7381")]:
        (tmp_path / case).mkdir()
        assert Rehearsal(tmp_path / case, values_of(case), SERVER).table()["admin"]["listen"] == address


def the_server_drains_in_its_pre_stop_hook_and_then_ends(tmp_path):
    with Rehearsal(tmp_path, {}, SERVER) as server:
        server.start()
        assert server.passes("readiness"), server.log()
        drained = server.pre_stop()
        assert drained.returncode == 0, drained.stderr
        assert (server.probe("readiness"), server.probe("liveness")) == (503, 200)
        assert server.stop() == 0


def the_hook_finds_the_process_by_itself_where_no_other_keyside_runs(tmp_path):
    """In a process namespace of its own, as in a container."""
    namespace = ["unshare", "--map-root-user", "--pid", "--fork", "--mount-proc"]
    if shutil.which("unshare") is None or subprocess.run([*namespace, "true"], capture_output=True).returncode:
        pytest.skip("this system allows no process namespaces")
    server = Rehearsal(tmp_path, {}, SERVER)
    hook = server.container["lifecycle"]["preStop"]["exec"]["command"]
    script = """
        "$KEYSIDE" "$@" 2>log &
        until "$KEYSIDE" healthcheck; do kill -0 $! || exit 3; sleep 0.1; done
        "$KEYSIDE" $HOOK || exit 4
        "$KEYSIDE" healthcheck && exit 5
        kill $! && wait $!
    """
    environment = {**server.environment, "KEYSIDE": str(binary()), "HOOK": " ".join(hook[1:])}
    command = [*namespace, "sh", "-c", script, "sh", *server.container["args"]]
    done = subprocess.run(command, env=environment, cwd=tmp_path / "work", capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}{(tmp_path / 'work/log').read_text()}"


def the_sidecar_attaches_the_key_of_a_secret_to_the_example_runners_requests(tmp_path, provider):
    values = _with_provider(values_of("sidecar-secret"), provider)
    with Rehearsal(tmp_path, values, EXAMPLE) as sidecar:
        sidecar.start()
        for probe in ("startup", "readiness", "liveness"):
            assert sidecar.passes(probe), sidecar.log()
        runner = sidecar.pod["spec"]["containers"][0]
        variables = {one["name"]: one["value"].replace(":7380", f":{sidecar.ports[7380]}") for one in runner["env"]}
        assert not any("KEY" in name for name in variables), "the runner needs no key"
        running = subprocess.Popen(runner["command"], env={"PATH": os.environ["PATH"], **variables}, stdout=subprocess.PIPE, text=True)
        try:
            answer = json.loads(running.stdout.readline())
        finally:
            running.terminate()
            assert running.wait(60) == 0, "the runner does not end on SIGTERM"
        assert answer["choices"], answer
        assert provider.seen == [CANARY]


def the_sidecar_serves_after_its_pre_stop_hook_until_it_is_stopped(tmp_path, provider):
    """The kubelet runs the hook at once, and stops the sidecar after the containers that use it."""
    values = _with_provider(values_of("sidecar-secret"), provider)
    with Rehearsal(tmp_path, values, EXAMPLE) as sidecar:
        sidecar.start()
        assert sidecar.passes("readiness"), sidecar.log()
        drained = sidecar.pre_stop()
        assert drained.returncode == 0, drained.stderr
        assert sidecar.probe("readiness") == 503
        assert fetch(f"{sidecar.url(7380)}/openai/v1/chat/completions", body=CHAT)[0] == 200
        assert sidecar.stop() == 0


def the_sidecar_uses_a_new_key_when_the_secret_changes(tmp_path, provider):
    values = _with_provider(values_of("sidecar-secret"), provider)
    with Rehearsal(tmp_path, values, EXAMPLE) as sidecar:
        sidecar.start()
        assert sidecar.passes("readiness"), sidecar.log()
        provider.good = {CANARY + "next"}
        (sidecar.mounts["/run/secrets/keyside"] / "credentials/openai/api-key").write_text(CANARY + "next\n")
        url = f"{sidecar.url(7380)}/openai/v1/chat/completions"
        assert eventually(lambda: fetch(url, body=CHAT)[0] == 200)


def the_sidecar_signs_in_to_a_real_vault_with_the_projected_token(tmp_path, provider):
    tls = new_authority(tmp_path)
    kubernetes, bao = Kubernetes(tls), Bao(tmp_path / "bao", tls)
    try:
        logins.enable_all(bao, logins.Issuers(kubernetes, Signer()))
        bao.mount("kv", "kv", version="2")
        bao.ask("POST", "kv/data/teams/acme/openai", {"data": {"api_key": CANARY}})
        values = _with_provider(values_of("sidecar-vault"), provider)
        values["vault"]["address"] = bao.address
        (tmp_path / "pod").mkdir()
        with Rehearsal(tmp_path / "pod", values, EXAMPLE) as sidecar:
            account = sidecar.pod["spec"]["serviceAccountName"]
            secrets = sidecar.mounts["/run/secrets/keyside"]
            (secrets / "vault/ca.crt").write_text(tls.ca_file.read_text())
            (secrets / "vault/jwt").write_text(kubernetes.new_token(NAMESPACE, account))
            # What the guide tells an administrator of Vault to do.
            bao.write_policy("keyside-acme", sidecar.command("vault", "policy").stdout)
            bound = {"bound_service_account_names": [account], "bound_service_account_namespaces": [NAMESPACE]}
            bao.ask("POST", "auth/kubernetes/role/keyside-acme", {**bound, "token_policies": ["keyside-acme"]})
            sidecar.start()
            assert sidecar.passes("startup"), sidecar.log()
            assert fetch(f"{sidecar.url(7380)}/openai/v1/chat/completions", body=CHAT)[0] == 200, sidecar.log()
            assert provider.seen == [CANARY]
    finally:
        bao.stop()
        kubernetes.stop()


def the_sidecar_for_vault_needs_the_documented_policy_and_waits_for_vault(tmp_path):
    values = values_of("sidecar-vault")
    # Nothing listens there, and the name needs no resolver.
    values["vault"]["address"] = "https://127.0.0.1:1"
    with Rehearsal(tmp_path, values, EXAMPLE) as sidecar:
        assert sidecar.table()["vault"]["role"] == "keyside-acme"
        policy = sidecar.command("vault", "policy")
        assert policy.returncode == 0 and 'path "kv/data/teams/acme/openai"' in policy.stdout, policy.stderr
        sidecar.start()
        # Not restarted, and the pod's other containers do not start.
        assert sidecar.passes("liveness"), sidecar.log()
        assert sidecar.probe("startup") == 503


def the_token_for_vault_has_its_audience_and_is_where_the_settings_say():
    pod = the("Deployment", values_of("sidecar-vault"))["spec"]["template"]
    volume = next(one for one in pod["spec"]["volumes"] if one["name"] == "keyside-secrets")
    token = volume["projected"]["sources"][0]["serviceAccountToken"]
    assert (token["audience"], token["expirationSeconds"]) == ("vault", 3600)
    mount = next(one for one in keyside_container(pod)["volumeMounts"] if one["name"] == "keyside-secrets")
    settings = the("ConfigMap", values_of("sidecar-vault"))["data"]["keyside.toml"]
    assert f'jwt_file = "{mount["mountPath"]}/{token["path"]}"' in settings

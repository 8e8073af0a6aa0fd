"""docs/DEPLOY.md: every command of the page runs, and what it starts serves without rights."""

import contextlib
import json
from pathlib import Path

import images
from engine import Engine
from guide import PAGE, commands
from harness.canary import leaks
from harness.web import eventually, fetch
from machine import ENVIRONMENT, SHARED, Machine
from provider import Provider
from shell import KEY, Shell

PROXY, ADMIN, OBSERVE = (f"http://127.0.0.1:{port}" for port in (7380, 7381, 7382))
MODELS = "/w/acme/openai/v1/models"
KEYSIDE = "keyside --config /etc/keyside/keyside.toml"
#: For the test alone: the provider, limits that this machine's number of open files allows, and the end of a process that makes a call
#: which the unit forbids, instead of an error that it may handle.
DROP_IN = """[Service]
Environment=KEYSIDE_PROVIDERS__OPENAI__BASE_URL={url}
Environment=KEYSIDE_PROXY__LIMITS__CONNECTIONS=100 KEYSIDE_PROXY__LIMITS__UPSTREAM_CONNECTIONS=100
SystemCallErrorNumber=kill
"""


def every_command_of_the_page_has_a_test():
    tests = "".join((Path(__file__).parent / name).read_text() for name in ("conftest.py", "test_guide.py"))
    for heading in {block.heading for block in PAGE.blocks if block.commands}:
        assert not commands(heading) or f'commands("{heading}")' in tests, heading


def the_image_serves_in_docker(engine: Engine, person: Shell, image: str):
    _, run = commands("The image")
    for command in run:
        person.run(command)
        engine.settle()
    _serves(engine, "keyside")
    data = Path(engine.inspect("keyside")["Mounts"][0]["Source"]) / "data"
    assert data.stat().st_uid == 65532
    engine.run("docker", "stop", "keyside")
    assert engine.inspect("keyside")["State"]["ExitCode"] == 0
    engine.run("docker", "rm", "--volumes", "keyside")


def the_admin_page_of_a_container_is_published(engine: Engine, image: str):
    (options,) = [block.text for block in PAGE.blocks if block.heading == "The admin page"]
    container = engine.run("docker", "run", "--detach", "--rm", *options.split(), image)
    engine.settle()
    link = engine.run("docker", "exec", container, "/usr/bin/keyside", "link").splitlines()[0]
    assert link.startswith(f"{ADMIN}/")
    assert fetch(link)[0] == 200
    engine.run("docker", "stop", container)


def the_image_serves_in_compose(engine: Engine, person: Shell, image: str):
    (section,) = commands("Compose")
    for command in section:
        shown = person.run(command)
        engine.settle()
    assert json.loads(shown[shown.index("{") :])["object"] == "list"
    (container,) = engine.run("docker", "compose", "ps", "--quiet", cwd=person.folder).split()
    _serves(engine, container)
    assert engine.inspect(container)["State"]["Health"]["Status"] == "healthy"
    assert fetch(f"{ADMIN}/api/workspaces")[0] == 401
    (volume,) = [Path(one["Source"]) for one in engine.inspect(container)["Mounts"] if one["Type"] == "volume"]
    assert (volume / "data").is_dir()
    assert not (volume / "data.master-key").exists(), "the secret is the master key"
    engine.run("docker", "compose", "down", "--volumes", cwd=person.folder)


def the_unit_serves_over_its_socket(machine: Machine):
    provider = Provider()
    provider.good.add(KEY)
    drop_in = machine.files / "etc/systemd/system/keyside.service.d/test.conf"
    drop_in.parent.mkdir()
    drop_in.write_text(DROP_IN.format(url=provider.url))
    root = Shell(SHARED, ENVIRONMENT, machine.entered)
    (section,) = commands("systemd")
    for command in section:
        root.run(command)
    assert eventually(lambda: _status(f"{OBSERVE}/readyz") == 200)
    root.run(f"{KEYSIDE} workspace add acme")
    root.run(f"{KEYSIDE} key add -w acme -p openai --stdin < openai-key")
    assert [_asks(root, user) for user in (1000, 1001)] == ["200", "403"]
    root.run("systemctl is-enabled keyside")
    user, process = root.run("id --user keyside; systemctl show --property MainPID --value keyside").split()
    status = _has_no_rights(machine.files / f"proc/{process}", user)
    assert int(status["VmLck"].split()[0]) > 0, "keys in use are kept out of the swap"
    assert (machine.files / "var/lib/keyside/data").stat().st_uid == int(user)
    assert not (machine.files / "var/lib/keyside/data.master-key").exists(), "the credential is the master key"
    root.run("systemctl stop keyside")
    assert root.run("systemctl show --property Result --value keyside").strip() == "success"
    logged = root.run("journalctl --unit keyside --output cat")
    assert [line for line in logged.splitlines() if '"WARN"' in line or '"ERROR"' in line] == []
    provider.stop()


def _asks(root: Shell, user: int) -> str:
    """The status of a response to a user of the machine."""
    curl = f"curl --silent --output /dev/null --write-out '%{{http_code}}' --unix-socket /run/keyside/proxy.sock http://localhost{MODELS}"
    return root.run(f"setpriv --reuid {user} --regid {user} --clear-groups {curl}")


def _status(url: str) -> int | None:
    with contextlib.suppress(OSError):
        return fetch(url)[0]


def _serves(engine: Engine, container: str):
    """Keyside has a read-only root and no rights, is ready, attaches the key, and logs no key."""
    state = engine.inspect(container)["State"]
    assert state["Running"]
    _has_no_rights(Path(f"/proc/{state['Pid']}"), user="65532")
    curl = ["docker", "run", "--rm", "--network", f"container:{container}", images.CURL, "--fail-with-body", "--silent"]
    assert engine.run(*curl, f"{OBSERVE}/readyz") == "ready"
    assert json.loads(engine.run(*curl, f"{PROXY}{MODELS}"))["object"] == "list"
    logged = engine.call("docker", "logs", container)
    assert not leaks(KEY, logged.stdout + logged.stderr)


def _has_no_rights(process: Path, user: str) -> dict[str, str]:
    """The process runs as `user`, without capabilities, on a root that it cannot write to; returns what /proc says."""
    status = dict(line.split(":\t", 1) for line in (process / "status").read_text().splitlines() if ":\t" in line)
    assert status["Uid"].split() == [user] * 4
    assert (int(status["CapEff"], 16), int(status["CapBnd"], 16), status["NoNewPrivs"]) == (0, 0, "1")
    (root,) = [words[5] for line in (process / "mountinfo").read_text().splitlines() if (words := line.split())[4] == "/"]
    assert "ro" in root.split(",")
    return status

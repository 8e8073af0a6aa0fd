"""Every auth method: its setup in OpenBao, and the `[vault]` settings for it."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from bao import Bao, unique
from issuers import Kubernetes, Signer
from sidecar import POLL_SETTING, TIMEOUT_SETTING, Settings

@dataclass
class Login:
    """How a sidecar signs in."""

    settings: Settings
    mount: str
    """The auth method's path below `auth/` in OpenBao."""
    file: Path | None = None
    """The file with the secret that the sidecar signs in with."""
    secrets: list[str] = field(default_factory=list)
    """Secrets that must not appear in any output."""

    def at(self, address: str) -> Settings:
        return {**self.settings, "address": address}

    def _holding(self, file: Path, secret: str) -> "Login":
        write_secret(file, secret)
        self.file = file
        self.secrets.append(secret)
        return self


@dataclass
class Issuers:
    """The identity providers that OpenBao trusts."""

    kubernetes: Kubernetes
    signer: Signer


def enable_all(bao: Bao, issuers: Issuers, namespace: str = ""):
    """Enables every auth method at its default path; once per server and namespace."""
    for type in ("approle", "jwt", "kubernetes", "cert"):
        bao.enable_auth(type, type, namespace)
    bao.ask("POST", "auth/jwt/config", {"jwt_validation_pubkeys": [issuers.signer.public_key]}, namespace=namespace)
    kubernetes = {
        "kubernetes_host": issuers.kubernetes.url,
        "kubernetes_ca_cert": bao.tls.ca_file.read_text(),
        "token_reviewer_jwt": Kubernetes.REVIEWER,
        "disable_local_ca_jwt": True,
    }
    bao.ask("POST", "auth/kubernetes/config", kubernetes, namespace=namespace)


def by_approle(bao: Bao, issuers: Issuers, folder: Path, policy: str, *, namespace: str = "", **role) -> Login:
    name = unique("keyside")
    path = f"auth/approle/role/{name}"
    bao.ask("POST", path, {"token_policies": [policy], **role}, namespace=namespace)
    bao.ask("POST", f"{path}/role-id", {"role_id": name}, namespace=namespace)
    secret_id = bao.ask("POST", f"{path}/secret-id", {}, namespace=namespace)["data"]["secret_id"]
    file = folder / "secret-id"
    login = Login({**_common(bao), "auth": "approle", "role_id": name, "secret_id_file": str(file)}, "approle")
    if namespace:
        login.settings["namespace"] = namespace
    return login._holding(file, secret_id)


def by_wrapped_approle(bao: Bao, issuers: Issuers, folder: Path, policy: str, **role) -> Login:
    """A secret id in a wrapping token, which can be unwrapped once."""
    login = by_approle(bao, issuers, folder, policy, **role)
    path = f"auth/approle/role/{login.settings['role_id']}/secret-id"
    login.settings["secret_id_wrapped"] = True
    wrapped = bao.ask("POST", path, {}, headers={"X-Vault-Wrap-TTL": "300s"})["wrap_info"]["token"]
    return login._holding(login.file, wrapped)


def by_jwt(bao: Bao, issuers: Issuers, folder: Path, policy: str, *, at: str = "jwt", **role) -> Login:
    name = unique("keyside")
    accepted = {"role_type": "jwt", "user_claim": "sub", "bound_audiences": ["openbao"], "bound_subject": name}
    bao.ask("POST", f"auth/{at}/role/{name}", {**accepted, "token_policies": [policy], **role})
    file = folder / "jwt"
    login = Login({**_common(bao), "auth": "jwt", "role": name, "jwt_file": str(file)}, at)
    if at != "jwt":
        login.settings["auth_mount"] = at
    return login._holding(file, issuers.signer.sign(sub=name, aud=["openbao"]))


def by_kubernetes(bao: Bao, issuers: Issuers, folder: Path, policy: str, **role) -> Login:
    name = unique("keyside")
    accepted = {"bound_service_account_names": [name], "bound_service_account_namespaces": ["flows"]}
    bao.ask("POST", f"auth/kubernetes/role/{name}", {**accepted, "token_policies": [policy], **role})
    file = folder / "service-account-token"
    login = Login({**_common(bao), "auth": "kubernetes", "role": name, "jwt_file": str(file)}, "kubernetes")
    return login._holding(file, issuers.kubernetes.new_token("flows", name))


def by_certificate(bao: Bao, issuers: Issuers, folder: Path, policy: str, **role) -> Login:
    name = unique("keyside")
    accepted = {"certificate": bao.tls.ca_file.read_text(), "allowed_common_names": [name]}
    bao.ask("POST", f"auth/cert/certs/{name}", {**accepted, "token_policies": [policy], **role})
    bao.tls.write_client(folder, "client", name)
    settings = {
        **_common(bao),
        "auth": "cert",
        "role": name,
        "client_certificate": str(folder / "client.pem"),
        "client_key": str(folder / "client.key"),
    }
    return Login(settings, "cert", folder / "client.key")


def by_token_file(bao: Bao, issuers: Issuers, folder: Path, policy: str, **settings) -> Login:
    """A token file as Vault Agent writes it; without `auth`, which follows from the file."""
    file = folder / "token"
    login = Login({**_common(bao), "token_file": str(file)}, "token")
    return login._holding(file, bao.new_token(policy, no_default_policy=False, **settings))


WAYS: dict[str, Callable[..., Login]] = {
    "approle": by_approle,
    "wrapped approle": by_wrapped_approle,
    "jwt": by_jwt,
    "kubernetes": by_kubernetes,
    "certificate": by_certificate,
    "token file": by_token_file,
}


def write_secret(file: Path, secret: str):
    """Replaces the file atomically: never empty, never partial."""
    beside = file.with_name(f".{file.name}.new")
    beside.write_text(secret)
    beside.chmod(0o600)
    beside.replace(file)


def _common(bao: Bao) -> Settings:
    return {"address": bao.address, "ca_file": str(bao.tls.ca_file), "poll": POLL_SETTING, "timeout": TIMEOUT_SETTING}

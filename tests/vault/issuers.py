"""Identity providers: a JWT issuer, and Kubernetes' TokenReview API."""

import base64
import json
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from bao import Tls, unique


class Signer:
    """Signs JWTs with its own key (RS256)."""

    def __init__(self):
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)

    @property
    def public_key(self) -> str:
        encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        return self._key.public_key().public_bytes(encoding, form).decode()

    def sign(self, *, lasts: float = 3600, **claims) -> str:
        """A token that expires in `lasts` seconds."""
        now = int(time.time())
        claims = {"iat": now - 60, "nbf": now - 60, "exp": now + int(lasts), "jti": unique("jwt"), **claims}
        signed = f"{_part({'alg': 'RS256', 'typ': 'JWT'})}.{_part(claims)}"
        signature = self._key.sign(signed.encode(), padding.PKCS1v15(), hashes.SHA256())
        return f"{signed}.{_encode(signature)}"


class Kubernetes:
    """Answers TokenReviews over TLS; a service account's token is valid while it is in `valid`."""

    REVIEWER = "reviewer-of-tokens"

    def __init__(self, tls: Tls):
        self._signer = Signer()
        self.valid: dict[str, tuple[str, str, str]] = {}
        handler = type("Handler", (_Review,), {"kubernetes": self})
        self._server = serve_tls(handler, tls.server_context())
        self.url = f"https://127.0.0.1:{self._server.server_port}"

    def new_token(self, namespace: str, account: str) -> str:
        """The token that the kubelet projects into a pod of this service account."""
        subject, uid = f"system:serviceaccount:{namespace}:{account}", unique("uid")
        about = {"namespace": namespace, "serviceaccount": {"name": account, "uid": uid}}
        audience = "https://kubernetes.default.svc"
        token = self._signer.sign(iss=audience, sub=subject, aud=[audience], **{"kubernetes.io": about})
        self.valid[token] = (subject, uid, namespace)
        return token

    def stop(self):
        self._server.shutdown()
        self._server.server_close()


class TlsServer(ThreadingHTTPServer):
    """An HTTP server that does the TLS handshake in the connection's own thread, so that clients do
    not block each other."""

    daemon_threads = True
    context: ssl.SSLContext

    def finish_request(self, request, client_address):
        try:
            with self.context.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)
        except OSError:
            pass  # the client disconnected or does not trust the certificate, and reports that itself


def serve_tls(handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext) -> TlsServer:
    server = TlsServer(("127.0.0.1", 0), handler)
    server.context = context
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    return server


class _Review(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    kubernetes: Kubernetes

    def log_message(self, *_):
        pass

    def do_POST(self):
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        known = self.kubernetes.valid.get(review["spec"]["token"])
        if self.headers["Authorization"] != f"Bearer {Kubernetes.REVIEWER}":
            known = None
        status = {"authenticated": False, "error": "invalid bearer token"}
        if known:
            subject, uid, namespace = known
            groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
            user = {"username": subject, "uid": uid, "groups": groups}
            status = {"authenticated": True, "user": user, "audiences": review["spec"].get("audiences", [])}
        body = json.dumps({**review, "status": status}).encode()
        self.send_response(201)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _part(content: dict) -> str:
    return _encode(json.dumps(content).encode())


def _encode(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).rstrip(b"=").decode()

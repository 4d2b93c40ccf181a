"""A real Kubernetes control plane for tests: etcd, kube-apiserver, kube-controller-manager where present.

The binaries are envtest's, looked up as envtest does: in the folder that `KUBEBUILDER_ASSETS` names, else in
`/usr/local/kubebuilder/bin`. All listen on loopback alone, and none outlives the process that started it.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import signal
import socket
import ssl
import subprocess
import urllib.request
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Self

from control_plane.child_processes import ChildProcesses

DEFAULT_ASSETS = Path("/usr/local/kubebuilder/bin")
REQUIRED = ("etcd", "kube-apiserver")
CONTROLLERS = "kube-controller-manager"


def find_assets() -> Path | None:
    """The folder with etcd and kube-apiserver, or None where there is none.

    A folder named by `KUBEBUILDER_ASSETS` without them raises FileNotFoundError: who set it wants them used.
    """
    named = os.environ.get("KUBEBUILDER_ASSETS")
    folder = Path(named) if named else DEFAULT_ASSETS
    missing = [name for name in REQUIRED if not os.access(folder / name, os.X_OK)]
    if not missing:
        return folder
    if named:
        raise FileNotFoundError(f"KUBEBUILDER_ASSETS={named} has no executable {' or '.join(missing)}")
    return None


class RealControlPlane:
    """A running control plane, as a context manager.

    `kubeconfig` is a cluster administrator's; `server` is the API server's address. `audit_log` has a JSON
    line per answered request (level Metadata, no RequestReceived), and two per watch: at its start and end.
    `has_controller_manager` says whether Deployments, owners, namespaces, service accounts are acted on.
    `workdir` keeps a log per process. Entering raises RuntimeError, with the end of a log, when one fails;
    see ChildProcesses for the thread to enter it from.

    `prepare` is called with the kubeconfig before the controllers start: it is the place for CRDs, because the
    garbage collector looks for kinds that are new to it every 30 s only.
    """

    def __init__(self, assets: Path, workdir: Path, prepare: Callable[[Path], None] | None = None) -> None:
        self._prepare = prepare
        self.assets, self.workdir = assets.resolve(), workdir.resolve()
        self.kubeconfig = self.workdir / "kubeconfig"
        self.audit_log = self.workdir / "audit.log"
        self.has_controller_manager = os.access(self.assets / CONTROLLERS, os.X_OK)
        self.processes = ChildProcesses(self.workdir)
        self.server = self._etcd = ""
        self._tokens = {user: secrets.token_hex(16) for user in ("admin", f"system:{CONTROLLERS}")}
        self._certificate, self._key = self.workdir / "server.crt", self.workdir / "server.key"

    def __enter__(self) -> Self:
        self.workdir.mkdir(parents=True, exist_ok=True)
        self.server, self._etcd = f"https://127.0.0.1:{_free_port()}", f"http://127.0.0.1:{_free_port()}"
        self._write_credentials()
        try:
            self._start_etcd()
            self.start_apiserver()
            if self._prepare is not None:
                self._prepare(self.kubeconfig)
            if self.has_controller_manager:
                self._start_controller_manager()
        except BaseException:
            self.processes.stop_all()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.processes.stop_all()

    def write_kubeconfig(self, path: Path, token: str) -> Path:
        """Write a kubeconfig that authenticates by a token, say a service account's; return its path."""
        authority = base64.b64encode(self._certificate.read_bytes()).decode()
        context = {"cluster": "test", "user": "test", "namespace": "default"}
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [
                {"name": "test", "cluster": {"server": self.server, "certificate-authority-data": authority}}
            ],
            "users": [{"name": "test", "user": {"token": token}}],
            "contexts": [{"name": "test", "context": context}],
            "current-context": "test",
        }
        _write_private(path, json.dumps(config, indent=1))
        return path

    def start_apiserver(self) -> None:
        """Start kube-apiserver, at the same address and on the same data each time; return when ready."""
        flags: dict[str, object] = {
            "etcd-servers": self._etcd,
            "bind-address": "127.0.0.1",
            "advertise-address": "127.0.0.1",
            "secure-port": self.server.rpartition(":")[2],
            "tls-cert-file": self._certificate,
            "tls-private-key-file": self._key,
            "token-auth-file": self.workdir / "tokens.csv",
            "authorization-mode": "Node,RBAC",
            "service-cluster-ip-range": "10.96.0.0/16",
            "service-account-issuer": "https://kubernetes.default.svc",
            "service-account-key-file": self._certificate,
            "service-account-signing-key-file": self._key,
            # The address is loopback, which an Endpoints object may not hold.
            "endpoint-reconciler-type": "none",
            # As OpenShift has it: an owner reference that blocks the owner's deletion needs a right of its own.
            "enable-admission-plugins": "OwnerReferencesPermissionEnforcement",
            "audit-policy-file": self.workdir / "audit-policy.json",
            "audit-log-path": self.audit_log,
        }
        if not self.has_controller_manager:
            # Nothing makes the `default` service account then, and pods would be refused for want of it.
            flags["disable-admission-plugins"] = "ServiceAccount"
        self.processes.start("kube-apiserver", self.assets / "kube-apiserver", flags)
        self._wait_for("kube-apiserver", "/readyz")

    def stop_apiserver(self, *, kill: bool = False) -> None:
        """Stop kube-apiserver alone, in order or (`kill`) as a crash would; its data stays in etcd."""
        self.processes.stop("kube-apiserver", signal.SIGKILL if kill else signal.SIGTERM)

    def _start_etcd(self) -> None:
        peer = f"http://127.0.0.1:{_free_port()}"
        flags = {
            "data-dir": self.workdir / "etcd",
            "listen-client-urls": self._etcd,
            "advertise-client-urls": self._etcd,
            "listen-peer-urls": peer,
            "initial-advertise-peer-urls": peer,
            "initial-cluster": f"default={peer}",
            "unsafe-no-fsync": "true",
        }
        self.processes.start("etcd", self.assets / "etcd", flags)
        self.processes.wait_for("etcd", urllib.request.Request(f"{self._etcd}/health"))

    def _start_controller_manager(self) -> None:
        flags = {
            "kubeconfig": self.write_kubeconfig(
                self.workdir / f"{CONTROLLERS}.kubeconfig", self._tokens[f"system:{CONTROLLERS}"]
            ),
            "use-service-account-credentials": "true",
            "service-account-private-key-file": self._key,
            "root-ca-file": self._certificate,
            "secure-port": "0",
            "leader-elect": "false",
            # At the default of 20 requests a second, 40 controllers take 5 s to fetch their credentials.
            "kube-api-qps": "1000",
            "kube-api-burst": "1000",
            # No kubelet sends heartbeats here: nodes that a test registers would be marked unreachable.
            "controllers": "*,-node-lifecycle-controller",
        }
        self.processes.start(CONTROLLERS, self.assets / CONTROLLERS, flags)
        self._wait_for(CONTROLLERS, "/api/v1/namespaces/default/serviceaccounts/default")

    def _wait_for(self, name: str, path: str) -> None:
        headers = {"Authorization": f"Bearer {self._tokens['admin']}"}
        request = urllib.request.Request(self.server + path, headers=headers)
        self.processes.wait_for(name, request, ssl.create_default_context(cafile=str(self._certificate)))

    def _write_credentials(self) -> None:
        """One self-signed certificate is authority and server's; its key signs service account tokens too."""
        command = ["openssl", "req", "-x509", "-nodes", "-days", "2", "-subj", "/CN=kube-apiserver"]
        command += ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"]
        command += ["-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost"]
        command += ["-addext", "keyUsage=critical,digitalSignature,keyCertSign"]
        command += ["-keyout", str(self._key), "-out", str(self._certificate)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        if made.returncode:
            raise RuntimeError(f"openssl made no certificate for the control plane: {made.stderr.strip()}")
        groups = {"admin": "system:masters"}
        lines = [f"{token},{user},{user},{groups.get(user, '')}\n" for user, token in self._tokens.items()]
        _write_private(self.workdir / "tokens.csv", "".join(lines))
        rule = {"level": "Metadata", "omitStages": ["RequestReceived"]}
        policy = {"apiVersion": "audit.k8s.io/v1", "kind": "Policy", "rules": [rule]}
        (self.workdir / "audit-policy.json").write_text(json.dumps(policy))
        self.write_kubeconfig(self.kubeconfig, self._tokens["admin"])


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _write_private(path: Path, text: str) -> None:
    path.touch(mode=0o600)
    path.write_text(text)

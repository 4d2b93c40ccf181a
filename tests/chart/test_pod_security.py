"""The Pod Security check is itself checked: each rule refuses the one change that breaks it."""

from __future__ import annotations

import copy
from typing import Any

import pytest

from chart.pod_security import restricted_violations

CONTAINER = "spec.containers[main]"
ALLOWED: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {
            "name": "main",
            "ports": [{"containerPort": 8080}],
            "livenessProbe": {"httpGet": {"path": "/", "port": 8080}},
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "capabilities": {"drop": ["ALL"], "add": ["NET_BIND_SERVICE"]},
            },
        }
    ],
    "volumes": [{"name": "tmp", "emptyDir": {}}, {"name": "token", "secret": {"secretName": "t"}}],
}


def change(path: str, value: Any) -> dict[str, Any]:
    """A copy of the allowed pod with the value at a dotted path replaced; "main" finds its container."""
    pod = copy.deepcopy(ALLOWED)
    target: Any = pod
    *parents, last = path.split(".")
    for name in parents:
        target = target["containers"][0] if name == "main" else target.setdefault(name, {})
    target[last] = value
    return pod


def test_a_pod_that_keeps_every_rule_is_allowed() -> None:
    assert restricted_violations(ALLOWED) == []


def test_rules_a_container_sets_for_itself_need_not_stand_in_the_pod() -> None:
    pod = copy.deepcopy(ALLOWED)
    pod["containers"][0]["securityContext"] |= pod.pop("securityContext")
    assert restricted_violations(pod) == []


@pytest.mark.parametrize(
    ("path", "value", "field"),
    [
        ("hostNetwork", True, "spec.hostNetwork"),
        ("hostPID", True, "spec.hostPID"),
        ("hostIPC", True, "spec.hostIPC"),
        ("volumes", [{"name": "v", "hostPath": {"path": "/"}}], "spec.volumes[v].hostPath"),
        ("volumes", [{"name": "v", "nfs": {}}], "spec.volumes[v].nfs"),
        ("securityContext.runAsUser", 0, "spec.securityContext.runAsUser"),
        ("securityContext.runAsNonRoot", False, "spec.securityContext.runAsNonRoot"),
        (
            "securityContext.seccompProfile",
            {"type": "Unconfined"},
            "spec.securityContext.seccompProfile.type",
        ),
        (
            "securityContext.appArmorProfile",
            {"type": "Unconfined"},
            "spec.securityContext.appArmorProfile.type",
        ),
        ("securityContext.seLinuxOptions", {"type": "spc_t"}, "spec.securityContext.seLinuxOptions.type"),
        ("securityContext.seLinuxOptions", {"user": "root"}, "spec.securityContext.seLinuxOptions.user"),
        (
            "securityContext.sysctls",
            [{"name": "kernel.msgmax", "value": "1"}],
            "spec.securityContext.sysctls[kernel.msgmax]",
        ),
        (
            "securityContext.windowsOptions",
            {"hostProcess": True},
            "spec.securityContext.windowsOptions.hostProcess",
        ),
        ("main.securityContext.privileged", True, f"{CONTAINER}.securityContext.privileged"),
        (
            "main.securityContext.allowPrivilegeEscalation",
            True,
            f"{CONTAINER}.securityContext.allowPrivilegeEscalation",
        ),
        (
            "main.securityContext.allowPrivilegeEscalation",
            None,
            f"{CONTAINER}.securityContext.allowPrivilegeEscalation",
        ),
        ("main.securityContext.runAsUser", 0, f"{CONTAINER}.securityContext.runAsUser"),
        ("main.securityContext.runAsNonRoot", False, f"{CONTAINER}.securityContext.runAsNonRoot"),
        (
            "main.securityContext.seccompProfile",
            {"type": "Unconfined"},
            f"{CONTAINER}.securityContext.seccompProfile.type",
        ),
        (
            "main.securityContext.capabilities",
            {"drop": ["CHOWN"]},
            f"{CONTAINER}.securityContext.capabilities.drop",
        ),
        (
            "main.securityContext.capabilities",
            {"drop": ["ALL"], "add": ["SYS_ADMIN"]},
            f"{CONTAINER}.securityContext.capabilities.add",
        ),
        ("main.securityContext.procMount", "Unmasked", f"{CONTAINER}.securityContext.procMount"),
        ("main.ports", [{"containerPort": 80, "hostPort": 80}], f"{CONTAINER}.ports[80].hostPort"),
        (
            "main.livenessProbe",
            {"httpGet": {"port": 80, "host": "10.0.0.1"}},
            f"{CONTAINER}.livenessProbe.httpGet.host",
        ),
        (
            "main.lifecycle",
            {"preStop": {"tcpSocket": {"port": 80, "host": "10.0.0.1"}}},
            f"{CONTAINER}.lifecycle.preStop.tcpSocket.host",
        ),
        ("initContainers", [{"name": "init"}], "spec.initContainers[init].securityContext.capabilities.drop"),
        (
            "ephemeralContainers",
            [{"name": "debug"}],
            "spec.ephemeralContainers[debug].securityContext.capabilities.drop",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) and value.startswith("spec.") else "",
)
def test_each_rule_names_the_field_that_breaks_it(path: str, value: Any, field: str) -> None:
    violations = restricted_violations(change(path, value))
    assert field in [violation.split(": ")[0] for violation in violations]


@pytest.mark.parametrize("field", ["runAsNonRoot", "seccompProfile"])
def test_what_neither_pod_nor_container_sets_is_missing(field: str) -> None:
    pod = copy.deepcopy(ALLOWED)
    del pod["securityContext"][field]
    [violation] = restricted_violations(pod)
    assert violation.startswith(f"{CONTAINER}.securityContext.{field}")

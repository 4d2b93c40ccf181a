"""The `restricted` Pod Security Standard, as a pure check of a pod's specification.

Rules and their names follow https://kubernetes.io/docs/concepts/security/pod-security-standards/ as of
Kubernetes 1.34 (which forbade `host` in probes), for Linux pods. `restricted` includes everything that `baseline` asks.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

CONTAINER_LISTS = ("initContainers", "containers", "ephemeralContainers")
VOLUME_TYPES = frozenset(
    {
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "persistentVolumeClaim",
        "projected",
        "secret",
    }
)
SECCOMP_TYPES = frozenset({"RuntimeDefault", "Localhost"})
APPARMOR_TYPES = frozenset({"RuntimeDefault", "Localhost"})
SELINUX_TYPES = frozenset({"", "container_t", "container_init_t", "container_kvm_t", "container_engine_t"})
SYSCTLS = frozenset(
    {
        "kernel.shm_rmid_forced",
        "net.ipv4.ip_local_port_range",
        "net.ipv4.ip_local_reserved_ports",
        "net.ipv4.ip_unprivileged_port_start",
        "net.ipv4.ping_group_range",
        "net.ipv4.tcp_fin_timeout",
        "net.ipv4.tcp_keepalive_intvl",
        "net.ipv4.tcp_keepalive_probes",
        "net.ipv4.tcp_keepalive_time",
        "net.ipv4.tcp_rmem",
        "net.ipv4.tcp_syncookies",
        "net.ipv4.tcp_wmem",
    }
)


def restricted_violations(pod: dict[str, Any]) -> list[str]:
    """What keeps a pod's specification (a PodSpec as a mapping) out of a `restricted` namespace.

    Empty if nothing does. Each entry names the field and what it would have to be.
    """
    return [*_pod_violations(pod), *_container_violations(pod)]


def _pod_violations(pod: dict[str, Any]) -> Iterator[str]:
    for field in ("hostNetwork", "hostPID", "hostIPC"):
        if pod.get(field):
            yield f"spec.{field}: must not be true"
    for volume in pod.get("volumes") or []:
        for kind in sorted(set(volume) - {"name"} - VOLUME_TYPES):
            yield f"spec.volumes[{volume['name']}].{kind}: this type of volume is not allowed"
    context = pod.get("securityContext") or {}
    yield from _context_violations("spec.securityContext", context)
    for sysctl in context.get("sysctls") or []:
        if sysctl["name"] not in SYSCTLS:
            yield f"spec.securityContext.sysctls[{sysctl['name']}]: not a safe one"


def _container_violations(pod: dict[str, Any]) -> Iterator[str]:
    pod_context = pod.get("securityContext") or {}
    for kind in CONTAINER_LISTS:
        for container in pod.get(kind) or []:
            at = f"spec.{kind}[{container['name']}]"
            context = container.get("securityContext") or {}
            field = f"{at}.securityContext"
            yield from _context_violations(field, context)
            if context.get("privileged"):
                yield f"{field}.privileged: must not be true"
            if context.get("allowPrivilegeEscalation") is not False:
                yield f"{field}.allowPrivilegeEscalation: must be false"
            if context.get("runAsNonRoot", pod_context.get("runAsNonRoot")) is not True:
                yield f"{field}.runAsNonRoot: must be true here or in the pod"
            seccomp = context.get("seccompProfile", pod_context.get("seccompProfile")) or {}
            if seccomp.get("type") not in SECCOMP_TYPES:
                yield f"{field}.seccompProfile.type: must be RuntimeDefault or Localhost here or in the pod"
            capabilities = context.get("capabilities") or {}
            if "ALL" not in (capabilities.get("drop") or []):
                yield f"{field}.capabilities.drop: must hold ALL"
            for capability in sorted(set(capabilities.get("add") or []) - {"NET_BIND_SERVICE"}):
                yield f"{field}.capabilities.add: must not hold {capability}"
            if context.get("procMount", "Default") != "Default":
                yield f"{field}.procMount: must be Default"
            for port in container.get("ports") or []:
                if port.get("hostPort"):
                    yield f"{at}.ports[{port['containerPort']}].hostPort: must not be set"
            for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
                for action in ("httpGet", "tcpSocket"):
                    if ((container.get(probe) or {}).get(action) or {}).get("host"):
                        yield f"{at}.{probe}.{action}.host: must not be set"
            for hook, handler in (container.get("lifecycle") or {}).items():
                for action in ("httpGet", "tcpSocket"):
                    if isinstance(handler, dict) and (handler.get(action) or {}).get("host"):
                        yield f"{at}.lifecycle.{hook}.{action}.host: must not be set"


def _context_violations(field: str, context: dict[str, Any]) -> Iterator[str]:
    """What pods and containers are asked alike; a value that is there must be a safe one."""
    if context.get("runAsUser") == 0:
        yield f"{field}.runAsUser: must not be 0"
    if context.get("runAsNonRoot") is False:
        yield f"{field}.runAsNonRoot: must not be false"
    seccomp = context.get("seccompProfile")
    if seccomp and seccomp.get("type") not in SECCOMP_TYPES:
        yield f"{field}.seccompProfile.type: must be RuntimeDefault or Localhost"
    apparmor = context.get("appArmorProfile")
    if apparmor and apparmor.get("type") not in APPARMOR_TYPES:
        yield f"{field}.appArmorProfile.type: must be RuntimeDefault or Localhost"
    selinux = context.get("seLinuxOptions") or {}
    if selinux.get("type", "") not in SELINUX_TYPES:
        yield f"{field}.seLinuxOptions.type: must be one of the container types"
    for name in ("user", "role"):
        if selinux.get(name):
            yield f"{field}.seLinuxOptions.{name}: must not be set"
    if (context.get("windowsOptions") or {}).get("hostProcess"):
        yield f"{field}.windowsOptions.hostProcess: must not be true"

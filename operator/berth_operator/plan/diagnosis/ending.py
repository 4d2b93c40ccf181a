"""Servers that end: killed for memory, out of GPU memory, refused by the hub, timed out, or crashing.

Berth's server writes why it cannot serve to its termination message: one line of JSON with `reason` and `message`.
Another server's message is the end of its log, by `terminationMessagePolicy: FallbackToLogsOnError`.
"""

import json
import re
from typing import Final

from berth_operator.api.names import VLLM_CONTAINER
from berth_operator.plan.clock import seconds_between, span
from berth_operator.plan.observed import (
    Object,
    Observed,
    declared,
    described,
    is_init,
    is_sidecar,
    node_name,
)
from berth_operator.plan.reasons import Culprit, Finding, Reason, clipped

OOM_EXIT_CODE = 137
"""128 + SIGKILL: what a container that the kernel's memory killer ended exits with."""

SERVER_REASONS: Final = {
    "gpu_out_of_memory": Reason.GPU_OUT_OF_MEMORY,
    "out_of_memory": Reason.OUT_OF_MEMORY,
    "no_gpu": Reason.DEVICE_PLUGIN_MISSING,
    "access_denied": Reason.MODEL_ACCESS_DENIED,
    "disk_full": Reason.DISK_FULL,
    "model_unavailable": Reason.MODEL_UNAVAILABLE,
    "invalid_adapter": Reason.INVALID_ADAPTER,
    "no_api_keys": Reason.SECRET_MISSING,
    "peer_lost": Reason.PEER_LOST,
}
"""What Berth's programs write as `reason`; anything else is a crash like another's."""

GPU_MEMORY = re.compile(
    r"CUDA out of memory|OutOfMemoryError: CUDA|CUDA error: out of memory|CUBLAS_STATUS_ALLOC_FAILED"
    # vLLM's words where weights leave too little for one whole conversation, or others hold the GPU's memory.
    r"|No available memory for the cache blocks|needed, which is larger than the available KV cache memory"
    r"|Free memory on device .* is less than desired GPU memory utilization"
)
OTHER_PROCESSOR = "exec format error"
"""What the kernel says of a program that is not for this processor."""

LAST_WORDS = re.compile(
    r"^(?:\S+ )*?(?P<said>[\w.]*(?:Error|Exception|error|fatal|panic)\b.*)$", re.IGNORECASE
)
LOG_PREFIX = re.compile(r"^\d{4}-\d{2}-\d{2}[T ][\d:.,]+(?:Z|[+-]\d{2}:?\d{2})?\s+")


def ending_finding(pod: Object, container: Object, observed: Observed, doing: str = "") -> Finding | None:
    """Return why a container that is not ready ended the last time, or None if it never did or ended well.

    `doing` is what it does now, where it runs again.
    """
    state = container.get("state") or {}
    ended = state.get("terminated") or (container.get("lastState") or {}).get("terminated") or {}
    if not ended:
        return None
    what, fails = described(pod, container), "fails" if is_init(pod, container) else "cannot serve"
    culprit = Culprit("Pod", pod["metadata"]["name"])
    again = _again(int(container.get("restartCount", 0)), doing)
    text = str(ended.get("message") or "")
    reason, said = server_report(text)
    if reason is not None:
        return Finding(
            reason,
            f"{what} {fails}{again}: {clipped(said, 500)}",
            REMEDIES.get(reason, "do what the server says"),
            culprit,
            cause=clipped(said, 120),
        )
    if ended.get("reason") == "OOMKilled":
        return Finding(
            Reason.OUT_OF_MEMORY,
            f"{what} was OOMKilled (exit {ended.get('exitCode', OOM_EXIT_CODE)}) on node "
            f'"{node_name(pod) or "unknown"}"{again}',
            REMEDIES[Reason.OUT_OF_MEMORY],
            culprit,
        )
    of_vllm = container.get("name") == VLLM_CONTAINER
    if GPU_MEMORY.search(text):
        return Finding(
            Reason.GPU_OUT_OF_MEMORY,
            f"{what} ran out of GPU memory{again}: {gist(text)}",
            ("lower max-model-len in the ConfigMap of inference.config, or " * of_vllm)
            + REMEDIES[Reason.GPU_OUT_OF_MEMORY],
            culprit,
        )
    if OTHER_PROCESSOR in text:
        return Finding(
            Reason.CONTAINER_START_FAILED,
            f"{what} cannot be started{again}: {gist(text)}",
            "the image is for another processor than this node's: use one that is for it, or keep the pod on nodes "
            "that the image is for (resource.labelSelector: kubernetes.io/arch)",
            culprit,
        )
    if (limit := _timed_out(pod, container, ended, observed)) is not None:
        return Finding(
            Reason.STARTUP_TIMED_OUT,
            f"{what} did not serve within {span(limit)} and was ended{again}",
            f"see `kubectl logs -n {_namespace(pod)} {pod['metadata']['name']}{_choice(pod, container)} --previous` "
            "for what it was doing; a preset's readinessTimeout allows more",
            culprit,
        )
    waits = (state.get("waiting") or {}).get("reason") == "CrashLoopBackOff"
    if not waits and ended.get("exitCode", 0) == 0:
        return None
    words = gist(text)
    return Finding(
        Reason.CRASH_LOOP,
        f"{what} keeps ending: exit {ended.get('exitCode', 'unknown')}{again}"
        + ("; it did not answer its liveness probe" if _was_killed(pod, observed, "liveness") else "")
        + (f'; its last words: "{words}"' if words else ""),
        f"see `kubectl logs -n {_namespace(pod)} {pod['metadata']['name']}{_choice(pod, container)} --previous`",
        culprit,
        cause=str(ended.get("exitCode", "")),
    )


REMEDIES: Final = {
    Reason.GPU_OUT_OF_MEMORY: "use a larger GPU or a smaller preset; `berth plan` shows what a preset needs",
    Reason.OUT_OF_MEMORY: "use nodes with more memory or a smaller preset",
    Reason.DEVICE_PLUGIN_MISSING: "check the driver and the device plugin on the pod's node",
    Reason.MODEL_ACCESS_DENIED: "put a token that may read the model into the Secret that modelAccessSecret names",
    Reason.DISK_FULL: "use a larger volume (annotation berth.dev/weights), or a node with a larger disk",
    Reason.INVALID_ADAPTER: "correct that adapter, or remove it from inference.adapters",
    Reason.SECRET_MISSING: "put a key into the Secret that the annotation berth.dev/api-key-secret names",
    Reason.PEER_LOST: "wait; if it comes back, see the other pods' nodes, and the network policies between them",
}


def server_report(message: str) -> tuple[Reason | None, str]:
    """Read a termination message of Berth's server; (None, "") for any other text."""
    lines = message.strip().splitlines()
    try:
        report = json.loads(lines[-1]) if lines else None
    except ValueError:
        return None, ""
    if not isinstance(report, dict) or not isinstance(report.get("message"), str):
        return None, ""
    return SERVER_REASONS.get(str(report.get("reason"))), report["message"]


def gist(text: str) -> str:
    """Return the line of a log's end that says most: the last that names an error, else the last."""
    _, said = server_report(text)
    if said:
        return clipped(said)
    lines = [LOG_PREFIX.sub("", line.strip()) for line in text.splitlines() if line.strip()]
    for line in reversed(lines):
        if found := LAST_WORDS.match(line):
            # Where the line ends with the word that tells of an error, the words before it say which.
            return clipped(found["said"] if " " in found["said"] else line)
    return clipped(lines[-1]) if lines else ""


def _again(restarts: int, doing: str) -> str:
    times = f"{restarts} restart{'' if restarts == 1 else 's'}"
    return f" ({times}; now {doing})" if doing else f" ({times})" if restarts else ""


def _timed_out(pod: Object, container: Object, ended: Object, observed: Observed) -> float | None:
    """Return the seconds that the startup probe allows, if the container was ended for having used them up."""
    probe = declared(pod, container).get("startupProbe")
    if not probe:
        return None
    limit = float(probe.get("periodSeconds", 10) * probe.get("failureThreshold", 3))
    told = _was_killed(pod, observed, "startup")
    ran = seconds_between(ended.get("startedAt"), ended.get("finishedAt"))
    # A server that never served and ran for just that long, ended by a signal or by draining after one.
    spent = ran is not None and limit <= ran <= limit + 300 and ended.get("exitCode") in (0, 137, 143)
    return limit if told or spent else None


def _was_killed(pod: Object, observed: Observed, probe: str) -> bool:
    """Whether the kubelet tells of having ended a container of the pod for a probe."""
    return any(
        event.get("reason") == "Killing" and f"failed {probe} probe" in str(event.get("message", ""))
        for event in observed.events_of(pod)
    )


def _choice(pod: Object, container: Object) -> str:
    beside = is_init(pod, container) or is_sidecar(declared(pod, container))
    return f" -c {container.get('name')}" if beside else ""


def _namespace(pod: Object) -> str:
    return str(pod["metadata"].get("namespace", "default"))

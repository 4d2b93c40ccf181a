"""A small Kubernetes API server on loopback, for running Berth without a cluster.

What it serves, and how it differs from a cluster's, is told in docs/embedded-control-plane.md.
"""

from berth_local.apiserver.errors import ApiError
from berth_local.apiserver.journal import StateInUse
from berth_local.apiserver.logs import LogOptions, PodLogs
from berth_local.apiserver.server import ApiServer, NotLoopback

__all__ = ["ApiError", "ApiServer", "LogOptions", "NotLoopback", "PodLogs", "StateInUse"]

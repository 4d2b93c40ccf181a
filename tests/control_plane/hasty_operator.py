"""The operator's process with short waits, for tests of what it does after them. Nothing else of it differs."""

from __future__ import annotations

import sys

import kopf

from berth_operator import controller, handlers, kube, leadership, reconcile, watches, workqueue
from berth_operator.__main__ import main
from berth_operator.observe import on_demand

TIMEOUT_SECONDS = 0.7
SOON_SECONDS = 0.3


def hurry() -> None:
    """Shorten what a person waits for minutes in a cluster, each a constant of its module."""
    kube.REQUEST_SECONDS = TIMEOUT_SECONDS
    controller.RELIST_SETTLE_SECONDS = SOON_SECONDS
    controller.RESYNC_RETRY_SECONDS = SOON_SECONDS
    reconcile.LOOK_AGAIN_SECONDS = SOON_SECONDS
    reconcile.CONFIG_SECONDS = 2.0
    watches.RETRY_SECONDS = SOON_SECONDS
    workqueue.LONGEST_DELAY_SECONDS = 2.0
    on_demand.KEEP_SECONDS = SOON_SECONDS
    # One Workspace's refusal would keep the others from asking, which is not what is tested with this.
    on_demand.REFUSED_SECONDS = 0.0
    # A lease that lasts for three tries to renew it.
    leadership.DURATION_SECONDS = 3  # type: ignore[misc]
    leadership.RENEW_WITHIN_SECONDS = 2.0  # type: ignore[misc]
    leadership.RETRY_SECONDS = SOON_SECONDS  # type: ignore[misc]
    unhurried = handlers.watch_settings

    def hurried() -> kopf.OperatorSettings:
        settings = unhurried()
        settings.watching.server_timeout = 2
        settings.watching.client_timeout = 3
        settings.watching.connect_timeout = TIMEOUT_SECONDS
        settings.networking.request_timeout = TIMEOUT_SECONDS
        settings.networking.error_backoffs = (0.1, 0.2)
        return settings

    watches.watch_settings = hurried


if __name__ == "__main__":
    hurry()
    sys.exit(main())

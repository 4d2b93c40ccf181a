"""Liveness fails when the operator's work has stopped for good, readiness until it has seen the cluster."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import Any, cast

import aiohttp
import pytest

from berth_operator import controller as controller_module
from berth_operator.cluster_cache import ClusterCache, Key
from berth_operator.controller import Controller
from berth_operator.kube import KubeClient
from berth_operator.leadership import Leadership
from berth_operator.probes import probe_server
from berth_operator.reconcile import Reconciler
from berth_operator.settings import Settings

KEY = ("ns", "ws")


class Reconciles:
    """A reconciler that hangs, or ends its worker."""

    def __init__(self, *, hangs: bool) -> None:
        self.hangs = hangs
        self.began = asyncio.Event()

    async def reconcile(self, _: Key) -> None:
        self.began.set()
        if self.hangs:
            await asyncio.Event().wait()
        raise asyncio.CancelledError


class Api:
    """A cluster without any object."""

    async def list_all(self, *_: Any) -> list[Any]:
        return []


def started(reconciler: Reconciles) -> Controller:
    return Controller(
        cast(KubeClient, Api()), ClusterCache(), cast(Reconciler, reconciler), Settings(workers=1)
    )


async def test_a_reconcile_that_never_ends_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    reconciler = Reconciles(hangs=True)
    controller = started(reconciler)
    assert controller.stuck is None
    assert not controller.ready
    await controller.start()
    assert controller.ready
    controller.wake([KEY])
    await reconciler.began.wait()
    assert controller.stuck is None, "it may take its time"
    monkeypatch.setattr(controller_module, "STUCK_SECONDS", -1.0)
    assert str(controller.stuck).startswith("workspace ns/ws has been reconciled for")
    await controller.stop()


async def test_a_worker_that_has_ended_is_told() -> None:
    reconciler = Reconciles(hangs=False)
    controller = started(reconciler)
    await controller.start()
    controller.wake([KEY])
    await reconciler.began.wait()
    await asyncio.sleep(0)
    assert controller.stuck == "worker 0 has ended"
    await controller.stop()


@pytest.mark.parametrize(
    ("stuck", "ready", "leads", "healthz", "readyz"),
    [
        pytest.param(None, True, None, 200, 200, id="at work"),
        pytest.param(None, False, None, 200, 503, id="it has not seen the cluster yet"),
        pytest.param("worker 0 has ended", True, None, 500, 200, id="stuck"),
        pytest.param(None, True, True, 200, 200, id="it leads"),
        pytest.param(None, False, True, 200, 503, id="it leads and has not seen the cluster yet"),
        pytest.param(None, False, False, 200, 200, id="it stands by, which a rollout must not wait for"),
    ],
)
async def test_liveness_and_readiness_are_separate(
    stuck: str | None, ready: bool, leads: bool | None, healthz: int, readyz: int
) -> None:
    controller = cast(Controller, SimpleNamespace(stuck=stuck, ready=ready))
    leadership = None if leads is None else cast(Leadership, SimpleNamespace(leads=leads))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with probe_server(controller, port, leadership), aiohttp.ClientSession() as session:
        for path, status in (("healthz", healthz), ("readyz", readyz)):
            async with session.get(f"http://127.0.0.1:{port}/{path}") as answer:
                assert answer.status == status, path

"""`/healthz` and `/readyz` of the operator, answered from what the controller says of itself."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import web

from berth_operator.controller import Controller
from berth_operator.leadership import Leadership


@asynccontextmanager
async def probe_server(
    controller: Controller, port: int, leadership: Leadership | None = None
) -> AsyncIterator[None]:
    """Serve the probes while the context lasts; port 0 serves none.

    An operator that stands by for another is as ready as it can be: a rollout must not wait for it to lead.
    """

    async def healthz(_request: web.Request) -> web.Response:
        stuck = controller.stuck
        return web.json_response({"stuck": stuck}, status=200 if stuck is None else 500)

    async def readyz(_request: web.Request) -> web.Response:
        standby = leadership is not None and not leadership.leads
        status = 200 if controller.ready or standby else 503
        return web.json_response({"synced": controller.ready, "standby": standby}, status=status)

    if port == 0:
        yield
        return
    app = web.Application()
    app.router.add_get("/healthz", healthz)
    app.router.add_get("/readyz", readyz)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, None, port).start()
        yield
    finally:
        await runner.cleanup()

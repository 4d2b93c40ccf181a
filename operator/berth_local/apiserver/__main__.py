"""`python -m berth_local.apiserver`: the API server alone, with no node agent."""

import argparse
import asyncio
import contextlib
import logging
import signal
import sys
from pathlib import Path

import yaml

from berth_local.apiserver import ApiError, ApiServer, NotLoopback, StateInUse


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m berth_local.apiserver", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="loopback address to listen on")
    parser.add_argument("--port", type=int, default=0, help="port to listen on; 0 takes a free one")
    parser.add_argument("--state", type=Path, help="folder that keeps objects over a restart")
    parser.add_argument(
        "--crd", type=Path, action="append", default=[], help="file with CustomResourceDefinitions"
    )
    parser.add_argument("--kubeconfig", type=Path, help="file to write a kubeconfig to")
    return parser.parse_args()


async def _serve(arguments: argparse.Namespace) -> None:
    documents = [one for path in arguments.crd for one in yaml.safe_load_all(path.read_text()) if one]
    stopping = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopping.set)
    async with ApiServer(arguments.host, arguments.port, arguments.state, documents) as server:
        if arguments.kubeconfig:
            server.write_kubeconfig(arguments.kubeconfig)
        sys.stdout.write(f"{server.url}\n")
        sys.stdout.flush()
        await stopping.wait()


def main() -> int:
    """Serve until interrupted; returns the exit status."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        with contextlib.suppress(KeyboardInterrupt):
            asyncio.run(_serve(_arguments()))
    except (ApiError, NotLoopback, StateInUse, OSError, yaml.YAMLError) as error:
        sys.stderr.write(f"berth: the API server does not start: {error}\n")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""The first process of vLLM's container in a group: `run_group.py SIZE LEADER PORT COMMAND...`.

The pods of a group hold one model together. vLLM starts on all of them at once or not at all, its processes do not
watch those of other nodes, and one that has ended cannot join again. So each pod keeps a connection to the first:
COMMAND starts once all are there, and ends as soon as one of them is gone. Kubelets then start it again everywhere.
"""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

MESSAGE = Path("/dev/termination-log")

RETRY_SECONDS = 1.0
SAY_SECONDS = 10.0
"""How long one that connects may take to say who it is."""

ALIVE = ((socket.TCP_KEEPIDLE, 10), (socket.TCP_KEEPINTVL, 5), (socket.TCP_KEEPCNT, 6))
"""A node that vanishes without a word is noticed after 40 seconds."""

END_SECONDS = 5.0
"""How long vLLM may take to end when the group is broken; nothing is left that it could finish."""


def main() -> int:
    """Run the command while the group is whole; return its exit status, or 1 where that is not what ended it."""
    size, leader, port, *command = int(sys.argv[1]), sys.argv[2], int(sys.argv[3]), *sys.argv[4:]
    rank = int(os.environ["BERTH_NODE_RANK"])
    told: queue.SimpleQueue[tuple[str, int]] = queue.SimpleQueue()
    signal.signal(signal.SIGTERM, lambda *_: os._exit(0))  # nothing runs yet
    members = gathered(size, leader, port) if rank == 0 else {0: joined(rank, leader, port)}
    say(f"all {size} nodes are there")
    stopping, told_early = threading.Event(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told_early.set())
    child = subprocess.Popen(command if rank == 0 else [*command, "--headless"])  # noqa: S603 - what Berth wrote

    def stop(number: int, _: object) -> None:
        stopping.set()
        child.send_signal(number)

    signal.signal(signal.SIGTERM, stop)
    if told_early.is_set():
        stop(signal.SIGTERM, None)
    watch(lambda: told.put(("ended", child.wait())))
    for pair in members.items():
        watch(lambda pair=pair: told.put(("lost", until_gone(*pair))))  # type: ignore[misc]
    what, value = told.get()
    while what == "lost" and stopping.is_set():
        # All are being ended: the command has been told, and may take its time.
        what, value = told.get()
    if what == "lost":
        say(f"node {value} is gone: vLLM ends here too, and starts again with all {size}")
        end(child)
        words = f"node {value} of the group's {size} ended or cannot be reached, so vLLM starts anew on all of them"
        MESSAGE.write_text(json.dumps({"reason": "peer_lost", "message": words}), encoding="utf-8")
        return 1
    if value == 0 and not stopping.is_set():
        # A node without a server ends well when its processes have failed.
        return 1
    return value if value >= 0 else 128 - value


def gathered(size: int, leader: str, port: int) -> dict[int, socket.socket]:
    """Wait until every other pod has connected; tell them to start, and return the connections by rank."""
    until_known(leader)
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    members: dict[int, socket.socket] = {}
    with socket.create_server(("", port), family=family, dualstack_ipv6=both) as listener:
        while len(members) < size - 1:
            connection, _ = listener.accept()
            rank = said(connection)
            if not 0 < rank < size:
                connection.close()
                continue
            say(f"node {rank} is there")
            # One that was started again connects again.
            if rank in members:
                members[rank].close()
            members[rank] = connection
    for connection in members.values():
        # One that has gone meanwhile is noticed by whoever waits for its end.
        try:
            connection.sendall(b"go\n")
        except OSError:
            continue
    return members


def joined(rank: int, leader: str, port: int) -> socket.socket:
    """Connect to the first pod until it says that all are there; return the connection."""
    say(f"node {rank} waits for {leader}")
    while True:
        try:
            connection = socket.create_connection((leader, port), timeout=SAY_SECONDS)
            keep_alive(connection)
            connection.sendall(f"{rank}\n".encode())
            if connection.recv(3) == b"go\n":
                return connection
            connection.close()
        except OSError:
            pass
        time.sleep(RETRY_SECONDS)


def said(connection: socket.socket) -> int:
    """Return the rank that one who connects says it has; -1 for anything else."""
    connection.settimeout(SAY_SECONDS)
    try:
        rank = int(connection.recv(8))
    except (OSError, ValueError):
        return -1
    keep_alive(connection)
    return rank


def keep_alive(connection: socket.socket) -> None:
    """Have the end of a connection noticed, also where nobody is left to tell of it."""
    connection.settimeout(None)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option, value in ALIVE:
        connection.setsockopt(socket.IPPROTO_TCP, option, value)


def until_gone(other: int, connection: socket.socket) -> int:
    """Wait until the other end of a connection is gone; return its rank."""
    try:
        while connection.recv(16):
            pass
    except OSError:
        pass
    return other


def until_known(name: str) -> None:
    """Wait until a name has an address: vLLM gives up at once where its own has none."""
    while True:
        try:
            socket.getaddrinfo(name, None)
        except OSError:
            time.sleep(RETRY_SECONDS)
        else:
            return


def end(child: "subprocess.Popen[bytes]") -> None:
    """End the command, and kill it if it does not."""
    child.terminate()
    try:
        child.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        child.kill()


def watch(wait: Callable[[], object]) -> None:
    """Wait for something beside everything else."""
    threading.Thread(target=wait, daemon=True).start()


def say(words: str) -> None:
    """Write a line to the log."""
    sys.stdout.write(f"berth: {words}\n")
    sys.stdout.flush()


code = main()
sys.stdout.flush()
os._exit(code)

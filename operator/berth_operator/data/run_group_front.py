"""The first process of the front's container in a group: `run_group_front.py LEADER PORT SECONDS COMMAND...`.

In the first pod it becomes COMMAND, the front. The others answer nobody: there it waits for the pod's end, and then
until the front has ended, for at most SECONDS. A kubelet ends vLLM after this, which until then computes what the
front's last requests ask for.
"""

import os
import signal
import socket
import sys
import threading
import time


def main() -> None:
    """Become the front, or wait as long as there is one."""
    leader, port, seconds, *command = sys.argv[1:]
    if os.environ["BERTH_NODE_RANK"] == "0":
        os.execvp(command[0], command)  # noqa: S606 - what Berth wrote
    told = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told.set())
    sys.stdout.write(f"berth: {leader} answers for the whole group\n")
    sys.stdout.flush()
    told.wait()
    deadline = time.monotonic() + float(seconds)
    while time.monotonic() < deadline and is_there(leader, int(port)):
        time.sleep(0.5)


def is_there(host: str, port: int) -> bool:
    """Whether a server listens there: one that drains still does."""
    try:
        socket.create_connection((host, port), timeout=2).close()
    except OSError:
        return False
    return True


main()

"""The first process of vLLM's container: `run_vllm.py FOLDER vllm serve MODEL ...`.

FOLDER is served instead of the model if its plain files lie there. When vLLM fails, the error that it began with goes
into the termination message: errors of vLLM's processes lead to ever further ones, which fill what a kubelet keeps.
"""

import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

MESSAGE = Path("/dev/termination-log")
CAUSE = re.compile(rb"[\w.]*(?:Error|Exception): (?!.*root cause).+")


def main() -> int:
    """Run vLLM until it ends; return its exit status, 128 and the signal's number where a signal ended it."""
    folder, *command = sys.argv[1:]
    if (Path(folder) / "config.json").is_file():
        command[2] = folder
    told, told_early = threading.Event(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: told_early.set())
    vllm = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # noqa: S603 - what Berth wrote

    def stop(number: int, _: object) -> None:
        told.set()
        vllm.send_signal(number)

    signal.signal(signal.SIGTERM, stop)
    if told_early.is_set():
        stop(signal.SIGTERM, None)
    causes = [b""]

    def pass_on() -> None:
        for line in vllm.stdout or ():
            sys.stdout.buffer.write(line)
            sys.stdout.buffer.flush()
            if found := CAUSE.search(line):
                causes[0] = found[0]

    reader = threading.Thread(target=pass_on, daemon=True)
    reader.start()
    code = vllm.wait()
    # Processes that it left may hold its output open.
    reader.join(2)
    if not code and not told.is_set():
        # Its server ends well when its engine has died.
        code = 1
    if code and causes[0]:
        MESSAGE.write_bytes(causes[0][:2000])
    return code if code >= 0 else 128 - code


code = main()
sys.stdout.flush()
os._exit(code)

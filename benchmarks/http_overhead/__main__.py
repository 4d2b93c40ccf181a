"""Measures what a request costs around the model, over HTTP: `python -m benchmarks.http_overhead`.

The engine behind the real application has its tokens ready. Requests go over kept-alive connections of the
loopback, one after the other; those of all cases, and of the floor of each (see server.py), take turns, so
that neighbours on the machine disturb all alike. "HTTP alone" is the floor, "added" what is above it, and
"processor" the server's own processor time, which neighbours disturb least. The limits are on the whole
p50, HTTP and the client included. Exits with 1 where a limit is exceeded.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.http_overhead.requests import APIS, Case, words

ROOT = Path(__file__).parents[2]

REQUEST_MS = 3.0
"""Most that the median request may take beside the model, its tokens' streaming left out."""

TOKEN_MS = 0.2
"""Most that one streamed token may add to it."""

PROMPTS, ANSWERS = (30, 1000), (40, 200)

# Requests before the first that counts: imports, caches and the connection's start are not what is asked.
_WARM_UP = 20


class Client:
    """One connection, which is kept."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)

    def post(self, path: str, body: bytes) -> tuple[float, bytes]:
        """Milliseconds until the whole answer was there, and the answer."""
        began = time.perf_counter()
        self._connection.request("POST", path, body, {"Content-Type": "application/json"})
        response = self._connection.getresponse()
        answer = response.read()
        took = (time.perf_counter() - began) * 1000
        if response.status != 200:
            raise SystemExit(f"{path} answered {response.status}: {answer[:300].decode()}")
        return took, answer

    def wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        """Returns once the server can be asked; ends the program if it never will."""
        while process.poll() is None:
            try:
                self._connection.request("GET", "/health")
                response = self._connection.getresponse()
                response.read()
                if response.status == 200:
                    return
            except OSError:
                self._connection.close()
            time.sleep(0.1)
        raise SystemExit("the server ended")


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds of one case, of the server's processor for it, and of its floor."""

    case: Case
    real: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    floor: list[float] = field(default_factory=list)


def tokens_per_word(client: Client) -> float:
    """How many tokens a word of the prompts is on average."""
    sample = json.dumps({"prompt": words(2000, random.Random(0))}).encode()
    _, answer = client.post("/tokenize", sample)
    return float(json.loads(answer)["count"] / 2000)


def processor_ms(process: int) -> float:
    """Milliseconds of processor time that a process has used; neighbours lengthen it far less than a wait."""
    # Linux numbers the clocks of processes so: sched/cputime, what the scheduler counted.
    return time.clock_gettime((~process << 3) | 2) * 1000


def measure(client: Client, process: int, cases: Sequence[Case], rounds: int) -> list[Times]:
    """Every case and its floor, in turns."""
    source, word = random.Random(1), tokens_per_word(client)
    found = [Times(case) for case in cases]
    for number in range(-_WARM_UP, rounds):
        for times in found:
            case = times.case
            text = words(round(case.prompt / word), source)
            body = json.dumps(case.body(text)).encode()
            before = processor_ms(process)
            real, answer = client.post(case.api, body)
            used = processor_ms(process) - before
            chunks = answer.count(case.separator) if case.stream else 1
            floor, _ = client.post(f"/floor?chunks={chunks}&size={len(answer) // chunks}", body)
            if number >= 0:
                times.real.append(real)
                times.processor.append(used)
                times.floor.append(floor)
    return found


def per_second(port: int, case: Case, seconds: float, concurrent: int) -> float:
    """Answers a second to so many clients, each of which asks again once it is answered."""
    answered = []
    word = tokens_per_word(Client(port))
    ends = time.perf_counter() + seconds

    def ask(seed: int) -> None:
        client, source = Client(port), random.Random(seed)
        while time.perf_counter() < ends:
            text = words(round(case.prompt / word), source)
            client.post(case.api, json.dumps(case.body(text)).encode())
            answered.append(seed)

    clients = [threading.Thread(target=ask, args=(seed,)) for seed in range(concurrent)]
    began = time.perf_counter()
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    return len(answered) / (time.perf_counter() - began)


def percentile(values: Sequence[float], percent: int) -> float:
    """By linear interpolation."""
    return statistics.quantiles(values, n=100, method="inclusive")[percent - 1]


def slope(short: Sequence[float], long: Sequence[float]) -> float:
    """Milliseconds a token, from the medians of both lengths of an answer."""
    return (statistics.median(long) - statistics.median(short)) / (ANSWERS[1] - ANSWERS[0])


def verdict(*values_and_limits: tuple[float, float]) -> str:
    """For the tables."""
    return "pass" if all(value < limit for value, limit in values_and_limits) else "FAIL"


def whole_row(times: Times) -> tuple[str, ...]:
    """An answer in one piece."""
    case, p50 = times.case, statistics.median(times.real)
    floor = statistics.median(times.floor)
    processor = statistics.median(times.processor)
    figures = (p50, percentile(times.real, 99), floor, p50 - floor, processor)
    sizes = (case.api, str(case.prompt), str(case.new))
    return (*sizes, *(f"{figure:.2f}" for figure in figures), verdict((p50, REQUEST_MS)))


def streamed_row(short: Times, long: Times) -> tuple[str, ...]:
    """A streamed answer, by what each token of it costs and what is left without any."""
    token, floor = slope(short.real, long.real), slope(short.floor, long.floor)
    request = statistics.median(short.real) - ANSWERS[0] * token
    figures = (percentile(long.real, 50), percentile(long.real, 99), request)
    per_token = (token, floor, token - floor, slope(short.processor, long.processor))
    return (
        short.case.api,
        str(short.case.prompt),
        *(f"{figure:.2f}" for figure in figures),
        *(f"{figure:.3f}" for figure in per_token),
        verdict((request, REQUEST_MS), (token, TOKEN_MS)),
    )


def table(head: str, rows: Sequence[Sequence[str]]) -> str:
    """In Markdown."""
    columns = head.split(", ")
    lines = [columns, ["---"] * len(columns), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def start() -> tuple[subprocess.Popen[bytes], int]:
    """The server's process, and the free port of the loopback that it was given."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "benchmarks.http_overhead.server", "--port", str(port)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    # The log is written, as in production, and read by nobody.
    return subprocess.Popen(command, env=environment, cwd=ROOT, stderr=subprocess.DEVNULL), port


def main() -> int:
    """Measure, and print tables. Returns 1 where a limit is exceeded."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.http_overhead", description=__doc__)
    parser.add_argument("--rounds", type=int, default=200, help="requests of each case (default: 200)")
    parser.add_argument("--apis", nargs="+", choices=APIS, default=APIS)
    parser.add_argument("--seconds", type=float, default=3, help="of each row with 16 clients (default: 3)")
    options = parser.parse_args()
    shapes = [(api, prompt) for api in options.apis for prompt in PROMPTS]
    cases = [Case(*shape, new, stream) for shape in shapes for stream in (False, True) for new in ANSWERS]
    process, port = start()
    try:
        client = Client(port)
        client.wait_until_ready(process)
        found = {times.case: times for times in measure(client, process.pid, cases, options.rounds)}
        speeds = [
            (case.api, "yes" if case.stream else "no", f"{per_second(port, case, options.seconds, 16):.0f}")
            for case in cases
            if (case.prompt, case.new) == (PROMPTS[0], ANSWERS[0])
        ]
    finally:
        process.terminate()
        process.wait()
    whole = [whole_row(found[case]) for case in cases if not case.stream]
    streamed = [streamed_row(*(found[Case(*shape, new, True)] for new in ANSWERS)) for shape in shapes]
    print(f"\nMilliseconds, {options.rounds} requests of each case; limit: {REQUEST_MS} a request\n")
    print(table("API, prompt, answer, p50, p99, HTTP alone, added, processor, p50 is", whole))
    print(f"\nStreamed; limits: {REQUEST_MS} a request without its tokens, {TOKEN_MS} a token\n")
    print(
        table(
            f"API, prompt, p50 of {ANSWERS[1]} tokens, p99, without its tokens, a token, HTTP alone, added, "
            "processor, p50 is",
            streamed,
        )
    )
    print(f"\n16 clients at once, prompts of {PROMPTS[0]} tokens, answers of {ANSWERS[0]}\n")
    print(table("API, streamed, requests/s", speeds))
    return int(any(row[-1] == "FAIL" for row in (*whole, *streamed)))


if __name__ == "__main__":
    sys.exit(main())

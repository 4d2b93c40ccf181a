"""Takes each right that the chart grants away in turn, and shows that a test misses it.

Needs a real control plane: set KUBEBUILDER_ASSETS. Takes half a minute a right.

python tools/try_without_each_right.py              every right (a verb on a resource)
python tools/try_without_each_right.py TEXT...      those whose name holds one of the texts, such as apps/deployments
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import yaml

REPOSITORY: Final = Path(__file__).resolve().parents[1]
TESTS: Final = {
    "operator": "tests/control_plane/test_operator_account.py",
    "leader": "tests/control_plane/test_operator_account.py",
    "smoke": "tests/control_plane/test_helm_smoke_test.py",
}
"""The roles of rights.yaml, each with the test that uses all its rights."""

VARIABLE: Final = "BERTH_TEST_WITHOUT_RIGHT"


def rights() -> Iterator[str]:
    """Every right, as `role/group/resource:verb`."""
    granted = yaml.safe_load((REPOSITORY / "charts" / "berth" / "rights.yaml").read_text(encoding="utf-8"))
    for role in granted:
        for rule in granted[role]["rules"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    yield from (f"{role}/{group}/{resource}:{verb}" for verb in rule["verbs"])


def missed(right: str | None, test: str) -> bool:
    """Whether a test fails without a right, or at all with None."""
    environment = {**os.environ, VARIABLE: right} if right else dict(os.environ)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--timeout=90", test]
    ran = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)  # noqa: S603
    if ran.returncode not in (0, 1):
        raise SystemExit(f"pytest could not run:\n{ran.stdout}{ran.stderr}")
    return ran.returncode == 1


def main(texts: list[str]) -> int:
    """Try each right; return 1 if one is not missed."""
    for test in sorted(set(TESTS.values())):
        if missed(None, test):
            sys.stderr.write(f"{test} fails with every right granted: nothing can be learned\n")
            return 1
    idle = []
    for right in rights():
        if texts and not any(text in right for text in texts):
            continue
        found = missed(right, TESTS[right.partition("/")[0]])
        sys.stdout.write(f"{right:<50} {'missed' if found else 'NOT MISSED'}\n")
        sys.stdout.flush()
        if not found:
            idle.append(right)
    if idle:
        sys.stderr.write(f"no test misses {', '.join(idle)}: drop it, or test what needs it\n")
    return int(bool(idle))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

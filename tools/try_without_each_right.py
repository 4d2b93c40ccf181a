"""Takes each right that the chart grants the operator away in turn, and shows that a test misses it.

Needs a real control plane: set KUBEBUILDER_ASSETS. Takes about twenty seconds a right.

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
ROLES: Final = ("operator", "leader")
TEST: Final = "tests/control_plane/test_operator_account.py"
VARIABLE: Final = "BERTH_TEST_WITHOUT_RIGHT"


def rights() -> Iterator[str]:
    """Every right of the operator, as `group/resource:verb`."""
    granted = yaml.safe_load((REPOSITORY / "charts" / "berth" / "rights.yaml").read_text(encoding="utf-8"))
    for role in ROLES:
        for rule in granted[role]["rules"]:
            for group in rule["apiGroups"]:
                for resource in rule["resources"]:
                    yield from (f"{group}/{resource}:{verb}" for verb in rule["verbs"])


def missed(right: str | None) -> bool:
    """Whether the tests fail without a right, or at all with None."""
    environment = {**os.environ, VARIABLE: right} if right else dict(os.environ)
    command = [sys.executable, "-m", "pytest", "-q", "-x", "--timeout=60", TEST]
    ran = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)  # noqa: S603
    if ran.returncode not in (0, 1):
        raise SystemExit(f"pytest could not run:\n{ran.stdout}{ran.stderr}")
    return ran.returncode == 1


def main(texts: list[str]) -> int:
    """Try each right; return 1 if one is not missed."""
    if missed(None):
        sys.stderr.write(f"{TEST} fails with every right granted: nothing can be learned\n")
        return 1
    idle = []
    for right in rights():
        if texts and not any(text in right for text in texts):
            continue
        found = missed(right)
        sys.stdout.write(f"{right:<45} {'missed' if found else 'NOT MISSED'}\n")
        sys.stdout.flush()
        if not found:
            idle.append(right)
    if idle:
        sys.stderr.write(f"no test misses {', '.join(idle)}: drop it, or test what needs it\n")
    return int(bool(idle))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

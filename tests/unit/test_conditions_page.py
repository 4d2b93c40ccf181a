"""docs/conditions.md explains every reason, and no others."""

import re
from pathlib import Path

from berth_operator.plan.reasons import Reason

PAGE = Path(__file__).parents[2] / "docs" / "conditions.md"


def test_the_page_explains_every_reason_once_with_its_meaning_and_its_fix() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \|$", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert sorted(name for name, _, _ in rows) == sorted(reason.value for reason in Reason)
    assert all(len(meaning) > 10 and len(fix) >= 5 for _, meaning, fix in rows)

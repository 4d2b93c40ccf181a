"""docs/conditions.md explains every reason, in the order in which they are judged, and no others."""

import re
from pathlib import Path

import pytest

from berth_operator.conditions_page import main, markdown
from berth_operator.plan.explanations import EXPLANATIONS
from berth_operator.plan.reasons import SEVERITY, Reason

PAGE = Path(__file__).parents[2] / "docs" / "conditions.md"

TRUE = {Reason.SERVING, Reason.SCHEDULED}


def test_the_committed_page_is_current() -> None:
    assert main(["--check", str(PAGE)]) == 0, "run `make generate`"


def test_a_page_that_is_not_current_is_told_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "page.md").write_text(markdown().replace("Serving", "Severing"))
    assert main(["--check", str(tmp_path / "page.md")]) == 1
    assert "make generate" in capsys.readouterr().err


def test_every_reason_has_a_row_with_meaning_cause_and_fix() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (.+?) \| (.+?) \| (.+?) \|$", markdown(), re.MULTILINE)
    assert [name for name, *_ in rows] == ["Serving", "Scheduled", *SEVERITY]
    assert set(EXPLANATIONS) == set(Reason)
    for _, meaning, cause, fix in rows:
        assert len(meaning) > 10
        assert len(cause) > 10
        assert len(fix) >= 5


def test_every_reason_that_says_why_something_fails_has_its_place_in_the_order() -> None:
    assert set(SEVERITY) == set(Reason) - TRUE
    assert len(SEVERITY) == len(set(SEVERITY))

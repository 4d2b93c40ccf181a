"""The documentation's table of presets says what the presets say."""

from __future__ import annotations

from pathlib import Path

import pytest

from berth_operator.preset_table import main, markdown
from berth_operator.presets import DIRECTORY_VARIABLE, load_presets

REPOSITORY = Path(__file__).resolve().parents[2]
CATALOGUE = load_presets(REPOSITORY / "presets")


@pytest.fixture(autouse=True)
def shipped_presets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(DIRECTORY_VARIABLE, str(REPOSITORY / "presets"))


def row_of(name: str) -> list[str]:
    (row,) = [line for line in markdown(CATALOGUE).splitlines() if line.startswith(f"| `{name}` |")]
    return [cell.strip() for cell in row.strip("|").split("|")]


def test_the_page_is_current() -> None:
    assert main(["--check", str(REPOSITORY / "docs/presets.md")]) == 0


def test_a_row_gives_a_model_s_figures() -> None:
    assert row_of("phi-3-mini-4k-instruct") == [
        "`phi-3-mini-4k-instruct`",
        "[microsoft/Phi-3-mini-4k-instruct](https://huggingface.co/microsoft/Phi-3-mini-4k-instruct)",
        "3.82 billion",
        "4,096",
        "7.1 GiB",
        "384.0 KiB",
        "1 x 11Gi",
        "4,096 tokens",
        "mit",
    ]


def test_a_gated_model_is_called_so() -> None:
    assert row_of("gemma-2-9b-it")[-1] == "gemma, gated"


def test_the_built_in_model_has_no_page_on_the_hub_and_needs_no_gpu() -> None:
    cells = row_of("tiny-chat")
    assert cells[1] == "built in"
    assert cells[2].endswith("million")
    assert cells[6] == "none"


@pytest.mark.parametrize("name", CATALOGUE)
def test_each_preset_s_commit_is_listed(name: str) -> None:
    model = CATALOGUE[name].model
    assert f"- `{name}`: {model.revision or model.revision_note}" in markdown(CATALOGUE)


def test_a_stale_page_fails_the_check_and_says_what_to_run(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "presets.md"
    assert main(["--check", str(page)]) == 1
    assert "make generate" in capsys.readouterr().err
    assert main(["--write", str(page)]) == 0
    assert main(["--check", str(page)]) == 0
    assert main([]) == 0
    assert capsys.readouterr().out == page.read_text()

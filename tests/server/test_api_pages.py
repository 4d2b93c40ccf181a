"""docs/chat.md, generate.md, openai.md: current, complete, and their commands answer as they say; vllm.md: current."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

from berth_inference.api_tables import PAGES, WRITTEN, main
from berth_inference.app import create_app
from berth_inference.errors import ErrorKind
from berth_inference.schemas.json_objects import advice, objects
from berth_inference.settings import Settings
from server.tiny_chat_server import TinyChat

DOCS = Path(__file__).resolve().parents[2] / "docs"

# A command, and the answer that the page shows behind it.
EXAMPLE = re.compile(r"^```sh\n(curl .*?)^```\n+^```(json|text)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

EXAMPLES = [
    pytest.param(*match.groups(), id=f"{name} {number}")
    for name in PAGES
    for number, match in enumerate(EXAMPLE.finditer((DOCS / name).read_text(encoding="utf-8")))
]


def _text(page: str) -> str:
    return (DOCS / page).read_text(encoding="utf-8")


def test_the_committed_pages_are_current() -> None:
    assert main(["--check", str(DOCS)]) == 0, "run `make generate`"


def test_a_page_that_is_not_current_is_told_with_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in WRITTEN:
        (tmp_path / name).write_text(_text(name).replace("<!-- end -->", "outdated\n<!-- end -->"))
    assert main(["--check", str(tmp_path)]) == 1
    assert capsys.readouterr().err.count("make generate") == len(WRITTEN)
    assert main(["--write", str(tmp_path)]) == 0
    assert main(["--check", str(tmp_path)]) == 0
    assert all((tmp_path / name).read_text() == _text(name) for name in WRITTEN)


@pytest.mark.parametrize("name", PAGES)
def test_every_argument_has_a_row_that_explains_it(name: str) -> None:
    rows = [
        re.split(r" (?<!\\)\| ", line.strip("| \n")) for line in _text(name).splitlines() if line[:3] == "| `"
    ]
    cells = {row[0]: row[1:] for row in rows}
    for model in PAGES[name][1]:
        for found in objects(model):
            for argument, field in found.properties.items():
                shown = f"`{found.inside(argument)}`" if advice(field) is not None else f"`{argument}`"
                assert all(cells[shown]), shown


@pytest.mark.parametrize("name", PAGES)
def test_every_way_to_fail_is_told(name: str) -> None:
    for kind in ErrorKind:
        assert f"| `{kind.value}` |" in _text(name)


@pytest.mark.parametrize("name", PAGES)
def test_every_link_within_a_page_has_its_heading(name: str) -> None:
    headings = re.findall(r"^#+ (.*)$", _text(name), re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}
    assert set(re.findall(r"\]\(#([^)]*)\)", _text(name))) <= anchors


def test_every_body_that_the_server_reads_is_on_a_page() -> None:
    page = create_app(Settings(model="tiny-chat"), lambda *_: None).openapi()  # type: ignore[arg-type, return-value]
    read = {
        operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
        for operations in page["paths"].values()
        for operation in operations.values()
        if "requestBody" in operation
    }
    explained = {model.__name__ for _, models in PAGES.values() for model in models}
    assert explained == read | {"OpenAIRequest"}


def _timeless(text: str) -> str:
    """Without what differs from answer to answer."""
    return re.sub(r'("created": ?)\d+', r"\1 0", re.sub(r'("id": ?"(?:chat)?cmpl-)[^"]*', r"\1", text))


def _alike(value: Any) -> Any:
    """Numbers may differ in what a page leaves out."""
    if isinstance(value, dict):
        return {key: _alike(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_alike(item) for item in value]
    return pytest.approx(value, abs=1e-3) if isinstance(value, float) else value


def test_each_page_has_examples_of_whole_and_streamed_answers() -> None:
    for name in PAGES:
        forms = [example.values[1] for example in EXAMPLES if str(example.id).startswith(name)]
        assert set(forms) == {"json", "text"}
        assert len(forms) == _text(name).count("```sh\ncurl")


@pytest.mark.parametrize(("command", "form", "answer"), EXAMPLES)
def test_a_curl_command_answers_as_its_page_says(
    tiny_chat: TinyChat, command: str, form: str, answer: str
) -> None:
    reported = command.replace("curl ", "curl --silent --write-out '%{stderr}%{http_code}' ", 1)
    run = subprocess.run(
        ["bash", "-c", reported],
        env={**os.environ, "BERTH": tiny_chat.url},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert run.stderr == "200", run.stdout
    said, shown = _timeless(run.stdout), _timeless(answer)
    if form == "json":
        assert json.loads(said) == _alike(json.loads(shown))
    else:
        assert said.strip() == shown.strip()

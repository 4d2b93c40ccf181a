"""What the OpenAPI page says of the routes that are not OpenAI's holds for whatever is sent to them.

schemathesis makes the requests from the page: its examples, every argument at and past each of its bounds, and random
ones that the page allows or does not. With those of OpenAI's routes they are 5,000.
"""

from __future__ import annotations

import pytest

from berth_inference.authentication import OPEN_PATHS
from server.api_page import OTHERS, PAGE, Asked, each_operation
from server.limited_server import LimitedServer

pytestmark = pytest.mark.thorough

asked = Asked()
globals().update(each_operation(OTHERS, asked, 340))


def test_enough_was_asked_and_enough_was_served() -> None:
    assert asked.operations.total() >= 3_000
    assert asked.statuses[200] >= 600
    assert asked.operations.keys() == set(OTHERS)


def test_the_server_answers_as_before(limited: LimitedServer) -> None:
    limited.check()


def test_the_page_says_which_routes_ask_for_a_key() -> None:
    paths = PAGE.raw_schema["paths"]
    asking = {
        path for path, methods in paths.items() if any("401" in one["responses"] for one in methods.values())
    }
    assert asking == paths.keys() - OPEN_PATHS

"""What the OpenAPI page says of the routes that OpenAI's clients use holds for whatever is sent to them.

schemathesis makes the requests from the page: its examples, every argument at and past each of its bounds, and random
ones that the page allows or does not. With those of the other routes they are 5,000.
"""

from __future__ import annotations

import pytest

from server.api_page import OPENAI, Asked, each_operation
from server.limited_server import LimitedServer

pytestmark = pytest.mark.thorough

asked = Asked()
globals().update(each_operation(OPENAI, asked, 300))


def test_enough_was_asked_and_enough_was_served() -> None:
    assert asked.operations.total() >= 2_000
    assert asked.statuses[200] >= 600
    assert asked.operations.keys() == set(OPENAI)


def test_the_server_answers_as_before(limited: LimitedServer) -> None:
    limited.check()

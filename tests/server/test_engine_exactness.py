"""In a batch, in any order of arrival, every request's tokens are those of `generate` alone (float32)."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest
import torch

from berth_inference.engine.batch.engine import BatchEngine, BatchSettings
from server.engine_requests import answered_in_random_order, expected, random_request
from server.model_zoo import ARCHITECTURES, make_model, make_pipeline

pytestmark = pytest.mark.thorough

REQUESTS_PER_MODEL = 40  # more than 500 over all of them


@pytest.fixture(params=ARCHITECTURES)
def architecture(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(autouse=True)
def _threads(architecture: str) -> Iterator[None]:
    """One architecture is run in several threads, as servers run all of them."""
    before = torch.get_num_threads()
    torch.set_num_threads(2 if architecture == "llama" else before)
    yield
    torch.set_num_threads(before)


@pytest.fixture
def engine(architecture: str) -> Iterator[BatchEngine]:
    settings = BatchSettings(max_queued=1000, max_rows=12, step_tokens=32, kv_bytes=64 * 2**20)
    engine = BatchEngine(make_pipeline(architecture), names=("zoo",), settings=settings)
    yield engine
    engine.close()


@pytest.mark.timeout(300)
async def test_random_requests_in_random_order_equal_generate(engine: BatchEngine, architecture: str) -> None:
    source = random.Random(architecture)
    requests = [random_request(source) for _ in range(REQUESTS_PER_MODEL)]
    got = await answered_in_random_order(engine, requests, source)
    # A model of its own for each: one with dynamic RoPE remembers its longest sequence.
    alone = [expected(make_model(architecture), request) for request in requests]
    wrong = [index for index in range(len(requests)) if got[index] != alone[index]]
    assert not wrong, [(requests[index], got[index], alone[index]) for index in wrong]

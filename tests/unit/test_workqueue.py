"""The work queue: once each, never two at a time, slower after failures."""

import asyncio

import pytest

from berth_operator.workqueue import WorkQueue


async def taken(queue: WorkQueue[str]) -> str:
    return await asyncio.wait_for(queue.get(), 1)


async def nothing_due(queue: WorkQueue[str]) -> bool:
    await asyncio.sleep(0)
    try:
        await asyncio.wait_for(queue.get(), 0.01)
    except TimeoutError:
        return True
    return False


async def test_a_key_added_twice_is_handed_out_once() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    queue.add("a")
    assert await taken(queue) == "a"
    assert await nothing_due(queue)


async def test_keys_come_in_the_order_they_became_due() -> None:
    queue: WorkQueue[str] = WorkQueue()
    for key in "cab":
        queue.add(key)
    assert [await taken(queue) for _ in range(3)] == ["c", "a", "b"]


async def test_a_key_added_during_its_work_comes_back_only_after_it() -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add("a")
    key = await taken(queue)
    queue.add("a")
    assert await nothing_due(queue)
    queue.done(key)
    assert await taken(queue) == "a"


async def test_failures_double_the_delay_up_to_a_bound_and_success_forgets_them() -> None:
    queue: WorkQueue[str] = WorkQueue(first_delay=0.001, longest_delay=0.003)
    delays = []
    for _ in range(4):
        queue.add("a")
        delays.append(queue.failed(await taken(queue)))
    assert delays == [0.001, 0.002, 0.003, 0.003]
    queue.add("a")
    queue.done(await taken(queue))
    queue.add("a")
    assert queue.failed(await taken(queue)) == 0.001
    queue.close()


async def test_a_failed_key_comes_back_by_itself() -> None:
    queue: WorkQueue[str] = WorkQueue(first_delay=0.001)
    queue.add("a")
    queue.failed(await taken(queue))
    assert await taken(queue) == "a"


async def test_the_servers_own_wish_for_a_pause_is_honoured() -> None:
    queue: WorkQueue[str] = WorkQueue(first_delay=0.001)
    queue.add("a")
    assert queue.failed(await taken(queue), retry_after=7) == 7
    queue.close()


async def test_an_event_cuts_a_delay_short() -> None:
    queue: WorkQueue[str] = WorkQueue(first_delay=30)
    queue.add("a")
    queue.failed(await taken(queue))
    queue.add("a")
    assert await taken(queue) == "a"
    queue.done("a")
    assert queue.idle


@pytest.mark.parametrize(("first", "second"), [(0.001, 30.0), (30.0, 0.001)])
async def test_of_two_delays_the_sooner_counts(first: float, second: float) -> None:
    queue: WorkQueue[str] = WorkQueue()
    queue.add_after("a", first)
    queue.add_after("a", second)
    assert await taken(queue) == "a"
    queue.close()

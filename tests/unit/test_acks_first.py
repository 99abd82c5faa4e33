"""Background work and acks: which of them begins first."""

from __future__ import annotations

import asyncio

import pytest

from bot.acks_first import AcksFirst


class Works:
    """Background work that notes when it began."""

    def __init__(self, acks: AcksFirst) -> None:
        self.acks = acks
        self.began: list[str] = []

    def start(self, name: str) -> asyncio.Task[None]:
        """Hand one over."""
        return asyncio.create_task(self._begin(name))

    async def _begin(self, name: str) -> None:
        await self.acks.turn()
        self.began.append(name)


async def rounds(count: int = 20) -> None:
    """Let the event loop go round so many times."""
    for _ in range(count):
        await asyncio.sleep(0)


async def test_work_waits_for_the_last_ack() -> None:
    """Work begins when no ack is due any more, in the order in which it was handed over."""
    acks = AcksFirst(longest_wait=60)
    works = Works(acks)
    with acks.due():
        with acks.due():
            tasks = [works.start("first"), works.start("second")]
            await rounds()
        await rounds()
        assert works.began == []
    await asyncio.gather(*tasks)
    assert works.began == ["first", "second"]


async def test_works_begin_one_by_one() -> None:
    """Between the beginnings of two works the event loop looks for new requests, which then come first."""
    acks = AcksFirst(longest_wait=60)
    works = Works(acks)
    tasks = [works.start(str(number)) for number in range(10)]
    await rounds(4)
    assert works.began
    with acks.due():
        await rounds()
        assert len(works.began) < 6
    await asyncio.gather(*tasks)
    assert works.began == [str(number) for number in range(10)]


async def test_work_does_not_wait_for_ever() -> None:
    """An ack that stays due holds work up for the longest wait only."""
    acks = AcksFirst(longest_wait=0.05)
    works = Works(acks)
    with acks.due():
        await asyncio.gather(works.start("first"), works.start("second"))
    assert works.began == ["first", "second"]


async def test_an_ack_that_fails_holds_nothing_up() -> None:
    """An ack that could not be written is no longer due."""
    acks = AcksFirst(longest_wait=60)
    with pytest.raises(ConnectionError), acks.due():
        raise ConnectionError
    await Works(acks).start("first")


async def test_an_ack_that_waits_for_slack_holds_nothing_up() -> None:
    """While an ack waits for Slack, work begins; afterwards the ack comes first again."""
    acks = AcksFirst(longest_wait=60)
    works = Works(acks)
    with acks.due():
        with acks.waiting_for_slack():
            await works.start("first")
        second = works.start("second")
        await rounds()
        assert works.began == ["first"]
    await second


async def test_work_that_is_cancelled_makes_way() -> None:
    """Work that a stop cancels before it began never begins, and what waits behind it does."""
    acks = AcksFirst(longest_wait=60)
    works = Works(acks)
    with acks.due():
        first, second = works.start("first"), works.start("second")
        await rounds()
        first.cancel()
        await rounds()
    await asyncio.gather(first, second, return_exceptions=True)
    assert works.began == ["second"]

"""Many people at once, and a small core: all acks come in time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from benchmarks.contestants import ALL, BOT, SOCKET, Contestant, Process, running
from benchmarks.world import LATE_SECONDS, World
from tests.conftest import THOROUGH


@asynccontextmanager
async def playing(settings: dict[str, str]) -> AsyncIterator[tuple[World, Process]]:
    """The bot as its own process, and fakes that only take their time."""
    world = World()
    await world.start()
    try:
        async with running(Contestant("this bot", BOT, ALL, settings), world) as process:
            yield world, process
    finally:
        await world.stop()


@THOROUGH
@pytest.mark.parametrize("settings", [{}, SOCKET], ids=["http", "socket"])
async def test_every_ack_of_a_burst_comes_in_time(settings: dict[str, str]) -> None:
    """A thousand people who request at once are acked in time, and each gets a card."""
    numbers = [f"{i:024x}" for i in range(1000)]
    async with playing(settings) as (world, bot):
        acks = await asyncio.gather(*(world.command(bot.url, number) for number in numbers))
        await world.until(lambda: len(world.cards) == len(numbers))
    assert max(acks) < LATE_SECONDS


@THOROUGH
async def test_twenty_people_with_a_quarter_of_a_core() -> None:
    """Twenty people who request at once, and then confirm at once, are acked in time; each number is called once."""
    numbers = [f"{i:024x}" for i in range(20)]
    async with playing({}) as (world, bot), bot.throttled(0.25):
        acks = await asyncio.gather(*(world.command(bot.url, number) for number in numbers))
        await world.until(lambda: len(world.cards) == len(numbers))
        acks += await asyncio.gather(*(world.click(bot.url, number) for number in numbers))
        await world.until(lambda: len(world.toasts) == len(numbers))
    assert max(acks) < LATE_SECONDS
    assert set(world.calls.values()) == {1}

"""SIGKILL of a real process at the moments that matter: one call per confirmation at the most, one outcome delivered.

The simulation kills the bot at any step of thousands of runs. What only a real process shows is tried here: a file that
the system keeps, sockets that it closes, and the start after it.
"""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from sandbox.bot_process import BotProcess
from tests.conftest import Record
from tests.process import running
from tests.rounds import Round

# In the order of a calm round: what the ledger does not know yet, or must know by then.
MOMENTS = [
    "after chat.postMessage",
    "the click is acked",
    "before the call",
    "after the call",
    "after chat.postMessage 2",
]


class Killed(Round):
    """A round with a bot that is killed at one moment, and started again."""

    def __init__(self, moment: str, folder: Path) -> None:
        super().__init__(folder, lease=16)
        self.moment = moment
        self.killed = asyncio.Event()
        self.process: BotProcess | None = None
        self._count: dict[str, int] = {}

    async def step(self, name: str) -> None:
        """Kill the bot if this is the moment."""
        self._count[name] = self._count.get(name, 0) + 1
        times = f"{name} {self._count[name]}" if self._count[name] > 1 else name
        if times == self.moment and self.process is not None and not self.killed.is_set():
            self.process.send_signal(signal.SIGKILL)
            await self.process.wait()
            self.killed.set()

    async def play(self) -> None:
        """Ask, click, be killed on the way, and go on as people would until the round has ended."""
        async with running(self.workspace, self.settings, self.folder) as self.process:
            people = asyncio.create_task(self.people())
            await asyncio.wait_for(self.killed.wait(), 30)
            people.cancel()
            await asyncio.wait([people])
        async with running(self.workspace, self.settings, self.folder) as self.process:
            await self.people()
            await self.told()


@pytest.mark.long
async def test_kill_at_the_moments_that_matter(tmp_path: Path, reliability: Record) -> None:
    """Whenever the bot dies, a confirmation makes at most one call, and its one outcome is delivered in the end."""

    async def one(moment: str) -> None:
        folder = tmp_path / moment.replace(" ", "_")
        folder.mkdir()
        played = Killed(moment, folder)
        async with played.fakes():
            try:
                await played.play()
            except TimeoutError as error:
                raise AssertionError(f"killed at: {moment}") from error
        played.prove(moment)
        reliability("Crash", f"SIGKILL: {moment}", calls="at most one", told="one outcome")

    await asyncio.gather(*(one(moment) for moment in MOMENTS))

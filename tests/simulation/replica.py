"""A replica of the bot in a run, through all its lives."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from contextvars import ContextVar
from random import Random
from typing import TYPE_CHECKING, Any, cast

import aiohttp

from bot.app import DRAIN_MARGIN, Bot, Outside
from bot.errors import BotError
from bot.receivers import http
from tests.simulation.fakes import Faults, SimulatedCellcast, SimulatedClock, SimulatedSession, SimulatedThreads
from tests.simulation.plan import DATABASE_FAULTS

if TYPE_CHECKING:
    from tests.simulation.world import World

CURRENT: ContextVar[Replica | None] = ContextVar("CURRENT", default=None)


class _Server(http.WebServer):
    """The web server of a replica: people reach `Bot.receive` directly."""

    async def listen(self, _app: object, _host: str, port: int) -> int:
        return port

    async def stop_listening(self) -> None:
        """Nobody listens."""

    async def close(self) -> None:
        """Nothing is open."""


class Replica:
    """A replica, through all its lives."""

    def __init__(self, world: World, index: int, ahead: float) -> None:
        self.world, self.index, self.life = world, index, 0
        self.clock = SimulatedClock(world.loop, ahead)
        self.database = Faults(Random(f"database {world.plan.seed} {index}"), DATABASE_FAULTS)
        self.bot: Bot | None = None
        self.started = self.alive = False
        self.dies_in: int | None = None
        self.ended_at: list[float] = []  # when it was killed, or stopped
        self.tasks: dict[asyncio.Task[Any], None] = {}

    def __str__(self) -> str:
        """Return its name in a trace."""
        return f"replica {self.index}"

    def lives(self, life: int) -> bool:
        """Return whether the process of then still runs."""
        return self.alive and life == self.life

    def step(self, what: str) -> bool:
        """Take a step that the world can see; False if the process is dead, or dies here."""
        if self.dies_in is not None and self.alive:
            self.dies_in -= 1
            if self.dies_in < 0:
                self.world.note(self, f"dies at {what}")
                self.kill()
        return self.alive

    def spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Run something in the process of this replica."""
        token = CURRENT.set(self)
        try:
            return asyncio.create_task(work)
        finally:
            CURRENT.reset(token)

    def start(self, settings: dict[str, Any]) -> None:
        """Start the process."""
        if self.alive:
            return
        self.life += 1
        self.alive, self.started, self.dies_in = True, False, None
        self.bot = bot = Bot(
            self.world.settings(settings),
            Outside(
                clock=self.clock,
                start_threads=lambda _count: SimulatedThreads(self.world, self),
                open_session=lambda: cast("aiohttp.ClientSession", SimulatedSession(self.world, self)),
                cellcast=SimulatedCellcast(self.world, self),
                make_server=_Server,
            ),
        )
        self.world.note(self, f"starts with {settings or 'the usual settings'}")
        self.spawn(self._start(bot, settings))

    async def _start(self, bot: Bot, settings: dict[str, Any]) -> None:
        try:
            await bot.start(self.world.plan.sweep_every)
        except BotError as error:  # a supervisor starts it again
            self.world.note(self, f"cannot start: {error}")
            self._end()
            self.world.loop.call_later(5.0, self.start, settings)
            return
        self.started = True

    def kill(self) -> None:
        """End the process at once: nothing of it reaches the world any more."""
        if not self.alive:
            return
        self.world.note(self, "is killed")
        self._end()
        for task in list(self.tasks):
            task.cancel()

    async def stop(self) -> None:
        """Stop the process as SIGTERM does."""
        if self.alive and self.started and self.bot is not None:
            self.world.note(self, "stops")
            self.started = False
            life, began = self.life, self.world.loop.seconds
            await asyncio.wait([self.spawn(self.bot.stop())])
            if self.lives(life):
                took = self.world.loop.seconds - began
                if took < self.bot.stop_limit - DRAIN_MARGIN:  # nothing was left when the drain ended
                    self.world.check_stop(self)
                if took > self.bot.stop_limit:
                    self.world.report_violation(f"{self} took {took:.1f} s to stop")
                self.kill()

    def _end(self) -> None:
        self.alive = self.started = False
        self.ended_at.append(self.world.loop.seconds)

    def watch_tasks(self, task: asyncio.Task[Any]) -> None:
        """Keep a task of this process, to end it with the process."""
        self.tasks[task] = None
        task.add_done_callback(lambda _: self.tasks.pop(task))
        if not self.alive:
            task.cancel()

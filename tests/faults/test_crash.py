"""The bot stops (os._exit) at each await point between the command and the told outcome, one after another.

A point is a line of bot/ or handlers/ that waits, and how often it has waited; the bot stops as the wait begins, or as
it ends. Nothing of the bot is changed for it: a task factory looks at each coroutine when it is suspended and resumed.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import sys
from collections import Counter
from collections.abc import Callable, Coroutine, Generator
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

from tests.conftest import Record, TestClock
from tests.process import ROOT, free_port
from tests.rounds import Round

AT_ONCE = 4
AHEAD = 25.0  # seconds by which the second start is later: past every deadline and lease of the first
OURS = (str(ROOT / "bot" / "") + os.sep, str(ROOT / "handlers") + os.sep)
# Waits that belong to starting, stopping and sweeping, not to a round.
ELSEWHERE = {"_start", "start", "stop", "run", "main", "run_forever", "sweep", "_serve", "identify", "open_ledger"}
Point = tuple[str, int, str]


class Watched(Coroutine[Any, Any, Any]):
    """A task's coroutine that tells of each suspension and resumption."""

    def __init__(self, inner: Coroutine[Any, Any, Any], reach: Callable[[str, str], None]) -> None:
        self._inner, self._reach = inner, reach

    def send(self, value: Any) -> Any:
        """Resume, and run until the next wait."""
        return self._step(lambda: self._inner.send(value))

    def throw(self, *error: Any) -> Any:
        """Resume with an error."""
        return self._step(lambda: self._inner.throw(*error))

    def close(self) -> None:
        """Give up."""
        self._inner.close()

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._inner.__await__()

    def _step(self, resume: Callable[[], Any]) -> Any:
        if (place := _place(self._inner)) is not None:
            self._reach(place, "ends")
        waiting_for = resume()
        if (place := _place(self._inner)) is not None:
            self._reach(place, "begins")
        return waiting_for


def _place(coroutine: Any) -> str | None:
    """The bot's own functions that wait, outermost first, and the innermost line; None where it is none of a round."""
    names, line = [], ""
    while coroutine is not None:
        frame = getattr(coroutine, "cr_frame", None)
        if frame is not None and frame.f_code.co_filename.startswith(OURS):
            if frame.f_code.co_name in ELSEWHERE:
                return None
            names.append(frame.f_code.co_name)
            line = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        coroutine = getattr(coroutine, "cr_await", None)
    return f"{' > '.join(names)} ({line})" if names else None


def run(settings: dict[str, str], ahead: float, stop_at: Point | None, trace: str) -> None:
    """The process: the shipped bot, with a task factory that writes each point down, and stops at one."""
    from bot import logging as logs  # noqa: PLC0415 - in the other process
    from bot.app import Bot, Outside  # noqa: PLC0415
    from bot.settings import load  # noqa: PLC0415

    counts: Counter[tuple[str, str]] = Counter()
    ready = Path(f"{trace}.ready")
    out = Path(trace).open("a", buffering=1)  # noqa: SIM115 - open until the process stops

    def reach(place: str, stage: str) -> None:
        counts[place, stage] += 1
        point = (place, counts[place, stage], stage)
        out.write(f"{point[0]}\t{point[1]}\t{point[2]}\n")
        if point == stop_at:
            os._exit(7)

    def factory(loop: asyncio.AbstractEventLoop, work: Any, **given: Any) -> Any:
        return asyncio.Task(Watched(work, reach), loop=loop, **given)

    async def main() -> None:
        asyncio.get_running_loop().set_task_factory(factory)
        found = load(**{k.lower(): v for k, v in settings.items()})
        logs.configure(found, sys.stderr)
        await Bot(found, Outside(clock=TestClock(ahead))).start(0.2)
        ready.touch()
        await asyncio.Event().wait()

    asyncio.run(main())


class Stopped(Round):
    """A round with a bot that stops at one point, and is started again."""

    def __init__(self, point: Point | None, folder: Path, spawn: Callable[..., BaseProcess]) -> None:
        super().__init__(folder, lease=0)
        self.point, self._spawn = point, spawn

    async def _start(self, ahead: float, point: Point | None) -> BaseProcess:
        port = free_port()
        trace = self.folder / f"trace{ahead:.0f}"
        settings = self.settings | {"PORT": str(port), "LOG_LEVEL": "ERROR"}
        process = self._spawn(target=run, args=(settings, ahead, point, str(trace)))
        process.start()
        self.workspace.bot_url = f"http://127.0.0.1:{port}"
        async with asyncio.timeout(60):
            while not os.path.exists(f"{trace}.ready"):  # noqa: ASYNC110, PTH110 - another process
                await asyncio.sleep(0.01)
        return process

    async def play(self) -> None:
        """Ask, click, be stopped on the way, and go on as people would until the round has ended."""
        process = await self._start(0, self.point)
        people = asyncio.create_task(self.people())
        async with asyncio.timeout(60):
            while process.is_alive() and not people.done():  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.01)
        if self.point is None:
            await self.told()
        people.cancel()
        await asyncio.wait([people])
        process.kill()
        await asyncio.to_thread(process.join)
        if self.point is not None:
            self.stopped = process.exitcode == 7
            process = await self._start(AHEAD, None)
            await self.people()
            await self.told()
            process.kill()
            await asyncio.to_thread(process.join)

    def points(self) -> list[Point]:
        """The points that the first process reached, in their order."""
        lines = (self.folder / "trace0").read_text().splitlines()
        found = [line.split("\t") for line in lines]
        return [(place, int(count), stage) for place, count, stage in found]


async def test_stop_at_every_await_point(tmp_path: Path, reliability: Record) -> None:
    """Wherever the bot stops, a confirmation makes at most one call, and its one outcome is delivered in the end."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["bot.app", "tests.faults.test_crash"])
    calm = Stopped(None, tmp_path, context.Process)
    async with calm.fakes():
        await calm.play()
    calm.prove("calm")
    points = calm.points()
    assert len({place for place, *_ in points}) >= 15
    gate = asyncio.Semaphore(AT_ONCE)
    reached: list[Point] = []

    async def one(number: int, point: Point) -> None:
        folder = tmp_path / str(number)
        folder.mkdir()
        played = Stopped(point, folder, context.Process)
        async with gate, played.fakes():
            try:
                await played.play()
            except TimeoutError as error:
                raise AssertionError(f"stopped at: {point}") from error
        played.prove(str(point))
        if played.stopped:
            reached.append(point)

    await asyncio.gather(*(one(*numbered) for numbered in enumerate(points)))
    # What one run does in two waits another may do in one; nearly all points are reached again.
    assert len(reached) >= len(points) * 0.8
    for name in ("confirm > write", "post_card > ", "execute > _call", "_record_outcome", "_update", "_post_outcome"):
        assert any(name in place for place, *_ in reached), name
    reliability("Crash", "os._exit at each await point of a round, as the wait begins and as it ends",
                calls="at most one", told="one outcome")  # fmt: skip

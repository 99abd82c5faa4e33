"""Background work: every task is kept until it ends, and waited for when the bot stops."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import structlog

from bot import errors

log = structlog.get_logger("bot.tasks")

T = TypeVar("T")


class Tasks:
    """The running background tasks. asyncio itself keeps only weak references to a task."""

    def __init__(self) -> None:
        self._running: set[asyncio.Task[Any]] = set()
        self._closed = False

    def start(self, work: Coroutine[Any, Any, T]) -> asyncio.Task[T]:
        """Run `work` in the background; an unexpected error in it is logged under a reference number."""
        task = asyncio.create_task(work)
        self._running.add(task)
        task.add_done_callback(self._ended)
        if self._closed:  # the parts it would use are closing: it ends before its first step
            task.cancel()
        return task

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._running.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        if isinstance(error, errors.BotError):  # expected, and the sweep comes back to it
            log.error("task_failed", error=str(error), cause=str(error.__cause__))
        else:
            errors.report(error)

    async def drain(self, seconds: float) -> int:
        """Wait up to `seconds` until nothing runs, also what running work still starts; return how much is left."""
        deadline = asyncio.get_running_loop().time() + seconds
        while self._running and (left := deadline - asyncio.get_running_loop().time()) > 0:
            await asyncio.wait(self._running, timeout=left)
            await asyncio.sleep(0)
        return len(self._running)

    async def close(self, seconds: float) -> int:
        """Drain, then cancel what is left; from then on nothing starts. Returns how much was cancelled."""
        left = await self.drain(seconds)
        self._closed = True
        for task in self._running:
            task.cancel()
        if self._running:
            await asyncio.wait(self._running, timeout=0.5)
        return left

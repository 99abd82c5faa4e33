"""An event loop with virtual time: waiting costs nothing, and a seed chooses who goes first.

A run needs no thread and no socket, so one seed always produces the same run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from contextvars import Context
from random import Random
from typing import Any


class DeadlockError(Exception):
    """Everything waits for something that will never come."""


class _Ready(deque[Any]):
    """The callbacks that are ready. asyncio takes them in their order; another order is possible for other machines."""

    def __init__(self, order: Random) -> None:
        super().__init__()
        self._order = order

    def popleft(self) -> Any:
        """Take any of the first few."""
        if len(self) > 1 and (chosen := self._order.randrange(min(len(self), 4))):
            self.rotate(-chosen)
            found = super().popleft()
            self.rotate(chosen)
            return found
        return super().popleft()


class SimulatedLoop(asyncio.BaseEventLoop):
    """asyncio's own loop, with a selector that lets the time pass at once. `order` None keeps asyncio's order."""

    def __init__(self, order: Random | None) -> None:
        super().__init__()
        self.seconds = 0.0
        self.answer_delay = 0.0  # what a "thread" takes to wake the loop
        self.job_takes: Callable[[], float] | None = None  # what a blocking function takes before it runs
        self._selector = self
        if order is not None:
            self._ready = _Ready(order)

    def time(self) -> float:
        """Return the virtual time, in seconds since the run began."""
        return self.seconds

    def select(self, timeout: float | None) -> list[Any]:
        """Let the time pass until the next timer is due."""
        if timeout is None:
            raise DeadlockError
        self.seconds += timeout
        return []

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none: nothing here has a socket."""

    def call_soon_threadsafe(  # type: ignore[override]  # asyncio's own stub is generic
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Wake the loop from a "thread", which runs inline here: after its own time."""
        return self.call_later(self.answer_delay, callback, *args, context=context)

    def run_in_executor(  # type: ignore[override]  # as above
        self, _executor: object, function: Callable[..., Any], *args: Any
    ) -> asyncio.Future[Any]:
        """Run a blocking function inline, perhaps after a while."""
        done = self.create_future()

        def run() -> None:
            if not done.done():  # the process may be dead
                done.set_result(function(*args))

        if self.job_takes is None:
            run()
        else:
            self.call_later(self.job_takes(), run)
        return done

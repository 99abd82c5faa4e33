"""Daemon threads for the database: one that hangs in a silent server does not hold up the exit of the process.

concurrent.futures waits for its threads at the exit, however long they hang.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable

# How long closing waits for work under way, in seconds.
CLOSE_TIMEOUT = 1.0


class Threads:
    """A fixed number of daemon threads that run functions in the order in which they were submitted."""

    def __init__(self, count: int) -> None:
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._run, name=f"ledger-{i}", daemon=True) for i in range(count)]
        for thread in self._threads:
            thread.start()

    def submit(self, work: Callable[[], None]) -> None:
        """Run a function, which must not raise, on the next free thread."""
        self._queue.put(work)

    def close(self) -> None:
        """Run what was submitted, and end the threads; leave those that hang for longer than CLOSE_TIMEOUT."""
        for _ in self._threads:
            self._queue.put(None)
        deadline = time.monotonic() + CLOSE_TIMEOUT
        for thread in self._threads:
            thread.join(max(deadline - time.monotonic(), 0))

    def _run(self) -> None:
        while (work := self._queue.get()) is not None:
            work()

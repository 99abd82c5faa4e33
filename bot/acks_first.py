"""Acks first: while acks need the processor, no new call or card begins.

So a burst of requests is acked in the time that the acks alone take, also on one small core.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from contextlib import AbstractContextManager


class AcksFirst:
    """Knows how many acks need the processor, and lets work wait for them, up to `longest_wait` seconds."""

    def __init__(self, longest_wait: float) -> None:
        self._longest_wait = longest_wait
        self._due = 0
        self._none_due = asyncio.Event()
        self._turn = asyncio.Lock()

    def due(self) -> AbstractContextManager[None]:
        """An ack is due until this block ends."""
        return self._counted(1)

    def waiting_for_slack(self) -> AbstractContextManager[None]:
        """The ack that is due waits for Slack in this block, so it needs no processor."""
        return self._counted(-1)

    @contextlib.contextmanager
    def _counted(self, change: int) -> Iterator[None]:
        self._count(change)
        try:
            yield
        finally:
            self._count(-change)

    def _count(self, change: int) -> None:
        self._due += change
        if self._due:
            self._none_due.clear()
        else:
            self._none_due.set()

    async def turn(self) -> None:
        """Wait until no ack needs the processor, and until what came earlier has begun."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._longest_wait), self._turn:
                await asyncio.sleep(0)  # before each, the event loop looks for new requests
                while self._due:
                    await self._none_due.wait()

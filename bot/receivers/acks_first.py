"""Acks first: while a request waits for its ack, no background work begins.

A burst is then acked as fast as the acks alone allow, also on one small core.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Coroutine, Iterator
from typing import Any

# Background work begins after this many seconds in any case, even if requests never stop coming.
LONGEST_WAIT = 2.0


class AcksFirst:
    """Knows whether an ack is due, and makes background work wait for it, up to `longest_wait` seconds."""

    def __init__(self, longest_wait: float = LONGEST_WAIT) -> None:
        self._longest_wait = longest_wait
        self._due = 0
        self._none_due = asyncio.Event()
        self._none_due.set()
        self._turn = asyncio.Lock()

    @contextlib.contextmanager
    def due(self) -> Iterator[None]:
        """An ack is due from here on, until the block ends."""
        self._due += 1
        self._none_due.clear()
        try:
            yield
        finally:
            self._due -= 1
            if not self._due:
                self._none_due.set()

    async def then(self, work: Coroutine[Any, Any, None]) -> None:
        """Do `work` when no ack is due, or after the longest wait. Work begins in the order of the calls."""
        try:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._longest_wait), self._turn:
                    await asyncio.sleep(0)  # begin one each time the event loop has looked for new requests
                    await self._none_due.wait()
            await work
        finally:
            work.close()  # a stop may have cancelled this before it began

"""Reads the key of Cellcast from its file again after a 401, so that a rotated key needs no restart."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

import structlog

from bot import secret_files
from bot.clients.cellcast import Cellcast
from bot.logging import mask
from bot.settings import problem_of
from bot.tasks import Tasks

log = structlog.get_logger("bot.key")


class KeyFile:
    """The file of CELLCAST_API_KEY_FILE. After a 401 the outcome stays refused; the next call uses the file's key."""

    def __init__(
        self, path: Path, cellcast: Cellcast, tasks: Tasks, key_changed: Callable[[], Awaitable[None]]
    ) -> None:
        self._path, self._cellcast, self._tasks, self._key_changed = path, cellcast, tasks, key_changed
        self._reading = asyncio.Lock()  # the last read must win, not the slowest
        self._reported = ""  # the refused key that the log has reported

    def read_again(self, refused: str) -> None:
        """Read the file in the background, because Cellcast refused this key. No outcome waits for the disk."""
        self._tasks.start(self._read_again(refused))

    async def _read_again(self, refused: str) -> None:
        async with self._reading:
            try:
                key = await asyncio.to_thread(_read, self._path)
            except ValueError as error:
                log.warning("cellcast_key_unavailable", file=str(self._path), error=f"the file {error}")
                return
            if key == refused != self._reported:
                self._reported = refused
                log.warning("cellcast_key_unchanged", file=str(self._path))
            if key == self._cellcast.key:  # also if an earlier 401 has already loaded the new key
                return
            mask.add(key)
            self._cellcast.use(key)
            log.info("cellcast_key_loaded", file=str(self._path))
        await self._key_changed()


def _read(path: Path) -> str:
    """Return the key in the file. Raise ValueError, which does not show the content, if it holds no usable key."""
    key = secret_files.read(path)
    if (problem := problem_of("cellcast_api_key", key)) is not None:
        raise ValueError(f"holds a key that {problem}")
    return key

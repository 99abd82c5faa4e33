"""The file of known numbers (NUMBERS_FILE), read again when it changes."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path

import structlog

from bot.domain.numbers import NumberList, parse_csv

log = structlog.get_logger("bot.numbers")

# More errors than this are counted, not listed.
MAX_ERRORS = 20


class NumbersFile:
    """The CSV file of known numbers; without a path the list is empty."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._list = NumberList()
        self._stamp: object = None
        self._reading = asyncio.Lock()

    async def current(self) -> NumberList:
        """Return the list as the file is now; if the file is missing or invalid, the list has errors."""
        if self.path is None:
            return self._list
        async with self._reading:
            stamp = _stamp(self.path)
            if stamp != self._stamp:
                # Thousands of lines take longer than an ack should wait for others.
                self._list = await asyncio.to_thread(read, self.path)
                # What could not be read at all is read again at once: its stamp need not change when it can be.
                self._stamp = None if self._list.unread else stamp
                for error in self._list.errors[:MAX_ERRORS]:
                    log.error("numbers_file_invalid", file=str(self.path), error=error)
                log.info("numbers_file_loaded", file=str(self.path), count=len(self._list.by_id))
        return self._list


def read(path: Path) -> NumberList:
    """Read the file; if it cannot be read, the list has that error."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        return NumberList(errors=(f"the file cannot be read ({error.strerror})",), unread=True)
    except UnicodeDecodeError:
        return NumberList(errors=("the file is not UTF-8 text",))
    # A list that is only half written must not lift a protection, and half of its header looks like one without any.
    header_alone = len(text.splitlines()) == 1
    if not text.endswith(("\n", "\r")) and (header_alone or "protected" in text.partition("\n")[0].lower()):
        return NumberList(errors=("the last line has no line break, so the file may not be complete",))
    return parse_csv(io.StringIO(text, newline=""))


def _stamp(path: Path) -> object:
    """Return what changes whenever the file does."""
    try:
        found = path.stat()
    except OSError:
        return "missing"
    return (found.st_mtime_ns, found.st_size, found.st_ino)

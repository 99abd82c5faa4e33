"""A backup of an SQLite database: one file, complete or absent, that only its owner can read."""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
from pathlib import Path

from bot.errors import BotError, StartError

# As long as the bot waits for its database.
TIMEOUT = 1.5


def back_up(database: Path, target: Path) -> None:
    """Copy the database as it is now, marked as a backup, while the bot goes on writing.

    The copy is written in a temporary folder beside `target`, and gets its own name only when it is on the disk. Raise
    BotError if `target` exists or cannot be written.
    """
    if os.path.lexists(target):
        raise _exists(target)
    try:
        _write(database, target)
    except FileExistsError:  # another process has created it since
        raise _exists(target) from None
    except (OSError, sqlite3.Error) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise BotError(f"The backup {target} could not be written: {why}.") from None


def require_unused(database: Path) -> None:
    """Raise StartError if another process has an SQLite database open, as a running bot does."""
    with contextlib.closing(_connect(database, timeout=0)) as db:
        try:
            # Each open connection to the file holds a lock, which rules out an exclusive one.
            db.execute("PRAGMA locking_mode = EXCLUSIVE")
            db.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            raise StartError(
                f"The database is in use ({error}). Stop the bot and every other program that uses it, then try again."
            ) from None


def require_own_log(database: Path) -> None:
    """Raise StartError if the write-ahead log beside an SQLite file was left by the file that was there before.

    SQLite would apply it: the restored file would lose its mark, and could be damaged.
    """
    log = Path(f"{database.resolve()}-wal")
    with contextlib.suppress(OSError):  # if a file cannot be read, the connection reports that
        # A file that has such a log says so in its header (https://www.sqlite.org/fileformat.html, offset 18).
        with database.open("rb") as file:
            header = file.read(20)
        if log.stat().st_size and header[18:] == b"\1\1":
            raise StartError(
                f"{log} was left by the database that a restored backup has replaced. Move it away, and try again."
            )


def _exists(target: Path) -> BotError:
    return BotError(f"{target} already exists, and `backup` never replaces a file. Choose another name.")


def _write(database: Path, target: Path) -> None:
    folder = target.absolute().parent
    # A folder, because SQLite leaves a journal beside a copy that it cannot complete.
    with tempfile.TemporaryDirectory(prefix=".backup-", dir=folder) as own:
        copying, name = tempfile.mkstemp(dir=own)  # with mode 600
        try:
            with contextlib.closing(_connect(database, timeout=TIMEOUT)) as db:
                db.execute("VACUUM INTO ?", (name,))
            with contextlib.closing(_connect(Path(name), timeout=TIMEOUT)) as copy:
                copy.execute("PRAGMA user_version = 1")
            os.fsync(copying)
            os.link(name, target)  # unlike a rename it never replaces a file
        finally:
            os.close(copying)
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def _connect(file: Path, *, timeout: float) -> sqlite3.Connection:
    """Connect to an existing file. SQLite would otherwise create a missing one."""
    return sqlite3.connect(f"{file.absolute().as_uri()}?mode=rw", uri=True, timeout=timeout, isolation_level=None)

"""python -m bot backup FILE: copy an SQLite database to a new file, also while the bot runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

from bot import PROGRAM
from bot.errors import BotError
from bot.ledger.backup import back_up
from bot.ledger.store import Ledger
from bot.service.startup import or_start_error
from bot.settings import Settings


def backup(settings: Settings, target: Path) -> None:
    """Write a backup of the database, and print its name and what a restore needs.

    Raise BotError if it cannot be written, StartError or LedgerError if the database cannot be read.
    """
    database = asyncio.run(_find(settings.database_url))
    back_up(database, target)
    print(f"The backup is complete: {target}. After you restore it, run `{PROGRAM} restored` before you start the bot.")


async def _find(url: str) -> Path:
    """Return the file of a ledger on SQLite, whatever its schema."""
    ledger = Ledger(url, create=False)
    try:
        if ledger.database.file is None:
            raise BotError(
                "`backup` copies SQLite files only. Use pg_dump for PostgreSQL: docs/deployment.md has the commands."
            )
        await or_start_error(ledger.require_any())
    finally:
        ledger.close()
    return ledger.database.file

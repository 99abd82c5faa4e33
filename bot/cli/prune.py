"""python -m bot prune --before DATE: remove old requests from the record, also while the bot runs."""

from __future__ import annotations

import time
from datetime import UTC, datetime

from bot import PROGRAM
from bot.ledger.store import Ledger
from bot.service.startup import or_start_error
from bot.settings import Settings


async def prune(settings: Settings, before: float, *, yes: bool) -> None:
    """Count the requests whose last event was before this moment, and remove them if the operator said `yes`.

    Raise StartError or LedgerError if the database cannot be used.
    """
    ledger = Ledger(settings.database_url, create=False)
    what = f"whose last event was before {datetime.fromtimestamp(before, UTC).date()} (UTC)"
    try:
        await or_start_error(ledger.require_current())
        if yes:
            removed = await or_start_error(ledger.prune(before, time.time()))
            print(f"Removed: {removed} requests {what}. `{PROGRAM} history` lists this removal.")
        else:
            count = await or_start_error(ledger.prunable(before))
            print(f"{count} requests {what} would be removed for good. Nothing is removed without `--yes`.")
    finally:
        ledger.close()

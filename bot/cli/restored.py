"""python -m bot restored: settle what is open in a restored backup as unknown, before the bot starts."""

from __future__ import annotations

import time

from bot.cli.history import when
from bot.ledger.backup import require_unused
from bot.ledger.store import Ledger
from bot.service.startup import or_start_error
from bot.settings import Settings


async def restored(settings: Settings, *, unmarked: bool) -> None:
    """Settle every open request, close what was due, and print each.

    Raise BotError if the database carries no mark of a backup and the operator did not say `unmarked`. Raise StartError
    or LedgerError if it cannot be used, or if another process uses an SQLite file.
    """
    auditing = settings.audit_channel is not None
    ledger = Ledger(settings.database_url, create=False, auditing=auditing)
    try:
        await or_start_error(ledger.require_any())
    finally:
        ledger.close()  # its own connection must not count as another user of the file
    if ledger.database.file is not None:
        require_unused(ledger.database.file)
    ledger = Ledger(settings.database_url, create=False, auditing=auditing)
    try:
        done = await or_start_error(ledger.settle_restored(time.time(), unmarked=unmarked))
    finally:
        ledger.close()
    for request in done.settled:
        dry = " (dry run: no call was made)" if request.dry_run else ""
        print(
            f"settled  {request.number_id}{dry}  {request.status} in the backup, requested by {request.requested_by} "
            f"in {request.channel} {when(request.requested_at)}, request {request.id}"
        )
    for outcome in done.closed:
        print(
            f"closed   {outcome.code} {when(outcome.settled_at)}, undelivered in the backup, "
            f"request {outcome.request_id}"
        )
    print(
        f"Settled open requests: {len(done.settled)}. Closed undelivered outcomes: {len(done.closed)}. "
        f"Audit lines that are no longer due: {done.audit_lines}."
    )
    print(
        "Compare these numbers with Cellcast, and with the messages in Slack since the backup. The bot can start now: "
        "it then reports each settled request in its channel."
    )

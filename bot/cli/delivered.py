"""python -m bot delivered REQUEST: close by hand what Slack will never accept, once the people know it."""

from __future__ import annotations

import time

from bot import PROGRAM
from bot.errors import BotError
from bot.ledger.store import Ledger
from bot.service.startup import or_start_error
from bot.settings import Settings


async def delivered(settings: Settings, request_id: str) -> None:
    """Close every undelivered outcome of a request, and print each.

    Raise BotError if there is none, StartError or LedgerError if the database cannot be used.
    """
    ledger = Ledger(settings.database_url, create=False)
    try:
        await or_start_error(ledger.require_current())
        request = await ledger.get(request_id)
        if request is None:
            raise BotError(f"There is no request {request_id}. `{PROGRAM} history` prints every request with its id.")
        closed = await ledger.close_outcomes(request_id, time.time())
    finally:
        ledger.close()
    if not closed:
        raise BotError(f"Request {request_id} has no undelivered outcome, so nothing was closed.")
    for outcome in closed:
        print(
            f"Closed: {outcome.code} of {request.number_id}, attempt {outcome.attempt} (delivery attempts: "
            f"{outcome.delivery_attempts}). The bot no longer delivers it: make sure that "
            f"{outcome.decided_by or request.requested_by} knows it."
        )

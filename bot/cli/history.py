"""python -m bot history: print the whole record for an audit, as lines or as JSON."""

from __future__ import annotations

from datetime import UTC, datetime

from bot.cli import record
from bot.domain.models import Outcome, Request
from bot.ledger.store import Ledger
from bot.service.startup import or_start_error
from bot.settings import Settings


async def history(settings: Settings, *, since: float, as_json: bool) -> None:
    """Print every request since `since` (seconds since the epoch), oldest first, as JSON lines or readable lines.

    Raise StartError or LedgerError if the database cannot be read.
    """
    ledger = Ledger(settings.database_url, create=False)
    try:
        await or_start_error(ledger.require_current())
        async for request, outcomes in ledger.whole_history(since):
            print(record.line(request, outcomes) if as_json else _lines(request, outcomes))
        for pruned_at, before, count in [] if as_json else await ledger.prunings(since):
            day = datetime.fromtimestamp(before, UTC).date()
            print(f"{when(pruned_at)}  pruned: {count} requests, whose last event was before {day}")
    finally:
        ledger.close()


def _lines(request: Request, outcomes: list[Outcome]) -> str:
    dry = " (dry run)" if request.dry_run else ""
    reason = f", reason: {request.reason}" if request.reason else ""
    about = f"requested by {request.requested_by} in {request.channel}, request {request.id}{reason}"
    lines = [f"{when(request.requested_at)}  {request.number_id}{dry}  {request.status}  {about}"]
    for outcome in outcomes:
        how = "closed by an operator" if outcome.closed_at else "delivered"
        delivered = f"{how} {when(outcome.delivered_at)}" if outcome.delivered_at else "not delivered yet"
        decided = f", decided by {outcome.decided_by} {when(outcome.decided_at or 0)}" if outcome.decided_by else ""
        said = f", Cellcast: {outcome.message!r}" if outcome.message else ""
        lines.append(
            f"    attempt {outcome.attempt}: {outcome.code} {when(outcome.settled_at)}{decided}, {delivered}{said}"
        )
    return "\n".join(lines)


def when(seconds: float) -> str:
    """Return a moment as the record shows it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

"""python -m bot history: prints the whole record for an audit, as lines or as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from bot.app import open_ledger
from bot.ledger import Ending, Ledger, Request
from bot.settings import Settings

# A response_url lets whoever holds it write into the channel for half an hour; the rest is the bot's bookkeeping.
PRIVATE = {"reply_url", "reply_replaces", "posting_until", "open_number", "ending"}


async def history(settings: Settings, *, since: float, as_json: bool) -> None:
    """Print every request asked since then, oldest first; one JSON object a line, or readable lines."""
    ledger = Ledger(settings.database_url)
    try:
        await open_ledger(ledger)
        found = await ledger.history(since)
    finally:
        ledger.close()
    for request, endings in reversed(found):
        print(json.dumps(_row(request, endings)) if as_json else _lines(request, endings))


def _row(request: Request, endings: list[Ending]) -> dict[str, Any]:
    row = {name: value for name, value in asdict(request).items() if name not in PRIVATE}
    return row | {"endings": [asdict(ending) for ending in endings]}


def _lines(request: Request, endings: list[Ending]) -> str:
    dry = " (dry run)" if request.dry_run else ""
    lines = [f"{_when(request.asked_at)}  {request.number_id}{dry}  {request.state}  asked by {request.asked_by}"]
    lines[0] += f" in {request.channel}, request {request.id}" + (
        f", reason: {request.reason}" if request.reason else ""
    )
    for ending in endings:
        told = f"told {_when(ending.told_at)}" if ending.told_at else "not told yet"
        decided = f", decided by {ending.decided_by} {_when(ending.decided_at or 0)}" if ending.decided_by else ""
        said = f", Cellcast: {ending.message!r}" if ending.message else ""
        lines.append(f"    attempt {ending.attempt}: {ending.kind} {_when(ending.ended_at)}{decided}, {told}{said}")
    return "\n".join(lines)


def _when(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")

"""A ledger after years: requests that have ended in every way, and some that wait."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from bot.domain.status import OutcomeCode, Status
from bot.ledger.schema import outcomes, requests

WAITING = 200  # so many requests are open, or have an undelivered outcome
FAR = 1e6  # seconds: what they wait for does not come during a run
# How a hundred requests end: the codes of their attempts, in an order in which no kind comes in a row.
ENDINGS = [
    *[(OutcomeCode.SUCCEEDED,)] * 80,
    *[(OutcomeCode.KEPT,)] * 5,
    *[(OutcomeCode.EXPIRED,)] * 6,
    *[(OutcomeCode.NOT_FOUND,)] * 4,
    *[(OutcomeCode.TIMEOUT, OutcomeCode.SUCCEEDED)] * 2,
    *[(OutcomeCode.CONNECTION_LOST,)] * 2,
    (OutcomeCode.REPLACED,),
]
WITHOUT_CALL = (OutcomeCode.KEPT, OutcomeCode.EXPIRED, OutcomeCode.REPLACED)
OFTEN = "f" * 24  # every tenth request is about this number
Rows = tuple[list[dict[str, Any]], list[dict[str, Any]]]


def fill(db: sa.Connection, count: int, now: float) -> None:
    """Write `count` ended requests, one a minute until an hour ago, and WAITING that are open or undelivered."""
    for first in range(0, count, 10_000):
        ended: Rows = ([], [])
        for i in range(first, min(first + 10_000, count)):
            _ended(ended, i, now - 3600 - (count - i) * 60, None)
        _insert(db, ended)
    waiting: Rows = ([], [])
    for i in range(count, count + WAITING):
        at = now - 3600 + i - count
        if i % 4 == 0:
            _ended(waiting, i, at, now + 60)
        else:
            waiting[0].append(_open(i, at, now))
    _insert(db, waiting)


def _insert(db: sa.Connection, rows: Rows) -> None:
    db.execute(requests.insert(), rows[0])
    db.execute(outcomes.insert(), rows[1])


def _request(i: int, number: str, at: float) -> dict[str, Any]:
    return {
        "id": f"{i * 2_654_435_761 % 2**32:08x}{i:024x}",
        "number_id": number,
        "phone": "+61 480 000 000",
        "label": "Support line",
        "reason": "campaign ended",
        "active_number_id": None,
        "status": Status.PENDING,
        "attempt": 0,
        "dry_run": False,
        "channel": "C0NUMBERS",
        "requested_by": "U0ANA",
        "requested_at": at,
        "expires_at": None,
        "decided_by": None,
        "decided_at": None,
        "call_deadline": None,
        "call_started_at": None,
        "card_update_due": None,
        "posting_lease_until": at + 15,
        "card_posted": True,
        "card_ts": f"{at:.6f}",
        "response_url": f"https://hooks.slack.com/commands/T0BENCH/{i}/{'a' * 24}",
        "response_url_replaces": False,
    }


def _open(i: int, at: float, now: float) -> dict[str, Any]:
    """Return a request whose card waits, or whose call is under way."""
    number = f"{'0' * 4}{i:020x}"
    request = _request(i, number, at) | {"active_number_id": number}
    if i % 8 == 1:
        made = {"decided_by": "U0BEN", "decided_at": at + 20, "call_started_at": at + 20, "call_deadline": now + 300}
        return request | made | {"status": Status.CONFIRMED, "attempt": 1}
    return request | {"expires_at": now + FAR, "card_update_due": now + 60 if i % 8 == 2 else None}


def _ended(rows: Rows, i: int, at: float, undelivered_until: float | None) -> None:
    codes = ENDINGS[i * 37 % 100]
    number = OFTEN if i % 10 == 0 else f"e{i % 50_000:023x}"
    by_person = {"decided_by": "U0BEN", "decided_at": at + 20} if codes[0] is not OutcomeCode.EXPIRED else {}
    attempts = 0 if codes[0] in WITHOUT_CALL else len(codes)
    request = _request(i, number, at) | by_person | {"status": codes[-1].status, "attempt": attempts}
    rows[0].append(request)
    for attempt, code in enumerate(codes, start=min(attempts, 1)):
        delivered_at = at + 22 if undelivered_until is None else None
        rows[1].append(
            {
                "request_id": request["id"],
                "attempt": attempt,
                "code": code,
                "message": "Virtual number has been unsubscribed successfully." if attempts else "",
                "retry_at": None,
                "after_unknown": attempt > 1,
                "decided_by": request["decided_by"],
                "decided_at": request["decided_at"],
                "settled_at": at + 21,
                "delivery_attempts": 1,
                "deliver_after": undelivered_until or at + 36,
                "message_posted_at": delivered_at,
                "delivered_at": delivered_at,
                "correction": False,
                "number_id": number,
            }
        )

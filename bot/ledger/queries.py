"""What the ledger holds: single requests, the history, and what waits."""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from typing import Any

import sqlalchemy as sa

from bot.domain.models import Outcome, Request
from bot.domain.status import OutcomeCode, Status
from bot.ledger import statements
from bot.ledger.schema import requests

_OF_REQUEST, _OF_OUTCOME = requests.c.keys(), [column.name for column in statements.OUTCOME_COLUMNS]


def to_outcome(row: sa.RowMapping | dict[str, Any]) -> Outcome:
    """Return the outcome of a row."""
    return Outcome(**{**row, "code": OutcomeCode(row["code"])})


def to_request(row: sa.RowMapping | dict[str, Any], outcome: Outcome | None) -> Request:
    """Return the request of a row; `outcome` is that of its last attempt, if it has ended."""
    return Request(**{**row, "status": Status(row["status"]), "outcome": outcome})


def load_request(db: sa.Connection, row: sa.RowMapping) -> Request:
    """Return the request of a row, with the outcome of its last attempt if it has ended."""
    if Status(row["status"]) in (Status.PENDING, Status.CONFIRMED):
        return to_request(row, None)
    found = db.execute(statements.OUTCOME, {"request": row["id"], "attempt_is": row["attempt"]})
    return to_request(row, to_outcome(found.mappings().one()))


def find(db: sa.Connection, request_id: str) -> Request | None:
    """Return the request of an id, None if there is none."""
    row = db.execute(statements.REQUEST, {"request": request_id}).mappings().one_or_none()
    return None if row is None else load_request(db, row)


def require(db: sa.Connection, request_id: str) -> Request:
    """Return the request of an id that the ledger itself gave out: nothing deletes a row that is still in use."""
    return load_request(db, db.execute(statements.REQUEST, {"request": request_id}).mappings().one())


def open_requests(db: sa.Connection, now: float, limit: int) -> tuple[list[Request], int]:
    """Return the newest requests that a click can still confirm, or whose call is under way; and how many there are."""
    found = db.execute(statements.OPEN_REQUESTS, {"at": now, "limit": limit}).all()
    count = len(found) if len(found) < limit else db.scalar(statements.OPEN_COUNT, {"at": now})
    return [request for request, _ in _with_outcomes(found)], count or 0


def open_numbers(db: sa.Connection, numbers: list[str], now: float) -> set[str]:
    """Return which of these numbers have an open request."""
    return set(db.scalars(statements.OPEN_NUMBERS, {"numbers": numbers, "at": now}))


def latest_outcomes(db: sa.Connection, limit: int) -> list[tuple[Request, Outcome]]:
    """Return the latest outcomes, newest first, each with its request as it is now (without its own outcome)."""
    found = []
    for row in db.execute(statements.LATEST_OUTCOMES, {"limit": limit}):
        request, outcome = _split(row)
        found.append((to_request(request, None), to_outcome(outcome)))
    return found


def history(db: sa.Connection, limit: int) -> list[tuple[Request, list[Outcome]]]:
    """Return the newest requests, newest first, each with its outcomes in their order."""
    return _with_outcomes(db.execute(statements.HISTORY, {"limit": limit}))


def history_page(db: sa.Connection, after: tuple[float, str], limit: int) -> list[tuple[Request, list[Outcome]]]:
    """Return the next requests after this moment and id, oldest first, each with its outcomes in their order."""
    return _with_outcomes(db.execute(statements.HISTORY_PAGE, {"at": after[0], "request": after[1], "limit": limit}))


def gauges(db: sa.Connection, now: float) -> tuple[int, float]:
    """Return how many cards wait for a first click, and the age of the oldest undelivered outcome in seconds (or 0).

    An outcome that a clock far ahead has settled counts as old as it lies ahead: it must not stay without an alert.
    """
    settled_at = db.scalar(statements.OLDEST_UNDELIVERED)
    pending = db.scalar(statements.PENDING_COUNT, {"at": now})
    return pending or 0, 0.0 if settled_at is None else abs(now - settled_at)


def _with_outcomes(rows: Iterable[sa.Row[Any]]) -> list[tuple[Request, list[Outcome]]]:
    found = []
    for _, of_one in itertools.groupby(map(_split, rows), key=lambda parts: parts[0]["id"]):
        parts = list(of_one)
        request = parts[0][0]
        past = [to_outcome(outcome) for _, outcome in parts if outcome["request_id"] is not None]
        # While an attempt is under way, the last outcome is that of the attempt before.
        current = next((outcome for outcome in past if outcome.attempt == request["attempt"]), None)
        found.append((to_request(request, current), past))
    return found


def _split(row: sa.Row[Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the columns of the request, and those of the outcome that follow: some have the same names."""
    values = tuple(row)
    request, outcome = values[: len(_OF_REQUEST)], values[len(_OF_REQUEST) :]
    return dict(zip(_OF_REQUEST, request, strict=True)), dict(zip(_OF_OUTCOME, outcome, strict=True))

"""What the ledger holds: single requests, the history, and what waits."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from bot.domain.models import Outcome, Request
from bot.domain.status import OutcomeCode, Status
from bot.ledger import statements
from bot.ledger.schema import outcomes, requests


def to_outcome(row: sa.RowMapping) -> Outcome:
    """Return the outcome of a row."""
    return Outcome(**{**row, "code": OutcomeCode(row["code"])})


def to_request(row: sa.RowMapping, outcome: Outcome | None) -> Request:
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
    """Return the request of an id that the ledger itself gave out: nothing deletes a row."""
    return load_request(db, db.execute(statements.REQUEST, {"request": request_id}).mappings().one())


def history(db: sa.Connection, since: float, limit: int | None) -> list[tuple[Request, list[Outcome]]]:
    """Return the requests since then, newest first, each with its outcomes in their order."""
    newest = sa.select(requests).where(requests.c.requested_at >= since).order_by(requests.c.requested_at.desc())
    found = []
    for row in db.execute(newest.limit(limit)).mappings().all():
        past = _outcomes_of(db, row["id"])
        # While an attempt is under way, the last outcome is that of the attempt before.
        current = next((outcome for outcome in past if outcome.attempt == row["attempt"]), None)
        found.append((to_request(row, current), past))
    return found


def open_requests(db: sa.Connection, now: float) -> list[Request]:
    """Return the requests that a click can still confirm, or whose call is under way; newest first."""
    is_open = sa.or_(requests.c.expires_at > now, requests.c.status == Status.CONFIRMED)
    newest = sa.select(requests).where(is_open).order_by(requests.c.requested_at.desc())
    return [load_request(db, row) for row in db.execute(newest).mappings().all()]


def last_outcomes(db: sa.Connection, limit: int) -> list[tuple[Request, Outcome]]:
    """Return the last outcomes, newest first, each with its request as it is now."""
    newest = sa.select(outcomes).order_by(outcomes.c.settled_at.desc()).limit(limit)
    found = [to_outcome(row) for row in db.execute(newest).mappings().all()]
    return [(require(db, outcome.request_id), outcome) for outcome in found]


def gauges(db: sa.Connection, now: float) -> tuple[int, float]:
    """Return how many cards wait for a first click, and the age of the oldest undelivered outcome in seconds (or 0)."""
    pending = sa.select(sa.func.count()).where(requests.c.status == Status.PENDING, requests.c.expires_at > now)
    settled_at = db.scalar(sa.select(sa.func.min(outcomes.c.settled_at)).where(outcomes.c.delivered_at.is_(None)))
    return db.scalar(pending) or 0, 0.0 if settled_at is None else max(now - settled_at, 0.0)


def _outcomes_of(db: sa.Connection, request_id: str) -> list[Outcome]:
    found = sa.select(outcomes).where(outcomes.c.request_id == request_id).order_by(outcomes.c.attempt)
    rows: list[Any] = list(db.execute(found).mappings().all())
    return [to_outcome(row) for row in rows]

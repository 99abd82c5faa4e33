"""Removes old requests from the record: only those that have ended, and were delivered and audited."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from bot.domain.status import Status
from bot.ledger import schema
from bot.ledger.schema import outcomes, prunings, requests

# The requests of one transaction. It takes a few milliseconds, in which a click waits for SQLite's one writer.
BATCH = 100

_before: sa.BindParameter[float] = sa.bindparam("before", type_=sa.Double)
_not_over = sa.exists().where(
    outcomes.c.request_id == requests.c.id,
    sa.or_(
        outcomes.c.delivered_at.is_(None),
        outcomes.c.audit_after.is_not(None),
        outcomes.c.settled_at >= _before,
        outcomes.c.delivered_at >= _before,
    ),
)
# A request that can still lead to a call has a deadline or is confirmed. A condition on `active_number_id` would make
# SQLite use that column's index, and read every request for each page.
_prunable = (
    requests.c.requested_at < _before,
    requests.c.expires_at.is_(None),
    requests.c.status.not_in([Status.PENDING, Status.CONFIRMED]),
    requests.c.card_update_due.is_(None),
    sa.not_(_not_over),
)
_COUNT = sa.select(sa.func.count()).select_from(requests).where(*_prunable)
_PAGE = (
    sa.select(requests.c.id, requests.c.requested_at)
    .where(
        sa.tuple_(requests.c.requested_at, requests.c.id) > sa.tuple_(sa.bindparam("at"), sa.bindparam("request")),
        *_prunable,
    )
    .order_by(requests.c.requested_at, requests.c.id)
    .limit(BATCH)
)
_ids: sa.BindParameter[Any] = sa.bindparam("ids", expanding=True)
_DELETE_OUTCOMES = outcomes.delete().where(outcomes.c.request_id.in_(_ids))
_DELETE_REQUESTS = requests.delete().where(requests.c.id.in_(_ids))
_COUNT_MORE = (
    prunings.update()
    .where(prunings.c.pruned_at == sa.bindparam("this"))
    .values(removed=prunings.c.removed + sa.bindparam("more"))
)
_HISTORY = sa.select(prunings).where(prunings.c.pruned_at >= sa.bindparam("since")).order_by(prunings.c.pruned_at)


def count(db: sa.Connection, before: float) -> int:
    """Return how many requests had their last event before this moment."""
    schema.be_patient(db)
    return db.scalar(_COUNT, {"before": before}) or 0


def begin(db: sa.Connection, before: float, now: float) -> None:
    """Record that an operator removes requests now."""
    db.execute(prunings.insert(), {"pruned_at": now, "ended_before": before, "removed": 0})


def page(db: sa.Connection, before: float, after: tuple[float, str]) -> list[tuple[float, str]]:
    """Return the next requests to remove: when each was requested, and its id."""
    schema.be_patient(db)
    found = db.execute(_PAGE, {"before": before, "at": after[0], "request": after[1]})
    return [(row.requested_at, row.id) for row in found]


def remove(db: sa.Connection, ids: list[str], pruned_at: float) -> int:
    """Remove requests with their outcomes, and count them in the record; return how many there were."""
    if db.dialect.name == "sqlite":
        db.exec_driver_sql("PRAGMA secure_delete = ON")  # people's words must not stay in free pages of the file
    db.execute(_DELETE_OUTCOMES, {"ids": ids})
    removed = db.execute(_DELETE_REQUESTS, {"ids": ids}).rowcount
    db.execute(_COUNT_MORE, {"this": pruned_at, "more": removed})
    return removed


def history(db: sa.Connection, since: float) -> list[tuple[float, float, int]]:
    """Return each removal since then: its time, the moment before which requests had ended, and their number."""
    return [(row.pruned_at, row.ended_before, row.removed) for row in db.execute(_HISTORY, {"since": since})]

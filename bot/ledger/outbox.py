"""What is still to be shown in Slack: outcomes to deliver, audit lines, and cards that may show an older state."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import sqlalchemy as sa

from bot.domain.models import AuditLine, Click, DueWork, Outcome, Request
from bot.ledger import queries, statements
from bot.ledger.transitions import LEASE, card_of


def anything_due(db: sa.Connection, now: float) -> bool:
    """Return whether a sweep would find anything."""
    return bool(db.scalar(statements.ANYTHING_DUE, {"at": now}))


def claim_due(db: sa.Connection, now: float) -> DueWork:
    """Claim the outcomes and cards that are due: until the lease is over no other replica takes them.

    A reminder is taken for good: at most one is posted.
    """
    found = db.execute(statements.OUTCOMES_DUE, {"at": now}).mappings().all()
    outcomes = [_claim(db, queries.to_outcome(row), now + LEASE) for row in found]
    cards = [
        _claim_card(db, {"request": row.id, "due": now + LEASE})
        for row in db.execute(statements.CARDS_DUE, {"at": now}).all()
    ]
    reminders = db.execute(statements.REMINDERS_DUE, {"at": now}).all()
    taken = [db.execute(statements.TAKE_REMINDER, {"request": row.id, "at": now}) for row in reminders]
    return DueWork(outcomes, cards, [queries.to_request(row, None) for found in taken for row in found.mappings()])


def message_posted(db: sa.Connection, outcome: Outcome, now: float) -> None:
    """Store that Slack accepted the message of an outcome: it is not posted again."""
    _mark(db, outcome, message_posted_at=now)


def delivered(db: sa.Connection, outcome: Outcome, now: float) -> None:
    """Store that an outcome is delivered in full."""
    _mark(db, outcome, delivered_at=now)


def defer_delivery(db: sa.Connection, outcome: Outcome, until: float, undeliverable_since: float | None) -> None:
    """Give the delivery back: it is due again at `until`, unless it was claimed again since."""
    values = {"deliver_after": until, "undeliverable_since": undeliverable_since}
    db.execute(
        statements.DEFER_OUTCOME, _as_claimed(outcome) | {"claimed_attempts": outcome.delivery_attempts} | values
    )


def close_outcomes(db: sa.Connection, request_id: str, now: float) -> list[Outcome]:
    """Close what is undelivered of a request by hand; return it."""
    rows = db.execute(statements.CLOSE_OUTCOMES, {"request": request_id, "at": now}).mappings().all()
    return sorted((queries.to_outcome(row) for row in rows), key=lambda outcome: outcome.attempt)


def audit_due(db: sa.Connection, now: float) -> bool:
    """Return whether an audit line is due."""
    return db.execute(statements.ANY_AUDIT_DUE, {"at": now}).first() is not None


def claim_audit(db: sa.Connection, now: float) -> AuditLine | None:
    """Claim the audit line that has been due longest: until the lease is over no other replica posts it."""
    found = db.execute(statements.AUDIT_DUE, {"at": now}).mappings().one_or_none()
    if found is None:
        return None
    outcome = queries.to_outcome(found)
    db.execute(statements.CHANGE_OUTCOME, _this(outcome) | {"audit_after": now + LEASE})
    request = db.execute(statements.REQUEST, {"request": outcome.request_id}).mappings().one()
    return AuditLine(queries.to_request(request, None), outcome, now + LEASE)


def hasten_audits(db: sa.Connection, now: float) -> None:
    """Make audit lines due at once that are due later than any claim is long."""
    db.execute(statements.HASTEN_AUDITS, {"at": now})


def change_audit(db: sa.Connection, line: AuditLine, audit_after: float | None) -> None:
    """End the claim on an audit line: it is due again later, or never."""
    values = {"claimed_until": line.claimed_until, "posted_code": line.outcome.code, "audit_after": audit_after}
    db.execute(statements.CHANGE_AUDIT, _this(line.outcome) | values)


def remind_later(db: sa.Connection, request_id: str, at: float) -> None:
    """Give a reminder back that was not posted: it is due again, unless the request was decided or ends before."""
    db.execute(statements.REMIND_LATER, {"request": request_id, "at": at, "remind_at": at})


def extend_posting(db: sa.Connection, request_id: str, until: float) -> None:
    """Extend the time in which this replica posts a card that is not posted yet."""
    db.execute(statements.EXTEND_POSTING, {"request": request_id, "posting_lease_until": until})


def card_posted(db: sa.Connection, request_id: str, ts: str | None) -> Request:
    """Store where the card is (`ts` is None if it was posted by response_url); return the request as it is now.

    It may have changed while the card was on its way.
    """
    row = db.execute(statements.CARD_POSTED, {"request": request_id, "ts": ts}).mappings().one()
    return queries.load_request(db, row)


def card_lost(db: sa.Connection, request_id: str) -> bool:
    """Store that nobody knows of a card, so that the next request replaces this one.

    Return False if somebody has clicked the card, or the request has ended.
    """
    return db.execute(statements.CARD_LOST, {"request": request_id}).rowcount == 1


def card_stale(db: sa.Connection, request_id: str, now: float) -> None:
    """Store that the card may show an older state: a sweep updates it when any update of now must have landed."""
    _claim_card(db, {"request": request_id, "due": now + LEASE})


def card_clicked(db: sa.Connection, click: Click) -> None:
    """Store where a card is whose click changed nothing, and that it may show an older state."""
    _claim_card(db, {"request": click.request_id, "due": click.now + LEASE} | card_of(click))


def card_updated(db: sa.Connection, shown: Request, due: float) -> None:
    """End the claim `due` of a sweep, unless the request has changed or was claimed again since."""
    values = {"request": shown.id, "due": due, "attempt_is": shown.attempt}
    db.execute(statements.CARD_UPDATED, values | {"shown_status": shown.status, "shown_expires_at": shown.expires_at})


def _this(outcome: Outcome) -> dict[str, Any]:
    return {"request": outcome.request_id, "attempt_is": outcome.attempt}


def _claim(db: sa.Connection, outcome: Outcome, until: float) -> Outcome:
    claimed = replace(outcome, deliver_after=until, delivery_attempts=outcome.delivery_attempts + 1)
    values = {"deliver_after": claimed.deliver_after, "delivery_attempts": claimed.delivery_attempts}
    db.execute(statements.CHANGE_OUTCOME, _this(outcome) | values)
    return claimed


def _as_claimed(outcome: Outcome) -> dict[str, Any]:
    return _this(outcome) | {"delivered_code": outcome.code}


def _mark(db: sa.Connection, outcome: Outcome, **values: float) -> None:
    db.execute(statements.MARK_OUTCOME, _as_claimed(outcome) | values)


def _claim_card(db: sa.Connection, values: dict[str, Any]) -> Request:
    return queries.load_request(db, db.execute(statements.CLAIM_CARD, values).mappings().one())

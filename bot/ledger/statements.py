"""The statements of a request's life, built once: building one takes several times what running it does.

Parameters: `request` (its id), `attempt_is` (the attempt's number), `at` (the moment), and the columns to set. Each
transition carries its own guard, so that exactly one of several who try it changes the row.
"""

from __future__ import annotations

import sqlalchemy as sa

from bot.domain.status import OutcomeCode, Status
from bot.ledger.schema import outcomes, requests

_id: sa.BindParameter[str] = sa.bindparam("request")
_number: sa.BindParameter[str] = sa.bindparam("number")
_attempt: sa.BindParameter[int] = sa.bindparam("attempt_is")
_at: sa.BindParameter[float] = sa.bindparam("at")
_due: sa.BindParameter[float] = sa.bindparam("due", type_=sa.Double)
BATCH = 20  # how much one sweep claims of each kind

_this = requests.c.id == _id
_update = requests.update().where(_this)
_is_pending = requests.c.status == Status.PENDING
_is_confirmed = requests.c.status == Status.CONFIRMED

REQUEST = sa.select(requests).where(_this)
LOCK_REQUEST = REQUEST.with_for_update()
CREATE = requests.insert()
ACTIVE = sa.select(requests).where(requests.c.active_number_id == _number)
ACTIVE_OVERDUE = ACTIVE.where(requests.c.expires_at <= _at).with_for_update()
# Nobody knows of a card of it: the next request replaces it.
ACTIVE_WITHOUT_CARD = ACTIVE.where(
    _is_pending, requests.c.card_posted.is_(False), requests.c.posting_lease_until <= _at
).with_for_update()

# Transitions.
CONFIRM = _update.where(
    requests.c.status.in_([Status.PENDING, Status.REFUSED, Status.UNKNOWN]),
    requests.c.attempt == _attempt,
    requests.c.expires_at > _at,
    requests.c.requested_by != sa.bindparam("unless_requested_by"),
).returning(requests)
START_CALL = _update.where(_is_confirmed, requests.c.attempt == _attempt)
_close = _update.where(_is_pending).values(expires_at=None, active_number_id=None)
KEEP = _close.where(requests.c.expires_at > _at).values(status=Status.KEPT).returning(requests)
EXPIRE = _close.where(requests.c.expires_at <= _at).values(status=Status.EXPIRED).returning(requests)
REPLACE = _close.values(status=Status.REPLACED).returning(requests)
SETTLE = _update.where(_is_confirmed, requests.c.attempt == _attempt).values(call_deadline=None).returning(requests)
# The attempt that this very click confirmed, if its call has not begun.
SETTLE_UNSTARTED = SETTLE.where(
    requests.c.call_started_at.is_(None),
    requests.c.decided_by == sa.bindparam("clicked_by"),
    requests.c.decided_at == sa.bindparam("clicked_at"),
)
END_OFFER = _update.values(active_number_id=None, expires_at=None, card_update_due=_at)
CORRECT = _update.where(requests.c.status == Status.UNKNOWN, requests.c.attempt == _attempt)
CORRECT_HELD = CORRECT.where(requests.c.active_number_id.is_not(None))

# The card. Each claim on it is later than the one before, so none ends another.
CLAIM_CARD = _update.values(
    card_update_due=sa.case((requests.c.card_update_due >= _due, requests.c.card_update_due + 0.001), else_=_due)
).returning(requests)
CARD_POSTED = _update.values(
    card_posted=True, card_ts=sa.func.coalesce(requests.c.card_ts, sa.bindparam("ts"))
).returning(requests)
CARD_LOST = _update.where(_is_pending, requests.c.card_posted.is_(False)).values(posting_lease_until=0.0)
CARD_UPDATED = _update.where(
    requests.c.card_update_due == _due,
    requests.c.status == sa.bindparam("shown_status"),
    requests.c.attempt == _attempt,
    requests.c.expires_at.is_not_distinct_from(sa.bindparam("shown_expires_at", type_=sa.Double)),
).values(card_update_due=None)

# Outcomes.
OUTCOME = sa.select(outcomes).where(outcomes.c.request_id == _id, outcomes.c.attempt == _attempt)
INTERRUPTED_OUTCOME = OUTCOME.where(outcomes.c.code == OutcomeCode.INTERRUPTED).with_for_update()
CREATE_OUTCOME = outcomes.insert()
CHANGE_OUTCOME = outcomes.update().where(outcomes.c.request_id == _id, outcomes.c.attempt == _attempt)
# Whoever delivers an outcome marks only that one: it may have been corrected meanwhile.
MARK_OUTCOME = CHANGE_OUTCOME.where(
    outcomes.c.delivered_at.is_(None), outcomes.c.code == sa.bindparam("delivered_code")
)
# A replica whose lease is over gives nothing back: another one may hold the delivery by now.
DEFER_OUTCOME = MARK_OUTCOME.where(outcomes.c.delivery_attempts == sa.bindparam("claimed_attempts"))
# A delivery in progress and an operator both look for delivered_at: the first of them ends it.
CLOSE_OUTCOMES = (
    outcomes.update()
    .where(outcomes.c.request_id == _id, outcomes.c.delivered_at.is_(None))
    .values(delivered_at=_at, closed_at=_at)
    .returning(outcomes)
)
UNKNOWN_BEFORE = (
    sa.select(sa.literal(1))
    .select_from(outcomes.join(requests, requests.c.id == outcomes.c.request_id))
    .where(requests.c.number_id == _number)
    .where(outcomes.c.code.in_([code for code in OutcomeCode if code.status is Status.UNKNOWN]))
    .limit(1)
)

# The sweep. What another replica holds at this moment it closes itself; SQLite has one writer anyway.
_is_overdue = sa.or_(requests.c.expires_at <= _at, sa.and_(_is_confirmed, requests.c.call_deadline <= _at))
_is_deliverable = sa.and_(outcomes.c.delivered_at.is_(None), outcomes.c.deliver_after <= _at)
_is_card_due = requests.c.card_update_due <= _at
OVERDUE = sa.select(requests).where(_is_overdue).with_for_update(skip_locked=True)
OUTCOMES_DUE = (
    sa.select(outcomes)
    .where(_is_deliverable)
    .order_by(outcomes.c.delivery_attempts, outcomes.c.deliver_after)  # what fails again and again holds up no other
    .limit(BATCH)
    .with_for_update(skip_locked=True)
)
CARDS_DUE = (
    sa.select(requests)
    .where(_is_card_due)
    .order_by(requests.c.card_update_due)
    .limit(BATCH)
    .with_for_update(skip_locked=True)
)
ANYTHING_DUE = sa.select(
    sa.or_(
        sa.exists(sa.select(sa.literal(1)).where(_is_card_due).select_from(requests)),
        sa.exists(sa.select(sa.literal(1)).where(_is_overdue).select_from(requests)),
        sa.exists(sa.select(sa.literal(1)).where(_is_deliverable).select_from(outcomes)),
    )
)

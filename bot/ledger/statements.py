"""The statements of a request's life, built once: building one takes several times what running it does.

Parameters: `request` (its id), `attempt_is` (the attempt's number), `at` (the moment), and the columns to set. Each
transition carries its own guard, so that exactly one of several who try it changes the row.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from bot.domain.status import OutcomeCode, Status
from bot.ledger.schema import outcomes, requests

_id: sa.BindParameter[str] = sa.bindparam("request")
_number: sa.BindParameter[str] = sa.bindparam("number")
_attempt: sa.BindParameter[int] = sa.bindparam("attempt_is")
_at: sa.BindParameter[float] = sa.bindparam("at")
_until: sa.BindParameter[float] = sa.bindparam("due", type_=sa.Double)
_limit: sa.BindParameter[int] = sa.bindparam("limit")
BATCH = 20  # how much one sweep claims of each kind
# Seconds. A stored time further ahead than these was written by a clock that has since been set back: the longest wait
# that the bot sets, plus a minute because clocks differ.
CLOCKS_APART = 60.0
LONGEST_LEASE = 15.0 + CLOCKS_APART
LONGEST_CALL = 305.0 + CLOCKS_APART  # the highest CELLCAST_TIMEOUT_SECONDS, and its grace
LONGEST_RETRY = 900.0 + CLOCKS_APART  # the longest Retry-After that counts
LONGEST_RETRY_IF_REJECTED = 4 * 3600.0 + CLOCKS_APART
# What an Outcome holds: the number is its request's, and the audit line is claimed separately.
OUTCOME_COLUMNS = [column for column in outcomes.c if column.name not in ("number_id", "audit_after")]

_this = requests.c.id == _id
_update = requests.update().where(_this)
_is_pending = requests.c.status == Status.PENDING
_is_confirmed = requests.c.status == Status.CONFIRMED

REQUEST = sa.select(requests).where(_this)
LOCK_REQUEST = REQUEST.with_for_update()
CREATE = requests.insert()
ACTIVE = sa.select(requests).where(requests.c.active_number_id == _number)
ALL_ACTIVE = (
    sa.select(requests)
    .where(requests.c.active_number_id.is_not(None))
    .order_by(requests.c.requested_at)
    .with_for_update()
)
ACTIVE_OVERDUE = ACTIVE.where(requests.c.expires_at <= _at).with_for_update()
# Nobody knows of a card of it: the next request replaces it.
ACTIVE_WITHOUT_CARD = ACTIVE.where(
    _is_pending,
    requests.c.card_posted.is_(False),
    sa.or_(requests.c.posting_lease_until <= _at, requests.c.posting_lease_until > _at + LONGEST_LEASE),
).with_for_update()

# Transitions.
CONFIRM = _update.where(
    requests.c.status.in_([Status.PENDING, Status.REFUSED, Status.UNKNOWN]),
    requests.c.attempt == _attempt,
    requests.c.expires_at > _at,
    requests.c.requested_by != sa.bindparam("unless_requested_by"),
    sa.or_(requests.c.warning.is_(None), sa.bindparam("typed", type_=sa.Boolean)),
).returning(requests)
START_CALL = _update.where(_is_confirmed, requests.c.attempt == _attempt)
_close = _update.where(_is_pending).values(expires_at=None, active_number_id=None, remind_at=None)
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
# What is open in a restored backup; CLOSE_RESTORED and the statements after it end what is due there.
SETTLE_RESTORED = _update.values(
    active_number_id=None, expires_at=None, call_deadline=None, remind_at=None, posting_lease_until=0.0
).returning(requests)
END_OFFER = _update.values(active_number_id=None, expires_at=None, card_update_due=_at)
CORRECT = _update.where(requests.c.status == Status.UNKNOWN, requests.c.attempt == _attempt)
CORRECT_HELD = CORRECT.where(requests.c.active_number_id.is_not(None))

# The card. Each claim on it is later than the one before, so none ends another.
CLAIM_CARD = _update.values(
    card_update_due=sa.case(
        (
            requests.c.card_update_due.between(_until, _until + LONGEST_LEASE),
            requests.c.card_update_due + 0.001,
        ),
        else_=_until,
    )
).returning(requests)
CARD_POSTED = _update.values(
    card_posted=True, card_ts=sa.func.coalesce(requests.c.card_ts, sa.bindparam("ts"))
).returning(requests)
# Nobody else replaces a request whose card still waits for its turn.
EXTEND_POSTING = _update.where(_is_pending, requests.c.card_posted.is_(False))
CARD_LOST = _update.where(_is_pending, requests.c.card_posted.is_(False)).values(posting_lease_until=0.0)
CARD_UPDATED = _update.where(
    requests.c.card_update_due == _until,
    requests.c.status == sa.bindparam("shown_status"),
    requests.c.attempt == _attempt,
    requests.c.expires_at.is_not_distinct_from(sa.bindparam("shown_expires_at", type_=sa.Double)),
).values(card_update_due=None)

# One replica takes a reminder and posts it. It gives that back only if Slack said that it did not post it.
TAKE_REMINDER = (
    _update.where(_is_pending, requests.c.remind_at <= _at, requests.c.expires_at > _at)
    .values(remind_at=None)
    .returning(requests)
)
REMIND_LATER = _update.where(_is_pending, requests.c.expires_at > _at)

# Outcomes.
_this_outcome = sa.and_(outcomes.c.request_id == _id, outcomes.c.attempt == _attempt)
OUTCOME = sa.select(*OUTCOME_COLUMNS).where(_this_outcome)
# What another replica, or an operator who restored a backup, has settled without knowing the answer to the call.
UNANSWERED_OUTCOME = (
    sa.select(outcomes)
    .where(_this_outcome, outcomes.c.code.in_([OutcomeCode.INTERRUPTED, OutcomeCode.RESTORED]))
    .with_for_update()
)
CREATE_OUTCOME = outcomes.insert()
CHANGE_OUTCOME = outcomes.update().where(_this_outcome)
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
    .returning(*OUTCOME_COLUMNS)
)
# What `restored` itself has settled stays due if it runs again before the bot starts.
CLOSE_RESTORED = (
    outcomes.update()
    .where(outcomes.c.delivered_at.is_(None), outcomes.c.code != OutcomeCode.RESTORED)
    .values(delivered_at=_at, closed_at=_at)
    .returning(*OUTCOME_COLUMNS)
)
DROP_AUDITS = (
    outcomes.update()
    .where(outcomes.c.audit_after.is_not(None), outcomes.c.code != OutcomeCode.RESTORED)
    .values(audit_after=None)
)
DROP_CARD_UPDATES = requests.update().where(requests.c.card_update_due.is_not(None)).values(card_update_due=None)
# Only the replica that holds the claim on an audit line ends or moves it, and only for the outcome that it posted.
CHANGE_AUDIT = CHANGE_OUTCOME.where(
    outcomes.c.audit_after == sa.bindparam("claimed_until", type_=sa.Double),
    outcomes.c.code == sa.bindparam("posted_code"),
)
# Counted: PostgreSQL would look for the first one of a frequent number in the whole table.
UNKNOWN_BEFORE = (
    sa.select(sa.func.count())
    .select_from(outcomes)
    .where(outcomes.c.number_id == _number)
    .where(outcomes.c.code.in_([code for code in OutcomeCode if code.status is Status.UNKNOWN]))
)

# The sweep. What another replica holds at this moment it closes itself; SQLite has one writer anyway. Each statement
# reads one small index from its beginning, so it costs the same however many requests there are.
_is_call_overdue = sa.and_(_is_confirmed, requests.c.call_deadline <= _at)
_is_undelivered = outcomes.c.delivered_at.is_(None)
_is_not_rejected = outcomes.c.undeliverable_since.is_(None)
_is_fresh = outcomes.c.delivery_attempts == 0
_is_deliverable = sa.and_(_is_undelivered, outcomes.c.deliver_after <= _at)
_undelivered = outcomes.update().where(_is_undelivered).values(deliver_after=_at)
# What was stored by a clock that has been set back since becomes due now.
MAKE_DUE_NOW = [
    requests.update().where(requests.c.card_update_due > _at + LONGEST_LEASE).values(card_update_due=_at),
    requests.update().where(_is_confirmed, requests.c.call_deadline > _at + LONGEST_CALL).values(call_deadline=_at),
    _undelivered.where(_is_fresh, outcomes.c.deliver_after > _at + LONGEST_LEASE),
    _undelivered.where(_is_not_rejected, outcomes.c.deliver_after > _at + LONGEST_RETRY),
    _undelivered.where(outcomes.c.deliver_after > _at + LONGEST_RETRY_IF_REJECTED),
]


def _due(rows: sa.Select[Any], order: tuple[sa.Column[Any], ...], limit: sa.BindParameter[int] | int) -> sa.Select[Any]:
    return rows.order_by(*order).limit(limit).with_for_update(skip_locked=True)


CALLS_OVERDUE = _due(sa.select(requests).where(_is_call_overdue), (requests.c.call_deadline,), _limit)
CARDS_OVERDUE = _due(sa.select(requests).where(requests.c.expires_at <= _at), (requests.c.expires_at,), _limit)
# What fails again and again holds up no other.
OUTCOMES_DUE = _due(
    sa.select(*OUTCOME_COLUMNS).where(_is_deliverable), (outcomes.c.delivery_attempts, outcomes.c.deliver_after), BATCH
)
REMINDERS_DUE = _due(
    sa.select(requests.c.id).where(requests.c.remind_at <= _at, _is_pending), (requests.c.remind_at,), BATCH
)
# A line that a clock wrote which has been set back since is due too.
_is_audit_due = sa.or_(
    outcomes.c.audit_after <= _at,
    outcomes.c.audit_after > _at + LONGEST_RETRY_IF_REJECTED,
    sa.and_(outcomes.c.audit_after > _at + LONGEST_LEASE, outcomes.c.settled_at > _at + CLOCKS_APART),
)
_audits = (outcomes.c.audit_after.is_not(None), _is_audit_due)
HASTEN_AUDITS = outcomes.update().where(outcomes.c.audit_after > _at + LONGEST_LEASE).values(audit_after=_at)
ANY_AUDIT_DUE = sa.select(outcomes.c.request_id).where(*_audits).order_by(outcomes.c.audit_after).limit(1)
AUDIT_DUE = _due(sa.select(*OUTCOME_COLUMNS).where(*_audits), (outcomes.c.audit_after,), 1)
CARDS_DUE = _due(sa.select(requests).where(requests.c.card_update_due <= _at), (requests.c.card_update_due,), BATCH)


def _first(column: sa.Column[float], *where: sa.ColumnElement[bool]) -> sa.ScalarSelect[Any]:
    # The smallest value, and not "is there any": PostgreSQL would look for any in the whole table.
    return sa.select(sa.func.min(column)).where(column.is_not(None), *where).scalar_subquery()


def _far_ahead(column: sa.Column[float], longest: float, *where: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    return _first(column, column > _at + longest, *where).is_not(None)


ANYTHING_DUE = sa.select(
    sa.or_(
        _first(requests.c.card_update_due) <= _at,
        _far_ahead(requests.c.card_update_due, LONGEST_LEASE),
        _first(requests.c.remind_at, _is_pending) <= _at,
        _first(requests.c.expires_at) <= _at,
        _first(requests.c.call_deadline, _is_confirmed) <= _at,
        _far_ahead(requests.c.call_deadline, LONGEST_CALL, _is_confirmed),
        _first(outcomes.c.deliver_after, _is_undelivered) <= _at,
        _far_ahead(outcomes.c.deliver_after, LONGEST_LEASE, _is_undelivered, _is_fresh),
        _far_ahead(outcomes.c.deliver_after, LONGEST_RETRY, _is_undelivered, _is_not_rejected),
        _far_ahead(outcomes.c.deliver_after, LONGEST_RETRY_IF_REJECTED, _is_undelivered),
    )
)

# What people read. A request comes with its outcomes, an outcome with its request: one statement, and no more rows than
# are shown. The columns of the request come first.
_is_open = sa.or_(requests.c.expires_at > _at, _is_confirmed)
# Every open request holds its number: the index of those that do is short, and has them in their order.
OPEN_REQUESTS = (
    sa.select(requests, *OUTCOME_COLUMNS)
    .outerjoin_from(
        requests, outcomes, sa.and_(outcomes.c.request_id == requests.c.id, outcomes.c.attempt == requests.c.attempt)
    )
    .where(requests.c.active_number_id.is_not(None), _is_open)
    .order_by(requests.c.requested_at.desc())
    .limit(_limit)
)
OPEN_COUNT = sa.select(
    sa.select(sa.func.count()).where(requests.c.expires_at > _at).scalar_subquery()
    + sa.select(sa.func.count()).where(requests.c.call_deadline.is_not(None), _is_confirmed).scalar_subquery()
)
OPEN_NUMBERS = sa.select(requests.c.number_id).where(
    requests.c.active_number_id.in_(sa.bindparam("numbers", expanding=True)), _is_open
)
_latest = sa.select(*OUTCOME_COLUMNS).order_by(outcomes.c.settled_at.desc()).limit(_limit).subquery()
LATEST_OUTCOMES = (
    sa.select(requests, _latest)
    .join_from(_latest, requests, requests.c.id == _latest.c.request_id)
    .order_by(_latest.c.settled_at.desc())
)


def _with_outcomes(some: sa.Subquery, *order: sa.ColumnElement[Any]) -> sa.Select[Any]:
    joined = sa.select(some, *OUTCOME_COLUMNS).outerjoin_from(some, outcomes, outcomes.c.request_id == some.c.id)
    return joined.order_by(*order, outcomes.c.attempt)


_newest = sa.select(requests).order_by(requests.c.requested_at.desc(), requests.c.id.desc()).limit(_limit).subquery()
HISTORY = _with_outcomes(_newest, _newest.c.requested_at.desc(), _newest.c.id.desc())
# A page begins after the last request of the page before: no row is read only to be skipped.
_page = (
    sa.select(requests)
    .where(sa.tuple_(requests.c.requested_at, requests.c.id) > sa.tuple_(_at, _id))
    .order_by(requests.c.requested_at, requests.c.id)
    .limit(_limit)
    .subquery()
)
HISTORY_PAGE = _with_outcomes(_page, _page.c.requested_at, _page.c.id)
PENDING_COUNT = sa.select(sa.func.count()).where(requests.c.expires_at > _at, _is_pending)
OLDEST_UNDELIVERED = sa.select(sa.func.min(outcomes.c.settled_at)).where(outcomes.c.delivered_at.is_(None))

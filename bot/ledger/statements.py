"""The ledger's tables, and the statements of a request's life.

A statement that every request needs is built once: building it anew takes several times what running it does. It is
run with the parameters named here (`of` which row, `nth` which attempt, `at` what moment) and the columns to set.
"""

from __future__ import annotations

import sqlalchemy as sa

from bot.domain.status import OutcomeCode, Status

METADATA = sa.MetaData()
version = sa.Table("ledger_version", METADATA, sa.Column("version", sa.Integer, primary_key=True))
requests = sa.Table(
    "requests",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("number_id", sa.String(24), nullable=False),
    # What the list of numbers called it when it was asked: this is what people confirm.
    sa.Column("phone", sa.String(40)),
    sa.Column("label", sa.Text),
    sa.Column("reason", sa.Text),
    # Holds the number while the request can still lead to a call: no two open cards for one number.
    sa.Column("active_number_id", sa.String(24), unique=True),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("dry_run", sa.Boolean, nullable=False),
    sa.Column("channel", sa.String(32), nullable=False),
    sa.Column("requested_by", sa.String(32), nullable=False),
    sa.Column("requested_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double),
    sa.Column("decided_by", sa.String(32)),
    sa.Column("decided_at", sa.Double),
    sa.Column("call_deadline", sa.Double),
    # Stored just before the call of the current attempt: an interrupted attempt without it sent nothing.
    sa.Column("call_started_at", sa.Double),
    # From this moment on the sweep updates the card, because it may show an older state.
    sa.Column("card_update_due", sa.Double),
    sa.Column("posting_lease_until", sa.Double, nullable=False),
    sa.Column("card_posted", sa.Boolean, nullable=False),
    sa.Column("card_ts", sa.String(32)),
    sa.Column("response_url", sa.Text),
    sa.Column("response_url_replaces", sa.Boolean, nullable=False),
    sa.Index("requests_by_number", "number_id"),
    sa.Index("requests_by_creation", "requested_at"),
    sa.Index("requests_by_deadline", "expires_at"),
    sa.Index("requests_by_call_deadline", "call_deadline"),
    sa.Index("requests_by_card_update", "card_update_due"),
)
outcomes = sa.Table(
    "outcomes",
    METADATA,
    sa.Column("request_id", sa.ForeignKey("requests.id"), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("code", sa.String(32), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("retry_at", sa.Double),
    sa.Column("after_unknown", sa.Boolean, nullable=False),
    sa.Column("decided_by", sa.String(32)),
    sa.Column("decided_at", sa.Double),
    sa.Column("settled_at", sa.Double, nullable=False),
    sa.Column("delivery_attempts", sa.Integer, nullable=False),
    sa.Column("deliver_after", sa.Double, nullable=False),
    sa.Column("message_posted_at", sa.Double),
    sa.Column("delivered_at", sa.Double),
    # It replaces an outcome that people may have read.
    sa.Column("correction", sa.Boolean, nullable=False),
    sa.Index("outcomes_by_settlement", "settled_at"),
    sa.Index("outcomes_undelivered", "delivered_at", "deliver_after"),
)

of: sa.BindParameter[str] = sa.bindparam("of")
nth: sa.BindParameter[int] = sa.bindparam("nth")
at: sa.BindParameter[float] = sa.bindparam("at")
_this = requests.c.id == of
_open_for = requests.c.active_number_id == of

REQUEST = sa.select(requests).where(_this)
LOCK = REQUEST.with_for_update()
ASK = requests.insert()
OPEN_FOR = sa.select(requests).where(_open_for)
OVERDUE_FOR = OPEN_FOR.where(requests.c.expires_at <= at).with_for_update()
# Nobody knows of a card of it: the next asking replaces it.
LOST_FOR = OPEN_FOR.where(
    requests.c.status == Status.PENDING,
    requests.c.card_posted.is_(False),
    requests.c.posting_lease_until <= at,
).with_for_update()
CHANGE = requests.update().where(_this)
# Each claim on a card is later than the one before, so none ends another.
_due = sa.bindparam("due", type_=sa.Double)
CLAIM_CARD = CHANGE.values(
    card_update_due=sa.case((requests.c.card_update_due >= _due, requests.c.card_update_due + 0.001), else_=_due)
).returning(requests)
CARD_LOST = CHANGE.where(requests.c.status == Status.PENDING, requests.c.card_posted.is_(False)).values(
    posting_lease_until=0.0
)
CARD_UPDATED = CHANGE.where(
    requests.c.card_update_due == _due,
    requests.c.status == sa.bindparam("shown_status"),
    requests.c.attempt == nth,
    requests.c.expires_at.is_not_distinct_from(sa.bindparam("shown_expires_at", type_=sa.Double)),
).values(card_update_due=None)
CARD_POSTED = CHANGE.values(
    card_posted=True, card_ts=sa.func.coalesce(requests.c.card_ts, sa.bindparam("ts"))
).returning(requests)

# The arrows of a request's life.
CONFIRM = (
    requests.update()
    .where(
        _this,
        requests.c.status.in_([Status.PENDING, Status.REFUSED, Status.UNKNOWN]),
        requests.c.attempt == nth,
        requests.c.expires_at > at,
        requests.c.requested_by != sa.bindparam("unless_requested_by"),
    )
    .returning(requests)
)
END = (
    requests.update()
    .where(_this, requests.c.status == sa.bindparam("was"), requests.c.attempt == nth)
    .returning(requests)
)
# A yes of this press whose call has not begun.
SETTLE_UNSTARTED = END.where(
    requests.c.call_started_at.is_(None),
    requests.c.decided_by == sa.bindparam("pressed_by"),
    requests.c.decided_at == sa.bindparam("pressed_at"),
)
START_CALL = CHANGE.where(requests.c.status == Status.CONFIRMED, requests.c.attempt == nth)
END_IN_TIME = END.where(requests.c.expires_at > at)
END_TOO_LATE = END.where(requests.c.expires_at <= at)

ENDING = sa.select(outcomes).where(outcomes.c.request_id == of, outcomes.c.attempt == nth)
WRITE_ENDING = outcomes.insert()
CHANGE_ENDING = outcomes.update().where(outcomes.c.request_id == of, outcomes.c.attempt == nth)
# A teller marks only what it told: the outcome may have been corrected meanwhile.
CHANGE_UNTOLD = CHANGE_ENDING.where(
    outcomes.c.delivered_at.is_(None), outcomes.c.code == sa.bindparam("delivered_code")
)
LOST_ENDING = ENDING.where(outcomes.c.code == OutcomeCode.INTERRUPTED).with_for_update()
CORRECT = CHANGE.where(requests.c.status == Status.UNKNOWN, requests.c.attempt == nth)
CORRECT_HELD = CORRECT.where(requests.c.active_number_id.is_not(None))
ENDED_UNKNOWN = (
    sa.select(sa.literal(1))
    .select_from(outcomes.join(requests, requests.c.id == outcomes.c.request_id))
    .where(
        requests.c.number_id == of, outcomes.c.code.in_([kind for kind in OutcomeCode if kind.status is Status.UNKNOWN])
    )
    .limit(1)
)

# The sweep. What another copy holds at this moment it closes itself; SQLite has one writer anyway.
_overdue = sa.or_(
    requests.c.expires_at <= at, sa.and_(requests.c.status == Status.CONFIRMED, requests.c.call_deadline <= at)
)
_untold = sa.and_(outcomes.c.delivered_at.is_(None), outcomes.c.deliver_after <= at)
_card_update_due = requests.c.card_update_due <= at
OVERDUE = sa.select(requests).where(_overdue).with_for_update(skip_locked=True)
UNTOLD = (
    sa.select(outcomes).where(_untold).order_by(outcomes.c.deliver_after).limit(20).with_for_update(skip_locked=True)
)
CARDS_DUE = (
    sa.select(requests)
    .where(_card_update_due)
    .order_by(requests.c.card_update_due)
    .limit(20)
    .with_for_update(skip_locked=True)
)
ANYTHING_DUE = sa.select(
    sa.or_(
        sa.exists(sa.select(sa.literal(1)).where(_card_update_due).select_from(requests)),
        sa.exists(sa.select(sa.literal(1)).where(_overdue).select_from(requests)),
        sa.exists(sa.select(sa.literal(1)).where(_untold).select_from(outcomes)),
    )
)

"""The ledger's tables, and the statements of a request's life.

A statement that every request needs is built once: building it anew takes several times what running it does. It is
run with the parameters named here (`of` which row, `nth` which attempt, `at` what moment) and the columns to set.
"""

from __future__ import annotations

import sqlalchemy as sa

from bot.outcome import Kind, State

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
    sa.Column("open_number", sa.String(24), unique=True),
    sa.Column("state", sa.String(16), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("dry_run", sa.Boolean, nullable=False),
    sa.Column("channel", sa.String(32), nullable=False),
    sa.Column("asked_by", sa.String(32), nullable=False),
    sa.Column("asked_at", sa.Double, nullable=False),
    sa.Column("open_until", sa.Double),
    sa.Column("decided_by", sa.String(32)),
    sa.Column("decided_at", sa.Double),
    sa.Column("call_ends_by", sa.Double),
    # Stored just before the call of the current attempt: an interrupted attempt without it sent nothing.
    sa.Column("call_started_at", sa.Double),
    # From this moment on the sweep updates the card, because it may show an older state.
    sa.Column("card_due", sa.Double),
    sa.Column("posting_until", sa.Double, nullable=False),
    sa.Column("card_posted", sa.Boolean, nullable=False),
    sa.Column("card_ts", sa.String(32)),
    sa.Column("reply_url", sa.Text),
    sa.Column("reply_replaces", sa.Boolean, nullable=False),
    sa.Index("requests_by_state", "state", "open_until"),
    sa.Index("requests_by_number", "number_id"),
    sa.Index("requests_by_card_due", "card_due"),
)
endings = sa.Table(
    "endings",
    METADATA,
    sa.Column("request_id", sa.ForeignKey("requests.id"), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("kind", sa.String(16), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("retry_at", sa.Double),
    sa.Column("after_unknown", sa.Boolean, nullable=False),
    sa.Column("decided_by", sa.String(32)),
    sa.Column("decided_at", sa.Double),
    sa.Column("ended_at", sa.Double, nullable=False),
    sa.Column("tellings", sa.Integer, nullable=False),
    sa.Column("tell_after", sa.Double, nullable=False),
    sa.Column("posted_at", sa.Double),
    sa.Column("told_at", sa.Double),
    # It replaces an ending that people may have read.
    sa.Column("correction", sa.Boolean, nullable=False),
    sa.Index("endings_untold", "told_at", "tell_after"),
)

of: sa.BindParameter[str] = sa.bindparam("of")
nth: sa.BindParameter[int] = sa.bindparam("nth")
at: sa.BindParameter[float] = sa.bindparam("at")
_this = requests.c.id == of
_open_for = requests.c.open_number == of

REQUEST = sa.select(requests).where(_this)
LOCK = REQUEST.with_for_update()
ASK = requests.insert()
OPEN_FOR = sa.select(requests).where(_open_for)
OVERDUE_FOR = OPEN_FOR.where(requests.c.open_until <= at).with_for_update()
# Nobody knows of a card of it: the next asking replaces it.
LOST_FOR = OPEN_FOR.where(
    requests.c.state == State.PENDING,
    requests.c.card_posted.is_(False),
    requests.c.posting_until <= at,
).with_for_update()
CHANGE = requests.update().where(_this)
# Each claim on a card is later than the one before, so none ends another.
_due = sa.bindparam("due", type_=sa.Double)
CLAIM_CARD = CHANGE.values(
    card_due=sa.case((requests.c.card_due >= _due, requests.c.card_due + 0.001), else_=_due)
).returning(requests)
CARD_LOST = CHANGE.where(requests.c.state == State.PENDING, requests.c.card_posted.is_(False)).values(posting_until=0.0)
CARD_UPDATED = CHANGE.where(
    requests.c.card_due == _due,
    requests.c.state == sa.bindparam("shown_state"),
    requests.c.attempt == nth,
    requests.c.open_until.is_not_distinct_from(sa.bindparam("shown_until", type_=sa.Double)),
).values(card_due=None)
CARD_POSTED = CHANGE.values(
    card_posted=True, card_ts=sa.func.coalesce(requests.c.card_ts, sa.bindparam("ts"))
).returning(requests)

# The arrows of a request's life.
CONFIRM = (
    requests.update()
    .where(
        _this,
        requests.c.state.in_([State.PENDING, State.REFUSED, State.UNKNOWN]),
        requests.c.attempt == nth,
        requests.c.open_until > at,
        requests.c.asked_by != sa.bindparam("unless_asked_by"),
    )
    .returning(requests)
)
END = (
    requests.update()
    .where(_this, requests.c.state == sa.bindparam("was"), requests.c.attempt == nth)
    .returning(requests)
)
# A yes of this press whose call has not begun.
END_UNSTARTED = END.where(
    requests.c.call_started_at.is_(None),
    requests.c.decided_by == sa.bindparam("pressed_by"),
    requests.c.decided_at == sa.bindparam("pressed_at"),
)
START_CALL = CHANGE.where(requests.c.state == State.CONFIRMED, requests.c.attempt == nth)
END_IN_TIME = END.where(requests.c.open_until > at)
END_TOO_LATE = END.where(requests.c.open_until <= at)

ENDING = sa.select(endings).where(endings.c.request_id == of, endings.c.attempt == nth)
WRITE_ENDING = endings.insert()
CHANGE_ENDING = endings.update().where(endings.c.request_id == of, endings.c.attempt == nth)
# A teller marks only what it told: the ending may have been corrected meanwhile.
CHANGE_UNTOLD = CHANGE_ENDING.where(endings.c.told_at.is_(None), endings.c.kind == sa.bindparam("told_kind"))
LOST_ENDING = ENDING.where(endings.c.kind == Kind.LOST).with_for_update()
CORRECT = CHANGE.where(requests.c.state == State.UNKNOWN, requests.c.attempt == nth)
CORRECT_HELD = CORRECT.where(requests.c.open_number.is_not(None))
ENDED_UNKNOWN = (
    sa.select(sa.literal(1))
    .select_from(endings.join(requests, requests.c.id == endings.c.request_id))
    .where(requests.c.number_id == of, endings.c.kind.in_([kind for kind in Kind if kind.state is State.UNKNOWN]))
    .limit(1)
)

# The sweep. What another copy holds at this moment it closes itself; SQLite has one writer anyway.
_overdue = sa.or_(
    requests.c.open_until <= at, sa.and_(requests.c.state == State.CONFIRMED, requests.c.call_ends_by <= at)
)
_untold = sa.and_(endings.c.told_at.is_(None), endings.c.tell_after <= at)
_card_due = requests.c.card_due <= at
OVERDUE = sa.select(requests).where(_overdue).with_for_update(skip_locked=True)
UNTOLD = sa.select(endings).where(_untold).order_by(endings.c.tell_after).limit(20).with_for_update(skip_locked=True)
CARDS_DUE = (
    sa.select(requests).where(_card_due).order_by(requests.c.card_due).limit(20).with_for_update(skip_locked=True)
)
ANYTHING_DUE = sa.select(
    sa.or_(
        sa.exists(sa.select(sa.literal(1)).where(_card_due).select_from(requests)),
        sa.exists(sa.select(sa.literal(1)).where(_overdue).select_from(requests)),
        sa.exists(sa.select(sa.literal(1)).where(_untold).select_from(endings)),
    )
)

"""The transitions of a request: each is one conditional UPDATE, and only the one that changed the row goes on.

    pending --click--> confirmed --result--> succeeded | refused | unknown
       |                   ^                             |         |
       |                   +--------- Try Again ---------+---------+
       +--click--> kept
       +--deadline--> expired
       +--a later request, because its card was lost--> replaced

The outcome is written in the same transaction as the change that brings it, and stays due until it is delivered. All
moments are seconds since the epoch, passed in by the caller.
"""

from __future__ import annotations

import secrets
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from bot.domain.models import Click, NewRequest, Outcome, Request
from bot.domain.status import CallResult, OutcomeCode, Status
from bot.ledger import queries, statements

# A replica that delivers an outcome, or posts or updates a card, has this many seconds before another one does.
LEASE = 15.0
# At most this many overdue requests are closed in one transaction: about 10 ms, in which an ack waits for SQLite's only
# thread.
CLOSED_AT_ONCE = 20


class NumberTakenError(Exception):
    """There is an active request for the number."""


def create(db: sa.Connection, new: NewRequest) -> Request:
    """Store a new request. Raise NumberTakenError if there is an active one for the number."""
    request = Request(
        id=secrets.token_hex(16),
        number_id=new.number_id,
        active_number_id=new.number_id,
        status=Status.PENDING,
        attempt=0,
        channel=new.channel,
        requested_by=new.requested_by,
        requested_at=new.now,
        expires_at=new.now + new.within,
        posting_lease_until=new.now + LEASE,
        response_url=new.response_url,
        dry_run=new.dry_run,
        reason=new.reason,
        phone=new.phone,
        label=new.label,
        warning=new.warning,
        remind_at=new.now + new.within - new.remind_before if new.remind_before else None,
    )
    try:
        db.execute(statements.CREATE, {name: value for name, value in vars(request).items() if name != "outcome"})
    except IntegrityError as error:
        raise NumberTakenError from error
    return request


def find_active(db: sa.Connection, new: NewRequest) -> tuple[Request, bool]:
    """Return the active request for the number, and False; or a new one and True.

    A request whose time is over expires first, and one whose card was lost is replaced: the old card, if it is there
    after all, no longer confirms anything. Raise NumberTakenError if somebody else was faster.
    """
    of_number = {"number": new.number_id, "at": new.now}
    for row in db.execute(statements.ACTIVE_OVERDUE, of_number).mappings().all():
        _close_overdue(db, row, new.now, new.within)
    if (lost := db.execute(statements.ACTIVE_WITHOUT_CARD, of_number).one_or_none()) is not None:
        _settle(db, statements.REPLACE, {"request": lost.id}, CallResult(OutcomeCode.REPLACED), new.now, claim=False)
    found = db.execute(statements.ACTIVE, of_number).mappings().one_or_none()
    return (create(db, new), True) if found is None else (queries.load_request(db, found), False)


def confirm(db: sa.Connection, click: Click, call_deadline: float, *, second_person: bool) -> Request | None:
    """Confirm the request, or try it again; return it to the one click that did.

    A number with a warning is confirmed only if its last digits were typed.

    `call_deadline` is the moment by which the call has ended: a request still confirmed then was interrupted.
    """
    guard = {"request": click.request_id, "attempt_is": click.attempt, "at": click.now}
    guard |= {"unless_requested_by": click.by if second_person else "", "typed": click.typed}
    values = {
        "status": Status.CONFIRMED,
        "attempt": click.attempt + 1,
        "decided_by": click.by,
        "decided_at": click.now,
        "call_deadline": call_deadline,
        "call_started_at": None,
        "expires_at": None,
        "remind_at": None,
        **card_of(click),
    }
    row = db.execute(statements.CONFIRM, guard | values).mappings().one_or_none()
    return None if row is None else queries.load_request(db, row)


def start_call(db: sa.Connection, request: Request, now: float) -> bool:
    """Store that the call of this attempt is about to be sent; False if the attempt has ended already."""
    values = {"request": request.id, "attempt_is": request.attempt, "call_started_at": now}
    return db.execute(statements.START_CALL, values).rowcount == 1


def keep(db: sa.Connection, click: Click) -> Request | None:
    """Keep the number; return the request to the one click that did, its outcome claimed."""
    values = {"request": click.request_id, "at": click.now, "decided_by": click.by, "decided_at": click.now}
    return _settle(db, statements.KEEP, values | card_of(click), CallResult(OutcomeCode.KEPT), click.now, claim=True)


def protect(db: sa.Connection, click: Click) -> Request | None:
    """Keep the number by rule, because the list protects it now; return the request to the one click that did."""
    values = {"request": click.request_id, "at": click.now, **card_of(click)}
    return _settle(db, statements.KEEP, values, CallResult(OutcomeCode.PROTECTED), click.now, claim=True)


def expire(db: sa.Connection, click: Click) -> Request | None:
    """Expire the request if its deadline has passed; return it to the one click that did, its outcome claimed."""
    values = {"request": click.request_id, "at": click.now, **card_of(click)}
    return _settle(db, statements.EXPIRE, values, CallResult(OutcomeCode.EXPIRED), click.now, claim=True)


def settle(db: sa.Connection, request: Request, result: CallResult, now: float, retry_for: float) -> Request | None:
    """Store how the call ended; return the request, its outcome claimed, or None if it had ended before.

    If another attempt can help, Try Again is offered for `retry_for` seconds.
    """
    values = _settled(result, now, retry_for)
    if request.attempt > 1:  # another replica may still deliver the attempt before, and update the card last
        values["card_update_due"] = now + LEASE
    guard = {"request": request.id, "attempt_is": request.attempt}
    return _settle(db, statements.SETTLE, guard | values, result, now, claim=True)


def settle_unstarted(db: sa.Connection, click: Click, now: float, retry_for: float) -> Request | None:
    """Settle the attempt that this click confirmed, if its call has not begun; its outcome is claimed."""
    # The confirmation may still be in its commit: PostgreSQL would pass over a row that is not confirmed yet.
    db.execute(statements.LOCK_REQUEST, {"request": click.request_id})
    result = CallResult(OutcomeCode.NOT_STARTED)
    guard = {"request": click.request_id, "attempt_is": click.attempt + 1}
    guard |= {"clicked_by": click.by, "clicked_at": click.now}
    return _settle(db, statements.SETTLE_UNSTARTED, guard | _settled(result, now, retry_for), result, now, claim=True)


def settle_restored(db: sa.Connection, request: Request, now: float) -> None:
    """Settle a request that a restored backup has as open: nobody knows what happened to it since."""
    # A dry run makes no call.
    result = CallResult(OutcomeCode.DRY_RUN if request.dry_run else OutcomeCode.RESTORED)
    values: dict[str, Any] = {"request": request.id, "status": result.code.status}
    if request.status is not Status.CONFIRMED:  # a click may have begun another attempt since
        values |= {"attempt": request.attempt + 1, "decided_by": None, "decided_at": None, "call_started_at": None}
    _settle(db, statements.SETTLE_RESTORED, values, result, now, claim=False)


def correct(db: sa.Connection, request: Request, result: CallResult, now: float, retry_for: float) -> bool:
    """Replace "interrupted" or "restored", by which the attempt was settled, by what the call brought.

    Return False if it was settled otherwise.

    The outcome is due at once, or when the lease of the other replica is over.
    """
    this = {"request": request.id, "attempt_is": request.attempt}
    found = db.execute(statements.UNANSWERED_OUTCOME, this).mappings().one_or_none()
    if found is None:
        return False
    # Unless its audit line still waits as it was settled, people may have read it there.
    audited = _audits(db) and found["audit_after"] != found["settled_at"]
    values = {
        "code": _code(result, after_unknown=found["after_unknown"]),
        "message": result.message,
        "retry_at": _retry_at(result, now),
        "settled_at": now,
        "delivery_attempts": 0,
        "deliver_after": min(max(found["deliver_after"], now), now + LEASE),
        "message_posted_at": None,
        "delivered_at": None,
        "correction": found["delivery_attempts"] > 0 or audited,
        "undeliverable_since": None,
        "closed_at": None,
        "audit_after": now if _audits(db) else found["audit_after"],
    }
    db.execute(statements.CHANGE_OUTCOME, this | values)
    change = this | {"status": result.code.status, "card_update_due": now + LEASE}
    # Try Again is offered only while the request holds its number: there may be a later one.
    if not db.execute(statements.CORRECT_HELD, change | _offer(result, now, retry_for)).rowcount:
        db.execute(statements.CORRECT, change)
    return True


def close_overdue(db: sa.Connection, now: float, retry_for: float, running: frozenset[str]) -> bool:
    """Settle what was interrupted, expire, and end offers of Try Again, the longest overdue first.

    `running` are this replica's own calls. Return whether more may be overdue than the batch that this closed.
    """
    for statement in statements.MAKE_DUE_NOW:
        db.execute(statement, {"at": now})
    # This replica's own calls stay as they are, so they must not take the place of others in the batch.
    of_calls = {"at": now, "limit": CLOSED_AT_ONCE + len(running)}
    calls = [row for row in db.execute(statements.CALLS_OVERDUE, of_calls).mappings() if row["id"] not in running]
    del calls[CLOSED_AT_ONCE:]
    left = CLOSED_AT_ONCE - len(calls)
    cards = db.execute(statements.CARDS_OVERDUE, {"at": now, "limit": left}).mappings().all()
    for row in (*calls, *cards):
        _close_overdue(db, row, now, retry_for)
    return len(cards) == left


def card_of(click: Click) -> dict[str, Any]:
    """Return what a click on a card tells: where the card is, and a response_url that can replace it."""
    values: dict[str, Any] = {}
    if click.response_url is not None:
        values |= {"response_url": click.response_url, "response_url_replaces": True}
    if click.card_ts is not None and click.channel is not None:  # the outcome is delivered where it was confirmed
        values |= {"card_posted": True, "card_ts": click.card_ts, "channel": click.channel}
    return values


def _close_overdue(db: sa.Connection, row: sa.RowMapping, now: float, retry_for: float) -> None:
    this = {"request": row["id"], "at": now}
    if row["status"] == Status.PENDING:
        _settle(db, statements.EXPIRE, this, CallResult(OutcomeCode.EXPIRED), now, claim=False)
    elif row["status"] == Status.CONFIRMED:
        # Without a stored start nothing was sent: a replica that is late finds the attempt settled.
        code = OutcomeCode.NOT_STARTED if row["call_started_at"] is None else OutcomeCode.INTERRUPTED
        result = CallResult(code)
        # The replica that was interrupted may still update the card.
        values = _settled(result, now, retry_for) | {"attempt_is": row["attempt"], "card_update_due": now + LEASE}
        _settle(db, statements.SETTLE, {"request": row["id"]} | values, result, now, claim=False)
    else:
        db.execute(statements.END_OFFER, this)


def _settled(result: CallResult, now: float, retry_for: float) -> dict[str, Any]:
    return {"status": result.code.status, **_offer(result, now, retry_for)}


def _offer(result: CallResult, now: float, retry_for: float) -> dict[str, Any]:
    if result.code.can_try_again:
        return {"expires_at": now + retry_for}
    return {"expires_at": None, "active_number_id": None}


def _retry_at(result: CallResult, now: float) -> float | None:
    return None if result.retry_after is None else now + result.retry_after


def _audits(db: sa.Connection) -> bool:
    """Return whether each outcome that is settled now gets an audit line, which is due at once."""
    return bool(db.get_execution_options().get("auditing"))


def _code(result: CallResult, *, after_unknown: bool) -> OutcomeCode:
    gone = result.code is OutcomeCode.NOT_FOUND and after_unknown
    return OutcomeCode.ALREADY_GONE if gone else result.code


def _settle(
    db: sa.Connection, update: sa.Executable, values: dict[str, Any], result: CallResult, now: float, *, claim: bool
) -> Request | None:
    """Settle a request by one UPDATE, and write its outcome; None if the UPDATE changed nothing."""
    row = db.execute(update, values).mappings().one_or_none()
    if row is None:
        return None
    after_unknown = bool(db.scalar(statements.UNKNOWN_BEFORE, {"number": row["number_id"]}))
    outcome = Outcome(
        request_id=row["id"],
        attempt=row["attempt"],
        code=_code(result, after_unknown=after_unknown),
        message=result.message,
        retry_at=_retry_at(result, now),
        after_unknown=after_unknown,
        decided_by=row["decided_by"],
        decided_at=row["decided_at"],
        settled_at=now,
        delivery_attempts=int(claim),
        deliver_after=now + LEASE if claim else now,
        message_posted_at=None,
        delivered_at=None,
    )
    more = {"number_id": row["number_id"], "audit_after": now if _audits(db) else None}
    db.execute(statements.CREATE_OUTCOME, vars(outcome) | more)
    return queries.to_request(row, outcome)

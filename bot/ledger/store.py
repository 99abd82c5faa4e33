"""The ledger: every request is kept, and each change of its state is one conditional UPDATE.

    pending --click--> confirmed --answer--> succeeded | refused | unknown
       |                   ^                              |        |
       |                   +---------- try again ---------+--------+
       +--click--> kept
       +--time---> expired
       +--a later request, because its card got lost--> replaced

Whoever changed the row goes on; everybody else learns who did. An outcome is written in the same transaction as the
change that brings it, and stays due until it is told. All moments are seconds since the epoch, passed in by the caller.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.dml import ReturningUpdate

from bot.domain.models import Click, NewRequest, Outcome, Request, SweepResult
from bot.domain.status import CallResult, OutcomeCode, Status
from bot.errors import NewerLedgerError
from bot.ledger import statements as tables
from bot.ledger.database import ANSWER_SECONDS, PATIENT_SECONDS, Database
from bot.ledger.statements import outcomes, requests

SCHEMA_VERSION = 4
# What each version changed in the database of the one before.
MIGRATIONS = {
    2: ("ALTER TABLE requests ADD COLUMN phone VARCHAR(40)", "ALTER TABLE requests ADD COLUMN label TEXT"),
    3: (
        "ALTER TABLE requests ADD COLUMN call_started_at DOUBLE PRECISION",
        "ALTER TABLE requests ADD COLUMN card_due DOUBLE PRECISION",
        "ALTER TABLE endings ADD COLUMN correction BOOLEAN NOT NULL DEFAULT FALSE",
        "CREATE INDEX requests_by_card_due ON requests (card_due)",
        # The version before did not store when a call began: what it left under way may have been sent.
        "UPDATE requests SET call_started_at = decided_at WHERE state = 'confirmed'",
    ),
    4: (
        *(
            f"ALTER TABLE requests RENAME COLUMN {old} TO {new}"
            for old, new in {
                "state": "status",
                "asked_by": "requested_by",
                "asked_at": "requested_at",
                "open_until": "expires_at",
                "open_number": "active_number_id",
                "posting_until": "posting_lease_until",
                "reply_url": "response_url",
                "reply_replaces": "response_url_replaces",
                "call_ends_by": "call_deadline",
                "card_due": "card_update_due",
            }.items()
        ),
        "ALTER TABLE endings RENAME TO outcomes",
        *(
            f"ALTER TABLE outcomes RENAME COLUMN {old} TO {new}"
            for old, new in {
                "kind": "code",
                "ended_at": "settled_at",
                "tellings": "delivery_attempts",
                "tell_after": "deliver_after",
                "posted_at": "message_posted_at",
                "told_at": "delivered_at",
            }.items()
        ),
        "ALTER TABLE outcomes ALTER COLUMN code TYPE VARCHAR(32)",
        *(
            f"UPDATE outcomes SET code = '{new}' WHERE code = '{old}'"  # noqa: S608 - both are written here
            for old, new in {
                "broken": "connection_lost",
                "unreadable": "unexpected_response",
                "declined": "rejected",
                "lost": "interrupted",
            }.items()
        ),
        "UPDATE outcomes SET code = 'already_gone' WHERE code = 'not_found' AND after_unknown",
        *(f"DROP INDEX {name}" for name in ("requests_by_state", "requests_by_card_due", "endings_untold")),
        "CREATE INDEX requests_by_creation ON requests (requested_at)",
        "CREATE INDEX requests_by_deadline ON requests (expires_at)",
        "CREATE INDEX requests_by_call_deadline ON requests (call_deadline)",
        "CREATE INDEX requests_by_card_update ON requests (card_update_due)",
        "CREATE INDEX outcomes_by_settlement ON outcomes (settled_at)",
        "CREATE INDEX outcomes_undelivered ON outcomes (delivered_at, deliver_after)",
    ),
}
# A teller, or a poster of a card, has this long before another copy of the bot may take over.
LEASE = 15.0

P = ParamSpec("P")
T = TypeVar("T")


Method = Callable[Concatenate["Ledger", sa.Connection, P], T]
OnThread = Callable[Concatenate["Ledger", P], Coroutine[Any, Any, T]]


def _in_database(within: float, *, writes: bool) -> Callable[[Method[P, T]], OnThread[P, T]]:
    """Run a method in a transaction on the database's threads, and wait so long for it."""

    def decorate(method: Method[P, T]) -> OnThread[P, T]:
        @wraps(method)
        async def call(ledger: Ledger, /, *args: P.args, **kwargs: P.kwargs) -> T:
            return await ledger.database.do(
                lambda db: method(ledger, db, *args, **kwargs), writes=writes, within=within
            )

        return call

    return decorate


_reads, _writes = partial(_in_database, writes=False), partial(_in_database, writes=True)


class AlreadyOpenError(Exception):
    """There is an open request for the number."""


class Ledger:
    """The requests and their outcomes in one database, used from a few threads, by any number of copies of the bot.

    Every method raises LedgerError where the database is down or locked; then nothing was changed.
    """

    def __init__(self, url: str) -> None:
        self.database = Database(url)

    def close(self) -> None:
        """Close the threads and connections."""
        self.database.close()

    @_writes(PATIENT_SECONDS)
    def open(self, db: sa.Connection) -> None:
        """Make the tables where they are missing. Raises NewerLedgerError where a newer bot wrote them."""
        if not self.database.is_sqlite:
            db.execute(sa.select(sa.func.pg_advisory_xact_lock(7_263_549)))  # several copies start at once
        tables.version.create(db, checkfirst=True)
        version = db.scalar(sa.select(sa.func.max(tables.version.c.version)))
        if version is None:
            tables.METADATA.create_all(db)
            db.execute(tables.version.insert().values(version=SCHEMA_VERSION))
        elif version > SCHEMA_VERSION:
            raise NewerLedgerError(
                f"The database was written by a newer version of this bot (schema {version}, this bot knows "
                f"{SCHEMA_VERSION}). Run that version or a later one, or point DATABASE_URL to another database."
            )
        else:
            for number in range(version + 1, SCHEMA_VERSION + 1):
                for statement in MIGRATIONS[number]:
                    if " TYPE " in statement and self.database.is_sqlite:
                        continue  # SQLite enforces no length
                    db.exec_driver_sql(statement)
            db.execute(tables.version.update().values(version=SCHEMA_VERSION))

    @_writes(ANSWER_SECONDS)
    def check(self, db: sa.Connection) -> None:
        """Prove that the database can be written, and change nothing."""
        db.execute(requests.delete().where(requests.c.id == ""))

    async def ask(self, asking: NewRequest) -> tuple[Request, bool]:
        """Record an asking; the request, and whether a card is to be posted for it.

        There is one open request for a number. If its card got lost, this asking replaces it: the old card, should it
        stand somewhere, confirms nothing any more.
        """
        while True:  # only the database can tell who was first; who lost the race looks again
            with contextlib.suppress(AlreadyOpenError):
                return await self._insert(asking), True
            with contextlib.suppress(AlreadyOpenError):
                return await self._find_open(asking)

    @_writes(PATIENT_SECONDS)
    def _insert(self, db: sa.Connection, asking: NewRequest) -> Request:
        return _insert(db, asking)

    @_writes(PATIENT_SECONDS)
    def _find_open(self, db: sa.Connection, asking: NewRequest) -> tuple[Request, bool]:
        past = {"of": asking.number_id, "at": asking.now}
        _close(db, db.execute(tables.OVERDUE_FOR, past).all(), asking.now, asking.within)
        if (lost := db.execute(tables.LOST_FOR, past).one_or_none()) is not None:
            _end(db, tables.END, (lost.id, 0), CallResult(OutcomeCode.REPLACED), asking.now, {}, claim=False)
        found = _find(db, tables.OPEN_FOR, asking.number_id)
        return (_insert(db, asking), True) if found is None else (found, False)

    @_writes(PATIENT_SECONDS)
    def card_posted(self, db: sa.Connection, request_id: str, ts: str | None) -> Request:
        """Record that the card stands in the channel; `ts` is None where Slack did not tell (response_url).

        Returns the request as it stands: it may have ended while the card was on its way.
        """
        return _request(db, db.execute(tables.CARD_POSTED, {"of": request_id, "ts": ts}).mappings().one())

    @_writes(PATIENT_SECONDS)
    def card_lost(self, db: sa.Connection, request_id: str) -> bool:
        """Record that nobody knows of a card: the next asking replaces the request.

        False if somebody has pressed a button of the card, or the request has ended.
        """
        return db.execute(tables.CARD_LOST, {"of": request_id}).rowcount == 1

    @_writes(PATIENT_SECONDS)
    def card_stale(self, db: sa.Connection, request_id: str, now: float) -> None:
        """Record that the card may show an older state: a sweep updates it once any update of now must have landed."""
        db.execute(tables.CLAIM_CARD, {"of": request_id, "due": now + LEASE})

    @_writes(PATIENT_SECONDS)
    def pressed(self, db: sa.Connection, press: Click) -> None:
        """Record where a card stands whose press changed nothing, and that it may show an older state."""
        db.execute(tables.CLAIM_CARD, {"of": press.request_id, "due": press.now + LEASE} | _where_pressed(press))

    @_writes(PATIENT_SECONDS)
    def card_updated(self, db: sa.Connection, shown: Request, due: float) -> None:
        """End the claim `due` of a sweep, unless the request has changed or was claimed again since."""
        values = {"of": shown.id, "due": due, "nth": shown.attempt}
        db.execute(tables.CARD_UPDATED, values | {"shown_status": shown.status, "shown_expires_at": shown.expires_at})

    @_reads(PATIENT_SECONDS)
    def require(self, db: sa.Connection, request_id: str) -> Request:
        """The request as it stands, of an id that the ledger itself gave out: nothing deletes a row."""
        return _only(db, request_id)

    @_reads(ANSWER_SECONDS)
    def get(self, db: sa.Connection, request_id: str) -> Request | None:
        """The request as it stands, None if there is none of this id."""
        return _find(db, tables.REQUEST, request_id)

    @_writes(ANSWER_SECONDS)
    def confirm(self, db: sa.Connection, press: Click, call_deadline: float, *, second_person: bool) -> Request | None:
        """Confirm the request, or try it again; the confirmed request for the one press that did.

        `call_deadline` is the moment by which the call has ended: a request still confirmed then was orphaned.
        """
        values = {
            "status": Status.CONFIRMED,
            "attempt": press.attempt + 1,
            "decided_by": press.by,
            "decided_at": press.now,
            "call_deadline": call_deadline,
            "call_started_at": None,
            "expires_at": None,
            **_where_pressed(press),
        }
        if_so = {"of": press.request_id, "nth": press.attempt, "at": press.now}
        unless = {"unless_requested_by": press.by if second_person else ""}
        row = db.execute(tables.CONFIRM, if_so | unless | values).mappings().one_or_none()
        return None if row is None else _request(db, row)

    @_writes(PATIENT_SECONDS)
    def start_call(self, db: sa.Connection, request: Request, now: float) -> bool:
        """Record that the call of this attempt is about to be sent; False if the attempt has ended already."""
        values = {"of": request.id, "nth": request.attempt, "call_started_at": now}
        return db.execute(tables.START_CALL, values).rowcount == 1

    @_writes(PATIENT_SECONDS)
    def settle_unstarted(self, db: sa.Connection, press: Click, now: float, within: float) -> Request | None:
        """End the yes of a press if it was recorded and its call has not begun; the request, its outcome claimed."""
        # The yes may still be in its commit: PostgreSQL would pass over a row that is not confirmed yet.
        db.execute(tables.LOCK, {"of": press.request_id})
        about, result = (press.request_id, press.attempt + 1), CallResult(OutcomeCode.NOT_STARTED)
        values = {"pressed_by": press.by, "pressed_at": press.now, **_offer(result, now, within)}
        return _end(db, tables.SETTLE_UNSTARTED, about, result, now, values, claim=True)

    @_writes(ANSWER_SECONDS)
    def keep(self, db: sa.Connection, press: Click) -> Request | None:
        """Close the request without a call; what it became for the one press that did, its outcome claimed."""
        values = {"decided_by": press.by, "decided_at": press.now, **_where_pressed(press)}
        kept = CallResult(OutcomeCode.KEPT)
        return _end(db, tables.END_IN_TIME, (press.request_id, 0), kept, press.now, values, claim=True)

    @_writes(ANSWER_SECONDS)
    def expire(self, db: sa.Connection, press: Click) -> Request | None:
        """Close the request if its time is over; what it became for the one press that did, its outcome claimed."""
        values = _where_pressed(press)
        expired = CallResult(OutcomeCode.EXPIRED)
        return _end(db, tables.END_TOO_LATE, (press.request_id, 0), expired, press.now, values, claim=True)

    @_writes(PATIENT_SECONDS)
    def finish(
        self, db: sa.Connection, request: Request, result: CallResult, now: float, within: float
    ) -> Request | None:
        """Write down what came of the call; the request, its outcome claimed, or None if it had ended before.

        Where it can be tried again, that is offered for `within` seconds.
        """
        values = _offer(result, now, within)
        if request.attempt > 1:  # another replica may still be telling the attempt before, and update the card last
            values["card_update_due"] = now + LEASE
        return _end(db, tables.END, (request.id, request.attempt), result, now, values, claim=True)

    @_writes(PATIENT_SECONDS)
    def correct(self, db: sa.Connection, request: Request, result: CallResult, now: float, within: float) -> bool:
        """Put the result of a call in the place of "interrupted", as another copy has ended it; False if it has not.

        The new outcome is due at once, or once the other copy has no time left to tell its own.
        """
        about = {"of": request.id, "nth": request.attempt}
        lost = db.execute(tables.LOST_ENDING, about).mappings().one_or_none()
        if lost is None:
            return False
        values = {
            "code": _code(result, after_unknown=lost["after_unknown"]),
            "message": result.message,
            "retry_at": _retry_at(result, now),
            "settled_at": now,
            "delivery_attempts": 0,
            "deliver_after": min(max(lost["deliver_after"], now), now + LEASE),
            "message_posted_at": None,
            "delivered_at": None,
            "correction": lost["delivery_attempts"] > 0,
        }
        db.execute(tables.CHANGE_ENDING, about | values)
        change = about | {"status": result.code.status, "card_update_due": now + LEASE}
        # It can be tried again only while the request holds its number: there may be a later one.
        if not db.execute(tables.CORRECT_HELD, change | _offer(result, now, within)).rowcount:
            db.execute(tables.CORRECT, change)
        return True

    async def sweep(self, now: float, within: float, running: frozenset[str] = frozenset()) -> SweepResult:
        """Expire, rescue and claim what is due at `now`. `running` are the requests whose call this copy holds."""
        return await self._sweep(now, within, running) if await self._anything_due(now) else SweepResult([], [])

    @_reads(PATIENT_SECONDS)
    def _anything_due(self, db: sa.Connection, now: float) -> bool:
        return bool(db.scalar(tables.ANYTHING_DUE, {"at": now}))

    @_writes(PATIENT_SECONDS)
    def _sweep(self, db: sa.Connection, now: float, within: float, running: frozenset[str]) -> SweepResult:
        _close(db, db.execute(tables.OVERDUE, {"at": now}).all(), now, within, running)
        untold = db.execute(tables.UNTOLD, {"at": now}).mappings().all()
        cards = db.execute(tables.CARDS_DUE, {"at": now}).all()
        claim = {"due": now + LEASE}
        return SweepResult(
            [_claim(db, _ending(row), now + LEASE) for row in untold],
            [_request(db, db.execute(tables.CLAIM_CARD, {"of": r.id} | claim).mappings().one()) for r in cards],
        )

    @_reads(ANSWER_SECONDS)
    def history(
        self, db: sa.Connection, since: float = 0.0, limit: int | None = None
    ) -> list[tuple[Request, list[Outcome]]]:
        """The requests asked since then, newest first, each with its outcomes in their order."""
        newest = sa.select(requests).where(requests.c.requested_at >= since).order_by(requests.c.requested_at.desc())
        found = [_request(db, row) for row in db.execute(newest.limit(limit)).mappings().all()]
        return [(request, _endings_of(db, request.id)) for request in found]

    @_reads(ANSWER_SECONDS)
    def open_requests(self, db: sa.Connection, now: float) -> list[Request]:
        """The requests that a press can still confirm, or whose call is under way; newest first."""
        can = sa.or_(requests.c.expires_at > now, requests.c.status == Status.CONFIRMED)
        newest = sa.select(requests).where(can).order_by(requests.c.requested_at.desc())
        return [_request(db, row) for row in db.execute(newest).mappings().all()]

    @_reads(ANSWER_SECONDS)
    def gauges(self, db: sa.Connection, now: float) -> tuple[int, float]:
        """How many cards wait for a first press, and the age in seconds of the oldest untold outcome (0: none)."""
        waiting = sa.select(sa.func.count()).select_from(requests)
        oldest = sa.select(sa.func.min(outcomes.c.settled_at)).where(outcomes.c.delivered_at.is_(None))
        pending = db.scalar(waiting.where(requests.c.status == Status.PENDING, requests.c.expires_at > now)) or 0
        settled_at = db.scalar(oldest)
        return pending, 0.0 if settled_at is None else max(now - settled_at, 0.0)

    @_reads(ANSWER_SECONDS)
    def last_outcomes(self, db: sa.Connection, limit: int) -> list[tuple[Request, Outcome]]:
        """The last outcomes, newest first, each with its request as it stands now."""
        newest = sa.select(outcomes).order_by(outcomes.c.settled_at.desc()).limit(limit)
        found = [_ending(row) for row in db.execute(newest).mappings().all()]
        return [(_only(db, outcome.request_id), outcome) for outcome in found]

    @_writes(PATIENT_SECONDS)
    def posted(self, db: sa.Connection, outcome: Outcome, now: float) -> None:
        """Record that Slack took the message of an outcome: it is not posted again."""
        _mark(db, outcome, message_posted_at=now)

    @_writes(PATIENT_SECONDS)
    def told(self, db: sa.Connection, outcome: Outcome, now: float) -> None:
        """Record that an outcome is told in full."""
        _mark(db, outcome, delivered_at=now)

    @_writes(PATIENT_SECONDS)
    def defer_delivery(self, db: sa.Connection, outcome: Outcome, when: float) -> None:
        """Give the telling back: it is due again at `when`."""
        _mark(db, outcome, deliver_after=when)


def _same(outcome: Outcome) -> dict[str, Any]:
    return {"of": outcome.request_id, "nth": outcome.attempt}


def _mark(db: sa.Connection, outcome: Outcome, **values: float) -> None:
    db.execute(tables.CHANGE_UNTOLD, _same(outcome) | {"delivered_code": outcome.code} | values)


def _insert(db: sa.Connection, asking: NewRequest) -> Request:
    """A new request. Raises AlreadyOpenError where there is an open one for the number."""
    request = Request(
        id=secrets.token_hex(16),
        number_id=asking.number_id,
        active_number_id=asking.number_id,
        status=Status.PENDING,
        attempt=0,
        channel=asking.channel,
        requested_by=asking.requested_by,
        requested_at=asking.now,
        expires_at=asking.now + asking.within,
        posting_lease_until=asking.now + LEASE,
        response_url=asking.response_url,
        dry_run=asking.dry_run,
        reason=asking.reason,
        phone=asking.phone,
        label=asking.label,
    )
    values = vars(request)
    try:
        db.execute(tables.ASK, {name: value for name, value in values.items() if name != "outcome"})
    except IntegrityError as error:
        raise AlreadyOpenError from error
    return request


def _where_pressed(press: Click) -> dict[str, Any]:
    """What a press on a card tells: where the card is, and a response_url that can replace it."""
    values: dict[str, Any] = {}
    if press.response_url is not None:
        values |= {"response_url": press.response_url, "response_url_replaces": True}
    if press.card_ts is not None and press.channel is not None:  # the end is told where the yes was given
        values |= {"card_posted": True, "card_ts": press.card_ts, "channel": press.channel}
    return values


def _offer(result: CallResult, now: float, within: float) -> dict[str, Any]:
    return {"expires_at": now + within} if result.code.can_try_again else {"expires_at": None, "active_number_id": None}


def _retry_at(result: CallResult, now: float) -> float | None:
    return None if result.retry_after is None else now + result.retry_after


def _code(result: CallResult, *, after_unknown: bool) -> OutcomeCode:
    gone = result.code is OutcomeCode.NOT_FOUND and after_unknown
    return OutcomeCode.ALREADY_GONE if gone else result.code


def _end(
    db: sa.Connection,
    arrow: ReturningUpdate[Any],
    about: tuple[str, int],
    result: CallResult,
    now: float,
    values: dict[str, Any],
    *,
    claim: bool,
) -> Request | None:
    """The one way to an outcome: change the row if it still is what it was, and write the outcome beside it."""
    request_id, attempt = about
    before = {"of": request_id, "nth": attempt, "was": Status.CONFIRMED if attempt else Status.PENDING, "at": now}
    after = {"status": result.code.status, "call_deadline": None} | ({} if attempt else _offer(result, now, 0)) | values
    row = db.execute(arrow, before | after).mappings().one_or_none()
    if row is None:
        return None
    after_unknown = db.scalar(tables.ENDED_UNKNOWN, {"of": row["number_id"]}) is not None
    outcome = Outcome(
        request_id=request_id,
        attempt=attempt,
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
    db.execute(tables.WRITE_ENDING, vars(outcome))
    return _shaped(row, outcome)


def _close(
    db: sa.Connection,
    overdue: Sequence[sa.Row[Any]],
    now: float,
    within: float,
    running: frozenset[str] = frozenset(),
) -> None:
    """Expire what is past its time, end what was interrupted, withdraw old offers. The rows are locked here."""
    for row in overdue:
        if row.status == Status.PENDING:
            _end(db, tables.END, (row.id, 0), CallResult(OutcomeCode.EXPIRED), now, {}, claim=False)
        elif row.status == Status.CONFIRMED:
            if row.id not in running:
                # Without a recorded start nothing was sent: a replica that is late finds the attempt ended.
                cut = CallResult(OutcomeCode.NOT_STARTED if row.call_started_at is None else OutcomeCode.INTERRUPTED)
                # The replica that was interrupted may still update the card.
                values = _offer(cut, now, within) | {"card_update_due": now + LEASE}
                _end(db, tables.END, (row.id, row.attempt), cut, now, values, claim=False)
        else:
            db.execute(
                tables.CHANGE, {"of": row.id, "active_number_id": None, "expires_at": None, "card_update_due": now}
            )


def _endings_of(db: sa.Connection, request_id: str) -> list[Outcome]:
    found = sa.select(outcomes).where(outcomes.c.request_id == request_id).order_by(outcomes.c.attempt)
    return [_ending(row) for row in db.execute(found).mappings().all()]


def _claim(db: sa.Connection, outcome: Outcome, until: float) -> Outcome:
    """Take the telling of an outcome whose row is locked here: until then nobody else tells it."""
    claimed = replace(outcome, deliver_after=until, delivery_attempts=outcome.delivery_attempts + 1)
    db.execute(
        tables.CHANGE_ENDING, _same(outcome) | {"deliver_after": until, "delivery_attempts": claimed.delivery_attempts}
    )
    return claimed


def _ending(row: sa.RowMapping) -> Outcome:
    return Outcome(**{**row, "code": OutcomeCode(row["code"])})


def _find(db: sa.Connection, which: sa.Select[Any], of: str) -> Request | None:
    row = db.execute(which, {"of": of}).mappings().one_or_none()
    return None if row is None else _request(db, row)


def _only(db: sa.Connection, request_id: str) -> Request:
    return _request(db, db.execute(tables.REQUEST, {"of": request_id}).mappings().one())


def _request(db: sa.Connection, row: sa.RowMapping) -> Request:
    if Status(row["status"]) in (Status.PENDING, Status.CONFIRMED):  # not ended yet
        return _shaped(row)
    return _shaped(row, _ending(db.execute(tables.ENDING, {"of": row["id"], "nth": row["attempt"]}).mappings().one()))


def _shaped(row: sa.RowMapping, outcome: Outcome | None = None) -> Request:
    return Request(**{**row, "status": Status(row["status"]), "outcome": outcome})

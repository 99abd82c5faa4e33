"""The ledger: every request is kept, and each change of its state is one conditional UPDATE.

    pending --click--> confirmed --answer--> succeeded | refused | unknown
       |                   ^                              |        |
       |                   +---------- try again ---------+--------+
       +--click--> kept
       +--time---> expired
       +--a later request, because its card got lost--> replaced

Whoever changed the row goes on; everybody else learns who did. An ending is written in the same transaction as the
change that brings it, and stays due until it is told. All moments are seconds since the epoch, passed in by the caller.
"""

from __future__ import annotations

import contextlib
import secrets
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError
from sqlalchemy.sql.dml import ReturningUpdate

from bot import tables
from bot.database import ANSWER_SECONDS, PATIENT_SECONDS, Database
from bot.errors import NewerLedger
from bot.outcome import Kind, Outcome, State
from bot.tables import endings, requests

SCHEMA_VERSION = 3
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
}
# A teller, or a poster of a card, has this long before another copy of the bot may take over.
LEASE = 15.0

P = ParamSpec("P")
T = TypeVar("T")


@dataclass(frozen=True)
class Ending:
    """How one attempt of a request ended (attempt 0: without a call), and how far the telling got."""

    request_id: str
    attempt: int
    kind: Kind
    message: str
    retry_at: float | None
    after_unknown: bool
    decided_by: str | None
    decided_at: float | None
    ended_at: float
    tellings: int
    tell_after: float
    posted_at: float | None
    told_at: float | None
    correction: bool = False


@dataclass(frozen=True)
class Request:
    """A request as it stands. `open_until` is the moment until which a press can (again) confirm it, if any.

    `call_started_at` is set once the call of this attempt may have been sent. From `card_due` on a sweep updates the
    card, because it may show an older state.
    """

    id: str
    number_id: str
    phone: str | None
    label: str | None
    reason: str | None
    open_number: str | None
    state: State
    attempt: int
    dry_run: bool
    channel: str
    asked_by: str
    asked_at: float
    open_until: float | None
    posting_until: float
    reply_url: str | None
    decided_by: str | None = None
    decided_at: float | None = None
    call_ends_by: float | None = None
    call_started_at: float | None = None
    card_due: float | None = None
    card_posted: bool = False
    card_ts: str | None = None
    reply_replaces: bool = False
    ending: Ending | None = None


@dataclass(frozen=True)
class Asking:
    """Somebody asks, at `now`, to unsubscribe a number; the card can be confirmed for `within` seconds."""

    number_id: str
    channel: str
    asked_by: str
    now: float
    within: float
    dry_run: bool = False
    reply_url: str | None = None
    reason: str | None = None
    phone: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class Press:
    """Somebody pressed a button, at `now`, on the card that showed `attempt` attempts."""

    request_id: str
    attempt: int
    by: str
    now: float
    channel: str | None = None
    card_ts: str | None = None
    reply_url: str | None = None


@dataclass(frozen=True)
class Swept:
    """What a sweep found due and claimed: endings to tell now, and requests whose card must be updated."""

    endings: list[Ending]
    cards: list[Request]


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


class AlreadyOpen(Exception):
    """There is an open request for the number."""


class Ledger:
    """The requests and their endings in one database, used from a few threads, by any number of copies of the bot.

    Every method raises LedgerError where the database is down or locked; then nothing was changed.
    """

    def __init__(self, url: str) -> None:
        self.database = Database(url)

    def close(self) -> None:
        """Close the threads and connections."""
        self.database.close()

    @_writes(PATIENT_SECONDS)
    def open(self, db: sa.Connection) -> None:
        """Make the tables where they are missing. Raises NewerLedger where a newer bot wrote them."""
        if not self.database.is_sqlite:
            db.execute(sa.select(sa.func.pg_advisory_xact_lock(7_263_549)))  # several copies start at once
        tables.METADATA.create_all(db)
        version = db.scalar(sa.select(sa.func.max(tables.version.c.version)))
        if version is None:
            db.execute(tables.version.insert().values(version=SCHEMA_VERSION))
        elif version > SCHEMA_VERSION:
            raise NewerLedger(
                f"The database was written by a newer version of this bot (schema {version}, this bot knows "
                f"{SCHEMA_VERSION}). Run that version or a later one, or point DATABASE_URL to another database."
            )
        else:
            for number in range(version + 1, SCHEMA_VERSION + 1):
                for statement in MIGRATIONS[number]:
                    db.exec_driver_sql(statement)
            db.execute(tables.version.update().values(version=SCHEMA_VERSION))

    @_writes(ANSWER_SECONDS)
    def check(self, db: sa.Connection) -> None:
        """Prove that the database can be written, and change nothing."""
        db.execute(requests.delete().where(requests.c.id == ""))

    async def ask(self, asking: Asking) -> tuple[Request, bool]:
        """Record an asking; the request, and whether a card is to be posted for it.

        There is one open request for a number. If its card got lost, this asking replaces it: the old card, should it
        stand somewhere, confirms nothing any more.
        """
        while True:  # only the database can tell who was first; who lost the race looks again
            with contextlib.suppress(AlreadyOpen):
                return await self._insert(asking), True
            with contextlib.suppress(AlreadyOpen):
                return await self._find_open(asking)

    @_writes(PATIENT_SECONDS)
    def _insert(self, db: sa.Connection, asking: Asking) -> Request:
        return _insert(db, asking)

    @_writes(PATIENT_SECONDS)
    def _find_open(self, db: sa.Connection, asking: Asking) -> tuple[Request, bool]:
        past = {"of": asking.number_id, "at": asking.now}
        _close(db, db.execute(tables.OVERDUE_FOR, past).all(), asking.now, asking.within)
        if (lost := db.execute(tables.LOST_FOR, past).one_or_none()) is not None:
            _end(db, tables.END, (lost.id, 0), Outcome(Kind.REPLACED), asking.now, {}, claim=False)
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
    def pressed(self, db: sa.Connection, press: Press) -> None:
        """Record where a card stands whose press changed nothing, and that it may show an older state."""
        db.execute(tables.CLAIM_CARD, {"of": press.request_id, "due": press.now + LEASE} | _where_pressed(press))

    @_writes(PATIENT_SECONDS)
    def card_updated(self, db: sa.Connection, shown: Request, due: float) -> None:
        """End the claim `due` of a sweep, unless the request has changed or was claimed again since."""
        values = {"of": shown.id, "due": due, "nth": shown.attempt}
        db.execute(tables.CARD_UPDATED, values | {"shown_state": shown.state, "shown_until": shown.open_until})

    @_reads(PATIENT_SECONDS)
    def require(self, db: sa.Connection, request_id: str) -> Request:
        """The request as it stands, of an id that the ledger itself gave out: nothing deletes a row."""
        return _only(db, request_id)

    @_reads(ANSWER_SECONDS)
    def get(self, db: sa.Connection, request_id: str) -> Request | None:
        """The request as it stands, None if there is none of this id."""
        return _find(db, tables.REQUEST, request_id)

    @_writes(ANSWER_SECONDS)
    def confirm(self, db: sa.Connection, press: Press, call_ends_by: float, *, not_by_asker: bool) -> Request | None:
        """Confirm the request, or try it again; the confirmed request for the one press that did.

        `call_ends_by` is the moment by which the call has ended: a request still confirmed then was orphaned.
        """
        values = {
            "state": State.CONFIRMED,
            "attempt": press.attempt + 1,
            "decided_by": press.by,
            "decided_at": press.now,
            "call_ends_by": call_ends_by,
            "call_started_at": None,
            "open_until": None,
            **_where_pressed(press),
        }
        if_so = {"of": press.request_id, "nth": press.attempt, "at": press.now}
        unless = {"unless_asked_by": press.by if not_by_asker else ""}
        row = db.execute(tables.CONFIRM, if_so | unless | values).mappings().one_or_none()
        return None if row is None else _request(db, row)

    @_writes(PATIENT_SECONDS)
    def start_call(self, db: sa.Connection, request: Request, now: float) -> bool:
        """Record that the call of this attempt is about to be sent; False if the attempt has ended already."""
        values = {"of": request.id, "nth": request.attempt, "call_started_at": now}
        return db.execute(tables.START_CALL, values).rowcount == 1

    @_writes(PATIENT_SECONDS)
    def end_unstarted(self, db: sa.Connection, press: Press, now: float, within: float) -> Request | None:
        """End the yes of a press if it was recorded and its call has not begun; the request, its ending claimed."""
        # The yes may still be in its commit: PostgreSQL would pass over a row that is not confirmed yet.
        db.execute(tables.LOCK, {"of": press.request_id})
        about, outcome = (press.request_id, press.attempt + 1), Outcome(Kind.NOT_STARTED)
        values = {"pressed_by": press.by, "pressed_at": press.now, **_offer(outcome, now, within)}
        return _end(db, tables.END_UNSTARTED, about, outcome, now, values, claim=True)

    @_writes(ANSWER_SECONDS)
    def keep(self, db: sa.Connection, press: Press) -> Request | None:
        """Close the request without a call; what it became for the one press that did, its ending claimed."""
        values = {"decided_by": press.by, "decided_at": press.now, **_where_pressed(press)}
        kept = Outcome(Kind.KEPT)
        return _end(db, tables.END_IN_TIME, (press.request_id, 0), kept, press.now, values, claim=True)

    @_writes(ANSWER_SECONDS)
    def expire(self, db: sa.Connection, press: Press) -> Request | None:
        """Close the request if its time is over; what it became for the one press that did, its ending claimed."""
        values = _where_pressed(press)
        expired = Outcome(Kind.EXPIRED)
        return _end(db, tables.END_TOO_LATE, (press.request_id, 0), expired, press.now, values, claim=True)

    @_writes(PATIENT_SECONDS)
    def finish(
        self, db: sa.Connection, request: Request, outcome: Outcome, now: float, within: float
    ) -> Request | None:
        """Write down what came of the call; the request, its ending claimed, or None if it had ended before.

        Where it can be tried again, that is offered for `within` seconds.
        """
        values = _offer(outcome, now, within)
        if request.attempt > 1:  # another replica may still be telling the attempt before, and update the card last
            values["card_due"] = now + LEASE
        return _end(db, tables.END, (request.id, request.attempt), outcome, now, values, claim=True)

    @_writes(PATIENT_SECONDS)
    def correct(self, db: sa.Connection, request: Request, outcome: Outcome, now: float, within: float) -> bool:
        """Put the outcome of a call in the place of "interrupted", as another copy has ended it; False if it has not.

        The new ending is due at once, or once the other copy has no time left to tell its own.
        """
        about = {"of": request.id, "nth": request.attempt}
        lost = db.execute(tables.LOST_ENDING, about).mappings().one_or_none()
        if lost is None:
            return False
        values = {
            "kind": outcome.kind,
            "message": outcome.message,
            "retry_at": _retry_at(outcome, now),
            "ended_at": now,
            "tellings": 0,
            "tell_after": min(max(lost["tell_after"], now), now + LEASE),
            "posted_at": None,
            "told_at": None,
            "correction": lost["tellings"] > 0,
        }
        db.execute(tables.CHANGE_ENDING, about | values)
        change = about | {"state": outcome.kind.state, "card_due": now + LEASE}
        # It can be tried again only while the request holds its number: there may be a later one.
        if not db.execute(tables.CORRECT_HELD, change | _offer(outcome, now, within)).rowcount:
            db.execute(tables.CORRECT, change)
        return True

    async def sweep(self, now: float, within: float, running: frozenset[str] = frozenset()) -> Swept:
        """Expire, rescue and claim what is due at `now`. `running` are the requests whose call this copy holds."""
        return await self._sweep(now, within, running) if await self._anything_due(now) else Swept([], [])

    @_reads(PATIENT_SECONDS)
    def _anything_due(self, db: sa.Connection, now: float) -> bool:
        return bool(db.scalar(tables.ANYTHING_DUE, {"at": now}))

    @_writes(PATIENT_SECONDS)
    def _sweep(self, db: sa.Connection, now: float, within: float, running: frozenset[str]) -> Swept:
        _close(db, db.execute(tables.OVERDUE, {"at": now}).all(), now, within, running)
        untold = db.execute(tables.UNTOLD, {"at": now}).mappings().all()
        cards = db.execute(tables.CARDS_DUE, {"at": now}).all()
        claim = {"due": now + LEASE}
        return Swept(
            [_claim(db, _ending(row), now + LEASE) for row in untold],
            [_request(db, db.execute(tables.CLAIM_CARD, {"of": r.id} | claim).mappings().one()) for r in cards],
        )

    @_reads(ANSWER_SECONDS)
    def history(
        self, db: sa.Connection, since: float = 0.0, limit: int | None = None
    ) -> list[tuple[Request, list[Ending]]]:
        """The requests asked since then, newest first, each with its endings in their order."""
        newest = sa.select(requests).where(requests.c.asked_at >= since).order_by(requests.c.asked_at.desc())
        found = [_request(db, row) for row in db.execute(newest.limit(limit)).mappings().all()]
        return [(request, _endings_of(db, request.id)) for request in found]

    @_reads(ANSWER_SECONDS)
    def open_requests(self, db: sa.Connection, now: float) -> list[Request]:
        """The requests that a press can still confirm, or whose call is under way; newest first."""
        can = sa.or_(requests.c.open_until > now, requests.c.state == State.CONFIRMED)
        newest = sa.select(requests).where(can).order_by(requests.c.asked_at.desc())
        return [_request(db, row) for row in db.execute(newest).mappings().all()]

    @_reads(ANSWER_SECONDS)
    def gauges(self, db: sa.Connection, now: float) -> tuple[int, float]:
        """How many cards wait for a first press, and the age in seconds of the oldest untold ending (0: none)."""
        waiting = sa.select(sa.func.count()).select_from(requests)
        oldest = sa.select(sa.func.min(endings.c.ended_at)).where(endings.c.told_at.is_(None))
        pending = db.scalar(waiting.where(requests.c.state == State.PENDING, requests.c.open_until > now)) or 0
        ended_at = db.scalar(oldest)
        return pending, 0.0 if ended_at is None else max(now - ended_at, 0.0)

    @_reads(ANSWER_SECONDS)
    def last_endings(self, db: sa.Connection, limit: int) -> list[tuple[Request, Ending]]:
        """The last endings, newest first, each with its request as it stands now."""
        newest = sa.select(endings).order_by(endings.c.ended_at.desc()).limit(limit)
        found = [_ending(row) for row in db.execute(newest).mappings().all()]
        return [(_only(db, ending.request_id), ending) for ending in found]

    @_writes(PATIENT_SECONDS)
    def posted(self, db: sa.Connection, ending: Ending, now: float) -> None:
        """Record that Slack took the message of an ending: it is not posted again."""
        _mark(db, ending, posted_at=now)

    @_writes(PATIENT_SECONDS)
    def told(self, db: sa.Connection, ending: Ending, now: float) -> None:
        """Record that an ending is told in full."""
        _mark(db, ending, told_at=now)

    @_writes(PATIENT_SECONDS)
    def tell_later(self, db: sa.Connection, ending: Ending, when: float) -> None:
        """Give the telling back: it is due again at `when`."""
        _mark(db, ending, tell_after=when)


def _same(ending: Ending) -> dict[str, Any]:
    return {"of": ending.request_id, "nth": ending.attempt}


def _mark(db: sa.Connection, ending: Ending, **values: float) -> None:
    db.execute(tables.CHANGE_UNTOLD, _same(ending) | {"told_kind": ending.kind} | values)


def _insert(db: sa.Connection, asking: Asking) -> Request:
    """A new request. Raises AlreadyOpen where there is an open one for the number."""
    request = Request(
        id=secrets.token_hex(16),
        number_id=asking.number_id,
        open_number=asking.number_id,
        state=State.PENDING,
        attempt=0,
        channel=asking.channel,
        asked_by=asking.asked_by,
        asked_at=asking.now,
        open_until=asking.now + asking.within,
        posting_until=asking.now + LEASE,
        reply_url=asking.reply_url,
        dry_run=asking.dry_run,
        reason=asking.reason,
        phone=asking.phone,
        label=asking.label,
    )
    values = vars(request)
    try:
        db.execute(tables.ASK, {name: value for name, value in values.items() if name != "ending"})
    except IntegrityError as error:
        raise AlreadyOpen from error
    return request


def _where_pressed(press: Press) -> dict[str, Any]:
    """What a press on a card tells: where the card is, and a response_url that can replace it."""
    values: dict[str, Any] = {}
    if press.reply_url is not None:
        values |= {"reply_url": press.reply_url, "reply_replaces": True}
    if press.card_ts is not None and press.channel is not None:  # the end is told where the yes was given
        values |= {"card_posted": True, "card_ts": press.card_ts, "channel": press.channel}
    return values


def _offer(outcome: Outcome, now: float, within: float) -> dict[str, Any]:
    return {"open_until": now + within} if outcome.kind.can_try_again else {"open_until": None, "open_number": None}


def _retry_at(outcome: Outcome, now: float) -> float | None:
    return None if outcome.retry_after is None else now + outcome.retry_after


def _end(
    db: sa.Connection,
    arrow: ReturningUpdate[Any],
    about: tuple[str, int],
    outcome: Outcome,
    now: float,
    values: dict[str, Any],
    *,
    claim: bool,
) -> Request | None:
    """The one way to an ending: change the row if it still is what it was, and write the ending beside it."""
    request_id, attempt = about
    before = {"of": request_id, "nth": attempt, "was": State.CONFIRMED if attempt else State.PENDING, "at": now}
    after = {"state": outcome.kind.state, "call_ends_by": None} | ({} if attempt else _offer(outcome, now, 0)) | values
    row = db.execute(arrow, before | after).mappings().one_or_none()
    if row is None:
        return None
    ending = Ending(
        request_id=request_id,
        attempt=attempt,
        kind=outcome.kind,
        message=outcome.message,
        retry_at=_retry_at(outcome, now),
        after_unknown=db.scalar(tables.ENDED_UNKNOWN, {"of": row["number_id"]}) is not None,
        decided_by=row["decided_by"],
        decided_at=row["decided_at"],
        ended_at=now,
        tellings=int(claim),
        tell_after=now + LEASE if claim else now,
        posted_at=None,
        told_at=None,
    )
    db.execute(tables.WRITE_ENDING, vars(ending))
    return _shaped(row, ending)


def _close(
    db: sa.Connection,
    overdue: Sequence[sa.Row[Any]],
    now: float,
    within: float,
    running: frozenset[str] = frozenset(),
) -> None:
    """Expire what is past its time, end what was interrupted, withdraw old offers. The rows are locked here."""
    for row in overdue:
        if row.state == State.PENDING:
            _end(db, tables.END, (row.id, 0), Outcome(Kind.EXPIRED), now, {}, claim=False)
        elif row.state == State.CONFIRMED:
            if row.id not in running:
                # Without a recorded start nothing was sent: a replica that is late finds the attempt ended.
                cut = Outcome(Kind.NOT_STARTED if row.call_started_at is None else Kind.LOST)
                # The replica that was interrupted may still update the card.
                values = _offer(cut, now, within) | {"card_due": now + LEASE}
                _end(db, tables.END, (row.id, row.attempt), cut, now, values, claim=False)
        else:
            db.execute(tables.CHANGE, {"of": row.id, "open_number": None, "open_until": None, "card_due": now})


def _endings_of(db: sa.Connection, request_id: str) -> list[Ending]:
    found = sa.select(endings).where(endings.c.request_id == request_id).order_by(endings.c.attempt)
    return [_ending(row) for row in db.execute(found).mappings().all()]


def _claim(db: sa.Connection, ending: Ending, until: float) -> Ending:
    """Take the telling of an ending whose row is locked here: until then nobody else tells it."""
    claimed = replace(ending, tell_after=until, tellings=ending.tellings + 1)
    db.execute(tables.CHANGE_ENDING, _same(ending) | {"tell_after": until, "tellings": claimed.tellings})
    return claimed


def _ending(row: sa.RowMapping) -> Ending:
    return Ending(**{**row, "kind": Kind(row["kind"])})


def _find(db: sa.Connection, which: sa.Select[Any], of: str) -> Request | None:
    row = db.execute(which, {"of": of}).mappings().one_or_none()
    return None if row is None else _request(db, row)


def _only(db: sa.Connection, request_id: str) -> Request:
    return _request(db, db.execute(tables.REQUEST, {"of": request_id}).mappings().one())


def _request(db: sa.Connection, row: sa.RowMapping) -> Request:
    if State(row["state"]) in (State.PENDING, State.CONFIRMED):  # not ended yet
        return _shaped(row)
    return _shaped(row, _ending(db.execute(tables.ENDING, {"of": row["id"], "nth": row["attempt"]}).mappings().one()))


def _shaped(row: sa.RowMapping, ending: Ending | None = None) -> Request:
    return Request(**{**row, "state": State(row["state"]), "ending": ending})

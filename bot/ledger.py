"""The ledger: every request is kept, and each change of its state is one conditional UPDATE.

    pending --click--> confirmed --answer--> succeeded | refused | unknown
       |                   ^                              |        |
       |                   +---------- try again ---------+--------+
       +--click--> kept
       +--time---> expired

Whoever changed the row goes on; everybody else learns who did. An ending is written in the same transaction as the
change that brings it, and stays due until it is told. All moments are seconds since the epoch, passed in by the caller.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from functools import partial, wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, IntegrityError, SQLAlchemyError

from bot.errors import LedgerError, NewerLedger
from bot.outcome import Kind, Outcome, State

SCHEMA_VERSION = 2
# The columns that each version added to the requests of the one before.
ADDED = {2: ("phone VARCHAR(40)", "label TEXT")}
# A teller, or a poster of a card, has this long before another copy of the bot may take over.
LEASE = 15.0
# The ack is due within 3 s: a locked database must say so before.
BUSY_SECONDS = 1.5
# A database that neither answers nor breaks must not cost the ack either; what runs behind it has more patience.
ANSWER_SECONDS = 2.0
PATIENT_SECONDS = 30.0
THREADS = 4
IN_BETWEEN = (
    "The bot lost its record in the middle of this, and nobody knows whether it was recorded. Nothing was sent to "
    "Cellcast for it. Please look at the card, and try again in a moment."
)

P = ParamSpec("P")
T = TypeVar("T")

_tables = sa.MetaData()
_version = sa.Table("ledger_version", _tables, sa.Column("version", sa.Integer, primary_key=True))
_requests = sa.Table(
    "requests",
    _tables,
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
    sa.Column("posting_until", sa.Double, nullable=False),
    sa.Column("card_posted", sa.Boolean, nullable=False),
    sa.Column("card_ts", sa.String(32)),
    sa.Column("reply_url", sa.Text),
    sa.Column("reply_replaces", sa.Boolean, nullable=False),
    sa.Index("requests_by_state", "state", "open_until"),
    sa.Index("requests_by_number", "number_id"),
)
_endings = sa.Table(
    "endings",
    _tables,
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
    sa.Index("endings_untold", "told_at", "tell_after"),
)


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


@dataclass(frozen=True)
class Request:
    """A request as it stands. `open_until` is the moment until which a press can (again) confirm it, if any."""

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
    decided_by: str | None
    decided_at: float | None
    call_ends_by: float | None
    posting_until: float
    card_posted: bool
    card_ts: str | None
    reply_url: str | None
    reply_replaces: bool
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
    """What a sweep found due: endings to tell now (claimed), and requests whose offer to try again is over."""

    endings: list[Ending]
    offers_over: list[Request]


Method = Callable[Concatenate["Ledger", P], T]
OnThread = Callable[Concatenate["Ledger", P], Coroutine[Any, Any, T]]


def _within(seconds: float) -> Callable[[Method[P, T]], OnThread[P, T]]:
    """Run a method on the ledger's threads, and wait so long for it; what fails becomes a LedgerError."""

    def decorate(method: Method[P, T]) -> OnThread[P, T]:
        def guarded(ledger: Ledger, /, *args: P.args, **kwargs: P.kwargs) -> T:
            try:
                return method(ledger, *args, **kwargs)
            except SQLAlchemyError as error:
                lost = isinstance(error, DBAPIError) and error.connection_invalidated
                raise (LedgerError(IN_BETWEEN) if lost else LedgerError()) from error

        @wraps(method)
        async def call(ledger: Ledger, /, *args: P.args, **kwargs: P.kwargs) -> T:
            work = ledger.threads.submit(partial(guarded, ledger, *args, **kwargs))
            try:
                async with asyncio.timeout(seconds):
                    return await asyncio.wrap_future(work)
            except TimeoutError as error:  # what has not begun is not done any more
                raise (LedgerError() if work.cancelled() else LedgerError(IN_BETWEEN)) from error

        return call

    return decorate


class Ledger:
    """The requests and their endings in one database, used from a few threads, by any number of copies of the bot.

    Every method raises LedgerError where the database is down or locked; then nothing was changed.
    """

    def __init__(self, url: str) -> None:
        self.threads = ThreadPoolExecutor(THREADS, thread_name_prefix="ledger")
        self._sqlite = url.startswith("sqlite")
        # An error's text goes to the log: without the parameters, which hold people's words and response_urls.
        options: dict[str, Any] = {"pool_size": THREADS, "pool_timeout": BUSY_SECONDS, "hide_parameters": True}
        if self._sqlite:
            self._engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS}, **options)
            sa.event.listen(self._engine, "connect", _prepare_sqlite)
            sa.event.listen(self._engine, "begin", _begin_sqlite)
        else:
            limits = f"-c statement_timeout={BUSY_SECONDS * 1000:.0f} -c lock_timeout={BUSY_SECONDS * 1000:.0f}"
            options_given = make_url(url).query.get("options", "")
            # A server that is gone without a word is noticed in the time of an ack.
            patience = {"connect_timeout": 2, "tcp_user_timeout": 2500, "keepalives_idle": 5, "keepalives_interval": 2}
            arguments = patience | {"options": f"{options_given} {limits}"}
            self._engine = sa.create_engine(url, connect_args=arguments, pool_pre_ping=True, **options)

    def _read(self) -> sa.Connection:
        return self._engine.connect()

    def _write(self) -> sa.Connection:
        return self._engine.connect().execution_options(ledger_writes=True)

    def close(self) -> None:
        """Close the threads and connections."""
        self.threads.shutdown()
        self._engine.dispose()

    @_within(PATIENT_SECONDS)
    def open(self) -> None:
        """Make the tables where they are missing. Raises NewerLedger where a newer bot wrote them."""
        with self._write() as db, db.begin():
            if not self._sqlite:
                db.execute(sa.select(sa.func.pg_advisory_xact_lock(7_263_549)))  # several copies start at once
            _tables.create_all(db)
            version = db.scalar(sa.select(sa.func.max(_version.c.version)))
            if version is None:
                db.execute(_version.insert().values(version=SCHEMA_VERSION))
            elif version > SCHEMA_VERSION:
                raise NewerLedger(
                    f"The database was written by a newer version of this bot (schema {version}, this bot knows "
                    f"{SCHEMA_VERSION}). Run that version or a later one, or point DATABASE_URL to another database."
                )
            else:
                for number in range(version + 1, SCHEMA_VERSION + 1):
                    for column in ADDED[number]:
                        db.exec_driver_sql(f"ALTER TABLE requests ADD COLUMN {column}")
                db.execute(_version.update().values(version=SCHEMA_VERSION))

    @_within(ANSWER_SECONDS)
    def check(self) -> None:
        """Prove that the database can be written, and change nothing."""
        with self._write() as db, db.begin() as transaction:
            db.execute(_requests.delete().where(_requests.c.id == ""))
            transaction.rollback()

    @_within(ANSWER_SECONDS)
    def ask(self, asking: Asking) -> tuple[Request, bool]:
        """Record an asking; the request, and whether a card is to be posted for it.

        There is one open request for a number. If its card got lost, this asking takes it over with a fresh card.
        """
        with self._write() as db, db.begin():
            past = sa.and_(_requests.c.open_number == asking.number_id, _requests.c.open_until <= asking.now)
            overdue = db.execute(sa.select(_requests).where(past).with_for_update()).all()
            _close(db, overdue, asking.now, asking.within)
            values = {
                "channel": asking.channel,
                "asked_by": asking.asked_by,
                "asked_at": asking.now,
                "open_until": asking.now + asking.within,
                "posting_until": asking.now + LEASE,
                "reply_url": asking.reply_url,
                "dry_run": asking.dry_run,
                "reason": asking.reason,
                "phone": asking.phone,
                "label": asking.label,
            }
            new = {
                "id": secrets.token_hex(16),
                "number_id": asking.number_id,
                "open_number": asking.number_id,
                "state": State.PENDING,
                "attempt": 0,
                "card_posted": False,
                "reply_replaces": False,
            }
            try:
                with db.begin_nested():
                    db.execute(_requests.insert().values(**new, **values))
            except IntegrityError:  # there is an open one: only the database can tell who was first
                lost_card = sa.and_(
                    _requests.c.open_number == asking.number_id,
                    _requests.c.state == State.PENDING,
                    _requests.c.card_posted.is_(False),
                    _requests.c.posting_until <= asking.now,
                )
                fresh = db.execute(_requests.update().where(lost_card).values(**values)).rowcount == 1
            else:
                fresh = True
            return _only(db, _requests.c.open_number == asking.number_id), fresh

    @_within(PATIENT_SECONDS)
    def card_posted(self, request_id: str, ts: str | None) -> Request:
        """Record that the card stands in the channel; `ts` is None where Slack did not tell (response_url).

        Returns the request as it stands: it may have ended while the card was on its way.
        """
        with self._write() as db, db.begin():
            same = _requests.c.id == request_id
            db.execute(_requests.update().where(same).values(card_posted=True))
            db.execute(_requests.update().where(same, _requests.c.card_ts.is_(None)).values(card_ts=ts))
            return _only(db, same)

    @_within(PATIENT_SECONDS)
    def card_lost(self, request_id: str) -> None:
        """Record that nobody knows of a card: the next asking posts a fresh one."""
        with self._write() as db, db.begin():
            db.execute(_requests.update().where(_requests.c.id == request_id).values(posting_until=0.0))

    @_within(PATIENT_SECONDS)
    def require(self, request_id: str) -> Request:
        """The request as it stands, of an id that the ledger itself gave out: nothing deletes a row."""
        with self._read() as db:
            return _only(db, _requests.c.id == request_id)

    @_within(ANSWER_SECONDS)
    def get(self, request_id: str) -> Request | None:
        """The request as it stands, None if there is none of this id."""
        with self._read() as db:
            return _find(db, _requests.c.id == request_id)

    @_within(ANSWER_SECONDS)
    def confirm(self, press: Press, call_ends_by: float, *, not_by_asker: bool) -> Request | None:
        """Confirm the request, or try it again; the confirmed request for the one press that did.

        `call_ends_by` is the moment by which the call has ended: a request still confirmed then was orphaned.
        """
        values = {
            "state": State.CONFIRMED,
            "attempt": press.attempt + 1,
            "decided_by": press.by,
            "decided_at": press.now,
            "call_ends_by": call_ends_by,
            "open_until": None,
            **_where_pressed(press),
        }
        can = [
            _requests.c.id == press.request_id,
            _requests.c.state.in_([State.PENDING, State.REFUSED, State.UNKNOWN]),
            _requests.c.attempt == press.attempt,
            _requests.c.open_until > press.now,
        ]
        if not_by_asker:
            can.append(_requests.c.asked_by != press.by)
        with self._write() as db, db.begin():
            if db.execute(_requests.update().where(*can).values(**values)).rowcount == 0:
                return None
            return _only(db, _requests.c.id == press.request_id)

    @_within(ANSWER_SECONDS)
    def keep(self, press: Press) -> Ending | None:
        """Close the request without a call; its ending for the one press that did, claimed for telling."""
        with self._write() as db, db.begin():
            still_open = _requests.c.open_until > press.now
            values = {"decided_by": press.by, "decided_at": press.now, **_where_pressed(press)}
            return _end(db, press.request_id, 0, Outcome(Kind.KEPT), press.now, still_open, values, claim=True)

    @_within(ANSWER_SECONDS)
    def expire(self, press: Press) -> Ending | None:
        """Close the request if its time is over; its ending for the one press that did, claimed for telling."""
        with self._write() as db, db.begin():
            late = _requests.c.open_until <= press.now
            values = _where_pressed(press)
            return _end(db, press.request_id, 0, Outcome(Kind.EXPIRED), press.now, late, values, claim=True)

    @_within(PATIENT_SECONDS)
    def finish(self, request: Request, outcome: Outcome, now: float, within: float) -> Ending | None:
        """Write down what came of the call; the ending, claimed for telling, or None if it was ended before.

        Where it can be tried again, that is offered for `within` seconds.
        """
        with self._write() as db, db.begin():
            return _end(
                db, request.id, request.attempt, outcome, now, sa.true(), _offer(outcome, now, within), claim=True
            )

    @_within(PATIENT_SECONDS)
    def sweep(self, now: float, within: float, running: frozenset[str] = frozenset()) -> Swept:
        """Expire, rescue and claim what is due at `now`. `running` are the requests whose call this copy holds."""
        with self._read() as db:
            if not _anything_due(db, now):
                return Swept([], [])
        with self._write() as db, db.begin():
            # What another copy holds at this moment it closes itself; SQLite has one writer anyway.
            locked = sa.select(_requests).where(_overdue(now)).with_for_update(skip_locked=True)
            over = _close(db, db.execute(locked).all(), now, within, running)
            first = (
                sa.select(_endings)
                .where(_untold(now))
                .order_by(_endings.c.tell_after)
                .limit(20)
                .with_for_update(skip_locked=True)
            )
            endings = [_claim(db, _ending(row), now + LEASE) for row in db.execute(first).mappings().all()]
            return Swept(endings, over)

    @_within(ANSWER_SECONDS)
    def history(self, since: float = 0.0, limit: int | None = None) -> list[tuple[Request, list[Ending]]]:
        """The requests asked since then, newest first, each with its endings in their order."""
        newest = sa.select(_requests).where(_requests.c.asked_at >= since).order_by(_requests.c.asked_at.desc())
        with self._read() as db:
            found = [_request(db, row) for row in db.execute(newest.limit(limit)).mappings().all()]
            return [(request, _endings_of(db, request.id)) for request in found]

    @_within(ANSWER_SECONDS)
    def open_requests(self, now: float) -> list[Request]:
        """The requests that a press can still confirm, or whose call is under way; newest first."""
        can = sa.or_(_requests.c.open_until > now, _requests.c.state == State.CONFIRMED)
        newest = sa.select(_requests).where(can).order_by(_requests.c.asked_at.desc())
        with self._read() as db:
            return [_request(db, row) for row in db.execute(newest).mappings().all()]

    @_within(ANSWER_SECONDS)
    def gauges(self, now: float) -> tuple[int, float]:
        """How many cards wait for a first press, and the age in seconds of the oldest untold ending (0: none)."""
        waiting = sa.select(sa.func.count()).select_from(_requests)
        oldest = sa.select(sa.func.min(_endings.c.ended_at)).where(_endings.c.told_at.is_(None))
        with self._read() as db:
            pending = db.scalar(waiting.where(_requests.c.state == State.PENDING, _requests.c.open_until > now)) or 0
            ended_at = db.scalar(oldest)
            return pending, 0.0 if ended_at is None else max(now - ended_at, 0.0)

    @_within(ANSWER_SECONDS)
    def last_endings(self, limit: int) -> list[tuple[Request, Ending]]:
        """The last endings, newest first, each with its request as it stands now."""
        newest = sa.select(_endings).order_by(_endings.c.ended_at.desc()).limit(limit)
        with self._read() as db:
            endings = [_ending(row) for row in db.execute(newest).mappings().all()]
            return [(_only(db, _requests.c.id == ending.request_id), ending) for ending in endings]

    @_within(PATIENT_SECONDS)
    def posted(self, ending: Ending, now: float) -> None:
        """Record that Slack took the message of an ending: it is not posted again."""
        self._mark(ending, posted_at=now)

    @_within(PATIENT_SECONDS)
    def told(self, ending: Ending, now: float) -> None:
        """Record that an ending is told in full."""
        self._mark(ending, told_at=now)

    @_within(PATIENT_SECONDS)
    def tell_later(self, ending: Ending, when: float) -> None:
        """Give the telling back: it is due again at `when`."""
        self._mark(ending, tell_after=when)

    def _mark(self, ending: Ending, **values: float) -> None:
        with self._write() as db, db.begin():
            same = _same(ending.request_id, ending.attempt)
            db.execute(_endings.update().where(same, _endings.c.told_at.is_(None)).values(**values))


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself: see _begin_sqlite
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(db: sa.Connection) -> None:
    # A writer takes its lock at once: upgrading a read in the middle would fail where another wrote meanwhile.
    db.exec_driver_sql("BEGIN IMMEDIATE" if db.get_execution_options().get("ledger_writes") else "BEGIN")


def _same(request_id: str, attempt: int) -> sa.ColumnElement[bool]:
    return sa.and_(_endings.c.request_id == request_id, _endings.c.attempt == attempt)


def _where_pressed(press: Press) -> dict[str, Any]:
    """What a press tells of its card: it is there, and its response_url can replace it."""
    values: dict[str, Any] = {"card_posted": True}
    if press.reply_url is not None:
        values |= {"reply_url": press.reply_url, "reply_replaces": True}
    if press.card_ts is not None and press.channel is not None:  # the end is told where the yes was given
        values |= {"card_ts": press.card_ts, "channel": press.channel}
    return values


def _offer(outcome: Outcome, now: float, within: float) -> dict[str, Any]:
    return {"open_until": now + within} if outcome.kind.can_try_again else {"open_until": None, "open_number": None}


def _end(
    db: sa.Connection,
    request_id: str,
    attempt: int,
    outcome: Outcome,
    now: float,
    condition: sa.ColumnElement[bool],
    values: dict[str, Any],
    *,
    claim: bool,
) -> Ending | None:
    """The one way to an ending: change the row if it still is what it was, and write the ending beside it."""
    state = outcome.kind.state
    before = State.PENDING if attempt == 0 else State.CONFIRMED
    values = {"state": state, "call_ends_by": None} | ({} if attempt else _offer(outcome, now, 0)) | values
    same = [_requests.c.id == request_id, _requests.c.state == before, _requests.c.attempt == attempt, condition]
    if db.execute(_requests.update().where(*same).values(**values)).rowcount == 0:
        return None
    request = _only(db, _requests.c.id == request_id)
    ending = Ending(
        request_id=request_id,
        attempt=attempt,
        kind=outcome.kind,
        message=outcome.message,
        retry_at=None if outcome.retry_after is None else now + outcome.retry_after,
        after_unknown=_ended_unknown_before(db, request.number_id),
        decided_by=request.decided_by,
        decided_at=request.decided_at,
        ended_at=now,
        tellings=int(claim),
        tell_after=now + LEASE if claim else now,
        posted_at=None,
        told_at=None,
    )
    db.execute(_endings.insert().values(**vars(ending)))
    return ending


def _ended_unknown_before(db: sa.Connection, number_id: str) -> bool:
    unknown = [kind for kind in Kind if kind.state is State.UNKNOWN]
    joined = _endings.join(_requests, _requests.c.id == _endings.c.request_id)
    found = sa.select(sa.literal(1)).select_from(joined)
    return db.scalar(found.where(_requests.c.number_id == number_id, _endings.c.kind.in_(unknown)).limit(1)) is not None


def _overdue(now: float) -> sa.ColumnElement[bool]:
    open_over = _requests.c.open_until <= now
    orphaned = sa.and_(_requests.c.state == State.CONFIRMED, _requests.c.call_ends_by <= now)
    return sa.or_(open_over, orphaned)


def _untold(now: float) -> sa.ColumnElement[bool]:
    return sa.and_(_endings.c.told_at.is_(None), _endings.c.tell_after <= now)


def _anything_due(db: sa.Connection, now: float) -> bool:
    one = sa.literal(1)
    return (
        db.scalar(sa.select(one).select_from(_requests).where(_overdue(now)).limit(1)) is not None
        or db.scalar(sa.select(one).select_from(_endings).where(_untold(now)).limit(1)) is not None
    )


def _close(
    db: sa.Connection,
    overdue: Sequence[sa.Row[Any]],
    now: float,
    within: float,
    running: frozenset[str] = frozenset(),
) -> list[Request]:
    """Expire what is past its time, rescue what a crash orphaned, withdraw old offers; the last are returned.

    The rows are locked by this transaction.
    """
    over = []
    for row in overdue:
        if row.state == State.PENDING:
            _end(db, row.id, 0, Outcome(Kind.EXPIRED), now, _overdue(now), {}, claim=False)
        elif row.state == State.CONFIRMED:
            if row.id not in running:
                lost = Outcome(Kind.LOST)
                _end(db, row.id, row.attempt, lost, now, _overdue(now), _offer(lost, now, within), claim=False)
        else:
            closed = _requests.update().where(_requests.c.id == row.id).values(open_number=None, open_until=None)
            db.execute(closed)
            over.append(_only(db, _requests.c.id == row.id))
    return over


def _endings_of(db: sa.Connection, request_id: str) -> list[Ending]:
    found = sa.select(_endings).where(_endings.c.request_id == request_id).order_by(_endings.c.attempt)
    return [_ending(row) for row in db.execute(found).mappings().all()]


def _claim(db: sa.Connection, ending: Ending, until: float) -> Ending:
    """Take the telling of an ending whose row is locked here: until then nobody else tells it."""
    claimed = replace(ending, tell_after=until, tellings=ending.tellings + 1)
    values = {"tell_after": claimed.tell_after, "tellings": claimed.tellings}
    db.execute(_endings.update().where(_same(ending.request_id, ending.attempt)).values(**values))
    return claimed


def _ending(row: sa.RowMapping) -> Ending:
    return Ending(**{**row, "kind": Kind(row["kind"])})


def _find(db: sa.Connection, which: sa.ColumnElement[bool]) -> Request | None:
    row = db.execute(sa.select(_requests).where(which)).mappings().one_or_none()
    return None if row is None else _request(db, row)


def _request(db: sa.Connection, row: sa.RowMapping) -> Request:
    ending = db.execute(sa.select(_endings).where(_same(row["id"], row["attempt"]))).mappings().one_or_none()
    request = Request(**{**row, "state": State(row["state"])})
    return request if ending is None else replace(request, ending=_ending(ending))


def _only(db: sa.Connection, which: sa.ColumnElement[bool]) -> Request:
    """The one request; a LedgerError where another copy has changed it a moment ago: then it is to be asked again."""
    return _request(db, db.execute(sa.select(_requests).where(which)).mappings().one())

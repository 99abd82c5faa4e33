"""The database: a few threads, and the transactions in which the ledger's work is done.

A piece of work is a function of a connection. It is true once its transaction is committed, and only then does its
caller learn what came of it. SQLite has one writer: work that waits for its turn is committed together, so that a burst
pays for one commit instead of many. On PostgreSQL each piece has a connection and a transaction of its own.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from bot.errors import LedgerError

# The ack is due within 3 s: a locked database must say so before.
BUSY_SECONDS = 1.5
# A database that neither answers nor breaks must not cost the ack either; what runs behind it has more patience.
ANSWER_SECONDS = 2.4
PATIENT_SECONDS = 30.0
# Threads, and pieces of work in one transaction. Several threads that wait for SQLite's lock could starve each other.
SQLITE, POSTGRESQL = (1, 64), (4, 1)
IN_BETWEEN = (
    "The bot lost its record in the middle of this, and nobody knows whether it was recorded. Nothing was sent to "
    "Cellcast for it. Please look at the card, and try again in a moment."
)

T = TypeVar("T")
Work = Callable[[sa.Connection], T]


@dataclass(eq=False)
class Job:
    """A piece of work that somebody waits for."""

    work: Work[Any]
    writes: bool
    done: asyncio.Future[Any]
    began: bool = False
    given_up: bool = False  # nobody waits for it any more


class Database:
    """One database, for one event loop. SQLAlchemy's errors become LedgerError; then nothing was changed."""

    def __init__(self, url: str) -> None:
        self.is_sqlite = url.startswith("sqlite")
        threads, self._together = SQLITE if self.is_sqlite else POSTGRESQL
        self.threads = ThreadPoolExecutor(threads, thread_name_prefix="ledger")
        # What an ack waits for goes before what follows from one.
        self._urgent: deque[Job] = deque()
        self._patient: deque[Job] = deque()
        # An error's text goes to the log: without the parameters, which hold people's words and response_urls.
        options: dict[str, Any] = {"pool_size": threads, "pool_timeout": BUSY_SECONDS, "hide_parameters": True}
        if self.is_sqlite:
            self.engine = sa.create_engine(url, connect_args={"timeout": BUSY_SECONDS}, **options)
            sa.event.listen(self.engine, "connect", _prepare_sqlite)
            sa.event.listen(self.engine, "begin", _begin_sqlite)
        else:
            limits = f"-c statement_timeout={BUSY_SECONDS * 1000:.0f} -c lock_timeout={BUSY_SECONDS * 1000:.0f}"
            options_given = make_url(url).query.get("options", "")
            # A server that is gone without a word is noticed in the time of an ack.
            patience = {"connect_timeout": 2, "tcp_user_timeout": 2500, "keepalives_idle": 5, "keepalives_interval": 2}
            arguments = patience | {"options": f"{options_given} {limits}"}
            self.engine = sa.create_engine(url, connect_args=arguments, pool_pre_ping=True, **options)

    def close(self) -> None:
        """Close the threads and connections."""
        self.threads.shutdown()
        self.engine.dispose()

    async def do(self, work: Work[T], *, writes: bool, within: float) -> T:
        """Do the work, and wait `within` seconds for it: what has not begun by then, or not ended, is not done.

        One exception: what the database is committing at that moment may be done. Its error says IN_BETWEEN.
        """
        waiting = self._urgent if within <= ANSWER_SECONDS else self._patient
        job = Job(work, writes, asyncio.get_running_loop().create_future())
        waiting.append(job)
        self.threads.submit(self._turn)
        try:
            await asyncio.wait([job.done], timeout=within)
        finally:
            job.given_up = not job.done.done()
        if job.given_up:
            raise (LedgerError(IN_BETWEEN) if job.began else LedgerError()) from TimeoutError()
        found: T = job.done.result()
        return found

    @contextlib.contextmanager
    def transaction(self, *, writes: bool = True) -> Iterator[sa.Connection]:
        """One transaction on this thread, committed where nothing is raised."""
        with self.engine.connect().execution_options(writes=writes) as db:
            db.begin()
            yield db
            db.commit()

    def _turn(self) -> None:
        jobs: list[Job] = []
        while len(jobs) < self._together and (job := self._next()) is not None:
            if not job.given_up:
                jobs.append(job)
        if jobs:
            self._do(jobs)

    def _next(self) -> Job | None:
        for waiting in (self._urgent, self._patient):
            with contextlib.suppress(IndexError):  # another thread may have taken the last one
                return waiting.popleft()
        return None

    def _do(self, jobs: list[Job]) -> None:
        begun = False
        try:
            with self.transaction(writes=any(job.writes for job in jobs)) as db:
                begun = True
                results = [_step(job, db) for job in jobs]
                if any(job.given_up for job in jobs):  # it has been told as not recorded
                    raise LedgerError  # noqa: TRY301 - it leaves the transaction
        except Exception as error:  # noqa: BLE001 - who waits for the work gets it
            if begun and len(jobs) > 1:  # one of them spoils it for all
                for job in jobs:
                    self._do([job])
            else:
                _answer(jobs, [_sorted(error)] * len(jobs))
        else:
            _answer(jobs, results)


def _step(job: Job, db: sa.Connection) -> Any:
    if job.given_up:
        return None
    job.began = True
    return job.work(db)


def _sorted(error: Exception) -> Exception:
    if not isinstance(error, SQLAlchemyError):
        return error
    lost = isinstance(error, DBAPIError) and error.connection_invalidated
    found = LedgerError(IN_BETWEEN) if lost else LedgerError()
    found.__cause__ = error
    return found


def _answer(jobs: list[Job], results: list[Any]) -> None:
    """Wake the event loop once for all of them."""
    jobs[0].done.get_loop().call_soon_threadsafe(_set, jobs, results)


def _set(jobs: list[Job], results: list[Any]) -> None:
    for job, result in zip(jobs, results, strict=True):
        if job.given_up:
            job.done.cancel()
        elif isinstance(result, Exception):
            job.done.set_exception(result)
        else:
            job.done.set_result(result)


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself: see _begin_sqlite
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin_sqlite(db: sa.Connection) -> None:
    # A writer takes its lock at once: upgrading a read in the middle would fail where another wrote meanwhile.
    db.exec_driver_sql("BEGIN IMMEDIATE" if db.get_execution_options().get("writes") else "BEGIN")

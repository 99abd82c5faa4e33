"""One database: its engine, its limits in time, and its errors as LedgerError."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DataError, DBAPIError, SQLAlchemyError

from bot.errors import LedgerDataError, LedgerError
from bot.ledger.group_commit import GroupCommit, Job, Work
from bot.ledger.threads import Threads

# A locked database says so after this many seconds: the ack is due within 3.
LOCK_TIMEOUT = 1.5
# A database that neither answers nor fails must not cost the ack either; what nobody waits for has more patience.
ACK_TIMEOUT = 2.4
BACKGROUND_TIMEOUT = 30.0
# Threads, and jobs in one transaction. Several threads that wait for SQLite's lock could starve each other.
SQLITE, POSTGRESQL = (1, 64), (4, 1)
COMMIT_UNKNOWN = (
    "The database did not answer in time, so the bot does not know whether this was recorded. If there is a card, it "
    "will show what happened. If there is none, please try again in a moment."
)

T = TypeVar("T")


class _UndoneError(Exception):
    """Ends a transaction whose changes must not be committed."""


class Database:
    """One database, for one event loop.

    SQLAlchemy's errors become LedgerError. Nothing was changed, unless its text is COMMIT_UNKNOWN.

    Every outcome that is settled through it gets an audit line if it is `auditing`.

    `file` is SQLite's file. Without `create` the file must exist already, because
    SQLite creates it with the first connection.
    """

    def __init__(
        self,
        url: str,
        start_threads: Callable[[int], Threads] = Threads,
        *,
        create: bool = True,
        auditing: bool = False,
    ) -> None:
        self._auditing = auditing
        is_sqlite = url.startswith("sqlite")
        name = make_url(url).database or ""
        self.file = Path(name) if is_sqlite else None
        threads, group = SQLITE if is_sqlite else POSTGRESQL
        # An error's text goes to the log: without the parameters, which hold people's words and response_urls.
        options: dict[str, Any] = {"pool_size": threads, "pool_timeout": LOCK_TIMEOUT, "hide_parameters": True}
        if is_sqlite:
            self.engine = sa.create_engine(url, connect_args={"timeout": LOCK_TIMEOUT}, **options)
            sa.event.listen(self.engine, "connect", _prepare_sqlite)
            if create:
                sa.event.listen(self.engine, "connect", _use_wal)
            sa.event.listen(self.engine, "begin", _begin_sqlite)
        else:
            limits = f"-c statement_timeout={LOCK_TIMEOUT * 1000:.0f} -c lock_timeout={LOCK_TIMEOUT * 1000:.0f}"
            # A server, a role or a URL can switch it off: then a crash of the server loses what was committed.
            durable = "-c synchronous_commit=on"
            options_given = make_url(url).query.get("options", "")
            # A server that is gone without a word is noticed in the time of an ack.
            patience = {"connect_timeout": 2, "tcp_user_timeout": 2500, "keepalives_idle": 5, "keepalives_interval": 2}
            # The server converts texts, so that it says which it can't store; without an encoding it takes all of them.
            arguments = patience | {"options": f"{options_given} {limits} {durable}", "client_encoding": "utf8"}
            self.engine = sa.create_engine(url, connect_args=arguments, pool_pre_ping=True, **options)
        self.jobs = GroupCommit(self._connect, start_threads(threads), group)

    def close(self) -> None:
        """Close the threads and connections."""
        self.jobs.close()
        self.engine.dispose()

    async def read(self, work: Work[T], *, timeout: float = BACKGROUND_TIMEOUT) -> T:
        """Run a function of a connection that changes nothing, and return its result."""
        return await self._run(work, writes=False, timeout=timeout)

    async def write(self, work: Work[T], *, timeout: float = BACKGROUND_TIMEOUT) -> T:
        """Run a function of a connection in a transaction, and return its result when that is committed.

        What has not ended when the time is over is rolled back, unless the database is just committing it: then the
        LedgerError says COMMIT_UNKNOWN.
        """
        return await self._run(work, writes=True, timeout=timeout)

    async def rehearse(self, work: Work[object]) -> None:
        """Run a function of a connection in a transaction that is rolled back. Raise LedgerError if it would fail."""

        def undone(db: sa.Connection) -> None:
            work(db)
            raise _UndoneError

        with contextlib.suppress(_UndoneError):
            await self.write(undone)

    async def _run(self, work: Work[T], *, writes: bool, timeout: float) -> T:
        job = Job(work, writes=writes)
        try:
            return await self.jobs.submit(job, timeout=timeout, first=timeout <= ACK_TIMEOUT)
        except TimeoutError as error:
            raise (LedgerError(COMMIT_UNKNOWN) if job.began else LedgerError()) from error
        except (DataError, UnicodeEncodeError) as error:
            raise LedgerDataError from error
        except SQLAlchemyError as error:
            lost = isinstance(error, DBAPIError) and error.connection_invalidated
            raise (LedgerError(COMMIT_UNKNOWN) if lost or job.committing else LedgerError()) from error

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """One transaction on this thread, committed if nothing is raised."""
        with self._connect(writes=True) as db:
            yield db
            db.commit()

    @contextlib.contextmanager
    def _connect(self, *, writes: bool) -> Iterator[sa.Connection]:
        with self.engine.connect().execution_options(writes=writes, auditing=self._auditing) as db:
            db.begin()
            try:
                yield db
            except SQLAlchemyError:
                if not db.in_transaction():  # the commit failed: SQLAlchemy would not roll back, and use it again
                    db.invalidate()
                raise


def _prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None  # the driver begins nothing by itself: see _begin_sqlite
    for pragma in ("synchronous=FULL", "foreign_keys=ON"):
        connection.execute(f"PRAGMA {pragma}")


def _use_wal(connection: Any, _record: object) -> None:
    connection.execute("PRAGMA journal_mode=WAL")  # the file keeps it


def _begin_sqlite(db: sa.Connection) -> None:
    # A writer takes its lock at once: upgrading a read in the middle would fail if another wrote meanwhile.
    db.exec_driver_sql("BEGIN IMMEDIATE" if db.get_execution_options().get("writes") else "BEGIN")

"""Work on the database: what waits shares a transaction, what fails fails alone, and what was given up is not done."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Callable

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from bot.errors import LedgerDataError, LedgerError
from bot.ledger.database import ACK_TIMEOUT, BACKGROUND_TIMEOUT, COMMIT_UNKNOWN, Database
from tests.conftest import BOTH, POSTGRESQL, SQLITE

pytestmark = BOTH


@pytest.fixture
async def found(database: str) -> AsyncIterator[Database]:
    """A database with a table of words."""
    opened = Database(database)
    with opened.transaction() as db:
        db.execute(sa.text("CREATE TABLE words (word VARCHAR(20) PRIMARY KEY)"))
    yield opened
    opened.close()


def write(word: str) -> Callable[[sa.Connection], str]:
    """Work that writes a word."""

    def work(db: sa.Connection) -> str:
        db.execute(sa.text("INSERT INTO words VALUES (:word)"), {"word": word})
        return word

    return work


def words(found: Database) -> list[str]:
    """What is written, in its order."""
    with found.transaction() as db:
        return list(db.scalars(sa.text("SELECT word FROM words ORDER BY word")))


class Held:
    """Work that holds up its thread until the test lets go."""

    def __init__(
        self, found: Database, then: Callable[[sa.Connection], str], timeout: float = BACKGROUND_TIMEOUT
    ) -> None:
        self._go, self._then, self._there = threading.Event(), then, threading.Event()
        self.task = asyncio.create_task(found.write(self._work, timeout=timeout))

    def _work(self, db: sa.Connection) -> str:
        self._there.set()
        assert self._go.wait(20)
        return self._then(db)

    async def begun(self) -> None:
        """Wait until it runs."""
        assert await asyncio.to_thread(self._there.wait, 20)

    def let_go(self) -> None:
        """Let it end."""
        self._go.set()


@SQLITE
async def test_work_that_waits_is_committed_together(found: Database) -> None:
    """Fifty changes that waited for their turn pay for one commit, and each learns what came of it."""
    held = Held(found, write("first"))
    await held.begun()
    commits: list[object] = []
    sa.event.listen(found.engine, "commit", commits.append)
    given = [f"word {i:02}" for i in range(50)]
    waiting = [asyncio.create_task(found.write(write(w))) for w in given]
    await asyncio.sleep(0)
    held.let_go()
    assert await asyncio.gather(*waiting) == given
    assert len(commits) == 2
    assert words(found) == ["first", *given]


async def test_one_that_fails_fails_alone(found: Database) -> None:
    """A change that the database refuses spoils none of those that waited beside it."""
    held = Held(found, write("word 1"))
    await held.begun()
    given = ["word 2", "word 1", "word 3"]  # the second is there already
    waiting = [asyncio.create_task(found.write(write(w))) for w in given]
    await asyncio.sleep(0)
    held.let_go()
    ended = await asyncio.gather(held.task, *waiting, return_exceptions=True)
    assert sorted(e for e in ended if isinstance(e, str)) == ["word 1", "word 2", "word 3"]
    assert [type(e) for e in ended if not isinstance(e, str)] == [LedgerError]
    assert words(found) == ["word 1", "word 2", "word 3"]


@SQLITE
async def test_failed_commit_is_not_repeated(found: Database) -> None:
    """After a failed commit nobody knows what was recorded: no job is run a second time, and each caller hears so."""
    held = Held(found, write("first"))
    await held.begun()
    ran: list[str] = []

    def counted(word: str) -> Callable[[sa.Connection], str]:
        def work(db: sa.Connection) -> str:
            ran.append(word)
            return write(word)(db)

        return work

    def commits(_db: sa.Connection) -> None:
        if ran:
            raise sa.exc.OperationalError("COMMIT", {}, Exception("disk I/O error"))

    sa.event.listen(found.engine, "commit", commits)
    waiting = [asyncio.create_task(found.write(counted(word))) for word in ("second", "third")]
    await asyncio.sleep(0)
    held.let_go()
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert [str(error) for error in ended] == [COMMIT_UNKNOWN] * 2
    assert ran == ["second", "third"]


async def test_what_was_given_up_is_not_done(found: Database) -> None:
    """Who was told that nobody knows finds nothing done later; who was told that nothing was done likewise."""
    held = Held(found, write("late"), timeout=0.2)
    await held.begun()
    with pytest.raises(LedgerError, match="does not know whether this was recorded"):
        await held.task
    held.let_go()
    await found.write(write("next"))
    assert words(found) == ["next"]


@SQLITE
async def test_what_was_given_up_is_not_repeated(found: Database) -> None:
    """If a change fails, those beside it are run again, except one that its caller has given up."""
    held = Held(found, write("word 1"))
    await held.begun()
    ran: list[str] = []

    def work(db: sa.Connection) -> str:
        ran.append("word 2")
        return write("word 2")(db)

    refused = Held(found, write("word 1"))  # it is there already
    waiting = asyncio.create_task(found.write(work, timeout=0.5))
    await asyncio.sleep(0)
    held.let_go()
    await refused.begun()
    with pytest.raises(LedgerError, match="does not know whether this was recorded"):
        await waiting
    refused.let_go()
    with pytest.raises(LedgerError):
        await refused.task
    assert ran == ["word 2"]
    assert words(found) == ["word 1"]


@SQLITE
async def test_what_never_began_says_so(found: Database) -> None:
    """A change whose turn did not come in time was not recorded, and is not recorded later."""
    held = Held(found, write("held"))
    await held.begun()
    with pytest.raises(LedgerError, match="so this was not recorded"):
        await found.write(write("waits"), timeout=0.2)
    held.let_go()
    await held.task
    await found.write(write("next"))
    assert words(found) == ["held", "next"]


@SQLITE
async def test_what_an_ack_waits_for_goes_first(found: Database) -> None:
    """Changes that an ack waits for overtake those that follow from one."""
    order: list[str] = []

    def noted(word: str) -> Callable[[sa.Connection], str]:
        def work(db: sa.Connection) -> str:
            order.append(word)
            return write(word)(db)

        return work

    held = Held(found, noted("held"))
    await held.begun()
    patient = [asyncio.create_task(found.write(noted(f"p{i}"))) for i in range(3)]
    await asyncio.sleep(0)
    urgent = asyncio.create_task(found.write(noted("urgent"), timeout=ACK_TIMEOUT))
    await asyncio.sleep(0)
    held.let_go()
    await asyncio.gather(urgent, *patient)
    assert order == ["held", "urgent", "p0", "p1", "p2"]


@POSTGRESQL
async def test_commit_is_durable_whatever_the_server_says(database: str) -> None:
    """A commit on PostgreSQL is on the disk before it returns, also if the URL, the role or the server says otherwise."""
    url = make_url(database)
    off = url.update_query_dict({"options": f"{url.query['options']} -csynchronous_commit=off"})
    opened = Database(off.render_as_string(hide_password=False))
    setting = await opened.read(lambda db: db.scalar(sa.text("SHOW synchronous_commit")))
    opened.close()
    assert setting == "on"


@pytest.mark.parametrize("encoded_database", ["LATIN1", "SQL_ASCII"], indirect=True)
async def test_text_that_the_encoding_lacks(encoded_database: str) -> None:
    """A text that the database cannot encode is an error that says so; a database without an encoding takes it."""
    opened = Database(encoded_database)
    with opened.transaction() as db:
        db.execute(sa.text("CREATE TABLE words (word VARCHAR(20) PRIMARY KEY)"))
    if "SQL_ASCII" in str(await opened.read(lambda db: db.scalar(sa.text("SHOW server_encoding")))):
        await opened.write(write("caf\u00e9 \u2713"))
        assert words(opened) == ["caf\u00e9 \u2713"]
    else:
        await opened.write(write("caf\u00e9"))
        with pytest.raises(LedgerDataError, match="cannot store a character"):
            await opened.write(write("caf\u00e9 \u2713"))
        assert words(opened) == ["caf\u00e9"]
    opened.close()


async def test_half_a_character(found: Database) -> None:
    """A text with half a character, which no database can encode, is an error that says so."""
    with pytest.raises(LedgerDataError, match="cannot store a character"):
        await found.write(write("\ud83d"))
    assert words(found) == []


@POSTGRESQL
async def test_connection_that_breaks_leaves_it_open(found: Database) -> None:
    """If the connection breaks in the middle of a change, nobody reads that it was not recorded; later work goes on."""

    def work(db: sa.Connection) -> str:
        return str(db.scalar(sa.text("SELECT pg_terminate_backend(pg_backend_pid())")))

    with pytest.raises(LedgerError) as error:
        await found.write(work)
    assert str(error.value) == COMMIT_UNKNOWN
    assert await found.write(write("next")) == "next"


@SQLITE
async def test_connection_whose_commit_failed_is_not_used_again(found: Database) -> None:
    """After a COMMIT that failed, the next change begins a transaction of its own, and nothing of the first is there."""

    def fail(_db: sa.Connection) -> None:
        raise sa.exc.OperationalError("COMMIT", {}, sqlite3.OperationalError("disk I/O error"))

    sa.event.listen(found.engine, "commit", fail)
    with pytest.raises(LedgerError) as error:
        await found.write(write("lost"))
    assert str(error.value) == COMMIT_UNKNOWN
    sa.event.remove(found.engine, "commit", fail)
    await found.write(write("next"))
    assert words(found) == ["next"]

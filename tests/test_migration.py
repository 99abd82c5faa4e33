"""A database of an earlier version: nothing in it is lost, and nothing it left open is guessed.

The files under tests/ledgers/ were written by the code of their version.
"""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.ledger import Ledger, Press
from bot.outcome import Kind, State

FILES = Path(__file__).parent / "ledgers"
WITHIN = 900.0


@pytest.fixture
async def ledger(database: str, tmp_path: Path) -> AsyncIterator[Ledger]:
    """A ledger on a database that schema 2 wrote, not yet opened."""
    if database.startswith("sqlite"):
        shutil.copy(FILES / "schema_2.sqlite", tmp_path / "ledger.db")
    else:
        engine = sa.create_engine(database)
        with engine.begin() as db:
            for statement in (FILES / "schema_2.postgresql.sql").read_text().split(";\n"):
                db.exec_driver_sql(statement)
        engine.dispose()
    found = Ledger(database)
    yield found
    found.close()


def request_id(number: int) -> str:
    """The id of a request in the files."""
    return f"{number:032x}"


async def test_every_request_is_kept(ledger: Ledger) -> None:
    """Each request and each ending is there after the migration, which can be run again."""
    await ledger.open()
    await ledger.open()
    found = {
        request.id: (request.state, [ending.kind for ending in endings]) for request, endings in await ledger.history()
    }
    assert found == {
        request_id(1): (State.PENDING, []),
        request_id(2): (State.PENDING, []),
        request_id(3): (State.CONFIRMED, []),
        request_id(4): (State.SUCCEEDED, [Kind.SUCCEEDED]),
        request_id(5): (State.UNKNOWN, [Kind.TIMEOUT]),
        request_id(6): (State.REFUSED, [Kind.DECLINED]),
        request_id(7): (State.KEPT, [Kind.KEPT]),
    }
    assert (await ledger.require(request_id(4))).label == "Support line"


async def test_call_that_was_under_way_is_unknown(ledger: Ledger) -> None:
    """Schema 2 did not store whether a call had begun: what it left confirmed is unknown, never "nothing was sent"."""
    await ledger.open()
    await ledger.sweep(1126.0, WITHIN)
    endings = {request.id: endings for request, endings in await ledger.history()}
    assert [ending.kind for ending in endings[request_id(3)]] == [Kind.LOST]


async def test_first_schema(ledger: Ledger) -> None:
    """A database of schema 1, which had no names of numbers, goes through both migrations."""
    with ledger.database.transaction() as db:
        for column in ("phone", "label"):
            db.execute(sa.text(f"ALTER TABLE requests DROP COLUMN {column}"))
        db.execute(sa.text("UPDATE ledger_version SET version = 1"))
    await ledger.open()
    kept = await ledger.require(request_id(4))
    assert (kept.state, kept.phone, kept.label) == (State.SUCCEEDED, None, None)


async def test_requests_go_on(ledger: Ledger) -> None:
    """What waits can be confirmed, what is undelivered is delivered, an open offer can be tried again."""
    await ledger.open()
    swept = await ledger.sweep(1126.0, WITHIN)
    assert {ending.request_id for ending in swept.endings} == {request_id(3), request_id(6)}
    for number, attempt in ((1, 0), (5, 1)):
        press = Press(request_id(number), attempt, "U0BEN", 1130.0, "C0NUMBERS", f"{number}.000001")
        confirmed = await ledger.confirm(press, 1155.0, not_by_asker=False)
        assert confirmed is not None
        assert await ledger.start_call(confirmed, 1131.0)


async def test_the_schema_is_that_of_a_new_database(ledger: Ledger, database: str, tmp_path: Path) -> None:
    """A migrated SQLite database has the tables, columns and indexes of a new one."""
    if not database.startswith("sqlite"):
        pytest.skip("the statements are the same on PostgreSQL")
    await ledger.open()
    new = Ledger(f"sqlite:///{tmp_path}/new.db")
    await new.open()
    new.close()

    def shape(path: Path) -> object:
        with sqlite3.connect(path) as db:
            tables = ("ledger_version", "requests", "endings")
            columns = {t: {row[1] for row in db.execute(f"PRAGMA table_info({t})")} for t in tables}
            return columns, {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE type = 'index'")}

    assert shape(tmp_path / "ledger.db") == shape(tmp_path / "new.db")

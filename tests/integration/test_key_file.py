"""CELLCAST_API_KEY_FILE: a key that is rotated while the bot runs."""

from __future__ import annotations

import asyncio
import json
import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbox.fake_cellcast import SUCCESS, Answer, Cellcast, failure
from sandbox.fake_slack import Workspace
from tests.conftest import BEN, KEY, NUMBER, OTHER, Start, ask, public, settled

NEW = f"{KEY}-rotated-8d21c7"  # as if the file had been read before while it was half written


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    """The file of the key."""
    path = tmp_path / "key"
    path.write_text(f"{KEY}\n")
    return path


async def confirm(workspace: Workspace, number: str = NUMBER) -> str:
    """Ask for a number, confirm, and return the toast."""
    card = await ask(workspace, text=number)
    before = len(public(workspace))
    await workspace.click(BEN, card, "Unsubscribe Number")
    await workspace.until(lambda: len(public(workspace)) > before)
    return public(workspace)[-1].text


def events(said: str) -> list[str]:
    """The events of the key's file in a log."""
    lines = [json.loads(line) for line in said.splitlines() if line]
    return [line["event"] for line in lines if line["logger"] == "bot.key"]


async def test_rotated_key(
    start: Start, workspace: Workspace, cellcast: Cellcast, key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The call that meets the 401 stays refused; the next one has the new key, which no line of the log shows."""

    async def log_the_key(step: str) -> None:
        logging.getLogger("other").warning("%s with %s", step, NEW)

    async with start(cellcast_api_key=None, cellcast_api_key_file=str(key_file)) as bot:
        assert SUCCESS in await confirm(workspace)
        cellcast.key, cellcast.account_name = NEW, "Other Pty Ltd"
        key_file.write_text(f"{NEW}\n")
        assert "Token expired" in await confirm(workspace)
        await settled(bot)
        assert len(cellcast.calls) == 2  # the refused call was not repeated
        cellcast.on_step = log_the_key
        cellcast.next.append(Answer(404, failure(404, f"Virtual number not found by {NEW} or {KEY}")))
        toast = await confirm(workspace)
        assert "Virtual number not found by [API key] or [API key]" in toast
        assert "the Cellcast account Other Pty Ltd, which the bot uses" in toast
    assert [call.headers["Authorization"] for call in cellcast.calls] == [f"Bearer {k}" for k in (KEY, KEY, NEW)]
    said = capsys.readouterr().out
    assert NEW not in said
    assert said.count("before the call with [secret]") == 1
    assert events(said) == ["cellcast_key_loaded"]


@pytest.mark.parametrize(
    ("content", "error"),
    [
        (None, "the file cannot be read (No such file or directory)"),
        (b"", "the file is empty"),
        (NEW.encode() + b"\xff", "the file is not UTF-8 text"),
        (
            b"half\n" + NEW.encode(),
            "the file holds a key that is invalid: expected at least 8 characters without spaces",
        ),
    ],
)
async def test_file_without_a_key(
    start: Start,
    workspace: Workspace,
    cellcast: Cellcast,
    key_file: Path,
    content: bytes | None,
    error: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The bot keeps the key that it has, says why, and reads the file again after the next 401."""
    async with start(cellcast_api_key=None, cellcast_api_key_file=str(key_file)) as bot:
        cellcast.next += [Answer(401, failure(401, "Token expired"))] * 2
        if content is None:
            key_file.unlink()
        else:
            key_file.write_bytes(content)
        assert "Token expired" in await confirm(workspace)
        await settled(bot)
        assert bot.cellcast.key == KEY
        key_file.write_text(NEW)
        assert "Token expired" in await confirm(workspace)
        await settled(bot)
        assert bot.cellcast.key == NEW
    said = capsys.readouterr().out
    assert [call.headers["Authorization"] for call in cellcast.calls] == [f"Bearer {KEY}"] * 2
    assert events(said) == ["cellcast_key_unavailable", "cellcast_key_loaded"]
    assert json.dumps(error) in said
    assert NEW not in said


async def test_key_that_is_refused_itself(
    start: Start, workspace: Workspace, cellcast: Cellcast, key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the file holds the refused key, the log says so once."""
    async with start(cellcast_api_key=None, cellcast_api_key_file=str(key_file)) as bot:
        cellcast.key = NEW
        for _ in range(2):
            assert "Token expired" in await confirm(workspace)
            await settled(bot)
    assert len(cellcast.calls) == 2
    assert events(capsys.readouterr().out) == ["cellcast_key_unchanged"]


async def test_answer_that_is_not_documented(
    start: Start, workspace: Workspace, cellcast: Cellcast, key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A 401 of a proxy leaves the outcome unknown, and the file is read as well."""
    cellcast.next.append(Answer(401, b"<html>who?"))
    async with start(cellcast_api_key=None, cellcast_api_key_file=str(key_file)) as bot:
        key_file.write_text(NEW)
        assert "Outcome unknown" in await confirm(workspace)
        await settled(bot)
    assert events(capsys.readouterr().out) == ["cellcast_key_loaded"]


async def test_calls_that_the_rotation_meets_together(
    start: Start, workspace: Workspace, cellcast: Cellcast, key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Two calls with the old key load the new one once, and neither blames the new key."""
    both = asyncio.Barrier(2)

    async def wait_for_the_other(step: str) -> None:
        if step == "before the call":
            await both.wait()

    cellcast.on_step = wait_for_the_other
    async with start(cellcast_api_key=None, cellcast_api_key_file=str(key_file)) as bot:
        cellcast.next += [Answer(401, failure(401, "Token expired"))] * 2
        cards = [await ask(workspace, text=number) for number in (NUMBER, OTHER)]
        key_file.write_text(NEW)
        for card in cards:
            await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
    assert [call.headers["Authorization"] for call in cellcast.calls] == [f"Bearer {KEY}"] * 2
    assert events(capsys.readouterr().out) == ["cellcast_key_loaded"]


async def test_disk_that_hangs_delays_nothing(
    start: Start, workspace: Workspace, cellcast: Cellcast, key_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """While the file cannot be read to its end, outcomes are delivered and other calls are made."""
    async with start(cellcast_api_key=None, cellcast_api_key_file=str(key_file)) as bot:
        cellcast.next.append(Answer(401, failure(401, "Token expired")))
        readable = threading.Event()
        loop = asyncio.get_running_loop()
        loop.set_default_executor(ThreadPoolExecutor(1))  # the only thread that could read it
        disk = loop.run_in_executor(None, readable.wait)
        try:
            assert "Token expired" in await confirm(workspace)
            assert SUCCESS in await confirm(workspace, OTHER)
        finally:
            readable.set()
        await disk
        await settled(bot)
    said = capsys.readouterr().out
    assert said.rindex('"call_finished"') < said.index('"cellcast_key_unchanged"')


async def test_key_of_the_environment(
    start: Start, workspace: Workspace, cellcast: Cellcast, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a file there is nothing to read again."""
    async with start() as bot:
        cellcast.key = NEW
        assert "Token expired" in await confirm(workspace)
        await settled(bot)
        assert bot.cellcast.on_unauthorized is None
    assert events(capsys.readouterr().out) == []

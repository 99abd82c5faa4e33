"""What breaks underneath: the database away at each step, other copies that were faster, a sweep that dies."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import sqlalchemy as sa

from bot.app import Bot
from bot.ledger.store import Ledger
from sandbox.fake_cellcast import SUCCESS, Cellcast
from sandbox.fake_slack import Channel, Workspace
from tests.conftest import (
    ANA,
    BEN,
    BOTH,
    GIL,
    NUMBER,
    NUMBERS,
    SQLITE,
    Record,
    Start,
    TestClock,
    ask,
    current,
    private,
    public,
    settled,
)
from tests.process import running

pytestmark = BOTH


@contextlib.contextmanager
def locked(database: str) -> Iterator[None]:
    """While somebody else holds every row of the database."""
    other = Ledger(database)
    with other.database.transaction() as db:
        db.execute(sa.text("UPDATE requests SET reason = 'held'"))
        db.execute(sa.text("UPDATE outcomes SET message = 'held'"))
        yield
        db.rollback()
    other.close()


async def test_click_while_the_database_is_locked(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, database: str, reliability: Record
) -> None:
    """The person learns in time that nothing was recorded; the next click works."""
    card = await ask(workspace)
    await settled(bot)
    with locked(database):
        ack = await workspace.click(BEN, card, "Unsubscribe Number")
    await settled(bot)
    assert ack.status == 200
    assert "so this was not recorded" in private(workspace, BEN)[0]
    assert current(workspace, card).buttons
    assert cellcast.calls == []
    await workspace.click(BEN, card, "Unsubscribe Number")
    await settled(bot)
    assert len(cellcast.calls) == 1
    reliability("Database", "locked at a click", calls="none, then one", told="not recorded; then the toast")


async def test_yes_that_is_given_up(bot: Bot, workspace: Workspace, cellcast: Cellcast) -> None:
    """A change longer than an ack is taken back: the card stays as it was, and the next click works."""
    card = await ask(workspace)
    await settled(bot)
    go = threading.Event()

    def executes(_db: sa.Connection, _cursor: object, statement: str, *_of_it: object) -> None:
        if statement.startswith("UPDATE requests"):
            assert go.wait(20)

    sa.event.listen(bot.ledger.database.engine, "before_cursor_execute", executes)
    assert (await workspace.click(BEN, card, "Unsubscribe Number")).status == 200
    await workspace.until(lambda: private(workspace, BEN))
    go.set()
    await settled(bot)
    assert cellcast.calls == []
    await workspace.click(BEN, current(workspace, card), "Unsubscribe Number")
    await workspace.until(lambda: any(note.text.startswith(SUCCESS) for note in public(workspace)))
    assert len(cellcast.calls) == 1


async def test_yes_that_is_recorded_too_late(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, reliability: Record
) -> None:
    """A commit longer than an ack: nothing is sent for that confirmation, the person reads so, and can click again."""
    card = await ask(workspace)
    await settled(bot)
    go = threading.Event()

    def commits(db: sa.Connection) -> None:
        if db.get_execution_options().get("writes"):
            assert go.wait(20)

    sa.event.listen(bot.ledger.database.engine, "commit", commits)
    assert (await workspace.click(BEN, card, "Unsubscribe Number")).status == 200
    await workspace.until(lambda: private(workspace, BEN))
    assert "it will show what happened" in private(workspace, BEN)[0]
    go.set()
    await workspace.until(lambda: any("Nothing was sent" in note.text for note in public(workspace)))
    await settled(bot)
    assert cellcast.calls == []
    await workspace.click(BEN, current(workspace, card), "Try Again")
    await workspace.until(lambda: any(note.text.startswith(SUCCESS) for note in public(workspace)))
    assert len(cellcast.calls) == 1
    reliability("Database", "a click is recorded too late", calls="none, then one", told="nothing sent; then the toast")


@SQLITE
async def test_request_while_the_database_is_locked(bot: Bot, workspace: Workspace, database: str) -> None:
    """An asking that cannot be recorded is acked at once and then told so, and no card appears."""
    with locked(database):
        ack = await workspace.command(ANA, NUMBERS, NUMBER)
        assert (ack.status, ack.body) == (200, "")
        said = await workspace.until(lambda: private(workspace, ANA))
    assert "so this was not recorded" in said[0]
    assert public(workspace) == []


async def test_answer_while_the_database_is_locked(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, database: str, reliability: Record
) -> None:
    """What Cellcast answered is not lost while the database is away: it is written and told when it is back."""
    cellcast.hold = asyncio.Event()
    card = await ask(workspace)
    await settled(bot)
    await workspace.click(BEN, card, "Unsubscribe Number")
    await workspace.until(lambda: "Unsubscribing" in current(workspace, card).text)
    await cellcast.called.wait()
    with locked(database):
        cellcast.hold.set()
        await asyncio.sleep(2.5)  # longer than the ledger waits for a lock
        assert len(public(workspace)) == 1
    await settled(bot)
    assert public(workspace)[-1].text.startswith(SUCCESS)
    assert len(cellcast.calls) == 1
    reliability("Database", "locked while the answer is to be written", calls="one", told="the toast")


async def test_sweep_survives_a_locked_database(
    start: Start, workspace: Workspace, clock: TestClock, database: str
) -> None:
    """A sweep that finds the database locked is followed by one that works."""
    async with start(sweep_every=0.05) as bot:
        card = await ask(workspace)
        await settled(bot)
        if database.startswith("sqlite"):
            with locked(database):
                clock.advance(901)
                await asyncio.sleep(2.5)  # longer than the ledger waits for a lock
                assert current(workspace, card).buttons
        clock.advance(901)
        await workspace.until(lambda: "Expired" in current(workspace, card).text)
        await settled(bot)


@SQLITE
async def test_bot_whose_sweep_dies_ends(tmp_path: Path, environment: dict[str, str], workspace: Workspace) -> None:
    """Without its sweep the bot would tell nothing again: the process ends with a plain line, to be started anew."""
    async with running(workspace, environment, tmp_path) as process:
        await ask(workspace)
        ledger = Ledger(environment["DATABASE_URL"])
        with ledger.database.transaction() as db:
            db.execute(sa.text("UPDATE requests SET status = 'nonsense', expires_at = 1"))
        ledger.close()
        assert process.stderr is not None
        said = await asyncio.wait_for(process.stderr.read(), 10)
        assert await process.wait() == 1
    assert said.decode().splitlines()[-1].startswith("The bot stopped because its scheduler crashed.")
    assert "ValueError: 'nonsense'" in said.decode()


@SQLITE
async def test_stray_variables_of_bolt(
    tmp_path: Path, environment: dict[str, str], workspace: Workspace, cellcast: Cellcast
) -> None:
    """SLACK_CLIENT_ID and SLACK_CLIENT_SECRET in the environment do not switch the bot to OAuth."""
    stray = {"SLACK_CLIENT_ID": "1.2", "SLACK_CLIENT_SECRET": "x", "SLACK_VERIFICATION_TOKEN": "y"}
    async with running(workspace, environment | stray, tmp_path) as process:
        card = await ask(workspace)
        await workspace.click(BEN, card, "Unsubscribe Number")
        await workspace.until(lambda: workspace.notes[-1].text.startswith(SUCCESS))
        process.terminate()
        _, said = await process.communicate()
    assert said.count(b"variable_ignored") == 2
    assert len(cellcast.calls) == 1


@SQLITE
async def test_click_without_a_response_url(bot: Bot, workspace: Workspace) -> None:
    """A click that brings no response_url cannot be answered privately, and is refused all the same."""
    card = await ask(workspace)
    payload = workspace.click_payload(GIL, card, "Unsubscribe Number")
    del payload["response_url"]
    await workspace.send("interactive", payload)
    await settled(bot)
    assert private(workspace, GIL) == []


@SQLITE
async def test_round_without_any_response_url(bot: Bot, workspace: Workspace, cellcast: Cellcast) -> None:
    """Where Slack gave no response_url at all and the channel is gone, who confirmed gets the toast directly."""
    await ask(workspace)
    await settled(bot)
    (card,) = public(workspace)
    await workspace.click(BEN, card, "Keep Number")
    fields = {k: v for k, v in workspace.sent[0].items() if k != "response_url"}
    await workspace.send("slash_commands", fields)
    await settled(bot)
    card = public(workspace)[-1]
    payload = workspace.click_payload(BEN, card, "Unsubscribe Number")
    del payload["response_url"]
    workspace.channels[NUMBERS] = Channel(NUMBERS, "numbers", archived=True)
    await workspace.send("interactive", payload)
    await settled(bot)
    assert public(workspace, f"D0{BEN}")[0].text.startswith(SUCCESS)
    assert len(cellcast.calls) == 1


@SQLITE
async def test_slow_statements_share_the_time_of_an_ack(
    start: Start, workspace: Workspace, cellcast: Cellcast, reliability: Record
) -> None:
    """A click that needs several slow statements is acked in time, and the person learns that it took too long."""
    async with start() as bot:
        card = await ask(workspace)
        await settled(bot)
        await workspace.click(BEN, card, "Keep Number")
        await settled(bot)

        def be_slow(*_of_the_statement: object) -> None:
            time.sleep(1.1)

        sa.event.listen(bot.ledger.database.engine, "before_cursor_execute", be_slow)
        ack = await workspace.click(ANA, card, "Unsubscribe Number")
        sa.event.remove(bot.ledger.database.engine, "before_cursor_execute", be_slow)
        await settled(bot)
        assert (ack.status, ack.seconds < 3) == (200, True)
        assert "did not answer the bot in time" in private(workspace, ANA)[-1]
    assert cellcast.calls == []
    reliability("Database", "every statement takes 1.1 s at a click", calls="none", told="that it took too long")

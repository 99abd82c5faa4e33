"""A confirmation between its record and its answer: what people read if the bot, or its database, is interrupted there."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa

from bot.app import Bot
from bot.domain.models import Click, NewRequest
from bot.domain.status import CallResult, OutcomeCode, Status
from bot.ledger.store import Ledger
from bot.tasks import Tasks
from sandbox.fake_cellcast import SUCCESS, Answer, Cellcast
from sandbox.fake_slack import Note, Workspace
from tests.conftest import (
    ANA,
    BEN,
    BOTH,
    NUMBER,
    NUMBERS,
    POSTGRESQL,
    SQLITE,
    Record,
    Start,
    TestClock,
    advance,
    ask,
    current,
    private,
    public,
    settled,
)
from tests.proxy import Proxy

pytestmark = BOTH


def toasts(workspace: Workspace) -> list[str]:
    """The messages in the channel that are not the card."""
    return [note.text for note in public(workspace)[1:]]


async def confirm(bot: Bot, card: Note, now: float) -> str:
    """The yes is in the ledger, and its bot is gone before anything else; the request's id."""
    request_id = str(card.buttons["Keep Number"]["value"]).partition(":")[0]
    click = Click(request_id, 0, BEN, now, card.channel, card.ts)
    assert await bot.ledger.confirm(click, bot.executor.call_deadline(now), second_person=False)
    return request_id


@pytest.mark.parametrize(("begun", "headline"), [(False, "*Not unsubscribed: "), (True, "*Outcome unknown: ")])
async def test_interrupted_attempt(
    start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock, begun: bool, headline: str
) -> None:
    """An attempt whose bot is gone is unknown only if its call may have begun, and ends when the call must have."""
    async with start() as bot:
        card = await ask(workspace)
        await settled(bot)
        request = await bot.ledger.require(await confirm(bot, card, clock.now()))
        if begun:
            assert await bot.ledger.start_call(request, clock.now())
    for wait, ended in ((7.5, False), (3, True)):
        async with start() as bot:
            await advance(bot, clock, wait)
            if ended:  # the bot's own first sweep may be the one that finds it
                await workspace.until(lambda: toasts(workspace))
                await settled(bot)
            assert bool(toasts(workspace)) is ended
    assert toasts(workspace)[0].startswith(headline)
    assert ("Nothing was sent" in toasts(workspace)[0]) is not begun
    assert "Try Again" in current(workspace, card).buttons
    assert cellcast.calls == []


async def test_call_that_cannot_be_recorded_is_not_made(bot: Bot, workspace: Workspace, cellcast: Cellcast) -> None:
    """If the start of the call cannot be stored, no call is made, and people read that nothing was sent."""
    card = await ask(workspace)
    await settled(bot)

    def executes(_db: sa.Connection, _cursor: object, statement: str, *_of_it: object) -> None:
        if "SET call_started_at" in statement:
            raise sa.exc.OperationalError(statement, {}, Exception("disk I/O error"))

    sa.event.listen(bot.ledger.database.engine, "before_cursor_execute", executes)
    await workspace.click(BEN, card, "Unsubscribe Number")
    await settled(bot)
    assert cellcast.calls == []
    assert "The bot was interrupted before it called Cellcast. Nothing was sent." in toasts(workspace)[0]
    sa.event.remove(bot.ledger.database.engine, "before_cursor_execute", executes)
    await workspace.click(BEN, current(workspace, card), "Try Again")
    await settled(bot)
    assert len(cellcast.calls) == 1


async def test_late_replica_does_not_call(bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: TestClock) -> None:
    """A replica that is late finds its attempt ended by another one, and makes no call."""
    card = await ask(workspace)
    await settled(bot)
    request = await bot.ledger.require(await confirm(bot, card, clock.now()))
    await advance(bot, clock, 11)
    clock.advance(-11)  # this replica's clock is behind
    await bot.executor.execute(request)
    await settled(bot)
    assert cellcast.calls == []
    assert len(toasts(workspace)) == 1


async def test_stop_while_a_yes_is_being_recorded(
    start: Start, workspace: Workspace, cellcast: Cellcast, database: str, reliability: Record
) -> None:
    """A yes that is committed late in a shutdown, and acked, is carried out and told before the bot ends."""
    committing, go = threading.Event(), threading.Event()

    def commits(db: sa.Connection) -> None:
        if db.get_execution_options().get("writes"):
            committing.set()
            assert go.wait(20)

    async with start() as bot:
        card = await ask(workspace)
        await settled(bot)
        sa.event.listen(bot.ledger.database.engine, "commit", commits)
        clicking = asyncio.create_task(workspace.click(BEN, card, "Unsubscribe Number"))
        await asyncio.to_thread(committing.wait)
        stopping = asyncio.create_task(bot.stop())
        await asyncio.sleep(1.5)  # the ack is still due: a click has 2.4 s to be recorded
        go.set()
        assert (await clicking).status == 200
        await stopping
    assert len(cellcast.calls) == 1
    assert toasts(workspace)[0].startswith(SUCCESS)
    ledger = Ledger(database)
    ((request, (outcome,)),) = await ledger.history()
    ledger.close()
    assert (request.status, outcome.delivered_at is not None) == (Status.SUCCEEDED, True)
    reliability("Crash", "SIGTERM while a click is being recorded", calls="one", told="the toast, before the exit")


async def test_nothing_starts_after_the_drain() -> None:
    """Work that is left at the end of the drain is cancelled, and work that comes later never begins."""
    tasks, begun = Tasks(), []

    async def work(name: str) -> None:
        begun.append(name)
        await asyncio.Event().wait()

    tasks.start(work("before"))
    assert await tasks.close(0.01) == 1
    late = tasks.start(work("after"))
    with contextlib.suppress(asyncio.CancelledError):
        await late
    assert late.cancelled()
    assert begun == ["before"]


async def answer_after_interruption(workspace: Workspace, bot: Bot, cellcast: Cellcast) -> Note:
    """The card of a request whose call has reached Cellcast, which answers when the test says so."""
    cellcast.hold = asyncio.Event()
    card = await ask(workspace)
    await settled(bot)
    await workspace.click(BEN, card, "Unsubscribe Number")
    await cellcast.called.wait()
    await workspace.until(lambda: "Unsubscribing" in current(workspace, card).text)
    return card


async def test_answer_replaces_interrupted(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: TestClock, database: str, reliability: Record
) -> None:
    """What Cellcast answered takes the place of "interrupted" that another replica stored and has not delivered."""
    card = await answer_after_interruption(workspace, bot, cellcast)
    other = Ledger(database)
    assert [outcome.code for outcome in (await other.sweep(clock.now() + 11, 900)).outcomes] == [
        OutcomeCode.INTERRUPTED
    ]
    other.close()
    assert cellcast.hold is not None
    cellcast.hold.set()
    await settled(bot)
    await advance(bot, clock, 30)
    (toast,) = toasts(workspace)
    assert toast.startswith(SUCCESS)
    assert "Unsubscribed:" in current(workspace, card).text
    assert len(cellcast.calls) == 1
    reliability("Replicas", "the answer comes after another replica settled the call as interrupted", calls="one",
                told="the toast")  # fmt: skip


@pytest.mark.parametrize("answer", ["succeeded", "rejected", "timeout"])
async def test_answer_corrects_what_was_delivered(
    start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock, answer: str, reliability: Record
) -> None:
    """An answer that comes after "outcome unknown" was delivered follows as a correction; another unknown does not."""
    cellcast.next.append(
        {
            "succeeded": Answer(),
            "rejected": Answer(400, {"code": 400, "message": "No."}),
            "timeout": Answer(fault="drop"),
        }[answer]
    )
    async with start() as quick, start() as slow:  # people's clicks go to the last one
        card = await answer_after_interruption(workspace, slow, cellcast)
        await advance(quick, clock, 11)
        assert toasts(workspace)[0].startswith("*Outcome unknown: ")
        assert cellcast.hold is not None
        cellcast.hold.set()
        await settled(slow)
        await advance(quick, clock, 16)
        told = toasts(workspace)[1:]
        shown = current(workspace, card)
        if answer == "timeout":
            assert told == []
        else:
            (correction,) = told
            assert "Correction: this outcome may have been reported as unknown" in correction
            begins = {"succeeded": SUCCESS, "rejected": "*Not unsubscribed: "}[answer]
            assert correction.startswith(begins)
            assert not shown.buttons
        await advance(quick, clock, 60)
        assert toasts(workspace)[1:] == told
    assert len(cellcast.calls) == 1
    if answer == "succeeded":
        reliability("Replicas", "the answer comes after another replica reported the outcome as unknown", calls="one",
                    told="unknown, then the toast as a correction")  # fmt: skip


async def test_correction_after_try_again(bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: TestClock) -> None:
    """A correction of the first attempt leaves the second alone, which somebody has confirmed meanwhile."""
    card = await answer_after_interruption(workspace, bot, cellcast)
    first = cellcast.hold
    bot.executor.running.clear()  # the sweep of another replica, which does not know of the call
    await sweep_once(bot, clock)
    await workspace.until(lambda: "Try Again" in current(workspace, card).buttons)
    cellcast.hold, cellcast.called = asyncio.Event(), asyncio.Event()
    await workspace.click(BEN, current(workspace, card), "Try Again")
    await cellcast.called.wait()
    assert first is not None
    first.set()
    clock.advance(1)
    await workspace.until(lambda: len(cellcast.calls) == 2)
    await corrected(bot)
    cellcast.hold.set()
    await settled(bot)
    await advance(bot, clock, 16)
    ((request, outcomes),) = await bot.ledger.history()
    assert [(outcome.attempt, outcome.code, outcome.correction) for outcome in outcomes] == [
        (1, OutcomeCode.SUCCEEDED, True),
        (2, OutcomeCode.SUCCEEDED, False),
    ]
    assert (request.attempt, request.status) == (2, Status.SUCCEEDED)
    assert all(outcome.delivered_at is not None for outcome in outcomes)


async def test_correction_offers_nothing_that_is_gone(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: TestClock
) -> None:
    """A late "too many requests" for the first attempt does not say Try Again if the second has succeeded."""
    cellcast.next.append(Answer(429, {"code": 429, "message": "Too many"}))
    card = await answer_after_interruption(workspace, bot, cellcast)
    first, cellcast.hold = cellcast.hold, None
    bot.executor.running.clear()  # the sweep of another replica, which does not know of the call
    await sweep_once(bot, clock)
    await workspace.until(lambda: "Try Again" in current(workspace, card).buttons)
    await workspace.click(BEN, current(workspace, card), "Try Again")
    await workspace.until(lambda: [text for text in toasts(workspace) if text.startswith(SUCCESS)])
    assert first is not None
    first.set()
    await settled(bot)
    await advance(bot, clock, 16)
    assert "Too many" in toasts(workspace)[-1]
    assert "Try Again" not in toasts(workspace)[-1]


async def test_correction_leaves_a_later_request_alone(database: str) -> None:
    """A late answer does not offer Try Again once the number belongs to a later request."""
    ledger = Ledger(database)
    await ledger.open()
    old, _ = await ledger.create_request(NewRequest(NUMBER, "C1", "U1", 0.0, 100.0))
    confirmed = await ledger.confirm(Click(old.id, 0, "U2", 1.0, "C1", "1.0"), 11.0, second_person=False)
    assert confirmed is not None
    assert await ledger.start_call(confirmed, 2.0)
    await ledger.sweep(12.0, 100.0)
    await ledger.sweep(113.0, 100.0)  # Try Again is over
    new, fresh = await ledger.create_request(NewRequest(NUMBER, "C1", "U1", 114.0, 100.0))
    assert fresh
    assert await ledger.correct(confirmed, CallResult(OutcomeCode.NOT_CONNECTED), 115.0, 100.0)
    again = await ledger.confirm(Click(old.id, 1, "U2", 116.0, "C1", "1.0"), 126.0, second_person=False)
    assert again is None
    assert (await ledger.require(old.id)).status is Status.REFUSED
    assert await ledger.confirm(Click(new.id, 0, "U2", 116.0, "C1", "2.0"), 126.0, second_person=False)
    ledger.close()


@pytest.mark.parametrize("second", ["interrupted", "refused"])
async def test_nothing_sent_after_an_unknown_attempt(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: TestClock, second: str
) -> None:
    """A second attempt that sent nothing, or was refused, does not hide that the first one's outcome is unknown."""
    cellcast.next += [Answer(fault="drop"), Answer(400, {"code": 400, "message": "No."})]
    card = await ask(workspace)
    await settled(bot)
    await workspace.click(BEN, card, "Unsubscribe Number")
    await settled(bot)
    if second == "refused":
        await workspace.click(BEN, current(workspace, card), "Try Again")
        await settled(bot)
    else:
        request_id, now = str(card.buttons["Keep Number"]["value"]).partition(":")[0], clock.now()
        click = Click(request_id, 1, BEN, now, card.channel, card.ts)
        assert await bot.ledger.confirm(click, bot.executor.call_deadline(now), second_person=False)
        await advance(bot, clock, 11)
    await advance(bot, clock, 901)
    await advance(bot, clock, 16)
    for text in (toasts(workspace)[-1], current(workspace, card).text):
        assert text.startswith("*Outcome still unknown: ")
        assert "an earlier attempt for this number has an unknown outcome" in text


async def sweep_once(bot: Bot, clock: TestClock) -> None:
    """A sweep when the call must have ended, without waiting for the call that still runs."""
    clock.advance(11)
    await bot.scheduler.sweep()


async def corrected(bot: Bot) -> None:
    """Wait until the first attempt's answer is in the ledger."""
    async with asyncio.timeout(10):
        while (await bot.ledger.history())[0][1][0].code is not OutcomeCode.SUCCEEDED:  # noqa: ASYNC110 - a row sends no event
            await asyncio.sleep(0.01)


async def test_outcome_is_stored_within_a_second_after_an_outage(
    bot: Bot, workspace: Workspace, cellcast: Cellcast
) -> None:
    """Storing the outcome is tried every second, however long the database was away."""
    card = await ask(workspace)
    await settled(bot)
    tried: list[str] = []

    def executes(_db: sa.Connection, _cursor: object, statement: str, *_of_it: object) -> None:
        if statement.startswith("INSERT INTO outcomes") and len(tried) < 4:
            tried.append(statement)
            raise sa.exc.OperationalError(statement, {}, Exception("away"))

    sa.event.listen(bot.ledger.database.engine, "before_cursor_execute", executes)
    began = asyncio.get_running_loop().time()
    await workspace.click(BEN, card, "Unsubscribe Number")
    await workspace.until(lambda: toasts(workspace), 12)
    assert asyncio.get_running_loop().time() - began < 7  # four tries, a second between them
    assert len(tried) == 4
    await settled(bot)


class CommitCutter(Proxy):
    """Passes one COMMIT on to the server, and breaks the connection before its answer."""

    armed = False

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                await self._passing.wait()
                if not (self.armed and b"COMMIT" in data):
                    writer.write(data)
                    await writer.drain()
                    continue
                self.armed = False
                self._passing.clear()  # no answer comes through
                writer.write(data)
                await writer.drain()
                await asyncio.sleep(0.2)  # PostgreSQL commits
                self.cut()
                self.restore()
        writer.close()


@pytest.fixture
async def cutter(database: str) -> AsyncIterator[CommitCutter]:
    """A way to PostgreSQL that can cut a commit."""
    found = CommitCutter(database)
    yield found
    await found.stop()


@POSTGRESQL
async def test_commit_whose_answer_is_lost(
    start: Start, workspace: Workspace, cellcast: Cellcast, cutter: CommitCutter, reliability: Record
) -> None:
    """A yes that was committed, though its person could not be told so, ends as not started, and can be tried again."""
    async with start(database_url=await cutter.start()) as bot:
        card = await ask(workspace)
        await settled(bot)

        def executed(_db: sa.Connection, _cursor: object, statement: str, *_of_it: object) -> None:
            if statement.startswith("UPDATE requests") and "decided_by" in statement.partition("WHERE")[0]:
                cutter.armed = True

        sa.event.listen(bot.ledger.database.engine, "after_cursor_execute", executed)
        await workspace.click(BEN, card, "Unsubscribe Number")
        sa.event.remove(bot.ledger.database.engine, "after_cursor_execute", executed)
        await workspace.until(lambda: toasts(workspace))
        await settled(bot)
        assert "it will show what happened" in private(workspace, BEN)[0]
        (toast,) = toasts(workspace)
        assert "The bot was interrupted before it called Cellcast. Nothing was sent." in toast
        assert cellcast.calls == []
        await workspace.click(BEN, current(workspace, card), "Try Again")
        await workspace.until(lambda: any(text.startswith(SUCCESS) for text in toasts(workspace)))
        await settled(bot)
    assert len(cellcast.calls) == 1
    reliability("Database", "PostgreSQL commits a click, and its answer is lost", calls="none, then one",
                told="nothing sent; then the toast")  # fmt: skip


async def test_ledger_error_is_no_yes(bot: Bot, workspace: Workspace, clock: TestClock, database: str) -> None:
    """Only the click that confirmed can be ended as not started; one that was never recorded changes nothing."""
    card = await ask(workspace)
    await settled(bot)
    request_id = await confirm(bot, card, clock.now())
    now = (await bot.ledger.require(request_id)).decided_at
    assert now is not None
    assert await bot.ledger.settle_unstarted(Click(request_id, 0, BEN, now + 1), clock.now(), 900) is None
    assert await bot.ledger.settle_unstarted(Click(request_id, 1, BEN, now), clock.now(), 900) is None
    ended = await bot.ledger.settle_unstarted(Click(request_id, 0, BEN, now), clock.now(), 900)
    assert ended is not None
    assert (ended.status, ended.expires_at is not None) == (Status.REFUSED, True)


@SQLITE
@pytest.mark.parametrize("looks", ["a sweep of another replica", "a request for the number"])
async def test_call_that_outlives_the_deadline_of_its_card(
    start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock, database: str, looks: str
) -> None:
    """A call that was confirmed just before the card's deadline is not taken for an interrupted one after it."""
    cellcast.hold = asyncio.Event()
    async with start(cellcast_timeout_seconds=60) as bot:
        card = await ask(workspace)
        await settled(bot)
        clock.advance(880)
        await workspace.click(BEN, card, "Unsubscribe Number")
        await cellcast.called.wait()
        clock.advance(30)
        if looks == "a request for the number":
            await workspace.command(ANA, NUMBERS, NUMBER)
            await workspace.until(lambda: private(workspace, ANA))
            assert "in progress" in private(workspace, ANA)[0]
        else:
            other = Ledger(database)
            assert (await other.sweep(clock.now(), 900)).outcomes == []
            other.close()
        cellcast.hold.set()
        await settled(bot)
        await advance(bot, clock, 16)
    (toast,) = toasts(workspace)
    assert toast.startswith(SUCCESS)
    assert "Unsubscribed:" in current(workspace, card).text


@SQLITE
async def test_attempt_that_breaks_off_is_settled(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """If the bot itself fails before the call, the same bot's sweep settles the attempt; no restart is needed."""

    def executes(_db: sa.Connection, _cursor: object, statement: str, *_of_it: object) -> None:
        if "SET call_started_at" in statement:
            raise RuntimeError("a bug")

    with pytest.raises(AssertionError, match="unexpected"):  # the log holds one, which every other test forbids
        async with start() as bot:
            card = await ask(workspace)
            await settled(bot)
            sa.event.listen(bot.ledger.database.engine, "before_cursor_execute", executes)
            await workspace.click(BEN, card, "Unsubscribe Number")
            await settled(bot)
            await advance(bot, clock, 11)
    (toast,) = toasts(workspace)
    assert "Nothing was sent." in toast
    assert "Try Again" in current(workspace, card).buttons

"""Updates of a card may overtake each other, or get lost: in the end it shows the state of its request."""

from __future__ import annotations

import asyncio
import contextlib
import threading

import pytest
import sqlalchemy as sa

from bot.app import Bot
from bot.domain.models import Click
from bot.ledger.transitions import LEASE
from sandbox.fake_cellcast import SUCCESS, Answer, Cellcast
from sandbox.fake_slack import Workspace
from tests.conftest import ANA, BEN, REPEATED, Start, TestClock, advance, ask, card_buttons, current, private, settled

UPDATE = "chat.update"


class Updates:
    """Holds single updates of cards on their way to Slack, by their order."""

    def __init__(self, workspace: Workspace) -> None:
        self._count = 0
        self._hold: dict[int, asyncio.Event] = {}
        self.begun: dict[int, asyncio.Event] = {n: asyncio.Event() for n in range(1, 9)}
        self.landed = 0
        self._workspace = workspace
        workspace.on_step = self._step

    def hold(self, number: int) -> asyncio.Event:
        """Keep the update of this number from landing until the event is set."""
        return self._hold.setdefault(number, asyncio.Event())

    async def _step(self, name: str) -> None:
        if name == f"before {UPDATE}":
            self._count += 1
            number = self._count
            self.begun[number].set()
            if number in self._hold:
                await self._hold[number].wait()
        elif name == f"after {UPDATE}":
            self.landed += 1


@REPEATED
async def test_double_click(bot: Bot, workspace: Workspace, cellcast: Cellcast) -> None:
    """A second click while the first is being drawn: the updates of one bot land one after another, the last one last."""
    cellcast.hold = asyncio.Event()
    card = await ask(workspace)
    await settled(bot)
    updates = Updates(workspace)
    first, second = updates.hold(1), updates.hold(2)
    clicks = [workspace.click_payload(user, card, "Unsubscribe Number") for user in (BEN, ANA)]
    for click in clicks:
        await workspace.send("interactive", click)
    await updates.begun[1].wait()
    first.set()
    await updates.begun[2].wait()
    cellcast.hold.set()
    with contextlib.suppress(TimeoutError):  # the third waits for the second: this is what must not happen
        await asyncio.wait_for(updates.begun[3].wait(), 0.5)
        await workspace.until(lambda: updates.landed == 2)
    second.set()
    await settled(bot)
    assert current(workspace, card).text.startswith("*Unsubscribed: ")
    assert len(cellcast.calls) == 1


@REPEATED
async def test_updates_of_two_replicas(
    start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock
) -> None:
    """If another replica's older update lands last, the sweep updates the card again."""
    cellcast.hold = asyncio.Event()
    async with start() as one:
        url = workspace.bot_url
        async with start() as other:
            card = await ask(workspace)
            await settled(other)
            updates = Updates(workspace)
            await workspace.send("interactive", workspace.click_payload(BEN, card, "Unsubscribe Number"), url)
            await workspace.until(lambda: updates.landed == 1)
            late = updates.hold(2)
            await workspace.click(ANA, card, "Unsubscribe Number")
            await updates.begun[2].wait()
            cellcast.hold.set()
            await workspace.until(lambda: updates.landed == 2)
            await settled(one)
            late.set()
            await settled(other)
            assert current(workspace, card).text.startswith("*Unsubscribing ")
            await advance(one, clock, LEASE + 1)
            assert current(workspace, card).text.startswith("*Unsubscribed: ")
            before = workspace.api_calls.count(UPDATE)
            await advance(one, clock, LEASE + 1)
            assert workspace.api_calls.count(UPDATE) == before  # and then it is not updated any more


@pytest.mark.usefixtures("short_slack_timeout")
async def test_update_that_slack_applies_late(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: TestClock
) -> None:
    """An update that Slack has not answered may land after a later one: the sweep updates the card again."""
    cellcast.next.append(Answer(after=0.1))
    card = await ask(workspace)
    await settled(bot)
    updates = Updates(workspace)
    late = updates.hold(1)
    await workspace.click(BEN, card, "Unsubscribe Number")
    await workspace.until(lambda: updates.landed == 1)  # the bot has given the first one up after its timeout
    await settled(bot)
    assert current(workspace, card).text.startswith("*Unsubscribed: ")
    late.set()
    await workspace.until(lambda: updates.landed == 2)
    assert current(workspace, card).text.startswith("*Unsubscribing ")
    await advance(bot, clock, LEASE + 1)
    assert current(workspace, card).text.startswith("*Unsubscribed: ")


@pytest.mark.parametrize("told_by", ["the sweep of another replica", "the replica that called"])
async def test_update_of_an_attempt_lands_after_the_next(
    start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock, told_by: str
) -> None:
    """If the first attempt's update lands after the second has ended, the sweep updates the card again."""
    cellcast.next.append(Answer(fault="drop"))
    async with start() as one:
        url = workspace.bot_url
        async with start() as other:
            card = await ask(workspace)
            await settled(other)
            updates = Updates(workspace)
            late = updates.hold(1 if told_by == "the replica that called" else 3)
            if told_by == "the sweep of another replica":
                workspace.faults["chat.postMessage"].append("500")
            await workspace.send("interactive", workspace.click_payload(BEN, card, "Unsubscribe Number"), url)
            await workspace.until(lambda: cellcast.calls and updates.landed == (0 if 1 in updates._hold else 2))
            if told_by == "the sweep of another replica":
                await settled(one)
                clock.advance(2)
                await other.scheduler.sweep()
                await updates.begun[3].wait()
                again = workspace.click_payload(BEN, current(workspace, card), "Try Again")
                await workspace.send("interactive", again, url)
            else:  # the card does not offer it yet
                await unknown_in_home(workspace)
                button = next(b for b in card_buttons(workspace, BEN) if b["text"]["text"] == "Try Again")
                await workspace.click_in_home(BEN, button)
            await workspace.until(lambda: any(note.text.startswith(SUCCESS) for note in workspace.notes))
            late.set()
            await settled(one)
            await settled(other)
            for replica in (one, other, one):
                await advance(replica, clock, LEASE + 1)
            assert current(workspace, card).text.startswith("*Unsubscribed: ")
    assert len(cellcast.calls) == 2


async def unknown_in_home(workspace: Workspace) -> None:
    """Wait until Ben's App Home offers to try again."""
    async with asyncio.timeout(10):
        while not any(b["text"]["text"] == "Try Again" for b in card_buttons(workspace, BEN)):
            await workspace.open_home(BEN)
            await workspace.until(lambda: BEN in workspace.homes)


@pytest.mark.usefixtures("short_slack_timeout")
async def test_click_between_an_update_and_its_late_landing(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: TestClock
) -> None:
    """A click in vain does not end the claim on a card whose first update Slack has not answered yet."""
    cellcast.next.append(Answer(after=0.1))
    card = await ask(workspace)
    await settled(bot)
    second = workspace.click_payload(ANA, card, "Unsubscribe Number")
    updates = Updates(workspace)
    late = updates.hold(1)
    await workspace.click(BEN, card, "Unsubscribe Number")
    await workspace.until(lambda: updates.landed == 1)
    await settled(bot)
    await workspace.send("interactive", second)
    await settled(bot)
    landed = updates.landed
    late.set()
    await workspace.until(lambda: updates.landed == landed + 1)
    assert current(workspace, card).text.startswith("*Unsubscribing ")
    await advance(bot, clock, LEASE + 1)
    assert current(workspace, card).text.startswith("*Unsubscribed: ")


@REPEATED
async def test_replica_that_comes_too_late(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: TestClock
) -> None:
    """A replica that finds its attempt ended by another one leaves the card as the ledger has it, offer included."""
    card = await ask(workspace)
    await settled(bot)
    now, request_id = clock.now(), str(card.buttons["Keep Number"]["value"]).partition(":")[0]
    click = Click(request_id, 0, BEN, now, card.channel, card.ts)
    request = await bot.ledger.confirm(click, bot.executor.call_deadline(now), second_person=False)
    assert request is not None
    await advance(bot, clock, 11)
    await bot.executor.execute(request)
    await settled(bot)
    await advance(bot, clock, LEASE + 1)
    assert "Try Again" in current(workspace, card).buttons
    assert cellcast.calls == []


async def test_toast_does_not_wait_for_the_card(bot: Bot, workspace: Workspace, cellcast: Cellcast) -> None:
    """The toast comes while Slack still keeps the card's first update waiting."""
    card = await ask(workspace)
    await settled(bot)
    updates = Updates(workspace)
    slow = updates.hold(1)
    await workspace.click(BEN, card, "Unsubscribe Number")
    await workspace.until(lambda: any(note.text.startswith(SUCCESS) for note in workspace.notes))
    assert updates.landed == 0
    slow.set()
    await settled(bot)
    assert current(workspace, card).text.startswith("*Unsubscribed: ")


@pytest.mark.parametrize("fault", ["500", "429", "drop_before"])
async def test_end_of_the_offer_is_shown(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: TestClock, fault: str
) -> None:
    """When Try Again is over, its button goes, also if Slack does not take the first update."""
    cellcast.next.append(Answer(fault="drop"))
    card = await ask(workspace)
    await settled(bot)
    await workspace.click(BEN, card, "Unsubscribe Number")
    await settled(bot)
    assert "Try Again" in current(workspace, card).buttons
    workspace.faults[UPDATE].append(fault)
    await advance(bot, clock, 901)
    assert current(workspace, card).buttons
    await advance(bot, clock, LEASE + 1)
    assert not current(workspace, card).buttons


@REPEATED
async def test_request_that_is_read_slowly_is_not_shown(
    start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A replica whose database answers late does not show what it read then: the card may show a later state by now."""
    cellcast.next.append(Answer(fault="drop"))
    reading, answers = threading.Event(), threading.Event()
    clicked = False

    def answer_late(_db: object, _cursor: object, statement: str, *_: object) -> None:
        nonlocal clicked
        clicked = clicked or "card_update_due=" in statement
        if clicked and statement.startswith("SELECT requests") and not reading.is_set():
            reading.set()
            assert answers.wait(30)

    async with start() as slow:
        url = workspace.bot_url
        async with start() as other:
            card = await ask(workspace)
            await settled(other)
            old = workspace.click_payload(ANA, card, "Unsubscribe Number")
            await workspace.click(BEN, card, "Unsubscribe Number")
            await settled(other)
            monkeypatch.setattr("bot.ledger.store.SHOWN_TIMEOUT", 1.0)
            sa.event.listen(slow.ledger.database.engine, "after_cursor_execute", answer_late)
            await workspace.send("interactive", old, url)  # changes nothing, so the card is read and updated
            assert await asyncio.to_thread(reading.wait, 10)
            await workspace.click(BEN, current(workspace, card), "Try Again")
            await settled(other)
            await advance(other, clock, LEASE + 1)  # ends the claim
            await slow.tasks.drain(10)  # it gives up
            answers.set()
            await settled(slow)
            assert current(workspace, card).text.startswith("*Unsubscribed: ")
    assert len(cellcast.calls) == 2


async def test_click_in_vain_is_shown(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: TestClock, start: Start
) -> None:
    """A card that nobody could update while the bot was away is updated after a click on it, though Slack fails once."""
    card = await ask(workspace)
    await settled(bot)
    payload = workspace.click_payload(ANA, card, "Unsubscribe Number")
    workspace.faults[UPDATE] += ["token_revoked"]
    await workspace.click(BEN, card, "Keep Number")
    await settled(bot)
    assert current(workspace, card).buttons
    workspace.faults[UPDATE] += ["500"]
    await workspace.send("interactive", payload)
    await settled(bot)
    assert "already clicked Keep Number" in private(workspace, ANA)[0]
    await advance(bot, clock, LEASE + 1)
    assert current(workspace, card).text.startswith("*Kept: ")
    assert cellcast.calls == []


async def test_no_lock_is_kept(bot: Bot, workspace: Workspace) -> None:
    """The lock of a card goes when nobody updates the card any more: a bot that runs for months keeps none."""
    card = await ask(workspace)
    await workspace.click(BEN, card, "Unsubscribe Number")
    await settled(bot)
    assert len(bot.notifier._updating) == 0

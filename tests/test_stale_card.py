"""Updates of a card may overtake each other, or get lost: in the end it shows the state of its request."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from bot.app import Bot
from bot.demo.cellcast import Answer, Cellcast
from bot.demo.workspace import Workspace
from bot.ledger import LEASE
from tests.conftest import ANA, BEN, Clock, Start, ask, current, private, settled

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


async def sweep(bot: Bot, clock: Clock, seconds: float) -> None:
    """Let time pass, sweep, and wait until the bot has nothing left to do."""
    clock.advance(seconds)
    await bot.fulfilment.sweep()
    await settled(bot)


async def test_double_click(bot: Bot, workspace: Workspace, cellcast: Cellcast) -> None:
    """A second click while the first is being drawn: the updates of one bot land one after another, the last one last."""
    cellcast.hold = asyncio.Event()
    card = await ask(workspace)
    await settled(bot)
    updates = Updates(workspace)
    first, second = updates.hold(1), updates.hold(2)
    presses = [workspace.press_payload(user, card, "Unsubscribe Number") for user in (BEN, ANA)]
    for press in presses:
        await workspace.send("interactive", press)
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


async def test_updates_of_two_replicas(start: Start, workspace: Workspace, cellcast: Cellcast, clock: Clock) -> None:
    """If another replica's older update lands last, the sweep updates the card again."""
    cellcast.hold = asyncio.Event()
    async with start() as one:
        url = workspace.bot_url
        async with start() as other:
            card = await ask(workspace)
            await settled(other)
            updates = Updates(workspace)
            await workspace.send("interactive", workspace.press_payload(BEN, card, "Unsubscribe Number"), url)
            await workspace.until(lambda: updates.landed == 1)
            late = updates.hold(2)
            await workspace.press(ANA, card, "Unsubscribe Number")
            await updates.begun[2].wait()
            cellcast.hold.set()
            await workspace.until(lambda: updates.landed == 2)
            await settled(one)
            late.set()
            await settled(other)
            assert current(workspace, card).text.startswith("*Unsubscribing ")
            await sweep(one, clock, LEASE + 1)
            assert current(workspace, card).text.startswith("*Unsubscribed: ")
            before = workspace.api_calls.count(UPDATE)
            await sweep(one, clock, LEASE + 1)
            assert workspace.api_calls.count(UPDATE) == before  # and then it is not updated any more


async def test_update_that_slack_applies_late(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An update that Slack has not answered may land after a later one: the sweep updates the card again."""
    cellcast.next.append(Answer(after=0.1))
    card = await ask(workspace)
    await settled(bot)
    updates = Updates(workspace)
    late = updates.hold(1)
    await workspace.press(BEN, card, "Unsubscribe Number")
    await workspace.until(lambda: updates.landed == 1)  # the bot has given the first one up after five seconds
    await settled(bot)
    assert current(workspace, card).text.startswith("*Unsubscribed: ")
    late.set()
    await workspace.until(lambda: updates.landed == 2)
    assert current(workspace, card).text.startswith("*Unsubscribing ")
    await sweep(bot, clock, LEASE + 1)
    assert current(workspace, card).text.startswith("*Unsubscribed: ")


@pytest.mark.parametrize("fault", ["500", "429", "drop_before"])
async def test_end_of_the_offer_is_shown(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: Clock, fault: str
) -> None:
    """When Try Again is over, its button goes, also if Slack does not take the first update."""
    cellcast.next.append(Answer(fault="drop"))
    card = await ask(workspace)
    await settled(bot)
    await workspace.press(BEN, card, "Unsubscribe Number")
    await settled(bot)
    assert "Try Again" in current(workspace, card).buttons
    workspace.faults[UPDATE].append(fault)
    await sweep(bot, clock, 901)
    assert current(workspace, card).buttons
    await sweep(bot, clock, LEASE + 1)
    assert not current(workspace, card).buttons


async def test_click_in_vain_is_shown(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: Clock, start: Start
) -> None:
    """A card that nobody could update while the bot was away is updated after a click on it, though Slack fails once."""
    card = await ask(workspace)
    await settled(bot)
    payload = workspace.press_payload(ANA, card, "Unsubscribe Number")
    workspace.faults[UPDATE] += ["token_revoked"]
    await workspace.press(BEN, card, "Keep Number")
    await settled(bot)
    assert current(workspace, card).buttons
    workspace.faults[UPDATE] += ["500"]
    await workspace.send("interactive", payload)
    await settled(bot)
    assert "pressed Keep Number already" in private(workspace, ANA)[0]
    await sweep(bot, clock, LEASE + 1)
    assert current(workspace, card).text.startswith("*Kept: ")
    assert cellcast.calls == []

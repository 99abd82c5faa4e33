"""Acks come first: a call or a card begins when no ack needs the processor."""

from __future__ import annotations

import asyncio

from sandbox.fake_cellcast import SUCCESS, Answer, Cellcast
from sandbox.fake_slack import Workspace
from tests.conftest import ANA, BEN, NUMBER, NUMBERS, OTHER, Start, ask, public, settled


async def test_calls_and_cards_wait_for_acks(start: Start, workspace: Workspace, cellcast: Cellcast, mode: str) -> None:
    """While an ack is due, other acks go out, and neither a call nor a card begins before it."""
    async with start() as bot:
        card = await ask(workspace)
        await settled(bot)
        with bot.executor.acks_first.due():
            assert (await workspace.click(ANA, card, "Unsubscribe Number")).status == 200
            assert (await workspace.command(BEN, NUMBERS, OTHER)).status == 200
            for _ in range(30):  # in this time the call would be made, and the card posted
                assert (await workspace.command(ANA, NUMBERS, "help")).status == 200
            assert cellcast.calls == []
            assert len(public(workspace)) == 1
        await settled(bot)
    assert [call.number_id for call in cellcast.calls] == [NUMBER]
    assert len(public(workspace)) == 3  # two cards and a toast


async def test_an_ack_that_waits_for_slack_holds_nothing_up(
    start: Start, workspace: Workspace, cellcast: Cellcast
) -> None:
    """While Slack is asked about a person, others' calls are made."""
    asked, go = asyncio.Event(), asyncio.Event()

    async def hold(step: str) -> None:
        if step == "before users.info":
            asked.set()
            await go.wait()

    async with start(allowed_users="*") as bot:
        card = await ask(workspace)
        await settled(bot)
        workspace.on_step = hold
        waiting = asyncio.create_task(workspace.command(BEN, NUMBERS, OTHER))
        await asyncio.wait_for(asked.wait(), 5)
        assert (await workspace.click(ANA, card, "Unsubscribe Number")).status == 200
        await workspace.until(lambda: any(SUCCESS in note.text for note in public(workspace)))
        assert not waiting.done()
        go.set()
        assert (await waiting).status == 200
        await settled(bot)


async def test_a_form_opens_at_once(start: Start, workspace: Workspace) -> None:
    """A form does not wait for acks: Slack lets the bot open it for three seconds only."""
    async with start(require_reason=True) as bot:
        with bot.executor.acks_first.due():
            assert (await workspace.command(ANA, NUMBERS, "")).status == 200
            await workspace.until(lambda: workspace.dialogs)


async def test_a_short_call_keeps_its_time(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """If acks are due all the time, a call waits for a part of its time only."""
    cellcast.next.append(Answer(after=0.5))
    async with start(cellcast_timeout_seconds=1) as bot:
        card = await ask(workspace)
        await settled(bot)
        with bot.executor.acks_first.due():
            await workspace.click(ANA, card, "Unsubscribe Number")
            await settled(bot)
    assert SUCCESS in public(workspace)[-1].text
    assert len(cellcast.calls) == 1

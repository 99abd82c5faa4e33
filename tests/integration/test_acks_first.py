"""Acks come first: background work begins when nobody waits for an ack."""

from __future__ import annotations

import asyncio

from sandbox.fake_cellcast import Cellcast
from sandbox.fake_slack import Workspace
from tests.conftest import ANA, BEN, NUMBER, NUMBERS, OTHER, Start, ask, public, settled


async def test_work_waits_while_an_ack_is_due(
    start: Start, workspace: Workspace, cellcast: Cellcast, mode: str
) -> None:
    """While a person's ack waits for Slack, other acks go out, and the work behind them does not begin before it."""
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
        for _ in range(30):  # in this time the call would be made, and the toast posted
            assert (await workspace.command(ANA, NUMBERS, "help")).status == 200
        assert not waiting.done()
        assert cellcast.calls == []
        go.set()
        assert (await waiting).status == 200
        await settled(bot)
    assert [call.number_id for call in cellcast.calls] == [NUMBER]
    assert len(public(workspace)) == 3  # two cards and a toast


async def test_work_that_a_stop_ends_before_it_began(start: Start, workspace: Workspace) -> None:
    """A stop waits for work that waits for an ack: the number is called, and its outcome posted."""
    asked = asyncio.Event()

    async def hold(step: str) -> None:
        if step == "before users.info":
            asked.set()
            await asyncio.Event().wait()

    async with start(allowed_users="*") as bot:
        card = await ask(workspace)
        await settled(bot)
        workspace.on_step = hold
        waiting = asyncio.create_task(workspace.command(BEN, NUMBERS, OTHER))
        await asyncio.wait_for(asked.wait(), 5)
        assert (await workspace.click(ANA, card, "Unsubscribe Number")).status == 200
    await waiting
    assert len(public(workspace)) == 2  # the first card and the toast

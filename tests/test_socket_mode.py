"""The same bot over Slack's socket."""

from __future__ import annotations

import asyncio

import pytest

from bot.demo.cellcast import SUCCESS, Cellcast
from bot.demo.workspace import Workspace
from bot.errors import StartError
from tests.conftest import APP_TOKEN, BEN, GIL, NUMBER, NUMBERS, Record, Start, ask, private, public, settled


async def test_main_round(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """Command, card, confirmation, one call and the toast, with every envelope acknowledged in time."""
    async with start(slack_app_token=APP_TOKEN) as bot:
        await workspace.until(lambda: workspace.connected)
        assert await bot.health.state() == {"ok": True}
        await workspace.command(GIL, NUMBERS, NUMBER)
        assert "You may not" in private(workspace, GIL)[0]
        card = await ask(workspace)
        await workspace.press(BEN, card, "Unsubscribe Number")
        await settled(bot)
        assert public(workspace)[-1].text.startswith(SUCCESS)
        assert not public(workspace)[0].buttons
    assert len(cellcast.calls) == 1
    assert all(ack.seconds < 1 for ack in workspace.acks)


async def test_nothing_is_taken_while_stopping(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """A press that comes while the bot stops is left unacknowledged, so that Slack hands it to another copy."""
    cellcast.hold = asyncio.Event()
    async with start(slack_app_token=APP_TOKEN, cellcast_timeout_seconds="8") as bot:
        await workspace.until(lambda: workspace.connected)
        card = await ask(workspace)
        await workspace.press(BEN, card, "Unsubscribe Number")
        stopping = asyncio.create_task(bot.stop())
        await asyncio.sleep(0)
        sending = asyncio.create_task(workspace.command(BEN, NUMBERS, "help"))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(sending), 0.3)
        cellcast.hold.set()
        await stopping
        await sending
    assert workspace.broken_rules.pop().startswith("slash_commands: acknowledged with status 0")
    assert len(cellcast.calls) == 1


async def test_socket_that_cannot_be_opened(
    start: Start, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket that never comes ends the start with a plain line."""
    monkeypatch.setattr("bot.socket_mode.SECONDS", 0.5)
    workspace.faults["socket"].append("hang")
    with pytest.raises(StartError, match="Slack's socket cannot be reached"):
        async with start(slack_app_token=APP_TOKEN):
            pass


@pytest.mark.parametrize("how", ["dropped", "refreshed", "deaf"])
async def test_socket_is_opened_anew(
    start: Start,
    workspace: Workspace,
    cellcast: Cellcast,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    reliability: Record,
) -> None:
    """A socket that breaks, is refreshed, or goes deaf is opened anew, and the next press comes through."""
    monkeypatch.setattr("bot.health.PING_EVERY", 0.2)  # stale after 0.8 s here, after 32 s in use
    workspace.deaf = how == "deaf"
    async with start(slack_app_token=APP_TOKEN) as bot:
        await workspace.until(lambda: workspace.connected)
        card = await ask(workspace, text=NUMBER) if how != "deaf" else None
        workspace.deaf = False
        if how == "dropped":
            await workspace.drop_sockets()
        elif how == "refreshed":
            await workspace.refresh_sockets()
        await workspace.until(lambda: workspace.opened >= 2 and workspace.connected == 1)
        card = card or await ask(workspace)
        await workspace.press(BEN, card, "Unsubscribe Number")
        await settled(bot)
        assert public(workspace)[-1].text.startswith(SUCCESS)
    assert len(cellcast.calls) == 1
    reliability("Slack", f"the socket is {how}", calls="one", told="the toast")

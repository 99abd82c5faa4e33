"""The main job from end to end: command, card, confirmation, the call, the toast."""

from __future__ import annotations

from bot.app import Bot
from sandbox.fake_cellcast import SUCCESS, Cellcast
from sandbox.fake_slack import Workspace
from tests.conftest import BEN, BOTH, KEY, NUMBER, ask, public, settled

pytestmark = BOTH


async def test_toast_stands_in_the_channel(bot: Bot, workspace: Workspace, cellcast: Cellcast) -> None:
    """One yes makes one call with the key in its header, and the channel shows the API's own message."""
    card = await ask(workspace)
    assert cellcast.calls == []
    await workspace.click(BEN, card, "Unsubscribe Number")
    await settled(bot)
    (call,) = cellcast.calls
    assert (call.number_id, call.body) == (NUMBER, b"")
    assert call.headers["Authorization"] == f"Bearer {KEY}"
    assert call.headers["Content-Type"] == "application/json"
    shown, toast = public(workspace)
    assert not shown.buttons
    assert f"Unsubscribed: virtual number* `{NUMBER}`" in shown.text
    assert f"Confirmed by <@{BEN}>" in shown.text
    assert toast.blocks[0]["text"] == {"type": "plain_text", "text": SUCCESS, "emoji": False}
    assert NUMBER in toast.text
    assert f"<@{BEN}>" in toast.text

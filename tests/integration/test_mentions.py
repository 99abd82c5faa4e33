"""Nobody is alerted by what people or Cellcast write: a message alerts only the people that it names itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import aiohttp
import pytest

from sandbox import block_kit as blocks
from sandbox.fake_cellcast import Answer, Cellcast, envelope
from sandbox.fake_slack import Workspace
from tests.conftest import ANA, BEN, NUMBER, NUMBERS, QUIET, TOKEN, Start, ask, current, public, settled, text_of

LABEL = "@here @channel @everyone #numbers https://example.com"
LOUD = f"{LABEL} <!channel>"
SHOWN = LABEL + " &lt;!channel&gt;"


@pytest.mark.parametrize("channel", [NUMBERS, QUIET])
@pytest.mark.parametrize(("status", "kind"), [(200, "succeeded"), (400, "rejected")])
async def test_only_the_people_named_are_alerted(
    start: Start, workspace: Workspace, cellcast: Cellcast, tmp_path: Path, channel: str, status: int, kind: str
) -> None:
    """A reason, a label and an API message that hold mentions and links alert nobody, however the bot sends them."""
    listed = tmp_path / "numbers.csv"
    listed.write_text(f"id,number,label\n{NUMBER},,{LABEL}\n")
    cellcast.next.append(Answer(status, envelope() | {"message": LOUD, "status": status == 200}))
    async with start(numbers_file=str(listed)) as bot:
        card = await ask(workspace, text=f"{NUMBER} {LOUD}", channel=channel)
        assert card.mentions == {ANA}
        assert f'"{LABEL}"' in text_of(card)
        assert f"Reason: {SHOWN}" in text_of(card)
        await settled(bot)
        await workspace.command(BEN, channel, NUMBER)
        await settled(bot)
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
        await workspace.command(BEN, channel, "history")
        await workspace.open_home(BEN)
        pointer, history = [note for note in workspace.notes if note.to == BEN]
        ended, toast = current(workspace, card), public(workspace, channel)[-1]
    assert LOUD in text_of(toast)
    assert pointer.mentions == {ANA}
    assert history.mentions == ended.mentions == {ANA, BEN}
    assert toast.mentions == {ANA, BEN}
    home = workspace.homes[BEN]
    assert SHOWN in str(home)
    assert blocks.mentions("", home) == {ANA, BEN}
    assert workspace.broken_rules == []


async def test_refusal_alerts_nobody(start: Start, workspace: Workspace) -> None:
    """A refusal that repeats what was typed alerts nobody."""
    async with start():
        await workspace.command(ANA, NUMBERS, LOUD)
    (line,) = workspace.notes
    assert SHOWN in line.text
    assert line.mentions == frozenset()


@pytest.mark.parametrize(
    ("text", "alerted", "alarms"),
    [
        pytest.param("@here, @channel and @everyone", {"here", "channel", "everyone"}, 6, id="typed broadcasts"),
        pytest.param("<!here> <!channel|x> <!everyone>", {"here", "channel", "everyone"}, 3, id="written broadcasts"),
        pytest.param(
            "<@U0ANA> <@W0BEN|ben> <!subteam^S0TEAM>", {"U0ANA", "W0BEN", "S0TEAM"}, 0, id="people and groups"
        ),
        pytest.param("#numbers https://example.com/x?y", set(), 2, id="a channel and an address"),
        pytest.param("<#C0NUMBERS> <https://example.com|@here> <!date^1^{time}|#x>", set(), 0, id="written links"),
        pytest.param("&lt;!channel&gt; a@here.com &amp; 24/7", set(), 0, id="nothing to parse"),
    ],
)
async def test_fake_parses_as_slack_does(workspace: Workspace, text: str, alerted: set[str], alarms: int) -> None:
    """The fake parses mrkdwn again unless it is verbatim, and tells what that changes."""
    part = {"type": "mrkdwn", "text": text}
    found = [{"type": "section", "text": part}]
    assert blocks.mentions("x", found) == alerted
    assert len(blocks.alarms("x", found)) == alarms
    verbatim = [{"type": "context", "elements": [part | {"verbatim": True}]}]
    assert blocks.mentions("x", verbatim) == (alerted if "<" in text else set())
    assert len(blocks.alarms("x", verbatim)) == (3 if "<!here>" in text else 0)


async def test_fake_parses_the_text_of_an_update(workspace: Workspace) -> None:
    """The text of chat.postMessage is left alone, that of chat.update is parsed unless the call says `parse` none."""
    fields: dict[str, Any] = {"channel": NUMBERS, "text": "@here", "blocks": [{"type": "divider"}]}
    async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as client:

        async def call(method: str, **more: str) -> Any:
            async with client.post(workspace.api_url + method, json=fields | more) as answer:
                return await answer.json()

        ts = (await call("chat.postMessage"))["ts"]
        await call("chat.update", ts=ts, parse="none")
        assert workspace.broken_rules == []
        await call("chat.update", ts=ts)
        await call("chat.postMessage", parse="full")
    assert workspace.broken_rules == ["Slack parses '@here' in a message without verbatim or parse=none"] * 2
    workspace.broken_rules.clear()

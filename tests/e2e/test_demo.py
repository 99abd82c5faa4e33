"""python -m bot demo: the job seen done without Slack, Cellcast, tokens or network; and its page."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import webbrowser
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot.app import Bot
from bot.cli.main import main
from bot.errors import StartError
from sandbox import block_kit as blocks
from sandbox import bot_process as shipped
from sandbox import demo as play
from sandbox.bot_process import start_python
from sandbox.fake_cellcast import SUCCESS, Cellcast
from sandbox.fake_slack import NotThereError, Workspace
from tests.conftest import ANA, BEN, GIL, KEY, NUMBER, NUMBERS, THOROUGH, TOKEN, ask, current, private, settled
from tests.process import clean_environment, run_bot


async def test_once(tmp_path: Path) -> None:
    """`demo --once` plays the round whatever the environment holds, prints it, and exits with 0."""
    (tmp_path / ".env").write_text("SLACK_BOT_TOKEN=xoxb-of-a-real-workspace\nHTTP_PROXY=http://127.0.0.1:9")
    stray = {"HTTP_PROXY": "http://127.0.0.1:9", "CELLCAST_API_KEY_FILE": "/run/secrets/of-a-real-account"}
    code, out, err = await run_bot("demo", "--once", settings=stray, cwd=tmp_path)
    assert (code, err) == (0, "")
    assert re.search(
        rf'Unsubscribe \+61 480 000 000 "Support line"\? \(`{NUMBER}`\)\n.*\n.*\n    \[ Unsubscribe Number \]', out
    )
    assert "Ben clicks Unsubscribe Number" in out
    assert SUCCESS in out
    assert "xoxb" not in out


@THOROUGH
def test_once_where_the_toast_does_not_come(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where the toast does not come, `demo --once` says so and exits with 1."""
    monkeypatch.setattr(play, "ROUND_SECONDS", 0.001)
    assert main(["demo", "--once"]) == 1
    assert "The toast did not come." in capsys.readouterr().err


def test_bot_that_does_not_start(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """A demo whose bot does not start ends with a plain line."""
    monkeypatch.setattr(shipped, "START_SECONDS", 0.0)
    assert main(["demo", "--once"]) == 1
    assert "The bot of the demo did not start" in capsys.readouterr().err


async def test_bot_that_ends_at_once(workspace: Workspace) -> None:
    """A bot of the demo that ends instead of starting is told at once, without waiting for the time."""
    with pytest.raises(StartError, match="did not start"):
        async with shipped.shipped(workspace, {}):
            pass


async def test_fake_cellcast_refuses(cellcast: Cellcast) -> None:
    """The fake refuses a wrong key and an id of a wrong form, as the documentation says."""
    url = f"{cellcast.url}/api/v1/apiClient/virtual-number/unsubscribe/"
    async with aiohttp.ClientSession() as client:
        for key, number, status in (("other", NUMBER, 401), (KEY, "xyz", 400), (KEY, NUMBER, 200)):
            async with client.put(url + number, headers={"Authorization": f"Bearer {key}"}) as answer:
                assert answer.status == status


@THOROUGH
async def test_goes_on_until_it_is_stopped(tmp_path: Path) -> None:
    """The demo serves its page after the round, until Ctrl-C."""
    process = await start_python("demo", "--port", "0", "--no-browser", settings=clean_environment({}), cwd=tmp_path)
    assert process.stdout is not None
    try:
        async with asyncio.timeout(60):
            while not (found := re.search(rb"http://127\.0\.0\.1:\d+/", await process.stdout.readline())):
                pass
        async with aiohttp.ClientSession() as client:
            for path, holds in (("", "<title>"), ("app.js", "EventSource"), ("style.css", "--danger")):
                async with client.get(found[0].decode() + path) as answer:
                    assert holds in await answer.text()
        process.send_signal(signal.SIGINT)
        await asyncio.wait_for(process.communicate(), 10)
        assert process.returncode == 0
    finally:
        if process.returncode is None:
            process.kill()


@THOROUGH
async def test_browser_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without --no-browser the page is opened."""
    opened: list[str] = []

    def open_page(url: str) -> bool:
        opened.append(url)
        signal.raise_signal(signal.SIGTERM)
        return True

    monkeypatch.setattr(webbrowser, "open", open_page)
    assert await play.demo(once=False, port=0, browser=True) == 0
    assert opened[0].startswith("http://127.0.0.1:")


async def test_terminal_shows_who_sees_what(bot: Bot, workspace: Workspace) -> None:
    """The terminal tells private lines and edited messages from others, and shows names and buttons."""
    card = await ask(workspace)
    await workspace.click(GIL, card, "Keep Number")
    await workspace.click(BEN, card, "Keep Number")
    await settled(bot)
    note = next(n for n in workspace.notes if n.to == GIL)
    assert (
        "Cellcast Bot (only Gil sees this)\n    You don't have permission to unsubscribe numbers. Ask @Ana or @Ben"
        in play.in_terminal(note)
    )
    assert "Cellcast Bot (edited)\n    Kept: virtual number" in play.in_terminal(current(workspace, card))
    assert "    [ Keep Number ]" in play.in_terminal(card)
    assert private(workspace, BEN) == []


@pytest.mark.parametrize(
    ("block", "fault"),
    [
        ({"type": "file"}, "unknown type file"),
        ({"type": "section"}, "section text is missing"),
        ({"type": "section", "text": {"type": "mrkdwn", "text": "x" * 3001}}, "section text has 3001 of 3000"),
        ({"type": "section", "text": {"type": "html", "text": "x"}}, "section text is html"),
        ({"type": "context", "elements": []}, "1 to 10 context elements"),
        ({"type": "actions", "elements": []}, "1 to 25 elements"),
        ({"type": "actions", "elements": [{"type": "select", "action_id": "a"}]}, "a button with an action_id"),
    ],
)
def test_fake_refuses_what_slack_refuses(block: dict[str, Any], fault: str) -> None:
    """The fake holds the bot to Block Kit's limits."""
    assert any(fault in found for found in blocks.faults("text", [block]))


def test_fake_refuses_wrong_views_and_options() -> None:
    """Views and menus have limits too."""
    text = {"type": "plain_text", "text": "x" * 151}
    wide = {"type": "section", "text": text, "accessory": {"type": "select", "placeholder": text}}
    found = " ".join(
        blocks.view_faults({"type": "home", "title": text, "close": text, "blocks": [wide] * 101}, "modal")
    )
    for fault in (
        "no modal",
        "title has 151 of 24",
        "close has 151 of 24",
        "a menu with",
        "placeholder has 151 of 150",
    ):
        assert fault in found
    assert "1 to 50" in blocks.faults("x", [wide] * 51)[0]
    assert blocks.faults("x", [{"type": "section", "text": {"type": "mrkdwn", "text": "x"}}]) == []
    found = " ".join(blocks.option_faults([{"text": text, "value": ""}] * 101))
    for fault in ("more than 100 options", "option text has 151 of 75", "description is missing", "without a value"):
        assert fault in found
    assert (
        "header text has 151"
        in blocks.view_faults({"type": "home", "blocks": [{"type": "header", "text": text}]}, "home")[0]
    )


def test_fake_refuses_wrong_buttons() -> None:
    """Button limits, and an action_id that stands twice."""
    text = {"type": "plain_text", "text": "x" * 76}
    button = {"type": "button", "action_id": "a", "text": text, "value": "v" * 2001, "style": "loud"}
    found = " ".join(blocks.faults("", [{"type": "actions", "elements": [button, button]}]))
    for fault in ("top-level text", "value over 2000", "style", "button text has 76 of 75", "an action_id twice"):
        assert fault in found
    assert "1 to 50 blocks" in blocks.faults("x", [])[0]


async def test_fake_holds_the_bot_to_its_rules(workspace: Workspace, bot: Bot) -> None:
    """The fake refuses a wrong token, others' messages, unknown methods, and a response_url used up."""
    card = await ask(workspace)
    said = await workspace.say(ANA, NUMBERS, "hello")
    with pytest.raises(NotThereError):
        workspace.click_payload(ANA, card, "Dance")
    await settled(bot)
    async with aiohttp.ClientSession() as client:

        async def call(method: str, token: str = TOKEN, **body: Any) -> Any:
            headers = {"Authorization": f"Bearer {token}"}
            async with client.post(workspace.api_url + method, json=body, headers=headers) as answer:
                return await answer.json()

        assert (await call("auth.test", "xoxb-other"))["error"] == "invalid_auth"
        assert (await call("chat.meMessage"))["error"] == "unknown_method"
        fields: dict[str, Any] = {"channel": NUMBERS, "text": "x", "blocks": card.blocks}
        assert (await call("chat.update", ts=said.ts, **fields))["error"] == "message_not_found"
        assert (await call("chat.getPermalink", channel=NUMBERS, message_ts="0"))["error"] == "channel_not_found"
        async with client.get(
            f"{workspace.api_url}chat.getPermalink?channel={NUMBERS}&message_ts=0",
            headers={"Authorization": f"Bearer {TOKEN}"},
        ) as answer:
            assert (await answer.json())["error"] == "message_not_found"
        long = fields | {"text": "x" * 4_001}
        assert (await call("chat.update", ts=card.ts, **long))["error"] == "msg_too_long"
        workspace.broken_rules.clear()
        judged = {"message": json.dumps({"text": "x", "blocks": card.blocks})}
        async with client.post(
            f"{workspace.api_url}blocks.validate", data=judged, headers={"Authorization": f"Bearer {TOKEN}"}
        ) as answer:
            assert (await answer.json())["error"] == "invalid_arguments"
        fields["blocks"] = []
        assert (await call("chat.update", ts=card.ts, **fields))["error"] == "invalid_blocks"
        assert (await call("chat.postMessage", **fields))["error"] == "invalid_blocks"
        url = workspace.sent[-1]["response_url"]
        for expected in [(200, "invalid_blocks")] * 5 + [(404, '{"ok": false, "error": "used_url"}')]:
            async with client.post(url, json={"text": "x", "blocks": []}) as answer:
                assert (answer.status, await answer.text()) == expected
        home: dict[str, Any] = {"user_id": ANA, "view": {"type": "home", "blocks": []}}
        assert (await call("views.publish", **home))["error"] == "invalid_arguments"
        payload = workspace.click_payload(ANA, card, "Keep Number")
        dialog: dict[str, Any] = {"trigger_id": payload["trigger_id"], "view": home["view"]}
        assert (await call("views.open", **dialog))["error"] == "invalid_arguments"
        assert (await call("views.open", **dialog))["error"] == "exchanged_trigger_id"
        ws = workspace.api_url.replace("/api/", "/socket/nothing")
        async with client.get(ws) as answer:
            assert answer.status == 403
    assert "used_url" in workspace.broken_rules
    workspace.broken_rules.clear()

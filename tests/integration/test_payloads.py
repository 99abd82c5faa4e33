"""The payloads of tests/payloads, in the shapes that Slack documents: each one is acknowledged and has its effect."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bot.views.blocks import modal
from bot.views.blocks import private as private_message
from bot.views.replies import DIALOG, UNREADABLE_PAYLOAD
from sandbox.fake_slack import Note, Workspace
from tests.conftest import (
    ANA,
    APP_TOKEN,
    NUMBER,
    NUMBERS,
    SECRET,
    THOROUGH,
    Start,
    ask,
    current,
    private,
    public,
    settled,
)

PUSHED = {"response_action": "push", "view": modal(DIALOG, private_message(UNREADABLE_PAYLOAD))}
FILES = sorted((Path(__file__).parents[1] / "payloads").glob("*.json"))
ORG, SALES, HOME = "E0ORG", "T0SALES", "T0HOME"


@pytest.fixture(params=["http", pytest.param("socket", marks=THOROUGH)], autouse=True)
def mode(request: pytest.FixtureRequest, environment: dict[str, str], tmp_path: Path) -> str:
    """Slack sends its requests over HTTP and over the socket; the bot has a list of numbers for its menu."""
    numbers = tmp_path / "numbers.csv"
    numbers.write_text(f"id,number,label\n{NUMBER},+61 480 000 000,Support line\n", encoding="utf-8")
    environment["NUMBERS_FILE"] = str(numbers)
    if request.param == "socket":
        environment["SLACK_APP_TOKEN"] = APP_TOKEN
    return str(request.param)


def filled(payload: Any, values: dict[str, str]) -> Any:
    """The payload with its placeholders filled in."""
    if isinstance(payload, dict):
        return {key: filled(value, values) for key, value in payload.items()}
    if isinstance(payload, list):
        return [filled(value, values) for value in payload]
    return values.get(payload, payload) if isinstance(payload, str) else payload


async def shown(workspace: Workspace, name: str) -> Note | None:
    """The message or menu that the payload is about, put where Slack would show it."""
    if "click" in name:
        return await ask(workspace, channel=SECRET if "response_url" in name else NUMBERS)
    if name != "typing_in_form" and ("typing" in name or "choice" in name):
        await workspace.command(ANA, NUMBERS, "")
        return next(note for note in workspace.notes if note.menu is not None)
    return None


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
async def test_documented_payload(start: Start, workspace: Workspace, path: Path) -> None:
    """A payload of each documented shape is acknowledged as Slack expects, and does what the person asked for."""
    file = json.loads(path.read_text(encoding="utf-8"))
    name, kind = path.stem, file["kind"]
    if "enterprise" in name:
        workspace.enterprise_id = ORG
        workspace.teams[ANA] = None
        workspace.enterprise_users[ANA] = (ORG, [SALES, HOME])
    async with start() as bot:
        note = await shown(workspace, name)
        await settled(bot)
        channel = note.channel if note else NUMBERS
        values = {
            "{response_url}": workspace._response_url(channel, ANA, note.ts if note else None),
            "{trigger_id}": workspace._trigger(ANA),
            "{message_ts}": note.ts if note else "",
            "{channel_id}": channel,
            "{value}": note.buttons["Keep Number"]["value"] if note and note.buttons else "",
        }
        ack = await workspace.send(kind, filled(file["payload"], values))
        await settled(bot)
        assert ack.status == 200
        if "typing" in name:
            (option,) = json.loads(ack.body)["options"]
            assert option["value"] == NUMBER
        else:
            assert ack.body == ""
        if "click" in name:
            assert note is not None
            assert current(workspace, note).text.startswith("*Kept")
        elif "home_opened" in name:
            assert "Open requests" in json.dumps(workspace.homes[ANA])
        elif "typing" not in name:
            assert public(workspace)[-1].buttons
        assert [line for line in private(workspace, ANA) if "could not read" in line] == []


def test_every_payload_names_its_source() -> None:
    """Every file says in which document or repository its shape can be looked up."""
    assert len(FILES) > 10
    for path in FILES:
        file = json.loads(path.read_text(encoding="utf-8"))
        assert file.keys() == {"source", "kind", "payload"}
        assert file["source"].startswith(("https://", "slackapi/"))
        assert file["kind"] in ("slash_commands", "interactive", "events_api")


@pytest.mark.parametrize(
    ("payload", "body"),
    [
        pytest.param({"type": "block_suggestion", "user": {"id": "ana"}, "value": "x"}, {"options": []}, id="menu"),
        pytest.param({"type": "block_suggestion"}, {"options": []}, id="menu without anything"),
        pytest.param({"type": "block_actions", "actions": []}, None, id="click"),
        pytest.param({"type": "view_submission", "view": {"id": "V0"}}, PUSHED, id="form"),
        pytest.param({"type": "view_closed", "view": {"id": "V0"}}, None, id="an interaction of no use here"),
        pytest.param({"type": "event_callback", "event": {"type": 7}}, None, id="event"),
        pytest.param({"type": 7}, None, id="type that is no text"),
        pytest.param({"unknown": True}, None, id="no type"),
    ],
)
async def test_unreadable_payload_is_acknowledged(
    start: Start, workspace: Workspace, payload: dict[str, Any], body: dict[str, Any] | None
) -> None:
    """A payload that cannot be read is acknowledged: without an ack Slack would deliver it again."""
    kind = "events_api" if "event" in payload else "interactive"
    async with start() as bot:
        ack = await workspace.send(kind, payload)
        await settled(bot)
    assert ack.status == 200
    assert (json.loads(ack.body) if ack.body else None) == body
    assert workspace.notes == []


async def test_unreadable_click_is_answered(start: Start, workspace: Workspace) -> None:
    """The person reads why nothing happened: by the response_url, or else in a dialog."""
    async with start() as bot:
        card = await ask(workspace)
        payload = workspace.click_payload(ANA, card, "Keep Number") | {"container": {"type": "unheard_of"}}
        await workspace.send("interactive", payload)
        await settled(bot)
        assert private(workspace, ANA) == [UNREADABLE_PAYLOAD]
        await workspace.send("interactive", payload | {"response_url": "no URL"})
        await settled(bot)
        assert [view["blocks"][0]["text"]["text"] for _, view in workspace.dialogs] == [UNREADABLE_PAYLOAD]
        await workspace.send("interactive", payload | {"response_url": None, "trigger_id": None})
        await settled(bot)
    assert public(workspace) == [card]


async def test_menu_without_a_channel(start: Start, workspace: Workspace) -> None:
    """A menu that names no channel checks the person; the choice is checked with its channel."""
    async with start(allowed_channels="C0OTHER,C0NUMBERS", allowed_users=ANA) as bot:
        await workspace.command(ANA, NUMBERS, "")
        note = next(note for note in workspace.notes if note.menu is not None)
        typing = workspace.suggestion_payload(ANA, note, "support")
        del typing["channel"], typing["container"]
        await offers(workspace, typing, True)
        await offers(workspace, typing | {"user": typing["user"] | {"id": "U0GIL"}}, False)
        await offers(workspace, typing | {"channel": {"id": SECRET}}, False)
        (option,) = await workspace.suggestions(ANA, note, "support")
        choice = workspace.choice_payload(ANA, note, option)
        choice["channel"]["id"] = choice["container"]["channel_id"] = SECRET
        await workspace.send("interactive", choice)
        await settled(bot)
    assert "can't be unsubscribed in this channel" in private(workspace, ANA)[-1]
    assert public(workspace) == []


async def offers(workspace: Workspace, typing: dict[str, Any], some: bool) -> None:
    """Expect the menu to offer something, or nothing."""
    ack = await workspace.send("interactive", typing)
    assert bool(json.loads(ack.body)["options"]) is some

"""Payloads in the shapes that Slack documents, and what the bot does with those that it cannot read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bot.demo.workspace import Workspace
from handlers.payloads import SENTENCE
from tests.conftest import (
    ANA,
    APP_TOKEN,
    NUMBER,
    Start,
    ask,
    private,
    public,
    settled,
)


@pytest.fixture
def database(tmp_path: Path) -> str:
    """Nothing here depends on the database."""
    return f"sqlite:///{tmp_path}/ledger.db"


@pytest.fixture(params=["http", "socket"], autouse=True)
def mode(request: pytest.FixtureRequest, environment: dict[str, str], tmp_path: Path) -> str:
    """Slack sends its requests over HTTP and over the socket; the bot has a list of numbers for its menu."""
    numbers = tmp_path / "numbers.csv"
    numbers.write_text(f"id,number,label\n{NUMBER},+61 480 000 000,Support line\n", encoding="utf-8")
    environment["NUMBERS_FILE"] = str(numbers)
    if request.param == "socket":
        environment["SLACK_APP_TOKEN"] = APP_TOKEN
    return str(request.param)


@pytest.mark.parametrize(
    ("payload", "body"),
    [
        pytest.param({"type": "block_suggestion", "user": {"id": "ana"}, "value": "x"}, {"options": []}, id="menu"),
        pytest.param({"type": "block_suggestion"}, {"options": []}, id="menu without anything"),
        pytest.param({"type": "block_actions", "actions": []}, None, id="click"),
        pytest.param({"type": "view_submission", "view": {"id": "V0"}}, None, id="an interaction of no use here"),
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
        payload = workspace.press_payload(ANA, card, "Keep Number") | {"container": {"type": "unheard_of"}}
        await workspace.send("interactive", payload)
        await settled(bot)
        assert private(workspace, ANA) == [SENTENCE]
        await workspace.send("interactive", payload | {"response_url": None})
        await settled(bot)
        assert [view["blocks"][0]["text"]["text"] for _, view in workspace.dialogs] == [SENTENCE]
        await workspace.send("interactive", payload | {"response_url": None, "trigger_id": None})
        await settled(bot)
    assert public(workspace) == [card]

"""The card that the limit and the usual bots post: a line and a button, without rules."""

from __future__ import annotations

from typing import Any


def card(number: str) -> dict[str, Any]:
    """The text and blocks of chat.postMessage."""
    text = f"Unsubscribe `{number}` ?"
    button = {"type": "button", "action_id": "go", "value": number, "text": {"type": "plain_text", "text": "Go"}}
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": text}}, {"type": "actions", "elements": [button]}]
    return {"text": text, "blocks": blocks}

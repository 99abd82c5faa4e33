"""How the bot answers a request of Slack that has an error: each kind of request shows a sentence in another way."""

from __future__ import annotations

from typing import Any

from slack_bolt.response import BoltResponse

from bot.views import blocks, replies

MAX_KIND = 40  # how much of an unknown type the log names


def private_ack(sentence: str) -> BoltResponse:
    """Return the ack of a command that only its person sees."""
    line = blocks.private(sentence)
    return BoltResponse(status=200, body={"response_type": "ephemeral", "text": line.text, "blocks": line.blocks})


def kind_of(body: dict[str, Any]) -> str:
    """Return what kind of request this is: `command`, or the payload's type."""
    return "command" if "command" in body else str(body.get("type"))[:MAX_KIND]


def error_ack(kind: str, sentence: str) -> tuple[BoltResponse, bool]:
    """Return the ack that goes with an error, and whether its sentence must be sent privately.

    A command has it in the ack, a form in a modal on top of it: what the person entered is still there afterwards. A
    menu cannot show a sentence and asks after every keystroke, so it gets no options: the person reads the error after
    choosing.
    """
    if kind == "command":
        return private_ack(sentence), False
    if kind == "view_submission":
        view = blocks.modal(replies.DIALOG, blocks.private(sentence))
        return BoltResponse(status=200, body={"response_action": "push", "view": view}), False
    if kind == "block_suggestion":
        return BoltResponse(status=200, body={"options": []}), False
    return BoltResponse(status=200, body=""), True

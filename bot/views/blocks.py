"""The building blocks of messages (Block Kit and its limits: https://docs.slack.dev/reference/block-kit)."""

from __future__ import annotations

from typing import Any

from bot.domain.markup import cut, escape
from bot.domain.models import Message

Block = dict[str, Any]
# The longest texts that Slack accepts in a section and in a context block. A longer one would be refused with all that
# is beside it.
MAX_SECTION, MAX_CONTEXT = 3000, 2000


def message(blocks: list[Block]) -> Message:
    """Return a message whose text (screen readers, notifications) says all that its blocks say, buttons aside."""
    return Message("\n".join(line for block in blocks for line in _lines(block)), blocks)


def _lines(block: Block) -> list[str]:
    if block["type"] == "input":
        placeholder = block["element"].get("placeholder")
        texts = [block["label"], *([placeholder] if placeholder else [])]
    else:
        texts = [block["text"]] if "text" in block else block["elements"] if block["type"] == "context" else []
    return [escape(text["text"]) if text["type"] == "plain_text" else text["text"] for text in texts]


def private(sentence: str) -> Message:
    """Return a message of one paragraph, as only one person sees it."""
    return message([section(sentence)])


def mrkdwn(text: str) -> Block:
    """Return a text object with markup (https://docs.slack.dev/reference/block-kit/composition-objects/text-object).

    Without `verbatim` Slack parses the text again: a typed @here or #general becomes a mention or a link, and alerts
    people. What the bot itself writes in angle brackets (`<@U…>`, `<!date^…>`) works all the same.
    """
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def plain_text(text: str) -> Block:
    """Return a text object without markup, in which the code of an emoji stays as it was typed."""
    return {"type": "plain_text", "text": text, "emoji": False}


def section(text: str) -> Block:
    """Return a paragraph."""
    return {"type": "section", "text": mrkdwn(cut(text, MAX_SECTION))}


def plain(text: str) -> Block:
    """Return a paragraph of other people's words, exactly as they are: plain_text has no markup and needs no escape."""
    return {"type": "section", "text": plain_text(cut(text, MAX_SECTION))}


def header(text: str) -> Block:
    """Return a heading."""
    return {"type": "header", "text": plain_text(text)}


def context(text: str) -> Block:
    """Return a line in small print."""
    return {"type": "context", "elements": [mrkdwn(cut(text, MAX_CONTEXT))]}


def buttons(*elements: Block) -> Block:
    """Return a row of buttons."""
    return {"type": "actions", "elements": list(elements)}


def button(action: str, label: str, value: str) -> Block:
    """Return a button."""
    return {"type": "button", "action_id": action, "text": plain_text(label), "value": value}


def danger(button: Block, title: str, text: str) -> Block:
    """Return the button in red, with a dialog that asks once more before the click counts."""
    return button | {
        "style": "danger",
        "confirm": {
            "title": plain_text(title),
            "text": plain_text(text),
            "confirm": button["text"],
            "deny": plain_text("Go Back"),
            "style": "danger",
        },
    }


def modal(title: str, message: Message) -> Block:
    """Return a modal that shows a message (https://docs.slack.dev/surfaces/modals)."""
    return {"type": "modal", "title": plain_text(title), "close": plain_text("Close"), "blocks": message.blocks}

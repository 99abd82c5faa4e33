"""The messages that the other contestants post: the simple card of (a) to (d), and for (e) what this bot shows."""

from __future__ import annotations

import time
from typing import Any

Message = dict[str, Any]


def card(number: str) -> Message:
    """The text and blocks of chat.postMessage: a line and a button."""
    text = f"Unsubscribe `{number}` ?"
    button = {"type": "button", "action_id": "go", "value": number, "text": {"type": "plain_text", "text": "Go"}}
    blocks = [{"type": "section", "text": {"type": "mrkdwn", "text": text}}, {"type": "actions", "elements": [button]}]
    return {"text": text, "blocks": blocks}


def full_card(name: str, number: str, by: str, until: float) -> Message:
    """A card with everything that this bot's has, its confirmation dialog included."""
    text = (
        f"*Unsubscribe virtual number* `{number}`?\n"
        f"Requested by <@{by}>. It can be confirmed until {_moment(until)}.\n"
        "No undo is documented. Buying the number again may work while nobody else has it, and costs money."
    )
    red = _button("unsubscribe_number", "Unsubscribe Number", name) | {
        "style": "danger",
        "confirm": {
            "title": _plain("Unsubscribe this number?"),
            "text": _plain(f"Virtual number {number}. No undo is documented."),
            "confirm": _plain("Unsubscribe Number"),
            "deny": _plain("Go Back"),
            "style": "danger",
        },
    }
    buttons = {"type": "actions", "elements": [red, _button("keep_number", "Keep Number", name)]}
    return {"text": text, "blocks": [_section(text), buttons]}


def under_way(number: str, by: str, at: float) -> Message:
    """The card while the call is made."""
    text = (
        f"*Unsubscribing virtual number* `{number}` …\nConfirmed by <@{by}> ({_moment(at)}). The outcome will follow."
    )
    return {"text": text, "blocks": [_section(text)]}


def done(number: str, by: str, at: float) -> Message:
    """The card with its outcome."""
    text = f"*Unsubscribed: virtual number* `{number}`\nConfirmed by <@{by}> ({_moment(at)}). Requested by <@{by}>."
    return {"text": text, "blocks": [_section(text)]}


def toast(number: str, said: str, by: str, at: float) -> Message:
    """Cellcast's message, with who confirmed in small print."""
    small = f"Virtual number `{number}`. Confirmed by <@{by}> ({_moment(at)}). Requested by <@{by}>."
    line = {"type": "mrkdwn", "text": small, "verbatim": True}
    blocks = [{"type": "section", "text": _plain(said)}, {"type": "context", "elements": [line]}]
    return {"text": f"{said}\n{small}", "blocks": blocks}


def _moment(seconds: float) -> str:
    fallback = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
    return f"<!date^{int(seconds)}^{{date_short_pretty}} at {{time}}|{fallback}>"


def _plain(text: str) -> Message:
    return {"type": "plain_text", "text": text, "emoji": False}


def _section(text: str) -> Message:
    return {"type": "section", "text": {"type": "mrkdwn", "text": text, "verbatim": True}}


def _button(action: str, label: str, value: str) -> Message:
    return {"type": "button", "action_id": action, "value": value, "text": _plain(label)}

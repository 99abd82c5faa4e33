"""Block Kit's limits, as Slack enforces them (https://docs.slack.dev/reference/block-kit)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

LONGEST_TEXT = 40_000


def faults(text: object, blocks: object) -> list[str]:
    """What Slack would refuse in a message; empty where it is fine."""
    found = []
    if not isinstance(text, str) or not text.strip() or len(text) > LONGEST_TEXT:
        found.append("no_text or msg_too_long: the top-level text")
    if not isinstance(blocks, list) or not 1 <= len(blocks) <= 50:
        return [*found, "invalid_blocks: 1 to 50 blocks"]
    actions: list[str] = []
    for block in blocks:
        found += _block(block, actions)
    if len(actions) != len(set(actions)):
        found.append("invalid_blocks: an action_id twice")
    return found


def _block(block: dict[str, Any], actions: list[str]) -> Iterator[str]:
    match block.get("type"):
        case "section":
            yield from _text(block.get("text"), 3000, "section text")
        case "context":
            elements = block.get("elements", [])
            if not 1 <= len(elements) <= 10:
                yield "invalid_blocks: 1 to 10 context elements"
            for element in elements:
                yield from _text(element, 2000, "context text")
        case "actions":
            if not 1 <= len(block.get("elements", [])) <= 25:
                yield "invalid_blocks: 1 to 25 elements of actions"
            for element in block.get("elements", []):
                actions.append(element.get("action_id"))
                yield from _button(element)
        case other:
            yield f"invalid_blocks: unknown type {other}"


def _button(button: dict[str, Any]) -> Iterator[str]:
    if button.get("type") != "button" or not 1 <= len(button.get("action_id", "")) <= 255:
        yield "invalid_blocks: a button with an action_id"
    if len(button.get("value", "")) > 2000:
        yield "invalid_blocks: value over 2000"
    if button.get("style") not in (None, "primary", "danger"):
        yield "invalid_blocks: style"
    yield from _text(button.get("text"), 75, "button text", plain=True)
    if (confirm := button.get("confirm")) is not None:
        yield from _text(confirm.get("title"), 100, "confirm title", plain=True)
        yield from _text(confirm.get("text"), 300, "confirm text")
        yield from _text(confirm.get("confirm"), 30, "confirm button", plain=True)
        yield from _text(confirm.get("deny"), 30, "deny button", plain=True)


def _text(text: Any, longest: int, what: str, *, plain: bool = False) -> Iterator[str]:
    if not isinstance(text, dict) or not isinstance(text.get("text"), str):
        yield f"invalid_blocks: {what} is missing"
    elif not 1 <= len(text["text"]) <= longest:
        yield f"invalid_blocks: {what} has {len(text['text'])} of {longest} characters"
    elif text.get("type") not in (("plain_text",) if plain else ("plain_text", "mrkdwn")):
        yield f"invalid_blocks: {what} is {text.get('type')}"

"""Block Kit's limits, as Slack enforces them (https://docs.slack.dev/reference/block-kit)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

MAX_TEXT = 40_000
# Mentions as an app writes them, and what automatic parsing makes of plain text: a mention, or a link to a channel or
# an address (https://docs.slack.dev/messaging/formatting-message-text#automatic-parsing). The fake takes every #name
# for a channel's.
BROADCASTS = frozenset({"here", "channel", "everyone"})
MENTION = re.compile(r"<(?:@|!subteam\^|!)(?P<who>[UWS][A-Z0-9]+|here|channel|everyone)(?:\|[^>]*)?>")
PARSED = re.compile(
    r"(?<![\w@])@(?P<who>here|channel|everyone)\b|(?<![\w&#])#\w[\w-]*|\bhttps?://[^\s<>|]+", re.IGNORECASE
)
MARKUP = re.compile(r"<[^<>]*>")
FORMATTING = re.compile(r"(?P<code>`[^`\n]+`)|<[^<>]*>|(?P<mark>[*~`\n]|(?<![^\W_])_|_(?![^\W_])|:[\w'+-]+:)")


def faults(text: object, blocks: object) -> list[str]:
    """Return what Slack would refuse in a message; an empty list if it is valid."""
    found = []
    if not isinstance(text, str) or not text.strip() or len(text) > MAX_TEXT:
        found.append("no_text or msg_too_long: the top-level text")
    if not isinstance(blocks, list) or not 1 <= len(blocks) <= 50:
        return [*found, "invalid_blocks: 1 to 50 blocks"]
    return found + [fault for block in blocks for fault in block_faults(block)]


def mrkdwn(value: Any) -> Iterator[dict[str, Any]]:
    """Find the mrkdwn objects in blocks, however deep."""
    if isinstance(value, dict) and value.get("type") == "mrkdwn":
        yield value
    elif isinstance(value, dict | list):
        for inner in value.values() if isinstance(value, dict) else value:
            yield from mrkdwn(inner)


def mentions(text: str, blocks: object) -> frozenset[str]:
    """Return whom a message alerts: the ids of people and groups, and the broadcasts."""
    said = [text, *(str(part["text"]) for part in mrkdwn(blocks))]
    found = {match["who"] for part in said for match in MENTION.finditer(part)}
    return frozenset(found | {match["who"].lower() for match in _parsed_again(blocks) if match["who"]})


def alarms(text: str, blocks: object, *, text_is_parsed: bool = False) -> list[str]:
    """Return what a bot must never send: a mention of everyone, and plain text that Slack turns into mentions or links.

    `text_is_parsed` is whether Slack parses the top-level text automatically too.
    """
    changed = [*_parsed_again(blocks), *(_parsed(text) if text_is_parsed else ())]
    found = [f"a message alerts @{who}" for who in sorted(BROADCASTS & mentions(text, blocks))]
    found += [f"Slack parses {match[0]!r} in a message without verbatim or parse=none" for match in changed]
    texts = [str(part["text"]) for part in mrkdwn(blocks)]
    return found + [f"{fault} in {shown!r}" for shown in texts for fault in formatting(shown)]


def formatting(text: str) -> Iterator[str]:
    """Find formatting that the bot does not intend: it uses only bold, which ends in its line, and code spans.

    The rules are those of https://docs.slack.dev/messaging/formatting-message-text. An underscore formats nothing
    within a word (https://github.com/Sorunome/slack-markdown/issues/4).
    """
    if re.search(r"&(?!amp;|lt;|gt;)", text):
        yield "an & that is not escaped, or an escaped character cut in two"
    bold = False
    for found in FORMATTING.finditer(f"{text}\n"):
        if found["code"] and bold:
            yield "bold around a code span"
        elif found["mark"] == "*":
            bold = not bold
        elif found["mark"] == "\n":
            if bold:
                yield "an asterisk without another one in its line"
            bold = False
        elif found["mark"]:
            yield f"{found['mark']} as formatting"


def _parsed_again(blocks: object) -> Iterator[re.Match[str]]:
    for part in mrkdwn(blocks):
        if part.get("verbatim") is not True:
            yield from _parsed(str(part["text"]))


def _parsed(text: str) -> Iterator[re.Match[str]]:
    """Find what automatic parsing changes: nothing that is in angle brackets already."""
    return PARSED.finditer(MARKUP.sub(" ", text))


def block_faults(block: dict[str, Any]) -> Iterator[str]:
    """Find what Slack would refuse in a block."""
    match block.get("type"):
        case "section":
            yield from _text(block.get("text"), 3000, "section text")
            if (menu := block.get("accessory")) is not None:
                yield from _menu(menu)
        case "header":
            yield from _text(block.get("text"), 150, "header text", plain=True)
        case "divider":
            pass
        case "context":
            elements = block.get("elements", [])
            if not 1 <= len(elements) <= 10:
                yield "invalid_blocks: 1 to 10 context elements"
            for element in elements:
                yield from _text(element, 2000, "context text")
        case "actions":
            yield from _actions(block.get("elements", []))
        case "input":
            yield from _input(block)
        case other:
            yield f"invalid_blocks: unknown type {other}"


def _actions(elements: list[dict[str, Any]]) -> Iterator[str]:
    if not 1 <= len(elements) <= 25:
        yield "invalid_blocks: 1 to 25 elements of actions"
    ids = [element.get("action_id") for element in elements]
    if len(ids) != len(set(ids)):  # unique within its block only
        yield "invalid_blocks: an action_id twice"
    for element in elements:
        yield from _button(element)


def _input(block: dict[str, Any]) -> Iterator[str]:
    """Judge a field of a modal (https://docs.slack.dev/reference/block-kit/blocks/input-block)."""
    yield from _text(block.get("label"), 2000, "label", plain=True)
    if "hint" in block:
        yield from _text(block["hint"], 2000, "hint", plain=True)
    element = block.get("element", {})
    match element.get("type"):
        case "plain_text_input":
            if not 0 <= element.get("min_length", 0) <= element.get("max_length", 3000) <= 3000:
                yield "invalid_blocks: min_length and max_length"
        case "conversations_select":
            if element.get("filter", {}).get("include") == []:
                yield "invalid_blocks: a filter that includes nothing"
        case "external_select":
            yield from option_faults([element["initial_option"]] if "initial_option" in element else [])
        case other:
            yield f"invalid_blocks: {other} in an input block"
    if "response_url_enabled" in element and element["type"] not in ("conversations_select", "channels_select"):
        yield "invalid_blocks: additional property response_url_enabled"  # slackapi/bolt-python#670
    if not 1 <= len(element.get("action_id", "")) <= 255:
        yield "invalid_blocks: a field without an action_id"
    if "placeholder" in element:
        yield from _text(element["placeholder"], 150, "placeholder", plain=True)


def view_faults(view: dict[str, Any], kind: str) -> list[str]:
    """Return what Slack would refuse in a view (https://docs.slack.dev/reference/views)."""
    blocks = view.get("blocks", [])
    found = [] if view.get("type") == kind and 1 <= len(blocks) <= 100 else [f"invalid_arguments: no {kind}"]
    fields = [block for block in blocks if block.get("type") == "input"]
    if kind == "modal":
        found += _text(view.get("title"), 24, "title", plain=True)
        for label in {"close", "submit"} & view.keys():
            found += _text(view[label], 24, label, plain=True)
    # https://github.com/slackapi/node-slack-sdk/pull/875
    if fields and "submit" not in view:
        found.append("invalid_arguments: must define submit to use an input block")
    ids = [block["block_id"] for block in blocks if "block_id" in block]
    if len(ids) != len(set(ids)):
        found.append("invalid_arguments: a block_id twice")
    if sum(bool(field.get("element", {}).get("focus_on_load")) for field in fields) > 1:
        found.append("invalid_arguments: focus_on_load twice")
    if len(view.get("private_metadata", "")) > 3000 or len(view.get("callback_id", "")) > 255:
        found.append("invalid_arguments: private_metadata or callback_id is too long")
    return found + [fault for block in blocks for fault in block_faults(block)]


def submission_faults(view: dict[str, Any], answer: dict[str, Any]) -> list[str]:
    """Return what Slack would refuse in the answer to a submitted modal (https://docs.slack.dev/surfaces/modals)."""
    match answer.get("response_action"):
        case None:
            return [f"an answer without response_action: {answer}"] if answer else []
        case "clear":
            return []
        case "errors":
            fields = {block.get("block_id") for block in view["blocks"] if block["type"] == "input"}
            errors = answer.get("errors") or {}
            wrong = not errors or set(errors) - fields or not all(isinstance(e, str) and e for e in errors.values())
            return [f"errors that belong to no field: {errors}"] if wrong else []
        case "push" | "update":
            return alarms("", answer.get("view")) + view_faults(answer.get("view") or {}, "modal")
        case other:
            return [f"an unknown response_action: {other}"]


def menu_faults(answer: dict[str, Any]) -> list[str]:
    """Return what Slack would refuse in the answer of a menu: options, or groups of options with a label each."""
    if "options" in answer:
        return option_faults(answer["options"])
    groups = answer.get("option_groups", [])
    found = [] if len(groups) == 1 else ["neither options nor one group of options"]  # more are not used here
    for group in groups:
        found += _text(group.get("label"), 75, "group label", plain=True)
        found += option_faults(group["options"])
    return found


def option_faults(options: list[dict[str, Any]]) -> list[str]:
    """Return what Slack would refuse in the options of a menu."""
    found = [] if len(options) <= 100 else ["more than 100 options"]
    for option in options:
        found += _text(option.get("text"), 75, "option text", plain=True)
        found += _text(option.get("description"), 75, "option description", plain=True)
        found += [] if 1 <= len(option.get("value", "")) <= 150 else ["an option without a value"]
    return found


def _menu(menu: dict[str, Any]) -> Iterator[str]:
    if menu.get("type") == "static_select":
        yield from menu_faults(menu)
    elif menu.get("type") != "external_select":
        yield "invalid_blocks: an unknown menu"
    if not 1 <= len(menu.get("action_id", "")) <= 255:
        yield "invalid_blocks: a menu without an action_id"
    yield from _text(menu.get("placeholder"), 150, "placeholder", plain=True)


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
    elif not 1 <= (length := len(text["text"].encode("utf-16-le")) // 2) <= longest:  # the stricter way to count
        yield f"invalid_blocks: {what} has {length} of {longest} characters"
    elif text.get("type") not in (("plain_text",) if plain else ("plain_text", "mrkdwn")):
        yield f"invalid_blocks: {what} is {text.get('type')}"

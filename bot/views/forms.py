"""Modals with fields: the form that requests a number, and the one in which a confirmation is typed.

https://docs.slack.dev/surfaces/modals
"""

from __future__ import annotations

from bot.domain.markup import cut
from bot.domain.models import Request
from bot.domain.numbers import LAST_DIGITS, Number
from bot.domain.reasons import MAX_REASON, ReasonRule
from bot.views import replies
from bot.views.blocks import Block, plain_text, section
from bot.views.cards import LABELS, TRY_AGAIN, UNSUBSCRIBE, Rules, card

REQUEST_FORM, CONFIRM_FORM = "request_number", "confirm_number"
OPEN_REQUEST_FORM = "open_request_form"  # the button in the App Home
NUMBER, REASON, CHANNEL, DIGITS = "number", "reason", "channel", "digits"  # the fields
NO_ID = "This is not the id of a virtual number. An id has 24 hexadecimal digits (0-9, a-f); Cellcast shows it."
MAX_PLACEHOLDER = 150
NO_CHANNEL = "Choose a channel."


def request_form(rule: ReasonRule, *, listed: bool, channel: str | None = None, number: Number | None = None) -> Block:
    """Return the form in which a person requests a number; `channel` and `number` are chosen already.

    The channel is a field of the form, although the command was typed in one: then Slack sends a response_url for it,
    with which the bot can post a card where it is not a member.
    """
    if listed:
        menu = replies.number_menu()
        if number is not None:
            menu["initial_option"] = replies.option(number, has_card=False)
        number_field = _field(NUMBER, "Number", menu)
    else:
        number_field = _field(
            NUMBER, "Cellcast id of the number", {"type": "plain_text_input", "action_id": NUMBER, "max_length": 100}
        )
    reason_input = {
        "type": "plain_text_input",
        "action_id": REASON,
        "max_length": MAX_REASON,
        "placeholder": plain_text(cut(f"For example: {rule.example}", MAX_PLACEHOLDER)),
    }
    channel_menu: Block = {
        "type": "conversations_select",
        "action_id": CHANNEL,
        "placeholder": plain_text("Choose a channel"),
        "response_url_enabled": True,
        "filter": {"include": ["public", "private", "im", "mpim"], "exclude_bot_users": True},
    }
    if channel is not None:
        channel_menu["initial_conversation"] = channel
    return {
        "type": "modal",
        "callback_id": REQUEST_FORM,
        "title": plain_text("Unsubscribe a number"),
        "submit": plain_text("Post Card"),
        "close": plain_text("Cancel"),
        "blocks": [
            section(
                "The bot posts a card in the channel. Nothing is sent to Cellcast until someone confirms it there."
            ),
            number_field,
            _field(REASON, "Reason", reason_input, optional=not rule.required),
            _field(CHANNEL, "Channel", channel_menu),
        ],
    }


def reason_error(rule: ReasonRule, reason: str | None) -> str | None:
    """Return the error of the reason's field; None if a request can have this reason."""
    problem = rule.problem(reason)
    return f"{problem} For example: {rule.example}" if problem else None


def confirm_form(request: Request, rules: Rules, metadata: str) -> Block:
    """Return the form in which a person confirms a number with a warning, by typing its last digits.

    It says all that the card says; `metadata` comes back when it is submitted.
    """
    *says, _buttons = card(request, rules).blocks
    typed = {
        "type": "plain_text_input",
        "action_id": DIGITS,
        "min_length": LAST_DIGITS,
        "max_length": 2 * LAST_DIGITS,  # with spaces
        "focus_on_load": True,
    }
    return {
        "type": "modal",
        "callback_id": CONFIRM_FORM,
        "private_metadata": metadata,
        "title": plain_text("Unsubscribe number?"),
        "submit": plain_text(LABELS[TRY_AGAIN if request.attempt else UNSUBSCRIBE]),
        "close": plain_text("Go Back"),
        "blocks": [*says, _field(DIGITS, f"Type the {_last_digits(request)}", typed)],
    }


def digits_error(request: Request) -> str:
    """Return the error of the field for the last digits."""
    return f"These are not the {_last_digits(request)}."


def _last_digits(request: Request) -> str:
    what = "digits" if request.phone else "characters"  # an id has letters too
    return f"last {LAST_DIGITS} {what} of {request.phone or request.number_id}"


def _field(block_id: str, label: str, element: Block, *, optional: bool = False) -> Block:
    """Return a field (https://docs.slack.dev/reference/block-kit/blocks/input-block)."""
    field = {"type": "input", "block_id": block_id, "label": plain_text(label), "element": element}
    return field | ({"optional": True} if optional else {})

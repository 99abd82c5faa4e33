"""The messages with the longest texts: people, Slack, Cellcast and a list of numbers can make each as long as this."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from bot.cli.samples import CONFIRMED, HOME, LATER, NOON, REQUEST, Row, ended, rules_of
from bot.clients.cellcast import CUT, MAX_MESSAGE
from bot.domain.models import Outcome, Request
from bot.domain.numbers import MAX_LABEL, MAX_WARNING, Number
from bot.domain.reasons import MAX_REASON
from bot.domain.status import OutcomeCode
from bot.views import audit, blocks, cards, forms, home, replies
from bot.views import outcomes as outcome_views
from bot.views.cards import Rules
from bot.views.home import MAX_OPEN

LONGEST = "The longest texts"
# The longest that people, Slack and a list of numbers can put into a request: "&" becomes longest by escaping. A list
# can also have labels of emoji, and Cellcast a message of them, each of which can count as two.
EMOJI = "\N{TELEPHONE RECEIVER}"
LONG_ID = "U" + "W" * 20
LONG_FIELDS: dict[str, Any] = {
    "phone": "+999 " + "9" * 18,
    "label": "&" * MAX_LABEL,
    "reason": "&" * MAX_REASON,
    "warning": "&" * MAX_WARNING,
    "channel": "C" + "W" * 20,
    "requested_by": LONG_ID,
    "attempt": 999_999,
    "dry_run": True,
}


def longest_outcomes(**more: Any) -> list[tuple[Request, Outcome]]:
    """Return a request of every outcome, with the longest of everything."""
    found = []
    for kind in OutcomeCode:
        request = ended(
            kind,
            replace(CONFIRMED, **LONG_FIELDS, decided_by=LONG_ID),
            message="&" * MAX_MESSAGE + CUT,
            retry_at=LATER,
            after_unknown=True,
            **more,
        )
        assert request.outcome is not None  # noqa: S101 - as above
        found.append((request, replace(request.outcome, decided_by=LONG_ID)))
    return found


def longest() -> Iterator[Row]:
    """Yield the messages with the longest texts that people and Cellcast can make them show."""
    who, rules = "the channel", Rules(second_person=True, listed=True, account="&" * 100)
    done = longest_outcomes(correction=True)
    for request, outcome in done:
        toast = outcome_views.toast(request, outcome, now=NOON, account=rules.account)
        yield Row(LONGEST, f"card: {outcome.code.value}", who, cards.card(request, rules))
        yield Row(LONGEST, f"toast: {outcome.code.value}", who, toast)
        line = audit.line(request, outcome, {LONG_ID: "&" * 80}, "https://example.slack.com/archives/" + "W" * 200)
        yield Row(LONGEST, f"audit line: {outcome.code.value}", "the audit channel", line)
    waiting = replace(REQUEST, **LONG_FIELDS)
    yield Row(LONGEST, "card that waits", who, cards.card(waiting, rules))
    pending = replace(waiting, warning=EMOJI * MAX_WARNING, label=EMOJI * MAX_LABEL)
    form = forms.confirm_form(pending, rules, "x" * 200)
    yield Row(LONGEST, "form to confirm", who, blocks.message(form["blocks"]), form)
    yield Row(LONGEST, "card with emoji", who, cards.card(replace(waiting, label=EMOJI * MAX_LABEL), rules))
    told = ended(OutcomeCode.REJECTED, replace(CONFIRMED, **LONG_FIELDS), message=EMOJI * MAX_MESSAGE + CUT)
    assert told.outcome is not None  # noqa: S101 - as above
    yield Row(LONGEST, "toast with emoji", who, outcome_views.toast(told, told.outcome, now=NOON))
    yield Row(LONGEST, "history", who, replies.history([request for request, _ in done]))
    policy = rules_of(frozenset(f"U{n:020d}" for n in range(200)))
    yield Row(LONGEST, "help", who, replies.usage(replies.rights(policy), listed=True))
    page = home.page(
        [waiting] * (MAX_OPEN - 1) + [told], done, rules, "", can_confirm=lambda r: r is waiting, open_count=30
    )
    yield Row(HOME, "the longest texts", who, blocks.message(page))


def menu() -> Row:
    """Return the menu with all its options in it: by itself, what answers a menu cannot be validated."""
    options = [
        replies.option(Number(f"{n:024x}", None, EMOJI * MAX_LABEL, EMOJI * MAX_WARNING), has_card=True)
        for n in range(replies.MAX_OPTIONS)
    ]
    question, *rest = replies.picker().blocks
    choice = {
        "type": "static_select",
        "action_id": replies.PICK,
        "placeholder": question["accessory"]["placeholder"],
        "option_groups": [replies.option_group(options, 9999)],
    }
    return Row(
        LONGEST, "the menu of numbers", "the requester", blocks.message([{**question, "accessory": choice}, *rest])
    )

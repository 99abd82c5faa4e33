"""The App Home: what waits for the person who looks at it, the other open requests, and the latest outcomes.

https://docs.slack.dev/surfaces/app-home
"""

from __future__ import annotations

from collections.abc import Callable

from bot.domain.commands import COMMAND
from bot.domain.markup import cut, literal
from bot.domain.models import Outcome, Request
from bot.domain.status import Status
from bot.views.blocks import Block, button, buttons, context, header, section
from bot.views.cards import KEEP, Rules, card
from bot.views.forms import OPEN_REQUEST_FORM
from bot.views.outcomes import OUTCOME_TEXT, decision, headline
from bot.views.text import moment, person, place, reason

MAX_OPEN = 20
# Of so many of the newest open requests the page shows first those that its person can confirm.
MAX_READ = 200
MAX_OUTCOMES = 20
# A home tab has room for only so much of each of Cellcast's messages, in characters after escaping.
MAX_MESSAGE = 250


def page(
    requests: list[Request],
    outcomes: list[tuple[Request, Outcome]],
    rules: Rules,
    rights: str,
    *,
    can_confirm: Callable[[Request], bool],
    can_request: bool = True,
    open_count: int | None = None,
    dry_run: bool = False,
) -> list[Block]:
    """Return what a person with permission sees: first what this person can confirm, the nearest deadline first.

    `can_confirm` tells whether the person may confirm a request, and `open_count` is how many requests are open if
    there are more than `requests`.
    """
    waiting = [request for request in requests if request.expires_at is not None and can_confirm(request)]
    mine = sorted(waiting, key=lambda request: request.expires_at or 0)[:MAX_OPEN]
    others = [request for request in requests if request not in waiting][: MAX_OPEN - len(mine)]
    more = (len(requests) if open_count is None else open_count) - len(mine) - len(others)
    blocks = [buttons(button(OPEN_REQUEST_FORM, "Unsubscribe a number", "new"))] if can_request else []
    if mine:
        blocks.append(header("Waiting for you"))
        for request in mine:
            blocks += [*card(request, rules).blocks, _where(request)]
    if others:
        blocks.append(header("Other open requests" if mine else "Open requests"))
        for request in others:
            blocks += [*_without_confirming(card(request, rules).blocks), _where(request)]
    if more:
        several = f"{more} more requests are open. Their cards are in the channels."
        blocks.append(context("1 more request is open. Its card is in its channel." if more == 1 else several))
    if not requests:
        how = f" Make one with the button, or with `{COMMAND}` in a channel." if can_request else ""
        blocks += [header("Open requests"), section(f"No request is waiting for confirmation.{how}")]
    blocks.append(header("Latest outcomes"))
    blocks += [section(_outcome(request, outcome)) for request, outcome in outcomes]
    if not outcomes:
        blocks.append(section("No request has an outcome yet."))
    about = [
        rights,
        f"Cellcast account: {literal(rules.account)}" if rules.account else "",
        "*Dry run:* nothing is sent to Cellcast." if dry_run else "",
    ]
    return [*blocks, {"type": "divider"}, *map(context, filter(None, about))]


def _where(request: Request) -> Block:
    return context(f"In {place(request.channel)}")


def _without_confirming(blocks: list[Block]) -> list[Block]:
    """Return a card without the buttons that confirm, for a person who can only keep the number."""
    kept = []
    for block in blocks:
        if block["type"] == "actions":
            elements = [element for element in block["elements"] if element["action_id"] == KEEP]
            kept += [block | {"elements": elements}] if elements else []
        else:
            kept.append(block)
    return kept


def _outcome(request: Request, outcome: Outcome) -> str:
    what = OUTCOME_TEXT[outcome.code].what
    decided = decision(outcome)
    if not decided:
        decided = f"{what} That was {moment(outcome.settled_at)}."
    elif outcome.code.status is Status.UNKNOWN:
        decided += f" {what}"
    if outcome.code.status is Status.UNKNOWN:
        decided += " Check in Cellcast whether the number is still subscribed."
    said = f" Cellcast's message: {cut(literal(outcome.message), MAX_MESSAGE)}" if outcome.message else ""
    why = "".join(f" {line}" for line in reason(request))
    requested = f"Requested by {person(request.requested_by)} in {place(request.channel)}."
    return f"{headline(request, outcome)}\n{decided} {requested}{said}{why}"


def denied(sentence: str) -> list[Block]:
    """Return what everyone else sees."""
    return [header("Cellcast numbers"), section(sentence)]

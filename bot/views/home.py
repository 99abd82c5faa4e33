"""The App Home: open requests with their buttons, and the latest outcomes.

https://docs.slack.dev/surfaces/app-home
"""

from __future__ import annotations

from bot.domain.commands import COMMAND
from bot.domain.markup import cut, literal
from bot.domain.models import Outcome, Request
from bot.domain.status import Status
from bot.views.blocks import Block, context, header, section
from bot.views.cards import Rules, card
from bot.views.outcomes import OUTCOME_TEXT, decision, headline
from bot.views.text import moment, person, reason

MAX_OPEN = 20
MAX_OUTCOMES = 20
# A home tab has room for only so much of each of Cellcast's messages, in characters after escaping.
MAX_MESSAGE = 250


def page(
    requests: list[Request],
    outcomes: list[tuple[Request, Outcome]],
    rules: Rules,
    rights: str,
    *,
    more: int = 0,
    dry_run: bool = False,
) -> list[Block]:
    """Return what a person with permission sees; `more` open requests are not shown."""
    blocks = [header("Open requests")]
    for request in requests:
        blocks += [*card(request, rules).blocks, context(f"In <#{request.channel}>")]
    if more:
        blocks.append(context(f"{more} more requests are open. Their cards are in the channels."))
    if not requests:
        blocks.append(section(f"No request is waiting for confirmation. Use `{COMMAND}` in a channel to make one."))
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


def _outcome(request: Request, outcome: Outcome) -> str:
    decided = decision(outcome) or f"{OUTCOME_TEXT[outcome.code].what} That was {moment(outcome.settled_at)}."
    if outcome.code.status is Status.UNKNOWN:
        decided += f" {OUTCOME_TEXT[outcome.code].what} Check in Cellcast whether the number is still subscribed."
    said = f" Cellcast's message: {cut(literal(outcome.message), MAX_MESSAGE)}" if outcome.message else ""
    why = "".join(f" {line}" for line in reason(request))
    requested = f"Requested by {person(request.requested_by)} in <#{request.channel}>."
    return f"{headline(request, outcome)}\n{decided} {requested}{said}{why}"


def denied(sentence: str) -> list[Block]:
    """Return what everyone else sees."""
    return [header("Cellcast numbers"), section(sentence)]

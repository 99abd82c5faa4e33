"""The card of a request in each of its statuses, and its buttons.

The words follow Slack's guidance for messages that ask for a decision: the first line says the action and its object.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.domain.models import Message, Outcome, Request
from bot.domain.status import OutcomeCode, Status
from bot.views.blocks import Block, button, buttons, danger, message, section
from bot.views.outcomes import decision, explanation, headline
from bot.views.text import begin, mention, moment, name, number, person, reason, title, warning

UNSUBSCRIBE, KEEP, TRY_AGAIN = "unsubscribe_number", "keep_number", "try_again"
LABELS = {UNSUBSCRIBE: "Unsubscribe Number", KEEP: "Keep Number", TRY_AGAIN: "Try Again"}


@dataclass(frozen=True)
class Rules:
    """What is the same for every card: someone else must confirm, a list names numbers, which Cellcast account.

    `notify` are the people and user groups that a new card mentions.
    """

    second_person: bool = False
    listed: bool = False
    account: str = ""
    notify: frozenset[str] = frozenset()


def new_card(request: Request, rules: Rules) -> Message:
    """Return the card as it is posted: it mentions the people to notify, which no update repeats."""
    what, *rest = card(request, rules).blocks
    who = _notified(request, rules)
    return message([what, *([section(f"{who}: please confirm or keep the number.")] if who else []), *rest])


def reminder(request: Request, rules: Rules) -> Message:
    """Return the reply in the card's thread that reminds the people to notify, or the requester if none are set."""
    who = _notified(request, rules) if rules.notify else person(request.requested_by)
    waits = f"{number(request)} still waits. It can be confirmed until {moment(request.expires_at or 0)}."
    return message([section(f"{who}: {waits}" if who else begin(waits))])


def _notified(request: Request, rules: Rules) -> str:
    """Mention the people to notify, except a requester who cannot confirm."""
    people = rules.notify - ({request.requested_by} if rules.second_person else set())
    return ", ".join(map(mention, sorted(people)))


def card(request: Request, rules: Rules) -> Message:
    """Return the card of a request as it stands."""
    if request.outcome is not None:
        return _settled(request, request.outcome, rules)
    return _pending(request, rules) if request.status is Status.PENDING else _confirmed(request)


def _pending(request: Request, rules: Rules) -> Message:
    lines = [
        title(request, "Unsubscribe {number}?"),
        f"Requested by {person(request.requested_by)}. It can be confirmed until {moment(request.expires_at or 0)}.",
        *warning(request),
        "No undo is documented. Buying the number again may work while nobody else has it, and costs money.",
        *reason(request),
        *_notes(request, rules),
    ]
    return message([section("\n".join(lines)), buttons(_button(request, UNSUBSCRIBE), _button(request, KEEP))])


def _confirmed(request: Request) -> Message:
    attempt = f" (attempt {request.attempt})" if request.attempt > 1 else ""
    confirmed = f"Confirmed by {person(request.decided_by)} ({moment(request.decided_at or 0)})."
    lines = [
        f"{title(request, 'Unsubscribing {number}')} …{attempt}",
        f"{confirmed} The outcome will follow.",
        *reason(request),
        *_notes(request, Rules()),
    ]
    return message([section("\n".join(lines))])


def _settled(request: Request, outcome: Outcome, rules: Rules) -> Message:
    can_try = request.expires_at is not None
    lines = [headline(request, outcome)]
    if outcome.code is not OutcomeCode.SUCCEEDED:
        lines.append(explanation(request, outcome, can_try=can_try, account=rules.account))
    if can_try:
        lines += [f"You can click Try Again until {moment(request.expires_at or 0)}.", *warning(request)]
    lines.append(f"{decision(outcome)} Requested by {person(request.requested_by)}.".strip())
    lines += reason(request)
    if not can_try:
        return message([section("\n".join(lines))])
    return message([section("\n".join([*lines, *_notes(request, rules)])), buttons(_button(request, TRY_AGAIN))])


def _notes(request: Request, rules: Rules) -> list[str]:
    """Return what people must know before they click."""
    lines = []
    if rules.listed and not name(request.phone, request.label):
        lines.append("The list of numbers does not name this id. Check in Cellcast which number it is.")
    if rules.second_person:
        lines.append(f"Someone other than {person(request.requested_by)} must confirm.")
    if request.dry_run and request.status in (Status.PENDING, Status.CONFIRMED):
        lines.append("*Dry run:* nothing will be sent to Cellcast.")
    return lines


def _button(request: Request, action: str) -> Block:
    """Return a button; its value says which request it is, and how many attempts the card has shown."""
    plain = button(action, LABELS[action], f"{request.id}:{request.attempt}")
    if action == KEEP:
        return plain
    if request.warning:  # a form asks for its last digits instead
        return plain | {"style": "danger"}
    called = name(request.phone, request.label)
    called = f"{called} ({request.number_id})" if called else f"Virtual number {request.number_id}"
    note = "This is a dry run: nothing will be sent." if request.dry_run else "No undo is documented."
    return danger(plain, "Unsubscribe this number?", f"{called}. {note}")

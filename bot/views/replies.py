"""What only one person reads: answers to the command, to a stale click, and to people without permission."""

from __future__ import annotations

from bot.domain.access import AccessPolicy, Denial, Right
from bot.domain.commands import COMMAND, EXAMPLE
from bot.domain.markup import cut, escape
from bot.domain.models import Message, Request
from bot.domain.numbers import Number
from bot.domain.reasons import ReasonRule
from bot.domain.status import OutcomeCode, Status
from bot.views.blocks import Block, context, message, plain_text, private, section
from bot.views.outcomes import OUTCOME_TEXT, explanation, still_unknown
from bot.views.text import begin, command, listing, mention, moment, name, number, person, place, reason

PICK = "pick_number"
DIALOG = "Cellcast numbers"
MAX_OPTION = 75
# https://docs.slack.dev/reference/interaction-payloads/block_suggestion-payload
MAX_OPTIONS = 100

NO_RECORD = (
    "The bot has no record of this request, so the click did nothing. Check in Cellcast whether the number is still "
    "subscribed. If it is, request it again with the command. If this keeps happening, tell an administrator."
)
ONE_COMMAND = f"The bot knows only the command `{COMMAND}`. Type `{COMMAND} help` for help."
UNREADABLE_PAYLOAD = "The bot could not read what Slack sent. Nothing was done. Please try again with the command."
UNKNOWN_FORM = "The bot no longer knows this form. Please request the number again with the command."
UNKNOWN_BUTTON = "The bot no longer knows this button. Please request the number again with the command."
TOO_SLOW = (
    "Slack or the database did not answer the bot in time, so the bot does not know whether this was recorded. If "
    "there is a card, it will show what happened. If there is none, please try again in a moment."
)
CHECK_SLACK = (
    "Nothing was done. Try again in a moment. If this keeps happening, ask an administrator to run "
    "the bot's command `check`."
)


# Slack's answer can be lost, so the form may be open after all.
CONFIRM_FORM_NOT_OPENED = (
    "Slack did not confirm that it opened the form. If you see none, please click the button again."
)
REQUEST_FORM_NOT_OPENED = (
    "Slack did not confirm that it opened the form. If you see none, please try again. You can also type the number "
    f"and the reason: `{COMMAND} help` explains how."
)


def usage(rights: str, *, listed: bool = False, rule: ReasonRule | None = None) -> Message:
    """Return the answer to `help`, and to the command alone if there is no list of numbers."""
    rule = rule or ReasonRule()
    can = "must" if rule.required else "can"
    if listed:
        ways = (
            f"`{COMMAND} number` unsubscribes one virtual number at Cellcast. Type its phone number, its label or its "
            f"id. `{COMMAND}` alone lets you choose the number from a list. "
        )
        why = f"You {can} add a reason after the number; put a label in quotation marks then."
        example = f'`{COMMAND} "Support line" {escape(rule.example)}`'
    else:
        ways, why = (
            f"`{COMMAND} id` unsubscribes one virtual number at Cellcast. ",
            f"You {can} add a reason after the id.",
        )
        example = f"`{EXAMPLE} {escape(rule.example)}`"
    return private(
        f"{ways}A card in the channel asks for confirmation first: nothing is sent until someone clicks the button. "
        f"{why}\nExample: {example}\n`{COMMAND} history` shows the latest requests.\n{rights}"
    )


def picker() -> Message:
    """Return the answer to the command alone: choose a number from the list; that alone sends nothing."""
    text = "*Which number do you want to unsubscribe?*\nA card in the channel will ask for confirmation."
    more = context(f"`{COMMAND} help` explains what you can type instead.")
    return message([{**section(text), "block_id": PICK, "accessory": number_menu()}, more])


def number_menu() -> Block:
    """Return the menu whose options are the numbers that fit what a person types."""
    return {
        "type": "external_select",
        "action_id": PICK,
        "placeholder": plain_text("Type a label or a phone number"),
        "min_query_length": 0,
    }


def option(number: Number, *, has_card: bool) -> Block:
    """Return a number to choose (https://docs.slack.dev/reference/block-kit/composition-objects/option-object)."""
    mark = " (protected)" if number.protected else " (card open)" if has_card else ""
    text = cut(name(number.phone, number.label) or number.id, MAX_OPTION - len(mark))
    more = cut(f"Warning: {number.warning}", MAX_OPTION) if number.warning else number.id
    description = {"type": "plain_text", "text": more}  # short: an ack has little room
    return {"text": plain_text(f"{text}{mark}"), "description": description, "value": number.id}


def option_group(options: list[Block], total: int) -> Block:
    """Return the options of a menu that cannot offer all `total` numbers, under a label that says so.

    https://docs.slack.dev/reference/block-kit/composition-objects/option-group-object
    """
    hint = f"Showing {len(options)} of {total}: type more to narrow it down"
    return {"label": plain_text(hint), "options": options}


def pointer(request: Request, link: str | None) -> Message:
    """Return the answer to a request for a number whose card is still open."""
    where = f"<{link}|Go to the card>" if link else f"Look for the card in {place(request.channel)}"
    now = {
        Status.PENDING: f"It can be confirmed until {moment(request.expires_at or 0)}",
        Status.CONFIRMED: f"It was confirmed by {person(request.decided_by)} and is in progress",
    }.get(request.status, f"You can click Try Again until {moment(request.expires_at or 0)}")
    return private(
        f"There is already an open card for {number(request)}, requested by {person(request.requested_by)} "
        f"{moment(request.requested_at)}. {now}. {where}."
    )


def history(requests: list[Request]) -> Message:
    """Return the answer to `history`: the latest requests, newest first."""
    if not requests:
        return private("Nobody has requested to unsubscribe a number yet.")
    return message([section(line) for line in ["*The latest requests, newest first*", *map(_in_history, requests)]])


def _in_history(request: Request) -> str:
    line = f"requested by {person(request.requested_by)} {moment(request.requested_at)}"
    if request.decided_by is not None:
        verb = "kept" if request.status is Status.KEPT else "confirmed"
        line += f", {verb} by {person(request.decided_by)} {moment(request.decided_at or 0)}"
    attempts = f", {request.attempt} attempts" if request.attempt > 1 else ""
    dry = ", dry run" if request.dry_run else ""
    why = "".join(f". {line}" for line in reason(request))
    called = number(request) if name(request.phone, request.label) else f"`{request.number_id}`"
    return f"• {called} {_standing(request)}{dry}: {line}{attempts}{why}"


def _standing(request: Request) -> str:
    outcome = request.outcome
    if outcome is not None and still_unknown(outcome):
        return "still has an unknown outcome"
    if outcome is not None and outcome.code is OutcomeCode.ALREADY_GONE:
        return "was probably unsubscribed by an earlier attempt"
    if outcome is not None and outcome.code is OutcomeCode.DRY_RUN:
        return "was not unsubscribed"
    return {
        Status.PENDING: "is waiting for confirmation",
        Status.CONFIRMED: "is in progress",
        Status.SUCCEEDED: "was unsubscribed",
        Status.REFUSED: "was not unsubscribed",
        Status.UNKNOWN: "has an unknown outcome",
        Status.KEPT: "was kept",
        Status.EXPIRED: "expired",
        Status.REPLACED: "was replaced by a later request",
    }[request.status]


def card_not_posted(request: Request, *, known: bool) -> Message:
    """Return the answer if the card was not posted, or if nobody knows whether it was (`known` is False).

    It does not say "nothing was sent": someone may confirm at any moment, on the card or in the App Home.
    """
    if known:
        return private(
            f"Slack did not post the card for {number(request)}. Please request it again: {command(request)}. "
            "If that fails too, invite the bot to the channel with `/invite @Cellcast Numbers`."
        )
    return private(
        f"Slack did not confirm that it posted the card for {number(request)}. If you see the card, use it. "
        f"If you don't, request the number again: {command(request)}"
    )


def stale_click(request: Request) -> Message:
    """Return the answer to a click that changed nothing: what happened before it."""
    who, when = person(request.decided_by), moment(request.decided_at or 0)
    if request.status is Status.PENDING:
        said = "This card has changed. Please look at it again."
    elif request.outcome is not None and request.outcome.code is OutcomeCode.PROTECTED:
        said = OUTCOME_TEXT[OutcomeCode.PROTECTED].what
    elif request.status is Status.KEPT:
        said = f"{who} already clicked Keep Number ({when}). Nothing was sent to Cellcast."
    elif request.status is Status.EXPIRED:
        expired = moment(request.outcome.settled_at if request.outcome else 0)
        said = f"Nobody confirmed before the deadline, so the request expired ({expired}). "
        said += f"Nothing was sent to Cellcast. Request it again: {command(request)}"
    elif request.status is Status.REPLACED:
        said = f"{OUTCOME_TEXT[OutcomeCode.REPLACED].what} {OUTCOME_TEXT[OutcomeCode.REPLACED].next_step}"
    elif request.decided_by is None and request.outcome is not None:  # in a backup that was restored
        said = explanation(request, request.outcome, can_try=False)
    else:
        said = f"{who} already confirmed this ({when}). {_since_then(request)}"
    return private(f"{begin(number(request))}: {said}")


def _since_then(request: Request) -> str:
    """Return what became of a confirmed request."""
    if request.outcome is None:
        return "The outcome will follow."
    if request.status is Status.SUCCEEDED and request.outcome.code is not OutcomeCode.DRY_RUN:
        return "The number is unsubscribed."
    return explanation(request, request.outcome, can_try=request.expires_at is not None)


def rights(policy: AccessPolicy) -> str:
    """Return who can use the bot, and where: in two lines if others can confirm than request."""
    where = _where(policy, "and")
    if policy.requesters == policy.approvers:
        return f"{_people(policy, Right.REQUEST)} can request and confirm{where}."
    requesters, approvers = _people(policy, Right.REQUEST), _people(policy, Right.CONFIRM)
    return f"{requesters} can request and keep numbers{where}.\n{approvers} can confirm{where}."


def _people(policy: AccessPolicy, right: Right) -> str:
    if any(people.users is None for people in policy.people(right)):
        return "Everyone in the workspace" if policy.guests else "Everyone in the workspace, except guests,"
    return listing(_names(policy, right), "and", "people")


def denied(denial: Denial, policy: AccessPolicy, user_id: str, right: Right) -> str:
    """Return why a person was turned away from what only people with this right can do, and what to do."""
    if denial is Denial.UNKNOWN_TEAM:
        return f"The bot cannot read from Slack which workspace you belong to. {CHECK_SLACK}"
    if denial is Denial.UNKNOWN_GUEST:
        return f"The bot cannot read from Slack whether you are a guest of the workspace. {CHECK_SLACK}"
    if denial is Denial.UNKNOWN_GROUPS:
        return f"The bot cannot read from Slack who is in the user groups that have permission. {CHECK_SLACK}"
    does = "unsubscribe numbers"
    if policy.requesters != policy.approvers:
        does = {Right.REQUEST: "request numbers", Right.CONFIRM: "confirm requests"}.get(right, does)
    why = {
        Denial.OTHER_TEAM: "Only members of the workspaces that use this bot can unsubscribe numbers.",
        Denial.GUEST: f"Guests of the workspace can't {does}.",
        Denial.CHANNEL: "Numbers can't be unsubscribed in this channel.",
        Denial.NOT_LISTED: f"You don't have permission to {does}.",
        Denial.REQUESTER: "You requested this yourself, so someone else must confirm it.",
    }[denial]
    if denial is Denial.CHANNEL and any(p.users is None or p.name(user_id) for p in policy.people(right)):
        return f"{why} Use the command{_where(policy, 'or')}."
    others = [called for called in _names(policy, right) if called != person(user_id)]
    ask = {
        Denial.OTHER_TEAM: "someone in one of those workspaces",
        Denial.GUEST: "a member who is not a guest",
    }.get(denial, "someone else")
    if others:
        ask = listing(others, "or", "people")
    requests = policy.requesters.users is None or policy.requesters.name(user_id)
    keeps = denial is Denial.NOT_LISTED and right is Right.CONFIRM and requests
    keep = " You can still click Keep Number." if keeps or denial is Denial.REQUESTER else ""
    return f"{why} Ask {ask}{_where(policy, 'or')}.{keep}"


def _names(policy: AccessPolicy, right: Right) -> list[str]:
    users = frozenset().union(*(people.users or () for people in policy.people(right)))
    return [*map(mention, sorted(policy.groups(right))), *map(person, sorted(users))]


def _where(policy: AccessPolicy, last: str) -> str:
    if policy.channels is None:
        return ""
    return f" in {listing([f'<#{channel}>' for channel in sorted(policy.channels)], last, 'channels')}"

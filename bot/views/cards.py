"""What people read: one function for each state of a card, the toast, and the private lines.

Block Kit and its limits: https://docs.slack.dev/reference/block-kit. Words follow Slack's guidance for messages that
ask for a decision: the first line says the action and what it touches, every refusal says the next step.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any

from bot.domain.models import Message, Outcome, Request
from bot.domain.status import OutcomeCode, Status

COMMAND = "/unsubscribe-number"
EXAMPLE = f"{COMMAND} 66ea98514f0c1a121c76ec17"
UNSUBSCRIBE, KEEP, TRY_AGAIN = "unsubscribe_number", "keep_number", "try_again"
PICK = "pick_number"
DIALOG = "Cellcast numbers"
Block = dict[str, Any]
MAX_OPTION = 75
MAX_IN_HOME = 300

STRANGE_BUTTON = "This button is not one that the bot knows any more. Please ask again with the command."

_LOOK = "Look in Cellcast whether the number is still there."
_UNKNOWN = "The number may or may not be unsubscribed."
_EARLIER_UNKNOWN = "But an earlier attempt ended as unknown, so the number may or may not be unsubscribed."

# What happened, for each kind of outcome.
_WHAT = {
    OutcomeCode.SUCCEEDED: "Cellcast reports success; its own message stands in the channel, word for word.",
    OutcomeCode.DRY_RUN: "This was a dry run: nothing was sent to Cellcast.",
    OutcomeCode.UNAUTHORIZED: "Cellcast no longer accepts the bot's API key. Nothing was changed.",
    OutcomeCode.NOT_FOUND: "Cellcast knows no virtual number with this id. Nothing was changed.",
    OutcomeCode.ALREADY_GONE: "Cellcast knows no virtual number with this id any more: the earlier attempt, whose "
    "outcome was unknown, probably went through.",
    OutcomeCode.REJECTED: "Cellcast refused the request. Nothing was changed.",
    OutcomeCode.RATE_LIMITED: "Cellcast is getting too many requests and refused this one. Nothing was changed.",
    OutcomeCode.NOT_CONNECTED: "The bot could not connect to Cellcast. Nothing was sent.",
    OutcomeCode.NOT_STARTED: "The bot was interrupted before it called Cellcast. Nothing was sent.",
    OutcomeCode.TIMEOUT: f"Cellcast did not answer in time. {_UNKNOWN}",
    OutcomeCode.CONNECTION_LOST: f"The connection to Cellcast broke after the request was sent. {_UNKNOWN}",
    OutcomeCode.SERVER_ERROR: f"Cellcast had a fault of its own. {_UNKNOWN}",
    OutcomeCode.REDIRECT: f"Cellcast's address points to another one, which the bot never follows. {_UNKNOWN}",
    OutcomeCode.UNEXPECTED_RESPONSE: f"Cellcast's answer is not one that it documents. {_UNKNOWN}",
    OutcomeCode.INTERRUPTED: f"The bot was stopped during the call and the answer is lost. {_UNKNOWN}",
    OutcomeCode.KEPT: "Nothing was sent to Cellcast.",
    OutcomeCode.EXPIRED: "Nobody confirmed in time. Nothing was sent to Cellcast.",
    OutcomeCode.REPLACED: "Slack did not confirm the card of this request, and a later request has replaced it. "
    "Nothing was sent to Cellcast for this one.",
}

# What to do before asking again; trying again itself is added where it is possible.
_NEXT = {
    OutcomeCode.UNAUTHORIZED: "An administrator must set a new CELLCAST_API_KEY and restart the bot.",
    OutcomeCode.NOT_FOUND: "Check the id in Cellcast.",
    OutcomeCode.ALREADY_GONE: "Look in Cellcast to be sure.",
    OutcomeCode.REJECTED: "Clear up what Cellcast says.",
    OutcomeCode.NOT_CONNECTED: "If it happens again, an administrator should check the bot's network.",
    OutcomeCode.REDIRECT: f"An administrator should check CELLCAST_BASE_URL. {_LOOK}",
    OutcomeCode.REPLACED: "Use the newer card.",
}


# Small print of a toast whose outcome takes the place of "outcome unknown".
CORRECTION = "Correction: this outcome may have been reported as unknown before Cellcast's answer arrived."

_STANDS = {
    Status.PENDING: "waits for confirmation",
    Status.CONFIRMED: "is under way",
    Status.SUCCEEDED: "was unsubscribed",
    Status.REFUSED: "was not unsubscribed",
    Status.UNKNOWN: "ended with an unknown outcome",
    Status.KEPT: "was kept",
    Status.EXPIRED: "expired",
    Status.REPLACED: "was replaced by a later request",
}


@dataclass(frozen=True)
class Rules:
    """What holds for every card: another person must confirm; there is a list that names numbers."""

    second_person: bool = False
    listed: bool = False


def escape(text: str) -> str:
    """Text that did not come from the bot itself, harmless (https://docs.slack.dev/messaging/formatting-message-text)."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def moment(seconds: float) -> str:
    """A moment in each reader's own time zone, in UTC where a client cannot show that."""
    fallback = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
    return f"<!date^{int(seconds)}^{{date_short_pretty}} at {{time}}|{fallback}>"


def person(user_id: str | None) -> str:
    """A mention of a person."""
    return f"<@{user_id}>"


def private(sentence: str) -> Message:
    """A line that only one person sees."""
    return Message(sentence, [section(sentence)])


def usage(rights: str, *, listed: bool = False) -> Message:
    """The answer to `help`, and to the command without a number where no list names any."""
    if listed:
        ways = (
            f"`{COMMAND} number` unsubscribes one virtual number at Cellcast: its phone number, its label, or its id. "
            f"`{COMMAND}` alone lets you choose it. "
        )
        example = f'`{COMMAND} "Support line" campaign ended`'
    else:
        ways, example = f"`{COMMAND} id` unsubscribes one virtual number at Cellcast. ", f"`{EXAMPLE} campaign ended`"
    return private(
        f"{ways}A card in the channel asks for confirmation first; nothing is sent before somebody presses the button. "
        f"A reason may stand behind the {'number' if listed else 'id'}{', with the label in quotation marks' * listed}."
        f"\nExample: {example}\n`{COMMAND} history` shows the last requests.\n{rights}"
    )


def picker() -> Message:
    """The private answer to the command alone: choose a number from the list; nothing is sent by that."""
    text = "*Which number is to be unsubscribed?*\nA card in the channel then asks for confirmation."
    more = f"`{COMMAND} help` explains what you can type instead."
    menu = {
        "type": "external_select",
        "action_id": PICK,
        "placeholder": {"type": "plain_text", "text": "Type a label or a phone number"},
        "min_query_length": 0,
    }
    return Message(
        f"{text}\n{more}",
        [{**section(text), "block_id": PICK, "accessory": menu}, context(more)],
    )


def option(number_id: str, called: str, *, has_card: bool) -> Block:
    """A number to choose from (https://docs.slack.dev/reference/block-kit/composition-objects/option-object)."""
    mark = " (card open)" if has_card else ""
    room = MAX_OPTION - len(mark)
    text = called or number_id
    text = text if len(text) <= room else text[: room - 1] + "…"
    return {
        "text": {"type": "plain_text", "text": f"{text}{mark}"},
        "description": {"type": "plain_text", "text": number_id},
        "value": number_id,
    }


def option_group(options: list[Block], total: int) -> Block:
    """Return the options of a menu that cannot offer all `total` numbers, under a label that says so.

    https://docs.slack.dev/reference/block-kit/composition-objects/option-group-object
    """
    hint = f"{len(options)} of {total} shown: type more to narrow it down"
    return {"label": {"type": "plain_text", "text": hint}, "options": options}


def card(request: Request, rules: Rules) -> Message:
    """The card of a request as it stands."""
    if request.outcome is not None:
        return _ended(request, request.outcome, rules)
    return _pending(request, rules) if request.status is Status.PENDING else _under_way(request)


def _pending(request: Request, rules: Rules) -> Message:
    lines = [
        _title(request, "Unsubscribe ", "?"),
        f"Asked by {person(request.requested_by)}. It can be confirmed until {moment(request.expires_at or 0)}.",
        "This may not be undoable: Cellcast documents no way to get the number back.",
    ]
    return _message([*lines, *_reason(request), *_rules(request, rules)], _buttons(request, UNSUBSCRIBE, KEEP))


def _under_way(request: Request) -> Message:
    attempt = f" (attempt {request.attempt})" if request.attempt > 1 else ""
    lines = [
        f"{_title(request, 'Unsubscribing ')} …{attempt}",
        f"Confirmed by {_decided(request)}. Cellcast's answer will follow in this channel.",
    ]
    return _message([*lines, *_reason(request), *_rules(request, Rules())])


def _ended(request: Request, outcome: Outcome, rules: Rules) -> Message:
    can_try = request.expires_at is not None
    lines = [_headline(request, outcome)]
    if outcome.code is not OutcomeCode.SUCCEEDED:
        lines.append(f"{_what(outcome)} {_next_step(request, outcome, can_try)}".strip())
    if can_try:
        lines.append(f"Try Again can be pressed until {moment(request.expires_at or 0)}.")
    lines.append(f"{_who(outcome)} Asked by {person(request.requested_by)}.".strip())
    if not can_try:
        return _message([*lines, *_reason(request)])
    return _message([*lines, *_reason(request), *_rules(request, rules)], _buttons(request, TRY_AGAIN))


def toast(request: Request, outcome: Outcome) -> Message:
    """The new message in the channel that tells an outcome, with the API's own message word for word."""
    who = " ".join(filter(None, [CORRECTION if outcome.correction else "", _who(outcome), *_reason(request)]))
    if outcome.code is OutcomeCode.SUCCEEDED:
        said = outcome.message or "Cellcast reports success, without a message."
        about = f"{_begin(_number(request))}. {who}"
        return Message(f"{escape(said)}\n{about}", [_plain(said), context(about)])
    headline = _headline(request, outcome)
    can_try = request.expires_at is not None and request.attempt == outcome.attempt
    what = f"{_what(outcome)} {_next_step(request, outcome, can_try)}".strip()
    text, blocks = [headline, what], [section(f"{headline}\n{what}")]
    if outcome.message:
        text += [f"Cellcast's message: {escape(outcome.message)}"]
        blocks += [context("Cellcast's message:"), _plain(outcome.message)]
    return Message("\n".join([*text, who]), [*blocks, context(who)]) if who else Message("\n".join(text), blocks)


def pointer(request: Request, link: str | None) -> Message:
    """The private answer to asking for a number whose card is still open."""
    where = f"<{link}|Go to the card>" if link else f"Look for the card in <#{request.channel}>"
    now = {
        Status.PENDING: f"is waiting for confirmation until {moment(request.expires_at or 0)}",
        Status.CONFIRMED: f"was confirmed by {person(request.decided_by)} and is under way",
    }.get(request.status, f"can be tried again until {moment(request.expires_at or 0)}")
    return private(
        f"There is a card for {_number(request)} already: {person(request.requested_by)} asked "
        f"{moment(request.requested_at)}, and it {now}. {where}."
    )


def history(requests: list[Request]) -> Message:
    """The private answer to `history`: the last requests, newest first."""
    if not requests:
        return private("Nobody has asked to unsubscribe a number yet.")
    lines = ["*The last requests, newest first*", *map(_in_history, requests)]
    return Message("\n".join(lines), [section(line) for line in lines])


def in_home(request: Request, outcome: Outcome) -> str:
    """One of the last outcomes, in the App Home."""
    decided = _who(outcome) or f"{_WHAT[outcome.code]} That was {moment(outcome.settled_at)}."
    said = f" Cellcast's message: {escape(outcome.message[:MAX_IN_HOME])}" if outcome.message else ""
    why = "".join(f" {line}" for line in _reason(request))
    asked = f"Asked by {person(request.requested_by)}, in <#{request.channel}>."
    return f"{_headline(request, outcome)}\n{decided} {asked}{said}{why}"


def _in_history(request: Request) -> str:
    asked = f"asked by {person(request.requested_by)} {moment(request.requested_at)}"
    if request.decided_by is not None:
        verb = "kept" if request.status is Status.KEPT else "confirmed"
        asked += f", {verb} by {_decided(request)}"
    attempts = f", {request.attempt} attempts" if request.attempt > 1 else ""
    dry = ", dry run" if request.dry_run else ""
    why = "".join(f". {line}" for line in _reason(request))
    number = _number(request) if _named(request) else f"`{request.number_id}`"
    return f"• {number} {_STANDS[request.status]}{dry}: {asked}{attempts}{why}"


def card_not_posted(request: Request, *, known: bool) -> Message:
    """The private line if the card could not be posted, or nobody knows whether it was.

    It does not say "nothing was sent": somebody may confirm at any moment, on the card or in the App Home.
    """
    if known:
        return private(f"Slack did not post the card for {_number(request)}. Please ask again: {_asking(request)}")
    return private(
        f"Slack did not confirm that it posted the card for {_number(request)}. If you see the card, use it. "
        f"If you don't, ask again: {_asking(request)}"
    )


def too_late(request: Request) -> Message:
    """The private answer to a press that changed nothing: what happened before it."""
    who, when = person(request.decided_by), moment(request.decided_at or 0)
    confirmed = f"{who} has confirmed this already ({when})"
    said = {
        Status.PENDING: "This card has changed. Please look at it again.",
        Status.CONFIRMED: f"{confirmed}. Cellcast's answer will follow.",
        Status.KEPT: f"{who} has pressed Keep Number already ({when}). Nothing was sent to Cellcast.",
        Status.EXPIRED: "The time to confirm was over at "
        f"{moment(request.outcome.settled_at if request.outcome else 0)}. "
        f"Nothing was sent to Cellcast. Ask again: {_asking(request)}",
        Status.REPLACED: f"{_WHAT[OutcomeCode.REPLACED]} {_NEXT[OutcomeCode.REPLACED]}",
        Status.SUCCEEDED: f"{confirmed}, and {_done(request.outcome)}",
    }.get(request.status)
    if said is None:
        still = request.expires_at is not None
        then = "Look at the card: it can be tried again." if still else f"Ask again: {_asking(request)}"
        said = f"{confirmed}, and that attempt has ended. {then}"
    return private(f"{_begin(_number(request))}: {said}")


def _done(outcome: Outcome | None) -> str:
    dry = outcome is not None and outcome.code is OutcomeCode.DRY_RUN
    return "it was a dry run: nothing was sent to Cellcast." if dry else "it is done."


def _still_unknown(outcome: Outcome) -> bool:
    """Whether an earlier attempt of the request may have succeeded, though this one did not."""
    if outcome.code is OutcomeCode.ALREADY_GONE:
        return False
    return outcome.after_unknown and outcome.attempt > 1 and outcome.code.status is Status.REFUSED


def _headline(request: Request, outcome: Outcome) -> str:
    if outcome.code is OutcomeCode.ALREADY_GONE:
        return _title(request, "Probably unsubscribed before: ")
    if outcome.code is OutcomeCode.DRY_RUN:
        return _title(request, "Dry run: ", " was not unsubscribed")
    if _still_unknown(outcome):
        return _title(request, "Outcome still unknown: ")
    return {
        Status.SUCCEEDED: _title(request, "Unsubscribed: "),
        Status.UNKNOWN: _title(request, "Outcome unknown: "),
        Status.KEPT: _title(request, "Kept: "),
        Status.EXPIRED: _title(request, "Expired: ", " was not unsubscribed"),
        Status.REPLACED: _title(request, "Replaced: "),
    }.get(outcome.code.status, _title(request, "Not unsubscribed: "))


def explain(kind: OutcomeCode) -> tuple[str, str]:
    """What a kind of outcome means, and what to do, in the words of the messages: for the README's table."""
    then = _NEXT.get(kind, _LOOK if kind.status is Status.UNKNOWN else "")
    if kind.status in (Status.REFUSED, Status.UNKNOWN) and kind is not OutcomeCode.ALREADY_GONE:
        again = "press Try Again." if kind.can_try_again else "ask again."
        then = f"{then} Then {again}" if then else _begin(again)
    if kind is OutcomeCode.RATE_LIMITED:
        then = "Wait as it says, then press Try Again."
    return _WHAT[kind], "Ask again." if kind is OutcomeCode.EXPIRED else then.strip()


def _what(outcome: Outcome) -> str:
    if _still_unknown(outcome):
        return f"Attempt {outcome.attempt}: {_WHAT[outcome.code]} {_EARLIER_UNKNOWN}"
    return _WHAT[outcome.code]


def _next_step(request: Request, outcome: Outcome, can_try: bool) -> str:
    if outcome.code in (OutcomeCode.KEPT, OutcomeCode.DRY_RUN):
        return ""
    if outcome.code in (OutcomeCode.REPLACED, OutcomeCode.ALREADY_GONE):
        return _NEXT[outcome.code]
    first = _NEXT.get(outcome.code, _LOOK if outcome.code.status is Status.UNKNOWN else "")
    if outcome.code is OutcomeCode.RATE_LIMITED and outcome.retry_at is not None:
        again = f"after {moment(outcome.retry_at)}"
    elif outcome.code is OutcomeCode.RATE_LIMITED:
        again = "in a minute"
    else:
        again = "if it is" if outcome.code.status is Status.UNKNOWN else ""
    then = "Click Try Again on the card" if can_try else f"Ask again with {_asking(request)}"
    return f"{first} {then} {again}".strip() + "."


def _who(outcome: Outcome) -> str:
    if outcome.decided_by is None:
        return ""
    verb = "Kept" if outcome.code is OutcomeCode.KEPT else "Confirmed"
    attempt = f", attempt {outcome.attempt}" if outcome.attempt > 1 else ""
    return f"{verb} by {person(outcome.decided_by)} {moment(outcome.decided_at or 0)}{attempt}."


def _decided(request: Request) -> str:
    return f"{person(request.decided_by)} {moment(request.decided_at or 0)}"


def _reason(request: Request) -> list[str]:
    return [f"Reason: {escape(request.reason)}"] if request.reason else []


def _rules(request: Request, rules: Rules) -> list[str]:
    lines = []
    if rules.listed and not _named(request):
        lines.append("The list of numbers does not name this id: look in Cellcast which number it is.")
    if rules.second_person:
        lines.append(f"Another person than {person(request.requested_by)} must confirm.")
    if request.dry_run and request.status in (Status.PENDING, Status.CONFIRMED):
        lines.append("*Dry run:* nothing will be sent to Cellcast.")
    return lines


def name(phone: str | None, label: str | None) -> str:
    """What people call a number, as plain text; empty where the list does not name it."""
    return " ".join(filter(None, [phone, f'"{label}"' if label else ""]))


def _named(request: Request) -> str:
    return escape(name(request.phone, request.label))


def _title(request: Request, before: str, after: str = "") -> str:
    """The first line of a card: what is done, to which number, and its id beside it."""
    if called := _named(request):
        return f"*{before}{called}{after}* (`{request.number_id}`)"
    return f"*{before}virtual number `{request.number_id}`{after}*"


def _number(request: Request) -> str:
    """The number within a sentence."""
    called = _named(request)
    return f"{called} (`{request.number_id}`)" if called else f"virtual number `{request.number_id}`"


def _begin(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]


def _asking(request: Request) -> str:
    """The command that asks for this number."""
    return f"`{COMMAND} {request.phone or request.number_id}`"


def _message(lines: list[str], buttons: list[Block] | None = None) -> Message:
    text = "\n".join(lines)
    blocks = [section(text)]
    if buttons:
        blocks.append({"type": "actions", "elements": buttons})
    return Message(text, blocks)


def mrkdwn(text: str) -> Block:
    """Return a text object with markup (https://docs.slack.dev/reference/block-kit/composition-objects/text-object).

    Without `verbatim` Slack parses the text again: a typed @here or #general becomes a mention or a link, and alerts
    people. What the bot itself writes in angle brackets (`<@U…>`, `<!date^…>`) works all the same.
    """
    return {"type": "mrkdwn", "text": text, "verbatim": True}


def section(text: str) -> Block:
    """A paragraph."""
    return {"type": "section", "text": mrkdwn(text)}


def _plain(text: str) -> Block:
    """Somebody else's words, exactly as they are: plain_text knows no markup and needs no escaping."""
    return {"type": "section", "text": {"type": "plain_text", "text": text, "emoji": False}}


def context(text: str) -> Block:
    """A line in small print."""
    return {"type": "context", "elements": [mrkdwn(text)]}


def _buttons(request: Request, *actions: str) -> list[Block]:
    """The buttons; their value says which request, and how many attempts the presser has seen."""
    return [_button(request, action) for action in actions]


def _button(request: Request, action: str) -> Block:
    label = {UNSUBSCRIBE: "Unsubscribe Number", KEEP: "Keep Number", TRY_AGAIN: "Try Again"}[action]
    button: Block = {
        "type": "button",
        "action_id": action,
        "text": {"type": "plain_text", "text": label},
        "value": f"{request.id}:{request.attempt}",
    }
    if action == KEEP:
        return button
    called = name(request.phone, request.label)
    called = f"{called} ({request.number_id})" if called else f"Virtual number {request.number_id}"
    undo = "This is a dry run: nothing will be sent." if request.dry_run else "This may not be undoable."
    return button | {
        "style": "danger",
        "confirm": {
            "title": {"type": "plain_text", "text": "Unsubscribe this number?"},
            "text": {"type": "plain_text", "text": f"{called}. {undo}"},
            "confirm": {"type": "plain_text", "text": label},
            "deny": {"type": "plain_text", "text": "Go Back"},
            "style": "danger",
        },
    }

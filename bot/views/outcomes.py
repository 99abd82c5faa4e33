"""What people read about each outcome: the headline, what happened, what to do next."""

from __future__ import annotations

from dataclasses import dataclass

from bot.domain.markup import literal
from bot.domain.models import Message, Outcome, Request
from bot.domain.status import OutcomeCode, Status
from bot.views.blocks import context, message, plain, section
from bot.views.text import begin, command, moment, number, person, reason, title


@dataclass(frozen=True)
class OutcomeText:
    """The words for one outcome.

    In `next_step` stand `{again}` ("click Try Again", or the command if that is over), `{wait}` (how long Cellcast asks
    to wait) and `{account}` (the Cellcast account that the bot uses).
    """

    headline: str
    what: str
    next_step: str = ""


_REFUSED = "Not unsubscribed: {number}"
_UNKNOWN = "Outcome unknown: {number}"
_MAYBE = "The number may or may not be unsubscribed."
_IF_SUBSCRIBED = "Check in Cellcast whether the number is still subscribed. If it is, {again}."

OUTCOME_TEXT = {
    OutcomeCode.SUCCEEDED: OutcomeText(
        "Unsubscribed: {number}", "Cellcast reported success. Its own message is in the channel, word for word."
    ),
    OutcomeCode.DRY_RUN: OutcomeText(
        "Dry run: {number} was not unsubscribed", "This was a dry run: nothing was sent to Cellcast."
    ),
    OutcomeCode.UNAUTHORIZED: OutcomeText(
        _REFUSED,
        "Cellcast rejected the bot's API key. Nothing was changed.",
        "An administrator must set a new CELLCAST_API_KEY and, unless a file holds it, restart the bot. Then {again}.",
    ),
    OutcomeCode.NOT_FOUND: OutcomeText(
        _REFUSED,
        "Cellcast found no virtual number with this id. Nothing was changed.",
        "Check in Cellcast that the id is right, that the number is still subscribed, and that it belongs to "
        "{account}. If so, {again}.",
    ),
    OutcomeCode.ALREADY_GONE: OutcomeText(
        "Probably already unsubscribed: {number}",
        "Cellcast found no virtual number with this id. An earlier attempt for this number had an unknown outcome, and "
        "probably succeeded.",
        "Check in Cellcast that the number is no longer subscribed.",
    ),
    OutcomeCode.REJECTED: OutcomeText(
        _REFUSED,
        "Cellcast refused the request. Nothing was changed.",
        "Fix the problem Cellcast reports, then {again}.",
    ),
    OutcomeCode.RATE_LIMITED: OutcomeText(
        _REFUSED,
        "Cellcast is getting too many requests and refused this one. Nothing was changed.",
        "Wait {wait}, then {again}.",
    ),
    OutcomeCode.NOT_CONNECTED: OutcomeText(
        _REFUSED,
        "The bot could not connect to Cellcast. Nothing was sent.",
        "{again}. If this keeps happening, ask an administrator to check the bot's network.",
    ),
    OutcomeCode.NOT_STARTED: OutcomeText(
        _REFUSED, "The bot was interrupted before it called Cellcast. Nothing was sent.", "{again}."
    ),
    OutcomeCode.LIST_UNUSABLE: OutcomeText(
        _REFUSED,
        "The list of numbers cannot be used, so the bot did not call Cellcast. Nothing was sent.",
        "Ask an administrator to fix the list. Then {again}.",
    ),
    OutcomeCode.TIMEOUT: OutcomeText(_UNKNOWN, f"The call to Cellcast timed out. {_MAYBE}", _IF_SUBSCRIBED),
    OutcomeCode.CONNECTION_LOST: OutcomeText(
        _UNKNOWN,
        f"The connection to Cellcast was lost after the bot began to send the request. {_MAYBE}",
        _IF_SUBSCRIBED,
    ),
    OutcomeCode.SERVER_ERROR: OutcomeText(_UNKNOWN, f"Cellcast had an internal error. {_MAYBE}", _IF_SUBSCRIBED),
    OutcomeCode.REDIRECT: OutcomeText(
        _UNKNOWN,
        f"Cellcast redirected the request to another address, and the bot does not follow redirects. {_MAYBE}",
        f"Ask an administrator to check CELLCAST_BASE_URL. {_IF_SUBSCRIBED}",
    ),
    OutcomeCode.UNEXPECTED_RESPONSE: OutcomeText(
        _UNKNOWN, f"Cellcast sent a response that its documentation does not describe. {_MAYBE}", _IF_SUBSCRIBED
    ),
    # Only for a call that began: an attempt that was interrupted before it is NOT_STARTED.
    OutcomeCode.INTERRUPTED: OutcomeText(
        _UNKNOWN,
        f"The bot was interrupted during the call to Cellcast and did not get the answer. {_MAYBE}",
        _IF_SUBSCRIBED,
    ),
    OutcomeCode.RESTORED: OutcomeText(
        _UNKNOWN,
        "The bot's database was restored from a backup in which this request was still open. The bot does not know "
        f"what happened to the request after the backup. {_MAYBE}",
        f"Look for an earlier message about the request: it is still valid. {_IF_SUBSCRIBED}",
    ),
    OutcomeCode.KEPT: OutcomeText("Kept: {number}", "Nothing was sent to Cellcast."),
    OutcomeCode.PROTECTED: OutcomeText(
        "Kept: {number}",
        "The list of numbers has protected this number since the request. Nothing was sent to Cellcast.",
        "To unsubscribe it, ask the list's owner to lift that first. Then {again}.",
    ),
    OutcomeCode.EXPIRED: OutcomeText(
        "Expired: {number}",
        "Nobody confirmed before the deadline. Nothing was sent to Cellcast.",
        "To unsubscribe the number, {again}.",
    ),
    OutcomeCode.REPLACED: OutcomeText(
        "Replaced: {number}",
        "Slack did not confirm that it posted this card, and a later request replaced it. Nothing was sent to Cellcast "
        "for this request.",
        "Use the newer card.",
    ),
}

# Small print of a toast whose outcome takes the place of "outcome unknown".
CORRECTION = "Correction: this outcome may have been reported as unknown before Cellcast's answer arrived."


def still_unknown(outcome: Outcome) -> bool:
    """Return whether an earlier attempt for the number may have succeeded, though this one did not."""
    gone = outcome.code is OutcomeCode.ALREADY_GONE
    return outcome.after_unknown and outcome.code.status is Status.REFUSED and not gone


def in_short(outcome: Outcome) -> str:
    """Return what happened, for a place where neither Cellcast's message nor the card is beside it."""
    if outcome.code is OutcomeCode.SUCCEEDED:
        return "Cellcast reported success."
    earlier = " An earlier attempt for this number has an unknown outcome." if still_unknown(outcome) else ""
    return f"{OUTCOME_TEXT[outcome.code].what}{earlier}"


def headline(request: Request, outcome: Outcome) -> str:
    """Return the first line about an outcome."""
    template = "Outcome still unknown: {number}" if still_unknown(outcome) else OUTCOME_TEXT[outcome.code].headline
    return title(request, template)


def explanation(request: Request, outcome: Outcome, *, can_try: bool, account: str = "") -> str:
    """Return what happened and what to do next; `can_try` if the card has the button Try Again."""
    text = OUTCOME_TEXT[outcome.code]
    what = text.what
    if still_unknown(outcome):
        what = (
            f"Attempt {outcome.attempt}: {what} However, an earlier attempt for this number has an unknown outcome. "
            f"{_MAYBE} Check in Cellcast whether the number is still subscribed. If it is not, you are done. "
            "If it is, go on:"
        )
    again = "click Try Again on the card" if can_try else f"request it again with {command(request)}"
    wait = "a minute" if outcome.retry_at is None else f"until {moment(outcome.retry_at)}"
    return f"{what} {next_step(outcome.code, again, wait, account)}".strip()


def next_step(code: OutcomeCode, again: str, wait: str = "a minute", account: str = "") -> str:
    """Return what to do next after an outcome."""
    uses = (
        f"the Cellcast account {literal(account)}, which the bot uses" if account else "the account that the bot uses"
    )
    return begin(OUTCOME_TEXT[code].next_step.format(again=again, wait=wait, account=uses))


def explain(code: OutcomeCode) -> tuple[str, str]:
    """Return what an outcome means and what to do, in the words of the messages, for the table of docs/outcomes.md."""
    return OUTCOME_TEXT[code].what, next_step(code, "click Try Again" if code.can_try_again else "request it again")


def decision(outcome: Outcome) -> str:
    """Return who confirmed or kept, and when; empty if nobody did."""
    if outcome.decided_by is None:
        return ""
    verb = "Kept" if outcome.code is OutcomeCode.KEPT else "Confirmed"
    attempt = f", attempt {outcome.attempt}" if outcome.attempt > 1 else ""
    return f"{verb} by {person(outcome.decided_by)} ({moment(outcome.decided_at or 0)}{attempt})."


def toast(request: Request, outcome: Outcome, *, now: float, account: str = "") -> Message:
    """Return the new message in the channel about an outcome, with Cellcast's own message word for word.

    `now` is the time of the message in seconds since the epoch: after the deadline it does not mention Try Again.
    """
    # A mention: an edit of the card notifies nobody, and a new message does.
    requested = "" if outcome.decided_by == request.requested_by else f"Requested by {person(request.requested_by)}."
    about = [CORRECTION if outcome.correction else "", decision(outcome), requested, *reason(request)]
    if outcome.code is OutcomeCode.SUCCEEDED:
        said = outcome.message or "Cellcast reported success, without a message."
        return message([plain(said), context(" ".join(filter(None, [f"{begin(number(request))}.", *about])))])
    can_try = request.expires_at is not None and request.expires_at > now and request.attempt == outcome.attempt
    what = explanation(request, outcome, can_try=can_try, account=account)
    blocks = [section(f"{headline(request, outcome)}\n{what}")]
    if outcome.message:
        blocks += [context("Cellcast's message:"), plain(outcome.message)]
    return message([*blocks, context(" ".join(filter(None, about)))])


def reply_to_requester(request: Request, outcome: Outcome) -> Message | None:
    """Return the reply in the card's thread if a request ended without a call and not by the requester, else None."""
    requester, called = person(request.requested_by), number(request)
    if outcome.code is OutcomeCode.KEPT and outcome.decided_by != request.requested_by:
        said = f"{person(outcome.decided_by)} kept {called}. Nothing was sent to Cellcast."
    elif outcome.code is OutcomeCode.PROTECTED:
        said = f"{called} was kept, because the list of numbers protects it now. Nothing was sent to Cellcast."
    elif outcome.code is OutcomeCode.EXPIRED:
        said = (
            f"nobody confirmed {called} in time. Nothing was sent to Cellcast. To unsubscribe the number, request it "
            f"again with {command(request)}."
        )
    else:
        return None
    return message([section(f"{requester}: {said}")])

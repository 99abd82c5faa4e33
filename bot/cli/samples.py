"""Every message that the bot can send, made of invented requests: for `rehearse`, docs/messages.md and the tests."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from bot import errors
from bot.domain.access import AccessPolicy, Denial, People, Right
from bot.domain.commands import parse_target
from bot.domain.models import Message, Outcome, Request
from bot.domain.numbers import Number, NumberList
from bot.domain.reasons import Pattern, ReasonRule
from bot.domain.status import CallResult, OutcomeCode, Status
from bot.errors import BotError, LedgerDataError, LedgerError, NumberProtectedError
from bot.ledger.database import COMMIT_UNKNOWN
from bot.views import audit, blocks, cards, forms, home, replies
from bot.views import outcomes as outcome_views
from bot.views.blocks import Block
from bot.views.cards import Rules
from bot.views.replies import NO_RECORD, ONE_COMMAND

ANA, BEN, CHANNEL = "U0ANA", "U0BEN", "C0NUMBERS"
APPROVERS = People(frozenset({"U0CEM"}), frozenset({"S0ADMINS"}))
NOON, LATER = 1_788_264_000.0, 1_788_264_900.0
NUMBER, OTHER = "66ea98514f0c1a121c76ec17", "66ea98514f0c1a121c76ec18"
KNOWN = Number(NUMBER, "+61 480 000 000", "Support line")
TWIN = Number(OTHER, "+61 480 000 001", "Support line 2")
LIST = NumberList({n.id: n for n in (KNOWN, TWIN)}, {n.phone: n for n in (KNOWN, TWIN) if n.phone})
TWICE = NumberList({n.id: n for n in (KNOWN, replace(TWIN, label=KNOWN.label))})
FAULTY = NumberList(errors=("line 7: the id does not have 24 hexadecimal digits",))
TOAST = "Virtual number has been unsubscribed successfully."
SAID = {
    OutcomeCode.SUCCEEDED: TOAST,
    OutcomeCode.UNAUTHORIZED: "Token expired",
    OutcomeCode.NOT_FOUND: "Virtual number not found",
    OutcomeCode.REJECTED: "This number cannot be unsubscribed",
}

REQUEST = Request(
    id="0" * 32,
    number_id=NUMBER,
    phone=KNOWN.phone,
    label=KNOWN.label,
    reason="campaign ended",
    active_number_id=NUMBER,
    status=Status.PENDING,
    attempt=0,
    dry_run=False,
    channel=CHANNEL,
    requested_by=ANA,
    requested_at=NOON,
    expires_at=LATER,
    decided_by=None,
    decided_at=None,
    call_deadline=None,
    posting_lease_until=NOON,
    card_posted=True,
    card_ts="1.1",
    response_url=None,
    response_url_replaces=False,
)
WARNED = replace(REQUEST, warning="Main hotline, printed on invoices")
NAMES = {ANA: "Ana Lima", BEN: "Ben Okafor"}
CONFIRMED = replace(REQUEST, status=Status.CONFIRMED, attempt=1, decided_by=BEN, decided_at=NOON, expires_at=None)

FORMS, HOME = "Forms", "The App Home"
UNDECIDED = (OutcomeCode.PROTECTED, OutcomeCode.EXPIRED, OutcomeCode.REPLACED)


@dataclass(frozen=True)
class Row:
    """A message: of which part of docs/messages.md, when it comes, who sees it; and its modal if it is a form."""

    part: str
    when: str
    who: str
    message: Message
    form: Block | None = None


def ended(kind: OutcomeCode, request: Request = CONFIRMED, *, message: str | None = None, **more: Any) -> Request:
    """Return the request as it stands after an outcome of this kind."""
    outcome = Outcome(
        request_id=request.id,
        attempt=request.attempt,
        code=kind,
        message=SAID.get(kind, "") if message is None else message,
        retry_at=None,
        after_unknown=False,
        decided_by=None if kind in UNDECIDED else BEN,
        decided_at=None if kind in UNDECIDED else NOON,
        settled_at=NOON,
        delivery_attempts=1,
        deliver_after=NOON,
        message_posted_at=None,
        delivered_at=None,
    )
    until = LATER if kind.can_try_again else None
    return replace(request, status=kind.status, expires_at=until, outcome=replace(outcome, **more))


def outcomes() -> Iterator[tuple[str, Request, Outcome]]:
    """Yield every way to end, the special ones too."""
    unnamed = replace(CONFIRMED, phone=None, label=None, reason=None)
    for kind in OutcomeCode:
        request = ended(kind, replace(REQUEST, decided_by=BEN) if kind in (OutcomeCode.KEPT, *UNDECIDED) else CONFIRMED)
        assert request.outcome is not None  # noqa: S101 - for mypy: `ended` has given it one
        yield kind.value.replace("_", " "), request, request.outcome
    for name, request in {
        "succeeded, a number without a name": ended(OutcomeCode.SUCCEEDED, unnamed),
        "succeeded, without a message": ended(OutcomeCode.SUCCEEDED, message=""),
        "succeeded, with a message that the database cannot store": ended(
            OutcomeCode.SUCCEEDED, message=CallResult(OutcomeCode.SUCCEEDED).without_message().message
        ),
        "not started, after an unknown outcome": ended(
            OutcomeCode.NOT_STARTED, replace(CONFIRMED, attempt=2), after_unknown=True
        ),
        "rate limited, with a time": ended(OutcomeCode.RATE_LIMITED, retry_at=LATER),
        "succeeded, after it was reported as unknown": ended(OutcomeCode.SUCCEEDED, correction=True),
    }.items():
        assert request.outcome is not None  # noqa: S101 - as above
        yield name, request, request.outcome


def rows() -> list[Row]:
    """Return every message."""
    return [
        *_cards(),
        *_toasts(),
        *_audit_lines(),
        *_private(),
        *_menu_texts(),
        *_forms(),
        *_late(),
        *_refusals(),
        *_home(),
    ]


def _cards() -> Iterator[Row]:
    who, rules = "the channel", Rules()
    unlisted = replace(REQUEST, phone=None, label=None, reason=None)
    yield Row("Cards", "someone has requested it", who, cards.card(REQUEST, rules))
    yield Row("Cards", "requested by an id without a list of numbers", who, cards.card(unlisted, rules))
    yield Row("Cards", "requested by an id that the list does not name", who, cards.card(unlisted, Rules(listed=True)))
    yield Row("Cards", "someone else must confirm", who, cards.card(REQUEST, Rules(second_person=True)))
    yield Row("Cards", "for a number with a warning", who, cards.card(WARNED, rules))
    notified = Rules(notify=frozenset({BEN, "S0ADMINS"}))
    yield Row(
        "Cards",
        "with people to notify (`NOTIFY_USERS`), until its first update",
        who,
        cards.new_card(REQUEST, notified),
    )
    yield Row("Cards", "in a dry run", who, cards.card(replace(REQUEST, dry_run=True), rules))
    yield Row("Cards", "confirmed, the call is in progress", who, cards.card(CONFIRMED, rules))
    yield Row("Cards", "tried again, the call is in progress", who, cards.card(replace(CONFIRMED, attempt=2), rules))
    for name, request, _ in outcomes():
        yield Row("Cards", f"outcome: {name}", who, cards.card(request, rules))
    account = Rules(account="Example Pty Ltd")
    missing = ended(OutcomeCode.NOT_FOUND)
    yield Row("Cards", "outcome: not found, and the account is known", who, cards.card(missing, account))
    over = replace(ended(OutcomeCode.TIMEOUT), expires_at=None)
    yield Row("Cards", "outcome: timeout, and the deadline to try again has passed", who, cards.card(over, rules))


def _toasts() -> Iterator[Row]:
    for name, request, outcome in outcomes():
        yield Row("New messages", f"outcome: {name}", "the channel", outcome_views.toast(request, outcome, now=NOON))
    part, thread = "New messages", "a reply in the card's thread"
    for whom, rules in {"": Rules(), ", with `NOTIFY_USERS`": Rules(notify=frozenset({BEN, "S0ADMINS"}))}.items():
        when = f"a card still waits (`REMIND_BEFORE_SECONDS`{whom}): {thread}"
        yield Row(part, when, "the channel", cards.reminder(REQUEST, rules))
    kept = ended(OutcomeCode.KEPT, replace(REQUEST, decided_by=BEN, decided_at=NOON))
    for when, request in {
        "someone else kept the number": kept,
        "nobody confirmed": ended(OutcomeCode.EXPIRED, REQUEST),
        "the list has protected the number since the request": ended(OutcomeCode.PROTECTED, REQUEST),
    }.items():
        assert request.outcome is not None  # noqa: S101 - as above
        reply = outcome_views.reply_to_requester(request, request.outcome)
        assert reply is not None  # noqa: S101 - both are replied to
        yield Row(part, f"{when}: {thread}", "the channel", reply)
    late = ended(OutcomeCode.TIMEOUT)
    assert late.outcome is not None  # noqa: S101 - as above
    when = "outcome: timeout, and the deadline to try again has passed"
    yield Row("New messages", when, "the channel", outcome_views.toast(late, late.outcome, now=LATER))


def _audit_lines() -> Iterator[Row]:
    part, who, link = "Audit lines", "the audit channel", "https://example.slack.com/archives/C0NUMBERS/p1"
    for name, request, outcome in outcomes():
        yield Row(part, f"outcome: {name}", who, audit.line(request, outcome, NAMES, link))
    kept = ended(OutcomeCode.KEPT, replace(REQUEST, decided_by=BEN, decided_at=NOON, dry_run=True))
    assert kept.outcome is not None  # noqa: S101 - as above
    when = "outcome: kept in a dry run, and Slack gives no names and no link"
    yield Row(part, when, who, audit.line(kept, kept.outcome, {}, None))


def _private() -> Iterator[Row]:
    who = "the requester"
    may = replies.rights(rules_of())
    yield Row("Private replies", "the command with `help`, or alone", who, replies.usage(may))
    yield Row("Private replies", "the same, with a list of numbers", who, replies.usage(may, listed=True))
    separate = replies.rights(rules_of(approvers=APPROVERS))
    yield Row("Private replies", "the same, and others can confirm (`APPROVERS`)", who, replies.usage(separate))
    ticket = ReasonRule(required=True, example="OPS-1234 campaign ended")
    yield Row("Private replies", "the same, and a reason is required", who, replies.usage(may, rule=ticket))
    yield Row("Private replies", "the command alone, with a list of numbers", who, replies.picker())
    for opening, sentence in {
        "that requests a number": replies.REQUEST_FORM_NOT_OPENED,
        "that confirms": replies.CONFIRM_FORM_NOT_OPENED,
    }.items():
        yield Row("Private replies", f"Slack did not open the form {opening}", "who clicked", blocks.private(sentence))
    link = "https://example.slack.com/archives/C0NUMBERS/p1"
    for when, request in {
        "a card for the number is waiting": REQUEST,
        "the call for the number is in progress": CONFIRMED,
        "the number can be tried again": ended(OutcomeCode.TIMEOUT),
    }.items():
        yield Row("Private replies", when, who, replies.pointer(request, link))
    yield Row("Private replies", "a card is waiting, and Slack gives no link", who, replies.pointer(REQUEST, None))
    yield Row("Private replies", "Slack refused the card", who, replies.card_not_posted(REQUEST, known=True))
    yield Row(
        "Private replies", "Slack gave no answer about the card", who, replies.card_not_posted(REQUEST, known=False)
    )
    kept = ended(OutcomeCode.KEPT, replace(REQUEST, decided_by=BEN, decided_at=NOON))
    several = [REQUEST, ended(OutcomeCode.SUCCEEDED, replace(CONFIRMED, attempt=2)), kept]
    yield Row("Private replies", "`history`", who, replies.history(several))
    yield Row("Private replies", "`history`, and nobody has requested anything yet", who, replies.history([]))


def _forms() -> Iterator[Row]:
    rule = ReasonRule(required=True, example="OPS-1234 campaign ended")
    unlisted = replace(WARNED, phone=None)
    for when, who, form in [
        ("the command alone, and a reason is required", "the requester", forms.request_form(rule, listed=True)),
        (
            "Unsubscribe a number in the App Home, without a list of numbers",
            "the requester",
            forms.request_form(ReasonRule(), listed=False),
        ),
        ("Unsubscribe Number, and the number has a warning", "who clicked", _confirm_form(WARNED)),
        ("Try Again, and the number has a warning", "who clicked", _confirm_form(ended(OutcomeCode.TIMEOUT, WARNED))),
        ("the same for a number that has only a label", "who clicked", _confirm_form(unlisted)),
    ]:
        yield Row(FORMS, when, who, blocks.message(form["blocks"]), form)
    required = forms.reason_error(rule, None), forms.reason_error(replace(rule, pattern=Pattern("OPS-.*")), "x")
    for when, error in {
        "error of a field: no id": forms.NO_ID,
        "error of a field: no reason": required[0],
        "error of a field: the reason has another format (`REASON_PATTERN`)": required[1],
        "error of a field: other digits": forms.digits_error(WARNED),
        "error of a field: no channel": forms.NO_CHANNEL,
        "error of a field: a protected number": NumberProtectedError(),
    }.items():
        yield Row(FORMS, when, "who submitted it", blocks.private(str(error)))


def _menu_texts() -> Iterator[Row]:
    for when, option in {
        "a number": replies.option(KNOWN, has_card=False),
        "a number with an open card": replies.option(KNOWN, has_card=True),
        "a protected number": replies.option(replace(KNOWN, protected=True), has_card=False),
        "a number with a warning": replies.option(replace(KNOWN, warning=WARNED.warning), has_card=False),
    }.items():
        said = f"{option['text']['text']}\n{option['description']['text']}"
        yield Row("The menu of numbers", when, "the requester", blocks.private(said))
    more = replies.option_group([{}] * 100, 250)["label"]["text"]
    yield Row("The menu of numbers", "there are more numbers than it can show", "the requester", blocks.private(more))


def _confirm_form(request: Request) -> Block:
    button = {"value": f"{request.id}:{request.attempt}", "channel": request.channel, "message_ts": "1.1"}
    return forms.confirm_form(request, Rules(), json.dumps(button))


def _late() -> Iterator[Row]:
    again = replace(ended(OutcomeCode.TIMEOUT), expires_at=None)
    for when, request in {
        "the card has changed in the meantime": REQUEST,
        "someone else has confirmed": CONFIRMED,
        "it was kept": ended(OutcomeCode.KEPT, replace(REQUEST, decided_by=BEN, decided_at=NOON)),
        "the list has protected the number since the request": ended(OutcomeCode.PROTECTED, REQUEST),
        "its deadline has passed": ended(OutcomeCode.EXPIRED, REQUEST),
        "a later request has replaced it": ended(OutcomeCode.REPLACED, REQUEST),
        "it is done": ended(OutcomeCode.SUCCEEDED),
        "it was a dry run": ended(OutcomeCode.DRY_RUN),
        "that attempt has ended, it can be tried again": ended(OutcomeCode.TIMEOUT),
        "that attempt has ended for good": again,
        "it was open in a backup that was restored": ended(OutcomeCode.RESTORED, replace(CONFIRMED, decided_by=None)),
    }.items():
        yield Row("Late clicks", when, "the person who clicked", replies.stale_click(request))


def _refusals() -> Iterator[Row]:
    ticket = ReasonRule(required=True, pattern=Pattern("OPS-[0-9]+ .+"), example="OPS-1234 campaign ended")
    for text, when in {NUMBER: "no reason", f"{NUMBER} campaign ended": "a reason in another format"}.items():
        try:
            parse_target(text, LIST, ticket)
        except BotError as refusal:
            setting = "REASON_PATTERN" if "format" in when else "REQUIRE_REASON"
            yield Row("Denials and errors", f"{when} (`{setting}`)", "the requester", blocks.private(str(refusal)))
    for when, text, known in [
        ("this is no id", "hello", NumberList()),
        ("no number of the list", "+61 480 000 99", LIST),
        ("it can mean two numbers", "Support line", TWICE),
        ("the list has an error", "Support line", FAULTY),
        ("a word before the id", f"please {NUMBER}", NumberList()),
        ("two ids", f"{NUMBER} {OTHER}", NumberList()),
        ("a label, and an id behind it", f'"Support line" {OTHER}', LIST),
        ("a reason with another number", f"{KNOWN.phone} not {TWIN.phone}", LIST),
        ("a reason that is too long", f"{NUMBER} {'x' * 201}", NumberList()),
    ]:
        try:
            parse_target(text, known)
        except BotError as refusal:
            yield Row("Denials and errors", when, "the requester", blocks.private(str(refusal)))
    other = frozenset({"C0OTHER"})
    separate = rules_of(approvers=APPROVERS)
    for when, denial, policy in [
        ("no permission", Denial.NOT_LISTED, rules_of()),
        ("no permission to confirm, because APPROVERS is set", Denial.NOT_LISTED, separate),
        ("a member of another workspace", Denial.OTHER_TEAM, rules_of()),
        ("another channel", Denial.CHANNEL, rules_of(channels=other)),
        (
            "another channel, and everyone may use the bot",
            Denial.CHANNEL,
            rules_of(None, other),
        ),
        ("the requester confirms, but someone else must", Denial.REQUESTER, rules_of()),
        ("the user groups cannot be read", Denial.UNKNOWN_GROUPS, rules_of()),
        ("the workspace cannot be read", Denial.UNKNOWN_TEAM, rules_of()),
        ("a guest of the workspace", Denial.GUEST, rules_of(None)),
        ("Slack does not say whether the person is a guest", Denial.UNKNOWN_GUEST, rules_of(None)),
    ]:
        user = ANA if denial is Denial.REQUESTER or policy is separate else "U0GIL"
        sentence = replies.denied(denial, policy, user, Right.CONFIRM)
        yield Row("Denials and errors", when, "the person who requested or clicked", blocks.private(sentence))
    said: list[tuple[str, str, str | BotError]] = [
        ("a button of another bot", "the person who clicked", replies.UNKNOWN_BUTTON),
        ("a form of another bot", "the person who submitted it", replies.UNKNOWN_FORM),
        ("a button of another database", "the person who clicked", NO_RECORD),
        ("another command", "the requester", ONE_COMMAND),
        ("the bot cannot read what Slack sent", "the person who requested or clicked", replies.UNREADABLE_PAYLOAD),
        ("the number is protected", "the person who requested or clicked", NumberProtectedError()),
        ("the database is unavailable", "the person who requested or clicked", LedgerError()),
        (
            "the database became unavailable in between",
            "the person who requested or clicked",
            LedgerError(COMMIT_UNKNOWN),
        ),
        ("the bot could not answer Slack in time", "the person who requested or clicked", replies.TOO_SLOW),
        ("the database cannot store the reason", "the requester", LedgerDataError()),
        ("an unexpected error", "the person who requested or clicked", errors.unexpected("1a2b3c4d")),
    ]
    for when, who, error in said:
        yield Row("Denials and errors", when, who, blocks.private(str(error)))


def rules_of(
    users: frozenset[str] | None = frozenset({ANA, BEN}),
    channels: frozenset[str] | None = None,
    approvers: People | None = None,
) -> AccessPolicy:
    """Return the access rules with these people."""
    people = People(users)
    return AccessPolicy(people, people if approvers is None else approvers, channels, teams=frozenset({"T0HOME"}))


def _home() -> Iterator[Row]:
    who = "the person who opens it"
    rules, rights = Rules(account="Example Pty Ltd"), replies.rights(rules_of())
    kept = ended(OutcomeCode.KEPT, replace(REQUEST, decided_by=BEN, decided_at=NOON))
    done = [(r, r.outcome) for r in (ended(OutcomeCode.SUCCEEDED), kept) if r.outcome]
    pages = {
        "with a request that the person can confirm, and one in progress": home.page(
            [REQUEST, CONFIRMED], done, rules, rights, can_confirm=lambda _request: True
        ),
        "with a request that only others can confirm": home.page(
            [REQUEST], done, rules, rights, can_confirm=lambda _request: False
        ),
        "with many requests, and others can confirm than request": home.page(
            [WARNED],
            [],
            Rules(),
            replies.rights(rules_of(approvers=APPROVERS)),
            can_confirm=lambda _request: True,
            can_request=False,
            open_count=200,
        ),
        "nothing yet": home.page([], [], rules, rights, can_confirm=lambda _request: True),
        "no permission": home.denied(replies.denied(Denial.NOT_LISTED, rules_of(), "U0GIL", Right.KEEP)),
        "a guest of the workspace": home.denied(replies.denied(Denial.GUEST, rules_of(None), "U0GIL", Right.KEEP)),
        "Slack does not say who it is": home.denied(
            replies.denied(Denial.UNKNOWN_TEAM, rules_of(), "U0GIL", Right.KEEP)
        ),
    }
    for when, page in pages.items():
        yield Row(HOME, when, who, blocks.message(page))

"""/unsubscribe-number: read the text, look at the rights, ack; then record, and post the card."""

from __future__ import annotations

import re

import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_bolt.context.async_context import AsyncBoltContext

from bot.domain.access import Person
from bot.domain.models import NewRequest
from bot.domain.numbers import Number, NumberList
from bot.errors import RequestDenied
from bot.receivers.payloads import Command
from bot.views import replies, text
from bot.views.text import COMMAND, EXAMPLE, escape, name
from handlers.context import Services, after_ack, answer_command, payload_of, reply_on_error

# What people paste around an id: quotes, backticks, brackets, and characters that show nothing.
CLUTTER = re.compile(
    "[\"'`<>()\\[\\]{}*_~.,;:\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb\u200b-\u200f\u2060\ufeff\u00ad]"
)
log = structlog.get_logger("bot.command")
ID_IN_TEXT = re.compile(r"(?<![0-9a-z])[0-9a-f]{24}(?![0-9a-z])")
MAX_ECHO = 100
MAX_REASON = 200
HISTORY = 10


def words_of(text: str) -> list[str]:
    """The words of a command's text, lower case and without the clutter (no-break spaces part words too)."""
    return CLUTTER.sub(" ", text).lower().split()


def number_and_reason(text: str, known: NumberList) -> tuple[Number, str | None]:
    """The one number that a command names, by id, phone number or label, and the reason behind it, if any.

    Raises RequestDenied with what is wrong and an example.
    """
    words, ids = words_of(text), ID_IN_TEXT.findall(text.lower())
    if len(ids) > 1:
        raise RequestDenied(f"One number at a time, please: there are {len(ids)} ids in this. {_example(known)}")
    if ids and words[0] == ids[0]:
        # What stands before the id is clutter, so its place is the same in any case.
        number, rest = known.of_id(ids[0]), text[text.lower().index(ids[0]) + len(ids[0]) :]
    else:
        number, rest = _named(text, bool(ids), known)
    reason = " ".join(rest.replace("\x00", " ").split())
    while reason and CLUTTER.match(reason):
        reason = reason[1:].lstrip()
    if ids and number.id not in ids:
        raise RequestDenied(f"One number at a time, please: there is an id behind it. {_example(known)}")
    if len(reason) > MAX_REASON:
        raise RequestDenied(
            f"The reason is too long: it has {len(reason)} characters, and {MAX_REASON} fit on the card. "
            "Please ask again with a shorter one."
        )
    if others := known.mentioned(reason) - {number}:
        phones = ", ".join(sorted(other.phone or "" for other in others))
        raise RequestDenied(f"One number at a time, please: the reason names {phones}. {_example(known)}")
    return number, reason or None


def _named(text: str, has_id: bool, known: NumberList) -> tuple[Number, str]:
    if (known.by_id or known.faults) and (found := known.named(text)) is not None:
        return found
    if has_id:
        what = "The id comes first, then a reason"
    elif known.by_id:
        what = "No number in the list has this phone number or label"
    else:
        what = "This is not the id of a virtual number"
    shown = text.strip()
    shown = escape(shown if len(shown) <= MAX_ECHO else shown[:MAX_ECHO] + "…")
    way = f"`{COMMAND}` alone lets you choose one. " if known.by_id else ""
    raise RequestDenied(
        f"{what}: {shown}\n{way}An id has 24 hexadecimal digits (0-9, a-f) and stands in Cellcast. {_example(known)}"
    )


def _example(known: NumberList) -> str:
    number = next(iter(known.by_id.values()), None)
    if number is None:
        return f"Example: `{EXAMPLE}`"
    return f"Example: `{COMMAND} {number.phone or name(None, number.label)}`"


async def request_card(
    services: Services, number: Number, *, reason: str | None, by: str, channel: str, response_url: str | None
) -> None:
    """Store a request, and post its card, or the way to the one that is open. Runs after the ack.

    Nobody has confirmed anything yet: a request that a crash loses here is typed again. So a slow or locked database
    costs nobody the ack.
    """
    new = NewRequest(
        number_id=number.id,
        phone=number.phone,
        label=number.label,
        reason=reason,
        channel=channel,
        requested_by=by,
        now=services.now(),
        within=services.settings.confirm_within_seconds,
        dry_run=services.settings.dry_run,
        response_url=response_url,
    )
    request, is_new = await services.ledger.create_request(new)
    log.info("request_created", request=request.id, number=number.id, by=by, channel=channel, new=is_new)
    if is_new:
        await services.notifier.post_card(request)
    else:
        await services.notifier.send_card_link(request, response_url)


def register(app: AsyncApp, services: Services) -> None:
    """Listen for the command."""

    @app.command(text.COMMAND)
    async def unsubscribe_number(ack: AsyncAck, context: AsyncBoltContext) -> None:
        """Answer help, history and the picker in the ack; ack a permitted request, which goes on in the background."""
        command = payload_of(context, Command)
        words = words_of(command.text)
        if words == ["help"] or not (words or services.numbers.path):
            usage = replies.usage(services.access.rights(), listed=services.numbers.path is not None)
            await answer_command(services, ack, context, usage)
            return
        await services.access.check(Person(command.user_id, command.team_id), command.channel_id)
        known = await services.numbers.current()
        if not words:
            known.usable()
            await answer_command(services, ack, context, replies.picker())
        elif words == ["history"]:
            found = await services.ledger.history(limit=HISTORY)
            await answer_command(services, ack, context, replies.history([request for request, _ in found]))
        else:
            number, reason = number_and_reason(command.text, known)
            requesting = request_card(
                services,
                number,
                reason=reason,
                by=command.user_id,
                channel=command.channel_id,
                response_url=command.response_url,
            )
            after_ack(context, reply_on_error(services, command, requesting))
            await ack()

"""/unsubscribe-number: read the text, look at the rights, record, answer."""

from __future__ import annotations

import re
from typing import Any

from slack_bolt.async_app import AsyncApp
from slack_bolt.context.ack.async_ack import AsyncAck

from bot import cards
from bot.access import Person
from bot.errors import Refusal
from bot.ledger import Asking
from handlers import Desk

# What people paste around an id: quotes, backticks, brackets, and characters that show nothing.
CLUTTER = re.compile(
    "[\"'`<>()\\[\\]{}*_~.,;:\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb\u200b-\u200f\u2060\ufeff\u00ad]"
)
NUMBER_ID = re.compile(r"(?<![0-9a-z])[0-9a-f]{24}(?![0-9a-z])")
LONGEST_ECHO = 100
LONGEST_REASON = 200
HISTORY = 10


def words_of(text: str) -> list[str]:
    """The words of a command's text, lower case and without the clutter (no-break spaces part words too)."""
    return CLUTTER.sub(" ", text).lower().split()


def number_and_reason(text: str) -> tuple[str, str | None]:
    """The one number id that a command names, and the reason behind it, if any.

    Raises Refusal with what is wrong and an example.
    """
    words, ids = words_of(text), NUMBER_ID.findall(text.lower())
    if len(ids) > 1:
        raise Refusal(f"One number at a time, please: there are {len(ids)} ids in this. Example: `{cards.EXAMPLE}`")
    if not ids or words[0] != ids[0]:
        raise Refusal(
            _not_an_id(text, "The id comes first, then a reason" if ids else "This is not the id of a virtual number")
        )
    # What stands before the id is clutter, so its place is the same in any case.
    behind = text[text.lower().index(ids[0]) + len(ids[0]) :]
    reason = " ".join(behind.replace("\x00", " ").split()) if words[1:] else ""
    while reason and CLUTTER.match(reason):
        reason = reason[1:].lstrip()
    if len(reason) > LONGEST_REASON:
        raise Refusal(f"The reason is too long: it has {len(reason)} characters, and {LONGEST_REASON} fit on the card.")
    return ids[0], reason or None


def _not_an_id(text: str, what: str) -> str:
    shown = text.strip()
    shown = cards.escape(shown if len(shown) <= LONGEST_ECHO else shown[:LONGEST_ECHO] + "…")
    return (
        f"{what}: {shown}\nAn id has 24 hexadecimal digits (0-9, a-f) and stands in Cellcast. "
        f"Example: `{cards.EXAMPLE}`"
    )


def register(app: AsyncApp, desk: Desk) -> None:
    """Listen for the command."""
    fulfilment = desk.fulfilment

    @app.command(cards.COMMAND)
    async def unsubscribe_number(ack: AsyncAck, command: dict[str, Any]) -> None:
        """Record an asking and ack; the card is posted in the background."""
        text = command.get("text") or ""
        words = words_of(text)
        if words in ([], ["help"]):
            answer = cards.usage(desk.access.who_may())
            await ack(text=answer.text, blocks=answer.blocks)
            return
        who = Person(command["user_id"], command["team_id"])
        await desk.access.check(who, command["channel_id"])
        if words == ["history"]:
            found = await fulfilment.ledger.history(limit=HISTORY)
            answer = cards.history([request for request, _ in found])
            await ack(text=answer.text, blocks=answer.blocks)
            return
        number_id, reason = number_and_reason(text)
        asking = Asking(
            number_id=number_id,
            reason=reason,
            channel=command["channel_id"],
            asked_by=who.user_id,
            now=fulfilment.now(),
            within=fulfilment.settings.confirm_within_seconds,
            dry_run=fulfilment.settings.dry_run,
            reply_url=command.get("response_url"),
        )
        request, fresh = await fulfilment.ledger.ask(asking)
        await ack()
        work = fulfilment.post_card(request) if fresh else fulfilment.point_to_card(request, asking.reply_url)
        fulfilment.tasks.start(work)

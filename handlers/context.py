"""What the listeners work with, and how they answer a person."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar

from slack_bolt.context.ack.async_ack import AsyncAck
from slack_bolt.context.async_context import AsyncBoltContext

from bot import errors
from bot.acks_first import AcksFirst
from bot.clients.numbers_file import NumbersFile
from bot.clients.slack import fits_in_ack
from bot.domain.access import Person, Right
from bot.domain.models import Message
from bot.domain.reasons import ReasonRule
from bot.errors import BotError
from bot.ledger.store import Ledger
from bot.receivers.payloads import Payload
from bot.service.access import Access
from bot.service.card_poster import CardPoster
from bot.service.executor import Executor
from bot.service.home_publisher import HomePublisher
from bot.service.notifier import Notifier
from bot.settings import Settings
from bot.views import blocks
from bot.views.cards import Rules

P = TypeVar("P", bound=Payload)


@dataclass(frozen=True)
class Services:
    """What the listeners work with; `now` returns seconds since the epoch, `rules` what holds for every card now."""

    settings: Settings
    access: Access
    ledger: Ledger
    executor: Executor
    notifier: Notifier
    poster: CardPoster
    numbers: NumbersFile
    home: HomePublisher
    reasons: ReasonRule
    rules: Callable[[], Rules]
    acks_first: AcksFirst
    now: Callable[[], float]


async def check_access(services: Services, who: Person, channel: str | None, right: Right, about: str = "") -> None:
    """Check a person's right as `Access.check` does, before the ack."""
    with services.acks_first.waiting_for_slack():  # as a rule it asks Slack about a person once in five minutes
        await services.access.check(who, channel, right, about)


def payload_of(context: AsyncBoltContext, kind: type[P]) -> P:
    """Return the validated payload of a request, which is of this kind."""
    payload = context["payload"]
    assert isinstance(payload, kind)  # noqa: S101 - Bolt has chosen the listener by the payload's type
    return payload


def after_ack(context: AsyncBoltContext, work: Coroutine[Any, Any, None]) -> None:
    """Start work in the background when the ack of this request has been written."""
    context["after_ack"].append(work)


def reply_privately(services: Services, context: AsyncBoltContext, message: Message) -> None:
    """Show a message to the person who clicked or typed: by response_url, or from the App Home in a dialog."""
    payload = payload_of(context, Payload)
    after_ack(context, services.notifier.send_private(payload.response_url, message, payload.trigger_id))


async def answer_command(services: Services, ack: AsyncAck, context: AsyncBoltContext, message: Message) -> None:
    """Ack a command with a private answer; one that is too long for an ack is sent by response_url."""
    body: dict[str, Any] = {"text": message.text, "blocks": message.blocks}
    if payload_of(context, Payload).response_url is None or fits_in_ack(body):
        await ack(**body)
        return
    reply_privately(services, context, message)
    await ack()


async def reply_on_error(services: Services, payload: Payload, work: Awaitable[None]) -> None:
    """Go on after the ack: an error still reaches the person."""
    try:
        await work
    except Exception as error:  # noqa: BLE001 - every error becomes a sentence, as in `register`
        reply = blocks.private(sentence_of(error))
        await services.notifier.send_private(payload.response_url, reply, payload.trigger_id)


def sentence_of(error: Exception) -> str:
    """Return the sentence of an expected error; of any other one a reference number, which the log has too."""
    return str(error) if isinstance(error, BotError) else errors.report(error)

"""What Slack sends: each module registers its listeners; here is the one place where their errors become words."""

from __future__ import annotations

from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

from slack_bolt.context.ack.async_ack import AsyncAck

from bot import errors
from bot.clients.numbers_file import NumbersFile
from bot.clients.slack import fits_in_ack
from bot.domain.models import Message
from bot.errors import BotError
from bot.service.access import Access
from bot.service.fulfilment import Fulfilment
from bot.service.home_publisher import Home
from bot.views import cards

ONE_COMMAND = f"The bot knows the command `{cards.COMMAND}` only. `{cards.COMMAND} help` explains it."


@dataclass(frozen=True)
class Services:
    """What the listeners work with."""

    access: Access
    fulfilment: Fulfilment
    numbers: NumbersFile
    home: Home


def tell_privately(services: Services, body: dict[str, Any], message: Message) -> None:
    """Show who pressed or typed something a line: by the response_url, or from the App Home in a dialog."""
    fulfilment = services.fulfilment
    fulfilment.tasks.start(fulfilment.tell_privately(body.get("response_url"), message, body.get("trigger_id")))


async def answer_command(services: Services, ack: AsyncAck, command: dict[str, Any], message: Message) -> None:
    """Ack a command with a private answer; one that is too long for an ack is sent by the response_url."""
    body: dict[str, Any] = {"text": message.text, "blocks": message.blocks}
    url = command.get("response_url")
    if url is None or fits_in_ack(body):
        await ack(**body)
        return
    services.fulfilment.tasks.after_ack(services.fulfilment.tell_privately(url, message))
    await ack()


async def reply_on_error(services: Services, body: dict[str, Any], work: Awaitable[None]) -> None:
    """Go on after the ack: what fails still reaches the person."""
    try:
        await work
    except Exception as error:  # noqa: BLE001 - as in `to_words`, every error becomes words
        tell_privately(services, body, cards.private(in_words(error)))


def in_words(error: Exception) -> str:
    """The sentence of an expected error; of any other one a reference number, which the log has too."""
    return str(error) if isinstance(error, BotError) else errors.report(error)

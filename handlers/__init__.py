"""What Slack sends: each module registers its listeners; here is the one place where their errors become words."""

from __future__ import annotations

import re
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import Any

from slack_bolt.async_app import AsyncApp
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_bolt.response import BoltResponse

from bot import cards, errors
from bot.access import Access
from bot.errors import BotError, RequestDenied
from bot.fulfilment import Fulfilment
from bot.home import Home
from bot.numbers import Numbers
from bot.slack import Message, fits_in_ack
from handlers.payloads import said_privately

ONE_COMMAND = f"The bot knows the command `{cards.COMMAND}` only. `{cards.COMMAND} help` explains it."


@dataclass(frozen=True)
class Services:
    """What the listeners work with."""

    access: Access
    fulfilment: Fulfilment
    numbers: Numbers
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


def register(app: AsyncApp, services: Services) -> None:
    """Register every listener of the bot, and the one error handler."""
    from handlers import buttons, command, home, picker  # noqa: PLC0415 - they need Services from here

    for module in (command, buttons, picker, home):
        module.register(app, services)

    @app.command(re.compile(""))
    async def other_command() -> None:
        raise RequestDenied(ONE_COMMAND)

    @app.action(re.compile(""))
    async def other_button() -> None:
        raise RequestDenied(cards.STRANGE_BUTTON)

    @app.options(re.compile(""))
    async def other_menu() -> None:
        raise RequestDenied(cards.STRANGE_BUTTON)

    @app.event(re.compile(""))
    async def other_event() -> None:
        """One that the app was subscribed to by hand."""

    async def to_words(error: Exception, body: dict[str, Any]) -> BoltResponse:
        """Answer the person, in the ack where a command has one."""
        sentence = in_words(error)
        if "command" in body:
            return said_privately(sentence)
        if body.get("type") == "block_suggestion":  # a menu can show no sentence: the choice will
            return BoltResponse(status=200, body={"options": []})
        tell_privately(services, body, cards.private(sentence))
        return BoltResponse(status=200, body="")

    app.error(to_words)

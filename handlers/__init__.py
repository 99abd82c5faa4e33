"""What Slack sends: each module registers its listeners; here is the one place where their errors become words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from slack_bolt.async_app import AsyncApp
from slack_bolt.response import BoltResponse

from bot import cards, errors
from bot.access import Access
from bot.errors import BotError, Refusal
from bot.fulfilment import Fulfilment
from handlers.payloads import said_privately


@dataclass(frozen=True)
class Desk:
    """What the listeners work with."""

    access: Access
    fulfilment: Fulfilment


def register(app: AsyncApp, desk: Desk) -> None:
    """Register every listener of the bot, and the one error handler."""
    from handlers import buttons, command  # noqa: PLC0415 - they need Desk from here

    command.register(app, desk)
    buttons.register(app, desk)

    @app.command(re.compile(""))
    async def other_command() -> None:
        raise Refusal(f"The bot knows the command `{cards.COMMAND}` only.")

    @app.action(re.compile(""))
    async def other_button() -> None:
        raise Refusal(cards.STRANGE_BUTTON)

    async def to_words(error: Exception, body: dict[str, Any]) -> BoltResponse:
        """Answer the person: with the sentence of an expected error, or with a reference number."""
        sentence = str(error) if isinstance(error, BotError) else errors.report(error)
        if "command" in body:
            return said_privately(sentence)
        # payloads.read has let only a text through.
        telling = desk.fulfilment.tell_privately(body.get("response_url"), cards.private(sentence))
        desk.fulfilment.tasks.start(telling)
        return BoltResponse(status=200, body="")

    app.error(to_words)

"""What Slack sends: each module registers its listeners; here is the one place where their errors become words."""

from __future__ import annotations

import re
from typing import Any

from slack_bolt.async_app import AsyncApp
from slack_bolt.context.async_context import AsyncBoltContext
from slack_bolt.response import BoltResponse

from bot.errors import RequestDeniedError
from bot.receivers.answers import error_ack, kind_of
from bot.views import blocks, replies
from handlers import actions, commands, events, forms, options
from handlers.context import Services, reply_privately, sentence_of


def register(app: AsyncApp, services: Services) -> None:
    """Register every listener of the bot, and the one error handler."""
    for module in (commands, actions, options, forms, events):
        module.register(app, services)

    @app.command(re.compile(""))
    async def other_command() -> None:
        raise RequestDeniedError(replies.ONE_COMMAND)

    @app.action(re.compile(""))
    async def other_button() -> None:
        raise RequestDeniedError(replies.UNKNOWN_BUTTON)

    @app.view(re.compile(""))
    async def other_form() -> None:
        raise RequestDeniedError(replies.UNKNOWN_FORM)

    @app.options(re.compile(""))
    async def other_menu() -> None:
        raise RequestDeniedError(replies.UNKNOWN_BUTTON)

    @app.event(re.compile(""))
    async def other_event() -> None:
        """One that the app was subscribed to by hand."""

    async def answer_error(error: Exception, body: dict[str, Any], context: AsyncBoltContext) -> BoltResponse:
        """Answer the person, in the ack where a command has one."""
        sentence = sentence_of(error)
        answer, needs_reply = error_ack(kind_of(body), sentence)
        if needs_reply:
            reply_privately(services, context, blocks.private(sentence))
        return answer

    app.error(answer_error)

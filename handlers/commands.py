"""/unsubscribe-number: read the text, look at the rights, ack; then record, and post the card."""

from __future__ import annotations

from typing import Any

import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.context.ack.async_ack import AsyncAck

from bot.domain.commands import Action, parse_action, parse_target
from bot.domain.models import NewRequest
from bot.domain.numbers import Number
from bot.service.access import Person
from bot.views import cards
from handlers.context import Services, answer_command, reply_on_error

log = structlog.get_logger("bot.command")
HISTORY = 10


async def ask(
    services: Services, number: Number, *, reason: str | None, by: str, channel: str, response_url: str | None
) -> None:
    """Record an asking; the card, or the way to the open one, follows in the background."""
    fulfilment = services.fulfilment
    asking = NewRequest(
        number_id=number.id,
        phone=number.phone,
        label=number.label,
        reason=reason,
        channel=channel,
        requested_by=by,
        now=fulfilment.now(),
        within=fulfilment.settings.confirm_within_seconds,
        dry_run=fulfilment.settings.dry_run,
        response_url=response_url,
    )
    request, fresh = await fulfilment.ledger.ask(asking)
    log.info("request_created", request=request.id, number=number.id, by=by, channel=channel, fresh=fresh)
    work = fulfilment.post_card(request) if fresh else fulfilment.point_to_card(request, response_url)
    fulfilment.tasks.after_ack(work)


def register(app: AsyncApp, services: Services) -> None:
    """Listen for the command."""

    @app.command(cards.COMMAND)
    async def unsubscribe_number(ack: AsyncAck, command: dict[str, Any]) -> None:
        """Ack an asking that may be made; it is recorded, and its card posted, in the background.

        Nobody has said yes to anything yet: an asking that a crash loses here is asked again. So a slow or locked
        database costs nobody the ack.
        """
        text = command.get("text") or ""
        has_list = services.numbers.path is not None
        action = parse_action(text, has_list=has_list)
        if action is Action.HELP:
            await answer_command(services, ack, command, cards.usage(services.access.rights(), listed=has_list))
            return
        user, channel = command["user_id"], command["channel_id"]
        await services.access.check(Person(user, command["team_id"]), channel)
        known = await services.numbers.current()
        if action is Action.CHOOSE:
            known.require_usable()
            await answer_command(services, ack, command, cards.picker())
        elif action is Action.HISTORY:
            found = await services.fulfilment.ledger.history(limit=HISTORY)
            await answer_command(services, ack, command, cards.history([request for request, _ in found]))
        else:
            target = parse_target(text, known)
            url = command.get("response_url")
            asking = ask(services, target.number, reason=target.reason, by=user, channel=channel, response_url=url)
            services.fulfilment.tasks.after_ack(reply_on_error(services, command, asking))
            await ack()

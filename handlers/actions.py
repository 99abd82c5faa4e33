"""The buttons of a card: look at the rights, record the press, ack, hand over."""

from __future__ import annotations

import re
from typing import Any

import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.context.ack.async_ack import AsyncAck

from bot.domain.access import Person
from bot.domain.models import Click, Request
from bot.errors import RequestDenied
from bot.views import cards, replies
from handlers.context import Services, tell_privately

log = structlog.get_logger("bot.buttons")
NO_RECORD = "The bot has no record of this request. Please ask again with the command."
VALUE = re.compile(r"([0-9a-f]{32}):([0-9]{1,6})")


def register(app: AsyncApp, services: Services) -> None:
    """Listen for the three buttons."""
    fulfilment = services.fulfilment

    @app.action(cards.UNSUBSCRIBE)
    @app.action(cards.TRY_AGAIN)
    async def unsubscribe(ack: AsyncAck, body: dict[str, Any], action: dict[str, Any]) -> None:
        """Record the yes and ack; the call is made in the background by the one press that was recorded."""
        press = await read(services, body, action)
        if (request := await fulfilment.confirm(press)) is not None:
            log.info("request_confirmed", request=request.id, by=press.by, attempt=request.attempt)
            fulfilment.tasks.after_ack(fulfilment.execute(request))
        else:
            services.access.check_decision(press.by, await find(services, press.request_id))
            await reject_stale_click(services, press, body)
        await ack()

    @app.action(cards.KEEP)
    async def keep(ack: AsyncAck, body: dict[str, Any], action: dict[str, Any]) -> None:
        """Record that the number is kept and ack; the card is closed in the background."""
        press = await read(services, body, action)
        if (kept := await fulfilment.ledger.keep(press)) is not None:
            log.info("request_kept", request=press.request_id, by=press.by)
            fulfilment.tasks.after_ack(fulfilment.deliver_now(kept))
        else:
            await reject_stale_click(services, press, body)
        await ack()


async def read(services: Services, body: dict[str, Any], action: dict[str, Any]) -> Click:
    """The press of a permitted person. Raises RequestDenied else.

    A person's own team decides, not the channel's: members of other companies can press buttons in a shared channel
    (https://docs.slack.dev/apis/slack-connect).
    """
    user = body["user"]
    value = VALUE.fullmatch(action["value"])
    about = value[1] if value else ""
    channel = body.get("channel", {}).get("id")  # in the App Home there is none: then the request's own counts
    person = Person(user["id"], user.get("team_id"))
    await services.access.check(person, channel, about)
    if value is None:
        raise RequestDenied(replies.UNKNOWN_BUTTON)
    if channel is None:
        await services.access.check(person, (await find(services, value[1])).channel, about)
    return Click(
        request_id=value[1],
        attempt=int(value[2]),
        by=user["id"],
        now=services.fulfilment.now(),
        channel=channel,
        card_ts=body["container"].get("message_ts"),
        response_url=body.get("response_url"),
    )


async def find(services: Services, request_id: str) -> Request:
    """The request of a press. Raises RequestDenied where there is none: another database, or a forged value."""
    request = await services.fulfilment.ledger.get(request_id)
    if request is None:
        raise RequestDenied(NO_RECORD)
    return request


async def reject_stale_click(services: Services, press: Click, body: dict[str, Any]) -> None:
    """Say who was first, or that it is too late, and bring the card up to date."""
    fulfilment = services.fulfilment
    request = await fulfilment.ledger.expire(press)
    if request is not None:
        fulfilment.tasks.after_ack(fulfilment.deliver_now(request))
    else:
        request = await find(services, press.request_id)
        fulfilment.tasks.after_ack(fulfilment.update_clicked_card(press))
    tell_privately(services, body, replies.stale_click(request))

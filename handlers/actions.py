"""The buttons of a card: check the access, store the click, ack, hand over."""

from __future__ import annotations

import re
from typing import Any

import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.context.ack.async_ack import AsyncAck

from bot.domain.models import Click, Request
from bot.errors import RequestDenied
from bot.service.access import Person
from bot.views import cards
from handlers.context import Services, reply_privately

log = structlog.get_logger("bot.actions")
NO_RECORD = "The bot has no record of this request. Please ask again with the command."
VALUE = re.compile(r"([0-9a-f]{32}):([0-9]{1,6})")


def register(app: AsyncApp, services: Services) -> None:
    """Listen for the three buttons."""

    @app.action(cards.UNSUBSCRIBE)
    @app.action(cards.TRY_AGAIN)
    async def unsubscribe(ack: AsyncAck, body: dict[str, Any], action: dict[str, Any]) -> None:
        """Store the confirmation and ack; the call is made in the background for the one click that was stored."""
        click = await read_click(services, body, action)
        if (request := await services.executor.confirm(click)) is not None:
            log.info("request_confirmed", request=request.id, by=click.by, attempt=request.attempt)
            services.tasks.after_ack(services.executor.execute(request))
        else:
            services.access.check_decision(click.by, await find(services, click.request_id))
            await reject_stale_click(services, click, body)
        await ack()

    @app.action(cards.KEEP)
    async def keep(ack: AsyncAck, body: dict[str, Any], action: dict[str, Any]) -> None:
        """Store that the number is kept and ack; the card is closed in the background."""
        click = await read_click(services, body, action)
        if (kept := await services.ledger.keep(click)) is not None:
            log.info("request_kept", request=click.request_id, by=click.by)
            deliver(services, kept)
        else:
            await reject_stale_click(services, click, body)
        await ack()


async def read_click(services: Services, body: dict[str, Any], action: dict[str, Any]) -> Click:
    """Return the click of a permitted person. Raise RequestDenied otherwise.

    A person's own team decides, not the channel's: members of other companies can click buttons in a shared channel
    (https://docs.slack.dev/apis/slack-connect).
    """
    user = body["user"]
    value = VALUE.fullmatch(action["value"])
    about = value[1] if value else ""
    channel = body.get("channel", {}).get("id")  # in the App Home there is none: then the request's own counts
    person = Person(user["id"], user.get("team_id"))
    await services.access.check(person, channel, about)
    if value is None:
        raise RequestDenied(cards.STRANGE_BUTTON)
    if channel is None:
        await services.access.check(person, (await find(services, value[1])).channel, about)
    return Click(
        request_id=value[1],
        attempt=int(value[2]),
        by=user["id"],
        now=services.now(),
        channel=channel,
        card_ts=body["container"].get("message_ts"),
        response_url=body.get("response_url"),
    )


async def find(services: Services, request_id: str) -> Request:
    """Return the request of a click. Raise RequestDenied if there is none: another database, or a forged value."""
    request = await services.ledger.get(request_id)
    if request is None:
        raise RequestDenied(NO_RECORD)
    return request


def deliver(services: Services, request: Request) -> None:
    """Deliver the outcome of a request that a click has just settled."""
    assert request.outcome is not None  # noqa: S101 - every request that the ledger settles has one
    services.tasks.after_ack(services.notifier.deliver(request.outcome, request))


async def reject_stale_click(services: Services, click: Click, body: dict[str, Any]) -> None:
    """Say who was first, or that the deadline has passed, and update the card."""
    request = await services.ledger.expire(click)
    if request is not None:
        deliver(services, request)
    else:
        request = await find(services, click.request_id)
        services.tasks.after_ack(services.notifier.update_clicked_card(click))
    reply_privately(services, body, cards.too_late(request))

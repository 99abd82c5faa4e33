"""The buttons of a card: look at the rights, record the press, ack, hand over."""

from __future__ import annotations

import re
from typing import Any

import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.context.ack.async_ack import AsyncAck

from bot import cards
from bot.access import Person
from bot.errors import Refusal
from bot.ledger import Press, Request
from handlers import Desk, tell_privately

log = structlog.get_logger("bot.buttons")
NO_RECORD = "The bot has no record of this request. Please ask again with the command."
VALUE = re.compile(r"([0-9a-f]{32}):([0-9]{1,6})")


def register(app: AsyncApp, desk: Desk) -> None:
    """Listen for the three buttons."""
    fulfilment = desk.fulfilment

    @app.action(cards.UNSUBSCRIBE)
    @app.action(cards.TRY_AGAIN)
    async def unsubscribe(ack: AsyncAck, body: dict[str, Any], action: dict[str, Any]) -> None:
        """Record the yes and ack; the call is made in the background by the one press that was recorded."""
        press = await read(desk, body, action)
        if (request := await fulfilment.confirm(press)) is not None:
            log.info("confirmed", request=request.id, by=press.by, attempt=request.attempt)
            fulfilment.tasks.after_ack(fulfilment.carry_out(request))
        else:
            desk.access.check_decision(press.by, await find(desk, press.request_id))
            await pressed_in_vain(desk, press, body)
        await ack()

    @app.action(cards.KEEP)
    async def keep(ack: AsyncAck, body: dict[str, Any], action: dict[str, Any]) -> None:
        """Record that the number is kept and ack; the card is closed in the background."""
        press = await read(desk, body, action)
        if (kept := await fulfilment.ledger.keep(press)) is not None:
            log.info("kept", request=press.request_id, by=press.by)
            fulfilment.tasks.after_ack(fulfilment.tell_now(kept))
        else:
            await pressed_in_vain(desk, press, body)
        await ack()


async def read(desk: Desk, body: dict[str, Any], action: dict[str, Any]) -> Press:
    """The press of a permitted person. Raises Refusal else.

    A person's own team decides, not the channel's: members of other companies can press buttons in a shared channel
    (https://docs.slack.dev/apis/slack-connect).
    """
    user = body["user"]
    value = VALUE.fullmatch(action["value"])
    about = value[1] if value else ""
    channel = body.get("channel", {}).get("id")  # in the App Home there is none: then the request's own counts
    person = Person(user["id"], user.get("team_id"))
    await desk.access.check(person, channel, about)
    if value is None:
        raise Refusal(cards.STRANGE_BUTTON)
    if channel is None:
        await desk.access.check(person, (await find(desk, value[1])).channel, about)
    return Press(
        request_id=value[1],
        attempt=int(value[2]),
        by=user["id"],
        now=desk.fulfilment.now(),
        channel=channel,
        card_ts=body["container"].get("message_ts"),
        reply_url=body.get("response_url"),
    )


async def find(desk: Desk, request_id: str) -> Request:
    """The request of a press. Raises Refusal where there is none: another database, or a forged value."""
    request = await desk.fulfilment.ledger.get(request_id)
    if request is None:
        raise Refusal(NO_RECORD)
    return request


async def pressed_in_vain(desk: Desk, press: Press, body: dict[str, Any]) -> None:
    """Say who was first, or that it is too late, and bring the card up to date."""
    fulfilment = desk.fulfilment
    request = await fulfilment.ledger.expire(press)
    if request is not None:
        fulfilment.tasks.after_ack(fulfilment.tell_now(request))
    else:
        request = await find(desk, press.request_id)
        fulfilment.tasks.after_ack(fulfilment.update_pressed_card(press))
    tell_privately(desk, body, cards.too_late(request))

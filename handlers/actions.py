"""The buttons of a card: check the access, store the click, ack, hand over."""

from __future__ import annotations

import re

import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_bolt.context.async_context import AsyncBoltContext

from bot.domain.access import Person, Right
from bot.domain.models import Click, Request
from bot.errors import RequestDeniedError
from bot.receivers.payloads import BlockActions
from bot.views import cards, replies
from handlers.context import Services, after_ack, payload_of, reply_privately

log = structlog.get_logger("bot.actions")
VALUE = re.compile(r"([0-9a-f]{32}):([0-9]{1,6})")


def register(app: AsyncApp, services: Services) -> None:
    """Listen for the three buttons."""

    @app.action(cards.UNSUBSCRIBE)
    @app.action(cards.TRY_AGAIN)
    async def unsubscribe(ack: AsyncAck, context: AsyncBoltContext) -> None:
        """Store the confirmation and ack; the call is made in the background for the one click that was stored."""
        click = await read_click(services, payload_of(context, BlockActions), Right.CONFIRM)
        await require_permitted(services, context, click)
        if (request := await services.executor.confirm(click)) is not None:
            log.info("request_confirmed", request=request.id, by=click.by, attempt=request.attempt)
            after_ack(context, services.executor.execute(request))
        else:
            services.access.check_decision(click.by, await find(services, click.request_id))
            await reject_stale_click(services, context, click)
        await ack()

    @app.action(cards.KEEP)
    async def keep(ack: AsyncAck, context: AsyncBoltContext) -> None:
        """Store that the number is kept and ack; the card is closed in the background."""
        click = await read_click(services, payload_of(context, BlockActions), Right.KEEP)
        if (kept := await services.ledger.keep(click)) is not None:
            log.info("request_kept", request=click.request_id, by=click.by)
            deliver(services, context, kept)
        else:
            await reject_stale_click(services, context, click)
        await ack()


async def read_click(services: Services, payload: BlockActions, right: Right) -> Click:
    """Return the click of a person who has this right. Raise RequestDeniedError otherwise.

    A person's own team decides, not the channel's: members of other companies can click buttons in a shared channel
    (https://docs.slack.dev/apis/slack-connect).
    """
    value = VALUE.fullmatch(payload.actions[0].value)
    about = value[1] if value else ""
    channel = payload.channel.id if payload.channel else None  # in the App Home there is none: the request's counts
    person = Person(payload.user.id, payload.user.team_id)
    await services.access.check(person, channel, right, about)
    if value is None:
        raise RequestDeniedError(replies.UNKNOWN_BUTTON)
    if channel is None:
        await services.access.check(person, (await find(services, value[1])).channel, right, about)
    return Click(
        request_id=value[1],
        attempt=int(value[2]),
        by=person.user_id,
        now=services.now(),
        channel=channel,
        card_ts=payload.container.message_ts,
        response_url=payload.response_url,
    )


async def require_permitted(services: Services, context: AsyncBoltContext, click: Click) -> None:
    """Look again whether the number can be unsubscribed: the list may have changed since it was requested.

    Raise NumbersFileError if the list has an error, and NumberProtectedError if it protects the number now. Such a
    request is kept by rule.
    """
    known = await services.numbers.current()
    if not known.errors and not known.protects:
        return  # as nearly always: the database is not read
    request = await find(services, click.request_id)
    if request.attempt != click.attempt or request.expires_at is None:
        return  # a late click, which confirms nothing and is answered as such
    number = known.of_id(request.number_id)
    if number.protected and (kept := await services.ledger.protect(click)) is not None:
        log.info("request_protected", request=click.request_id, by=click.by)
        deliver(services, context, kept)
    known.require_permitted(number)


async def find(services: Services, request_id: str) -> Request:
    """Return the request of a click. Raise RequestDeniedError if there is none: another database, or a forged value."""
    request = await services.ledger.get(request_id)
    if request is None:
        raise RequestDeniedError(replies.NO_RECORD)
    return request


def deliver(services: Services, context: AsyncBoltContext, request: Request) -> None:
    """Deliver the outcome of a request that a click has just settled."""
    assert request.outcome is not None  # noqa: S101 - every request that the ledger settles has one
    after_ack(context, services.notifier.deliver(request.outcome, request))


async def reject_stale_click(services: Services, context: AsyncBoltContext, click: Click) -> None:
    """Say who was first, or that the deadline has passed, and update the card."""
    request = await services.ledger.expire(click)
    if request is not None:
        deliver(services, context, request)
    else:
        request = await find(services, click.request_id)
        after_ack(context, services.notifier.update_clicked_card(click))
    reply_privately(services, context, replies.stale_click(request))

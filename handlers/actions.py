"""The buttons of a card: check the access, store the click, ack, hand over."""

from __future__ import annotations

import re

import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_bolt.context.async_context import AsyncBoltContext

from bot.domain.access import Person, Right
from bot.domain.models import Click, Message, Request
from bot.errors import RequestDeniedError
from bot.receivers.payloads import BlockActions, CardButton, User
from bot.views import cards, forms, replies
from handlers.context import Services, after_ack, check_access, payload_of, reply_privately

log = structlog.get_logger("bot.actions")
VALUE = re.compile(r"([0-9a-f]{32}):([0-9]{1,6})")


def register(app: AsyncApp, services: Services) -> None:
    """Listen for the three buttons."""

    @app.action(cards.UNSUBSCRIBE)
    @app.action(cards.TRY_AGAIN)
    async def unsubscribe(ack: AsyncAck, context: AsyncBoltContext) -> None:
        """Store the confirmation and ack; the call is made in the background for the one click that was stored.

        For a number with a warning it opens a form instead, which confirms when it is submitted.
        """
        payload = payload_of(context, BlockActions)
        click = await read_click(services, payload.user, payload.button, Right.CONFIRM, payload.response_url)
        if await confirm(services, context, click):
            await ack()
            return
        request = await find(services, click.request_id)
        services.access.check_decision(click.by, request)
        if request.warning and request.waits_for(click):
            form = forms.confirm_form(request, services.rules(), payload.button.model_dump_json())
            opening = services.notifier.open_form(
                click.by, payload.trigger_id, form, payload.response_url, otherwise=replies.CONFIRM_FORM_NOT_OPENED
            )
            after_ack(context, opening)
            after_ack(context, services.notifier.update_clicked_card(click))  # the form brings no response_url
        else:
            reply_privately(services, context, await reject_stale_click(services, context, click))
        await ack()

    @app.action(cards.KEEP)
    async def keep(ack: AsyncAck, context: AsyncBoltContext) -> None:
        """Store that the number is kept and ack; the card is closed in the background."""
        payload = payload_of(context, BlockActions)
        click = await read_click(services, payload.user, payload.button, Right.KEEP, payload.response_url)
        if (kept := await services.ledger.keep(click)) is not None:
            log.info("request_kept", request=click.request_id, by=click.by)
            deliver(services, context, kept)
        else:
            reply_privately(services, context, await reject_stale_click(services, context, click))
        await ack()


async def read_click(
    services: Services, user: User, button: CardButton, right: Right, response_url: str | None = None
) -> Click:
    """Return the click of a person who has this right. Raise RequestDeniedError otherwise.

    A person's own team decides, not the channel's: members of other companies can click buttons in a shared channel
    (https://docs.slack.dev/apis/slack-connect).
    """
    value = VALUE.fullmatch(button.value)
    about = value[1] if value else ""
    person = Person(user.id, user.team_id)
    await check_access(services, person, button.channel, right, about)
    if value is None:
        raise RequestDeniedError(replies.UNKNOWN_BUTTON)
    if button.channel is None:  # in the App Home there is none: the request's counts
        request = await find(services, value[1])
        await check_access(services, person, request.channel, right, about)
    return Click(
        request_id=value[1],
        attempt=int(value[2]),
        by=person.user_id,
        now=services.now(),
        channel=button.channel,
        card_ts=button.message_ts,
        response_url=response_url,
    )


async def confirm(services: Services, context: AsyncBoltContext, click: Click) -> bool:
    """Store a confirmation and hand its call over; False if this click could not confirm the request.

    Raise the errors of `require_permitted`.
    """
    await require_permitted(services, context, click)
    request = await services.executor.confirm(click)
    if request is None:
        return False
    log.info("request_confirmed", request=request.id, by=click.by, attempt=request.attempt)
    after_ack(context, services.executor.execute(request))
    return True


async def require_permitted(services: Services, context: AsyncBoltContext, click: Click) -> None:
    """Look again whether the number can be unsubscribed: the list may have changed since it was requested.

    Raise NumbersFileError if the list has an error, and NumberProtectedError if it protects the number now. Such a
    request is kept by rule.
    """
    known = await services.numbers.current()
    if not known.errors and not known.protects:
        return  # as nearly always: the database is not read
    request = await find(services, click.request_id)
    if not request.waits_for(click):
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


async def reject_stale_click(services: Services, context: AsyncBoltContext, click: Click) -> Message:
    """Update the card, and return who was first, or that the deadline has passed."""
    request = await services.ledger.expire(click)
    if request is not None:
        deliver(services, context, request)
    else:
        request = await find(services, click.request_id)
        after_ack(context, services.notifier.update_clicked_card(click))
    return replies.stale_click(request)

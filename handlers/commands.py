"""/unsubscribe-number: parse the text, check the access, ack; then store the request, and post its card."""

from __future__ import annotations

import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_bolt.context.async_context import AsyncBoltContext

from bot.domain.access import Person, Right
from bot.domain.commands import COMMAND, Action, parse_action, parse_target
from bot.domain.models import NewRequest
from bot.domain.numbers import Number
from bot.receivers.payloads import Command, Payload
from bot.views import forms, replies
from handlers.context import Services, after_ack, answer_command, check_access, payload_of, reply_on_error

log = structlog.get_logger("bot.commands")
HISTORY = 10


async def request_card(
    services: Services, number: Number, *, reason: str | None, by: str, channel: str, response_url: str | None
) -> None:
    """Store a request, and post its card, or the way to the one that is open. Runs after the ack.

    Nobody has confirmed anything yet: a request that a crash loses here is typed again. So a slow or locked database
    costs nobody the ack. Raise NumbersFileError if the list of numbers has an error, NumberProtectedError if it
    protects the number.
    """
    await services.acks_first.turn()
    known = await services.numbers.current()
    number = known.of_id(number.id)  # the list may have changed since the command was parsed
    known.require_permitted(number)
    new = NewRequest(
        number_id=number.id,
        phone=number.phone,
        label=number.label,
        warning=number.warning,
        reason=reason,
        channel=channel,
        requested_by=by,
        now=services.now(),
        within=services.settings.confirm_within_seconds,
        remind_before=services.settings.remind_before_seconds,
        dry_run=services.settings.dry_run,
        response_url=response_url,
    )
    request, is_new = await services.ledger.create_request(new)
    log.info("request_created", request=request.id, number=number.id, by=by, channel=channel, new=is_new)
    if is_new:
        await services.poster.post(request)
    else:
        await services.notifier.send_card_link(request, response_url)


async def open_request_form(
    services: Services,
    context: AsyncBoltContext,
    user: str,
    channel: str | None = None,
    number: Number | None = None,
) -> None:
    """Open the form of a request after the ack: the database is not asked before it is open.

    `channel` and `number` are chosen in it already. Raise NumbersFileError if the list of numbers has an error.
    """
    (await services.numbers.current()).require_usable()
    payload, listed = payload_of(context, Payload), services.numbers.path is not None
    form = forms.request_form(services.reasons, listed=listed, channel=channel, number=number)
    opening = services.notifier.open_form(
        user, payload.trigger_id, form, payload.response_url, otherwise=replies.REQUEST_FORM_NOT_OPENED
    )
    after_ack(context, opening)


def register(app: AsyncApp, services: Services) -> None:
    """Listen for the command."""

    @app.command(COMMAND)
    async def unsubscribe_number(ack: AsyncAck, context: AsyncBoltContext) -> None:
        """Answer help, history and the picker in the ack; ack a permitted request, which goes on in the background."""
        command = payload_of(context, Command)
        has_list = services.numbers.path is not None
        action = parse_action(command.text, can_choose=has_list or services.reasons.applies)
        if action is Action.HELP:
            usage = replies.usage(services.access.rights(), listed=has_list, rule=services.reasons)
            await answer_command(services, ack, context, usage)
            return
        right = Right.KEEP if action is Action.HISTORY else Right.REQUEST
        await check_access(services, Person(command.user_id, command.team_id), command.channel_id, right)
        known = await services.numbers.current()
        if action is Action.CHOOSE:
            if services.reasons.applies:
                await open_request_form(services, context, command.user_id, command.channel_id)
                await ack()
                return
            known.require_usable()
            await answer_command(services, ack, context, replies.picker())
        elif action is Action.HISTORY:
            found = await services.ledger.history(limit=HISTORY)
            await answer_command(services, ack, context, replies.history([request for request, _ in found]))
        else:
            target = parse_target(command.text, known, services.reasons)
            requesting = request_card(
                services,
                target.number,
                reason=target.reason,
                by=command.user_id,
                channel=command.channel_id,
                response_url=command.response_url,
            )
            after_ack(context, reply_on_error(services, command, requesting))
            await ack()

"""The forms: request a number with a reason, and confirm one that has a warning."""

from __future__ import annotations

from dataclasses import replace

from slack_bolt.async_app import AsyncApp
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_bolt.context.async_context import AsyncBoltContext

from bot.domain.access import Person, Right
from bot.domain.commands import parse_id
from bot.domain.numbers import Number, NumberList, are_last_digits
from bot.domain.reasons import clean
from bot.errors import NumberProtectedError, RequestDeniedError
from bot.receivers.payloads import BlockActions, Submission
from bot.views import blocks, forms, replies
from handlers.actions import confirm, find, read_click, reject_stale_click
from handlers.commands import open_request_form, request_card
from handlers.context import Services, after_ack, check_access, payload_of, reply_on_error


def register(app: AsyncApp, services: Services) -> None:
    """Listen for the button that opens the form of a request, and for both forms."""

    @app.action(forms.OPEN_REQUEST_FORM)
    async def open_form(ack: AsyncAck, context: AsyncBoltContext) -> None:
        """Open the form from the App Home."""
        payload = payload_of(context, BlockActions)
        await check_access(services, Person(payload.user.id, payload.user.team_id), None, Right.REQUEST)
        await open_request_form(services, context, payload.user.id)
        await ack()

    @app.view(forms.REQUEST_FORM)
    async def request(ack: AsyncAck, context: AsyncBoltContext) -> None:
        """Say at each field what is wrong with it, or ack; the request is then stored in the background."""
        payload = payload_of(context, Submission)
        channel = payload.field(forms.CHANNEL).selected_conversation
        await check_access(services, Person(payload.user.id, payload.user.team_id), channel, Right.REQUEST)
        known = await services.numbers.current()
        known.require_usable()
        number, reason = _number(payload, known), clean(payload.field(forms.REASON).value or "") or None
        problems = {
            forms.NUMBER: forms.NO_ID if number is None else str(NumberProtectedError()) if number.protected else None,
            forms.REASON: forms.reason_error(services.reasons, reason),
            forms.CHANNEL: None if channel else forms.NO_CHANNEL,
        }
        errors = {field: problem for field, problem in problems.items() if problem}
        if number is None or channel is None or errors:
            await ack(response_action="errors", errors=errors)
            return
        requesting = request_card(
            services,
            number,
            reason=reason,
            by=payload.user.id,
            channel=channel,
            response_url=payload.response_url,
        )
        after_ack(context, reply_on_error(services, payload, requesting))
        await ack()

    @app.view(forms.CONFIRM_FORM)
    async def confirm_number(ack: AsyncAck, context: AsyncBoltContext) -> None:
        """Confirm as a click does, if the last digits are right; else say so, and store nothing."""
        payload = payload_of(context, Submission)
        button = payload.view.private_metadata
        if button == "":
            raise RequestDeniedError(replies.UNKNOWN_FORM)
        click = replace(await read_click(services, payload.user, button, Right.CONFIRM), typed=True)
        request = await find(services, click.request_id)
        services.access.check_decision(click.by, request)
        typed = payload.field(forms.DIGITS).value or ""
        if request.waits_for(click) and not are_last_digits(typed, request.phone, request.number_id):
            await ack(response_action="errors", errors={forms.DIGITS: forms.digits_error(request)})
        elif await confirm(services, context, click):
            await ack()
        else:
            stale = await reject_stale_click(services, context, click)
            await ack(response_action="update", view=blocks.modal(replies.DIALOG, stale))


def _number(payload: Submission, known: NumberList) -> Number | None:
    """Return the number that was chosen in the menu, or whose id was typed; None if it is neither."""
    field = payload.field(forms.NUMBER)
    found = parse_id(field.value or "" if field.selected_option is None else field.selected_option.value)
    return None if found is None else known.of_id(found)

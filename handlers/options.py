"""The picker: what a person types in it filters the list of numbers, and the choice requests it."""

from __future__ import annotations

import contextlib
from bisect import bisect_left
from typing import Any

from slack_bolt.async_app import AsyncApp
from slack_bolt.context.ack.async_ack import AsyncAck
from slack_bolt.context.async_context import AsyncBoltContext

from bot.clients.slack import fits_in_ack
from bot.domain.access import Person, Right
from bot.domain.numbers import NUMBER_ID, Number
from bot.errors import LedgerError
from bot.receivers.payloads import BlockActions, Suggestion
from bot.views import replies
from bot.views.blocks import Block
from handlers.commands import open_request_form, request_card
from handlers.context import Services, after_ack, check_access, payload_of, reply_on_error


def register(app: AsyncApp, services: Services) -> None:
    """Listen for what is typed in the picker, and for the choice."""

    @app.options(replies.PICK)
    async def suggest(ack: AsyncAck, context: AsyncBoltContext) -> None:
        """Offer the numbers that fit what was typed, those with an open card marked."""
        payload = payload_of(context, Suggestion)
        await _check(services, payload)
        fitting = (await services.numbers.current()).search(payload.value)
        shown = fitting[: replies.MAX_OPTIONS]
        has_card: set[str] = set()
        with contextlib.suppress(LedgerError):  # the choice finds the open card without the mark too
            has_card = await services.ledger.open_numbers([number.id for number in shown], services.now())
        options = [replies.option(number, has_card=number.id in has_card) for number in shown]
        await ack(**_menu(options, len(fitting)))

    @app.action(replies.PICK)
    async def pick(ack: AsyncAck, context: AsyncBoltContext) -> None:
        """Ack the choice; the request for the number is stored in the background, and the picker makes way."""
        payload = payload_of(context, BlockActions)
        await _check(services, payload)
        chosen, channel = payload.actions[0].selected_option, payload.channel
        if chosen is not None and channel is not None and NUMBER_ID.fullmatch(chosen.value):
            number = (await services.numbers.current()).of_id(chosen.value)
            if services.reasons.applies:  # the picker is older than this setting
                await open_request_form(services, context, payload.user.id, channel.id, number)
                await ack()
                return
            after_ack(context, reply_on_error(services, payload, _request(services, payload, number, channel.id)))
        await ack()


def _menu(options: list[Block], total: int) -> dict[str, Any]:
    """Return the answer of the menu: every option, or as many as an ack can carry and a label that says so."""
    everything = {"options": options}
    if len(options) == total and fits_in_ack(everything):
        return everything

    def part(count: int) -> dict[str, Any]:
        return {"option_groups": [replies.option_group(options[:count], total)]}

    first_too_many = bisect_left(range(len(options) + 1), True, key=lambda count: not fits_in_ack(part(count)))
    return part(first_too_many - 1)


async def _check(services: Services, payload: Suggestion | BlockActions) -> None:
    channel = payload.channel.id if payload.channel else None
    await check_access(services, Person(payload.user.id, payload.user.team_id), channel, Right.REQUEST)


async def _request(services: Services, payload: BlockActions, number: Number, channel: str) -> None:
    """Request the chosen number; if that worked, the picker goes."""
    url = payload.response_url
    await request_card(services, number, reason=None, by=payload.user.id, channel=channel, response_url=url)
    if url is not None:
        await services.notifier.withdraw(url)

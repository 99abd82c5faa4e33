"""The picker: what a person types in it filters the list of numbers, and the choice asks for the card."""

from __future__ import annotations

import contextlib
from bisect import bisect_left
from typing import Any

from slack_bolt.async_app import AsyncApp
from slack_bolt.context.ack.async_ack import AsyncAck

from bot.clients.slack import fits_in_ack
from bot.domain.numbers import NUMBER_ID
from bot.errors import LedgerError, SlackError
from bot.service.access import Person
from bot.views import cards
from handlers.commands import ask
from handlers.context import Services

# https://docs.slack.dev/reference/interaction-payloads/block_suggestion-payload
MAX_OPTIONS = 100


def register(app: AsyncApp, services: Services) -> None:
    """Listen for what is typed in the picker, and for the choice."""

    @app.options(cards.PICK)
    async def suggest(ack: AsyncAck, body: dict[str, Any]) -> None:
        """The numbers that fit what was typed, those with an open card marked."""
        await _check(services, body)
        fitting = (await services.numbers.current()).search(body["value"])
        has_card: set[str] = set()
        with contextlib.suppress(LedgerError):  # the choice finds the open card without the mark too
            has_card = {r.number_id for r in await services.fulfilment.ledger.open_requests(services.fulfilment.now())}
        options = [
            cards.option(n.id, cards.name(n.phone, n.label), has_card=n.id in has_card) for n in fitting[:MAX_OPTIONS]
        ]
        await ack(**_menu(options, len(fitting)))

    @app.action(cards.PICK)
    async def pick(ack: AsyncAck, body: dict[str, Any], action: dict[str, Any]) -> None:
        """Record the asking for the chosen number and ack; the picker makes way for the card."""
        await _check(services, body)
        chosen = (action.get("selected_option") or {}).get("value", "")
        if NUMBER_ID.fullmatch(chosen):
            number = (await services.numbers.current()).of_id(chosen)
            url = body.get("response_url")
            channel = body["channel"]["id"]
            await ask(services, number, reason=None, by=body["user"]["id"], channel=channel, response_url=url)
            if url is not None:
                services.fulfilment.tasks.start(_withdraw(services, url))
        await ack()


def _menu(options: list[cards.Block], total: int) -> dict[str, Any]:
    """Return the answer of the menu: every option, or as many as an ack can carry and a label that says so."""
    everything = {"options": options}
    if len(options) == total and fits_in_ack(everything):
        return everything

    def part(count: int) -> dict[str, Any]:
        return {"option_groups": [cards.option_group(options[:count], total)]}

    first_too_many = bisect_left(range(len(options) + 1), True, key=lambda count: not fits_in_ack(part(count)))
    return part(first_too_many - 1)


async def _check(services: Services, body: dict[str, Any]) -> None:
    user = body["user"]
    await services.access.check(Person(user["id"], user.get("team_id")), body.get("channel", {}).get("id"))


async def _withdraw(services: Services, url: str) -> None:
    with contextlib.suppress(SlackError):  # a picker that stays can do no harm
        await services.fulfilment.slack.withdraw(url)

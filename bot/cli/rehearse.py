"""python -m bot rehearse: let Slack judge every message that the bot can send, before a person sees one."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeVar

import aiohttp

from bot.cli import samples
from bot.clients.slack import Slack
from bot.errors import BotError, SlackError
from bot.service.startup import identify, open_socket, unreachable
from bot.settings import Settings
from bot.views import blocks, cards, replies
from bot.views.cards import Rules

PING = b"rehearse"
# Seconds until Slack has greeted a new socket, and until it has answered a ping.
SOCKET_TIMEOUT = 10.0

T = TypeVar("T")


async def rehearse(settings: Settings, channel: str | None = None) -> bool:
    """Validate every message with the real token, post none, call no Cellcast; return whether Slack accepts all.

    With `channel` also post, update and delete one card there, and in Socket Mode open a socket and echo a frame.
    Print a line for each step. Raise StartError if Slack does not accept a token, and BotError if it cannot be reached.
    """
    slack = Slack(settings.slack_bot_token.get_secret_value(), settings.slack_api_url)
    try:
        await identify(slack)
        refused = 0
        for name, kind, payload in _payloads():
            faults = await _within_limits(partial(slack.validate, kind, payload))
            refused += bool(faults)
            print(f"FAIL  {name}: {'; '.join(faults)}" if faults else f"ok    {name}")
        fine = refused == 0
        if channel is not None:
            fine &= await _line(f"A card in {channel}", _play_card(slack, channel))
            if settings.slack_app_token is not None:
                app_token = settings.slack_app_token.get_secret_value()
                fine &= await _line("A socket", _echo(slack, app_token))
    except SlackError as error:
        raise BotError(unreachable(error) or f"Slack does not validate messages ({error.code}).") from None
    finally:
        await slack.close()
    print("Slack accepts everything." if fine else "Slack does not accept everything. Please report the lines above.")
    return fine


def _payloads() -> Iterator[tuple[str, Literal["message", "view"], dict[str, Any]]]:
    """Yield every message and view with its name, in the form that Slack validates."""
    for row in [*samples.rows(), *samples.longest(), samples.menu()]:
        name = f"{row.part}: {row.when}"
        if row.part == samples.HOME:
            yield name, "view", {"type": "home", "blocks": row.message.blocks}
        else:
            yield name, "message", {"blocks": row.message.blocks}  # Slack refuses the key "text" here
    yield (
        "The modal: after a click in the App Home",
        "view",
        blocks.modal(replies.DIALOG, blocks.private("It is kept.")),
    )


async def _within_limits(call: Callable[[], Awaitable[T]]) -> T:
    """Return the result of a call; if Slack limits requests, wait as long as it says and call again."""
    while True:
        try:
            return await call()
        except SlackError as error:
            if not error.retry_after:
                raise
            await asyncio.sleep(error.retry_after)


async def _play_card(slack: Slack, channel: str) -> str:
    card = cards.card(replace(samples.REQUEST, dry_run=True, reason="a rehearsal of the bot, nothing is sent"), Rules())
    ts = await slack.post(channel, card)
    try:
        await slack.update(channel, ts, card)
    finally:
        await slack.delete(channel, ts)
    return "posted, updated and deleted"


async def _echo(slack: Slack, app_token: str) -> str:
    """Open a socket and see whether Slack sends back what a ping carries."""
    url = await open_socket(slack, app_token)
    async with asyncio.timeout(SOCKET_TIMEOUT), slack.session.ws_connect(url, autoping=False) as socket:
        await socket.receive()  # Slack's hello
        await socket.ping(PING)
        while (await socket.receive()).data != PING:
            await socket.pong()  # a ping of Slack, which aiohttp leaves to us here
    return "opened, and Slack sent a frame back"


async def _line(name: str, step: Awaitable[str]) -> bool:
    try:
        print(f"ok    {name}: {await step}")
    except SlackError as error:
        print(f"FAIL  {name}: {unreachable(error) or f'Slack refused it ({error.code}).'}")
    except (BotError, aiohttp.ClientError, TimeoutError) as error:
        print(f"FAIL  {name}: {str(error) or type(error).__name__}")
    else:
        return True
    return False

"""python -m bot rehearse: let Slack judge every message that the bot can send, before a person sees one."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeVar

import aiohttp

from bot.cli import longest_samples, samples
from bot.clients.slack import Slack
from bot.domain.models import Message
from bot.domain.status import OutcomeCode
from bot.errors import BotError, SlackError
from bot.service.startup import identify, open_socket, unreachable
from bot.settings import APP_PAGE, Settings
from bot.views import audit, blocks, cards, replies
from bot.views.cards import Rules

PING = b"rehearse"
# Seconds until Slack has greeted a new socket and answered a ping, and until it has answered a close frame.
SOCKET_TIMEOUT, CLOSE_TIMEOUT = 10.0, 1.0
# The rehearsal ends after so many messages in a row without a judgement: the rest would take long and show no more.
MAX_UNJUDGED = 3

T = TypeVar("T")


async def rehearse(settings: Settings, channel: str | None = None) -> bool:
    """Validate every message with the real token, post none, call no Cellcast; return whether Slack accepts all.

    With `channel` also post, update and delete one card there, post and delete a line in the audit channel if there is
    one, and in Socket Mode open a socket and echo a frame.
    Print a line for each step. Raise StartError if Slack does not accept the token, and BotError if it judges nothing.
    """
    slack = Slack(settings.slack_bot_token.get_secret_value(), settings.slack_api_url)
    try:
        await identify(slack)
        fine = await _judge(slack)
        if channel is not None:
            fine &= await _play_card(slack, channel)
            if settings.audit_channel is not None:
                fine &= await _play_audit_line(slack, settings.audit_channel)
            if settings.slack_app_token is not None:
                fine &= await _line("Open a socket", _echo(slack, settings.slack_app_token.get_secret_value()))
    finally:
        await slack.close()
    _say("Slack accepts everything." if fine else "Slack does not accept everything. Please report the lines above.")
    return fine


async def _judge(slack: Slack) -> bool:
    """Validate every message. Raise BotError if Slack judges none of several in a row."""
    fine, unjudged = True, 0
    for name, kind, payload in _payloads():
        try:
            faults = await _within_limits(partial(slack.validate, kind, payload))
            unjudged = 0
        except SlackError as error:
            faults = [_why(error)]
            unjudged += 1
        fine &= _report(name, "; ".join(faults))
        if unjudged == MAX_UNJUDGED:
            raise BotError(f"The rehearsal ended: Slack judged none of the last {unjudged} messages. {faults[0]}")
    return fine


def _payloads() -> Iterator[tuple[str, Literal["message", "view"], dict[str, Any]]]:
    """Yield every message and view with its name, in the form that Slack validates."""
    for row in [*samples.rows(), *longest_samples.longest(), longest_samples.menu()]:
        name = f"{row.part}: {row.when}"
        if row.form is not None:
            yield name, "view", row.form
        elif row.part == samples.HOME:
            yield name, "view", {"type": "home", "blocks": row.message.blocks}
        else:
            yield name, "message", {"blocks": row.message.blocks}  # Slack refuses the key "text" here
    late = [replies.stale_click(request) for request, _ in longest_samples.longest_outcomes()]
    for when, message in {
        "after a late click in the App Home": replies.stale_click(samples.CONFIRMED),
        "the longest texts": max(late, key=lambda message: len(message.text)),
    }.items():
        yield f"The modal: {when}", "view", blocks.modal(replies.DIALOG, message)


async def _within_limits(call: Callable[[], Awaitable[T]]) -> T:
    """Return the result of a call; if Slack limits requests, wait as long as it says and call again."""
    while True:
        try:
            return await call()
        except SlackError as error:
            if not error.retry_after:
                raise
            _say(f"waiting {error.retry_after:g} s, because Slack limits requests")
            await asyncio.sleep(error.retry_after)


CONFIRMED = replace(samples.CONFIRMED, dry_run=True, reason="a rehearsal of the bot, nothing is sent")
ENDED = samples.ended(OutcomeCode.DRY_RUN, CONFIRMED)


class _Posted:
    """A message without buttons: it can do no harm where it is left.

    `left` is whether it may be in `channel`.
    """

    def __init__(self, slack: Slack, channel: str) -> None:
        self.slack, self.channel, self.ts, self.left = slack, channel, "", False

    async def post(self, message: Message) -> None:
        """Post it. `channel` is then what Slack's answer names."""
        self.left = True
        try:
            self.channel, self.ts = await _within_limits(partial(self.slack.post, self.channel, message))
        except SlackError as error:
            self.left = error.sent
            raise

    async def update(self, message: Message) -> None:
        """Show something else in it."""
        await _within_limits(partial(self.slack.update, self.channel, self.ts, message))

    async def delete(self) -> None:
        """Delete it."""
        await _within_limits(partial(self.slack.delete, self.channel, self.ts))
        self.left = False


async def _play_card(slack: Slack, channel: str) -> bool:
    card = _Posted(slack, channel)
    try:
        if not await _line(f"Post a card in {channel}", card.post(cards.card(CONFIRMED, Rules()))):
            return False
        updated = await _line("Update the card", card.update(cards.card(ENDED, Rules())))
        return await _line("Delete the card", card.delete()) and updated
    finally:  # after Ctrl-C too
        if card.left:
            _say(f"A card may be left in {card.channel}: delete it by hand.")


async def _play_audit_line(slack: Slack, channel: str) -> bool:
    assert ENDED.outcome is not None  # noqa: S101 - for mypy: a sample that has ended
    line = _Posted(slack, channel)
    try:
        posted = line.post(audit.line(ENDED, ENDED.outcome, samples.NAMES, None))
        return await _line(f"Post an audit line in {channel}", posted) and await _line(
            "Delete the audit line", line.delete()
        )
    finally:  # after Ctrl-C too
        if line.left:
            _say(f"An audit line may be left in {line.channel}: delete it by hand.")


async def _echo(slack: Slack, app_token: str) -> None:
    """Open a socket and see whether Slack greets it, and sends back what a ping carries.

    Raise BotError if Slack disconnects it, closes it, or sends a person's request there.
    """
    url = await open_socket(slack, app_token)
    closing = aiohttp.ClientWSTimeout(ws_close=CLOSE_TIMEOUT)
    async with (
        asyncio.timeout(SOCKET_TIMEOUT),
        slack.session.ws_connect(url, autoping=False, timeout=closing, proxy=slack.client.proxy) as socket,
    ):
        greeted = False
        async for frame in socket:  # until it is closed
            if frame.type is aiohttp.WSMsgType.PING:
                await socket.pong(frame.data)
            elif frame.data == PING:
                return
            else:
                greeted = _is_hello(str(frame.data)) or greeted
                if not greeted:
                    raise BotError("Slack did not greet it: the first frame is not a hello.")
                await socket.ping(PING)
    raise BotError("Slack closed it.")


def _is_hello(data: str) -> bool:
    """Return whether a frame is Slack's greeting. Raise BotError if it is a disconnect or a person's request.

    https://docs.slack.dev/apis/events-api/using-socket-mode
    """
    message = json.loads(data) if data.startswith("{") else {}
    if message.get("type") == "disconnect":
        reason = message.get("reason")
        step = f"Turn it on under {APP_PAGE} > Socket Mode." if reason == "link_disabled" else "Try again later."
        raise BotError(f"Slack disconnected it ({reason}). {step}")
    if "envelope_id" in message:
        raise BotError(
            "A person's request arrived here and got no answer, so Slack shows the person an error. "
            "Rehearse before you start the bot, or stop it first."
        )
    return message.get("type") == "hello"


async def _line(name: str, step: Awaitable[None]) -> bool:
    """Report on a step. An error of aiohttp has the socket's address in it, and in that the one-time ticket."""
    why = ""
    try:
        await step
    except SlackError as error:
        why = _why(error)
    except BotError as error:
        why = str(error)
    except TimeoutError:
        why = "Slack did not answer in time."
    except aiohttp.ClientResponseError as error:
        why = f"The connection failed ({type(error).__name__}, status {error.status})."
    except (aiohttp.ClientError, OSError, ValueError) as error:
        why = f"The connection failed ({type(error).__name__})."
    return _report(name, why)


def _why(error: SlackError) -> str:
    return unreachable(error) or f"Slack refused it ({error.code})."


def _report(name: str, why: str) -> bool:
    _say(f"FAIL  {name}: {why}" if why else f"ok    {name}")
    return not why


def _say(line: str) -> None:
    print(line, flush=True)  # at once, also into a pipe: the next line can take minutes

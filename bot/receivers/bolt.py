"""Bolt: its app for the one workspace, and how a request of Slack passes through it."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.authorization.async_authorize import AsyncAuthorize
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse

from bot.acks_first import AcksFirst
from bot.clients.slack import Slack
from bot.ops.metrics import Metrics
from bot.receivers import answers, payloads
from bot.service.notifier import Notifier
from bot.tasks import Tasks
from bot.views import blocks, replies

log = structlog.get_logger("bot.bolt")

# Seconds for everything the bot does before an ack: Slack takes none after 3 (ACK_LIMIT), and one database job gets
# ACK_TIMEOUT of them.
# https://docs.slack.dev/interactivity/handling-user-interaction#acknowledgment_response
ACK_BUDGET = 2.7

# Bolt reads these by itself: a stray SLACK_CLIENT_ID switches it to OAuth, and it drops the token it is given.
BOLT_VARIABLES = (
    "SLACK_BOT_TOKEN",
    "SLACK_SIGNING_SECRET",
    "SLACK_CLIENT_ID",
    "SLACK_CLIENT_SECRET",
    "SLACK_VERIFICATION_TOKEN",
)
# Writes an answer to Slack.
Send = Callable[[BoltResponse], Awaitable[None]]
# Answers a request of Slack by the given function; False if another replica should take it.
Receive = Callable[[dict[str, Any], Send], Coroutine[Any, Any, bool]]


class Dispatcher:
    """Hands each request of Slack to its listener, sends the answer, and starts the work that follows from it."""

    def __init__(
        self, app: AsyncApp, notifier: Notifier, tasks: Tasks, metrics: Metrics, acks_first: AcksFirst
    ) -> None:
        self._app, self._notifier, self._tasks, self._metrics = app, notifier, tasks, metrics
        self._acks_first = acks_first

    async def handle(self, body: dict[str, Any], send: Send) -> None:
        """Answer one request. From here on it is the same whether it was signed or came by the socket."""
        began = time.monotonic()
        # What a listener has handed over starts when its ack has been written: an ack is due within 3 seconds.
        after_ack: list[Coroutine[Any, Any, None]] = []
        try:
            with self._acks_first.due():
                await send(await self._answer(body, after_ack))
        finally:
            for work in after_ack:
                self._tasks.start(work)
        self._metrics.ack_duration.labels(answers.kind_of(body)).observe(time.monotonic() - began)

    async def _answer(self, body: dict[str, Any], after_ack: list[Coroutine[Any, Any, None]]) -> BoltResponse:
        try:
            payload = payloads.parse(body)
        except payloads.InvalidPayloadError as error:
            log.warning("payload_invalid", type=error.kind, fields=error.fields)
            reply = blocks.private(replies.UNREADABLE_PAYLOAD)
            after_ack.append(self._notifier.send_private(error.response_url, reply, error.trigger_id))
            return error.answer
        # "socket_mode" also for HTTP: Bolt then takes the parsed body as it is. Its own parsing loses a command whose
        # text contains "payload", and the signature was verified before.
        context = {"payload": payload, "after_ack": after_ack}
        request = AsyncBoltRequest(body=payload.for_bolt(), mode="socket_mode", context=context)
        try:
            async with asyncio.timeout(ACK_BUDGET):
                return await self._app.async_dispatch(request)
        except TimeoutError:
            kind = answers.kind_of(body)
            log.error("ack_budget_spent", type=kind, seconds=ACK_BUDGET)
            answer, needs_reply = answers.error_ack(kind, replies.TOO_SLOW)
            if needs_reply:
                reply = blocks.private(replies.TOO_SLOW)
                after_ack.append(self._notifier.send_private(payload.response_url, reply, payload.trigger_id))
            return answer


def make_app(slack: Slack, me: dict[str, Any]) -> AsyncApp:
    """Return Bolt's app for the one workspace: a listener's return is the answer, and nobody asks auth.test again."""
    for name in BOLT_VARIABLES:
        if os.environ.pop(name, None) is not None and "CLIENT" in name:
            log.warning("variable_ignored", name=name, why="this bot has one workspace and no OAuth")
    authorized = AuthorizeResult(
        enterprise_id=me.get("enterprise_id"),
        team_id=me["team_id"],
        bot_id=me.get("bot_id"),
        bot_user_id=me.get("user_id"),
        bot_token=slack.client.token,
    )
    return AsyncApp(
        name="cellcast-unsubscribe-bot",
        # With a token of its own Bolt would warn that the authorize function wins; every call uses `slack` anyway.
        client=type(slack.client)(base_url=slack.client.base_url, session=slack.session, retry_handlers=[]),
        authorize=_OneWorkspace(authorized),
        process_before_response=True,
        # http.py verifies each request before Bolt sees it; on the socket there is none to verify.
        request_verification_enabled=False,
        # The bot listens for no messages, not even its own, and for no functions of workflows.
        ignoring_self_events_enabled=False,
        attaching_function_token_enabled=False,
    )


class _OneWorkspace(AsyncAuthorize):
    """Authorizes every request for the one workspace. For a plain function Bolt would gather arguments each time."""

    def __init__(self, authorized: AuthorizeResult) -> None:
        self._authorized = authorized

    async def __call__(self, **_of_the_request: Any) -> AuthorizeResult:
        return self._authorized

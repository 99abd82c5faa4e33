"""Socket Mode: Slack's requests over a WebSocket that the bot opens. Loaded only where there is an app-level token."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine
from typing import Any

import structlog
from slack_bolt.response import BoltResponse
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest

from bot.clients.slack import FRAME_LIMIT, Slack, frame
from bot.errors import StartError
from bot.ops import health
from bot.receivers.bolt import Receive

log = structlog.get_logger("bot.socket_mode")

CONNECT_TIMEOUT = 15.0
CLOSE_TIMEOUT = 1.0  # seconds
ACK_LIMIT = 3.0  # seconds: Slack takes no ack later (https://docs.slack.dev/apis/events-api/using-socket-mode)


class Socket:
    """The bot's connection. `receive` answers a request, or leaves it to another replica, `greeted` hears a hello."""

    def __init__(self, slack: Slack, app_token: str, receive: Receive, greeted: Callable[[int], None]) -> None:
        self._receive, self._greeted = receive, greeted
        self._answering: set[asyncio.Task[bool]] = set()
        self.client = SocketModeClient(app_token, web_client=slack.client, ping_interval=health.PING_EVERY)
        self.client.socket_mode_request_listeners.append(self._hear)
        self.client.message_listeners.append(self._message)

    async def connect(self, url: str) -> None:
        """Connect to the address that Slack gave. Raises StartError where that is not possible."""
        self.client.wss_uri = url
        connecting: Coroutine[Any, Any, None] = self.client.connect()  # type: ignore[no-untyped-call]  # slack_sdk's
        try:
            await asyncio.wait_for(connecting, CONNECT_TIMEOUT)
        except TimeoutError:
            raise StartError(
                "Slack's socket cannot be reached (wss). Check the network and the proxy of this machine."
            ) from None

    async def close(self) -> None:
        """Close the connection as soon as everything that has arrived is answered, or after ACK_LIMIT."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ACK_LIMIT):
                while self._answering:  # what arrives meanwhile is answered too
                    await asyncio.wait(self._answering)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):  # a stalled socket never answers the close frame
                await self.client.disconnect()  # type: ignore[no-untyped-call]  # as above
        await self.client.close()  # type: ignore[no-untyped-call]  # as above

    async def problem(self) -> str | None:
        """Return what is wrong with the socket (closed, or no pong for too long); None if it works."""
        return None if await self.client.is_connected() else "the socket is closed, or hears nothing"

    async def _message(self, _client: AsyncBaseSocketModeClient, message: dict[str, Any], _raw: str | None) -> None:
        if message.get("type") == "hello":
            self._greeted(message.get("num_connections", 1))

    async def _hear(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        async def send(answer: BoltResponse) -> None:
            # Slack delivers an event again until it is acknowledged, so what the bot refuses gets an empty ack.
            has_payload = answer.status == 200 and answer.body.startswith("{")
            ack = frame(request.envelope_id, json.loads(answer.body) if has_payload else None)
            if (size := len(ack.encode())) >= FRAME_LIMIT:
                # The person sees no answer, but the socket stays open for everyone else.
                log.error("ack_too_large", bytes=size, limit=FRAME_LIMIT, type=request.type)
                ack = frame(request.envelope_id)
            # While the socket reconnects, send_message waits for as long as that takes. The work that follows the ack,
            # such as the call of a confirmation, must not.
            try:
                async with asyncio.timeout(ACK_LIMIT):
                    await client.send_message(ack)
            except (TimeoutError, ConnectionError):
                log.warning("ack_not_sent", type=request.type, why="the socket was reconnecting or closed")

        answering = asyncio.create_task(self._receive(request.payload, send))
        self._answering.add(answering)
        answering.add_done_callback(self._answering.discard)
        await answering

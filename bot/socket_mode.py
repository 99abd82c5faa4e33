"""Socket Mode: Slack's requests over a WebSocket that the bot opens. Loaded only where there is an app-level token."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from slack_bolt.adapter.socket_mode.async_internals import send_async_response
from slack_bolt.response import BoltResponse
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest

from bot import health
from bot.errors import StartError
from bot.slack import Slack

SECONDS = 15.0
Answer = Callable[[dict[str, Any]], Awaitable[BoltResponse | None]]


class Socket:
    """The bot's connection. `answer` answers a request or leaves it to another copy (None), `greeted` hears a hello."""

    def __init__(self, slack: Slack, app_token: str, answer: Answer, greeted: Callable[[int], None]) -> None:
        self._answer, self._greeted = answer, greeted
        self.client = SocketModeClient(app_token, web_client=slack.client, ping_interval=health.PING_EVERY)
        self.client.socket_mode_request_listeners.append(self._hear)
        self.client.message_listeners.append(self._message)

    async def connect(self, url: str) -> None:
        """Connect to the address that Slack gave. Raises StartError where that is not possible."""
        self.client.wss_uri = url
        connecting: Coroutine[Any, Any, None] = self.client.connect()  # type: ignore[no-untyped-call]  # slack_sdk's
        try:
            await asyncio.wait_for(connecting, SECONDS)
        except TimeoutError:
            raise StartError(
                "Slack's socket cannot be reached (wss). Check the network and the proxy of this machine."
            ) from None

    async def close(self) -> None:
        """Close the connection."""
        await self.client.close()  # type: ignore[no-untyped-call]  # as above

    async def trouble(self) -> str:
        """What is wrong with the socket, if anything: closed, or no pong for too long."""
        return "" if await self.client.is_connected() else "the socket is closed, or hears nothing"

    async def _message(self, _client: AsyncBaseSocketModeClient, message: dict[str, Any], _raw: str | None) -> None:
        if message.get("type") == "hello":
            self._greeted(message.get("num_connections", 1))

    async def _hear(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        if (answer := await self._answer(request.payload)) is not None:
            await send_async_response(client, request, answer, time.time())

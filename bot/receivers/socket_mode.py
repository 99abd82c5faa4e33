"""Socket Mode: Slack's requests over a WebSocket that the bot opens. Loaded only where there is an app-level token."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine
from typing import Any

import aiohttp
import structlog
from slack_bolt.response import BoltResponse
from slack_sdk.socket_mode.aiohttp import SocketModeClient
from slack_sdk.socket_mode.async_client import AsyncBaseSocketModeClient
from slack_sdk.socket_mode.request import SocketModeRequest

from bot.clients.slack import FRAME_LIMIT, Slack, frame
from bot.errors import SlackError, StartError
from bot.ops import health
from bot.receivers.bolt import Receive

log = structlog.get_logger("bot.socket_mode")

# Seconds. The second is for the new connection of a refresh: Slack may close the old one meanwhile.
CONNECT_TIMEOUT, REFRESH_TIMEOUT = 15.0, 5.0
CLOSE_TIMEOUT = 1.0  # seconds
ACK_LIMIT = 3.0  # seconds: Slack takes no ack later (https://docs.slack.dev/apis/events-api/using-socket-mode)
# With these reasons Slack announces that it will close a connection, every few hours. The same page describes them.
REFRESH = ("warning", "refresh_requested")
# After a refresh the old connection stays open until Slack closes it, but no longer than this many seconds.
REFRESH_LIMIT = 30.0


class Client(SocketModeClient):
    """slack_sdk's client, except that it leaves a refresh to `refresh`.

    slack_sdk closes the connection before it opens the next one, and whatever Slack sends in between is lost.
    """

    def __init__(self, refresh: Callable[[Client], None], app_token: str, slack: Slack) -> None:
        super().__init__(app_token, web_client=slack.client, ping_interval=health.PING_EVERY)
        self._refresh = refresh
        self.closed_by_slack = asyncio.Event()
        self.on_close_listeners.append(self._note_close)

    async def run_message_listeners(self, message: dict[str, Any], raw_message: str) -> None:
        """Handle a message of Slack. At any other disconnect slack_sdk opens a connection, also if it must not."""
        refresh = message.get("reason") in REFRESH or not self.auto_reconnect_enabled
        if message.get("type") == "disconnect" and refresh:
            self._refresh(self)
        else:
            await super().run_message_listeners(message, raw_message)

    def stop_reconnecting(self) -> None:
        """Open no other connection after this one. slack_sdk sets the second attribute from the first one at times."""
        self.default_auto_reconnect_enabled = self.auto_reconnect_enabled = False

    async def _note_close(self, _frame: aiohttp.WSMessage) -> None:
        self.closed_by_slack.set()


class Socket:
    """The bot's connection. `receive` answers a request, or leaves it to another replica.

    At each hello `greeted` gets the number of the app's connections that Slack counts besides those of this bot.
    """

    def __init__(self, slack: Slack, app_token: str, receive: Receive, greeted: Callable[[int], None]) -> None:
        self._slack, self._app_token = slack, app_token
        self._receive, self._greeted = receive, greeted
        self._answering: set[asyncio.Task[bool]] = set()
        self._refreshing: set[asyncio.Task[None]] = set()
        self._clients: list[Client] = []  # more than one only during a refresh
        self.client = self._new_client()

    def _new_client(self) -> Client:
        client = Client(self._refresh, self._app_token, self._slack)
        client.socket_mode_request_listeners.append(self._hear)
        client.message_listeners.append(self._message)
        self._clients.append(client)
        return client

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
        for client in self._clients:
            client.stop_reconnecting()
        for refreshing in self._refreshing:
            refreshing.cancel()
        await asyncio.gather(*self._refreshing, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ACK_LIMIT):
                while self._answering:  # what arrives meanwhile is answered too
                    await asyncio.wait(self._answering)
        await asyncio.gather(*map(self._close, list(self._clients)))

    async def _close(self, client: Client) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):  # a stalled socket never answers the close frame
                await client.disconnect()  # type: ignore[no-untyped-call]  # as above
        await client.close()  # type: ignore[no-untyped-call]  # as above
        self._clients.remove(client)  # at the end: a stop that interrupts this closes it again

    def _refresh(self, client: Client) -> None:
        """Replace a connection that Slack will close soon. Slack can announce that twice."""
        if client is self.client and client.auto_reconnect_enabled:
            client.stop_reconnecting()
            refreshing = asyncio.create_task(self._replace(client))
            self._refreshing.add(refreshing)
            refreshing.add_done_callback(self._refreshing.discard)

    async def _replace(self, old: Client) -> None:
        new = self._new_client()
        try:
            new.wss_uri = await self._slack.open_socket(self._app_token)
            async with asyncio.timeout(REFRESH_TIMEOUT):
                await new.connect()  # type: ignore[no-untyped-call]  # as above
        except (SlackError, TimeoutError) as error:
            log.warning("socket_refresh_failed", error=str(error) or type(error).__name__)
            # slack_sdk reconnects when Slack has closed the connection.
            old.default_auto_reconnect_enabled = old.auto_reconnect_enabled = True
            await self._close(new)
            return
        self.client = new
        # Until Slack closes the old connection, requests can arrive on both.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(REFRESH_LIMIT):
                await old.closed_by_slack.wait()
        await self._close(old)

    async def problem(self) -> str | None:
        """Return what is wrong with the socket (closed, or no pong for too long); None if it works."""
        return None if await self.client.is_connected() else "the socket is closed, or hears nothing"

    async def _message(self, _client: AsyncBaseSocketModeClient, message: dict[str, Any], _raw: str | None) -> None:
        if message.get("type") == "hello":
            own = sum(c.current_session is not None and not c.current_session.closed for c in self._clients)
            self._greeted(max(message.get("num_connections", 1) - own, 0))

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
                    await self._send(client, ack)
            except (TimeoutError, ConnectionError):
                log.warning("ack_not_sent", type=request.type, why="the socket was reconnecting or closed")

        answering = asyncio.create_task(self._receive(request.payload, send))
        self._answering.add(answering)
        answering.add_done_callback(self._answering.discard)
        await answering

    async def _send(self, client: AsyncBaseSocketModeClient, ack: str) -> None:
        try:
            await client.send_message(ack)
        except ConnectionError:
            await self.client.send_message(ack)  # after a refresh this is another one; slack_sdk does the same

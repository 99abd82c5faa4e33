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

# Seconds. The second is for a later connection: until there is one, the bot may hear nothing.
CONNECT_TIMEOUT, RECONNECT_TIMEOUT = 15.0, 5.0
CLOSE_TIMEOUT = 1.0  # seconds
ACK_LIMIT = 3.0  # seconds: Slack takes no ack later (https://docs.slack.dev/apis/events-api/using-socket-mode)
# With these reasons Slack announces that it will close a connection, every few hours. The same page describes them.
REFRESH = ("warning", "refresh_requested")
# After a refresh the old connection stays open until Slack closes it, but no longer than this many seconds.
REFRESH_LIMIT = 30.0
# Seconds from a connection that failed to the next: doubling from the first to the longest.
FIRST_WAIT, LONGEST_WAIT = 1.0, 30.0


class Client(SocketModeClient):
    """One connection. It tells `lost` when it ends or will end soon, and never reconnects by itself.

    slack_sdk's own client closes one before it opens the next, so that whatever Slack sends in between is lost. If a
    handshake fails, it logs the address and tries it again for ever, although each is good for one connection.
    """

    def __init__(self, lost: Callable[[Client, bool], None], app_token: str, slack: Slack) -> None:
        super().__init__(
            app_token, web_client=slack.client, ping_interval=health.PING_EVERY, auto_reconnect_enabled=False
        )
        self._lost = lost
        self.ended = asyncio.Event()
        self.on_close_listeners.append(self._end)

    async def open(self, url: str, seconds: float) -> None:
        """Open the connection. Raise TimeoutError, or aiohttp.ClientError, which holds the address: don't show it."""
        async with asyncio.timeout(seconds):
            self.current_session = await self.aiohttp_client_session.ws_connect(
                url, autoping=False, heartbeat=self.ping_interval, proxy=self.proxy
            )
        self.current_session_monitor = asyncio.ensure_future(self.monitor_current_session())  # it sends pings
        self.message_receiver = asyncio.ensure_future(self.receive_messages())

    async def run_message_listeners(self, message: dict[str, Any], raw_message: str) -> None:
        """Handle a message of Slack."""
        if message.get("type") == "disconnect":
            self._lost(self, message.get("reason") in REFRESH)
        else:
            await super().run_message_listeners(message, raw_message)

    async def _end(self, _frame: aiohttp.WSMessage) -> None:
        self.ended.set()
        self._lost(self, False)


class Socket:
    """The bot's connection. `receive` answers a request, or leaves it to another replica.

    At each hello `greeted` gets the number of the app's connections that Slack counts besides those of this bot.
    """

    def __init__(self, slack: Slack, app_token: str, receive: Receive, greeted: Callable[[int], None]) -> None:
        self._slack, self._app_token = slack, app_token
        self._receive, self._greeted = receive, greeted
        self._answering: set[asyncio.Task[bool]] = set()
        self._work: set[asyncio.Task[None]] = set()  # connections that are being replaced, and the watch
        self._clients: list[Client] = []  # more than one only during a refresh
        self._replaced: Client | None = None
        self._open = asyncio.Event()  # not set while there is no connection, and a new one is on its way
        self.client = self._new_client()

    def _new_client(self) -> Client:
        client = Client(self._lost, self._app_token, self._slack)
        client.socket_mode_request_listeners.append(self._hear)
        client.message_listeners.append(self._message)
        self._clients.append(client)
        return client

    async def connect(self, url: str) -> None:
        """Connect to the address that Slack gave. Raises StartError where that is not possible."""
        try:
            await self.client.open(url, CONNECT_TIMEOUT)
        except (aiohttp.ClientError, TimeoutError) as error:
            raise StartError(
                f"Slack's socket cannot be reached (wss, {type(error).__name__}). Check the network and the proxy of "
                "this machine."
            ) from None
        self._open.set()
        self._start(self._watch())

    async def close(self) -> None:
        """Close the connection as soon as everything that has arrived is answered, or after ACK_LIMIT."""
        self._replaced = self.client  # from now on nothing replaces it
        for work in self._work:
            work.cancel()
        await asyncio.gather(*self._work, return_exceptions=True)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(ACK_LIMIT):
                while self._answering:  # what arrives meanwhile is answered too
                    await asyncio.wait(self._answering)
        await asyncio.gather(*map(self._close, list(self._clients)))

    async def _close(self, client: Client) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_TIMEOUT):  # a stalled socket never answers the close frame
                await client.disconnect()  # type: ignore[no-untyped-call]  # slack_sdk's
        await client.close()  # type: ignore[no-untyped-call]  # as above
        self._clients.remove(client)  # at the end: a stop that interrupts this closes it again

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(work)
        self._work.add(task)
        task.add_done_callback(self._work.discard)

    async def _watch(self) -> None:
        """Notice a connection that hears nothing, or ended without a word."""
        while True:
            await asyncio.sleep(health.PING_EVERY)
            if not await self.client.is_connected():
                self._lost(self.client, False)

    def _lost(self, client: Client, announced: bool) -> None:
        """Replace a connection that has ended, or that Slack has `announced` to close soon; once, if told again."""
        if client is self.client and client is not self._replaced:
            self._replaced = client
            if not announced:
                self._open.clear()
            self._start(self._replace(client, announced))

    async def _replace(self, old: Client, announced: bool) -> None:
        if not announced:  # Slack may count it among too many
            await self._close(old)
        self.client = await self._connected()
        self._open.set()
        if announced:  # until Slack closes the old connection, requests can arrive on both
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(REFRESH_LIMIT):
                    await old.ended.wait()
            await self._close(old)

    async def _connected(self) -> Client:
        """Return a new connection, however long that takes."""
        wait = FIRST_WAIT
        while True:
            client = self._new_client()
            try:
                await client.open(await self._slack.open_socket(self._app_token), RECONNECT_TIMEOUT)
            except (SlackError, aiohttp.ClientError, TimeoutError) as error:
                why = str(error) if isinstance(error, SlackError) else type(error).__name__
                log.warning("socket_reconnect_failed", error=why, wait=wait)
                await self._close(client)
                await asyncio.sleep(wait)
                wait = min(2 * wait, LONGEST_WAIT)
            else:
                return client

    async def problem(self) -> str | None:
        """Return what is wrong with the socket (closed, or no pong for too long); None if it works."""
        return None if await self.client.is_connected() else "the socket is closed, or hears nothing"

    async def _message(self, _client: AsyncBaseSocketModeClient, message: dict[str, Any], _raw: str | None) -> None:
        if message.get("type") == "hello":
            own = sum(c.current_session is not None and not c.current_session.closed for c in self._clients)
            self._greeted(max(message.get("num_connections", 1) - own, 0))

    async def _hear(self, client: AsyncBaseSocketModeClient, request: SocketModeRequest) -> None:
        assert isinstance(client, Client)  # noqa: S101 - each calls only its own listeners

        async def send(answer: BoltResponse) -> None:
            # Slack delivers an event again until it is acknowledged, so what the bot refuses gets an empty ack.
            has_payload = answer.status == 200 and answer.body.startswith("{")
            ack = frame(request.envelope_id, json.loads(answer.body) if has_payload else None)
            if (size := len(ack.encode())) >= FRAME_LIMIT:
                # The person sees no answer, but the socket stays open for everyone else.
                log.error("ack_too_large", bytes=size, limit=FRAME_LIMIT, type=request.type)
                ack = frame(request.envelope_id)
            # While the socket reconnects, `_send` waits for as long as that takes. The work that follows the ack, such
            # as the call of a confirmation, must not.
            try:
                async with asyncio.timeout(ACK_LIMIT):
                    await self._send(client, ack)
            except (TimeoutError, ConnectionError):
                log.warning("ack_not_sent", type=request.type, why="the socket was reconnecting or closed")

        answering = asyncio.create_task(self._receive(request.payload, send))
        self._answering.add(answering)
        answering.add_done_callback(self._answering.discard)
        await answering

    async def _send(self, client: Client, ack: str) -> None:
        try:
            await client.send_message(ack)
        except ConnectionError:  # Slack takes the ack from a later connection too
            self._lost(client, False)
            await self._open.wait()
            await self.client.send_message(ack)

"""Socket Mode: the sockets that the bot opens, and the envelopes that Slack sends through them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
from typing import Any

import aiohttp
from aiohttp import web

from sandbox.server import drop, hang
from sandbox.slack_models import FRAME_BYTES
from sandbox.slack_state import State

FRAME_TOO_LARGE = f"Max frame length of {FRAME_BYTES} has been exceeded"


class SocketMode(State):
    """The server's end of every socket. `deaf` makes a socket that is opened next ignore pings.

    `faults["socket"]` are for the sockets to come: "hang" and "403" answer the handshake, "close" follows it.
    """

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        self.deaf = False
        self.greeting: list[str] = []  # the frames that a new socket gets, if not a hello
        self.going = 0  # connections that a hello still counts although they are closing
        self.next_socket = -1  # the socket that gets the next payload, as an index; Slack may choose any
        # Slack closes a socket some seconds after it has asked for a refresh, whether there is another one or not.
        self.refresh_seconds = 0.2
        self._closing: set[asyncio.Task[bool]] = set()
        self.opened = 0
        self._sockets: list[web.WebSocketResponse] = []
        self._socket_requests: list[web.Request] = []
        self._envelopes: dict[str, asyncio.Future[Any]] = {}
        self._app.router.add_get("/socket/{ticket}", self._socket)

    @property
    def connected(self) -> int:
        """The number of sockets that the bot holds open."""
        return len(self._sockets)

    async def drop_sockets(self) -> None:
        """Break every socket without a close frame."""
        for request in list(self._socket_requests):
            drop(request)

    async def refresh_sockets(self) -> None:
        """Ask the bot twice to reconnect, as Slack does every few hours, and close its sockets soon after that.

        https://docs.slack.dev/apis/events-api/using-socket-mode
        """
        for socket in list(self._sockets):
            for reason in ("warning", "refresh_requested"):
                await socket.send_json({"type": "disconnect", "reason": reason, "debug_info": {"host": "fake"}})
            closing = asyncio.create_task(self._close_later(socket))
            self._closing.add(closing)
            closing.add_done_callback(self._closing.discard)

    async def close_sockets(self) -> None:
        """Close every socket without a warning."""
        for socket in list(self._sockets):
            await socket.close()

    async def disconnect(self, reason: str) -> None:
        """Tell the bot through `next_socket` that this socket will be closed."""
        await self._sockets[self.next_socket].send_json({"type": "disconnect", "reason": reason})

    async def _close_later(self, socket: web.WebSocketResponse) -> bool:
        await asyncio.sleep(self.refresh_seconds)
        return await socket.close()

    async def _by_socket(self, kind: str, payload: dict[str, Any]) -> tuple[int, str]:
        """Send a payload through one socket, and wait for its ack."""
        envelope = secrets.token_hex(8)
        self._envelopes[envelope] = asyncio.get_running_loop().create_future()
        await self._sockets[self.next_socket].send_json(
            {"type": kind, "envelope_id": envelope, "accepts_response_payload": True, "payload": payload}
        )
        answer = await self._envelopes[envelope]
        return 200, json.dumps(answer) if answer else ""

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        if request.match_info["ticket"] not in self._tickets:
            raise web.HTTPForbidden
        self._tickets.discard(request.match_info["ticket"])
        fault = self.faults["socket"].popleft() if self.faults["socket"] else ""
        if fault == "hang":
            await hang()
        if fault == "403":
            raise web.HTTPForbidden
        await self.on_step("before socket")
        socket = web.WebSocketResponse(autoping=not self.deaf)
        await socket.prepare(request)
        self._sockets.append(socket)
        self._socket_requests.append(request)
        self.opened += 1
        hello = json.dumps({"type": "hello", "num_connections": len(self._sockets) + self.going})
        for frame in self.greeting or [hello]:
            await socket.send_str(frame)
        await socket.ping(b"Ping from Slack")
        if fault == "close":
            await socket.close()
        await self._wake()
        async for message in socket:
            # A deaf socket receives pings too, and does not answer them.
            if message.type is aiohttp.WSMsgType.TEXT and not self._take_ack(message.data):
                break
        self._sockets.remove(socket)
        self._socket_requests.remove(request)
        await self._wake()
        if not socket.closed:
            await socket.close(code=aiohttp.WSCloseCode.MESSAGE_TOO_BIG, message=FRAME_TOO_LARGE.encode())
        return socket

    def _take_ack(self, data: str) -> bool:
        """Hand an ack to `_by_socket`. Returns False if the frame is too large, which ends the socket."""
        answer = json.loads(data)
        size = len(data.encode())
        with contextlib.suppress(asyncio.InvalidStateError):  # the ack came too late
            if size < FRAME_BYTES:
                self._envelopes[answer["envelope_id"]].set_result(answer.get("payload"))
            else:
                # The ack is lost. Slack waits for the rest of the 3 s; tests don't have to.
                self._envelopes[answer["envelope_id"]].set_exception(TimeoutError(FRAME_TOO_LARGE))
        if size >= FRAME_BYTES:
            self.broken_rules.append(f"a frame of {size} bytes: {FRAME_TOO_LARGE}")
        return size < FRAME_BYTES

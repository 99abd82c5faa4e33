"""A fake Cellcast: it answers as Cellcast documents, or as a test wants, and records the calls that reached it."""

from __future__ import annotations

import asyncio
import json
import re
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from sandbox.server import Server, Step, drop, hang, nothing
from sandbox.wire import Wire

SUCCESS = "Virtual number has been unsubscribed successfully."
STACK = "ApiError-stack-of-the-server at /srv/app/number.js:42"
ROUTE = "/api/v1/apiClient/virtual-number/unsubscribe/{id}"


def envelope(message: str = SUCCESS, **fields: Any) -> dict[str, Any]:
    """Return the documented envelope of an answer."""
    usual = {
        "app_type": "web",
        "app_version": "1.0",
        "maintainence": 0,
        "new_version": 0,
        "force_update": 0,
        "invalid_token": 0,
        "refresh_token": "",
        "show_message": 1,
        "is_enc": False,
        "status": True,
        "message": message,
        "message_type": "toast",
        "data": {},
        "error": {},
    }
    return usual | fields


def failure(code: int, message: str) -> dict[str, Any]:
    """Return the documented error shape, with the server's stack, which people must not see."""
    return {"code": code, "message": message, "stack": f"{message} {STACK}"}


@dataclass(frozen=True)
class Answer:
    """One answer: a status with a body, or a fault (`hang`, `drop`, `truncate`), after so many seconds."""

    status: int = 200
    body: dict[str, Any] | bytes = field(default_factory=envelope)
    headers: dict[str, str] = field(default_factory=dict)
    fault: str = ""
    after: float = 0.0

    @property
    def payload(self) -> bytes:
        """The body's bytes."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


# The choices on the demo page.
ANSWERS = {
    "fine": Answer(),
    "fine, after 4 s": Answer(after=4.0),
    "unknown number": Answer(404, failure(404, "Virtual number not found")),
    "expired key": Answer(401, failure(401, "Token expired")),
    "timeout": Answer(fault="hang"),
    "server error": Answer(500, failure(500, "Internal server error")),
}


@dataclass(frozen=True)
class Call:
    """One request that reached Cellcast."""

    number_id: str
    headers: dict[str, str]
    body: bytes


class Cellcast:
    """The server of the fake. `calls` reached it; `next` holds the answers to come, then `ANSWERS["fine"]`."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.calls: list[Call] = []
        self.next: deque[Answer] = deque()
        self.wire = Wire()
        self.on_step: Step = nothing
        self.hold: asyncio.Event | None = None  # if set, each answer waits for it
        self.called = asyncio.Event()  # set by each request that reaches it
        self.compresses = False  # if set, it compresses what a client accepts compressed
        self.account_name = "Stand-in Pty Ltd"
        self.key_answer: Answer | None = None  # if set, its answer to the question whether a key is valid
        app = web.Application()
        app.router.add_put(ROUTE, self._unsubscribe)
        app.router.add_get("/api/v1/user/token/verify", self._verify)
        app.router.add_get("/api/v1/apiClient/account", self._account)
        self._server = Server(app)

    @property
    def url(self) -> str:
        """The base URL."""
        return self._server.url

    async def start(self, port: int = 0) -> None:
        """Listen; on any free port if `port` is 0."""
        await self._server.start(port)

    async def stop(self) -> None:
        """Stop listening."""
        await self._server.stop()

    async def _unsubscribe(self, request: web.Request) -> web.StreamResponse:
        self.calls.append(Call(request.match_info["id"], dict(request.headers), await request.read()))
        self.called.set()
        step = self.wire.begin("cellcast", f"PUT …/virtual-number/unsubscribe/{request.match_info['id']}")
        answer = await self._answer(request)
        if answer.fault:
            step.result = "no answer"
        else:
            self.wire.end(step, f"{answer.status} {_said(answer)}")
        return await self._give(request, answer)

    async def _answer(self, request: web.Request) -> Answer:
        if not self._knows(request):
            return ANSWERS["expired key"]
        if not re.fullmatch("[0-9a-f]{24}", request.match_info["id"]):
            return Answer(400, failure(400, "Invalid id"))
        await self.on_step("before the call")
        answer = self.next.popleft() if self.next else ANSWERS["fine"]
        if self.hold is not None:
            await self.hold.wait()
        await asyncio.sleep(answer.after)
        return answer

    async def _give(self, request: web.Request, answer: Answer) -> web.StreamResponse:
        if answer.fault == "hang":
            return await hang()
        if answer.fault == "drop":
            drop(request)
        if answer.fault == "truncate":
            half = web.StreamResponse(headers={"Content-Length": str(len(answer.payload))})
            await half.prepare(request)
            await half.write(answer.payload[: len(answer.payload) // 2])
            drop(request)
            return half
        await self.on_step("after the call")
        reply = _reply(answer)
        if self.compresses:
            reply.enable_compression()
        return reply

    def _knows(self, request: web.Request) -> bool:
        return request.headers.get("Authorization") == f"Bearer {self.key}"

    async def _verify(self, request: web.Request) -> web.Response:
        if self.key_answer is not None:
            return _reply(self.key_answer)
        if not self._knows(request):
            return _reply(ANSWERS["expired key"])
        return _reply(Answer(body=envelope("Token verified successfully!", data={"token": self.key})))

    async def _account(self, request: web.Request) -> web.Response:
        if not self._knows(request):
            return _reply(ANSWERS["expired key"])
        data = {
            "account_name": self.account_name,
            "account_email": "a@example.com",
            "sms_balance": 9972.2,
            "mms_balance": 10000,
        }
        meta = {"code": 200, "status": "SUCCESS"}
        return _reply(Answer(body={"meta": meta, "message": "Here it is", "data": data, "error": {}}))


def _said(answer: Answer) -> str:
    return str(answer.body.get("message", "")) if isinstance(answer.body, dict) else ""


def _reply(answer: Answer) -> web.Response:
    headers = {"Content-Type": "application/json"} | answer.headers
    return web.Response(status=answer.status, body=answer.payload, headers=headers)

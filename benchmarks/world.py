"""A Slack and a Cellcast that only take their time (30 and 150 ms), and people who send signed requests in bursts."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode

import aiohttp
from aiohttp import web
from slack_sdk.signature import SignatureVerifier

SLACK_SECONDS, CELLCAST_SECONDS = 0.030, 0.150
SECRET, TOKEN, KEY = "0123456789abcdef0123456789abcdef", "xoxb-benchmark", "benchmark-key"
TEAM, ANA, BEN = "T0BENCH", "U0ANA", "U0BEN"
TOAST = "Virtual number has been unsubscribed successfully."
# Slack shows operation_timeout after this.
LATE_SECONDS = 3.0
# What counts as no answer at all.
NEVER = 60.0


def channel_of(number: str) -> str:
    """Return the channel of a number: one for each, because a channel takes only about one message a second."""
    return f"C0{number[-8:].upper()}"


@dataclass
class Card:
    """A card that was posted: its place, its text and its buttons."""

    ts: str
    text: str
    blocks: list[dict[str, Any]]


@dataclass
class World:
    """The fakes: `cards` by the number's id, `toasts` when each came, `hang` Cellcast's seconds if set."""

    hang: float = 0.0
    cards: dict[str, Card] = field(default_factory=dict)
    toasts: dict[str, float] = field(default_factory=dict)
    calls: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def __post_init__(self) -> None:
        self._ts = itertools.count(1)
        self._verifier = SignatureVerifier(SECRET)
        self._changed = asyncio.Event()
        self._busy = 0
        app = web.Application()
        app.router.add_post("/api/{method}", self._api)
        app.router.add_post("/response", self._respond)
        app.router.add_put("/api/v1/apiClient/virtual-number/unsubscribe/{id}", self._call)
        app.router.add_get("/api/v1/apiClient/account", self._account)
        app.router.add_get("/socket", self._listen)
        self._socket: web.WebSocketResponse | None = None
        self._acks: dict[str, asyncio.Future[None]] = {}
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)

    async def start(self) -> None:
        """Listen on a free port."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, backlog=4096).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        connector = aiohttp.TCPConnector(limit=0)
        self.client = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=NEVER))

    async def stop(self) -> None:
        """Stop listening."""
        await self.client.close()
        await self._runner.cleanup()

    async def _api(self, request: web.Request) -> web.Response:
        body = await request.text()
        is_json = request.content_type == "application/json"
        given: dict[str, Any] = (json.loads(body) if body else {}) if is_json else dict(parse_qsl(body))
        self._busy += 1
        try:
            await asyncio.sleep(SLACK_SECONDS)
        finally:
            self._busy -= 1
            self._changed.set()
        method = request.match_info["method"]
        if method == "auth.test":
            me = {"team": "Bench", "team_id": TEAM, "user": "bot", "user_id": "U0BOT", "bot_id": "B0BOT"}
            return web.json_response({"ok": True, "url": "https://bench.slack.com/"} | me)
        if method == "apps.connections.open":
            return web.json_response({"ok": True, "url": f"{self.url.replace('http', 'ws')}/socket"})
        if method == "chat.postMessage":
            return web.json_response({"ok": True, "ts": self._posted(given), "channel": given["channel"]})
        return web.json_response({"ok": True, "ts": given.get("ts", ""), "channel": given.get("channel", "")})

    def _posted(self, given: dict[str, Any]) -> str:
        ts = f"1700000000.{next(self._ts):06d}"
        blocks = given.get("blocks") or []
        blocks = json.loads(blocks) if isinstance(blocks, str) else blocks
        number = next((word for word in given["text"].replace("`", " ").split() if len(word) == 24), "")
        if any(block["type"] == "actions" for block in blocks):
            self.cards[number] = Card(ts, given["text"], blocks)
        else:
            self.toasts[number] = time.perf_counter()
        self._changed.set()
        return ts

    async def _listen(self, request: web.Request) -> web.WebSocketResponse:
        """Socket Mode: say hello, then take the acks."""
        self._socket = web.WebSocketResponse()
        await self._socket.prepare(request)
        await self._socket.send_json({"type": "hello", "num_connections": 1, "connection_info": {"app_id": "A0BENCH"}})
        async for message in self._socket:
            ack = json.loads(message.data) if message.data[:1] == "{" else {}  # else one of slack_sdk's own pings
            if (waiting := self._acks.pop(ack.get("envelope_id", ""), None)) is not None:
                waiting.set_result(None)
        return self._socket

    async def _respond(self, _request: web.Request) -> web.Response:
        await asyncio.sleep(SLACK_SECONDS)
        return web.json_response({"ok": True})

    async def _call(self, request: web.Request) -> web.Response:
        self.calls[request.match_info["id"]] += 1
        await asyncio.sleep(self.hang or CELLCAST_SECONDS)
        return web.json_response({"status": True, "message": TOAST, "message_type": "toast", "data": {}, "error": {}})

    async def _account(self, _request: web.Request) -> web.Response:
        return web.json_response({"data": {"account_name": "Bench"}})

    @property
    def has_socket(self) -> bool:
        """Whether somebody listens in Socket Mode."""
        return self._socket is not None

    async def quiet(self) -> None:
        """Wait until no request to Slack is under way."""
        await self.until(lambda: self._busy == 0)

    async def until(self, holds: Callable[[], bool], seconds: float = NEVER) -> None:
        """Wait until something holds here."""
        async with asyncio.timeout(seconds):
            while not holds():
                self._changed.clear()
                await self._changed.wait()

    async def _send(self, url: str, fields: dict[str, str]) -> float:
        """Send a signed request, or an envelope on the socket; the seconds to its ack, NEVER where none came."""
        return await (self._send_on_socket(fields) if self._socket is not None else self._post(url, fields))

    async def _send_on_socket(self, fields: dict[str, str]) -> float:
        assert self._socket is not None  # noqa: S101 - for the types
        name = str(next(self._ts))
        waiting = self._acks[name] = asyncio.get_running_loop().create_future()
        payload = json.loads(fields["payload"]) if "payload" in fields else fields
        kind = "interactive" if "payload" in fields else "slash_commands"
        envelope = {"envelope_id": name, "type": kind, "payload": payload, "accepts_response_payload": True}
        began = time.perf_counter()
        await self._socket.send_json(envelope)
        try:
            await asyncio.wait_for(waiting, NEVER)
        except TimeoutError:
            return NEVER
        return time.perf_counter() - began

    async def _post(self, url: str, fields: dict[str, str]) -> float:
        body = urlencode(fields)
        timestamp = str(int(time.time()))
        signature = self._verifier.generate_signature(timestamp=timestamp, body=body) or ""
        headers = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": signature,
        }
        began = time.perf_counter()
        try:
            async with self.client.post(f"{url}/slack/events", data=body, headers=headers) as answer:
                await answer.read()
                fine = answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            fine = False
        return time.perf_counter() - began if fine else NEVER

    async def command(self, url: str, number: str) -> float:
        """Somebody types the command; the seconds to its ack."""
        fields = {
            "command": "/unsubscribe-number",
            "text": number,
            "user_id": ANA,
            "team_id": TEAM,
            "channel_id": channel_of(number),
            "channel_name": "bench",
            "response_url": f"{self.url}/response",
            "trigger_id": "1",
        }
        return await self._send(url, fields)

    async def click(self, url: str, number: str) -> float:
        """Somebody clicks the red button of the number's card; the seconds to its ack."""
        card = self.cards[number]
        button = next(b["elements"][0] for b in card.blocks if b["type"] == "actions")
        payload = {
            "type": "block_actions",
            "team": {"id": TEAM},
            "user": {"id": BEN, "team_id": TEAM},
            "channel": {"id": channel_of(number)},
            "container": {"type": "message", "message_ts": card.ts, "channel_id": channel_of(number)},
            "message": {"ts": card.ts, "blocks": card.blocks, "text": card.text},
            "response_url": f"{self.url}/response",
            "trigger_id": "1",
            "actions": [
                {"type": "button", "block_id": "b", "action_id": button["action_id"], "value": button["value"]},
            ],
        }
        return await self._send(url, {"payload": json.dumps(payload)})

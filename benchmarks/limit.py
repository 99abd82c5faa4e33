"""(a) The limit: a bare aiohttp handler that verifies, acks, writes one durable row a click and makes the same calls.

It has no rules, no outcomes to deliver again and no errors: it shows what the machine and the protocols allow.
"""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import parse_qsl

import aiohttp
from aiohttp import web
from slack_sdk.signature import SignatureVerifier

from benchmarks import plain

API, CELLCAST = os.environ["SLACK_API_URL"], os.environ["CELLCAST_BASE_URL"]
SOCKET = "SLACK_APP_TOKEN" in os.environ
SLACK_HEADERS = {"Authorization": f"Bearer {os.environ['SLACK_BOT_TOKEN']}"}
CELLCAST_HEADERS = {"Authorization": f"Bearer {os.environ['CELLCAST_API_KEY']}", "Content-Type": "application/json"}


class Limit:
    """The handler and what it shares between requests."""

    def __init__(self) -> None:
        self.verifier = SignatureVerifier(os.environ["SLACK_SIGNING_SECRET"])
        self.thread = ThreadPoolExecutor(1)
        self.tasks: set[asyncio.Task[None]] = set()
        self.db = sqlite3.connect(os.environ["BENCH_DATABASE"], check_same_thread=False, isolation_level=None)
        for statement in (
            "PRAGMA journal_mode=WAL",
            "PRAGMA synchronous=FULL",
            "CREATE TABLE clicks (number TEXT PRIMARY KEY, by TEXT)",
        ):
            self.db.execute(statement)

    async def run(self) -> None:
        """Serve until the process is ended."""
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        app = web.Application()
        app.router.add_post("/slack/events", self.events)
        app.router.add_get("/healthz", self.healthz)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await self.slack("auth.test", {})
        if SOCKET:
            self.later(self.listen())
        await web.TCPSite(runner, "127.0.0.1", int(os.environ["PORT"]), backlog=4096).start()
        await asyncio.Event().wait()

    async def healthz(self, _request: web.Request) -> web.Response:
        """It is ready."""
        return web.Response()

    async def events(self, request: web.Request) -> web.Response:
        """A command or a click."""
        body = (await request.read()).decode()
        headers = request.headers
        stamp, signature = headers["X-Slack-Request-Timestamp"], headers["X-Slack-Signature"]
        if not self.verifier.is_valid(body, stamp, signature):
            return web.Response(status=401)
        fields = dict(parse_qsl(body))
        await self.take(json.loads(fields["payload"]) if "payload" in fields else fields)
        return web.Response()

    async def listen(self) -> None:
        """Socket Mode: the same without signatures."""
        url = (await self.slack("apps.connections.open", {}))["url"]
        async with self.session.ws_connect(url) as socket:
            async for message in socket:
                envelope = json.loads(message.data)
                if "payload" in envelope:
                    self.later(self.answer(socket, envelope))

    async def answer(self, socket: aiohttp.ClientWebSocketResponse, envelope: dict[str, Any]) -> None:
        """Take one, and ack it."""
        await self.take(envelope["payload"])
        await socket.send_json({"envelope_id": envelope["envelope_id"]})

    async def take(self, payload: dict[str, Any]) -> None:
        """What is done before the ack."""
        if "actions" in payload:
            number = payload["actions"][0]["value"]
            row = (number, payload["user"]["id"])
            await asyncio.get_running_loop().run_in_executor(self.thread, self.write, row)
            self.later(self.execute(number, payload["container"]["message_ts"]))
        else:
            self.later(self.card(payload["text"]))

    def write(self, row: tuple[str, str]) -> None:
        """One durable row."""
        self.db.execute("INSERT INTO clicks VALUES (?, ?)", row)

    def later(self, work: Any) -> None:
        """Go on after the ack."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def slack(self, method: str, body: dict[str, Any]) -> Any:
        """Call Slack."""
        async with self.session.post(API + method, json=body, headers=SLACK_HEADERS) as answer:
            return await answer.json()

    async def card(self, number: str) -> None:
        """Post the card."""
        await self.slack("chat.postMessage", {"channel": "C0BENCH"} | plain.card(number))

    async def execute(self, number: str, ts: str) -> None:
        """Close the card, call, post the outcome."""
        update = {"channel": "C0BENCH", "ts": ts, "text": f"`{number}` under way"}
        drawing = asyncio.create_task(self.slack("chat.update", update))
        url = f"{CELLCAST}/api/v1/apiClient/virtual-number/unsubscribe/{number}"
        async with self.session.put(url, headers=CELLCAST_HEADERS) as answer:
            said = (await answer.json())["message"]
        await drawing
        await asyncio.gather(
            self.slack("chat.update", update | {"text": f"`{number}` done"}),
            self.slack("chat.postMessage", {"channel": "C0BENCH", "text": f"{said} `{number}`"}),
        )


if __name__ == "__main__":
    asyncio.run(Limit().run())

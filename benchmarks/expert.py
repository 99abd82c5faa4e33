"""(e) The expert's bot: what a careful person writes in 180 lines with the libraries of this bot, for speed.

It shows the same cards, makes the same calls and stores the same four steps of each request before it goes on. What it
leaves out is what this bot exists for beyond that: rules of access, outcomes that are delivered again, interrupted
calls, expiry, lost cards, the pace of a channel, payloads that are checked, and errors in words.
"""

from __future__ import annotations

import asyncio
import os
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any

import aiohttp
import httpx
import uvloop
from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_sdk.web.async_client import AsyncWebClient

from benchmarks import plain

Job = tuple[str, tuple[Any, ...], "asyncio.Future[int]"]
GROUP = 64
SCHEMA = """CREATE TABLE requests (id TEXT PRIMARY KEY, number TEXT, channel TEXT, requested_by TEXT, status TEXT,
    decided_by TEXT, ts TEXT, started REAL, message TEXT)"""


class Store:
    """One thread that writes; what waits for it shares a commit."""

    def __init__(self, path: str) -> None:
        self._jobs: SimpleQueue[Job] = SimpleQueue()
        self._path = path
        self._loop = asyncio.get_running_loop()
        threading.Thread(target=self._run, daemon=True).start()

    async def write(self, statement: str, *values: Any) -> bool:
        """Run a statement; whether it changed a row. It is on disk when this returns."""
        done: asyncio.Future[int] = self._loop.create_future()
        self._jobs.put((statement, values, done))
        return bool(await done)

    def _run(self) -> None:
        db = sqlite3.connect(self._path, isolation_level=None)
        for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", SCHEMA):
            db.execute(statement)
        while True:
            jobs = [self._jobs.get()]
            while len(jobs) < GROUP and not self._jobs.empty():
                jobs.append(self._jobs.get())
            db.execute("BEGIN IMMEDIATE")
            counts = [db.execute(statement, values).rowcount for statement, values, _ in jobs]
            db.execute("COMMIT")
            self._loop.call_soon_threadsafe(_finish, jobs, counts)


def _finish(jobs: list[Job], counts: list[int]) -> None:
    for (_, _, done), count in zip(jobs, counts, strict=True):
        done.set_result(count)


class Expert:
    """The bot and what its listeners share."""

    def __init__(self) -> None:
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        self.slack = AsyncWebClient(os.environ["SLACK_BOT_TOKEN"], os.environ["SLACK_API_URL"], session=self.session)
        self.cellcast = httpx.AsyncClient(
            base_url=os.environ["CELLCAST_BASE_URL"],
            headers={"Authorization": f"Bearer {os.environ['CELLCAST_API_KEY']}", "Content-Type": "application/json"},
            timeout=20,
            # httpx looks through all kept connections whenever a request comes or goes: a hundred calls at once take it
            # less processor time with new ones.
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        )
        self.turns = asyncio.Semaphore(100)
        self.store = Store(os.environ["BENCH_DATABASE"])
        self.tasks: set[asyncio.Task[None]] = set()

        async def authorize() -> AuthorizeResult:
            """Bolt's own would ask auth.test again for each request of a first burst."""
            return self.me

        self.app = AsyncApp(
            client=self.slack,
            signing_secret=os.environ["SLACK_SIGNING_SECRET"],
            authorize=authorize,
            process_before_response=True,
        )
        self.app.command("/unsubscribe-number")(self.command)
        self.app.action("unsubscribe_number")(self.confirm)

    def later(self, work: Any) -> None:
        """Go on after the ack."""
        task = asyncio.create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def command(self, ack: Callable[..., Any], command: dict[str, Any]) -> None:
        """Ack a request, and go on with it."""
        await ack()
        self.later(self.post_card(command["text"], command["channel_id"], command["user_id"]))

    async def post_card(self, number: str, channel: str, by: str) -> None:
        """Store a request, then post its card."""
        name = uuid.uuid4().hex
        await self.store.write(
            "INSERT INTO requests (id, number, channel, requested_by, status) VALUES (?, ?, ?, ?, 'pending')",
            *(name, number, channel, by),
        )
        await self.slack.chat_postMessage(channel=channel, **plain.full_card(name, number, by, time.time() + 900))

    async def confirm(self, ack: Callable[..., Any], body: dict[str, Any]) -> None:
        """Store a confirmation, ack it, and go on if this click was the first."""
        name = body["actions"][0]["value"]
        by, ts = body["user"]["id"], body["container"]["message_ts"]
        first = await self.store.write(
            "UPDATE requests SET status = 'confirmed', decided_by = ?, ts = ? WHERE id = ? AND status = 'pending'",
            *(by, ts, name),
        )
        await ack()
        if first:
            number = body["message"]["text"].split("`")[1]
            self.later(self.execute(name, number, body["channel"]["id"], ts, by))

    async def execute(self, name: str, number: str, channel: str, ts: str, by: str) -> None:
        """Close the card, call once, store and post the outcome."""
        closing = asyncio.create_task(
            self.slack.chat_update(channel=channel, ts=ts, **plain.under_way(number, by, time.time()))
        )
        await self.store.write("UPDATE requests SET started = ? WHERE id = ?", time.time(), name)
        async with self.turns:
            answer = await self.cellcast.put(f"/api/v1/apiClient/virtual-number/unsubscribe/{number}")
        said = answer.json()["message"]
        await self.store.write("UPDATE requests SET status = 'succeeded', message = ? WHERE id = ?", said, name)
        await closing
        await asyncio.gather(
            self.slack.chat_postMessage(channel=channel, **plain.toast(number, said, by, time.time())),
            self.slack.chat_update(channel=channel, ts=ts, **plain.done(number, by, time.time())),
        )

    async def events(self, request: web.Request) -> web.Response:
        """Pass a request of Slack through Bolt, which verifies it."""
        answer = await self.app.async_dispatch(await to_bolt_request(request))
        return await to_aiohttp_response(answer)

    async def healthz(self, _request: web.Request) -> web.Response:
        """It is ready."""
        return web.Response()

    async def run(self) -> None:
        """Serve until the process is ended."""
        me = await self.slack.auth_test()
        self.me = AuthorizeResult(
            enterprise_id=None,
            team_id=me["team_id"],
            bot_id=me["bot_id"],
            bot_user_id=me["user_id"],
            bot_token=os.environ["SLACK_BOT_TOKEN"],
        )
        server = web.Application()
        server.router.add_post("/slack/events", self.events)
        server.router.add_get("/healthz", self.healthz)
        runner = web.AppRunner(server, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", int(os.environ["PORT"]), backlog=4096).start()
        await asyncio.Event().wait()


async def main() -> None:
    """Start it on a running loop, which its sessions need."""
    await Expert().run()


if __name__ == "__main__":
    uvloop.run(main())

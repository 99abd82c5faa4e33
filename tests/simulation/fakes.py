"""Slack, Cellcast and the database as a replica meets them in a run: they take time, fail, and answer what a seed says."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from collections import deque
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from random import Random
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, NoReturn

import aiohttp
import httpx
import sqlalchemy as sa
from aiohttp.client_reqrep import ConnectionKey
from sqlalchemy.exc import OperationalError

from bot.clients.slack import CALL_TIMEOUT
from bot.clock import Clock
from bot.ledger.threads import CLOSE_TIMEOUT, Threads
from tests.simulation.loop import SimulatedLoop
from tests.simulation.numbers_list import watch_confirmations

if TYPE_CHECKING:
    from tests.simulation.replica import Replica
    from tests.simulation.world import World

CELLCAST_TIMEOUT = 10.0
EPOCH = 1_795_000_000.0  # the moment at which a run begins
WEBHOOK = "https://hooks.slack.com/actions/"
# What the executor's calls are answered with: status, body, and the outcome that follows from it.
SUCCESS = "Virtual number has been unsubscribed successfully."
ANSWERS: dict[str, tuple[int, dict[str, Any], str]] = {
    "fine": (200, {"status": True, "message": SUCCESS}, "succeeded"),
    "refused": (200, {"status": False, "message": "The number is locked."}, "rejected"),
    "not found": (404, {"code": 404, "message": "Virtual number not found"}, "not_found"),
    "rate limited": (429, {"code": 429, "message": "Slow down"}, "rate_limited"),
    "server error": (500, {"code": 500, "message": "Oops"}, "server_error"),
}


async def never() -> NoReturn:
    """Wait without end."""
    await asyncio.get_running_loop().create_future()
    raise AssertionError


class Faults:
    """The faults of one kind that are at work now."""

    def __init__(self, chance: Random, kinds: list[str]) -> None:
        self.chance, self.kinds = chance, [kind for kind in kinds if kind != "mixed"]
        self.now: list[tuple[float, str]] = []  # until when, and which

    def begin(self, until: float, kind: str) -> None:
        """Begin a fault."""
        self.now.append((until, kind))

    def draw(self, now: float) -> str:
        """Return the fault that this call meets, or an empty string."""
        self.now = [(until, kind) for until, kind in self.now if until > now]
        if not self.now or self.chance.random() < 0.3:
            return ""
        kind = self.now[-1][1]
        return self.chance.choice(self.kinds) if kind == "mixed" else kind

    def remaining(self, now: float) -> float:
        """Return how long the faults of now still last."""
        return max([until - now for until, _ in self.now], default=0.0)


class SimulatedClock(Clock):
    """The clock of one replica: apart from the others' by `ahead` seconds."""

    def __init__(self, loop: SimulatedLoop, ahead: float) -> None:
        self._loop, self.ahead = loop, ahead

    def now(self) -> float:
        """Return the moment as this replica's clock shows it."""
        return EPOCH + self._loop.seconds + self.ahead

    def monotonic(self) -> float:
        """Return the virtual time."""
        return self._loop.seconds


class SimulatedThreads(Threads):
    """The database's threads as timers: each job runs inline, when its time has come."""

    def __init__(self, world: World, replica: Replica) -> None:
        self._world, self._replica, self._free_at = world, replica, 0.0
        self._waiting: deque[tuple[float, Callable[[], None], str]] = deque()

    def submit(self, work: Callable[[], None]) -> None:
        """Run a job after those before it."""
        loop, faults = self._world.loop, self._replica.database
        fault = faults.draw(loop.seconds)
        takes = {"slow": faults.chance.uniform(0.05, 2.5), "locked": 1.5}.get(
            fault, faults.chance.uniform(0.0005, 0.004)
        )
        begins = loop.seconds + (faults.remaining(loop.seconds) if fault == "away" else 0)
        self._free_at = max(begins, self._free_at) + takes
        self._waiting.append((self._free_at, work, fault))
        loop.call_at(self._free_at, self._do_next)

    def close(self) -> None:
        """Run what would end within the time that closing waits."""
        while self._waiting and self._waiting[0][0] <= self._world.loop.seconds + CLOSE_TIMEOUT:
            self._do_next()
        self._waiting.clear()

    def _do_next(self) -> None:
        if not self._waiting:
            return
        _, work, fault = self._waiting.popleft()
        if not self._replica.step("database"):
            return
        world = self._world
        world.transaction_fault = fault
        world.loop.answer_delay = self._replica.database.chance.uniform(1, 40) if fault == "late answer" else 0.0
        try:
            work()
        finally:
            world.transaction_fault, world.loop.answer_delay = "", 0.0
        world.check_own_calls(self._replica)
        watch_confirmations(world)


def break_transactions(world: World) -> Callable[[], None]:
    """Let transactions fail as the run says; return how that ends."""

    def begin(_db: sa.Connection) -> None:
        if world.transaction_fault == "locked":
            raise OperationalError("BEGIN", {}, sqlite3.OperationalError("database is locked"))

    def commit(db: sa.Connection) -> None:
        if world.transaction_fault not in ("lost before commit", "lost after commit"):
            return
        if world.transaction_fault == "lost after commit":
            db.exec_driver_sql("COMMIT")
        error = sqlite3.OperationalError("the connection is lost")
        raise OperationalError("COMMIT", {}, error, connection_invalidated=True)

    sa.event.listen(sa.Engine, "begin", begin)
    sa.event.listen(sa.Engine, "commit", commit)

    def end() -> None:
        sa.event.remove(sa.Engine, "begin", begin)
        sa.event.remove(sa.Engine, "commit", commit)

    return end


class _Body(httpx.AsyncByteStream):
    def __init__(self, content: bytes) -> None:
        self._content = content

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._content


@dataclass
class Call:
    """A request that Cellcast got: of which attempt, and how it was answered."""

    at: float
    request: str
    attempt: int
    replica: Replica
    life: int
    answered_at: float = 0.0
    answered: str = ""  # the outcome that follows from the answer, once the replica has it


class SimulatedCellcast(httpx.AsyncBaseTransport):
    """Cellcast as one replica meets it."""

    def __init__(self, world: World, replica: Replica) -> None:
        self._world, self._replica = world, replica

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a call as the faults of now say."""
        world, replica = self._world, self._replica
        chance = world.cellcast.chance
        if request.method == "GET":
            return httpx.Response(200, json={"data": {"account_name": "Acme"}})
        fault = world.cellcast.draw(world.loop.seconds) or chance.choice(["fine", "fine", "not found", "refused"])
        await asyncio.sleep(chance.uniform(0.01, 0.2))
        if fault == "no connection":
            raise httpx.ConnectError("refused")
        if not replica.step("cellcast"):
            await never()
        life = replica.life
        await request.extensions["trace"](
            "http11.send_request_headers.started", {"request": SimpleNamespace(method=b"PUT")}
        )
        call = world.called(str(request.url).rsplit("/", 1)[1], replica)
        try:
            if fault == "hang":
                await never()
            await asyncio.sleep(chance.uniform(7, 15) if fault == "late" else chance.uniform(0.05, 3))
        finally:
            if replica.lives(life) and (took := world.loop.seconds - call.at) > CELLCAST_TIMEOUT + 0.5:
                world.report_violation(f"{replica} gave a call {took:.1f} s")
        if not replica.lives(life):
            await never()
        if fault == "answer lost":
            raise httpx.ReadError("lost")
        status, body, outcome = ANSWERS[chance.choice(list(ANSWERS)) if fault == "late" else fault]
        call.answered, call.answered_at = outcome, world.loop.seconds
        return httpx.Response(status, stream=_Body(json.dumps(body).encode()), headers={"Retry-After": "3"})


@dataclass
class PostedMessage:
    """A message in a channel, with every version of it."""

    channel: str
    ts: str
    at: float
    versions: list[dict[str, Any]] = field(default_factory=list)
    deleted: bool = False  # somebody has deleted the message
    rejected: bool = False  # Slack has rejected its last update, for a while

    def update(self, version: dict[str, Any]) -> None:
        """Show another version."""
        self.versions.append(version)
        self.rejected = False

    @property
    def texts(self) -> list[str]:
        """What it said, and says now."""
        return [str(version["text"]) for version in self.versions]

    @property
    def text(self) -> str:
        """What it says now."""
        return self.texts[-1]


class SlackAnswer:
    """The part of aiohttp's response that slack_sdk reads."""

    def __init__(self, status: int, body: str, headers: dict[str, str] | None = None) -> None:
        self.status, self._body, self.headers = status, body, headers or {}
        self.content_type = "application/json"

    async def json(self) -> Any:
        """Return the body as slack_sdk reads an answer."""
        return json.loads(self._body)

    async def text(self) -> str:
        """Return the body as slack_sdk reads that of a response_url."""
        return self._body


class _Exchange:
    def __init__(self, session: SimulatedSession, url: str, given: dict[str, Any]) -> None:
        self._session, self._url, self._given = session, url, given

    async def __aenter__(self) -> SlackAnswer:
        try:
            async with asyncio.timeout(CALL_TIMEOUT):
                return await self._session.answer(self._url, self._given)
        except TimeoutError as error:
            raise aiohttp.ServerTimeoutError from error

    async def __aexit__(self, *_: object) -> None:
        pass


class SimulatedSession:
    """aiohttp's session to Slack as one replica meets it."""

    closed = False

    def __init__(self, world: World, replica: Replica) -> None:
        self._world, self._replica = world, replica

    def request(self, _method: str, url: str, **given: Any) -> _Exchange:
        """Send a request."""
        return _Exchange(self, url, given)

    async def close(self) -> None:
        """Close it."""
        self.closed = True

    async def answer(self, url: str, given: dict[str, Any]) -> SlackAnswer:
        """Do what the request says, unless the faults of now say otherwise."""
        world, replica = self._world, self._replica
        faults, life = world.slack, replica.life
        body = json.loads(given["data"]) if url.startswith(WEBHOOK) else given.get("json") or given.get("params") or {}
        method = "response_url" if url.startswith(WEBHOOK) else url.rsplit("/", 1)[1]
        if not replica.step(method):
            await never()
        fault = faults.draw(world.loop.seconds) if method != "auth.test" or replica.started else ""
        await asyncio.sleep(faults.chance.uniform(0.01, 0.3))
        if (answer := self._refuse(fault, method, body)) is not None:
            return answer
        if fault in ("hang", "late") or (fault == "answer lost" and faults.chance.random() < 0.5):
            # It can still happen, but before the lease of the replica is over.
            world.doubts[str(body.get("text"))] += 1
            world.loop.call_later(faults.chance.uniform(0.1, 8), world.apply, replica, method, url, body)
            await never()
        answer = world.apply(replica, method, url, body)
        if fault in ("server error", "answer lost"):
            world.doubts[str(body.get("text"))] += 1
            return SlackAnswer(500, "oops")
        await asyncio.sleep(faults.chance.uniform(0.01, 0.3))
        if not replica.lives(life):
            await never()
        return answer

    def _refuse(self, fault: str, method: str, body: dict[str, Any]) -> SlackAnswer | None:
        """Return the answer of a Slack that does nothing; raise if there is none to reach."""
        chance = self._world.slack.chance
        if fault == "no connection":
            key = ConnectionKey("slack.com", 443, True, True, None, None, None)
            raise aiohttp.ClientConnectorError(key, OSError("refused"))
        if fault == "rate limited":
            return SlackAnswer(
                429, '{"ok": false, "error": "ratelimited"}', {"Retry-After": str(chance.randint(1, 20))}
            )
        if fault == "rejected" and method == "response_url":
            if chance.random() < 0.5:
                return SlackAnswer(404, "expired_url")
            return SlackAnswer(200, '{"ok": false, "error": "expired_url"}')
        if fault == "rejected" and method == "chat.postMessage" and not body["channel"].startswith("U"):
            return SlackAnswer(200, '{"ok": false, "error": "not_in_channel"}')
        if fault == "rejected" and method == "chat.update":
            card = self._world.cards[body["channel"], body["ts"]]
            if chance.random() < 0.7:
                card.rejected = True
                return SlackAnswer(200, '{"ok": false, "error": "is_archived"}')
            card.deleted = True
        if fault == "server error" and chance.random() < 0.5:
            return SlackAnswer(500, "oops")
        return None

"""Several copies of the bot on one PostgreSQL, and the database that goes away."""

from __future__ import annotations

import asyncio
import contextlib
import random
from collections import Counter
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import sqlalchemy as sa

from bot.domain.models import NewRequest
from bot.errors import LedgerError
from bot.ledger import schema
from bot.ledger.database import COMMIT_UNKNOWN, LOCK_TIMEOUT
from bot.ledger.store import Ledger
from sandbox.fake_cellcast import SUCCESS, Cellcast
from sandbox.fake_slack import Note, Workspace
from tests.conftest import (
    ANA,
    BEN,
    NUMBER,
    NUMBERS,
    POSTGRESQL,
    Record,
    Start,
    ask,
    current,
    often,
    private,
    public,
    settled,
)
from tests.process import clean_environment, free_port, healthy, running, start_bot
from tests.proxy import Proxy

pytestmark = POSTGRESQL
COPIES = 3
CLICKS = often(10, 30)


class Copy:
    """One copy of the bot, a process of its own that can be killed and started again."""

    def __init__(self, settings: dict[str, str], folder: Path) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._settings, self._folder = settings | {"PORT": str(self.port), "LOG_LEVEL": "ERROR"}, folder

    async def start(self) -> None:
        """Start it and wait until it is healthy."""
        self._process = await start_bot(settings=clean_environment(self._settings), cwd=self._folder)
        await healthy(self._process, self.url)

    async def kill(self) -> None:
        """SIGKILL."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        await self._process.communicate()


@pytest.fixture
async def copies(environment: dict[str, str], tmp_path: Path, workspace: Workspace) -> AsyncIterator[list[Copy]]:
    """Three copies on one database."""
    found = [Copy(environment | {"CELLCAST_TIMEOUT_SECONDS": "5"}, tmp_path) for _ in range(COPIES)]
    await asyncio.gather(*(copy.start() for copy in found))
    workspace.bot_url = found[0].url
    yield found
    await asyncio.gather(*(copy.kill() for copy in found))


def rows(database: str, query: str) -> list[Any]:
    """What the database holds."""
    engine = sa.create_engine(database)
    with engine.connect() as db:
        found = list(db.execute(sa.text(query)).all())
    engine.dispose()
    return found


async def cards(workspace: Workspace, copies: list[Copy], numbers: list[str]) -> list[Note]:
    """Ask for numbers, each at one of the copies, and return their cards."""
    for place, number in enumerate(numbers):
        fields = workspace.command_fields(ANA, NUMBERS, number)
        await workspace.send("slash_commands", fields, copies[place % COPIES].url)

    def found() -> list[Note]:
        return [note for number in numbers for note in public(workspace) if number in note.text]

    await workspace.until(lambda: len(found()) == len(numbers))
    return found()


def not_recorded(workspace: Workspace) -> int:
    """How often the person who clicks was told that a click is not recorded, or that nobody knows."""
    return sum(line in (str(LedgerError()), COMMIT_UNKNOWN) for line in private(workspace, BEN))


async def click_at_each(workspace: Workspace, copies: list[Copy], asked: dict[str, Note]) -> None:
    """The same click at every replica at once, on the card of each number, until its toast stands.

    A machine that stands still for two seconds makes a click unrecorded, and the bot says so: only then, click again.
    """

    def missing() -> list[str]:
        texts = [n.text for n in public(workspace) if n.text.startswith(SUCCESS)]
        return [number for number in asked if not any(number in text for text in texts)]

    while left := [current(workspace, asked[number]) for number in missing()]:
        before = not_recorded(workspace)
        payloads = [workspace.click_payload(BEN, card, next(iter(card.buttons))) for card in left]
        await asyncio.gather(*(workspace.send("interactive", p, copy.url) for p in payloads for copy in copies))
        with contextlib.suppress(TimeoutError):
            await workspace.until(lambda: not missing(), 15)
        assert not missing() or not_recorded(workspace) > before, (missing(), private(workspace, BEN)[-3:])


async def test_same_click_at_every_replica(
    workspace: Workspace, cellcast: Cellcast, copies: list[Copy], database: str, reliability: Record
) -> None:
    """Again and again the same click reaches three copies at once: one call and one toast for each."""
    numbers = [f"{n:024x}" for n in range(CLICKS)]
    for start in range(0, CLICKS, 10):  # one replica may get all of them, and posts about one a second
        found = await cards(workspace, copies, numbers[start : start + 10])
        await click_at_each(workspace, copies, dict(zip(numbers[start : start + 10], found, strict=True)))
    assert Counter(call.number_id for call in cellcast.calls) == Counter(numbers)
    texts = [n.text for n in public(workspace) if n.text.startswith(SUCCESS)]
    assert len(texts) == len(set(texts)) == CLICKS
    async with asyncio.timeout(20):  # the mark that it is told comes after the message
        while rows(database, "SELECT 1 FROM outcomes WHERE delivered_at IS NULL"):  # noqa: ASYNC110 - in another process
            await asyncio.sleep(0.05)
    counts = "SELECT count(*), count(DISTINCT request_id), min(attempt), max(attempt) FROM outcomes"
    (ended, of_requests, first, last) = rows(database, counts)[0]
    again = ended - CLICKS  # a further attempt follows only from a click that was told as not recorded
    assert (of_requests, first) == (CLICKS, 1)
    assert last - 1 <= again <= not_recorded(workspace)
    assert rows(database, "SELECT count(*) FROM outcomes WHERE code = 'succeeded'") == [(CLICKS,)]
    fault = f"the same click at three replicas at once, {CLICKS} times"
    reliability("Replicas", fault, calls="one for each", told="once each")


@pytest.mark.long
async def test_replicas_that_die_at_random(
    workspace: Workspace, cellcast: Cellcast, copies: list[Copy], database: str, reliability: Record
) -> None:
    """While copies are killed at random: one call for a yes at the most, one outcome for each, and all of them told."""
    chance = random.Random(20_26)  # noqa: S311 - the same chances in each run
    numbers = [f"{n:024x}" for n in range(20)]
    found = await cards(workspace, copies, numbers)

    async def killing() -> None:
        for _ in range(2):
            copy = chance.choice(copies)
            await copy.kill()
            await copy.start()

    async def clicking() -> None:
        for card in found:
            payload = workspace.click_payload(BEN, card, "Unsubscribe Number")
            await asyncio.gather(*(workspace.send("interactive", payload, copy.url) for copy in copies))
            await asyncio.sleep(0.1)  # so that clicks and kills are spread over the same seconds

    await asyncio.gather(killing(), clicking())
    open_rows = "SELECT 1 FROM requests WHERE status IN ('pending', 'confirmed')"
    untold = "SELECT 1 FROM outcomes WHERE delivered_at IS NULL"
    async with asyncio.timeout(60):
        while rows(database, open_rows) or rows(database, untold):  # noqa: ASYNC110 - in other processes
            await asyncio.sleep(0.2)
    workspace.broken_rules.clear()  # who is dead acknowledges nothing
    assert max(Counter(call.number_id for call in cellcast.calls).values()) == 1
    outcomes = rows(database, "SELECT number_id, code, attempt FROM outcomes")
    assert sorted(number for number, *_ in outcomes) == numbers
    called = {call.number_id for call in cellcast.calls}
    for number, code, attempt in outcomes:
        assert attempt == 1
        # Not started: the confirmation was stored too late for its ack, so that nobody made the call.
        assert code in ("succeeded", "interrupted", "not_started")
        assert code == "interrupted" or (number in called) is (code == "succeeded")
        told = {n.text for n in public(workspace) if number in n.text and not n.edited}
        assert len(told) == 1
    reliability(
        "Replicas", "three replicas, two of them killed at random during 20 clicks", calls="at most one", told="each"
    )


@pytest.fixture
async def proxy(database: str) -> AsyncIterator[Proxy]:
    """A way to the database that can be cut."""
    found = Proxy(database)
    yield found
    await found.stop()


@pytest.mark.parametrize("how", ["cut", "hold"])
async def test_database_goes_away(
    start: Start, workspace: Workspace, cellcast: Cellcast, proxy: Proxy, how: str, reliability: Record
) -> None:
    """A click while the database is away is answered in time and does nothing; the bot recovers by itself."""
    async with start(database_url=await proxy.start()) as bot:
        card = await ask(workspace)
        await settled(bot)
        getattr(proxy, how)()
        try:
            click = await workspace.click(BEN, card, "Unsubscribe Number")
            asking = await workspace.command(ANA, NUMBERS, NUMBER)
        finally:
            proxy.restore()  # a bot that stops waits for its threads
        assert (click.status, asking.status) == (200, 200)
        assert cellcast.calls == []
        await settled(bot)
        for line in private(workspace, BEN):
            assert "The bot can't reach its database" in line or "The bot lost its record" in line
        # Nothing holds up the ack of a command, so its record can be waited for.
        (line,) = private(workspace, ANA)
        assert "The bot can't reach its database" in line or (
            "There is already an open card" in line and "in progress" not in line
        )
        async with asyncio.timeout(10):
            while not cellcast.calls:
                with contextlib.suppress(aiohttp.ClientError):
                    await workspace.click(BEN, card, "Unsubscribe Number")
                await settled(bot)
        assert "Unsubscribed:" in current(workspace, card).text
    assert len(cellcast.calls) == 1
    word = {"cut": "breaks", "hold": "hangs"}[how]
    reliability(
        "Database", f"PostgreSQL {word} at a click", calls="none, then one", told="not recorded; then the toast"
    )


async def test_database_goes_away_during_the_call(
    start: Start, workspace: Workspace, cellcast: Cellcast, proxy: Proxy, reliability: Record
) -> None:
    """What Cellcast answered while the database was away is written and told when it is back."""
    cellcast.hold = asyncio.Event()
    async with start(database_url=await proxy.start()) as bot:
        card = await ask(workspace)
        await settled(bot)
        await workspace.click(BEN, card, "Unsubscribe Number")
        await workspace.until(lambda: "Unsubscribing" in current(workspace, card).text)
        await cellcast.called.wait()
        proxy.cut()
        cellcast.hold.set()
        await asyncio.sleep(0.3)  # the answer is there, and cannot be written
        assert len(public(workspace)) == 1
        proxy.restore()
        await settled(bot)
        await workspace.until(lambda: public(workspace)[-1].text.startswith(SUCCESS))
        await settled(bot)
    assert len(cellcast.calls) == 1
    reliability("Database", "PostgreSQL breaks during the call", calls="one", told="the toast")


async def test_stop_with_a_silent_database(
    tmp_path: Path, environment: dict[str, str], workspace: Workspace, cellcast: Cellcast, proxy: Proxy
) -> None:
    """A PostgreSQL that accepts connections and says nothing does not hold up the exit for ever."""
    settings = environment | {"DATABASE_URL": await proxy.start(), "CELLCAST_TIMEOUT_SECONDS": "1"}
    async with running(workspace, settings, tmp_path) as process:
        card = await ask(workspace)
        await workspace.until(lambda: public(workspace))
        proxy.hold()
        await workspace.click(BEN, card, "Unsubscribe Number")
        process.terminate()
        await asyncio.wait_for(process.wait(), 1 + 5 + 2)  # 2 s for a busy machine
        assert process.returncode == 0
    proxy.restore()
    assert cellcast.calls == []


async def test_replica_that_waits_for_a_long_migration(database: str) -> None:
    """A replica that starts while another one migrates waits for longer than a statement of the bot may take."""
    one, other = Ledger(database), Ledger(database)
    with one.database.transaction() as db:
        schema.create_or_migrate(db)
        opening = asyncio.create_task(other.open())
        await asyncio.sleep(LOCK_TIMEOUT + 0.3)
        assert not opening.done()
    await opening
    for ledger in (one, other):
        ledger.close()


async def test_replicas_that_start_at_once(database: str) -> None:
    """A replica that finds another one creating the tables waits for it, instead of failing to create them too."""
    one, other = Ledger(database), Ledger(database)
    waits = sa.text("SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))")
    with one.database.transaction() as db:
        schema.create_or_migrate(db)
        opening = asyncio.create_task(other.open())
        while not db.scalar(waits) and not opening.done():  # noqa: ASYNC110 - PostgreSQL sends no event
            await asyncio.sleep(0.01)
    await opening
    request, is_new = await other.create_request(NewRequest(NUMBER, "C1", "U1", 0.0, 900.0))
    assert is_new
    assert await one.get(request.id) == request
    for ledger in (one, other):
        ledger.close()

"""`python -m bot prune`: what has long been over leaves the record, and nothing else does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from benchmarks.fill import fill
from bot.domain.models import Click, NewRequest, Request
from bot.domain.status import CallResult, OutcomeCode
from bot.ledger.database import LOCK_TIMEOUT
from bot.ledger.schema import outcomes
from bot.ledger.store import Ledger
from sandbox.fake_cellcast import Cellcast
from sandbox.fake_slack import Workspace
from tests.conftest import BEN, BOTH, Start, TestClock, advance, ask, private, settled
from tests.process import run_command

DAY = 86_400.0
OLD = 1_767_225_600.0  # 2026-01-01 UTC
MIDNIGHT = OLD + 30 * DAY
BEFORE = "2026-01-31"


@pytest.fixture
async def ledger(database: str) -> AsyncIterator[Ledger]:
    """An empty ledger that gives each outcome an audit line."""
    found = Ledger(database, auditing=True)
    await found.open()
    yield found
    found.close()


class Filling:
    """Requests of January 2026, each with another number."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger, self.count = ledger, 0

    async def request(self, now: float = OLD) -> Request:
        """One that is open."""
        self.count += 1
        new = NewRequest(f"{self.count:024x}", "C1", "U1", now, 900.0, reason="a secret reason")
        return (await self.ledger.create_request(new))[0]

    async def ended(self, at: float = OLD, *, delivered: float | None = OLD, audited: bool = True) -> Request:
        """One that somebody kept."""
        request = await self.request(min(at, OLD))
        kept = await self.ledger.keep(Click(request.id, 0, "U2", min(at, OLD)))
        assert kept is not None
        with self.ledger.database.transaction() as db:
            changes = {"settled_at": at, "delivered_at": delivered} | ({"audit_after": None} if audited else {})
            db.execute(outcomes.update().where(outcomes.c.request_id == request.id).values(**changes))
        return request


@BOTH
async def test_only_what_is_over(ledger: Ledger, environment: dict[str, str], tmp_path: Path) -> None:
    """What is open, undelivered, waits for its audit line, or had an event since that day, stays."""
    fill = Filling(ledger)
    waits = await fill.request()
    undelivered = await fill.ended(delivered=None)
    unaudited = await fill.ended(audited=False)
    late = await fill.ended(MIDNIGHT, delivered=MIDNIGHT)
    delivered_late = await fill.ended(delivered=MIDNIGHT)
    stale = await fill.ended()
    await ledger.card_stale(stale.id, OLD)
    offered = await fill.request()
    confirmed = await ledger.confirm(Click(offered.id, 0, "U2", OLD), OLD + 30, second_person=False)
    assert confirmed is not None
    timeout = await ledger.settle(confirmed, CallResult(OutcomeCode.TIMEOUT), OLD, 900.0)
    assert timeout is not None
    assert timeout.outcome is not None
    await ledger.delivered(timeout.outcome, OLD)
    with ledger.database.transaction() as db:
        db.execute(outcomes.update().where(outcomes.c.request_id == offered.id).values(audit_after=None))
    over = [await fill.ended(MIDNIGHT - 1, delivered=MIDNIGHT - 1) for _ in range(150)]
    stay = {waits.id, undelivered.id, unaudited.id, late.id, delivered_late.id, stale.id, offered.id}

    code, out, _ = await run_command("prune", "--before", BEFORE, settings=environment, cwd=tmp_path)
    assert code == 0
    assert out.startswith("150 requests whose last event was before 2026-01-31 (UTC) would be removed for good. ")
    assert {request.id async for request, _ in ledger.whole_history()} == stay | {request.id for request in over}
    code, out, _ = await run_command("prune", "--before", BEFORE, "--yes", settings=environment, cwd=tmp_path)
    assert (code, out.split(".")[0]) == (0, "Removed: 150 requests whose last event was before 2026-01-31 (UTC)")
    assert {request.id async for request, _ in ledger.whole_history()} == stay
    with ledger.database.transaction() as db:
        assert set(db.scalars(sa.select(outcomes.c.request_id))) == stay - {waits.id}

    assert await ledger.prune(MIDNIGHT, time.time()) == 0
    code, out, _ = await run_command("history", settings=environment, cwd=tmp_path)
    assert out.count("pruned: ") == 1
    assert out.splitlines()[-1].endswith("pruned: 150 requests, whose last event was before 2026-01-31")
    code, out, _ = await run_command("history", "--json", settings=environment, cwd=tmp_path)
    assert {json.loads(line)["id"] for line in out.splitlines()} == stay


@pytest.mark.parametrize("day", ["2999-01-01", "yesterday", "2026-02-30", "20260131", "2026-W05", ""])
async def test_day_that_is_refused(environment: dict[str, str], tmp_path: Path, day: str) -> None:
    """A day that is not over, or is none, is an error of the command; so is a missing one."""
    code, _, err = await run_command("prune", "--before", day, "--yes", settings=environment, cwd=tmp_path)
    assert code == 2
    assert f"not {day!r}" in err
    code, _, err = await run_command("prune", settings=environment, cwd=tmp_path)
    assert (code, "--before" in err) == (2, True)
    today = time.strftime("%Y-%m-%d", time.gmtime())
    code, _, err = await run_command("prune", "--before", today, settings=environment, cwd=tmp_path)
    assert (code, "expected a day before today" in err) == (2, True)


async def test_nothing_of_it_is_left_in_the_file(ledger: Ledger, tmp_path: Path) -> None:
    """What people wrote does not stay in free pages of SQLite's file."""
    await Filling(ledger).ended()
    assert await ledger.prune(MIDNIGHT, MIDNIGHT) == 1
    ledger.close()
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    assert b"a secret reason" not in (tmp_path / "ledger.db").read_bytes()


async def test_click_on_the_card_of_a_removed_request(
    start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock
) -> None:
    """An old card whose request was removed confirms nothing, and its person reads how to go on."""
    async with start() as bot:
        card = await ask(workspace)
        await workspace.click(BEN, card, "Keep Number")
        await settled(bot)
        await advance(bot, clock, 60)  # a sweep updates the card for the last time
        assert await bot.ledger.prune(time.time() + DAY, time.time()) == 1
        for label in ("Unsubscribe Number", "Keep Number"):
            await workspace.click(BEN, card, label)
            await settled(bot)
        said = private(workspace, BEN)
        assert len(said) == 2
        assert all(
            line.startswith("The bot has no record of this request, so the click did nothing. ") for line in said
        )
    assert cellcast.calls == []


async def test_clicks_go_on_meanwhile(ledger: Ledger, database: str) -> None:
    """While thousands of requests are removed, a confirmation never waits as long as an ack allows."""
    with ledger.database.transaction() as db:
        fill(db, 3_000, MIDNIGHT + DAY)
    other = Ledger(database)
    expected = await other.prunable(MIDNIGHT)
    pruning = asyncio.create_task(other.prune(MIDNIGHT, MIDNIGHT))
    requests, waited = Filling(ledger), []
    while not pruning.done():
        request = await requests.request(MIDNIGHT)
        began = time.monotonic()
        assert await ledger.confirm(Click(request.id, 0, "U2", MIDNIGHT), MIDNIGHT + 30, second_person=False)
        waited.append(time.monotonic() - began)
    assert pruning.result() == expected > 1_000
    assert len(waited) > 1
    assert max(waited) < LOCK_TIMEOUT  # after that SQLite gives up
    other.close()

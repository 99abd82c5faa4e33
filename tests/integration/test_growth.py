"""Years of requests: no statement, sweep, App Home or export costs more because the ledger holds more.

Each ledger is filled as the benchmark fills it: every tenth request is about one number.
"""

from __future__ import annotations

import asyncio
import os
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import aclosing
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from benchmarks.fill import OFTEN, fill
from bot.domain.models import Click, NewRequest, Outcome, Request
from bot.domain.status import CallResult, OutcomeCode, Status
from bot.ledger.schema import outcomes, requests
from bot.ledger.statements import BATCH
from bot.ledger.store import CLOSINGS, HISTORY_PAGE, Ledger
from bot.ledger.transitions import CLOSED_AT_ONCE, LEASE
from sandbox.bot_process import start_python
from sandbox.fake_slack import Workspace
from tests.conftest import ANA, BEN, NUMBER, POSTGRESQL, REPEATED, SQLITE, THOROUGH, Start, ask, settled
from tests.messages import said_by
from tests.process import clean_environment

pytestmark = REPEATED

ANALYZED = [
    pytest.param(False, id="never analyzed"),
    pytest.param(True, marks=THOROUGH, id="analyzed"),
]
NOW, WITHIN = 1_700_000_000.0, 900.0


@pytest.fixture
async def ledger(database: str) -> AsyncIterator[Ledger]:
    """An empty ledger."""
    found = Ledger(database, auditing=True)
    await found.open()
    yield found
    found.close()


def fill_up(ledger: Ledger, count: int) -> None:
    """Write some requests that wait, and so many thousand that have ended: the first thousand again and again."""
    with ledger.database.transaction() as db:
        fill(db, 1_000, NOW)
        for table, key, where in ((requests, "id", "active_number_id IS NULL"), (outcomes, "request_id", "1 = 1")):
            kept = ", ".join(column.name for column in table.c if column.name != key)
            for copy in range(1, count):
                db.exec_driver_sql(
                    f"INSERT INTO {table.name} ({key}, {kept}) SELECT '_{copy:03}' || substr({key}, 5), {kept} "  # noqa: S608 - ours
                    f"FROM {table.name} WHERE {where} AND {key} NOT LIKE '|_%%' ESCAPE '|'"
                )


def statements_of(ledger: Ledger) -> list[tuple[str, Any]]:
    """The statements that the ledger runs from now on, with their parameters."""
    seen: list[tuple[str, Any]] = []
    sa.event.listen(ledger.database.engine, "before_cursor_execute", lambda *given: seen.append((given[2], given[3])))
    return seen


async def create(ledger: Ledger, number: str, within: float = WITHIN, now: float = NOW) -> Request:
    """Somebody requests a number."""
    request, _ = await ledger.create_request(NewRequest(number, "C1", "U1", now, within))
    return request


def click(request: Request, now: float = NOW) -> Click:
    """Somebody clicks the card of a request."""
    return Click(request.id, request.attempt, "U2", now, "C1", "1.0")


def acts(ledger: Ledger) -> dict[str, Callable[[], Awaitable[object]]]:
    """What the bot does with its ledger, in this order."""
    state: dict[str, Request] = {}
    swept: list[Outcome] = []

    async def request() -> None:
        state["of OFTEN"] = await create(ledger, OFTEN)

    async def confirm() -> None:
        confirmed = await ledger.confirm(click(state["of OFTEN"]), NOW + 20, second_person=False)
        assert confirmed is not None
        state["of OFTEN"] = confirmed

    async def settle() -> None:
        done = await ledger.settle(state["of OFTEN"], CallResult(OutcomeCode.NOT_FOUND), NOW, WITHIN)
        assert done is not None
        assert done.outcome is not None
        await ledger.delivered(done.outcome, NOW)

    async def keep() -> None:
        await ledger.keep(click(await create(ledger, "a" * 24)))

    async def sweep() -> None:
        for n in range(3):
            await create(ledger, f"{n:024x}", within=0.0)
        swept.extend((await ledger.sweep(NOW, WITHIN)).outcomes)
        assert len(swept) == 3

    async def audit() -> None:
        assert await ledger.audit_due(NOW + 20)
        line = await ledger.claim_audit(NOW + 20)
        assert line is not None
        await ledger.audited(line)

    async def history() -> None:
        async with aclosing(ledger.whole_history()) as rows:
            assert await anext(rows)

    return {
        "a request": request,
        "a confirmation": confirm,
        "the start of a call": lambda: ledger.start_call(state["of OFTEN"], NOW),
        "the outcome of a call": settle,
        "a kept number": keep,
        "an idle sweep": lambda: ledger.sweep(NOW, WITHIN),
        "a sweep with work": sweep,
        "a deferred delivery": lambda: ledger.defer_delivery(swept[0], NOW + LEASE),
        "an audit line": audit,
        "a card that may be stale": lambda: ledger.card_stale(state["of OFTEN"].id, NOW),
        "the App Home": lambda: ledger.overview(NOW, 20, 20),
        "the marks of the picker": lambda: ledger.open_numbers([f"{n:024x}" for n in range(100)], NOW),
        "the history in Slack": ledger.history,
        "a page of the history": history,
        "the gauges": lambda: ledger.gauges(NOW),
        "the health check": ledger.check,
    }


@pytest.mark.parametrize("analyzed", ANALYZED)
async def test_work_does_not_grow(tmp_path: Path, analyzed: bool) -> None:
    """With fifteen times the requests SQLite takes as many steps for each thing that the bot does."""

    async def steps(count: int) -> dict[str, int]:
        ledger, taken = Ledger(f"sqlite:///{tmp_path}/{count}.db", auditing=True), {}
        await ledger.open()
        fill_up(ledger, count)
        if analyzed:
            with ledger.database.transaction() as db:
                db.exec_driver_sql("ANALYZE")
            ledger.database.engine.dispose()  # a connection reads the statistics when it opens
        steps = 0

        def step() -> None:
            nonlocal steps
            steps += 10

        sa.event.listen(
            ledger.database.engine, "checkout", lambda connection, *_: connection.set_progress_handler(step, 10)
        )
        for name, act in acts(ledger).items():
            steps = 0
            await act()
            taken[name] = steps
        ledger.close()
        return taken

    few, many = await steps(1), await steps(15)
    assert {name: (few[name], many[name]) for name in few if many[name] > 1.2 * few[name] + 500} == {}


@POSTGRESQL
@pytest.mark.parametrize("analyzed", ANALYZED)
async def test_postgresql_reads_no_whole_table(ledger: Ledger, analyzed: bool) -> None:
    """PostgreSQL finds the rows of every statement by an index, whatever it knows about their distribution."""
    fill_up(ledger, 20)
    if analyzed:
        with ledger.database.transaction() as db:
            db.exec_driver_sql("SET LOCAL statement_timeout = 0")  # a busy machine takes longer
            db.exec_driver_sql("ANALYZE")
    run: dict[str, tuple[str, Any]] = {}
    for name, act in acts(ledger).items():
        seen = statements_of(ledger)
        await act()
        run |= {statement: (name, parameters) for statement, parameters in seen}
    scans = []
    with ledger.database.transaction() as db:
        for statement, (name, parameters) in run.items():
            plan = "\n".join(row[0] for row in db.exec_driver_sql(f"EXPLAIN {statement}", parameters))
            # For a page of the history one look at all outcomes of so few requests is cheaper than a look for each.
            if "Seq Scan on requests" in plan or ("Seq Scan on outcomes" in plan and "history" not in name):
                scans.append((name, statement, plan))
    assert len(run) > 20
    assert scans == []


async def copies(ledger: Ledger, count: int, **changes: Any) -> None:
    """Store so many requests at once."""
    one = await create(ledger, "c" * 24)
    columns = {column.name for column in requests.c}
    made = (replace(one, id=f"{n:032x}", active_number_id=f"b{n:023x}", **changes) for n in range(count))
    with ledger.database.transaction() as db:
        db.execute(requests.insert(), [{k: v for k, v in vars(row).items() if k in columns} for row in made])


def count(ledger: Ledger, status: Status) -> int:
    """How many requests have a status."""
    with ledger.database.transaction() as db:
        found = db.scalar(sa.select(sa.func.count()).select_from(requests).where(requests.c.status == status))
    return int(found or 0)


@SQLITE
async def test_sweep_lets_confirmations_through(ledger: Ledger) -> None:
    """While a sweep closes 2,000 cards that expired together, a confirmation goes first on SQLite's only thread."""
    await copies(ledger, 2_000, expires_at=NOW)
    request = await create(ledger, "a" * 24)
    begun, loop = asyncio.Event(), asyncio.get_running_loop()

    def committed(db: sa.Connection) -> None:
        if db.get_execution_options()["writes"]:
            loop.call_soon_threadsafe(begun.set)

    sa.event.listen(ledger.database.engine, "commit", committed)
    sweeping = asyncio.create_task(ledger.sweep(NOW, WITHIN))
    await begun.wait()
    assert await ledger.confirm(click(request), NOW + 20, second_person=False)
    assert not sweeping.done()
    assert len((await sweeping).outcomes) == BATCH


@SQLITE
async def test_sweep_has_a_limit(ledger: Ledger) -> None:
    """One sweep closes a bounded number of requests, the next ones the rest, and deliveries begin with the first."""
    await copies(ledger, 1_000, expires_at=NOW)
    closed = []
    while count(ledger, Status.EXPIRED) < 1_000:
        assert len((await ledger.sweep(NOW, WITHIN)).outcomes) == BATCH
        closed.append(count(ledger, Status.EXPIRED))
    assert closed == [CLOSINGS * CLOSED_AT_ONCE * (sweep + 1) for sweep in range(2)]


@pytest.mark.parametrize("running", [0, 50])
async def test_nothing_overdue_waits_for_others(ledger: Ledger, running: int) -> None:
    """What was interrupted is settled before cards expire, and calls that still run here hold nobody up."""
    await copies(ledger, 60, status=Status.CONFIRMED, attempt=1, expires_at=None, call_deadline=NOW - 60)
    own = frozenset(f"{n:032x}" for n in range(running))
    for n in range(25):
        await create(ledger, f"{n:024x}", within=-60.0)
    due = await ledger.sweep(NOW, WITHIN, own)
    assert len(due.outcomes) == BATCH
    assert count(ledger, Status.CONFIRMED) == running
    assert count(ledger, Status.REFUSED) == 60 - running
    assert count(ledger, Status.EXPIRED) == 25


async def test_history_of_any_length(ledger: Ledger) -> None:
    """The whole history comes oldest first, each page by one statement, and each request once with all its outcomes."""
    fill_up(ledger, 4)
    seen = statements_of(ledger)
    found = [(request.requested_at, request.id, len(past)) async for request, past in ledger.whole_history()]
    assert len(found) == len({request_id for _, request_id, _ in found}) >= 4_000
    assert found == sorted(found)
    with ledger.database.transaction() as db:
        assert sum(past for *_, past in found) == db.scalar(sa.select(sa.func.count()).select_from(outcomes))
    assert sum("FROM requests" in statement for statement, _ in seen) == len(found) // HISTORY_PAGE + 2


async def test_history_while_requests_change(ledger: Ledger) -> None:
    """What was stored before comes exactly once, also at one moment, and as it is when its page is read."""
    await copies(ledger, 1_200)
    found: list[Request] = []
    async for request, _ in ledger.whole_history(NOW):
        if not found:
            for n in (0, 1_199):
                assert await ledger.keep(Click(f"{n:032x}", 0, "U2", NOW))
            await create(ledger, "d" * 24, now=NOW + 1)
        found.append(request)
    assert [request.id for request in found[:1_200]] == [f"{n:032x}" for n in range(1_200)]
    assert {request.number_id for request in found[1_200:]} == {"c" * 24, "d" * 24}
    assert (found[0].status, found[1_199].status) == (Status.PENDING, Status.KEPT)


@SQLITE
@pytest.mark.parametrize("arguments", [(), pytest.param(("--json",), marks=THOROUGH)])
async def test_reader_that_stops(
    ledger: Ledger, environment: dict[str, str], tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    """A reader that closes the pipe, as `head` does, ends the export without an error."""
    await copies(ledger, 1_200)
    process = await start_python("history", *arguments, settings=clean_environment(environment), cwd=tmp_path)
    assert process.stdout is not None
    assert process.stderr is not None
    assert await process.stdout.readline()
    process.stdout._transport.close()  # type: ignore[attr-defined]  # asyncio offers no other way to close it
    assert (await process.stderr.read()).decode() == ""
    assert await process.wait() == 0


@THOROUGH
@SQLITE
async def test_output_that_nobody_reads(environment: dict[str, str], tmp_path: Path, workspace: Workspace) -> None:
    """A command whose reader has gone ends without a traceback."""
    reader, writer = os.pipe()
    os.close(reader)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bot", "check"),
        env=clean_environment(environment),
        cwd=tmp_path,
        stdout=writer,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(writer)
    _, err = await process.communicate()
    assert (process.returncode, err.decode()) == (0, "")


@SQLITE
async def test_home_waits_behind_confirmations(ledger: Ledger) -> None:
    """A confirmation that comes after the reading of an App Home goes before it."""
    request = await create(ledger, "a" * 24)
    go, there = threading.Event(), threading.Event()

    def hold(_db: sa.Connection) -> None:
        there.set()
        assert go.wait(20)

    holding = asyncio.create_task(ledger.database.write(hold))
    assert await asyncio.to_thread(there.wait, 20)
    seen = statements_of(ledger)
    reading = asyncio.create_task(ledger.overview(NOW, 20, 20))
    await asyncio.sleep(0)
    confirming = asyncio.create_task(ledger.confirm(click(request), NOW + 20, second_person=False))
    await asyncio.sleep(0)
    go.set()
    await asyncio.gather(holding, reading, confirming)
    assert [statement.split()[0] for statement, _ in seen if "requests" in statement][:2] == ["UPDATE", "SELECT"]


@SQLITE
async def test_homes_share_one_reading(start: Start, workspace: Workspace) -> None:
    """Twenty people with the App Home open cost one reading for each change, and each is checked."""
    people = [f"U0P{n}" for n in range(20)]
    async with start(allowed_users=",".join([ANA, BEN, *people[:-1]])) as bot:
        seen = statements_of(bot.ledger)

        def readings() -> int:
            return sum("ORDER BY requests.requested_at DESC" in statement for statement, _ in seen)

        await asyncio.gather(*(workspace.open_home(person) for person in people))
        await workspace.until(lambda: all(person in workspace.homes for person in people))
        await settled(bot)
        seen.clear()
        await ask(workspace)
        await settled(bot)
        assert 0 < readings() < 4
    *permitted, other = [said_by(workspace.homes[person]) for person in people]
    assert all(NUMBER in shown for shown in permitted)
    assert NUMBER not in other
    assert "You don't have permission" in other

"""The ledger as a state machine: whatever several connections do at once, one of them changes a request."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from sqlalchemy.engine import make_url

from bot.domain.models import Click, DueWork, NewRequest, Outcome, Request
from bot.domain.status import CallResult, OutcomeCode, Status
from bot.errors import LedgerError, NewerLedgerError
from bot.ledger.schema import SCHEMA_VERSION
from bot.ledger.statements import BATCH
from bot.ledger.store import Ledger
from bot.ledger.transitions import LEASE
from tests.conftest import BOTH, POSTGRESQL, SQLITE, often

pytestmark = BOTH

WITHIN, CALL = 100.0, 10.0
NUMBERS = ["a" * 24, "b" * 24, "c" * 24]
OUTCOMES = [
    CallResult(kind)
    for kind in OutcomeCode
    if kind not in (OutcomeCode.KEPT, OutcomeCode.EXPIRED, OutcomeCode.REPLACED, OutcomeCode.ALREADY_GONE)
]


@pytest.fixture
async def ledger(database: str) -> AsyncIterator[Ledger]:
    """A fresh ledger."""
    found = Ledger(database)
    await found.open()
    yield found
    found.close()


def asking(now: float = 0.0, number: str = NUMBERS[0], by: str = "U1") -> NewRequest:
    """Somebody asks."""
    return NewRequest(number_id=number, channel="C1", requested_by=by, now=now, within=WITHIN)


async def test_what_a_clock_ahead_has_stored_is_due_now(ledger: Ledger) -> None:
    """When a clock that was an hour ahead is set back, nothing waits an hour: calls, cards, outcomes and postings."""
    ahead, now = 4_600.0, 1_000.0
    call, _ = await ledger.create_request(asking(ahead, NUMBERS[0]))
    assert await ledger.confirm(Click(call.id, 0, "U2", ahead), ahead + CALL, second_person=False)
    kept, _ = await ledger.create_request(asking(ahead, NUMBERS[1]))
    await ledger.card_stale(kept.id, ahead)
    assert await ledger.keep(Click(kept.id, 0, "U2", ahead))
    assert (await ledger.gauges(now))[1] == ahead - now  # an alert, in case it cannot be delivered
    due = await ledger.sweep(now, WITHIN)
    assert {outcome.request_id: outcome.code for outcome in due.outcomes} == {
        call.id: OutcomeCode.NOT_STARTED,
        kept.id: OutcomeCode.KEPT,
    }
    assert [card.id for card in due.cards] == [kept.id]
    assert await ledger.sweep(now + 1, WITHIN) == DueWork([], [])
    lost, _ = await ledger.create_request(asking(ahead, NUMBERS[2]))
    found, is_new = await ledger.create_request(asking(now, NUMBERS[2]))
    assert (found.id != lost.id, is_new) == (True, True)


async def test_newer_schema_is_refused(ledger: Ledger) -> None:
    """A bot that meets a newer ledger refuses with a plain line, and opens its own again and again."""
    await ledger.open()
    with ledger.database.transaction() as db:
        db.execute(sa.text("UPDATE ledger_version SET version = 99"))
    with pytest.raises(NewerLedgerError, match="newer version of this bot"):
        await ledger.open()


async def test_rehearsal_of_a_start_changes_nothing(database: str) -> None:
    """A rehearsed start proves that the tables can be created, and creates none; later it finds them."""
    found = Ledger(database, create=False)
    assert await found.rehearse_start() is None
    assert await found.version() is None
    found.close()
    opened = Ledger(database)
    await opened.open()
    assert await opened.rehearse_start() == SCHEMA_VERSION
    opened.close()


async def test_rehearsal_without_the_folder(tmp_path: Path) -> None:
    """A rehearsed start fails if SQLite's file can't be created."""
    found = Ledger(f"sqlite:///{tmp_path}/no-folder/ledger.db", create=False)
    with pytest.raises(LedgerError) as raised:
        await found.rehearse_start()
    assert "No such file or directory" in str(raised.value.__cause__)
    found.close()


@SQLITE
async def test_every_write_is_durable(ledger: Ledger) -> None:
    """SQLite runs with a write-ahead log, and a commit is on the disk before it returns."""
    with ledger.database.transaction() as db:
        assert db.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert db.exec_driver_sql("PRAGMA synchronous").scalar() == 2


async def test_locked_database_changes_nothing(ledger: Ledger, database: str) -> None:
    """While somebody else holds the row a change says so within the time of an ack, and nothing is done."""
    request, _ = await ledger.create_request(asking())
    await ledger.check()
    other = Ledger(database)
    with other.database.transaction() as holder:
        holder.execute(sa.text("UPDATE requests SET reason = 'held'"))
        began = asyncio.get_running_loop().time()
        with pytest.raises(LedgerError, match="so this was not recorded"):
            await ledger.confirm(Click(request.id, 0, "U1", 1.0), 11.0, second_person=False)
        assert asyncio.get_running_loop().time() - began < 2.9
        assert (await ledger.get(request.id)) == request
        holder.rollback()
    other.close()
    assert await ledger.confirm(Click(request.id, 0, "U1", 1.0), 11.0, second_person=False)


async def test_delivery_is_claimed_once(ledger: Ledger) -> None:
    """Of sweeps at the same moment one gets an outcome to tell; another may only after the lease."""
    request, _ = await ledger.create_request(asking())
    found = await asyncio.gather(*(ledger.sweep(WITHIN, WITHIN) for _ in range(8)))
    (outcome,) = [e for swept in found for e in swept.outcomes]
    assert (outcome.request_id, outcome.code, outcome.delivery_attempts) == (request.id, OutcomeCode.EXPIRED, 1)
    assert (await ledger.sweep(WITHIN + LEASE - 1, WITHIN)).outcomes == []
    (again,) = (await ledger.sweep(WITHIN + LEASE, WITHIN)).outcomes
    await ledger.delivered(again, WITHIN + LEASE)
    assert (await ledger.sweep(WITHIN * 9, WITHIN)).outcomes == []


async def test_late_failure_does_not_end_a_newer_claim(ledger: Ledger) -> None:
    """A replica whose delivery fails after its lease leaves the delivery to the replica that has claimed it since."""
    await ledger.create_request(asking())
    (slow,) = (await ledger.sweep(WITHIN, WITHIN)).outcomes
    (newer,) = (await ledger.sweep(WITHIN + LEASE, WITHIN)).outcomes
    await ledger.defer_delivery(slow, WITHIN + LEASE + 1)
    assert (await ledger.sweep(WITHIN + LEASE + 2, WITHIN)).outcomes == []
    await ledger.defer_delivery(newer, WITHIN + LEASE + 3)
    (again,) = (await ledger.sweep(WITHIN + LEASE + 3, WITHIN)).outcomes
    assert again.delivery_attempts == 3


async def test_outcomes_that_fail_again_and_again_hold_up_no_other(ledger: Ledger) -> None:
    """An outcome whose delivery has not failed yet goes before any number of those whose delivery has."""
    for number in range(BATCH + 5):
        await ledger.create_request(asking(number=f"{number:024x}"))
    failed = [outcome for _ in range(2) for outcome in (await ledger.sweep(WITHIN, WITHIN)).outcomes]
    assert len(failed) == BATCH + 5
    for outcome in failed:
        await ledger.defer_delivery(outcome, WITHIN + 1)
    fresh, _ = await ledger.create_request(asking(now=WITHIN))
    swept = await ledger.sweep(WITHIN * 2, WITHIN)
    assert fresh.id in [outcome.request_id for outcome in swept.outcomes]


async def test_operator_and_delivery_do_not_race(ledger: Ledger) -> None:
    """What is delivered first stays so; what an operator closed first is closed, whatever its delivery then brings."""
    request, _ = await ledger.create_request(asking())
    (outcome,) = (await ledger.sweep(WITHIN, WITHIN)).outcomes
    (closed,) = await ledger.close_outcomes(request.id, WITHIN + 1)
    assert (closed.closed_at, closed.delivered_at) == (WITHIN + 1, WITHIN + 1)
    await ledger.defer_delivery(outcome, WITHIN + 2, WITHIN)
    await ledger.delivered(outcome, WITHIN + 3)
    assert (await ledger.sweep(WITHIN * 9, WITHIN)).outcomes == []
    assert (await ledger.require(request.id)).outcome == closed

    request, _ = await ledger.create_request(asking(now=WITHIN))
    (outcome,) = (await ledger.sweep(WITHIN * 2, WITHIN)).outcomes
    await ledger.delivered(outcome, WITHIN * 2)
    assert await ledger.close_outcomes(request.id, WITHIN * 2 + 1) == []
    found = (await ledger.require(request.id)).outcome
    assert found is not None
    assert found.closed_at is None


async def test_correction_opens_a_closed_outcome(ledger: Ledger) -> None:
    """If Cellcast's answer replaces an outcome that an operator closed, it is delivered all the same."""
    request, _ = await ledger.create_request(asking())
    confirmed = await ledger.confirm(Click(request.id, 0, "U1", 1.0), 11.0, second_person=False)
    assert confirmed is not None
    assert await ledger.start_call(confirmed, 1.0)
    assert (await ledger.sweep(12.0, WITHIN)).outcomes
    assert await ledger.close_outcomes(request.id, 13.0)
    assert await ledger.correct(confirmed, CallResult(OutcomeCode.SUCCEEDED), 14.0, WITHIN)
    (outcome,) = (await ledger.sweep(12.0 + LEASE, WITHIN)).outcomes
    assert (outcome.code, outcome.closed_at, outcome.delivered_at) == (OutcomeCode.SUCCEEDED, None, None)


async def test_second_person_holds_in_the_database(ledger: Ledger) -> None:
    """The one who asked cannot confirm where a second person must, whatever was looked at before."""
    request, _ = await ledger.create_request(asking())
    assert not await ledger.confirm(Click(request.id, 0, "U1", 1.0), 11.0, second_person=True)
    assert await ledger.confirm(Click(request.id, 0, "U2", 1.0), 11.0, second_person=True)


async def test_request_that_vanishes_meanwhile(ledger: Ledger) -> None:
    """Nothing is known of a request that was never made."""
    assert await ledger.get("0" * 32) is None
    assert await ledger.keep(Click("0" * 32, 0, "U1", 0.0)) is None


class Promises(RuleBasedStateMachine):
    """Several connections ask, click, end, sweep and stop, in any order and at once; the promises hold throughout.

    Who wins a race is chance, so no rule's drawing depends on what is in the ledger: hypothesis can repeat a run.
    """

    url = ""  # of a database that outlives an example; "" is a fresh file for each

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._ledgers = [Ledger(self.url or f"sqlite:///{self._folder.name}/ledger.db") for _ in range(3)]
        self._loop = asyncio.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(1))
        for ledger in self._ledgers:
            self._run(ledger.open())
        with self._ledgers[0].database.transaction() as db:
            db.execute(sa.text("DELETE FROM outcomes"))
            db.execute(sa.text("DELETE FROM requests"))
        self.now = 0.0
        self.requests: dict[str, Request] = {}
        self.yes: dict[tuple[str, int], None] = {}  # confirmations that were recorded: each is one call
        self.outcomes: dict[tuple[str, int], OutcomeCode] = {}
        self.told: set[tuple[str, int]] = set()
        self.due: list[Outcome] = []

    def _run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._loop.run_until_complete(work)

    def _all(self, works: list[Coroutine[Any, Any, Any]]) -> list[Any]:
        async def together() -> list[Any]:
            return await asyncio.gather(*works)

        return list(self._run(together()))

    def teardown(self) -> None:
        """Close the connections."""
        for ledger in self._ledgers:
            ledger.close()
        self._loop.run_until_complete(self._loop.shutdown_default_executor())
        self._loop.close()
        self._folder.cleanup()

    def _ended(self, outcomes: list[Outcome]) -> None:
        for outcome in outcomes:
            key = (outcome.request_id, outcome.attempt)
            assert self.outcomes.setdefault(key, outcome.code) is outcome.code
            assert key not in self.told
            self.due.append(outcome)

    @rule(number=st.sampled_from(NUMBERS[:2]), lost=st.booleans())
    def ask(self, number: str, lost: bool) -> None:
        """All copies are asked for one number at once: one card at the most, and it may get lost."""
        found = self._all([ledger.create_request(asking(self.now, number)) for ledger in self._ledgers])
        assert sum(fresh for _, fresh in found) <= 1
        assert len({request.id for request, _ in found}) == 1
        for request, fresh in found:
            self.requests[request.id] = request
            if fresh and lost:
                assert self._run(self._ledgers[0].card_lost(request.id))
            elif fresh:
                self._run(self._ledgers[0].card_posted(request.id, "1.0"))

    @rule(which=st.integers(0, 9), attempt=st.integers(0, 2))
    def confirm(self, which: int, attempt: int) -> None:
        """The same click reaches all replicas at once: at most one of them makes the call."""
        if not self.requests:
            return
        request_id = list(self.requests)[which % len(self.requests)]
        before = self._run(self._ledgers[0].get(request_id))
        click = Click(request_id, attempt, "U2", self.now, "C1", "1.0")
        found = self._all([ledger.confirm(click, self.now + CALL, second_person=False) for ledger in self._ledgers])
        won = [request is not None for request in found]
        assert sum(won) <= 1
        if any(won):
            assert (request_id, attempt + 1) not in self.yes
            assert before.expires_at > self.now
            assert before.attempt == attempt
            self.yes[request_id, attempt + 1] = None

    @rule(which=st.integers(0, 9))
    def keep_and_expire(self, which: int) -> None:
        """Keep, expire and confirm race: one of them wins."""
        if not self.requests:
            return
        request_id = list(self.requests)[which % len(self.requests)]
        click = Click(request_id, 0, "U3", self.now, "C1", "1.0")
        one, two, three = self._ledgers
        confirming = three.confirm(click, self.now + CALL, second_person=False)
        kept, expired, confirmed = self._all([one.keep(click), two.expire(click), confirming])
        won = confirmed is not None
        assert (kept is not None) + (expired is not None) + won <= 1
        if won:
            self.yes[request_id, 1] = None
        self._ended([request.outcome for request in (kept, expired) if request is not None])

    @rule(which=st.integers(0, 9), result=st.sampled_from(OUTCOMES))
    def finish(self, which: int, result: CallResult) -> None:
        """An answer is written by one replica, and never over an outcome that is there."""
        if not self.yes:
            return
        request_id, attempt = list(self.yes)[which % len(self.yes)]
        request = self._run(self._ledgers[0].get(request_id))
        running = request.status is Status.CONFIRMED and request.attempt == attempt
        if request.attempt == attempt:
            found = self._all([led.settle(request, result, self.now, WITHIN) for led in self._ledgers])
            assert sum(ended is not None for ended in found) == running
            self._ended([ended.outcome for ended in found if ended is not None])

    @rule()
    def sweep(self) -> None:
        """All copies sweep at once: each due outcome is handed to one of them."""
        found = self._all([ledger.sweep(self.now, WITHIN) for ledger in self._ledgers])
        claimed = [(e.request_id, e.attempt) for swept in found for e in swept.outcomes]
        assert len(claimed) == len(set(claimed))
        self._ended([e for swept in found for e in swept.outcomes])

    @rule(taken=st.booleans())
    def tell(self, taken: bool) -> None:
        """Slack takes a message, or does not."""
        if not self.due:
            return
        outcome = self.due.pop()
        if taken:
            self._run(self._ledgers[1].delivered(outcome, self.now))
            self.told.add((outcome.request_id, outcome.attempt))
        else:
            self._run(self._ledgers[2].defer_delivery(outcome, self.now + 1))

    @rule(seconds=st.sampled_from([0.5, 5.0, LEASE, CALL, WITHIN]))
    def wait(self, seconds: float) -> None:
        """Time passes; who held a claim may have died."""
        self.now += seconds

    @invariant()
    def one_ending_for_one_yes(self) -> None:
        """Each call has one outcome or is under way, and nothing ended that nobody knows of."""
        for request_id in self.requests:
            request = self._run(self._ledgers[0].get(request_id))
            attempts = sorted(n for r, n in self.yes if r == request_id)
            assert attempts == list(range(1, request.attempt + 1))
            if request.status in (Status.PENDING, Status.CONFIRMED):
                assert request.outcome is None
                assert request.active_number_id == request.number_id
            else:
                assert request.outcome.code.status is request.status


def test_promises_hold_whatever_happens_at_once(database: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The state machine, on both databases."""
    monkeypatch.setattr(Promises, "url", "" if database.startswith("sqlite") else database)
    checks = list(HealthCheck)  # an example opens a database: slow by hypothesis' standards
    run_state_machine_as_test(
        Promises,
        settings=settings(
            max_examples=often(4, 8), stateful_step_count=25, deadline=None, suppress_health_check=checks
        ),
    )


@SQLITE
@pytest.mark.parametrize("settled_by", ["keep", "expire", "settle", "settle_unstarted"])
async def test_fresh_outcome_belongs_to_who_settled_it(ledger: Ledger, settled_by: str) -> None:
    """An outcome is claimed by whoever settled the request: a sweep delivers it only if that one has died."""
    request, _ = await ledger.create_request(asking())
    now = WITHIN if settled_by == "expire" else 1.0
    click = Click(request.id, 0, "U2", now, "C1", "1.0")
    if settled_by == "keep":
        settled = await ledger.keep(click)
    elif settled_by == "expire":
        settled = await ledger.expire(click)
    else:
        confirmed = await ledger.confirm(click, now + CALL, second_person=False)
        assert confirmed is not None
        if settled_by == "settle":
            settled = await ledger.settle(confirmed, CallResult(OutcomeCode.SUCCEEDED), now, WITHIN)
        else:
            settled = await ledger.settle_unstarted(click, now, WITHIN)
    assert settled is not None
    assert settled.outcome is not None
    assert settled.outcome.delivery_attempts == 1
    assert (await ledger.sweep(now + LEASE - 1, WITHIN)).outcomes == []
    (again,) = (await ledger.sweep(now + LEASE, WITHIN)).outcomes
    assert (again.code, again.delivery_attempts) == (settled.outcome.code, 2)


@POSTGRESQL
async def test_sweep_takes_what_is_due_longest(database: str) -> None:
    """A sweep claims twenty outcomes and twenty cards, those first that have been due longest; the next the rest."""
    url = make_url(database)  # without indexes, whose order would be the right one by chance
    options = f"{url.query['options']} -c enable_indexscan=off -c enable_bitmapscan=off"
    ledger = Ledger(url.update_query_dict({"options": options}).render_as_string(hide_password=False))
    await ledger.open()
    ids = [(await ledger.create_request(asking(number=f"{n:024x}")))[0].id for n in range(25)]
    for outcome in [*(await ledger.sweep(WITHIN, WITHIN)).outcomes, *(await ledger.sweep(WITHIN, WITHIN)).outcomes]:
        await ledger.defer_delivery(outcome, 2000.0 - ids.index(outcome.request_id))
    for place, request_id in enumerate(ids):
        await ledger.card_stale(request_id, 2000.0 - place)
    first = await ledger.sweep(3000.0, WITHIN)
    assert {outcome.request_id for outcome in first.outcomes} == set(ids[5:])
    assert {request.id for request in first.cards} == set(ids[5:])
    rest = await ledger.sweep(3000.0, WITHIN)
    assert {outcome.request_id for outcome in rest.outcomes} == set(ids[:5])
    assert {request.id for request in rest.cards} == set(ids[:5])
    ledger.close()

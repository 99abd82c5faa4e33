"""One run: play a plan, and look from outside whether the bot kept its promises."""

from __future__ import annotations

import asyncio
import logging
import re
import secrets
import tempfile
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import sqlalchemy as sa
import structlog

from bot.domain.status import OutcomeCode, Status
from bot.ledger.store import Ledger
from bot.views.outcomes import OUTCOME_TEXT
from tests.simulation.outside import SUCCESS, Call, Faults, Shown, break_transactions
from tests.simulation.plan import FAULTS_END, Plan
from tests.simulation.world import CHANNEL, CURRENT, World

# How long a run goes on after its faults at most, before whatever is still open counts as stuck.
PATIENCE = 1500.0
# A card shows its true state at most this long after the last change of its request, when no fault is at work.
CARD_LIMIT = 60.0
LOOK_EVERY = 5.0
# What nobody may read about a click that a call followed.
NOT_DONE = re.compile("[Nn]othing was (sent|done)")
ENDS = {"kill", "kill at a step", "stop"}
NOTHING_SENT = {
    OutcomeCode.DRY_RUN,
    OutcomeCode.NOT_CONNECTED,
    OutcomeCode.NOT_STARTED,
    OutcomeCode.KEPT,
    OutcomeCode.EXPIRED,
    OutcomeCode.REPLACED,
}


@dataclass(frozen=True)
class Result:
    """What a run showed."""

    violations: list[str]
    trace: list[str]
    seconds: float  # of virtual time
    requests: int
    calls: int
    crashes: int  # kills and stops


class Simulation:
    """Plays runs, one after another, in one folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._template = folder / "template.db"
        ledger = Ledger(f"sqlite:///{self._template}")
        asyncio.run(ledger.open())
        ledger.close()
        for row in self._folder.glob("template.db-*"):
            row.unlink()
        # SQLAlchemy compiles each statement once for an engine, which takes as long as all the rest of a run: the bots
        # of every run share one engine.
        self._engines = _shared_engines()

    def play(self, plan: Plan) -> Result:
        """Play a plan."""
        world = World(plan, self._folder, self._template)
        with _surroundings(world), self._engines():
            try:
                world.loop.run_until_complete(_run(world))
            finally:
                for task in asyncio.all_tasks(world.loop):
                    task.cancel()
                world.loop.close()
        trace = [f"{at:8.3f} s  {who:12} {what}" for at, who, what in world.trace]
        requests = world.rows("SELECT count(*) AS count FROM requests")[0]["count"]
        crashes = sum(len(replica.ended_at) for replica in world.replicas) - len(world.replicas)
        return Result(world.violations, trace, world.loop.seconds, requests, len(world.calls), crashes)


def _shared_engines() -> Callable[[], AbstractContextManager[None]]:
    engines: dict[str, sa.Engine] = {}
    real = sa.create_engine

    def create_engine(url: str, **options: Any) -> sa.Engine:
        if url not in engines:
            engines[url] = real(url, **options)
        return engines[url].execution_options()  # listeners of its own; the same pool and compiled statements

    @contextmanager
    def shared() -> Iterator[None]:
        sa.create_engine = create_engine  # type: ignore[assignment]  # one of its forms, the one that the bot uses
        try:
            yield
        finally:
            sa.create_engine = real
            for engine in engines.values():  # the next run has another file of the same name
                engine.dispose()

    return shared


@contextmanager
def _surroundings(world: World) -> Iterator[None]:
    """Let ids come from the seed, transactions fail, and whatever the bot logs as unexpected count as a violation."""
    ids = Random(f"ids {world.plan.seed}")
    real = secrets.token_hex

    def token_hex(nbytes: int | None = None) -> str:
        return ids.randbytes(nbytes or 32).hex()

    secrets.token_hex = token_hex

    def notice(_logger: object, _method: str, event: MutableMapping[str, Any]) -> Any:
        name = event["event"]
        if name == "unexpected_error":
            world.violate(f"unexpected error: {event.get('exc_info')!r}")
        else:
            world.note("log", " ".join(f"{key}={value}" for key, value in event.items()))
        raise structlog.DropEvent

    structlog.configure(processors=[notice], wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))

    def factory(loop: asyncio.AbstractEventLoop, work: Any, **given: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(work, loop=loop, **given)
        if (replica := CURRENT.get()) is not None:
            replica.watch_tasks(task)
        return task

    def unheard(_loop: object, found: dict[str, Any]) -> None:
        world.violate(f"asyncio: {found['message']} {found.get('exception')!r}")

    world.loop.set_task_factory(factory)
    world.loop.set_exception_handler(unheard)
    restore = break_transactions(world)
    try:
        with warnings.catch_warnings():
            # A process that is killed leaves work that it had not begun.
            warnings.filterwarnings("ignore", "coroutine .* was never awaited", RuntimeWarning)
            yield
    finally:
        restore()
        secrets.token_hex = real
        structlog.reset_defaults()


async def _run(world: World) -> None:
    for replica in world.replicas:
        replica.start({})
    for event in world.plan.events:
        world.loop.call_at(event.at, world.happen, event)
    while world.loop.seconds < FAULTS_END:
        await asyncio.sleep(LOOK_EVERY)
        _look_at_confirmed(world)
    _heal(world)
    until, wrong_since = FAULTS_END + PATIENCE, dict[str, float]()
    while True:
        await asyncio.sleep(LOOK_EVERY)
        open_requests = _open(world)
        _look_at_cards(world, wrong_since)
        if world.violations or (not open_requests and not wrong_since):
            break
        if world.loop.seconds > until:
            world.violate(f"still open after {PATIENCE:.0f} s without faults: {open_requests or 'wrong cards'}")
            break
    _look_at_outcomes(world)
    for replica in world.replicas:
        await replica.stop()


def _heal(world: World) -> None:
    """End every fault, and let every replica run."""
    world.note("world", "no more faults")
    for faults in (world.slack, world.cellcast, *(replica.database for replica in world.replicas)):
        faults.now = []
    for replica in world.replicas:
        replica.dies_in = None
        replica.start({})


def _open(world: World) -> list[str]:
    """Return what is still to be settled or delivered."""
    found = world.rows(
        "SELECT id, status, expires_at FROM requests WHERE expires_at IS NOT NULL OR status = 'confirmed'"
    )
    late = world.rows("SELECT request_id, code FROM outcomes WHERE delivered_at IS NULL")
    return [f"{row['id'][:6]} {row['status']}" for row in found] + [f"{r['request_id'][:6]} {r['code']}" for r in late]


def _look_at_confirmed(world: World) -> None:
    """Look for a confirmation that nobody acts on, though its replica runs and no fault is at work."""
    if any(event.what in ENDS | {"clock"} for event in world.plan.events):
        return
    world.calm = 0 if any(replica.database.now for replica in world.replicas) else world.calm + 1
    for row in world.rows("SELECT * FROM requests WHERE status = 'confirmed' AND call_started_at IS NULL"):
        if world.calm > 4 and world.replicas[0].clock.now() - row["decided_at"] > 4 * LOOK_EVERY:
            world.violate(f"{row['id'][:6]} is confirmed, and nobody acts on it")


def _look_at_cards(world: World, wrong_since: dict[str, float]) -> None:
    """Look whether each card shows the state of its request; for a while after a change it need not."""
    for row in world.rows("SELECT * FROM requests"):
        state = f"{row['id'][:6]} {row['status']} {row['attempt']} {row['expires_at'] is not None}"
        shown = world.cards.get((row["channel"], row["card_ts"]))
        if shown is None or shown.deleted or (problem := _wrong(world, row, shown)) is None:
            for key in [key for key in wrong_since if key.startswith(row["id"][:6])]:
                del wrong_since[key]
            continue
        for key in [key for key in wrong_since if key.startswith(row["id"][:6]) and key != state]:
            del wrong_since[key]
        since = wrong_since.setdefault(state, world.loop.seconds)
        # Clocks that are apart by minutes put off what waits for a Retry-After by as much.
        limit = CARD_LIMIT + max([abs(replica.clock.ahead) for replica in world.replicas])
        if world.loop.seconds - since > limit:
            world.violate(f"the card {row['card_ts']} of {state} is wrong: {problem}")


def _wrong(world: World, row: dict[str, Any], shown: Shown) -> str | None:
    """Return what is wrong with the card of a request, None if it shows the truth."""
    text, first = shown.text, shown.text.splitlines()[0]
    can_click = "can be confirmed until" in text or "click Try Again until" in text
    if can_click != (row["expires_at"] is not None):
        return f"buttons: {can_click}: {text!r}"
    if row["status"] == Status.PENDING:
        return None if first.startswith("*Unsubscribe ") else first
    if row["status"] == Status.CONFIRMED:
        return None if first.startswith("*Unsubscribing ") else first
    found = world.rows("SELECT * FROM outcomes WHERE request_id = ? AND attempt = ?", row["id"], row["attempt"])
    headline = OUTCOME_TEXT[OutcomeCode(found[0]["code"])].headline.split("{number}")[0].strip()
    fitting = first.startswith(
        (f"*{headline}", "*Outcome still unknown" if found[0]["after_unknown"] else f"*{headline}")
    )
    return None if fitting else f"{first!r} for {found[0]['code']}"


def _look_at_outcomes(world: World) -> None:
    """Look whether each outcome is true, was delivered, and is the only one."""
    calls = {(call.request, call.attempt): call for call in world.calls}
    for row in world.rows(
        "SELECT o.*, r.reason, r.channel, r.card_ts FROM outcomes o JOIN requests r ON r.id = o.request_id"
    ):
        code, call = OutcomeCode(row["code"]), calls.get((row["request_id"], row["attempt"]))
        about = f"{row['request_id'][:6]}, attempt {row['attempt']}, {code}"
        if call is not None and code in NOTHING_SENT:
            world.violate(f"{about}: people read that nothing was sent, but Cellcast was called")
        if call is None and code not in NOTHING_SENT and code is not OutcomeCode.INTERRUPTED:
            world.violate(f"{about}: Cellcast was not called")
        if call is not None and call.answered and not _may_be_lost(call):
            known = {call.answered, "already_gone"} if call.answered == "not_found" else {call.answered}
            if code not in known:
                world.violate(f"{about}: Cellcast's answer was {call.answered}")
        if row["delivered_at"] is not None:
            _look_at_message(world, row, code, about)
    if world.plan.replicas == 1 and not any(event.what in ENDS | {"clock"} for event in world.plan.events):
        for row in world.rows("SELECT * FROM outcomes WHERE code = 'interrupted' OR correction"):
            world.violate(f"{row['request_id'][:6]} was settled as interrupted, but nothing was")
    _look_at_requests(world)
    _look_at_messages(world)
    _look_at_replies(world, calls)


def _look_at_requests(world: World) -> None:
    """Look whether each request has one outcome for each attempt, and no more."""
    for request in world.rows("SELECT * FROM requests"):
        outcomes = world.rows("SELECT attempt FROM outcomes WHERE request_id = ? ORDER BY attempt", request["id"])
        attempts = [row["attempt"] for row in outcomes]
        expected = list(range(1, request["attempt"] + 1)) or [0]
        if request["status"] not in (Status.PENDING, Status.CONFIRMED) and attempts != expected:
            world.violate(f"{request['id'][:6]} has outcomes of the attempts {attempts}, not {expected}")


def _look_at_replies(world: World, calls: dict[tuple[str, int], Call]) -> None:
    """Look whether somebody read that nothing was sent for a click that a call followed."""
    for click in world.clicks:
        call = next((calls[key] for key in calls if click.value == f"{key[0]}:{key[1] - 1}"), None)
        if call is not None and any(NOT_DONE.search(said) for said in click.replies):
            world.violate(f"{click.user} read {click.replies}, but the click was followed by a call")


def _may_be_lost(call: Call) -> bool:
    """Return whether the process that had the answer ended soon after it: then it may never have stored it."""
    return call.replica.life != call.life or bool(call.replica.ended_at and call.replica.ended_at[-1] >= call.at)


def _look_at_message(world: World, row: dict[str, Any], code: OutcomeCode, about: str) -> None:
    """Look for the words of a delivered outcome in Slack."""
    card = world.cards.get((row["channel"], row["card_ts"]))
    on_card = row["attempt"] == 0 and card is not None
    words = (SUCCESS,) if code is OutcomeCode.SUCCEEDED else (OUTCOME_TEXT[code].what,)
    found = [
        shown
        for shown in world.cards.values()
        if any(row["reason"] in text and any(word in text for word in words) for text in shown.texts)
        if on_card or shown.ts != row["card_ts"]
    ]
    if not found:
        world.violate(f"{about}: delivered, but nothing in Slack says so")
    if row["attempt"] == 0 or _may_repeat(world, [shown.at for shown in found]):
        return
    same = world.rows("SELECT * FROM outcomes WHERE request_id = ? AND code = ?", row["request_id"], code)
    allowed = len(same) + sum({shown.text: world.doubts[shown.text] for shown in found}.values())
    if len(found) > allowed:
        world.violate(f"{about}: its message was posted {len(found)} times, {allowed} had a reason")


def _may_repeat(world: World, posted: list[float]) -> bool:
    """Return whether something happened meanwhile that can end a lease early: then a message is delivered again."""
    if not posted or (world.plan.replicas > 1 and any(event.what == "clock" for event in world.plan.events)):
        return True
    times = [(at, at) for replica in world.replicas for at in replica.ended_at]
    # An answer of the database can be late by 40 s.
    times += [(e.at, e.at + e.details["seconds"] + 40) for e in world.plan.events if e.what == "database"]
    return any(begin <= max(posted) and end >= min(posted) for begin, end in times)


def _look_at_messages(world: World) -> None:
    """Look whether each message tells of an outcome that is stored, and each request has one card."""
    stored = world.rows("SELECT o.*, r.reason, r.card_ts FROM outcomes o JOIN requests r ON r.id = o.request_id")
    live: Counter[str] = Counter()
    for shown in world.cards.values():
        first = shown.texts[0]
        if (values := _live(shown)) is not None:
            live[values] += 1
            continue
        rows = [row for row in stored if row["reason"] in first]
        if rows and not any(_tells(first, row) for row in rows):
            world.violate(f"a message tells of an outcome that is not stored: {first!r}")
    for value, count in live.items():
        if count > 1:
            world.violate(f"{count} cards with live buttons for {value}")
    for reason, url in world.asked:
        said = [text for found, text in world.replies if found == url]
        called = world.rows("SELECT id FROM requests WHERE reason = ?", reason)
        if any("Nothing was sent" in text for text in said):
            for call in world.calls:
                if called and call.request == called[0]["id"]:
                    world.violate(f"somebody read {said}, but Cellcast was called for {reason}")


def _live(shown: Shown) -> str | None:
    """Return which request a message was posted with live buttons for, None if with none."""
    for block in shown.versions[0].get("blocks", []):
        if block["type"] == "actions":
            return str(block["elements"][0]["value"])
    return None


def _tells(text: str, row: dict[str, Any]) -> bool:
    code = OutcomeCode(row["code"])
    words = [OUTCOME_TEXT[code].headline.split("{number}")[0].strip(), "Outcome still unknown"]
    if code is OutcomeCode.SUCCEEDED:
        words += [SUCCESS, "Cellcast reported success"]
    if row["correction"]:  # people may have read that it was unknown
        words.append("Outcome unknown")
    return any(word in text for word in words)


@contextmanager
def simulation() -> Iterator[Callable[[Plan], Result]]:
    """A way to play runs: in memory, where there is a file system for it."""
    memory = Path("/dev/shm")  # noqa: S108 - a private folder is made in it
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Simulation(Path(folder)).play


__all__ = ["CHANNEL", "Faults", "Result", "simulation"]

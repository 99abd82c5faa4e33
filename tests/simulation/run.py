"""One run: play a plan, and look from outside whether the bot kept its guarantees."""

from __future__ import annotations

import asyncio
import logging
import secrets
import tempfile
import warnings
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Any

import sqlalchemy as sa
import structlog

from bot.ledger.store import Ledger
from bot.ops import health
from tests.simulation.fakes import break_transactions
from tests.simulation.guarantees import LOOK_EVERY, check_cards, check_confirmed, check_outcomes, still_open
from tests.simulation.numbers_list import check_list
from tests.simulation.plan import Plan
from tests.simulation.replica import CURRENT
from tests.simulation.world import World

# How long a run goes on after its faults at most, before whatever is still open counts as stuck; clocks that were set
# back make it longer by as much.
PATIENCE = 600.0
# The health check writes a row, which nothing here depends on: seldom, for the sake of time.
WATCH_EVERY = 30.0


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
        world.reader.close()
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
            for engine in engines.values():
                engine.pool.dispatch.connect.listeners.clear()  # each bot adds its own: they would become many
                engine.dispose()  # the next run has another file of the same name

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
            world.report_violation(f"unexpected error: {event.get('exc_info')!r}")
        else:
            said = " ".join(f"{key}={value}" for key, value in event.items())
            world.note("log", said.replace(f"{world.file.parent}/", ""))  # each process has another folder
        raise structlog.DropEvent

    structlog.configure(processors=[notice], wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))

    def factory(loop: asyncio.AbstractEventLoop, work: Any, **given: Any) -> asyncio.Task[Any]:
        task = asyncio.Task(work, loop=loop, **given)
        if (replica := CURRENT.get()) is not None:
            replica.watch_tasks(task)
        return task

    def unheard(_loop: object, found: dict[str, Any]) -> None:
        world.report_violation(f"asyncio: {found['message']} {found.get('exception')!r}")

    watch_every, health.WATCH_EVERY = health.WATCH_EVERY, WATCH_EVERY
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
        secrets.token_hex, health.WATCH_EVERY = real, watch_every
        structlog.reset_defaults()


async def _run(world: World) -> None:
    for replica in world.replicas:
        replica.start({})
    for event in world.plan.events:
        world.loop.call_at(event.at, world.apply_event, event)
    while world.loop.seconds < world.plan.faults_end:
        await asyncio.sleep(LOOK_EVERY)
        check_confirmed(world)
    _heal(world)
    late = max(abs(replica.clock.ahead) for replica in world.replicas)
    until, wrong_since = world.loop.seconds + PATIENCE + late, dict[str, float]()
    while True:
        await asyncio.sleep(LOOK_EVERY)
        for replica in world.replicas:  # one that was just stopping then
            replica.start({})
        open_requests = still_open(world)
        check_confirmed(world)
        check_cards(world, wrong_since)
        if world.violations or (not open_requests and not wrong_since):
            break
        if world.loop.seconds > until:
            world.report_violation(f"still open long after the last fault: {open_requests or 'wrong cards'}")
            break
    check_outcomes(world)
    check_list(world)
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
    if world.list is not None:
        world.list.heal()
        world.list.write(world.loop.seconds)


@contextmanager
def simulation() -> Iterator[Callable[[Plan], Result]]:
    """A way to play runs: in memory, where there is a file system for it."""
    memory = Path("/dev/shm")  # noqa: S108 - a private folder is made in it
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        yield Simulation(Path(folder)).play

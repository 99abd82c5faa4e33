"""python -m benchmarks.growth: measures the ledger with up to a million requests, and writes its part of the page.

The part is in docs/performance.md between `<!-- generated: growth -->` and `<!-- end -->`. The machine should do
nothing else meanwhile. A whole run takes about ten minutes, `--sizes 1000 10000` half a minute.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from benchmarks.contestants import postgres
from benchmarks.fill import FAR, WAITING, fill
from benchmarks.page import GROWTH_PART, PAGE
from benchmarks.play import p
from benchmarks.world import ANA, KEY
from bot.clients.slack import Slack
from bot.clock import Clock
from bot.domain.access import AccessPolicy, People
from bot.domain.models import Click, NewRequest, Request
from bot.ledger.store import Ledger
from bot.service.access import Access
from bot.service.home_publisher import HomePublisher
from bot.tasks import Tasks
from bot.views import home
from bot.views.cards import Rules

SIZES, ON_POSTGRESQL = (1_000, 10_000, 100_000, 1_000_000), 100_000
WITHIN = 900.0  # seconds: the life of a card
HOMES = 20
TITLE = "## Growth"
# Its own report of its memory: what the parent is told of an ended child begins with the parent's memory.
HISTORY = """
import pathlib, sys
from bot.cli.main import main
code = main(["history", "--json"])
sys.stderr.write(pathlib.Path("/proc/self/status").read_text())
sys.exit(code)
"""


@dataclass(frozen=True)
class Size:
    """How much is measured: rounds; sweeps of each kind; confirmations of a round, and cards that expire in it."""

    rounds: int = 3
    sweeps: int = 50
    confirmations: int = 100
    expiring: int = 2_000


HEAD = [
    "requests",
    "sweep, ms",
    "sweep that closes 20, ms",
    f"confirmation beside {HOMES} App Homes, p50 / p99, ms",
    f"confirmation while {Size.expiring:,} cards expire, p50 / p99, ms",
    "App Home, ms",
    "`history --json`, s",
    "its memory, MB",
]


class _Quiet:
    """A Slack that takes every App Home at once, and an access policy that permits everyone."""

    policy = AccessPolicy(People(None), People(None), None, frozenset())

    async def publish_home(self, _user: str, _blocks: object) -> None:
        """Take it."""

    async def check(self, _who: object, _channel: object, _right: object) -> None:
        """Permit it."""

    async def denial(self, _who: object, _right: object) -> None:
        """Permit it."""

    def rights(self) -> str:
        """Name nobody."""
        return ""


async def timed(work: Callable[[], Awaitable[object]]) -> float:
    """Return the seconds that some work takes."""
    began = time.perf_counter()
    await work()
    return time.perf_counter() - began


class Growth:
    """The measurements of one ledger. `now` is the moment at which it was filled."""

    def __init__(self, ledger: Ledger, now: float, size: Size) -> None:
        self.ledger, self.now, self.size = ledger, now, size
        self._numbers = iter(range(10**6))

    async def create(self, count: int, within: float = FAR) -> list[Request]:
        """Create requests whose card can be confirmed for so many seconds."""
        numbers = [f"c{next(self._numbers):023x}" for _ in range(count)]
        new = [NewRequest(number, "C0NUMBERS", "U0ANA", self.now, within) for number in numbers]
        return [request for request, _ in await asyncio.gather(*map(self.ledger.create_request, new))]

    async def confirm(self, request: Request) -> float:
        """Confirm a request; return how long it took."""
        click = Click(request.id, 0, "U0BEN", self.now, "C0NUMBERS", "1.1")
        return await timed(lambda: self.ledger.confirm(click, self.now + FAR, second_person=False))

    async def sweeps(self) -> tuple[float, float]:
        """Return how long a sweep takes that finds nothing, and one that closes 20 requests, in milliseconds."""
        idle = [await timed(lambda: self.ledger.sweep(self.now, WITHIN)) for _ in range(self.size.sweeps)]
        busy = []
        for _ in range(self.size.sweeps):
            await self.create(20, within=0.0)
            busy.append(await timed(lambda: self.ledger.sweep(self.now, WITHIN)))
        return statistics.median(idle) * 1000, statistics.median(busy) * 1000

    async def beside_homes(self) -> list[float]:
        """Return how long confirmations take when HOMES people open their App Home just before each of them."""
        tasks, quiet = Tasks(), _Quiet()
        slack, access = cast(Slack, quiet), cast(Access, quiet)
        publisher = HomePublisher(
            self.ledger, slack, access, tasks, lambda: Rules(second_person=False, listed=True), False, Clock()
        )
        taken = []
        for request in await self.create(self.size.confirmations):
            for person in range(HOMES):
                tasks.start(publisher.opened(f"U{person}"))
            await asyncio.sleep(0.002)  # the readings have begun
            taken.append(await self.confirm(request))
            publisher.refresh()
            await tasks.drain(0.05)
        await tasks.close(5)
        return taken

    async def beside_expiry(self) -> list[float]:
        """Return how long confirmations take while sweeps close requests that are overdue together."""
        pressed = await self.create(self.size.confirmations)
        await self.create(self.size.expiring, within=0.0)
        sweeping = asyncio.create_task(self._sweep_all())
        taken = []
        for request in pressed:
            taken.append(await self.confirm(request))
            await asyncio.sleep(0.01)
        await sweeping
        return taken

    async def _sweep_all(self) -> None:
        for _ in range(10):
            await self.ledger.sweep(self.now, WITHIN)

    async def home(self) -> float:
        """Return how long reading one App Home takes, in milliseconds."""
        read = lambda: self.ledger.overview(self.now, home.MAX_OPEN, home.MAX_OUTCOMES)  # noqa: E731 - two lines below
        return statistics.median([await timed(read) for _ in range(self.size.sweeps)]) * 1000


def history(url: str) -> tuple[float, float]:
    """Run `python -m bot history --json`; return its seconds, and its most memory in megabytes."""
    given = {"SLACK_BOT_TOKEN": "xoxb-x", "SLACK_APP_TOKEN": "xapp-x", "CELLCAST_API_KEY": KEY, "ALLOWED_USERS": ANA}
    began = time.perf_counter()
    ended = subprocess.run(
        [sys.executable, "-c", HISTORY],
        check=True,
        env={**os.environ, **given, "DATABASE_URL": url},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    return time.perf_counter() - began, int(re.findall(r"VmHWM:\s+(\d+) kB", ended.stderr)[0]) / 1024


async def measure(url: str, count: int, measured: Size) -> list[str]:
    """Fill a database, and return a row of the table."""
    ledger, now = Ledger(url), time.time()
    await ledger.open()
    with ledger.database.transaction() as db:
        fill(db, count, now)
    os.sync()  # what the filling left to write would hold up the first commits that are measured
    growth = Growth(ledger, now, measured)
    idle, busy = await growth.sweeps()
    homes = [await growth.beside_homes() for _ in range(measured.rounds)]
    home_read = await growth.home()
    expiry = [await growth.beside_expiry() for _ in range(measured.rounds)]
    ledger.close()
    seconds, memory = await asyncio.to_thread(history, url)
    name = f"{count:,}" if url.startswith("sqlite") else f"{count:,}, PostgreSQL"
    row = [name, f"{idle:.2f}", f"{busy:.1f}", *map(percentiles, (homes, expiry))]
    return [*row, f"{home_read:.1f}", f"{seconds:.1f}", f"{memory:.0f}"]


def percentiles(rounds: list[list[float]]) -> str:
    """Return p50 and p99 in milliseconds, each the median of the rounds."""
    return " / ".join(f"{statistics.median(p(taken, percent) for taken in rounds):.1f}" for percent in (50, 99))


async def main(sizes: list[int], on_postgresql: int, folder: Path) -> list[list[str]]:
    """Measure each size on SQLite, and one on PostgreSQL if it is installed."""
    rows = []
    for count in sizes:
        rows.append(await measure(f"sqlite:///{folder}/{count}.db", count, Size()))
        print(rows[-1], flush=True)
    with postgres(folder / "postgres") as url:
        if url is not None and on_postgresql:
            rows.append(await measure(url, on_postgresql, Size()))
            print(rows[-1], flush=True)
    return rows


def part(rows: list[list[str]]) -> str:
    """Return the part of the page, with its table."""
    table = [f"| {' | '.join(row)} |" for row in [HEAD, ["---"] * len(HEAD), *rows]]
    lines = [
        TITLE,
        "",
        "`nox -s growth` wrote this part: one run on one machine, with the database on its disk.",
        f"Each database holds so many ended requests, and {WAITING} that are open or undelivered.",
        "Every tenth request is about the same number, and nobody has run ANALYZE.",
        "A sweep runs every second, and usually finds nothing to do.",
        f"Just before each confirmation, {HOMES} people open their App Home.",
        f"The times of confirmations are medians of {Size.rounds} rounds with {Size.confirmations} confirmations each.",
        "",
        *table,
        "",
    ]
    return "\n".join(lines)


def write(page: Path, text: str) -> None:
    """Replace the part between its markers."""
    old = page.read_text(encoding="utf-8")
    page.write_text(
        GROWTH_PART.sub(lambda _: f"<!-- generated: growth -->\n{text}<!-- end -->\n", old), encoding="utf-8"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks.growth")
    parser.add_argument("--sizes", type=int, nargs="*", default=SIZES)
    parser.add_argument("--on-postgresql", type=int, default=ON_POSTGRESQL, help="its size; 0: none")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as own:
        write(PAGE, part(asyncio.run(main(given.sizes, given.on_postgresql, Path(own)))))

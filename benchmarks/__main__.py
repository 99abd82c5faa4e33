"""python -m benchmarks: plays the same to each contestant in turns, and writes docs/performance.md.

Every figure is a median of rounds in one run on one machine; what counts is its ratio to the limit of the same run.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import platform
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp

from benchmarks.world import CELLCAST_SECONDS, KEY, LATE_SECONDS, SECRET, SLACK_SECONDS, TOKEN, World

ROOT = Path(__file__).parent.parent
CONTESTANTS = {
    "bot": ["-m", "bot"],
    "limit": ["-m", "benchmarks.limit"],
    "usual": ["-m", "benchmarks.usual"],
    "sync": ["-m", "benchmarks.sync_app"],
}
NAMES = {"bot": "this bot", "limit": "(a) limit", "usual": "(b) AsyncApp, as usual", "sync": "(c) App, five workers"}
TICKS = os.sysconf("SC_CLK_TCK")
Figures = dict[str, float]


@dataclass(frozen=True)
class Target:
    """A ratio to the limit that must not be exceeded (or reached, for what is better the more there is)."""

    figure: str
    ratio: float
    more_is_better: bool = False


TARGETS = [
    Target("command ack p50, ms", 1.3),
    Target("click ack p50, ms", 1.6),
    Target("burst of 2000 commands p99, ms", 2.5),
    Target("burst of 500 clicks p99, ms", 3.0),
    Target("commands a second", 0.55, more_is_better=True),
    Target("CPU per command, ms", 1.9),
    Target("click to toast beyond the stand-ins, ms", 1.8),
    Target("command p99 while 50 calls hang, ms", 3.0),
    Target("start to ready, s", 2.5),
]


class Process:
    """A contestant that runs."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, ready: float) -> None:
        self.url, self.ready, self._process = url, ready, process

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def megabytes(self) -> float:
        """Resident memory."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@contextlib.asynccontextmanager
async def running(name: str, world: World) -> AsyncIterator[Process]:
    """Start a contestant with an empty database, and wait until it is ready."""
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        settings = {
            "SLACK_BOT_TOKEN": TOKEN,
            "SLACK_SIGNING_SECRET": SECRET,
            "CELLCAST_API_KEY": KEY,
            "ALLOWED_USERS": "*",
            "SLACK_API_URL": f"{world.url}/api/",
            "CELLCAST_BASE_URL": world.url,
            "DATABASE_URL": f"sqlite:///{folder}/bench.db",
            "M": os.environ.get("M", ""),
            "BENCH_DATABASE": f"{folder}/limit.db",
            "LOG_LEVEL": "WARNING",
            "PORT": str(port),
            "PYTHONPATH": str(ROOT),
        }
        began = time.perf_counter()
        with subprocess.Popen(  # noqa: ASYNC220 - a start is timed; the contestants are our own
            [sys.executable, *CONTESTANTS[name]],
            env={"PATH": os.environ["PATH"], "HOME": folder} | settings,
            cwd=folder,
            stdout=subprocess.DEVNULL,
        ) as process:
            url = f"http://127.0.0.1:{port}"
            while True:
                with contextlib.suppress(aiohttp.ClientError):
                    async with world.client.get(f"{url}/healthz") as answer:
                        if answer.status == 200:
                            break
                await asyncio.sleep(0.005)
            try:
                yield Process(process, url, time.perf_counter() - began)
            finally:
                process.kill()


def p(values: list[float], percent: float) -> float:
    """A percentile in milliseconds."""
    return sorted(values)[min(int(len(values) * percent / 100), len(values) - 1)] * 1000


async def one_round(name: str, number: int, bursts: list[int]) -> Figures:
    """All measurements of one contestant, once."""
    world = World()
    await world.start()
    found: Figures = {}
    try:
        async with running(name, world) as process:
            found["start to ready, s"] = process.ready
            await measure(world, process, found, bursts, iter(f"{number:04x}{i:020x}" for i in range(20_000)))
    finally:
        await world.stop()
    return found


async def measure(world: World, process: Process, found: Figures, bursts: list[int], take: Iterator[str]) -> None:
    """Unloaded, then bursts, then a Cellcast that hangs."""
    url = process.url

    async def burst(count: int, do: Callable[[str, str], Awaitable[float]], what: list[str]) -> list[float]:
        return list(await asyncio.gather(*(do(url, number) for number in what[:count])))

    some = [next(take) for _ in range(100)]
    unloaded = [await world.command(url, number) for number in some]
    await world.until(lambda: len(world.cards) == 100)
    found["command ack p50, ms"], found["command ack p99, ms"] = p(unloaded, 50), p(unloaded, 99)
    clicks, waits = [], []
    for number in some[:30]:
        began = time.perf_counter()
        clicks.append(await world.press(url, number))
        await world.until(lambda number=number: number in world.toasts)
        waits.append(world.toasts[number] - began - CELLCAST_SECONDS - 2 * SLACK_SECONDS)
    found["click ack p50, ms"], found["click ack p99, ms"] = p(clicks, 50), p(clicks, 99)
    found["click to toast beyond the stand-ins, ms"] = p(waits, 50)
    late = 0
    for count in bursts:
        batch = [next(take) for _ in range(count)]
        cpu, began = process.cpu(), time.perf_counter()
        acks = await burst(count, world.command, batch)
        took = time.perf_counter() - began
        await world.until(lambda batch=batch: all(n in world.cards for n in batch))
        found[f"burst of {count} commands p50, ms"] = p(acks, 50)
        found[f"burst of {count} commands p99, ms"] = p(acks, 99)
        late += sum(ack > LATE_SECONDS for ack in acks)
        if count == bursts[-1]:
            found["commands a second"] = count / took
            found["CPU per command, ms"] = (process.cpu() - cpu) / count * 1000
        if count <= 500:
            acks = await burst(count, world.press, batch)
            await world.until(lambda batch=batch: all(n in world.toasts for n in batch))
            found[f"burst of {count} clicks p99, ms"] = p(acks, 99)
            late += sum(ack > LATE_SECONDS for ack in acks)
    hanging = [next(take) for _ in range(50)]
    await burst(50, world.command, hanging)
    await world.until(lambda: all(n in world.cards for n in hanging))
    world.hang = 10.0
    pressing = asyncio.create_task(burst(50, world.press, hanging))
    await asyncio.sleep(0.2)
    acks = [await world.command(url, next(take)) for _ in range(100)]
    found["command p99 while 50 calls hang, ms"] = p(acks, 99)
    late += sum(ack > LATE_SECONDS for ack in acks)
    await pressing
    await world.until(lambda: all(n in world.toasts for n in hanging))
    world.hang = 0.0
    found["answers later than 3 s"] = late
    found["memory, MB"] = process.megabytes()
    found["calls made twice"] = sum(count > 1 for count in world.calls.values())


async def main(rounds: int, names: list[str], bursts: list[int], target: Path) -> int:
    """Play the rounds in turns, write the page; the exit code is 1 where a target is missed."""
    results: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in names}
    for number in range(rounds):
        for name in names:
            for figure, value in (await one_round(name, number, bursts)).items():
                results[name][figure].append(value)
            print(f"round {number + 1} of {rounds}: {NAMES[name]}", flush=True)
    medians = {name: {figure: statistics.median(v) for figure, v in found.items()} for name, found in results.items()}
    text, missed = page(medians, rounds)
    target.write_text(text, encoding="utf-8")  # noqa: ASYNC240 - the last thing that is done
    return 1 if missed else 0


def page(medians: dict[str, Figures], rounds: int) -> tuple[str, int]:
    """The page, and how many targets were missed."""
    names = list(medians)
    lines = [
        "# Performance",
        "",
        f"Written by `python -m benchmarks`: medians of {rounds} rounds in one run, the contestants in turns, over",
        "loopback, with stand-ins that take 30 ms (Slack) and 150 ms (Cellcast). Only ratios within a run count.",
        f"This one had {os.cpu_count()} cores and Python {platform.python_version()}.",
        "",
        "## Targets",
        "",
        "| figure | this bot | limit | ratio | target | met |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    missed = 0
    for target in (target for target in TARGETS if target.figure in medians["bot"]):
        mine, limit = medians["bot"][target.figure], medians["limit"][target.figure]
        ratio = mine / limit
        met = ratio >= target.ratio if target.more_is_better else ratio <= target.ratio
        missed += not met
        sign = "≥" if target.more_is_better else "≤"
        verdict = "yes" if met else "**no**"
        lines.append(
            f"| {target.figure} | {mine:.2f} | {limit:.2f} | {ratio:.2f} | {sign} {target.ratio} | {verdict} |"
        )
    lines += ["", "## All figures", "", f"| figure | {' | '.join(NAMES[name] for name in names)} |"]
    lines.append("| --- |" + " --- |" * len(names))
    for figure in medians["bot"]:
        lines.append(f"| {figure} | {' | '.join(f'{medians[name][figure]:.2f}' for name in names)} |")
    return "\n".join(lines) + "\n", missed


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--bursts", type=int, nargs="*", default=[100, 500, 2000])
    parser.add_argument("--only", nargs="*", default=list(CONTESTANTS), help="bot and limit, for a quick look")
    parser.add_argument("--write", type=Path, default=ROOT / "docs" / "performance.md")
    given = parser.parse_args()
    sys.exit(asyncio.run(main(given.rounds, given.only, given.bursts, given.write)))

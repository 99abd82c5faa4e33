"""One round of one contestant: the same requests for each, and what came of them."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass

from benchmarks.contestants import Contestant, Process, running
from benchmarks.world import CELLCAST_SECONDS, LATE_SECONDS, SLACK_SECONDS, World

Figures = dict[str, float]
Do = Callable[[str, str], Awaitable[float]]
COMMANDS_WHILE, CLICKS_THAT = "commands while 50 calls hang", "50 clicks whose call hangs"
QUARTER_COMMANDS, QUARTER_CLICKS = "20 commands with a quarter of a core", "20 clicks with a quarter of a core"
TWICE = "calls made twice"
# Between two unloaded requests: what follows from the one before is over then.
PAUSE = 0.02
# After a burst, or after the last hanging call, so long is waited for what should come.
PATIENCE = 20.0
LATE, INTERRUPTED = f"later than {LATE_SECONDS:.0f} s", f"card or toast not there {PATIENCE:.0f} s later"


@dataclass(frozen=True)
class Size:
    """How much is played.

    In turn: unloaded commands and clicks, bursts and their most clicks, clicks that hang, commands meanwhile, people
    at once with a quarter of a core, and the two numbers of commands after which memory is read.
    """

    commands: int = 100
    clicks: int = 40
    bursts: tuple[int, ...] = (100, 500, 2000)
    most_clicks: int = 500
    hanging: int = 50
    hangs_seconds: float = 10.0
    meanwhile: int = 100
    quarter: int = 20
    memory: tuple[int, ...] = (1_000, 10_000)


def p(values: list[float], percent: float) -> float:
    """A percentile, in milliseconds."""
    return sorted(values)[min(int(len(values) * percent / 100), len(values) - 1)] * 1000


async def one_round(contestant: Contestant, number: int, size: Size, core: int | None = None) -> Figures:
    """Play everything once with one contestant, with new fakes, and on one core if that is given."""
    found: Figures = {}
    take = iter(f"{number:04x}{i:020x}" for i in range(100_000))
    for parts in ({"unloaded", "bursts", "hang", "quarter"}, {"memory"}):
        if not contestant.plays & parts:
            continue
        world = World()
        await world.start()
        try:
            async with running(contestant, world, core) as process:
                found.setdefault("start to ready, s", process.ready)
                await Round(world, process, found, take, size).play(contestant.plays & parts)
        finally:
            await world.stop()
    return found


@dataclass
class Round:
    """What is played against one process; `take` gives ids of numbers that nobody has used."""

    world: World
    process: Process
    found: Figures
    take: Iterator[str]
    size: Size

    async def play(self, parts: frozenset[str]) -> None:
        """The parts, in their order."""
        plays = {"unloaded": self.unloaded, "bursts": self.bursts, "hang": self.hang}
        plays |= {"quarter": self.quarter, "memory": self.memory}
        for part, play in plays.items():
            if part in parts:
                await play()
        twice = sum(count > 1 for count in self.world.calls.values())
        self.found[TWICE] = self.found.get(TWICE, 0) + twice  # each world counts its own calls

    def numbers(self, count: int) -> list[str]:
        """Fresh ids."""
        return [next(self.take) for _ in range(count)]

    async def burst(self, do: Do, numbers: list[str], what: str | None = None) -> list[float]:
        """All at once; the seconds to each ack. Those that came too late are counted under `what`."""
        acks = list(await asyncio.gather(*(do(self.process.url, number) for number in numbers)))
        if what is not None:
            self.found[f"{what} p50, ms"], self.found[f"{what} p99, ms"] = p(acks, 50), p(acks, 99)
            self.found[f"{what}, {LATE}"] = sum(ack > LATE_SECONDS for ack in acks)
        return acks

    async def came(self, numbers: list[str], where: Mapping[str, object], what: str | None = None) -> None:
        """Wait until each has its card, or its toast; what does not come in PATIENCE is counted under `what`."""
        with contextlib.suppress(TimeoutError):
            await self.world.until(lambda: all(number in where for number in numbers), PATIENCE)
        if what is not None:
            self.found[f"{what}, {INTERRUPTED}"] = sum(number not in where for number in numbers)

    async def unloaded(self) -> None:
        """One after another, each when the one before is done."""
        world, url = self.world, self.process.url
        commands, clicks, toasts = [], [], []
        numbers = self.numbers(self.size.commands)
        for number in numbers:
            commands.append(await world.command(url, number))
            await self.came([number], world.cards)
            await asyncio.sleep(PAUSE)
        for number in numbers[: self.size.clicks]:
            began = time.perf_counter()
            clicks.append(await world.click(url, number))
            await self.came([number], world.toasts)
            toasts.append(world.toasts[number] - began - CELLCAST_SECONDS - SLACK_SECONDS)
            await world.quiet()
            await asyncio.sleep(PAUSE)
        self.found |= {
            "command ack p50, ms": p(commands, 50),
            "command ack p99, ms": p(commands, 99),
            "click ack p50, ms": p(clicks, 50),
            "click ack p99, ms": p(clicks, 99),
            "click to toast beyond the fakes, ms": p(toasts, 50),
        }

    async def bursts(self) -> None:
        """Many at once: commands, and then clicks on their cards."""
        for count in self.size.bursts:
            numbers = self.numbers(count)
            cpu, began = self.process.cpu(), time.perf_counter()
            what = f"burst of {count} commands"
            await self.burst(self.world.command, numbers, what)
            took = time.perf_counter() - began
            await self.came(numbers, self.world.cards, what)
            if count == max(self.size.bursts):
                self.found["commands a second"] = count / took
                self.found["CPU per command, ms"] = (self.process.cpu() - cpu) / count * 1000
            if count > self.size.most_clicks:
                continue
            cpu, what = self.process.cpu(), f"burst of {count} clicks"
            await self.burst(self.world.click, [number for number in numbers if number in self.world.cards], what)
            await self.came(numbers, self.world.toasts, what)
            await self.world.quiet()
            self.found[f"CPU per click of {count}, ms"] = (self.process.cpu() - cpu) / count * 1000

    async def hang(self) -> None:
        """Clicks whose call to Cellcast hangs, and a command every 20 ms meanwhile."""
        numbers = self.numbers(self.size.hanging)
        await self.burst(self.world.command, numbers)
        await self.came(numbers, self.world.cards)
        self.world.hang = self.size.hangs_seconds
        clicking = asyncio.create_task(self.burst(self.world.click, numbers))
        await asyncio.sleep(0.5)

        async def later(url: str, number: str) -> float:
            await asyncio.sleep(0.02 * meanwhile.index(number))
            return await self.world.command(url, number)

        meanwhile = self.numbers(self.size.meanwhile)
        await self.burst(later, meanwhile, COMMANDS_WHILE)
        await self.came(meanwhile, self.world.cards, COMMANDS_WHILE)
        await clicking
        await self.came(numbers, self.world.toasts, CLICKS_THAT)
        self.world.hang = 0.0

    async def quarter(self) -> None:
        """Twenty commands at once, and then clicks on their cards, with a quarter of a core."""
        numbers = self.numbers(self.size.quarter)
        async with self.process.throttled(0.25):
            for what, do, where in (
                (QUARTER_COMMANDS, self.world.command, self.world.cards),
                (QUARTER_CLICKS, self.world.click, self.world.toasts),
            ):
                acks = await self.burst(do, numbers)
                await self.came(numbers, where)
                self.found[f"{what}, slowest ack, ms"] = p(acks, 100)
                self.found[f"{what}, {LATE}"] = sum(ack > LATE_SECONDS for ack in acks)

    async def memory(self) -> None:
        """Resident memory after some commands, and after many more."""
        before, done = self.process.megabytes(), 0
        for count in self.size.memory:
            while done < count:
                numbers = self.numbers(min(200, count - done))
                await self.burst(self.world.command, numbers)
                await self.came(numbers, self.world.cards)
                done += len(numbers)
            self.found[f"memory after {count} commands, MB"] = self.process.megabytes()
        self.found["memory per command, kB"] = (self.process.megabytes() - before) / done * 1000

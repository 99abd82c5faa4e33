"""The bot as its own process, which the demo starts, kills and restarts."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sqlite3
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Protocol

from bot.errors import StartError
from bot.settings import Settings
from sandbox.fake_slack import Workspace

START_SECONDS = 30.0
ROWS = """SELECT id, number_id, phone, label, status, attempt, requested_at
FROM requests ORDER BY requested_at DESC LIMIT 20"""
UNDELIVERED = "SELECT count(*) FROM outcomes WHERE delivered_at IS NULL AND request_id = ?"


class BotProcess(Protocol):
    """What is used of asyncio.subprocess.Process."""

    @property
    def returncode(self) -> int | None: ...  # noqa: D102 - as in asyncio
    @property
    def stderr(self) -> asyncio.StreamReader | None: ...  # noqa: D102
    async def wait(self) -> int: ...  # noqa: D102
    async def communicate(self) -> tuple[bytes, bytes]: ...  # noqa: D102
    def send_signal(self, signal: int, /) -> None: ...  # noqa: D102
    def terminate(self) -> None: ...  # noqa: D102
    def kill(self) -> None: ...  # noqa: D102


class Start(Protocol):
    """A way to start a bot with an environment and a working directory."""

    async def __call__(self, *arguments: str, settings: dict[str, str], cwd: Path) -> BotProcess: ...  # noqa: D102


async def start_python(*arguments: str, settings: dict[str, str], cwd: Path) -> asyncio.subprocess.Process:
    """Start `python -m bot`."""
    pipe = asyncio.subprocess.PIPE
    return await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "bot",
        *arguments,
        env=settings,
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=pipe,
        stderr=pipe,
    )


class Shipped:
    """The bot with these settings and no others. Its database outlives the process."""

    def __init__(
        self, workspace: Workspace, settings: dict[str, str], folder: Path, start: Start = start_python
    ) -> None:
        self.settings = settings
        self._workspace, self._folder, self._start = workspace, folder, start
        self._process: BotProcess | None = None
        self._listening: asyncio.Task[None] | None = None

    @property
    def alive(self) -> bool:
        """Whether the process runs and has logged that it is ready."""
        return self._process is not None and self._process.returncode is None and bool(self._workspace.bot_url)

    async def start(self) -> None:
        """Start the bot and wait until it is ready. Raises StartError if it exits or takes too long."""
        # Not the settings of this machine, no .env (cwd has none), and no proxy for loopback.
        ours = {name.upper() for name in Settings.model_fields} | {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}
        environment = {k: v for k, v in os.environ.items() if k.upper() not in ours}
        environment |= {"PORT": "0", "DATABASE_URL": f"sqlite:///{self._folder}/demo.db", "LOG_FORMAT": "json"}
        environment |= {"PYTHONPATH": str(Path(__file__).parents[1])} | self.settings
        self._workspace.bot_url = ""
        self._process = await self._start(settings=environment, cwd=self._folder)
        self._listening = asyncio.create_task(self._listen(self._process))
        deadline = time.monotonic() + START_SECONDS
        while self._process.returncode is None and time.monotonic() < deadline:
            if self._workspace.bot_url:
                return
            await asyncio.sleep(0.02)
        raise StartError("The bot of the demo did not start: see its log above.")

    async def _listen(self, process: BotProcess) -> None:
        """Read the port from the bot's log, and print its errors."""
        assert process.stderr is not None  # noqa: S101 - stderr=PIPE above
        async for line in process.stderr:
            if line.startswith(b"{") and (event := json.loads(line))["event"] == "started":
                self._workspace.bot_url = f"http://127.0.0.1:{event['port']}"
            elif not line.startswith(b"{") or event["level"] in ("error", "critical"):
                print(line.decode(), end="", file=sys.stderr, flush=True)

    async def stop(self, *, kill: bool = False) -> None:
        """Stop the process with SIGTERM, or kill it, and wait until it is gone."""
        if self._process is None or self._listening is None:
            return
        if self._process.returncode is None:
            self._process.kill() if kill else self._process.terminate()
        await self._process.wait()
        await self._listening

    def ledger(self) -> list[dict[str, Any]]:
        """Return the newest requests in the bot's database."""
        path = self._folder / "demo.db"
        if not path.exists():
            return []
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db:
            db.row_factory = sqlite3.Row
            rows = [dict(row) for row in db.execute(ROWS)]
            return [row | {"undelivered": db.execute(UNDELIVERED, [row["id"]]).fetchone()[0]} for row in rows]


@contextlib.asynccontextmanager
async def shipped(
    workspace: Workspace, settings: dict[str, str], start: Start = start_python
) -> AsyncIterator[Shipped]:
    """Start a bot, stop it at the end, and delete its database."""
    with tempfile.TemporaryDirectory() as folder:
        bot = Shipped(workspace, settings, Path(folder), start)
        try:
            await bot.start()
            yield bot
        finally:
            await bot.stop()

"""The bot as a process of its own: started, asked, stopped and killed as an operator's machine does."""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import os
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from unittest import mock

import aiohttp

from bot.cli.main import main
from sandbox.bot_process import BotProcess, Start, start_python
from sandbox.fake_slack import Workspace
from tests.forked import fork_bot
from tests.log_contract import check_log

ROOT = Path(__file__).parent.parent


def _ports() -> Iterator[int]:
    """Ports of this worker's own, below those that the kernel gives to outgoing connections: no race for them."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0")[2:])
    return itertools.cycle(range(12_000 + worker * 1_000, 13_000 + worker * 1_000))


PORTS = _ports()


def free_port() -> int:
    """A port that nobody listens on, and nobody else will until it has been used here."""
    while True:
        port = next(PORTS)
        with socket.socket() as free, contextlib.suppress(OSError):
            free.bind(("127.0.0.1", port))
            return port


def clean_environment(settings: dict[str, str]) -> dict[str, str]:
    """What a process needs of this machine, and the bot's settings."""
    kept = {k: v for k, v in os.environ.items() if k in ("PATH", "HOME") or k.startswith("COVERAGE")}
    return kept | {"PYTHONPATH": str(ROOT)} | settings


async def run_command(*arguments: str, settings: dict[str, str], cwd: Path) -> tuple[int, str, str]:
    """Run `check`, `history` or `delivered` as `run_bot` does, but in this process: exit code, stdout, stderr.

    Starting Python and loading the packages takes a process longer than all that such a command does.
    """
    out, err = io.StringIO(), io.StringIO()

    def run() -> int:
        try:
            return main(list(arguments))
        except SystemExit as error:  # argparse
            return int(error.code or 0)

    environment = mock.patch.dict(os.environ, clean_environment(settings), clear=True)
    with environment, contextlib.chdir(cwd), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = await asyncio.to_thread(run)
    return code, out.getvalue(), err.getvalue()


async def start_bot(*arguments: str, settings: dict[str, str], cwd: Path) -> BotProcess:
    """Start a bot as fast as possible: forked, unless coverage is measured, which does not follow that."""
    start: Start = start_python if "COVERAGE_PROCESS_CONFIG" in os.environ else fork_bot
    return await start(*arguments, settings=settings, cwd=cwd)


async def run_bot(*arguments: str, settings: dict[str, str], cwd: Path) -> tuple[int, str, str]:
    """Run the bot to its end; exit code, stdout, stderr."""
    process = await start_bot(*arguments, settings=clean_environment(settings), cwd=cwd)
    out, err = await asyncio.wait_for(process.communicate(), 60)
    check_log(err.decode())
    return process.returncode or 0, out.decode(), err.decode()


@contextlib.asynccontextmanager
async def running(
    workspace: Workspace, settings: dict[str, str], cwd: Path, *, python: bool = False
) -> AsyncIterator[BotProcess]:
    """A bot process that is ready, with `python` started as an operator does; killed at the end if it still runs."""
    port = free_port()
    start: Start = start_python if python else start_bot
    process = await start(settings=clean_environment(settings) | {"PORT": str(port)}, cwd=cwd)
    workspace.bot_url = f"http://127.0.0.1:{port}"
    try:
        await healthy(process, workspace.bot_url)
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        _, err = await process.communicate()
        check_log(err.decode())


async def healthy(process: BotProcess, url: str) -> None:
    """Wait until /healthz is fine."""
    async with aiohttp.ClientSession() as client, asyncio.timeout(60):
        while process.returncode is None:
            with contextlib.suppress(aiohttp.ClientError):
                async with client.get(f"{url}/healthz") as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.02)  # a process that starts sends no event
    raise AssertionError((await process.communicate())[1].decode())

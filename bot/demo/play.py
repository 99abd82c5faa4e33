"""python -m bot demo: starts the shipped bot between the stand-ins, plays one round, and lets a person go on."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import secrets
import signal
import sys
import tempfile
import time
import webbrowser
from collections.abc import AsyncIterator
from pathlib import Path

from bot.demo.cellcast import SUCCESS, Cellcast
from bot.demo.page import Page
from bot.demo.workspace import BOT_USER, COMMAND, Channel, Note, Workspace
from bot.errors import StartError
from bot.settings import Settings

CHANNEL, ANA, BEN, GIL = "C0NUMBERS", "U0ANA", "U0BEN", "U0GIL"
PEOPLE = {ANA: "Ana", BEN: "Ben", GIL: "Gil"}
NUMBER = "66ea98514f0c1a121c76ec17"
START_SECONDS = 30.0
ROUND_SECONDS = 20.0


async def demo(*, once: bool, port: int, browser: bool) -> int:
    """Play the demo; the exit code: 0 if the toast of the first round came."""
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    token, secret, key = f"xoxb-{secrets.token_hex(12)}", secrets.token_hex(16), secrets.token_hex(16)
    workspace = Workspace(PEOPLE, [Channel(CHANNEL, "numbers")], token=token, signing_secret=secret)
    cellcast = Cellcast(key)
    page = Page(workspace, cellcast, CHANNEL, {ANA, BEN})
    workspace.watch(lambda note: print(in_terminal(note), flush=True))
    async with contextlib.AsyncExitStack() as stack:
        for part in (workspace, cellcast):
            await part.start()
            stack.push_async_callback(part.stop)
        settings = {
            "SLACK_BOT_TOKEN": token,
            "SLACK_SIGNING_SECRET": secret,
            "CELLCAST_API_KEY": key,
            "ALLOWED_USERS": f"{ANA},{BEN}",
            "CONFIRM_WITHIN_SECONDS": "120",
            "CELLCAST_TIMEOUT_SECONDS": "5",
            "SLACK_API_URL": workspace.api_url,
            "CELLCAST_BASE_URL": cellcast.url,
        }
        await stack.enter_async_context(shipped_bot(workspace, settings))
        came = await first_round(workspace)
        if once:
            return 0 if came else 1
        await _serve(page, port)
        stack.push_async_callback(page.stop)
        print(f"\nThe channel is at {page.url} (Ctrl-C ends the demo)", flush=True)
        if browser:
            webbrowser.open(page.url)
        await stop.wait()
    return 0 if came else 1


async def _serve(page: Page, port: int) -> None:
    try:
        await page.start(port)
    except OSError as error:
        raise StartError(f"The page cannot be served on port {port} ({error.strerror}). Try --port 0.") from None


@contextlib.asynccontextmanager
async def shipped_bot(workspace: Workspace, settings: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `python -m bot` as a process of its own, with these settings and no others."""
    with tempfile.TemporaryDirectory() as folder:
        # No setting of this machine, no .env of this folder, and no proxy between loopback and loopback.
        ours = {name.upper() for name in Settings.model_fields} | {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}
        environment = {k: v for k, v in os.environ.items() if k.upper() not in ours}
        environment |= {"PORT": "0", "DATABASE_URL": f"sqlite:///{folder}/demo.db", "LOG_FORMAT": "json"} | settings
        environment["PYTHONPATH"] = str(Path(__file__).parents[2])
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "bot", env=environment, cwd=folder, stderr=asyncio.subprocess.PIPE
        )
        listening = asyncio.create_task(_listen(process, workspace))
        try:
            await _ready(process, workspace)
            yield process
        finally:
            if process.returncode is None:
                process.terminate()
            await process.wait()
            await listening


async def _listen(process: asyncio.subprocess.Process, workspace: Workspace) -> None:
    """Read the bot's log: where it listens, and what went wrong."""
    assert process.stderr is not None  # noqa: S101 - it was asked for as a pipe
    async for line in process.stderr:
        if line.startswith(b"{") and (event := json.loads(line))["event"] == "started":
            workspace.bot_url = f"http://127.0.0.1:{event['port']}"
        elif not line.startswith(b"{") or event["level"] in ("error", "critical"):
            print(line.decode(), end="", file=sys.stderr, flush=True)


async def _ready(process: asyncio.subprocess.Process, workspace: Workspace) -> None:
    """Wait until the bot says that it has started. Raises StartError where it ends instead, or takes too long."""
    deadline = time.monotonic() + START_SECONDS
    while process.returncode is None and time.monotonic() < deadline:
        if workspace.bot_url:
            return
        await asyncio.sleep(0.02)
    raise StartError("The bot of the demo did not start; what it said stands above.")


async def first_round(workspace: Workspace) -> bool:
    """Ask, confirm, and wait for the toast; True if it came."""
    try:
        await workspace.say(ANA, CHANNEL, f"{COMMAND} {NUMBER}")
        await workspace.command(ANA, CHANNEL, NUMBER)
        card = await workspace.until(lambda: next((n for n in workspace.notes if n.buttons), None), ROUND_SECONDS)
        print("    Ben presses Unsubscribe Number", flush=True)
        await workspace.press(BEN, card, "Unsubscribe Number")
        await workspace.until(lambda: any(n.text.startswith(SUCCESS) for n in workspace.notes), ROUND_SECONDS)
    except TimeoutError:
        print("The toast did not come.", file=sys.stderr)
        return False
    return True


def in_terminal(note: Note) -> str:
    """A message as a line or more of plain text."""
    text = re.sub(r"<!date\^\d+\^[^|]*\|([^>]*)>", r"\1", note.text)
    text = re.sub(r"<@([^>]+)>", lambda m: "@" + PEOPLE.get(m[1], m[1]), text)
    text = re.sub(r"<(https?:[^|>]+)\|([^>]+)>", r"\2", text)
    text = text.replace("*", "").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    who = "Cellcast Bot" if note.author == BOT_USER else PEOPLE.get(note.author, note.author)
    mark = " (edited)" if note.edited else f" (only {PEOPLE.get(note.to, note.to)} sees this)" if note.to else ""
    labels = "".join(f"\n    [ {label} ]" for label in note.buttons)
    return f"{who}{mark}\n    " + text.replace("\n", "\n    ") + labels

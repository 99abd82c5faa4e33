"""python -m bot demo: start the bot with the fakes, play one round, and serve the web page."""

from __future__ import annotations

import asyncio
import contextlib
import re
import secrets
import signal
import sys
import tempfile
import webbrowser
from pathlib import Path

from bot.errors import StartError
from sandbox.bot_process import shipped
from sandbox.fake_cellcast import SUCCESS, Cellcast
from sandbox.fake_slack import BOT_USER, COMMAND, Channel, Note, Workspace
from sandbox.page import Page

CHANNEL, AUDIT, ANA, BEN, GIL = "C0NUMBERS", "C0AUDIT", "U0ANA", "U0BEN", "U0GIL"
PEOPLE = {ANA: "Ana", BEN: "Ben", GIL: "Gil"}
NUMBER = "66ea98514f0c1a121c76ec17"
LIST = f"""id,number,label,warning,protected
{NUMBER},+61 480 000 000,Support line,,no
66ea98514f0c1a121c76ec18,+61 480 000 101,Spring campaign,,no
66ea98514f0c1a121c76ec19,+61 480 000 102,Autumn campaign,,no
66ea98514f0c1a121c76ec1a,+61 480 000 103,Melbourne shop,,no
66ea98514f0c1a121c76ec1b,+61 480 000 104,Perth shop,,no
66ea98514f0c1a121c76ec1c,+61 480 000 105,Night service,Emergency calls arrive here at night,no
66ea98514f0c1a121c76ec1d,+64 21 000 0106,Auckland shop,,yes
"""
ROUND_SECONDS = 20.0


async def demo(*, once: bool, port: int, browser: bool) -> int:
    """Play the demo. Returns 0 if the toast of the first round arrived, else 1."""
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    token, secret, key = f"xoxb-{secrets.token_hex(12)}", secrets.token_hex(16), secrets.token_hex(16)
    channels = [Channel(CHANNEL, "numbers"), Channel(AUDIT, "audit", private=True)]
    workspace = Workspace(PEOPLE, channels, token=token, signing_secret=secret)
    cellcast = Cellcast(key)
    cellcast.wire = workspace.wire
    workspace.watch(lambda note: print(in_terminal(note), flush=True))
    async with contextlib.AsyncExitStack() as stack:
        for part in (workspace, cellcast):
            await part.start()
            stack.push_async_callback(part.stop)
        numbers = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "numbers.csv"
        numbers.write_text(LIST, encoding="utf-8")
        settings = {
            "SLACK_BOT_TOKEN": token,
            "SLACK_SIGNING_SECRET": secret,
            "CELLCAST_API_KEY": key,
            "ALLOWED_USERS": f"{ANA},{BEN}",
            "NUMBERS_FILE": str(numbers),
            "CONFIRM_WITHIN_SECONDS": "120",
            "REASON_EXAMPLE": "OPS-1234 campaign ended",
            "CELLCAST_TIMEOUT_SECONDS": "5",
            "SLACK_API_URL": workspace.api_url,
            "CELLCAST_BASE_URL": cellcast.url,
        }
        bot = await stack.enter_async_context(shipped(workspace, settings))
        arrived = await first_round(workspace)
        if once:
            return 0 if arrived else 1
        page = Page(workspace, cellcast, bot, CHANNEL, [ANA, BEN])
        await _serve(page, port)
        stack.push_async_callback(page.stop)
        print(f"\nThe channel is at {page.url} (Ctrl-C ends the demo)", flush=True)
        if browser:
            webbrowser.open(page.url)
        await stop.wait()
    return 0 if arrived else 1


async def _serve(page: Page, port: int) -> None:
    try:
        await page.start(port)
    except OSError as error:
        raise StartError(f"The page cannot be served on port {port} ({error.strerror}). Try --port 0.") from None


async def first_round(workspace: Workspace) -> bool:
    """Request, confirm, and wait for the toast. Returns whether it arrived."""
    try:
        print(f"    Ana types {COMMAND} {NUMBER}", flush=True)
        await workspace.command(ANA, CHANNEL, NUMBER)
        card = await workspace.until(lambda: next((n for n in workspace.notes if n.buttons), None), ROUND_SECONDS)
        print("    Ben clicks Unsubscribe Number", flush=True)
        await workspace.click(BEN, card, "Unsubscribe Number")
        await workspace.until(lambda: any(n.text.startswith(SUCCESS) for n in workspace.notes), ROUND_SECONDS)
    except TimeoutError:
        print("The toast did not come.", file=sys.stderr)
        return False
    return True


def in_terminal(note: Note) -> str:
    """Return a message as plain text for the terminal."""
    text = re.sub(r"<!date\^\d+\^[^|]*\|([^>]*)>", r"\1", note.text)
    text = re.sub(r"<@([^>]+)>", lambda m: "@" + PEOPLE.get(m[1], m[1]), text)
    text = re.sub(r"<(https?:[^|>]+)\|([^>]+)>", r"\2", text)
    text = text.replace("*", "").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    who = "Cellcast Bot" if note.author == BOT_USER else PEOPLE.get(note.author, note.author)
    mark = " (edited)" if note.edited else f" (only {PEOPLE.get(note.to, note.to)} sees this)" if note.to else ""
    labels = "".join(f"\n    [ {label} ]" for label in note.buttons)
    return f"{who}{mark}\n    " + text.replace("\n", "\n    ") + labels

"""SIGKILL at every moment between command and toast: one call for a yes at the most, and one ending that is told."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import sqlite3
from pathlib import Path

from bot.demo.cellcast import Cellcast
from bot.demo.workspace import Channel, Note, Workspace
from tests.conftest import ANA, BEN, KEY, NUMBER, NUMBERS, SIGNING_SECRET, TOKEN, public
from tests.process import running

AT_ONCE = 15
PEOPLE = {ANA: "Ana", BEN: "Ben"}
# What can be seen from outside between command and toast, in the order of a calm round.
MOMENTS = [
    "before the command",
    "before chat.postMessage",
    "after chat.postMessage",
    "the card stands",
    "before the press",
    "the press is acknowledged",
    "before chat.update",
    "after chat.update",
    "before the call",
    "after the call",
    "before chat.update 2",
    "after chat.update 2",
    "before chat.postMessage 2",
    "after chat.postMessage 2",
    "the toast stands",
]


class Round:
    """One round with a bot that is killed at one moment, and started again."""

    def __init__(self, moment: str, folder: Path) -> None:
        self.moment, self.folder = moment, folder
        self.killed = asyncio.Event()
        self.process: asyncio.subprocess.Process | None = None
        self._count: dict[str, int] = {}
        self.workspace = Workspace(PEOPLE, [Channel(NUMBERS, "numbers")], token=TOKEN, signing_secret=SIGNING_SECRET)
        self.cellcast = Cellcast(KEY)
        self.workspace.on_step = self.cellcast.on_step = self.step

    async def step(self, name: str) -> None:
        """Kill the bot if this is the moment."""
        self._count[name] = self._count.get(name, 0) + 1
        times = f"{name} {self._count[name]}" if self._count[name] > 1 else name
        if times == self.moment and self.process is not None and not self.killed.is_set():
            self.process.send_signal(signal.SIGKILL)
            await self.process.wait()
            self.killed.set()

    async def play(self) -> None:
        """Ask, press, be killed on the way, and go on as people would until the round has ended."""
        settings = {
            "SLACK_BOT_TOKEN": TOKEN,
            "SLACK_SIGNING_SECRET": SIGNING_SECRET,
            "CELLCAST_API_KEY": KEY,
            "ALLOWED_USERS": "*",
            "CELLCAST_TIMEOUT_SECONDS": "1",
            "SLACK_API_URL": self.workspace.api_url,
            "CELLCAST_BASE_URL": self.cellcast.url,
        }
        async with running(self.workspace, settings, self.folder) as self.process:
            people = asyncio.create_task(self.people())
            await asyncio.wait_for(self.killed.wait(), 10)
            people.cancel()
            await asyncio.wait([people])
        self.workspace.broken_rules.clear()  # a killed bot acknowledges nothing
        async with running(self.workspace, settings, self.folder) as self.process:
            await self.people()
            async with asyncio.timeout(40):
                while not self.told():  # noqa: ASYNC110 - another process writes the ledger and sends no event
                    await asyncio.sleep(0.05)

    async def people(self) -> None:
        """Ask where no card is, press where there are buttons, and watch until the toast stands."""
        if not public(self.workspace):
            await self.step("before the command")
            await self.workspace.command(ANA, NUMBERS, NUMBER)
            with contextlib.suppress(TimeoutError):
                await self.workspace.until(lambda: public(self.workspace), 2)
            if not public(self.workspace):  # nobody knows of a card: ask again once the lease is over
                await asyncio.sleep(16)
                await self.workspace.command(ANA, NUMBERS, NUMBER)
                await self.workspace.until(lambda: public(self.workspace))
        await self.step("the card stands")
        card = public(self.workspace)[0]
        if "Unsubscribe Number" in card.buttons:
            await self.step("before the press")
            await self.workspace.press(BEN, card, "Unsubscribe Number")
            await self.step("the press is acknowledged")
        await self.workspace.until(self.toasts, 30)
        await self.step("the toast stands")

    def toasts(self) -> list[Note]:
        """The messages that tell an ending."""
        return [n for n in public(self.workspace) if not n.buttons and not n.edited]

    def told(self) -> bool:
        """Whether the ledger calls every ending told, and no card has a live button for a first yes."""
        live = [n for n in public(self.workspace) if "Unsubscribe Number" in n.buttons]
        return bool(self.toasts()) and not live and all(told for *_, told in self.endings())

    def endings(self) -> list[tuple[int, str, float | None]]:
        """Attempt, kind, and when it was told."""
        with contextlib.closing(sqlite3.connect(self.folder / "unsubscribe.db")) as db:
            return db.execute("SELECT attempt, kind, told_at FROM endings").fetchall()


async def kill_at(moment: str, folder: Path) -> tuple[list[tuple[int, str, float | None]], int, set[str]]:
    """Play a round; its endings in the ledger, the calls that reached Cellcast, the different texts of the toast."""
    played = Round(moment, folder)
    await played.workspace.start()
    await played.cellcast.start()
    try:
        await played.play()
        return played.endings(), len(played.cellcast.calls), {note.text for note in played.toasts()}
    finally:
        await played.workspace.stop()
        await played.cellcast.stop()


async def test_kill_at_every_moment(tmp_path: Path) -> None:
    """Whenever the bot dies, a yes makes one call at the most, and its one ending is told in the end."""
    gate = asyncio.Semaphore(AT_ONCE)

    async def one(moment: str) -> None:
        (tmp_path / moment.replace(" ", "_")).mkdir()
        async with gate:
            try:
                endings, calls, toasts = await kill_at(moment, tmp_path / moment.replace(" ", "_"))
            except TimeoutError as error:
                raise AssertionError(f"killed at: {moment}") from error
        ((attempt, kind, told),) = endings
        assert (attempt, calls <= 1) == (1, True), moment
        assert told is not None, moment
        assert len(toasts) == 1, moment
        assert kind == ("succeeded" if calls and kind != "lost" else "lost"), moment

    await asyncio.gather(*(one(moment) for moment in MOMENTS))

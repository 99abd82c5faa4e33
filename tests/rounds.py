"""One round in a fake workspace as people play it, whatever happens to the bot on the way."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from pathlib import Path

from sandbox.fake_cellcast import Cellcast
from sandbox.fake_slack import Channel, Note, Workspace
from tests.conftest import ANA, BEN, KEY, NUMBER, NUMBERS, SIGNING_SECRET, TOKEN, public

Outcome = tuple[int, str, float | None]
REPLACED = "*Replaced: "


class Round:
    """The fakes and the people of one round; `lease` is how long a lost card keeps the next from being posted."""

    def __init__(self, folder: Path, lease: float) -> None:
        self.folder, self.lease = folder, lease
        self.workspace = Workspace(
            {ANA: "Ana", BEN: "Ben"}, [Channel(NUMBERS, "numbers")], token=TOKEN, signing_secret=SIGNING_SECRET
        )
        self.cellcast = Cellcast(KEY)
        self.workspace.on_step = self.cellcast.on_step = self.step

    async def step(self, name: str) -> None:
        """What is done at a moment that can be seen from outside."""

    @contextlib.asynccontextmanager
    async def fakes(self):  # type: ignore[no-untyped-def]
        """The fakes, started."""
        await self.workspace.start()
        await self.cellcast.start()
        try:
            yield
        finally:
            await self.workspace.stop()
            await self.cellcast.stop()

    @property
    def settings(self) -> dict[str, str]:
        """The bot's environment."""
        return {
            "SLACK_BOT_TOKEN": TOKEN,
            "SLACK_SIGNING_SECRET": SIGNING_SECRET,
            "CELLCAST_API_KEY": KEY,
            "ALLOWED_USERS": "*",
            "CELLCAST_TIMEOUT_SECONDS": "3",
            "SLACK_API_URL": self.workspace.api_url,
            "CELLCAST_BASE_URL": self.cellcast.url,
            "DATABASE_URL": f"sqlite:///{self.folder}/unsubscribe.db",
        }

    async def people(self) -> None:
        """Ask where no card is, click where there are buttons, and watch until the toast stands."""
        if not self.shown():
            await self.step("before the command")
            await self.workspace.command(ANA, NUMBERS, NUMBER)
            with contextlib.suppress(TimeoutError):
                await self.workspace.until(self.shown, 2)
            if not self.shown():  # nobody knows of a card: ask again once the lease is over
                await asyncio.sleep(self.lease)
                await self.workspace.command(ANA, NUMBERS, NUMBER)
                await self.workspace.until(self.shown, 30)
        await self.step("the card is posted")
        card = self.shown()[0]
        if "Unsubscribe Number" in card.buttons:
            await self.step("before the click")
            await self.workspace.click(BEN, card, "Unsubscribe Number")
            await self.step("the click is acked")
        await self.workspace.until(self.toasts, 30)
        await self.step("the toast is posted")

    def shown(self) -> list[Note]:
        """What the channel shows of the request; one whose card got lost may have been replaced before."""
        return [note for note in public(self.workspace) if not note.text.startswith(REPLACED)]

    async def told(self) -> None:
        """Wait until the ledger calls every outcome told, and no card has a live button for a first yes."""
        async with asyncio.timeout(40):
            while not self._told():  # noqa: ASYNC110 - another process writes the ledger and sends no event
                await asyncio.sleep(0.05)

    def _told(self) -> bool:
        live = [n for n in public(self.workspace) if "Unsubscribe Number" in n.buttons]
        return bool(self.toasts()) and not live and all(told for *_, told in self.outcomes())

    def toasts(self) -> list[Note]:
        """The messages that tell what came of the yes."""
        return [n for n in self.shown() if not n.buttons and not n.edited]

    def outcomes(self) -> list[Outcome]:
        """Attempt, code, and when it was told."""
        with contextlib.closing(sqlite3.connect(self.folder / "unsubscribe.db")) as db:
            return db.execute("SELECT attempt, code, delivered_at FROM outcomes").fetchall()

    def prove(self, moment: str) -> None:
        """Promises 1 to 3, by the ledger, by what reached Cellcast, and by the channel."""
        ((attempt, code, told),) = [outcome for outcome in self.outcomes() if outcome[1] != "replaced"]
        calls = len(self.cellcast.calls)
        assert (attempt, calls <= 1) == (1, True), moment
        assert told is not None, moment
        assert len({note.text for note in self.toasts()}) == 1, moment
        assert code in (("succeeded", "interrupted") if calls else ("not_started", "interrupted")), moment

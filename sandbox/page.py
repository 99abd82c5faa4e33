"""The demo's web page: it shows the channel, and passes on what people type, click and break."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from typing import Any

from aiohttp import web

from sandbox.bot_process import Shipped
from sandbox.fake_cellcast import ANSWERS, Cellcast
from sandbox.fake_slack import BOT_USER, COMMAND, Note, NotThereError, Workspace
from sandbox.server import Server

TYPES = {"index.html": "text/html", "style.css": "text/css", "app.js": "text/javascript"}
# The settings that the page can change; each change restarts the bot.
CHANGEABLE = {
    "REQUIRE_SECOND_PERSON": ["false", "true"],
    "DRY_RUN": ["false", "true"],
    "CONFIRM_WITHIN_SECONDS": ["120", "5"],
    "APPROVERS": ["", "U0BEN"],
    "NOTIFY_USERS": ["", "U0BEN"],
    "REMIND_BEFORE_SECONDS": ["0", "3"],
    "REQUIRE_REASON": ["false", "true"],
    "REASON_PATTERN": ["", "OPS-[0-9]+ .+"],
    "AUDIT_CHANNEL": ["", "C0AUDIT"],
}
# What the owner of the list of numbers can do to it: each choice changes the list as it was at the start.
LISTS: dict[str, Callable[[str], str]] = {
    "as it is": str,
    "protects Support line": lambda text: text.replace("Support line,,no", "Support line,,yes"),
    "warns of Support line": lambda text: text.replace("Support line,,no", "Support line,Printed on invoices,no"),
    "has an error": lambda text: text.replace("+61 480 000 101", "480 000 101"),
}
# How long a killed bot is away before it is restarted.
AWAY_SECONDS = 2.0

Given = dict[str, Any]


class Page:
    """Serve the page of one channel. `may` are the people who may use the bot."""

    def __init__(self, workspace: Workspace, cellcast: Cellcast, bot: Shipped, channel: str, may: list[str]) -> None:
        self._workspace, self._cellcast, self._bot, self._channel, self._may = workspace, cellcast, bot, channel, may
        self._pages: set[asyncio.Event] = set()
        self._states: dict[str, str] = {}
        self._changing = asyncio.Lock()
        self._numbers = Path(bot.settings["NUMBERS_FILE"])
        self._first_list, self._list = self._numbers.read_text(encoding="utf-8"), next(iter(LISTS))
        app = web.Application()
        for name in TYPES:
            app.router.add_get(f"/{name}", self._file)
        app.router.add_get("/", self._file)
        app.router.add_get("/events", self._events)
        for do in (
            self.type,
            self.click,
            self.typing,
            self.choose,
            self.home,
            self.click_in_home,
            self.form_typing,
            self.submit,
            self.next,
            self.drop,
            self.kill,
            self.twice,
            self.setting,
            self.change_list,
        ):
            app.router.add_post(f"/{do.__name__}", self._route(do))
        self._server = Server(app)
        workspace.watch(lambda _note: self._wake())
        workspace.wire.on_change = self._wake

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"{self._server.url}/"

    async def start(self, port: int) -> None:
        """Serve on loopback."""
        await self._server.start(port)

    async def stop(self) -> None:
        """Stop serving."""
        await self._server.stop()

    def _wake(self) -> None:
        self._look()
        for changed in self._pages:
            changed.set()

    def _look(self) -> list[dict[str, Any]]:
        """Return the ledger, and add a step for each change since the last look."""
        ledger = self._bot.ledger()
        for row in reversed(ledger):
            now = f"{row['status']}{', attempt ' + str(row['attempt']) if row['attempt'] > 1 else ''}"
            before = self._states.get(row["id"])
            if before != now:
                self._states[row["id"]] = now
                called = row["label"] or row["number_id"]
                self._workspace.wire.note("ledger", f"{called}: {before + ' → ' if before else ''}{now}")
        return ledger

    async def _file(self, request: web.Request) -> web.Response:
        name = request.path.strip("/") or "index.html"
        text = (files("sandbox") / "static" / name).read_text(encoding="utf-8")
        return web.Response(text=text, content_type=TYPES[name], headers={"Cache-Control": "no-store"})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await stream.prepare(request)
        changed = asyncio.Event()
        self._pages.add(changed)
        try:
            while True:
                await stream.write(f"data: {json.dumps(self._state())}\n\n".encode())
                with contextlib.suppress(TimeoutError):  # a change of the ledger alone shows a second later
                    await asyncio.wait_for(changed.wait(), 1)
                changed.clear()
        except ConnectionError:  # the page was closed
            return stream
        finally:
            self._pages.discard(changed)

    def _state(self) -> dict[str, Any]:
        ledger = self._look()
        answers = list(ANSWERS)
        return {
            "bot": BOT_USER,
            "channel": {"id": self._channel, "name": self._workspace.channels[self._channel].name},
            "people": [{"id": u, "name": n, "may": u in self._may} for u, n in self._workspace.people.items()],
            "notes": [asdict(n) for n in self._workspace.notes if n.channel == self._channel],
            "audit": [asdict(n) for n in self._workspace.notes if n.channel in CHANGEABLE["AUDIT_CHANNEL"]],
            "homes": self._workspace.homes,
            "dialogs": [{"to": user, "view": view} for user, view in self._workspace.dialogs],
            "answers": answers,
            "next": next((a for a in answers if self._cellcast.next and ANSWERS[a] == self._cellcast.next[0]), "fine"),
            "dropping": len(self._workspace.faults["chat.postMessage"]),
            "calls": len(self._cellcast.calls),
            "alive": self._bot.alive,
            "lists": list(LISTS),
            "list": self._list,
            "settings": {name: self._bot.settings.get(name, CHANGEABLE[name][0]) for name in CHANGEABLE},
            "wire": self._workspace.wire.shown(),
            "ledger": ledger,
        }

    def _route(self, do: Callable[[Given], Awaitable[Any]]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def route(request: web.Request) -> web.Response:
            try:
                answer = await do(await request.json())
            except (NotThereError, LookupError):  # someone was faster, or the page is out of date
                return web.json_response({"error": "This is no longer there."}, status=409)
            return web.json_response(answer)

        return route

    def _note(self, given: Given) -> Note:
        return next(iter([n for n in self._workspace.notes if n.ts == given["ts"]] or [_nothing()]))

    async def type(self, given: Given) -> None:
        """Send what a person typed: a command or a message."""
        text = given["text"].strip()
        if text.split(maxsplit=1)[:1] == [COMMAND]:
            await self._workspace.command(given["user"], self._channel, text.removeprefix(COMMAND).strip())
        else:
            await self._workspace.say(given["user"], self._channel, text)

    async def click(self, given: Given) -> None:
        """Click a button of a message."""
        await self._workspace.click(given["user"], self._note(given), given["label"])

    async def typing(self, given: Given) -> list[dict[str, Any]]:
        """Type in a menu, and return its options."""
        return await self._workspace.suggestions(given["user"], self._note(given), given["text"])

    async def choose(self, given: Given) -> None:
        """Choose in a menu."""
        await self._workspace.choose(given["user"], self._note(given), given["option"])

    async def home(self, given: Given) -> None:
        """Open the App Home."""
        await self._workspace.open_home(given["user"])

    async def click_in_home(self, given: Given) -> None:
        """Click a button in the App Home."""
        found = [
            button
            for button in self._workspace.home_buttons(given["user"])
            if (button["value"], button["text"]["text"]) == (given["value"], given["label"])
        ]
        await self._workspace.click_in_home(given["user"], found[0])

    async def form_typing(self, given: Given) -> list[dict[str, Any]]:
        """Type in the menu of a form, and return its options."""
        return await self._workspace.form_suggestions(given["user"], given["text"])

    async def submit(self, given: Given) -> dict[str, Any]:
        """Submit a form, and return what the bot answers: errors, another view, or nothing."""
        return await self._workspace.submit(given["user"], given["given"], given["view"])

    async def next(self, given: Given) -> None:
        """Choose how Cellcast answers the next call."""
        self._cellcast.next.clear()
        self._cellcast.next.append(ANSWERS[given["answer"]])
        self._wake()

    async def drop(self, _given: Given) -> None:
        """Lose the next message of the bot on its way to Slack."""
        self._workspace.faults["chat.postMessage"].append("drop_before")
        self._wake()

    async def kill(self, _given: Given) -> None:
        """Kill the bot, whatever it is doing, and restart it."""
        async with self._changing:
            await self._bot.stop(kill=True)
            self._workspace.wire.note("bot", "killed (SIGKILL)")
            await asyncio.sleep(AWAY_SECONDS)
            await self._bot.start()
            self._workspace.wire.note("bot", "restarted with the same database")

    async def twice(self, _given: Given) -> None:
        """Click the red button of the newest open card as two people at the same moment."""
        cards = [n for n in self._workspace.notes if n.buttons and n.to is None]
        if not cards:
            raise NotThereError("no open card")
        label = next(iter(cards[-1].buttons))
        await asyncio.gather(*(self._workspace.click(user, cards[-1], label) for user in self._may))

    async def setting(self, given: Given) -> None:
        """Restart the bot with another setting."""
        name, value = given["name"], given["value"]
        if value not in CHANGEABLE[name]:
            raise NotThereError(name)
        async with self._changing:
            await self._bot.stop()
            self._bot.settings[name] = value
            await self._bot.start()
            self._workspace.wire.note("bot", f"restarted with {name}={value}")

    async def change_list(self, given: Given) -> None:
        """Change the list of numbers as its owner would: the bot reads it again without a restart."""
        new = self._numbers.with_suffix(".new")
        new.write_text(LISTS[given["choice"]](self._first_list), encoding="utf-8")
        new.rename(self._numbers)
        self._list = given["choice"]
        self._workspace.wire.note("bot", f"the list of numbers {self._list}")


def _nothing() -> Note:
    raise NotThereError("no such message")

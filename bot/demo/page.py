"""The demo's web page: shows the stand-in channel, and passes on what a person types, presses and chooses."""

from __future__ import annotations

import asyncio
import json
from dataclasses import asdict
from importlib.resources import files
from typing import Any

from aiohttp import web

from bot.demo.cellcast import ANSWERS, Cellcast
from bot.demo.server import Server
from bot.demo.workspace import BOT_USER, COMMAND, NotThere, Workspace

TYPES = {"index.html": "text/html", "style.css": "text/css", "app.js": "text/javascript"}


class Page:
    """Serves the page of one workspace and one channel; `may` are the people who may use the bot."""

    def __init__(self, workspace: Workspace, cellcast: Cellcast, channel: str, may: set[str]) -> None:
        self._workspace, self._cellcast, self._channel, self._may = workspace, cellcast, channel, may
        self._pages: set[asyncio.Event] = set()
        app = web.Application()
        for name in TYPES:
            app.router.add_get(f"/{name}", self._file)
        app.router.add_get("/", self._file)
        app.router.add_get("/events", self._events)
        app.router.add_post("/{what:type|press|next}", self._do)
        self._server = Server(app)
        workspace.watch(lambda _note: self._wake())
        cellcast.on_call = self._wake

    @property
    def url(self) -> str:
        """Where the page is."""
        return f"{self._server.url}/"

    async def start(self, port: int) -> None:
        """Serve on loopback."""
        await self._server.start(port)

    async def stop(self) -> None:
        """Stop serving."""
        await self._server.stop()

    def _wake(self) -> None:
        for changed in self._pages:
            changed.set()

    async def _file(self, request: web.Request) -> web.Response:
        name = request.path.strip("/") or "index.html"
        text = (files("bot.demo") / "static" / name).read_text(encoding="utf-8")
        return web.Response(text=text, content_type=TYPES[name])

    async def _events(self, request: web.Request) -> web.StreamResponse:
        stream = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        await stream.prepare(request)
        changed = asyncio.Event()
        self._pages.add(changed)
        try:
            while True:
                await stream.write(f"data: {json.dumps(self._state())}\n\n".encode())
                await changed.wait()
                changed.clear()
        except ConnectionError:  # the page was closed
            return stream
        finally:
            self._pages.discard(changed)

    def _state(self) -> dict[str, Any]:
        answers = list(ANSWERS)
        return {
            "bot": BOT_USER,
            "people": [{"id": u, "name": n, "may": u in self._may} for u, n in self._workspace.people.items()],
            "notes": [asdict(n) for n in self._workspace.notes if n.channel == self._channel],
            "answers": answers,
            "next": next((a for a in answers if self._cellcast.next and ANSWERS[a] == self._cellcast.next[0]), "fine"),
            "calls": len(self._cellcast.calls),
        }

    async def _do(self, request: web.Request) -> web.Response:
        given = await request.json()
        workspace, user = self._workspace, given["user"]
        match request.match_info["what"]:
            case "type" if given["text"].split(maxsplit=1)[0] == COMMAND:
                await workspace.command(user, self._channel, given["text"].removeprefix(COMMAND).strip())
            case "type":
                await workspace.say(user, self._channel, given["text"])
            case "press":
                found = [n for n in workspace.notes if n.ts == given["ts"]]
                try:
                    await workspace.press(user, found[0], given["label"])
                except (IndexError, NotThere):  # somebody was faster
                    return web.Response(status=409)
            case _:
                self._cellcast.next.clear()
                self._cellcast.next.append(ANSWERS[given["answer"]])
                self._wake()
        return web.Response(status=204)

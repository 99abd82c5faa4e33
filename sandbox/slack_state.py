"""The state of the fake workspace: people, channels, messages, and the rules for changing them."""

from __future__ import annotations

import asyncio
import itertools
import secrets
import time
from collections import defaultdict, deque
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from aiohttp import web

from sandbox import block_kit
from sandbox.server import Server, Step, nothing
from sandbox.slack_models import BOT_USER, Channel, Note, ResponseUrl
from sandbox.wire import Wire


class State:
    """What the parts of the workspace share. `now` returns seconds since the epoch."""

    def __init__(self, people: dict[str, str], channels: list[Channel], now: Callable[[], float]) -> None:
        self.people = people
        self.channels = {c.id: c for c in channels}
        self.now = now
        self.notes: list[Note] = []
        self.broken_rules: list[str] = []
        # Faults to come, by API method, "response_url" or "socket": "429", "500", "hang", "drop_before", "drop_after",
        # "garbage", "bytes" (no text), an answer's whole JSON, or one of Slack's error codes. A response_url answers an
        # error code with status 200 too; "word:" before it makes the answer the bare word. "chat.postMessage C0AUDIT"
        # has those of one channel.
        self.faults: dict[str, deque[str]] = defaultdict(deque)
        self.groups: dict[str, list[str]] = {}
        self.teams: dict[str, str | None] = {}  # the team_id in users.info if it is not TEAM; None: Slack leaves it out
        # Guests of the workspace, and what users.info says of them: is_restricted and is_ultra_restricted.
        self.guests: dict[str, tuple[object, object]] = {}
        self.deactivated: set[str] = set()  # whose account was closed: users.info then says that the person is deleted
        self.enterprise_id = ""  # the organisation that the workspace belongs to, if any
        self.enterprise_users: dict[str, tuple[str, list[str]]] = {}  # a person's organisation, and workspaces in it
        self.homes: dict[str, list[dict[str, Any]]] = {}  # the App Home of each person
        self.dialogs: list[tuple[str, dict[str, Any]]] = []  # the dialogs (modals) shown, and to whom
        self.on_step: Step = nothing  # awaited before and after each API call of the bot
        self.wire = Wire()
        self._app = web.Application()
        self._server = Server(self._app)
        self._urls: dict[str, ResponseUrl] = {}
        self._tickets: set[str] = set()  # from apps.connections.open, each good for one socket
        self._triggers: dict[str, tuple[str, float]] = {}
        self._changed = asyncio.Condition()
        self._listeners: list[Callable[[Note], None]] = []
        self._count = itertools.count(1)

    def watch(self, listener: Callable[[Note], None]) -> None:
        """Call `listener` with every message that is new or changed."""
        self._listeners.append(listener)

    async def until(self, holds: Callable[[], Any], seconds: float = 10.0) -> Any:
        """Wait until `holds` returns something true, and return it. Raises TimeoutError."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(holds)
        return holds()

    def _ts(self) -> str:
        return f"{int(time.time())}.{next(self._count):06d}"

    def _trigger(self, user: str) -> str:
        trigger = secrets.token_hex(8)
        self._triggers[trigger] = (user, self.now())
        return trigger

    def _response_url(self, channel: str, user: str, ts: str | None) -> str:
        secret = secrets.token_hex(8)
        self._urls[secret] = ResponseUrl(channel, user, self.now(), ts)
        return f"{self._server.url}/response/{secret}"

    def _own(self, channel: str, ts: str) -> Note | None:
        """Find the bot's own message; it can change no other, and no ephemeral one."""
        found = [n for n in self.notes if n.ts == ts and n.channel == channel and n.author == BOT_USER and n.to is None]
        return found[0] if found else None

    def _channel_error(self, channel_id: str) -> str:
        """Return Slack's error code if the bot cannot write in the channel, else an empty string."""
        channel = self.channels.get(channel_id)
        if channel is None or (channel.private and not channel.bot):
            return "channel_not_found"
        if channel.archived:
            return "is_archived"
        return "" if channel.bot else "not_in_channel"

    def _refused_blocks(self, given: dict[str, Any], parse: str = "none") -> bool:
        """Return whether Slack would refuse the blocks. `parse` is Slack's default for this method."""
        found = block_kit.faults(given.get("text"), given.get("blocks"))
        parsed = given.get("parse", parse) != "none"
        alarms = block_kit.alarms(str(given.get("text", "")), given.get("blocks"), text_is_parsed=parsed)
        self.broken_rules += found + alarms
        return bool(found)

    async def _add(
        self,
        channel: str,
        author: str,
        text: str,
        blocks: list[dict[str, Any]] | None = None,
        to: str | None = None,
        thread: str | None = None,
    ) -> Note:
        note = Note(self._ts(), channel, author, text, blocks or [], to, thread=thread)
        self.notes.append(note)
        await self._wake(note)
        return note

    async def _change(self, note: Note, text: str, blocks: list[dict[str, Any]]) -> None:
        changed = replace(note, text=text, blocks=blocks, edited=True)
        self.notes[self.notes.index(note)] = changed
        await self._wake(changed)

    async def _remove(self, ts: str | None) -> None:
        self.notes = [n for n in self.notes if n.ts != ts]
        await self._wake()

    async def _wake(self, note: Note | None = None) -> None:
        """Wake everyone who waits in `until`, and call the listeners if a message is new or changed."""
        if note is not None:
            for listener in self._listeners:
                listener(note)
        async with self._changed:
            self._changed.notify_all()

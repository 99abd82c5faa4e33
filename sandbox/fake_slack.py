"""A fake Slack workspace that enforces Slack's rules.

It signs its requests, expects the ack within 3 s, counts the uses of a response_url, lets the bot change only its own
messages, and refuses the blocks that Slack would refuse. Each rule that the bot breaks is added to `broken_rules`.

A test plays people through `Workspace`. The parts are in slack_payloads, slack_api, slack_socket and slack_state.
"""

from __future__ import annotations

import asyncio
import io
import json
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

import aiohttp
from slack_sdk.signature import SignatureVerifier

from sandbox import block_kit
from sandbox.slack_api import WebApi
from sandbox.slack_models import (
    ACK_SECONDS,
    BOT_USER,
    COMMAND,
    FRAME_BYTES,
    TEAM,
    UNREACHABLE,
    URL_USES,
    Ack,
    Channel,
    Note,
    NotThereError,
    Offer,
)
from sandbox.slack_payloads import Payloads, title
from sandbox.slack_socket import SocketMode

__all__ = [
    "BOT_USER",
    "COMMAND",
    "FRAME_BYTES",
    "TEAM",
    "Ack",
    "Channel",
    "NotThereError",
    "Note",
    "Offer",
    "Workspace",
]


class Workspace(Payloads, WebApi, SocketMode):
    """The server of the fake, and what a person does in its channels. `now` returns seconds since the epoch."""

    def __init__(
        self,
        people: dict[str, str],
        channels: list[Channel],
        *,
        token: str,
        signing_secret: str,
        app_token: str = "",
        now: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(people=people, channels=channels, now=now, token=token, app_token=app_token)
        self.bot_url = ""
        self.sent: list[dict[str, Any]] = []
        self.acks: list[Ack] = []
        self._verifier = SignatureVerifier(signing_secret)

    async def start(self) -> None:
        """Listen on a free port."""
        await self._server.start()
        self._client = aiohttp.ClientSession()

    async def stop(self) -> None:
        """Stop listening."""
        await self._client.close()
        await self._server.stop()

    @property
    def api_url(self) -> str:
        """The value for SLACK_API_URL."""
        return f"{self._server.url}/api/"

    # What people do

    async def say(self, user: str, channel: str, text: str) -> Note:
        """Write a message as a person."""
        return await self._add(channel, user, text)

    async def delete(self, note: Note) -> None:
        """Delete a message."""
        self.notes.remove(note)
        await self._wake()

    async def command(self, user: str, channel: str, text: str, team: str = TEAM) -> Ack:
        """Type the command."""
        ack = await self.send("slash_commands", self.command_fields(user, channel, text, team))
        await self._show_answer(ack, user, channel)
        return ack

    async def click(self, user: str, note: Note, label: str, team: str | None = TEAM) -> Ack:
        """Click a button of a message. Raises NotThereError if no button has this label."""
        return await self.send("interactive", self.click_payload(user, note, label, team))

    async def choose(self, user: str, note: Note, option: dict[str, Any] | None, team: str | None = TEAM) -> Ack:
        """Choose in the menu of a message."""
        return await self.send("interactive", self.choice_payload(user, note, option, team))

    async def suggestions(self, user: str, note: Note, typed: str, team: str | None = TEAM) -> list[dict[str, Any]]:
        """Type in a menu, and return the options that it offers."""
        return (await self.offer(user, note, typed, team)).options

    async def offer(self, user: str, note: Note, typed: str, team: str | None = TEAM) -> Offer:
        """Type in a menu, and return its options with the label of their group."""
        return self._offered(await self.send("interactive", self.suggestion_payload(user, note, typed, team)))

    async def form_suggestions(self, user: str, typed: str, team: str | None = TEAM) -> list[dict[str, Any]]:
        """Type in the menu of the modal that a person sees, and return the options that it offers."""
        payload = self.form_suggestion_payload(user, self.form_of(user), typed, team)
        return self._offered(await self.send("interactive", payload)).options

    def form_of(self, user: str) -> dict[str, Any]:
        """Return the newest modal that was shown to a person. Raises NotThereError if there is none."""
        shown = [view for who, view in self.dialogs if who == user]
        if not shown:
            raise NotThereError(f"no modal for {user}")
        return shown[-1]

    async def submit(
        self,
        user: str,
        given: dict[str, Any],
        view: dict[str, Any] | None = None,
        team: str | None = TEAM,
    ) -> dict[str, Any]:
        """Submit a modal, the newest of this person or `view`; return the answer, which is empty if the modal closes.

        A modal that the answer pushes, or puts in its place, is the newest one then.
        """
        view = view or self.form_of(user)
        ack = await self.send("interactive", self.submission_payload(user, view, given, team))
        answer: dict[str, Any] = json.loads(ack.body) if ack.body else {}
        self.broken_rules += block_kit.submission_faults(view, answer)
        if "view" in answer:
            self.dialogs.append((user, answer["view"]))
            await self._wake()
        return answer

    def _offered(self, ack: Ack) -> Offer:
        """Read the answer of a menu."""
        answer: dict[str, Any] = json.loads(ack.body) if ack.body else {"options": []}
        self.broken_rules += block_kit.menu_faults(answer)
        if "options" in answer:
            return Offer(answer["options"])
        return Offer(answer["option_groups"][0]["options"], answer["option_groups"][0]["label"]["text"])

    async def open_home(self, user: str, tab: str = "home") -> Ack:
        """Open the App Home."""
        return await self.send("events_api", self.home_event(user, tab))

    def home_buttons(self, user: str) -> list[dict[str, Any]]:
        """Return the buttons in a person's App Home."""
        return [e for b in self.homes.get(user, []) if b["type"] == "actions" for e in b["elements"]]

    async def click_in_home(self, user: str, button: dict[str, Any], team: str | None = TEAM) -> Ack:
        """Click a button in the App Home."""
        return await self.send("interactive", self.home_click_payload(user, button, team))

    def use_up(self, response_url: str) -> None:
        """Leave no use of a response_url."""
        self._urls[response_url.rpartition("/")[2]].uses = URL_USES

    # How it reaches the bot

    async def send(self, kind: str, payload: dict[str, Any], to: str = "") -> Ack:
        """Send a payload over HTTP (`to` one of several replicas) or the socket, and record the ack."""
        self.sent.append(payload)
        step = self.wire.begin("slack", title(payload), payload)
        began = time.monotonic()
        try:
            async with asyncio.timeout(ACK_SECONDS):
                status, body = await (
                    self._by_socket(kind, payload) if self.connected else self._by_http(kind, payload, to)
                )
        except TimeoutError:
            status, body = 0, ""
        except aiohttp.ClientError:
            status, body = UNREACHABLE, ""
        ack = Ack(status, body, time.monotonic() - began)
        self.wire.end(step, f"acknowledged {status}" if status else "no answer in time")
        self.acks.append(ack)
        if status != 200:
            self.broken_rules.append(f"{kind}: acknowledged with status {status} after {ack.seconds:.1f} s")
        return ack

    async def _by_http(self, kind: str, payload: dict[str, Any], to: str) -> tuple[int, str]:
        if kind == "events_api":
            return await self.send_raw(json.dumps(payload).encode(), to, **{"Content-Type": "application/json"})
        body = urlencode(payload if kind == "slash_commands" else {"payload": json.dumps(payload)})
        return await self.send_raw(body.encode(), to)

    async def send_raw(self, body: bytes, to: str = "", **headers: str) -> tuple[int, str]:
        """Send a signed body over HTTP; `headers` replace the usual ones."""
        timestamp = str(int(time.time()))
        signature = self._verifier.generate_signature(timestamp=timestamp, body=body.decode("utf-8", "ignore")) or ""
        usual = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": signature,
        }
        async with self._client.post(
            f"{to or self.bot_url}/slack/events", data=io.BytesIO(body), headers=usual | headers
        ) as answer:
            return answer.status, await answer.text()

    async def _show_answer(self, ack: Ack, user: str, channel: str) -> None:
        """Show the message in the ack of a command, or Slack's own words if the bot did not answer, or refused it.

        https://github.com/slackapi/bolt-python/issues/951 and https://github.com/slackapi/bolt-js/issues/579
        """
        if ack.status != 200:
            error = "dispatch_failed" if ack.status else "operation_timeout"
            await self._add(channel, "slackbot", f'{COMMAND} failed with the error "{error}"', to=user)
        elif ack.body:
            answer: dict[str, Any] = json.loads(ack.body) if ack.body.startswith("{") else {"text": ack.body}
            to = None if answer.get("response_type") == "in_channel" else user
            self._refused_blocks(answer)
            await self._add(channel, BOT_USER, answer.get("text", ""), answer.get("blocks") or [], to=to)

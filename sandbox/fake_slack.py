"""A stand-in Slack workspace that holds the bot to Slack's rules.

It signs what it sends, expects the ack within 3 s, counts the uses of a response_url, lets the bot change only its own
messages, and refuses blocks that Slack would refuse. What the bot did against a rule stands in `broken_rules`.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import itertools
import json
import secrets
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import urlencode

import aiohttp
from aiohttp import web
from slack_sdk.signature import SignatureVerifier

from sandbox import block_kit
from sandbox.server import Server, Step, drop, hang, nothing
from sandbox.wire import Wire

BOT_USER, TEAM, APP = "U0BOT", "T0HOME", "A0APP"
ACK_SECONDS = 3.0
URL_USES, URL_SECONDS = 5, 1800
COMMAND = "/unsubscribe-number"
# Only methods that write take JSON (https://docs.slack.dev/apis/web-api#posting-json).
TAKES_JSON = {"chat.postMessage", "chat.update", "views.publish", "views.open"}
# Slack closes the socket after a larger frame: https://github.com/slack-go/slack/issues/1196.
FRAME_BYTES = 20_480
FRAME_TOO_LARGE = f"Max frame length of {FRAME_BYTES} has been exceeded"
# A trigger_id is good for one view, and not for long (https://docs.slack.dev/interactivity/handling-user-interaction).
TRIGGER_SECONDS = 3


@dataclass(frozen=True)
class Channel:
    """A channel; `bot` is whether the bot is a member, `private` whether it is hidden from who is none."""

    id: str
    name: str
    bot: bool = True
    private: bool = False
    archived: bool = False


@dataclass(frozen=True)
class Note:
    """A message as the channel shows it; `to` is set where only that person sees it."""

    ts: str
    channel: str
    author: str
    text: str
    blocks: list[dict[str, Any]] = field(default_factory=list)
    to: str | None = None
    edited: bool = False

    @property
    def mentions(self) -> frozenset[str]:
        """Whom the message alerts if it is new: ids, and "here", "channel", "everyone"."""
        return block_kit.mentions(self.text, self.blocks)

    @property
    def buttons(self) -> dict[str, dict[str, Any]]:
        """The buttons by their labels."""
        found = [e for b in self.blocks if b["type"] == "actions" for e in b["elements"]]
        return {e["text"]["text"]: e for e in found}

    @property
    def menu(self) -> dict[str, Any] | None:
        """The menu beside the text, if there is one."""
        return next((b["accessory"] for b in self.blocks if "accessory" in b), None)


@dataclass(frozen=True)
class Offer:
    """What a menu offers: the options, and the label of their group if they are in one."""

    options: list[dict[str, Any]] = field(default_factory=list)
    label: str = ""


@dataclass(frozen=True)
class Ack:
    """How the bot answered a request: HTTP status (200 on the socket, 0 where it came too late), body, seconds."""

    status: int
    body: str
    seconds: float


@dataclass
class ResponseUrl:
    """A response_url: whom it belongs to and how often it was used; `ts` is the message that was clicked on."""

    channel: str
    user: str
    made_at: float
    ts: str | None = None
    uses: int = 0


_FAULTS = {"drop_before": "dropped", "drop_after": "taken, answer dropped", "hang": "no answer", "429": "too many"}


def _title(payload: dict[str, Any]) -> str:
    """What a payload of Slack is, in a few words."""
    if "command" in payload:
        return f"{payload['command']} {payload.get('text', '')}".strip()
    if "event" in payload:
        return str(payload["event"]["type"])
    who = payload.get("user", {}).get("username", "")
    if payload.get("type") == "block_suggestion":
        return f"{who} types {payload.get('value', '')!r} in the menu"
    pressed = (payload.get("actions") or [{}])[0]
    return f"{who} presses {pressed['text']['text']}" if "text" in pressed else f"{who} chooses in the menu"


class NotThere(LookupError):
    """The message or button that a person would press is not there."""


class Workspace:
    """The stand-in's server and its channels. `now` tells seconds since the epoch."""

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
        self.people = people
        self.channels = {c.id: c for c in channels}
        self.notes: list[Note] = []
        self.broken_rules: list[str] = []
        self.api_calls: list[str] = []
        # Faults to come, by API method or "response_url": "429", "500", "hang", "drop_before", "drop_after",
        # "garbage", or an error code of Slack. A response_url answers a code with 200 too; "word:" before it makes the
        # answer the bare word.
        self.faults: dict[str, deque[str]] = defaultdict(deque)
        self.scopes = "commands,chat:write,chat:write.public,usergroups:read,users:read"
        self.groups: dict[str, list[str]] = {}
        self.teams: dict[str, str | None] = {}  # the team_id in users.info if it is not TEAM; None: Slack leaves it out
        self.enterprise_id = ""  # the organisation that the workspace belongs to, if any
        self.enterprise_users: dict[str, tuple[str, list[str]]] = {}  # a person's organisation, and workspaces in it
        self.homes: dict[str, list[dict[str, Any]]] = {}  # what each person sees in the App Home
        self.dialogs: list[tuple[str, dict[str, Any]]] = []  # who was shown which
        self.deaf = False  # a socket opened then answers no ping
        self.retry_after = 1
        self.on_step: Step = nothing  # awaited before and after each thing that the bot does here
        self.wire = Wire()
        self.bot_url = ""
        self.now = now
        self.sent: list[dict[str, Any]] = []
        self.acks: list[Ack] = []
        self._token, self._app_token = token, app_token
        self._verifier = SignatureVerifier(signing_secret)
        self._urls: dict[str, ResponseUrl] = {}
        self._changed = asyncio.Condition()
        self._listeners: list[Callable[[Note], None]] = []
        self._count = itertools.count(1)
        self._sockets: list[web.WebSocketResponse] = []
        self._socket_requests: list[web.Request] = []
        self.opened = 0
        self._tickets: set[str] = set()
        self._envelopes: dict[str, asyncio.Future[Any]] = {}
        self._triggers: dict[str, tuple[str, float]] = {}
        app = web.Application()
        app.router.add_route("*", "/api/{method}", self._api)
        app.router.add_post("/response/{secret}", self._respond)
        app.router.add_get("/socket/{ticket}", self._socket)
        self._server = Server(app)

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
        """What SLACK_API_URL is to be."""
        return f"{self._server.url}/api/"

    # What a person sees and does

    def watch(self, listener: Callable[[Note], None]) -> None:
        """Tell `listener` of every message that comes or changes."""
        self._listeners.append(listener)

    async def until(self, holds: Callable[[], Any], seconds: float = 10.0) -> Any:
        """Wait until something holds in the workspace, and return it. Raises TimeoutError."""
        async with asyncio.timeout(seconds), self._changed:
            await self._changed.wait_for(holds)
        return holds()

    def command_fields(self, user: str, channel: str, text: str, team: str = TEAM) -> dict[str, Any]:
        """What Slack sends when a person types the command."""
        return {
            "token": "old",
            "team_id": team,
            "team_domain": "stand-in",
            "channel_id": channel,
            "channel_name": self.channels[channel].name,
            "user_id": user,
            "user_name": self.people.get(user, user),
            "command": COMMAND,
            "text": text,
            "api_app_id": APP,
            "is_enterprise_install": "false",
            "response_url": self._response_url(channel, user, None),
            "trigger_id": self._trigger(user),
        } | ({"enterprise_id": self.enterprise_id, "enterprise_name": "Stand-in Org"} if self.enterprise_id else {})

    async def command(self, user: str, channel: str, text: str, team: str = TEAM) -> Ack:
        """A person types the command."""
        ack = await self.send("slash_commands", self.command_fields(user, channel, text, team))
        await self._show_answer(ack, user, channel)
        return ack

    def press_payload(self, user: str, note: Note, label: str, team: str | None = TEAM) -> dict[str, Any]:
        """What Slack sends when a person presses a button. Raises NotThere where there is none of this label."""
        if label not in note.buttons:
            raise NotThere(f"no button {label!r} on {note.text!r}")
        return self._on_message(user, note, team, self._pressed(note.buttons[label]))

    def _pressed(self, button: dict[str, Any]) -> dict[str, Any]:
        pressed = {key: button[key] for key in ("action_id", "text", "value", "type")}
        return pressed | {"block_id": "b1", "action_ts": self._ts()}

    def _on_message(self, user: str, note: Note, team: str | None, action: dict[str, Any]) -> dict[str, Any]:
        payload = self._by(user, team) | {
            "type": "block_actions",
            "container": {
                "type": "message",
                "message_ts": note.ts,
                "channel_id": note.channel,
                "is_ephemeral": note.to is not None,
            },
            "channel": {"id": note.channel, "name": self.channels[note.channel].name},
            "state": {"values": {}},
            "trigger_id": self._trigger(user),
            "response_url": self._response_url(note.channel, user, note.ts),
            "actions": [action],
        }
        if note.to is None:  # of an ephemeral message Slack tells only where it stands
            said = {"type": "message", "user": BOT_USER, "ts": note.ts, "text": note.text, "blocks": note.blocks}
            payload["message"] = said
        return payload

    def _by(self, user: str, team: str | None) -> dict[str, Any]:
        """Who interacts, and where; without a team `user.team_id` is missing, as bolt-js has it in its types."""
        who = {"id": user, "username": self.people.get(user, user)} | ({} if team is None else {"team_id": team})
        place = {"id": TEAM, "domain": "stand-in"}
        payload = {"team": place, "user": who, "api_app_id": APP, "token": "old", "is_enterprise_install": False}
        if self.enterprise_id:
            place |= {"enterprise_id": self.enterprise_id, "enterprise_name": "Stand-in Org"}
            payload["enterprise"] = {"id": self.enterprise_id, "name": "Stand-in Org"}
        return payload

    def _trigger(self, user: str) -> str:
        trigger = secrets.token_hex(8)
        self._triggers[trigger] = (user, self.now())
        return trigger

    def suggestion_payload(self, user: str, note: Note, typed: str, team: str | None = TEAM) -> dict[str, Any]:
        """What Slack sends while a person types in a menu."""
        return self._by(user, team) | {
            "type": "block_suggestion",
            "action_id": (note.menu or {})["action_id"],
            "block_id": "b1",
            "value": typed,
            "container": {"type": "message", "message_ts": note.ts, "channel_id": note.channel, "is_ephemeral": True},
            "channel": {"id": note.channel, "name": self.channels[note.channel].name},
        }

    async def suggestions(self, user: str, note: Note, typed: str, team: str | None = TEAM) -> list[dict[str, Any]]:
        """Return the options that a menu offers to a person who has typed this."""
        return (await self.offer(user, note, typed, team)).options

    async def offer(self, user: str, note: Note, typed: str, team: str | None = TEAM) -> Offer:
        """Return what a menu offers to a person who has typed this: options, or one group of options with a label."""
        ack = await self.send("interactive", self.suggestion_payload(user, note, typed, team))
        answer: dict[str, Any] = json.loads(ack.body) if ack.body else {"options": []}
        self.broken_rules += block_kit.menu_faults(answer)
        if "options" in answer:
            return Offer(answer["options"])
        return Offer(answer["option_groups"][0]["options"], answer["option_groups"][0]["label"]["text"])

    def choice_payload(
        self, user: str, note: Note, option: dict[str, Any] | None, team: str | None = TEAM
    ) -> dict[str, Any]:
        """What Slack sends when a person chooses in the menu of a message."""
        menu = note.menu or {}
        action = {"type": menu["type"], "action_id": menu["action_id"], "block_id": "b1", "selected_option": option}
        return self._on_message(user, note, team, action)

    async def choose(self, user: str, note: Note, option: dict[str, Any] | None, team: str | None = TEAM) -> Ack:
        """A person chooses in the menu of a message."""
        return await self.send("interactive", self.choice_payload(user, note, option, team))

    def home_event(self, user: str, tab: str = "home") -> dict[str, Any]:
        """What Slack sends when a person opens the App Home; it names no team of the person."""
        event = {"type": "app_home_opened", "user": user, "channel": f"D0{user}", "tab": tab, "event_ts": self._ts()}
        payload = {"type": "event_callback", "team_id": TEAM, "api_app_id": APP, "token": "old", "event": event}
        if self.enterprise_id:
            payload["enterprise_id"] = self.enterprise_id
        return payload | {"event_id": f"Ev{self._ts()}", "event_time": int(self.now())}

    async def open_home(self, user: str, tab: str = "home") -> Ack:
        """A person opens the App Home."""
        return await self.send("events_api", self.home_event(user, tab))

    def home_buttons(self, user: str) -> list[dict[str, Any]]:
        """The buttons in a person's App Home."""
        return [e for b in self.homes.get(user, []) if b["type"] == "actions" for e in b["elements"]]

    def home_press_payload(self, user: str, button: dict[str, Any], team: str | None = TEAM) -> dict[str, Any]:
        """What Slack sends when a person presses a button in the App Home: no channel, no response_url."""
        return self._by(user, team) | {
            "type": "block_actions",
            "container": {"type": "view", "view_id": "V0HOME"},
            "trigger_id": self._trigger(user),
            "view": {"id": "V0HOME", "team_id": TEAM, "type": "home", "blocks": self.homes[user]},
            "actions": [self._pressed(button)],
        }

    async def press_in_home(self, user: str, button: dict[str, Any], team: str | None = TEAM) -> Ack:
        """A person presses a button in the App Home."""
        return await self.send("interactive", self.home_press_payload(user, button, team))

    async def press(self, user: str, note: Note, label: str, team: str | None = TEAM) -> Ack:
        """A person presses a button of a message."""
        return await self.send("interactive", self.press_payload(user, note, label, team))

    async def send(self, kind: str, payload: dict[str, Any], to: str = "") -> Ack:
        """Send a payload as Slack does, over HTTP (`to` a copy of the bot) or the socket, and note the ack."""
        self.sent.append(payload)
        step = self.wire.begin("slack", _title(payload), payload)
        began = time.monotonic()
        try:
            async with asyncio.timeout(ACK_SECONDS):
                status, body = await (
                    self._by_socket(kind, payload) if self._sockets else self._by_http(kind, payload, to)
                )
        except (TimeoutError, aiohttp.ClientError):
            status, body = 0, ""
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
        """Send a signed body over HTTP; `headers` replace the right ones."""
        timestamp = str(int(time.time()))
        signature = self._verifier.generate_signature(timestamp=timestamp, body=body.decode("utf-8", "ignore")) or ""
        right = {
            "Content-Type": "application/x-www-form-urlencoded",
            "X-Slack-Request-Timestamp": timestamp,
            "X-Slack-Signature": signature,
        }
        async with self._client.post(
            f"{to or self.bot_url}/slack/events", data=io.BytesIO(body), headers=right | headers
        ) as answer:
            return answer.status, await answer.text()

    async def _by_socket(self, kind: str, payload: dict[str, Any]) -> tuple[int, str]:
        envelope = secrets.token_hex(8)
        self._envelopes[envelope] = asyncio.get_running_loop().create_future()
        await self._sockets[-1].send_json(
            {"type": kind, "envelope_id": envelope, "accepts_response_payload": True, "payload": payload}
        )
        answer = await self._envelopes[envelope]
        return 200, json.dumps(answer) if answer else ""

    async def _show_answer(self, ack: Ack, user: str, channel: str) -> None:
        if ack.status != 200:
            await self._add(channel, "slackbot", f'{COMMAND} failed with the error "operation_timeout"', to=user)
        elif ack.body:
            said: dict[str, Any] = json.loads(ack.body) if ack.body.startswith("{") else {"text": ack.body}
            to = None if said.get("response_type") == "in_channel" else user
            self._refused_blocks(said)
            await self._add(channel, BOT_USER, said.get("text", ""), said.get("blocks") or [], to=to)

    # What the bot does

    async def _api(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        self.api_calls.append(method)
        given: dict[str, Any] = dict(request.query) | dict(await request.post())
        if request.content_type == "application/json" and method in TAKES_JSON:  # elsewhere Slack does not read it
            given = await request.json()
        fault = self.faults[method].popleft() if self.faults[method] else ""
        step = self.wire.begin("api", method, given)
        await self.on_step(f"before {method}")
        if fault not in ("", "drop_after"):
            self.wire.end(step, _FAULTS.get(fault, fault))
        if (broken := await self._broken(request, fault)) is not None:
            return broken
        answer = await self._answer(method, request.headers.get("Authorization", ""), given)
        await self.on_step(f"after {method}")
        self.wire.end(step, "ok" if answer["ok"] else answer["error"])
        if fault == "drop_after":
            drop(request)
        return web.json_response(answer, headers={"x-oauth-scopes": self.scopes})

    async def _broken(self, request: web.Request, fault: str) -> web.StreamResponse | None:
        match fault:
            case "" | "drop_after":
                return None
            case "429":
                headers = {"Retry-After": str(self.retry_after)}
                return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers=headers)
            case "500":
                return web.Response(status=500, text="<html>oops</html>", content_type="text/html")
            case "hang":
                return await hang()
            case "drop_before":
                drop(request)
                return web.Response()
            case "garbage":
                return web.Response(text='[1, "ok', content_type="application/json")
            case word if word.startswith("word:"):
                return web.Response(text=word.removeprefix("word:"))
            case code:
                return web.json_response({"ok": False, "error": code})

    async def _answer(self, method: str, authorization: str, given: dict[str, Any]) -> dict[str, Any]:
        wanted = self._app_token if method == "apps.connections.open" else self._token
        if authorization != f"Bearer {wanted}":
            return {"ok": False, "error": "invalid_auth"}
        answers: dict[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]] = {
            "auth.test": self._auth_test,
            "apps.connections.open": self._open_connection,
            "usergroups.users.list": self._group,
            "users.info": self._user,
            "views.publish": self._publish_home,
            "views.open": self._open_dialog,
            "chat.postMessage": self._post_message,
            "chat.update": self._update,
            "chat.getPermalink": self._permalink,
        }
        if method not in answers:
            return {"ok": False, "error": "unknown_method"}
        return await answers[method](given)

    async def _auth_test(self, _given: dict[str, Any]) -> dict[str, Any]:
        mine = {"team_id": TEAM, "user_id": BOT_USER, "bot_id": "B0BOT"}
        if self.enterprise_id:
            mine["enterprise_id"] = self.enterprise_id
        return {"ok": True, "url": "https://stand-in.slack.example/", "team": "Stand-in", "user": "cellcast"} | mine

    async def _open_connection(self, _given: dict[str, Any]) -> dict[str, Any]:
        ticket = secrets.token_hex(8)
        self._tickets.add(ticket)
        return {"ok": True, "url": f"{self._server.url.replace('http', 'ws', 1)}/socket/{ticket}"}

    async def _group(self, given: dict[str, Any]) -> dict[str, Any]:
        users = self.groups.get(given.get("usergroup", ""))
        return {"ok": False, "error": "no_such_subteam"} if users is None else {"ok": True, "users": users}

    async def _user(self, given: dict[str, Any]) -> dict[str, Any]:
        user = given.get("user", "")
        found: dict[str, Any] = {"id": user}
        if (team := self.teams.get(user, TEAM)) is not None:
            found["team_id"] = team
        if user in self.enterprise_users:
            enterprise, teams = self.enterprise_users[user]
            found["enterprise_user"] = {"id": user, "enterprise_id": enterprise, "teams": teams}
        return {"ok": True, "user": found}

    async def _permalink(self, given: dict[str, Any]) -> dict[str, Any]:
        channel, ts = given.get("channel", ""), given.get("message_ts", "")
        refused = self._refusal(channel) or ("" if self._own(channel, ts) else "message_not_found")
        link = f"https://stand-in.slack.example/archives/{channel}/p{ts.replace('.', '')}"
        return {"ok": False, "error": refused} if refused else {"ok": True, "permalink": link}

    def _refusal(self, channel_id: str) -> str:
        channel = self.channels.get(channel_id)
        if channel is None or (channel.private and not channel.bot):
            return "channel_not_found"
        if channel.archived:
            return "is_archived"
        return "" if channel.bot else "not_in_channel"

    def _refused_blocks(self, given: dict[str, Any], parse: str = "none") -> bool:
        """Tell whether Slack would refuse the blocks. `parse` is what Slack assumes if the call does not say."""
        found = block_kit.faults(given.get("text"), given.get("blocks"))
        parsed = given.get("parse", parse) != "none"
        alarms = block_kit.alarms(str(given.get("text", "")), given.get("blocks"), text_is_parsed=parsed)
        self.broken_rules += found + alarms
        return bool(found)

    async def _post_message(self, given: dict[str, Any]) -> dict[str, Any]:
        channel = given["channel"]
        if channel in self.people:  # a direct message with the bot
            channel = f"D0{channel}"
            self.channels.setdefault(channel, Channel(channel, "directmessage", private=True))
        if refused := self._refusal(channel):
            return {"ok": False, "error": refused}
        if self._refused_blocks(given):
            return {"ok": False, "error": "invalid_blocks"}
        note = await self._add(channel, BOT_USER, given["text"], given["blocks"])
        return {"ok": True, "channel": channel, "ts": note.ts, "message": {"text": note.text}}

    async def _update(self, given: dict[str, Any]) -> dict[str, Any]:
        if refused := self._refusal(given["channel"]):
            return {"ok": False, "error": refused}
        note = self._own(given["channel"], given["ts"])
        if note is None:
            return {"ok": False, "error": "message_not_found"}
        # Unlike chat.postMessage, chat.update parses the text if the call does not say otherwise:
        # https://docs.slack.dev/reference/methods/chat.update
        if self._refused_blocks(given, parse="client"):
            return {"ok": False, "error": "invalid_blocks"}
        await self._change(note, given["text"], given["blocks"])
        return {"ok": True, "channel": note.channel, "ts": note.ts, "text": note.text}

    async def _publish_home(self, given: dict[str, Any]) -> dict[str, Any]:
        user, view = given["user_id"], given["view"]
        self.broken_rules += block_kit.alarms("", view)
        if found := block_kit.view_faults(view, "home"):
            self.broken_rules += found
            return {"ok": False, "error": "invalid_arguments"}
        self.homes[user] = view["blocks"]
        await self._tell_all(None)
        return {"ok": True, "view": {"id": "V0HOME"}}

    async def _open_dialog(self, given: dict[str, Any]) -> dict[str, Any]:
        view = given["view"]
        self.broken_rules += block_kit.alarms("", view)
        user, made_at = self._triggers.pop(given["trigger_id"], ("", 0.0))
        if not user or self.now() - made_at > TRIGGER_SECONDS:
            return {"ok": False, "error": "expired_trigger_id" if user else "exchanged_trigger_id"}
        if found := block_kit.view_faults(view, "modal"):
            self.broken_rules += found
            return {"ok": False, "error": "invalid_arguments"}
        self.dialogs.append((user, view))
        await self._tell_all(None)
        return {"ok": True, "view": {"id": "V0DIALOG"}}

    def _own(self, channel: str, ts: str) -> Note | None:
        found = [n for n in self.notes if n.ts == ts and n.channel == channel and n.author == BOT_USER and n.to is None]
        return found[0] if found else None

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        url = self._urls[request.match_info["secret"]]
        given = await request.json()
        fault = self.faults["response_url"].popleft() if self.faults["response_url"] else ""
        step = self.wire.begin("api", "response_url", given)
        self.wire.end(step, _FAULTS.get(fault, fault) or "ok")
        if (broken := await self._broken(request, fault)) is not None:
            return broken
        if url.uses >= URL_USES:
            self.broken_rules.append("used_url")
            return web.json_response({"ok": False, "error": "used_url"}, status=404)
        if self.now() - url.made_at > URL_SECONDS:
            return web.json_response({"ok": False, "error": "expired_url"})  # with status 200
        url.uses += 1
        if given == {"delete_original": True}:
            self.notes = [n for n in self.notes if n.ts != url.ts]
            await self._tell_all(None)
            return web.json_response({"ok": True})
        if self._refused_blocks(given):
            return web.Response(text="invalid_blocks")  # with status 200
        clicked = None if url.ts is None else self._own(url.channel, url.ts)
        if given.get("replace_original") and clicked is not None:
            await self._change(clicked, given["text"], given["blocks"])
            taken = web.json_response({"ok": True})
        else:
            taken = web.Response(text="ok")
            to = None if given.get("response_type") == "in_channel" else url.user
            await self._add(url.channel, BOT_USER, given["text"], given["blocks"], to=to)
        if fault == "drop_after":
            drop(request)
        return taken

    async def _socket(self, request: web.Request) -> web.WebSocketResponse:
        if request.match_info["ticket"] not in self._tickets:
            raise web.HTTPForbidden
        self._tickets.discard(request.match_info["ticket"])
        if self.faults["socket"]:
            self.faults["socket"].popleft()
            await hang()
        socket = web.WebSocketResponse(autoping=not self.deaf)
        await socket.prepare(request)
        self._sockets.append(socket)
        self._socket_requests.append(request)
        self.opened += 1
        await socket.send_json({"type": "hello", "num_connections": len(self._sockets)})
        await self._tell_all(None)
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:  # a ping that a deaf socket hears and does not answer
                continue
            answer = json.loads(message.data)
            if (size := len(message.data.encode())) >= FRAME_BYTES:
                self.broken_rules.append(f"a frame of {size} bytes: {FRAME_TOO_LARGE}")
                with contextlib.suppress(asyncio.InvalidStateError):
                    # The ack is lost. Slack waits for it until the 3 s are over; tests don't have to.
                    self._envelopes[answer["envelope_id"]].set_exception(TimeoutError(FRAME_TOO_LARGE))
                break
            with contextlib.suppress(asyncio.InvalidStateError):  # it came too late
                self._envelopes[answer["envelope_id"]].set_result(answer.get("payload"))
        self._sockets.remove(socket)
        self._socket_requests.remove(request)
        if not socket.closed:
            await socket.close(code=aiohttp.WSCloseCode.MESSAGE_TOO_BIG, message=FRAME_TOO_LARGE.encode())
        return socket

    async def drop_sockets(self) -> None:
        """Break every socket without a word."""
        for request in list(self._socket_requests):
            drop(request)

    async def refresh_sockets(self) -> None:
        """Ask the bot to connect anew, as Slack does every few hours."""
        for socket in list(self._sockets):
            await socket.send_json({"type": "disconnect", "reason": "refresh_requested"})

    @property
    def connected(self) -> int:
        """How many sockets the bot holds open."""
        return len(self._sockets)

    # The channel

    def _ts(self) -> str:
        return f"{int(time.time())}.{next(self._count):06d}"

    def _response_url(self, channel: str, user: str, ts: str | None) -> str:
        secret = secrets.token_hex(8)
        self._urls[secret] = ResponseUrl(channel, user, self.now(), ts)
        return f"{self._server.url}/response/{secret}"

    def use_up(self, response_url: str) -> None:
        """Let a response_url have no use left."""
        self._urls[response_url.rpartition("/")[2]].uses = URL_USES

    async def say(self, user: str, channel: str, text: str) -> Note:
        """A person writes something."""
        return await self._add(channel, user, text)

    async def delete(self, note: Note) -> None:
        """Somebody deletes a message."""
        self.notes.remove(note)
        await self._tell_all(None)

    async def _add(
        self, channel: str, author: str, text: str, blocks: list[dict[str, Any]] | None = None, to: str | None = None
    ) -> Note:
        note = Note(self._ts(), channel, author, text, blocks or [], to)
        self.notes.append(note)
        await self._tell_all(note)
        return note

    async def _change(self, note: Note, text: str, blocks: list[dict[str, Any]]) -> None:
        changed = replace(note, text=text, blocks=blocks, edited=True)
        self.notes[self.notes.index(note)] = changed
        await self._tell_all(changed)

    async def _tell_all(self, note: Note | None) -> None:
        if note is not None:
            for listener in self._listeners:
                listener(note)
        async with self._changed:
            self._changed.notify_all()

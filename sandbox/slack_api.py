"""The Web API and the response_urls, with Slack's rules."""

from __future__ import annotations

import json
import math
import secrets
import time
from collections.abc import Awaitable, Callable
from typing import Any

from aiohttp import web

from sandbox import block_kit
from sandbox.server import drop, fault_answer, too_many
from sandbox.slack_models import BOT_USER, TEAM, TRIGGER_SECONDS, URL_SECONDS, URL_USES, Channel
from sandbox.slack_state import State

# Only methods that write take JSON (https://docs.slack.dev/apis/web-api#posting-json).
TAKES_JSON = {"chat.postMessage", "chat.scheduleMessage", "chat.update", "views.publish", "views.open"}
# How far ahead a message can be scheduled, and until when it can be deleted again, in seconds
# (https://docs.slack.dev/reference/methods/chat.scheduleMessage and .../chat.deleteScheduledMessage).
SCHEDULED_AHEAD, SCHEDULED_FOR_GOOD = 120 * 86_400, 60
# The text of an update has at most this many characters (https://docs.slack.dev/reference/methods/chat.update).
MAX_UPDATE = 4000
JSON_FIELDS = {"blocks", "message", "view"}
FAULTS = {"drop_before": "dropped", "drop_after": "accepted, answer dropped", "hang": "no answer", "429": "too many"}


class WebApi(State):
    """Answer the bot's API calls. `api_calls` has the method of each."""

    def __init__(self, *, token: str, app_token: str, **given: Any) -> None:
        super().__init__(**given)
        self.api_calls: list[str] = []
        self.scopes = "commands,chat:write,chat:write.public,usergroups:read,users:read"
        self.retry_after = 1
        # Slack's limits, if a test asks for them: seconds from one call of a method to the next, and how many may come
        # at once. Messages are counted by channel (https://docs.slack.dev/apis/web-api/rate-limits).
        self.limits: dict[str, tuple[float, int]] = {}
        self.limited: list[str] = []  # the method of each call that came too early
        self._next_call: dict[str, float] = {}
        self.scheduled: dict[str, tuple[str, int]] = {}  # the channel and the moment of each message, by its id
        self.refused_words = ""  # blocks.validate refuses a block with these
        self._token, self._app_token = token, app_token
        self._app.router.add_route("*", "/api/{method}", self._api)
        self._app.router.add_post("/response/{secret}", self._respond)

    async def _api(self, request: web.Request) -> web.StreamResponse:
        method = request.match_info["method"]
        self.api_calls.append(method)
        given: dict[str, Any] = dict(request.query) | dict(await request.post())
        if request.content_type == "application/json" and method in TAKES_JSON:  # Slack ignores it elsewhere
            given = await request.json()
        for name in JSON_FIELDS & given.keys():  # a form holds them as JSON
            given[name] = json.loads(given[name]) if isinstance(given[name], str) else given[name]
        coming = self.faults[f"{method} {given.get('channel')}"] or self.faults[method]
        fault = coming.popleft() if coming else ""
        step = self.wire.begin("api", method, given)
        await self.on_step(f"before {method}")
        if fault not in ("", "drop_after"):
            self.wire.end(step, FAULTS.get(fault, fault))
        if (broken := await fault_answer(request, fault, self.retry_after)) is not None:
            return broken
        if early := self._early(method, given):
            self.wire.end(step, "too many")
            return too_many(early)
        answer = await self._answer(method, request.headers.get("Authorization", ""), given)
        await self.on_step(f"after {method}")
        self.wire.end(step, "ok" if answer["ok"] else answer["error"])
        if fault == "drop_after":
            drop(request)
        return web.json_response(answer, headers={"x-oauth-scopes": self.scopes})

    def _early(self, method: str, given: dict[str, Any]) -> int:
        """Return how many whole seconds too early a call comes; 0 if it is within Slack's limit."""
        if method not in self.limits:
            return 0
        every, burst = self.limits[method]
        key = f"{method} {given.get('channel', '')}" if method == "chat.postMessage" else method
        now = time.monotonic()
        turn = max(self._next_call.get(key, 0.0), now - (burst - 1) * every)
        if turn > now:
            self.limited.append(method)
            return math.ceil(turn - now)
        self._next_call[key] = turn + every
        return 0

    async def _answer(self, method: str, authorization: str, given: dict[str, Any]) -> dict[str, Any]:
        wanted = self._app_token if method == "apps.connections.open" else self._token
        if authorization != f"Bearer {wanted}":
            return _error("invalid_auth")
        answers: dict[str, Callable[[dict[str, Any]], Awaitable[dict[str, Any]]]] = {
            "auth.test": self._auth_test,
            "apps.connections.open": self._open_connection,
            "usergroups.users.list": self._group_users,
            "users.info": self._user_info,
            "views.publish": self._publish_home,
            "views.open": self._open_dialog,
            "chat.postMessage": self._post_message,
            "chat.scheduleMessage": self._schedule_message,
            "chat.deleteScheduledMessage": self._delete_scheduled,
            "chat.update": self._update,
            "chat.delete": self._delete,
            "chat.getPermalink": self._permalink,
            "blocks.validate": self._validate,
        }
        if method not in answers:
            return _error("unknown_method")
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

    async def _group_users(self, given: dict[str, Any]) -> dict[str, Any]:
        users = self.groups.get(given.get("usergroup", ""))
        return _error("no_such_subteam") if users is None else {"ok": True, "users": users}

    async def _user_info(self, given: dict[str, Any]) -> dict[str, Any]:
        user = given.get("user", "")
        restricted, ultra_restricted = self.guests.get(user, (False, False))
        found: dict[str, Any] = {"id": user, "is_restricted": restricted, "is_ultra_restricted": ultra_restricted}
        found["deleted"] = user in self.deactivated
        if user in self.people:
            found["profile"] = {"display_name": self.people[user], "real_name": self.people[user]}
        if (team := self.teams.get(user, TEAM)) is not None:
            found["team_id"] = team
        if user in self.enterprise_users:
            enterprise, teams = self.enterprise_users[user]
            found["enterprise_user"] = {"id": user, "enterprise_id": enterprise, "teams": teams}
        return {"ok": True, "user": found}

    async def _permalink(self, given: dict[str, Any]) -> dict[str, Any]:
        channel, ts = given.get("channel", ""), given.get("message_ts", "")
        refused = self._channel_error(channel) or ("" if self._own(channel, ts) else "message_not_found")
        link = f"https://stand-in.slack.example/archives/{channel}/p{ts.replace('.', '')}"
        return _error(refused) if refused else {"ok": True, "permalink": link}

    async def _post_message(self, given: dict[str, Any]) -> dict[str, Any]:
        channel = given["channel"]
        if channel in self.people:  # a direct message with the bot
            channel = f"D0{channel}"
            self.channels.setdefault(channel, Channel(channel, "directmessage", private=True))
        if refused := self._channel_error(channel):
            return _error(refused)
        if self._refused_blocks(given):
            return _error("invalid_blocks")
        thread = given.get("thread_ts")
        if thread is not None and self._own(channel, thread) is None:
            return _error("thread_not_found")  # not documented: the bot must not depend on either answer
        note = await self._add(channel, BOT_USER, given["text"], given["blocks"], thread=thread)
        return {"ok": True, "channel": channel, "ts": note.ts, "message": {"text": note.text}}

    async def _schedule_message(self, given: dict[str, Any]) -> dict[str, Any]:
        channel, ahead = given["channel"], int(given["post_at"]) - self.now()
        if refused := self._channel_error(channel):
            return _error(refused)
        if not 0 < ahead <= SCHEDULED_AHEAD:
            return _error("time_in_past" if ahead <= 0 else "time_too_far")
        if self._refused_blocks(given):
            return _error("invalid_blocks")
        scheduled = f"Q{secrets.token_hex(5).upper()}"
        self.scheduled[scheduled] = channel, int(given["post_at"])
        return {"ok": True, "channel": channel, "scheduled_message_id": scheduled, "post_at": int(given["post_at"])}

    async def _delete_scheduled(self, given: dict[str, Any]) -> dict[str, Any]:
        channel, post_at = self.scheduled.get(given.get("scheduled_message_id", ""), ("", 0))
        if channel != given.get("channel") or post_at - self.now() < SCHEDULED_FOR_GOOD:
            return _error("invalid_scheduled_message_id")
        del self.scheduled[given["scheduled_message_id"]]
        return {"ok": True}

    async def _update(self, given: dict[str, Any]) -> dict[str, Any]:
        if refused := self._channel_error(given["channel"]):
            return _error(refused)
        note = self._own(given["channel"], given["ts"])
        if note is None:
            return _error("message_not_found")
        if len(given["text"]) > MAX_UPDATE:
            self.broken_rules.append(f"msg_too_long: {len(given['text'])} characters in an update")
            return _error("msg_too_long")
        # Unlike chat.postMessage, chat.update parses the text if the call does not say otherwise:
        # https://docs.slack.dev/reference/methods/chat.update
        if self._refused_blocks(given, parse="client"):
            return _error("invalid_blocks")
        await self._change(note, given["text"], given["blocks"])
        return {"ok": True, "channel": note.channel, "ts": note.ts, "text": note.text}

    async def _delete(self, given: dict[str, Any]) -> dict[str, Any]:
        channel, ts = given.get("channel", ""), given.get("ts", "")
        refused = self._channel_error(channel) or ("" if self._own(channel, ts) else "message_not_found")
        if refused:
            return _error(refused)
        await self._remove(ts)
        return {"ok": True, "channel": channel, "ts": ts}

    async def _validate(self, given: dict[str, Any]) -> dict[str, Any]:
        """Judge a message or a view (https://docs.slack.dev/reference/methods/blocks.validate)."""
        (kind,) = given.keys() & {"message", "view"}  # the bot sends no blocks by themselves
        payload = given[kind]
        if kind == "message" and payload.keys() - {"blocks", "attachments"}:
            return _error("invalid_arguments")
        errors = [
            {"pointer": f"/blocks/{n}", "code": "failed_constraint", "message": fault}
            for n, block in enumerate(payload["blocks"])
            for fault in [
                *block_kit.block_faults(block),
                *(["these words are refused"] if self.refused_words and self.refused_words in str(block) else []),
            ]
        ]
        whole = block_kit.view_faults(payload, payload["type"]) if kind == "view" else []
        if not errors and whole:
            errors = [{"pointer": "", "code": "failed_constraint", "message": fault} for fault in whole]
        return _error(f"invalid_{kind}") | {"errors": errors} if errors else {"ok": True}

    async def _publish_home(self, given: dict[str, Any]) -> dict[str, Any]:
        user, view = given["user_id"], given["view"]
        self.broken_rules += block_kit.alarms("", view)
        if found := block_kit.view_faults(view, "home"):
            self.broken_rules += found
            return _error("invalid_arguments")
        self.homes[user] = view["blocks"]
        await self._wake()
        return {"ok": True, "view": {"id": "V0HOME"}}

    async def _open_dialog(self, given: dict[str, Any]) -> dict[str, Any]:
        view = given["view"]
        self.broken_rules += block_kit.alarms("", view)
        user, made_at = self._triggers.pop(given["trigger_id"], ("", 0.0))
        if not user or self.now() - made_at > TRIGGER_SECONDS:
            return _error("expired_trigger_id" if user else "exchanged_trigger_id")
        if found := block_kit.view_faults(view, "modal"):
            self.broken_rules += found
            return _error("invalid_arguments")
        self.dialogs.append((user, view))
        await self._wake()
        return {"ok": True, "view": {"id": "V0DIALOG"}}

    async def _respond(self, request: web.Request) -> web.StreamResponse:
        url = self._urls[request.match_info["secret"]]
        given = await request.json()
        fault = self.faults["response_url"].popleft() if self.faults["response_url"] else ""
        step = self.wire.begin("api", "response_url", given)
        self.wire.end(step, FAULTS.get(fault, fault) or "ok")
        if (broken := await fault_answer(request, fault, self.retry_after)) is not None:
            return broken
        if url.uses >= URL_USES:
            self.broken_rules.append("used_url")
            return web.json_response(_error("used_url"), status=404)
        if self.now() - url.made_at > URL_SECONDS:
            return web.json_response(_error("expired_url"))  # Slack sends it with status 200
        url.uses += 1
        if given == {"delete_original": True}:
            await self._remove(url.ts)
            return web.json_response({"ok": True})
        if self._refused_blocks(given):
            return web.Response(text="invalid_blocks")  # Slack sends it with status 200
        clicked = None if url.ts is None else self._own(url.channel, url.ts)
        if given.get("replace_original") and clicked is not None:
            await self._change(clicked, given["text"], given["blocks"])
            accepted = web.json_response({"ok": True})
        else:
            accepted = web.Response(text="ok")
            to = None if given.get("response_type") == "in_channel" else url.user
            await self._add(url.channel, BOT_USER, given["text"], given["blocks"], to=to)
        if fault == "drop_after":
            drop(request)
        return accepted


def _error(code: str) -> dict[str, Any]:
    return {"ok": False, "error": code}

"""How the bot speaks in Slack: post, update, answer; and whether Slack took it, said no, or left it open.

slack_sdk's own repeating is switched off: it would post a message twice whose answer got lost. What is repeated, and
when, the notifier decides by SlackRejectedError and SlackUnavailableError.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Literal

import aiohttp
from slack_sdk.errors import SlackApiError
from slack_sdk.web.async_client import AsyncWebClient
from slack_sdk.web.async_slack_response import AsyncSlackResponse
from slack_sdk.webhook.async_client import AsyncWebhookClient

from bot.clients.proxies import require_usable_proxies
from bot.domain.access import Membership
from bot.domain.models import Message
from bot.errors import SlackError, SlackRejectedError, SlackUnavailableError

# One call to Slack, connect to last byte.
CALL_TIMEOUT = 5.0
# In Socket Mode every ack is kept smaller than this. Slack closes the socket with code 1009 ("Max frame length of 20480
# has been exceeded") after a frame of 20,480 bytes or more, and the ack in it is lost. Slack doesn't document that:
# https://github.com/slack-go/slack/issues/1196 and https://github.com/revelrylabs/slax/pull/614 report it.
FRAME_LIMIT = 18_000
# The longest wait, in seconds, that the bot accepts from a Retry-After: Slack's limits count calls within a minute
# (https://docs.slack.dev/apis/web-api/rate-limits), and an outcome must not wait a day for one odd header.
MAX_RETRY_AFTER = 900.0
# Errors that end only when an administrator acts, such as with a new token.
ADMINISTRATOR_ERRORS = frozenset(
    {
        "access_denied",
        "account_inactive",
        "ekm_access_denied",
        "invalid_auth",
        "missing_scope",
        "not_authed",
        "org_login_required",
        "team_access_not_granted",
        "token_expired",
        "token_revoked",
        "two_factor_setup_required",
    }
)
# Errors that say nothing of the message itself: Slack can take it later.
TRANSIENT_ERRORS = ADMINISTRATOR_ERRORS | {"accesslimited", "external_channel_migrating", "update_failed"}
# The seconds that a limit takes at least, also if Slack does not say so.
SHORTEST_WAIT = 1.0
# Too many calls or messages, said without a time to wait.
LIMIT_ERRORS = frozenset({"message_limit_exceeded", "rate_limited", "ratelimited"})
# Errors after which Slack's documentation allows that some of the work was done.
AMBIGUOUS_ERRORS = frozenset(
    {"internal_error", "fatal_error", "service_unavailable", "request_timeout", "team_added_to_org"}
)


def frame(envelope_id: str, payload: dict[str, Any] | None = None) -> str:
    """Return the frame that acknowledges a Socket Mode envelope, in the shortest JSON.

    https://docs.slack.dev/apis/events-api/using-socket-mode#acknowledge
    """
    content = {"envelope_id": envelope_id} | ({} if payload is None else {"payload": payload})
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def fits_in_ack(payload: dict[str, Any]) -> bool:
    """Return whether an ack can carry this answer. HTTP has room for more, but both modes behave the same."""
    longest_id = "0" * 64  # Slack's ids are UUIDs, with 36 characters
    return len(frame(longest_id, payload).encode()) < FRAME_LIMIT


def open_session() -> aiohttp.ClientSession:
    """Return the session of every call to Slack."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=CALL_TIMEOUT), connector=aiohttp.TCPConnector(limit=0)
    )


class Slack:
    """Calls Slack. Every method raises SlackRejectedError or SlackUnavailableError if Slack did not do it.

    Raise StartError if the environment names a proxy that the bot cannot use.
    """

    def __init__(
        self,
        token: str,
        base_url: str,
        monotonic: Callable[[], float] = time.monotonic,
        open_session: Callable[[], aiohttp.ClientSession] = open_session,
    ) -> None:
        require_usable_proxies()
        self._monotonic = monotonic
        self.heard_at = monotonic()  # when Slack answered last, if only with a no
        self.errors: Counter[str] = Counter()  # by method
        self.session = open_session()
        self.client = AsyncWebClient(token=token, base_url=base_url, session=self.session, retry_handlers=[])

    async def close(self) -> None:
        """Close the connections."""
        await self.session.close()

    async def post(self, channel: str, message: Message, thread_ts: str | None = None) -> tuple[str, str]:
        """Post a message (https://docs.slack.dev/reference/methods/chat.postMessage); return its channel and its ts.

        `channel` may be a person's id: then Slack posts a direct message, and the returned channel is another one.
        `thread_ts` is the message that this one is a reply to, if any.
        """
        posting = self.client.chat_postMessage(
            channel=channel,
            text=message.text,
            blocks=message.blocks,
            thread_ts=thread_ts,
            parse="none",  # Slack's default here, but not in chat.update
            unfurl_links=False,
            unfurl_media=False,
        )
        answer = await self._call("chat.postMessage", posting)
        return str(answer.get("channel") or channel), str(answer["ts"])

    async def update(self, channel: str, ts: str, message: Message) -> None:
        """Change one of the bot's own messages (https://docs.slack.dev/reference/methods/chat.update)."""
        updating = self.client.chat_update(
            channel=channel,
            ts=ts,
            text=message.text,
            blocks=message.blocks,
            # The documented default of chat.update is "client", and it overwrites what the message was posted with:
            # without this line an update would make mentions of the plain @here and #general in a reason.
            parse="none",
        )
        await self._call("chat.update", updating)

    async def permalink(self, channel: str, ts: str) -> str:
        """A link to a message (https://docs.slack.dev/reference/methods/chat.getPermalink)."""
        return str(
            (await self._call("chat.getPermalink", self.client.chat_getPermalink(channel=channel, message_ts=ts)))[
                "permalink"
            ]
        )

    async def identify(self) -> dict[str, Any]:
        """Prove the token and return whose it is (https://docs.slack.dev/reference/methods/auth.test).

        `scopes` are those that the token was given (https://docs.slack.dev/authentication/installing-with-oauth).
        """
        answer = await self._call("auth.test", self.client.auth_test())
        granted = str(answer.headers.get("x-oauth-scopes", "")).split(",")
        data = dict(answer.data) if isinstance(answer.data, dict) else {}
        return data | {"scopes": frozenset(scope.strip() for scope in granted)}

    async def open_socket(self, app_token: str) -> str:
        """Prove the app-level token; the address of a socket (.../reference/methods/apps.connections.open)."""
        opening = self.client.apps_connections_open(app_token=app_token)
        url = (await self._call("apps.connections.open", opening)).get("url")
        if not isinstance(url, str):
            raise SlackUnavailableError("no address", sent=True)
        return url

    async def group_members(self, group: str) -> frozenset[str]:
        """Who is in a user group now (https://docs.slack.dev/reference/methods/usergroups.users.list).

        Raise SlackUnavailableError if the answer has no list.
        """
        listing = self.client.usergroups_users_list(usergroup=group)
        users = (await self._call("usergroups.users.list", listing)).get("users")
        if not isinstance(users, list):
            raise SlackUnavailableError("no members", sent=True)
        return frozenset(users)

    async def membership(self, user: str) -> Membership:
        """Read where a person belongs, and their name (https://docs.slack.dev/reference/methods/users.info).

        In an Enterprise organization the answer can lack `team_id`; `enterprise_user.teams` then has the workspaces.
        A guest has `is_restricted`, and one of a single channel `is_ultra_restricted` as well; no payload tells it
        (https://docs.slack.dev/reference/objects/user-object).
        """
        found = (await self._call("users.info", self.client.users_info(user=user))).get("user")
        person = found if isinstance(found, dict) else {}
        member = person.get("enterprise_user")
        member = member if isinstance(member, dict) else {}
        team, enterprise, teams = person.get("team_id"), member.get("enterprise_id"), member.get("teams")
        known = frozenset(t for t in (team, *(teams if isinstance(teams, list) else ())) if isinstance(t, str))
        profile = person.get("profile")
        profile = profile if isinstance(profile, dict) else {}
        names = [profile.get("display_name"), profile.get("real_name"), person.get("real_name")]
        restricted = [person.get("is_restricted"), person.get("is_ultra_restricted")]
        return Membership(
            team if isinstance(team, str) else None,
            enterprise if isinstance(enterprise, str) else None,
            known,
            # What Slack does not say stays unknown, and that is no permission.
            guest=True if True in restricted else False if restricted == [False, False] else None,
            deactivated=person.get("deleted") is True,
            name=next((name for name in names if isinstance(name, str) and name), ""),
        )

    async def publish_home(self, user: str, blocks: list[dict[str, Any]]) -> None:
        """Set what a person sees in the App Home (https://docs.slack.dev/reference/methods/views.publish)."""
        await self._call(
            "views.publish", self.client.views_publish(user_id=user, view={"type": "home", "blocks": blocks})
        )

    async def open_dialog(self, trigger_id: str, view: dict[str, Any]) -> None:
        """Show a modal to the person who clicked in the App Home (.../reference/methods/views.open)."""
        await self._call("views.open", self.client.views_open(trigger_id=trigger_id, view=view))

    async def validate(self, kind: Literal["message", "view"], payload: dict[str, Any]) -> list[str]:
        """Return what Slack would refuse in a message or a view, each fault with a JSON pointer to it; post nothing.

        It needs no scope: https://docs.slack.dev/reference/methods/blocks.validate
        Slack's other errors than `invalid_...` say nothing about the message: they are raised.
        """
        # Not by slack_sdk's blocks_validate: that puts the payload into the address, where 20 KB do not fit.
        asking = self.client.api_call("blocks.validate", data={kind: json.dumps(payload)})
        try:
            await self._call("blocks.validate", asking)
        except SlackRejectedError as refusal:
            if not refusal.code.startswith("invalid_"):
                raise
            cause = refusal.__cause__
            errors = cause.response.get("errors") if isinstance(cause, SlackApiError) else None
            faults = [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []
            found = [f"{fault.get('pointer')}: {fault.get('message')} ({fault.get('code')})" for fault in faults]
            return found or [f"Slack does not say what is wrong ({refusal.code})"]
        return []

    async def delete(self, channel: str, ts: str) -> None:
        """Delete one of the bot's own messages (https://docs.slack.dev/reference/methods/chat.delete)."""
        await self._call("chat.delete", self.client.chat_delete(channel=channel, ts=ts))

    async def schedule(self, channel: str, message: Message, post_at: int) -> str:
        """Let Slack post a message later (seconds since the epoch), and return its id.

        It takes the same scope as a post: https://docs.slack.dev/reference/methods/chat.scheduleMessage
        """
        scheduling = self.client.chat_scheduleMessage(
            channel=channel, text=message.text, blocks=message.blocks, post_at=post_at, parse="none"
        )
        return str((await self._call("chat.scheduleMessage", scheduling)).get("scheduled_message_id"))

    async def unschedule(self, channel: str, scheduled: str) -> None:
        """Delete a scheduled message (https://docs.slack.dev/reference/methods/chat.deleteScheduledMessage)."""
        deleting = self.client.chat_deleteScheduledMessage(channel=channel, scheduled_message_id=scheduled)
        await self._call("chat.deleteScheduledMessage", deleting)

    async def withdraw(self, url: str) -> None:
        """Take away the private message whose menu was used, by the response_url of that."""
        await self._answer(url, {"delete_original": True})

    async def respond(self, url: str, message: Message, *, private: bool = False, replace: bool = False) -> None:
        """Answer by response_url: 5 times within 30 minutes, also in channels that the bot is not in.

        https://docs.slack.dev/interactivity/handling-user-interaction#message_responses
        """
        body = {
            "text": message.text,
            "blocks": message.blocks,
            "replace_original": replace,
            "response_type": "ephemeral" if private else "in_channel",
        }
        await self._answer(url, body)

    async def _call(self, method: str, call: Awaitable[AsyncSlackResponse]) -> AsyncSlackResponse:
        """Return the answer of a call; what slack_sdk raises becomes SlackRejectedError or SlackUnavailableError."""
        try:
            answer = await call
        except SlackApiError as error:
            self.errors[method] += 1
            data = error.response.data if isinstance(error.response, AsyncSlackResponse) else None
            code = data.get("error") if isinstance(data, dict) else None
            limited = data is not None and error.response.status_code == 429
            failure = _rate_limited(error.response.headers) if limited else _failure(code)
            if not failure.sent:  # Slack itself said no
                self.heard_at = self._monotonic()
            raise failure from error
        except (aiohttp.ClientError, TimeoutError, ValueError, AttributeError) as error:
            # ValueError: a body that isn't text; AttributeError: JSON that isn't an object, which slack_sdk trips on.
            self.errors[method] += 1
            raise _no_answer(error) from error
        self.heard_at = self._monotonic()
        return answer

    async def _answer(self, url: str, body: dict[str, Any]) -> None:
        webhook = AsyncWebhookClient(url, session=self.session, retry_handlers=[])
        try:
            answer = await webhook.send_dict(body)
        except (aiohttp.ClientError, TimeoutError, UnicodeError) as error:
            self.errors["response_url"] += 1
            raise _no_answer(error) from error
        if answer.status_code == 429:
            failure: SlackError | None = _rate_limited(answer.headers)
        elif answer.status_code >= 500:
            failure = SlackUnavailableError(f"HTTP {answer.status_code}", sent=True)
        elif answer.status_code != 200:
            failure = SlackRejectedError(f"response_url: HTTP {answer.status_code}")
        else:
            failure = _failure_in_body(answer.body)
        if failure is not None:
            self.errors["response_url"] += 1
            raise failure


def needs_somebody(error: SlackError) -> bool:
    """Return whether the same call can only work after somebody acts, such as to invite the bot or renew its token."""
    return isinstance(error, SlackRejectedError) or error.code in ADMINISTRATOR_ERRORS


def _no_answer(error: Exception) -> SlackUnavailableError:
    if isinstance(error, aiohttp.ClientConnectorError):
        return SlackUnavailableError("no connection", sent=False)
    return SlackUnavailableError(type(error).__name__, sent=True)


def _rate_limited(headers: Any) -> SlackUnavailableError:
    """Return when to try again (https://docs.slack.dev/apis/web-api/rate-limits): not before a second has passed."""
    value = str(headers.get("Retry-After", ""))
    seconds = float(value) if value.isascii() and value.isdigit() else SHORTEST_WAIT
    return SlackUnavailableError(
        "ratelimited", sent=False, retry_after=min(max(seconds, SHORTEST_WAIT), MAX_RETRY_AFTER), code="ratelimited"
    )


def _failure_in_body(body: str) -> SlackError | None:
    """Return what the body of a response_url's answer means; None if Slack accepted the message.

    A response_url can refuse with HTTP 200: with {"ok": false, "error": "expired_url"}, or with a bare word such as
    `invalid_blocks` or `action_prohibited`. If it accepted the message, it answers `ok`, nothing, or {"ok": true}.
    """
    body = body.strip()
    if body in ("", "ok"):
        return None
    if re.fullmatch("[a-z][a-z0-9_]*", body):
        return _failure(body)
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        return _failure(None)
    return None if answer.get("ok") is True else _failure(answer.get("error"))


def _failure(code: object) -> SlackError:
    """Return what Slack's error code means; without a readable code nobody knows whether the call was done."""
    if not isinstance(code, str) or code in AMBIGUOUS_ERRORS:
        return SlackUnavailableError(str(code or "no readable answer"), sent=True)
    if code in LIMIT_ERRORS:
        return SlackUnavailableError(code, sent=False, retry_after=SHORTEST_WAIT, code=code)
    if code in TRANSIENT_ERRORS:
        return SlackUnavailableError(code, sent=False, code=code)
    return SlackRejectedError(code)

"""The web server: Slack's signed requests in HTTP mode, and the bot's health and metrics in both modes."""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import structlog
from aiohttp import web
from slack_bolt.response import BoltResponse
from slack_sdk.signature import SignatureVerifier

from bot.errors import StartError
from bot.receivers.bolt import Receive

log = structlog.get_logger("bot.web")

HealthReport = Callable[[], Awaitable[dict[str, Any]]]
RenderMetrics = Callable[[], Awaitable[bytes]]
# A burst of requests waits here instead of being turned away.
BACKLOG = 4096
FORM = "application/x-www-form-urlencoded"
# One of them is in each form that Slack sends.
FORM_FIELDS = {"command", "payload"}
# A longer body is no test of the certificate, which names only its old token; it is not parsed before its signature.
MAX_SSL_CHECK = 1000  # bytes
# Older requests may be replayed ones.
MAX_REQUEST_AGE = 300
# How long closing waits for requests that hang, such as one whose body never ends, in seconds.
CLOSE_TIMEOUT = 0.5


class WebServer:
    """The listening web server."""

    def __init__(self) -> None:
        self._runner: web.AppRunner
        self._site: web.TCPSite

    async def listen(self, app: web.Application, host: str, port: int) -> int:
        """Serve the routes; return the port, which is another one for port 0. Raise StartError if that fails."""
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=CLOSE_TIMEOUT)
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, host, port, backlog=BACKLOG)
        try:
            await self._site.start()
        except OSError as error:
            await self._runner.cleanup()
            raise StartError(
                f"The web server cannot listen on {host}:{port} ({error.strerror}). "
                "Set HOST and PORT to an address of this machine that is free."
            ) from None
        return int(self._runner.addresses[0][1])

    async def stop_listening(self) -> None:
        """Take no new connection; open connections are still served."""
        await self._site.stop()

    async def close(self) -> None:
        """Close every connection."""
        await self._runner.cleanup()


class InvalidBodyError(Exception):
    """The body is not one that Slack sends."""


def unsigned(verifier: SignatureVerifier, headers: Mapping[str, str], body: bytes) -> str:
    """Why this was not signed by Slack (https://docs.slack.dev/authentication/verifying-requests-from-slack), if so.

    slack_sdk's verifier raises on headers that aren't numbers or ASCII, and on a body that isn't text: all three
    are looked at before.
    """
    timestamp, signature = headers.get("X-Slack-Request-Timestamp", ""), headers.get("X-Slack-Signature", "")
    if not re.fullmatch(r"[0-9]{1,12}", timestamp) or not signature.isascii():
        return "no signature of Slack"
    if (off := abs(time.time() - int(timestamp))) > MAX_REQUEST_AGE:
        return f"the time stamp is {off:.0f} s off: is this machine's clock right (NTP)?"
    try:
        fine = verifier.is_valid(body.decode("utf-8"), timestamp, signature)
    except UnicodeDecodeError:
        return "no text"
    return "" if fine else "signed with another secret: is SLACK_SIGNING_SECRET that of this app?"


def is_ssl_check(body: bytes, content_type: str) -> bool:
    """Return whether Slack only tests the certificate: it does not sign that, and expects status 200.

    https://github.com/slackapi/bolt-js/issues/614
    """
    if content_type != FORM or len(body) > MAX_SSL_CHECK or b"ssl_check=1" not in body:
        return False
    fields = dict(parse_qsl(body.decode("utf-8", "ignore")))
    return fields.get("ssl_check") == "1" and not fields.keys() & FORM_FIELDS


def parse(body: bytes, content_type: str) -> dict[str, Any]:
    """The body as Bolt takes it; raises InvalidBodyError.

    Bolt's own parsing takes a slash command whose text holds the word "payload" for an empty body: only a real
    `payload` field without a `command` beside it is an interaction here. A form without any of Slack's fields is
    refused, because nobody waits for an ack of it.
    """
    try:
        text = body.decode("utf-8")
        if content_type == "application/json":
            found = json.loads(text)
        else:
            fields = dict(parse_qsl(text, keep_blank_values=True))
            if not fields.keys() & FORM_FIELDS:
                raise InvalidBodyError
            found = json.loads(fields["payload"]) if "payload" in fields and "command" not in fields else fields
    except (ValueError, RecursionError) as error:
        raise InvalidBodyError from error
    if not isinstance(found, dict):
        raise InvalidBodyError
    return found


def make(
    verifier: SignatureVerifier | None, receive: Receive, health: HealthReport, metrics: RenderMetrics
) -> web.Application:
    """The web server's routes; without a verifier (Socket Mode) there is none for Slack's requests."""
    app = web.Application()
    if verifier is not None:
        app.router.add_post("/slack/events", _events(verifier, receive))

    async def healthz(_request: web.Request) -> web.Response:
        state = await health()
        return web.json_response(state, status=200 if state["ok"] else 503)

    async def scraped(_request: web.Request) -> web.Response:
        return web.Response(body=await metrics(), headers={"Content-Type": "text/plain; version=0.0.4; charset=utf-8"})

    app.router.add_get("/healthz", healthz)
    app.router.add_get("/metrics", scraped)
    return app


def _events(verifier: SignatureVerifier, receive: Receive) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    async def events(request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if is_ssl_check(body, request.content_type):
            return web.Response()
        if why := unsigned(verifier, request.headers, body):
            log.warning("signature_invalid", remote=request.remote, why=why)
            return web.json_response({"error": "invalid request"}, status=401)
        try:
            parsed = parse(body, request.content_type)
        except InvalidBodyError:
            log.warning("payload_invalid")
            return web.json_response({"error": "unreadable request"}, status=400)
        sent = web.StreamResponse()

        async def send(answer: BoltResponse) -> None:
            nonlocal sent
            kind = "application/json" if answer.body.startswith("{") else "text/plain"
            sent = web.Response(status=answer.status, text=answer.body, content_type=kind)
            with contextlib.suppress(ConnectionError):  # Slack has hung up: what was recorded goes on
                await sent.prepare(request)
                await sent.write_eof()

        return sent if await receive(parsed, send) else web.Response(status=503)

    return events

"""The web server of both fakes, on loopback, and the faults that it can produce."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

Step = Callable[[str], Awaitable[None]]


async def nothing(_step: str) -> None:
    """Do nothing: the default of `on_step`."""


class Server:
    """Serve `app` on 127.0.0.1; `url` is known after `start`."""

    def __init__(self, app: web.Application) -> None:
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        self.url = ""

    async def start(self, port: int = 0) -> None:
        """Listen; on any free port if `port` is 0."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port, backlog=4096).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stop listening, and drop the requests that hang."""
        await self._runner.cleanup()


def drop(request: web.Request) -> None:
    """Break the connection, so that the client gets no answer."""
    request.protocol.force_close()


async def hang() -> web.Response:
    """Never answer."""
    never: asyncio.Future[web.Response] = asyncio.get_running_loop().create_future()
    return await never


def too_many(retry_after: int) -> web.Response:
    """Ask the bot to wait (https://docs.slack.dev/apis/web-api/rate-limits)."""
    headers = {"Retry-After": str(retry_after)}
    return web.json_response({"ok": False, "error": "ratelimited"}, status=429, headers=headers)


async def fault_answer(request: web.Request, fault: str, retry_after: int) -> web.StreamResponse | None:
    """Produce a fault of Slack's web server; None means that the request is answered as usual."""
    match fault:
        case "" | "drop_after":
            return None
        case "429":
            return too_many(retry_after)
        case "500":
            return web.Response(status=500, text="<html>oops</html>", content_type="text/html")
        case "hang":
            return await hang()
        case "drop_before":
            drop(request)
            return web.Response()
        case "garbage":
            return web.Response(text='[1, "ok', content_type="application/json")
        case "bytes":
            return web.Response(body=b"\xff\xfe", content_type="application/json")
        case body if body.startswith("{"):
            return web.Response(text=body, content_type="application/json")
        case word if word.startswith("word:"):
            return web.Response(text=word.removeprefix("word:"))
        case code:
            return web.json_response({"ok": False, "error": code})

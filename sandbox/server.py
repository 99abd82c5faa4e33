"""A web server on loopback with faults that can be asked for: what both stand-ins stand on."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from aiohttp import web

Step = Callable[[str], Awaitable[None]]


async def nothing(_step: str) -> None:
    """What is done at a step unless a test says otherwise."""


class Server:
    """Serves `app` on 127.0.0.1; `url` is known after `start`."""

    def __init__(self, app: web.Application) -> None:
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.2)
        self.url = ""

    async def start(self, port: int = 0) -> None:
        """Listen; on any free port where `port` is 0."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", port, backlog=4096).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"

    async def stop(self) -> None:
        """Stop listening and drop what hangs."""
        await self._runner.cleanup()


def drop(request: web.Request) -> None:
    """Break the connection in the middle: the client gets no answer."""
    request.protocol.force_close()


async def hang() -> web.Response:
    """Never answer."""
    never: asyncio.Future[web.Response] = asyncio.get_running_loop().create_future()
    return await never

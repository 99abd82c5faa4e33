"""A way to PostgreSQL that can be cut or held, so that a test can take the database away and give it back."""

from __future__ import annotations

import asyncio
import contextlib

from sqlalchemy.engine import URL, make_url


class Proxy:
    """Listens on loopback and passes bytes on to the server of a URL while it is `up`."""

    def __init__(self, url: str) -> None:
        self._target = make_url(url)
        self._pairs: set[asyncio.StreamWriter] = set()
        self._passing = asyncio.Event()
        self._passing.set()
        self._up = True

    async def start(self) -> str:
        """Listen; the URL that leads through here."""
        self._server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        port = self._server.sockets[0].getsockname()[1]
        query = {k: v for k, v in self._target.query.items() if k != "host"}
        through: URL = self._target.set(host="127.0.0.1", port=port, query=query)
        return through.render_as_string(hide_password=False)

    async def stop(self) -> None:
        """Stop listening."""
        self.cut()
        self._server.close()

    def cut(self) -> None:
        """Break every connection, and every new one at once."""
        self._up = False
        for writer in self._pairs:
            writer.transport.abort()

    def hold(self) -> None:
        """Keep the connections, and pass nothing on."""
        self._passing.clear()

    def restore(self) -> None:
        """Pass everything on again."""
        self._up = True
        self._passing.set()

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if not self._up:
            writer.transport.abort()
            return
        host = self._target.query.get("host", self._target.host)
        if isinstance(host, str) and host.startswith("/"):
            there = await asyncio.open_unix_connection(f"{host}/.s.PGSQL.{self._target.port or 5432}")
        else:
            there = await asyncio.open_connection(str(host), self._target.port or 5432)
        self._pairs |= {writer, there[1]}
        await asyncio.gather(self._copy(reader, there[1]), self._copy(there[0], writer))
        self._pairs -= {writer, there[1]}

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError):
            while data := await reader.read(65_536):
                await self._passing.wait()
                writer.write(data)
                await writer.drain()
        writer.close()

"""The client of Cellcast by itself: what it sends, how often it connects, and how long it waits."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest

from bot.cli.check import prove_key
from bot.clients.cellcast import Cellcast as Client
from bot.domain.status import OutcomeCode
from bot.errors import BotError
from sandbox.fake_cellcast import Answer, Cellcast, envelope, failure
from tests.conftest import KEY, NUMBER, OTHER
from tests.process import free_port


@contextlib.asynccontextmanager
async def client_of(url: str, key: str = KEY) -> AsyncIterator[Client]:
    """A client of a Cellcast at this address."""
    client = Client(url, key)
    yield client
    await client.close()


async def test_connect_that_fails_for_a_moment(caplog: pytest.LogCaptureFixture) -> None:
    """A failed connect is repeated, because nothing was sent: a Cellcast that is there again gets its one call."""
    caplog.set_level(logging.DEBUG, "httpcore.connection")
    port = free_port()
    cellcast = Cellcast(KEY)
    async with client_of(f"http://127.0.0.1:{port}") as client:
        calling = asyncio.create_task(client.unsubscribe(NUMBER, 5))
        while "connect_tcp.failed" not in caplog.text:  # noqa: ASYNC110 - the client sends no event
            await asyncio.sleep(0)
        await cellcast.start(port)
        assert (await calling).code is OutcomeCode.SUCCEEDED
    await cellcast.stop()
    assert len(cellcast.calls) == 1


@pytest.mark.parametrize(("ends", "code"), [("broken", OutcomeCode.CONNECTION_LOST), ("silent", OutcomeCode.TIMEOUT)])
async def test_request_that_is_sent_in_part(ends: str, code: OutcomeCode) -> None:
    """If Cellcast takes only part of a request, the outcome is unknown, and the request is not sent again."""
    connections: list[asyncio.StreamWriter] = []

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(writer)
        await reader.read(1)
        if ends == "broken":
            writer.transport.abort()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    # The key is longer than what the kernel takes before the other end reads.
    async with client_of(f"http://127.0.0.1:{port}", "k" * 20_000_000) as client:
        assert (await client.unsubscribe(NUMBER, 5 if ends == "broken" else 0.5)).code is code
    server.close()
    for writer in connections:
        writer.transport.abort()
    assert len(connections) == 1


async def test_calls_at_the_same_time(cellcast: Cellcast) -> None:
    """A call does not wait for another one that Cellcast has not answered."""
    cellcast.hold = asyncio.Event()
    async with client_of(cellcast.url) as client:
        first = asyncio.create_task(client.unsubscribe(NUMBER, 5))
        await cellcast.called.wait()
        cellcast.called.clear()
        second = asyncio.create_task(client.unsubscribe(OTHER, 5))
        await asyncio.wait_for(cellcast.called.wait(), 3)
        cellcast.hold.set()
        await asyncio.gather(first, second)
    assert [call.number_id for call in cellcast.calls] == [NUMBER, OTHER]


async def test_answer_is_not_compressed(cellcast: Cellcast) -> None:
    """A Cellcast that compresses what clients accept compressed sends plain text: compressed, it would be unknown."""
    cellcast.compresses = True
    async with client_of(cellcast.url) as client:
        assert (await client.unsubscribe(NUMBER, 5)).code is OutcomeCode.SUCCEEDED


@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        ("86400", 86_400.0),
        ("90000", 86_400.0),
        ("Fri, 01 Jan 2100 00:00:00 GMT", 86_400.0),
        ("Sat, 01 Jan 2000 00:00:00 GMT", 0.0),
    ],
)
async def test_wait_is_at_most_a_day(cellcast: Cellcast, value: str, seconds: float) -> None:
    """Cellcast may ask for a wait of up to a day; what is longer counts as a day."""
    cellcast.next.append(Answer(429, failure(429, "Slow down"), {"Retry-After": value}))
    async with client_of(cellcast.url) as client:
        assert (await client.unsubscribe(NUMBER, 5)).retry_after == seconds


@pytest.mark.parametrize(("length", "kept"), [(2500, 2500), (2501, 2500)])
async def test_long_message_is_cut(cellcast: Cellcast, length: int, kept: int) -> None:
    """A message of up to 2500 characters is kept whole; what is longer is cut there, and says so."""
    cellcast.next.append(Answer(200, envelope("x" * length)))
    async with client_of(cellcast.url) as client:
        message = (await client.unsubscribe(NUMBER, 5)).message
    assert message == "x" * kept + ("" if kept == length else " … (cut)")


async def test_key_that_a_proxy_answers(cellcast: Cellcast) -> None:
    """If the answer about the key has no message, `check` names its HTTP status."""
    cellcast.key_answer = Answer(502, b"")
    async with client_of(cellcast.url) as client:
        with pytest.raises(BotError, match=r"does not accept CELLCAST_API_KEY \(HTTP 502\)"):
            await prove_key(client)

"""The one call to Cellcast, and what its answers mean."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from typing import Any

import httpx

from bot.domain.status import CallResult, OutcomeCode

# The documented answer has some 400 bytes; what is far longer is not it.
MAX_BYTES = 65_536
# A message longer than this is cut: Slack takes no more in one section (3000).
MAX_MESSAGE = 2_500
# Seconds before a failed connect is repeated: twice, for provably nothing was sent.
CONNECT_AGAIN_AFTER = (0.5, 1.0)
CUT = " … (cut)"
# httpx looks through all of its connections whenever one comes or goes: more at once get slower all together.
MAX_CONCURRENT_CALLS = 100


class Cellcast:
    """Cellcast's API over one shared client.

    No connection is kept for a later call: one that the server has closed meanwhile would break in the middle of
    sending, and the result would be unknown for no reason.
    """

    def __init__(self, base_url: str, key: str, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.key = key  # of the next call
        self._keys = {key}  # an answer can still name an earlier one
        self.on_unauthorized: Callable[[str], object] | None = None  # called with the key of each call that gets a 401
        self._turns = asyncio.Semaphore(MAX_CONCURRENT_CALLS)
        self._client = httpx.AsyncClient(
            base_url=base_url,
            transport=transport,
            headers={"Authorization": f"Bearer {key}", "Accept-Encoding": "identity", "Accept": "application/json"},
            follow_redirects=False,  # it would carry the key away
            timeout=None,  # noqa: S113 - each call has one limit for all of it, `unsubscribe(seconds)`
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=0),
        )

    def use(self, key: str) -> None:
        """Use another key from the next call on."""
        self.key = key
        self._keys.add(key)
        self._client.headers["Authorization"] = f"Bearer {key}"

    async def close(self) -> None:
        """Close the client."""
        await self._client.aclose()

    async def unsubscribe(self, number_id: str, seconds: float) -> CallResult:
        """Unsubscribe the number; at most one request of this call can have reached Cellcast.

        PUT /api/v1/apiClient/virtual-number/unsubscribe/:id (Cellcast documentation, "Unsubscribe Virtual Number").
        Only a failed connect, where provably nothing was sent, is repeated, within `seconds` for the whole call, the
        wait for a turn included.
        """
        sending = _Sending()
        try:
            async with asyncio.timeout(seconds), self._turns:
                return await self._send(number_id, sending)
        except TimeoutError:
            return CallResult(OutcomeCode.TIMEOUT if sending.began else OutcomeCode.NOT_CONNECTED)

    async def _send(self, number_id: str, sending: _Sending) -> CallResult:
        for wait in (*CONNECT_AGAIN_AFTER, None):
            try:
                return await self._put(number_id, sending)
            except httpx.RequestError:
                if sending.began:
                    return CallResult(OutcomeCode.CONNECTION_LOST)
            if wait is not None:
                await asyncio.sleep(wait)
        return CallResult(OutcomeCode.NOT_CONNECTED)

    async def _put(self, number_id: str, sending: _Sending) -> CallResult:
        path = f"/api/v1/apiClient/virtual-number/unsubscribe/{number_id}"
        headers = {"Content-Type": "application/json"}
        extensions = {"trace": sending.trace}
        key = self.key
        async with self._client.stream("PUT", path, headers=headers, extensions=extensions) as response:
            # Also if the answer is not Cellcast's documented one: reading a file once more does no harm.
            if response.status_code == 401 and self.on_unauthorized is not None:
                self.on_unauthorized(key)
            return self._read(response, await _body(response))

    def _read(self, response: httpx.Response, body: bytes | None) -> CallResult:
        """Sort an answer by what Cellcast documents; what is not documented is unknown."""
        status = response.status_code
        answer = _json(body, response)
        message = self._message(answer)
        if status >= 500:
            return CallResult(OutcomeCode.SERVER_ERROR, message)
        if 300 <= status < 400:
            return CallResult(OutcomeCode.REDIRECT)
        if status == 429:
            # RFC 6585: too many requests, and by convention this one was not processed. v1's limits are undocumented.
            return CallResult(OutcomeCode.RATE_LIMITED, message, _retry_after(response))
        if answer is None:
            return CallResult(OutcomeCode.UNEXPECTED_RESPONSE)
        if status == 200:
            return CallResult(_kind_of_200(answer), message)
        if answer.get("code") == status or answer.get("status") is False:
            return CallResult(_kind_of_error(status, message), message)
        return CallResult(OutcomeCode.UNEXPECTED_RESPONSE, message)

    def _message(self, answer: dict[str, Any] | None) -> str:
        """The API's own words, fit to be stored and shown: no key, no NUL, no half characters."""
        if answer is None:
            return ""
        given = answer.get("error")
        error = given if isinstance(given, dict) else {}
        found = [answer.get("message"), error.get("errorMessage"), error.get("error")]
        text = next((m.strip() for m in found if isinstance(m, str) and m.strip()), "")
        text = text.encode("utf-8", "replace").decode("utf-8").replace("\x00", "\ufffd")
        for key in sorted(self._keys, key=len, reverse=True):  # one can be part of another
            text = text.replace(key, "[API key]")
        return text if len(text) <= MAX_MESSAGE else text[:MAX_MESSAGE] + CUT

    async def verify(self) -> tuple[bool, str]:
        """Whether Cellcast takes the key (GET /api/v1/user/token/verify), and its own words.

        The answer's body echoes the key: only its message goes on, with the key taken out. Raises httpx.HTTPError.
        """
        response = await self._client.get("/api/v1/user/token/verify", timeout=10)
        answer = _json(response.content, response)
        fine = response.status_code == 200 and answer is not None and answer.get("status") is True
        return fine, self._message(answer) or f"HTTP {response.status_code}"

    async def account(self) -> dict[str, Any]:
        """The account's name and balance (GET /api/v1/apiClient/account); empty where there is none.

        Raises httpx.HTTPError.
        """
        response = await self._client.get("/api/v1/apiClient/account", timeout=10)
        data = (_json(response.content, response) or {}).get("data")
        return data if response.status_code == 200 and isinstance(data, dict) else {}


class _Sending:
    """Knows whether any byte of the request itself can have left (httpx's `trace` extension)."""

    def __init__(self) -> None:
        self.began = False

    async def trace(self, event: str, info: dict[str, Any]) -> None:
        # A proxy gets a CONNECT first, which asks it for a way to Cellcast: if it refuses, Cellcast got nothing.
        if event.endswith("send_request_headers.started") and info["request"].method != b"CONNECT":
            self.began = True


async def _body(response: httpx.Response) -> bytes | None:
    """The answer's bytes as they came, None if there are more than any documented answer has."""
    body = bytearray()
    async for chunk in response.aiter_raw():
        body += chunk
        if len(body) > MAX_BYTES:
            return None
    return bytes(body)


def _json(body: bytes | None, response: httpx.Response) -> dict[str, Any] | None:
    if body is None or response.headers.get("content-encoding", "identity") != "identity":
        return None
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return answer if isinstance(answer, dict) else None


def _kind_of_200(answer: dict[str, Any]) -> OutcomeCode:
    if answer.get("status") is True and "code" not in answer:
        return OutcomeCode.SUCCEEDED
    return OutcomeCode.REJECTED if answer.get("status") is False else OutcomeCode.UNEXPECTED_RESPONSE


def _kind_of_error(status: int, message: str) -> OutcomeCode:
    if status == 404:
        # Any other 404 may come from a proxy or a wrong base URL and says nothing of the number.
        return (
            OutcomeCode.NOT_FOUND
            if re.search("virtual number not found", message, re.IGNORECASE)
            else OutcomeCode.UNEXPECTED_RESPONSE
        )
    return {401: OutcomeCode.UNAUTHORIZED, 400: OutcomeCode.REJECTED, 422: OutcomeCode.REJECTED}.get(
        status, OutcomeCode.UNEXPECTED_RESPONSE
    )


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds to wait (RFC 9110, 10.2.3: a number, or a date), at most a day."""
    value = response.headers.get("retry-after", "")
    if re.fullmatch(r"[0-9]{1,6}", value):
        return min(float(value), 86_400.0)
    try:
        return min(max(parsedate_to_datetime(value).timestamp() - time.time(), 0.0), 86_400.0)
    except (ValueError, OverflowError):
        return None

"""The web server: only what Slack signed is heard, and nothing that is sent makes it fail."""

from __future__ import annotations

import time

import pytest
from slack_sdk.signature import SignatureVerifier

from bot.app import Bot
from bot.receivers.http import unsigned
from sandbox.fake_slack import Workspace


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"X-Slack-Signature": "v0=" + "0" * 64}, id="wrong signature"),
        pytest.param({"X-Slack-Signature": ""}, id="no signature"),
        pytest.param({"X-Slack-Signature": "v0=ü"}, id="no ASCII"),
        pytest.param({"X-Slack-Request-Timestamp": "soon"}, id="no number"),
        pytest.param({"X-Slack-Request-Timestamp": ""}, id="no time"),
        pytest.param({"X-Slack-Request-Timestamp": str(int(time.time()) - 600)}, id="ten minutes old"),
    ],
)
async def test_unsigned_request(bot: Bot, workspace: Workspace, headers: dict[str, str]) -> None:
    """What Slack did not sign, or signed long ago, is refused."""
    status, _ = await workspace.send_raw(b"command=/unsubscribe-number", **headers)
    assert status == 401


UNSIGNED = {"X-Slack-Request-Timestamp": "", "X-Slack-Signature": ""}


@pytest.mark.parametrize("headers", [pytest.param({}, id="signed"), pytest.param(UNSIGNED, id="unsigned")])
async def test_ssl_check(bot: Bot, workspace: Workspace, headers: dict[str, str]) -> None:
    """Slack's test of the certificate is answered with 200, although Slack does not sign it."""
    assert await workspace.send_raw(b"ssl_check=1&token=old", **headers) == (200, "")


@pytest.mark.parametrize(
    "body",
    [
        b"ssl_check=1&command=%2Funsubscribe-number&text=history&user_id=U0ANA&team_id=T0HOME&channel_id=C0NUMBERS",
        b"ssl_check=1&payload=%7B%22type%22%3A%22block_actions%22%7D",
        b"ssl_check=0",
    ],
)
async def test_unsigned_request_that_looks_like_an_ssl_check(bot: Bot, workspace: Workspace, body: bytes) -> None:
    """The word ssl_check lets no command and no click in without a signature."""
    assert (await workspace.send_raw(body, **UNSIGNED))[0] == 401


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        pytest.param(b"ssl_check=1&token=" + b"x" * 1_000_000, "application/x-www-form-urlencoded", id="a long body"),
        pytest.param(b"ssl_check=1&token=old", "application/json", id="no form"),
    ],
)
async def test_unsigned_request_that_is_no_ssl_check(bot: Bot, workspace: Workspace, body: bytes, kind: str) -> None:
    """Only a short form, as Slack sends it, is looked at before the signature."""
    assert (await workspace.send_raw(body, **UNSIGNED, **{"Content-Type": kind}))[0] == 401


async def test_event_that_looks_like_an_ssl_check(bot: Bot, workspace: Workspace) -> None:
    """A signed event whose text holds the words of an ssl_check is handled as every event."""
    body = b'{"type": "url_verification", "challenge": "a&ssl_check=1&b"}'
    status, answer = await workspace.send_raw(body, **{"Content-Type": "application/json"})
    assert (status, "a&ssl_check=1&b" in answer) == (200, True)


async def test_body_that_is_no_text(bot: Bot, workspace: Workspace) -> None:
    """Bytes that are no UTF-8 are refused."""
    assert (await workspace.send_raw(b"\xff\xfe"))[0] == 401


@pytest.mark.parametrize(
    ("body", "kind", "expected"),
    [
        (b"payload=nonsense", "application/x-www-form-urlencoded", 400),
        (b"payload=[1]", "application/x-www-form-urlencoded", 400),
        (b"{", "application/json", 400),
        (b"[" * 50_000, "application/json", 400),
        (b'{"type": "url_verification", "challenge": "c"}', "application/json", 200),
        (b"", "application/x-www-form-urlencoded", 400),
        (b"unknown=1", "application/x-www-form-urlencoded", 400),
        (b'payload={"type": "view_submission"}', "application/x-www-form-urlencoded", 200),
        (b"{}", "application/json", 200),
    ],
)
async def test_signed_body(bot: Bot, workspace: Workspace, body: bytes, kind: str, expected: int) -> None:
    """Signed bodies that are not Slack's are told apart from Slack's own."""
    assert (await workspace.send_raw(body, **{"Content-Type": kind}))[0] == expected


async def test_huge_body(bot: Bot, workspace: Workspace) -> None:
    """A body beyond a megabyte is refused, not read."""
    assert (await workspace.send_raw(b"x" * 1_048_577))[0] == 413


@pytest.mark.parametrize(("seconds", "why"), [(290, ""), (-290, ""), (310, "the time stamp"), (-310, "the time stamp")])
def test_request_counts_for_five_minutes(seconds: int, why: str) -> None:
    """A signed request that is more than five minutes old, or that far ahead, may be a replayed one: the log says so."""
    verifier, timestamp = SignatureVerifier("secret"), str(int(time.time()) - seconds)
    signature = verifier.generate_signature(timestamp=timestamp, body=b"x") or ""
    found = unsigned(verifier, {"X-Slack-Request-Timestamp": timestamp, "X-Slack-Signature": signature}, b"x")
    assert found[: len("the time stamp")] == why

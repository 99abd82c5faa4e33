"""When an audit line is tried again that Slack did not take."""

from __future__ import annotations

import pytest

from bot.errors import SlackError, SlackRejectedError, SlackUnavailableError
from bot.service.auditor import pause


@pytest.mark.parametrize(
    ("error", "pauses"),
    [
        (SlackUnavailableError("HTTP 500", sent=True), [1, 1, 30, 60, 60]),
        (SlackUnavailableError("ratelimited", sent=False, retry_after=45, code="ratelimited"), [45, 45, 45, 60, 60]),
        (SlackUnavailableError("ratelimited", sent=False, retry_after=900, code="ratelimited"), [900] * 5),
        (SlackRejectedError("not_in_channel"), [60, 60, 60, 3000, 14_400]),
        (SlackUnavailableError("invalid_auth", sent=False, code="invalid_auth"), [60, 60, 60, 3000, 14_400]),
    ],
    ids=["unavailable", "limited", "limited for long", "rejected", "the token is invalid"],
)
def test_pause(error: SlackError, pauses: list[float]) -> None:
    """It doubles with the outcome's age up to a minute, or to four hours if somebody must act; a clock may be set back."""
    assert [pause(error, age) for age in (-100.0, 0.0, 30.0, 3000.0, 100_000.0)] == pauses

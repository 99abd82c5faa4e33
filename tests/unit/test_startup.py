"""The first steps of the bot and of the commands: what they say if they fail."""

from __future__ import annotations

from typing import Any

import pytest

from bot.clients.slack import Slack
from bot.errors import BotError, SlackRejectedError, SlackUnavailableError, StartError
from bot.service.startup import identify, open_socket, unreachable

NETWORK = "Check the network of this machine, and SLACK_API_URL."


class FailingSlack(Slack):
    """A Slack client whose every call ends with one error."""

    def __init__(self, error: BotError) -> None:
        self.error = error

    async def identify(self) -> dict[str, Any]:
        """Fail."""
        raise self.error

    async def open_socket(self, app_token: str) -> str:  # noqa: ARG002 - as the method that it replaces
        """Fail."""
        raise self.error


@pytest.mark.parametrize(
    ("error", "bot_token", "app_token"),
    [
        pytest.param(
            SlackRejectedError("invalid_auth"),
            "Slack does not accept SLACK_BOT_TOKEN (invalid_auth). "
            "Copy the token again from api.slack.com/apps > your app > OAuth & Permissions.",
            "Slack does not accept SLACK_APP_TOKEN (invalid_auth). "
            "Copy the token again from api.slack.com/apps > your app > Basic Information > App-Level Tokens.",
            id="an invalid token",
        ),
        pytest.param(
            SlackUnavailableError("no connection", sent=False),
            f"Slack cannot be reached: the connection failed. {NETWORK}",
            f"Slack cannot be reached: the connection failed. {NETWORK}",
            id="no connection",
        ),
        pytest.param(
            SlackUnavailableError("TimeoutError", sent=True),
            f"Slack cannot be reached: no usable answer (TimeoutError). {NETWORK}",
            f"Slack cannot be reached: no usable answer (TimeoutError). {NETWORK}",
            id="no answer",
        ),
        pytest.param(
            SlackUnavailableError("ratelimited", sent=False, retry_after=30, code="ratelimited"),
            "Slack received too many requests from this app. Wait a minute, then try again.",
            "Slack received too many requests from this app. Wait a minute, then try again.",
            id="too many requests",
        ),
    ],
)
async def test_slack_that_does_not_let_the_bot_start(error: BotError, bot_token: str, app_token: str) -> None:
    """One plain sentence says what failed and what to do."""
    slack = FailingSlack(error)
    with pytest.raises(StartError) as raised:
        await identify(slack)
    assert str(raised.value) == bot_token
    with pytest.raises(StartError) as raised:
        await open_socket(slack, "xapp-1")
    assert str(raised.value) == app_token


def test_slack_that_says_no_is_reachable() -> None:
    """A rejection is no network problem."""
    assert unreachable(SlackRejectedError("missing_scope")) is None

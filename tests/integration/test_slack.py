"""The client of Slack by itself: what its answers mean, and whether a message may be there without one."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator

import pytest

from bot.cli.check import prove_bot_token
from bot.clients import slack
from bot.clients.slack import Slack
from bot.errors import BotError, SlackRejectedError, SlackUnavailableError
from bot.views import blocks
from sandbox.fake_slack import Workspace
from tests.conftest import ANA, NUMBERS, TOKEN

MESSAGE = blocks.private("Hello.")


@contextlib.asynccontextmanager
async def client_of(workspace: Workspace) -> AsyncIterator[Slack]:
    """A client of the workspace."""
    client = Slack(TOKEN, workspace.api_url)
    yield client
    await client.close()


@pytest.mark.parametrize(
    "answer",
    [
        "internal_error",
        "fatal_error",
        "service_unavailable",
        "request_timeout",
        "team_added_to_org",
        "500",
        "garbage",
        "bytes",
        "word:[1]",
        "word:null",
    ],
)
async def test_answer_that_leaves_it_open(workspace: Workspace, answer: str) -> None:
    """After an error that Slack documents as ambiguous, or no readable answer, the message may have been posted."""
    workspace.faults["chat.postMessage"].append(answer)
    async with client_of(workspace) as client:
        with pytest.raises(SlackUnavailableError) as error:
            await client.post(NUMBERS, MESSAGE)
    assert error.value.sent


@pytest.mark.parametrize("code", ["ratelimited", "missing_scope", "token_revoked"])
async def test_answer_that_says_later(workspace: Workspace, code: str) -> None:
    """After an error that passes, the message was not posted, and can be later."""
    workspace.faults["chat.postMessage"].append(code)
    async with client_of(workspace) as client:
        with pytest.raises(SlackUnavailableError) as error:
            await client.post(NUMBERS, MESSAGE)
    assert not error.value.sent


async def test_answer_that_says_no(workspace: Workspace) -> None:
    """After any other error the message is rejected for good."""
    async with client_of(workspace) as client:
        with pytest.raises(SlackRejectedError):
            await client.post("C0NOWHERE", MESSAGE)


@pytest.mark.parametrize("answer", ["hang", "bytes", "garbage", "500"])
async def test_response_url_that_leaves_it_open(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, answer: str
) -> None:
    """If a response_url does not answer in time, or nothing readable, the message may have been posted."""
    monkeypatch.setattr(slack, "CALL_TIMEOUT", 0.3)
    url = workspace.command_fields(ANA, NUMBERS, "")["response_url"]
    workspace.faults["response_url"].append(answer)
    async with client_of(workspace) as client:
        with pytest.raises(SlackUnavailableError) as error:
            await client.respond(url, MESSAGE)
    assert error.value.sent


async def test_scopes(workspace: Workspace) -> None:
    """Spaces between the scopes of a token make no difference; a scope that is missing is named."""
    async with client_of(workspace) as client:
        workspace.scopes = "commands, chat:write, chat:write.public, usergroups:read, users:read"
        assert await prove_bot_token(client, groups=True) == "cellcast in Stand-in (T0HOME)"
        workspace.scopes = "commands, chat:write, chat:write.public, users:read"
        with pytest.raises(BotError, match="the app lacks usergroups:read"):
            await prove_bot_token(client, groups=True)
        workspace.scopes = "commands, chat:write, users:read"
        assert await prove_bot_token(client, groups=False) == (
            "cellcast in Stand-in (T0HOME); without chat:write.public, so invite the bot to each channel"
        )
        workspace.scopes = "commands, chat:write, chat:write.public"
        with pytest.raises(BotError, match="the app lacks users:read"):
            await prove_bot_token(client, groups=False)

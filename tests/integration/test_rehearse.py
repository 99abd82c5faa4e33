"""`python -m bot rehearse`: Slack judges every message of the bot before a person sees one."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bot.cli import samples
from sandbox.fake_cellcast import Cellcast
from sandbox.fake_slack import Workspace
from tests.conftest import APP_TOKEN, NUMBERS, QUIET, SECRETS, SQLITE
from tests.process import run_command

pytestmark = SQLITE


async def test_every_message_is_accepted(
    environment: dict[str, str], tmp_path: Path, workspace: Workspace, cellcast: Cellcast
) -> None:
    """Each message has a line, the exit code is 0, nothing is posted, and Cellcast is not called."""
    code, out, err = await run_command("rehearse", settings=environment, cwd=tmp_path)
    *lines, last = out.splitlines()
    assert (code, err, last) == (0, "", "Slack accepts everything.")
    assert len(lines) == len([*samples.rows(), *samples.longest()]) + 2  # and the menu and the modal
    assert all(line.startswith("ok    ") for line in lines)
    assert "ok    The App Home: the longest texts" in lines
    assert (workspace.notes, workspace.homes, cellcast.calls) == ([], {}, [])
    assert workspace.api_calls.count("blocks.validate") == len(lines)
    assert set(workspace.api_calls) == {"auth.test", "blocks.validate"}


async def test_refused_message(environment: dict[str, str], tmp_path: Path, workspace: Workspace) -> None:
    """A message that Slack refuses has a line with Slack's pointer and words, the others are still tried; exit code 1."""
    workspace.refused_words = "Token expired"
    code, out, _ = await run_command("rehearse", settings=environment, cwd=tmp_path)
    assert code == 1
    failed = [line for line in out.splitlines() if line.startswith("FAIL  ")]
    assert failed
    assert all(re.search(r": /blocks/\d+: these words are refused \(failed_constraint\)", line) for line in failed)
    assert "ok    The modal" in out
    assert out.splitlines()[-1] == "Slack does not accept everything. Please report the lines above."


async def test_with_a_channel(environment: dict[str, str], tmp_path: Path, workspace: Workspace) -> None:
    """With a channel one card is posted, updated and deleted there, and a socket carries a frame there and back."""
    settings = environment | {"SLACK_APP_TOKEN": APP_TOKEN}
    code, out, _ = await run_command("rehearse", "--channel", NUMBERS, settings=settings, cwd=tmp_path)
    assert code == 0
    assert f"ok    A card in {NUMBERS}: posted, updated and deleted" in out
    assert "ok    A socket: opened, and Slack sent a frame back" in out
    called = [call for call in workspace.api_calls if call.startswith("chat.")]
    assert called == ["chat.postMessage", "chat.update", "chat.delete"]
    assert (workspace.notes, workspace.opened) == ([], 1)


async def test_with_a_channel_in_http_mode(environment: dict[str, str], tmp_path: Path, workspace: Workspace) -> None:
    """Without an app-level token there is no socket to try."""
    code, out, _ = await run_command("rehearse", "--channel", NUMBERS, settings=environment, cwd=tmp_path)
    assert code == 0
    assert "A socket" not in out
    assert workspace.notes == []


@pytest.mark.parametrize(
    ("fault", "line"),
    [
        pytest.param("deaf", "FAIL  A socket: TimeoutError", id="no answer to the ping"),
        pytest.param("channel", f"FAIL  A card in {QUIET}: Slack refused it (not_in_channel).", id="no member"),
        pytest.param(
            "away",
            f"FAIL  A card in {NUMBERS}: Slack cannot be reached: no usable answer (no readable answer). "
            "Check the network of this machine, and SLACK_API_URL.",
            id="no card",
        ),
    ],
)
async def test_channel_that_fails(
    environment: dict[str, str],
    tmp_path: Path,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    line: str,
) -> None:
    """What does not work with the channel or the socket is a line, and exit code 1."""
    monkeypatch.setattr("bot.cli.rehearse.SOCKET_TIMEOUT", 0.2)
    workspace.deaf = fault == "deaf"
    if fault == "away":
        workspace.faults["chat.postMessage"].append("500")
    channel = QUIET if fault == "channel" else NUMBERS
    settings = environment | {"SLACK_APP_TOKEN": APP_TOKEN}
    code, out, _ = await run_command("rehearse", "--channel", channel, settings=settings, cwd=tmp_path)
    assert code == 1
    assert line in out.splitlines()
    assert workspace.notes == []


async def test_rate_limit(environment: dict[str, str], tmp_path: Path, workspace: Workspace) -> None:
    """If Slack limits requests, the rehearsal waits as long as Slack says, and goes on."""
    workspace.faults["blocks.validate"].append("429")
    code, _, _ = await run_command("rehearse", settings=environment, cwd=tmp_path)
    assert code == 0


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        pytest.param("500", "Slack cannot be reached", id="an outage"),
        pytest.param("unknown_method", "Slack does not validate messages (unknown_method).", id="no such method"),
    ],
)
async def test_no_judgement(
    environment: dict[str, str], tmp_path: Path, workspace: Workspace, fault: str, says: str
) -> None:
    """If Slack gives no judgement, that is one plain line and exit code 1."""
    workspace.faults["blocks.validate"].append(fault)
    code, _, err = await run_command("rehearse", settings=environment, cwd=tmp_path)
    assert code == 1
    assert says in err
    assert len(err.splitlines()) == 1


async def test_wrong_token(environment: dict[str, str], tmp_path: Path) -> None:
    """A token that Slack does not accept is one plain line that does not show it."""
    settings = environment | {"SLACK_BOT_TOKEN": "xoxb-of-nobody"}
    code, out, err = await run_command("rehearse", settings=settings, cwd=tmp_path)
    assert (code, out) == (1, "")
    assert "Slack does not accept SLACK_BOT_TOKEN (invalid_auth)" in err
    assert not [secret for secret in [*SECRETS, "xoxb-of-nobody"] if secret in err]

"""The likeliest mistakes of a set-up, each made here: docs/troubleshooting.md lists its message."""

from __future__ import annotations

import asyncio
import re
import time
from pathlib import Path

import pytest

from sandbox.fake_cellcast import Cellcast
from sandbox.fake_slack import Workspace
from tests.conftest import (
    ANA,
    APP_TOKEN,
    BEN,
    KEY,
    NUMBER,
    NUMBERS,
    SECRET,
    Start,
    TestClock,
    advance,
    ask,
    private,
    public,
    settled,
)
from tests.process import ROOT, run_bot, run_command

SYMPTOMS = re.findall(r"^\| `([^`]+)`", (ROOT / "docs" / "troubleshooting.md").read_text(), re.MULTILINE)


def in_table(said: str) -> None:
    """docs/troubleshooting.md lists a symptom that is part of what the bot said."""
    assert [symptom for symptom in SYMPTOMS if symptom in said], f"no symptom in docs/troubleshooting.md fits: {said}"


async def started(environment: dict[str, str], folder: Path, **changes: str) -> str:
    """What the bot says that does not start."""
    given = {name: value for name, value in (environment | changes).items() if value}
    code, _, err = await run_bot(settings=given, cwd=folder)
    assert code in (1, 2)
    return err


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({"SLACK_SIGNING_SECRET": ""}, id="neither an app-level token nor a signing secret"),
        pytest.param({"SLACK_APP_TOKEN": "xoxb-1"}, id="the bot token in the place of the app-level token"),
        pytest.param({"SLACK_BOT_TOKEN": "xoxb-of-another-app"}, id="a revoked bot token"),
        pytest.param({"SLACK_BOT_TOKEN": "xoxe.xoxb-1"}, id="a bot token that expires"),
        pytest.param({"SLACK_APP_TOKEN": "xapp-of-another-app"}, id="a wrong app-level token"),
        pytest.param({"ALLOWED_USERS": ""}, id="nobody may"),
        pytest.param({"ALLOWED_USERS": "ana, ben"}, id="names for ids"),
        pytest.param({"DATABASE_URL": "sqlite:////nowhere/unsubscribe.db"}, id="a folder that is not there"),
    ],
)
async def test_start_reports(
    changes: dict[str, str], environment: dict[str, str], tmp_path: Path, workspace: Workspace
) -> None:
    """What is wrong in the settings is told at the start."""
    in_table(await started(environment, tmp_path, **changes))


@pytest.mark.parametrize(
    ("content", "changes"),
    [
        pytest.param(KEY, {}, id="the key and a file for it"),
        pytest.param(None, {"CELLCAST_API_KEY": ""}, id="a file that is not there"),
        pytest.param("", {"CELLCAST_API_KEY": ""}, id="an empty file"),
        pytest.param(f"{KEY}\n\n", {"CELLCAST_API_KEY": ""}, id="a file with an empty line"),
        pytest.param(None, {"CELLCAST_API_KEY": "", "CELLCAST_API_KEY_FILE": KEY}, id="the key in the place of a path"),
    ],
)
async def test_secret_in_a_file(
    content: str | None, changes: dict[str, str], environment: dict[str, str], tmp_path: Path
) -> None:
    """The start says what is wrong with the file of a secret, and does not show the secret."""
    if content is not None:
        (tmp_path / "key").write_text(content)
    said = await started(environment, tmp_path, **{"CELLCAST_API_KEY_FILE": str(tmp_path / "key")} | changes)
    in_table(said)
    assert KEY not in said


async def test_app_token_without_its_scope(environment: dict[str, str], tmp_path: Path, workspace: Workspace) -> None:
    """An app-level token without connections:write."""
    workspace.faults["apps.connections.open"].append("missing_scope")
    in_table(await started(environment, tmp_path, SLACK_APP_TOKEN=APP_TOKEN))


async def test_missing_scope(environment: dict[str, str], tmp_path: Path, workspace: Workspace) -> None:
    """An app that was made by hand and lacks a scope."""
    workspace.scopes = "commands,chat:write"
    code, out, _ = await run_command("check", settings=environment, cwd=tmp_path)
    assert code == 1
    in_table(out)


async def test_wrong_cellcast_key(environment: dict[str, str], tmp_path: Path) -> None:
    """A key that Cellcast does not take."""
    code, out, _ = await run_command("check", settings=environment | {"CELLCAST_API_KEY": "no-such-key"}, cwd=tmp_path)
    assert code == 1
    in_table(out)


async def test_key_that_is_refused_with_its_file(
    start: Start, workspace: Workspace, cellcast: Cellcast, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log says whether the file holds the refused key still, or no key at all."""
    (tmp_path / "key").write_text(KEY)
    async with start(cellcast_api_key=None, cellcast_api_key_file=str(tmp_path / "key")) as bot:
        cellcast.key = "another-key"
        for content in (KEY, ""):
            (tmp_path / "key").write_text(content)
            await workspace.click(BEN, await ask(workspace), "Unsubscribe Number")
            await settled(bot)
    said = capsys.readouterr().out
    in_table(next(line for line in said.splitlines() if "cellcast_key_unchanged" in line))
    in_table(next(line for line in said.splitlines() if "cellcast_key_unavailable" in line))


async def test_signing_secret_of_another_app(
    start: Start, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """The log says that Slack signed with another secret; Slack itself shows that the bot refused the command."""
    async with start(slack_signing_secret="f" * 32):
        await workspace.command(ANA, NUMBERS, NUMBER)
        workspace.broken_rules.clear()
    in_table(capsys.readouterr().out)
    (shown,) = private(workspace, ANA)
    assert "dispatch_failed" in shown
    in_table(shown)


@pytest.mark.parametrize("error", ["operation_timeout", "dispatch_failed"])
async def test_bot_that_does_not_answer(workspace: Workspace, monkeypatch: pytest.MonkeyPatch, error: str) -> None:
    """Slack shows whether the bot answered too late, or could not be reached at all."""
    monkeypatch.setattr("sandbox.fake_slack.ACK_SECONDS", 0.2)

    async def listen(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await hang_up.wait()
        writer.close()

    hang_up = asyncio.Event()
    async with await asyncio.start_server(listen, "127.0.0.1", 0) as server:
        workspace.bot_url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        if error == "dispatch_failed":
            hang_up.set()
        await workspace.command(ANA, NUMBERS, NUMBER)
        hang_up.set()
    (shown,) = private(workspace, ANA)
    assert error in shown
    in_table(shown)
    assert workspace.broken_rules.pop().startswith("slash_commands: acknowledged with status")


async def test_signing_secret_of_an_unusual_form(
    start: Start, workspace: Workspace, environment: dict[str, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The bot starts and says in its log what looks wrong, and so does `check`."""
    async with start(slack_signing_secret="the-client-secret"):
        pass
    in_table(capsys.readouterr().out)
    settings = environment | {"SLACK_SIGNING_SECRET": "the-client-secret"}
    code, out, _ = await run_command("check", settings=settings, cwd=tmp_path)
    assert code == 0
    in_table(out)


async def test_user_groups_on_a_free_plan(environment: dict[str, str], tmp_path: Path, workspace: Workspace) -> None:
    """A user group in a workspace without a paid plan."""
    workspace.faults["usergroups.users.list"].append("plan_upgrade_required")
    code, out, _ = await run_command("check", settings=environment | {"ALLOWED_USERS": "S0ADMINS"}, cwd=tmp_path)
    assert code == 1
    in_table(out)


async def test_clock_that_is_off(start: Start, workspace: Workspace, capsys: pytest.CaptureFixture[str]) -> None:
    """The log says that the clock is off by more than five minutes."""
    async with start():
        stamp = {"X-Slack-Request-Timestamp": str(int(time.time()) - 400)}
        status, _ = await workspace.send_raw(b"command=/unsubscribe-number", **stamp)
    assert status == 401
    in_table(capsys.readouterr().out)


async def test_two_deployments_on_one_token(
    start: Start, workspace: Workspace, cellcast: Cellcast, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The click reaches a replica with another database: it says so, and calls nobody; its log warns of the other."""
    async with start(slack_app_token=APP_TOKEN):
        card = await ask(workspace)
        async with start(slack_app_token=APP_TOKEN, database_url=f"sqlite:///{tmp_path}/other.db") as other:
            await workspace.until(lambda: workspace.connected == 2)
            await workspace.click(BEN, card, "Unsubscribe Number")
            await settled(other)
            await workspace.until(lambda: private(workspace, BEN))
            await workspace.refresh_sockets()  # a second hello counts the other replica again
            await workspace.until(lambda: workspace.opened == 4 and workspace.connected == 2)
    in_table(private(workspace, BEN)[0])
    in_table(capsys.readouterr().out)
    assert cellcast.calls == []


async def test_not_in_channel(
    start: Start, workspace: Workspace, clock: TestClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """In a private channel where the bot is no member the card comes, but cannot be closed when its time is over."""
    async with start() as bot:
        await ask(workspace, channel=SECRET)
        await settled(bot)
        await advance(bot, clock, 1000)
    assert "Expired:" in public(workspace, SECRET)[-1].text
    assert public(workspace, SECRET)[0].buttons
    in_table(capsys.readouterr().out)


@pytest.mark.parametrize("fault", ["", "missing_scope"])
async def test_guest_with_everyone_permitted(start: Start, workspace: Workspace, fault: str) -> None:
    """A guest where everyone may use the bot, or an app that cannot tell who is a guest."""
    workspace.guests[ANA] = (True, False)
    workspace.faults["users.info"].append(fault)
    async with start(allowed_users="*"):
        await workspace.command(ANA, NUMBERS, NUMBER)
    in_table(private(workspace, ANA)[0])

"""`python -m bot rehearse`: Slack judges every message of the bot before a person sees one."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest
from yarl import URL

from bot.cli import longest_samples, samples
from bot.cli import rehearse as rehearsal
from bot.settings import Settings
from bot.views import replies
from sandbox.fake_cellcast import Cellcast
from sandbox.fake_slack import Note, Workspace
from tests.conftest import ANA, APP_TOKEN, DIRECT, NUMBERS, QUIET, SECRETS, SQLITE, THOROUGH, text_of
from tests.process import run_command

pytestmark = SQLITE

JUDGED = len([*samples.rows(), *longest_samples.longest()]) + 3  # and the menu and two modals


async def test_every_message_is_accepted(
    environment: dict[str, str], tmp_path: Path, workspace: Workspace, cellcast: Cellcast
) -> None:
    """Each message has a line, the exit code is 0, nothing is posted, and Cellcast is not called."""
    code, out, err = await run_command("rehearse", settings=environment, cwd=tmp_path)
    *lines, last = out.splitlines()
    assert (code, err, last) == (0, "", "Slack accepts everything.")
    assert len(lines) == JUDGED
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


async def test_modal(environment: dict[str, str], tmp_path: Path, workspace: Workspace) -> None:
    """The modal that Slack judges says what a person reads after a late click."""
    await run_command("rehearse", settings=environment, cwd=tmp_path)
    said = json.dumps(replies.stale_click(samples.CONFIRMED).text, ensure_ascii=False)
    details = [step.detail for step in workspace.wire.steps if '"type": "modal"' in step.detail]
    modals = [detail for detail in details if '"submit"' not in detail]  # no forms
    assert len(details) > len(modals)
    assert [said in modal for modal in modals] == [True, False]  # and the one with the longest texts


POSTED, UPDATED, DELETED = f"Post a card in {NUMBERS}", "Update the card", "Delete the card"
SOCKET = "Open a socket"
LEFT = f"A card may be left in {NUMBERS}: delete it by hand."


async def rehearse_channel(
    environment: dict[str, str], cwd: Path, channel: str = NUMBERS, *, socket: bool = False
) -> tuple[int, list[str]]:
    """Rehearse with a channel; the exit code, and the lines about the card and the socket."""
    settings = environment | ({"SLACK_APP_TOKEN": APP_TOKEN} if socket else {})
    code, out, err = await run_command("rehearse", "--channel", channel, settings=settings, cwd=cwd)
    assert (err, "/socket/" in out) == ("", False)  # the address of a socket has a one-time ticket in it
    lines = out.splitlines()
    return code, lines[lines.index("ok    The modal: the longest texts") + 1 : -1]


async def test_with_a_channel(environment: dict[str, str], tmp_path: Path, workspace: Workspace) -> None:
    """With a channel one card is posted, updated and deleted there, and a socket carries a frame there and back."""
    seen: list[Note] = []
    workspace.watch(seen.append)
    code, lines = await rehearse_channel(environment, tmp_path, socket=True)
    assert (code, lines) == (0, [f"ok    {step}" for step in (POSTED, UPDATED, DELETED, SOCKET)])
    called = [call for call in workspace.api_calls if call.startswith("chat.")]
    assert called == ["chat.postMessage", "chat.update", "chat.delete"]
    assert (workspace.notes, workspace.opened) == ([], 1)
    assert len({text_of(note) for note in seen}) == 2
    assert all("actions" not in [block["type"] for block in note.blocks] for note in seen)


@pytest.mark.usefixtures("last_message_alone")
async def test_with_a_channel_in_http_mode(environment: dict[str, str], tmp_path: Path, workspace: Workspace) -> None:
    """Without an app-level token there is no socket to try."""
    code, lines = await rehearse_channel(environment, tmp_path)
    assert (code, lines) == (0, [f"ok    {step}" for step in (POSTED, UPDATED, DELETED)])
    assert workspace.notes == []


@pytest.mark.usefixtures("last_message_alone")
async def test_channel_without_the_bot(environment: dict[str, str], tmp_path: Path) -> None:
    """If the bot cannot post in the channel, that is a line with Slack's reason."""
    code, lines = await rehearse_channel(environment, tmp_path, QUIET)
    assert (code, lines) == (1, [f"FAIL  Post a card in {QUIET}: Slack refused it (not_in_channel)."])


NO_ANSWER = "Slack cannot be reached: no usable answer ({}). Check the network of this machine, and SLACK_API_URL."
BROKEN = NO_ANSWER.format("no readable answer")


@pytest.mark.parametrize(
    ("method", "fault", "expected", "left"),
    [
        pytest.param(
            "chat.postMessage",
            "drop_after",
            [f"FAIL  {POSTED}: {NO_ANSWER.format('ServerDisconnectedError')}", LEFT],
            True,
            id="the answer to the post is lost",
        ),
        pytest.param("chat.postMessage", "500", [f"FAIL  {POSTED}: {BROKEN}", LEFT], False, id="no card, and no word"),
        pytest.param(
            "chat.update",
            "500",
            [f"ok    {POSTED}", f"FAIL  {UPDATED}: {BROKEN}", f"ok    {DELETED}"],
            False,
            id="no update",
        ),
        pytest.param(
            "chat.delete",
            "500",
            [f"ok    {POSTED}", f"ok    {UPDATED}", f"FAIL  {DELETED}: {BROKEN}", LEFT],
            True,
            id="an outage at the end",
        ),
        pytest.param(
            "chat.delete",
            "cant_delete_message",
            [
                f"ok    {POSTED}",
                f"ok    {UPDATED}",
                f"FAIL  {DELETED}: Slack refused it (cant_delete_message).",
                LEFT,
            ],
            True,
            id="Slack does not delete it",
        ),
    ],
)
@pytest.mark.usefixtures("last_message_alone")
async def test_card_that_may_be_left(
    environment: dict[str, str],
    tmp_path: Path,
    workspace: Workspace,
    method: str,
    fault: str,
    expected: list[str],
    left: bool,
) -> None:
    """Each step that fails has a line; if the card may be in the channel still, the last line says so."""
    workspace.faults[method].append(fault)
    code, lines = await rehearse_channel(environment, tmp_path)
    assert (code, lines) == (1, expected)
    assert len(workspace.notes) == left


@pytest.mark.usefixtures("last_message_alone")
async def test_rate_limits_of_the_card(environment: dict[str, str], tmp_path: Path, workspace: Workspace) -> None:
    """If Slack limits a step, the rehearsal says so, waits, and leaves no card."""
    for method in ("chat.postMessage", "chat.update", "chat.delete"):
        workspace.faults[method].append("429")
    code, lines = await rehearse_channel(environment, tmp_path)
    wait = "waiting 1 s, because Slack limits requests"
    assert (code, lines) == (0, [wait, f"ok    {POSTED}", wait, f"ok    {UPDATED}", wait, f"ok    {DELETED}"])
    assert workspace.notes == []


@pytest.mark.parametrize("channel", [ANA, "W0ANA", DIRECT, "#numbers", "c0numbers"])
async def test_what_is_not_a_channel(
    environment: dict[str, str], tmp_path: Path, workspace: Workspace, channel: str
) -> None:
    """What is not the id of a channel is refused at once, with what is expected."""
    code, out, err = await run_command("rehearse", "--channel", channel, settings=environment, cwd=tmp_path)
    assert (code, out, workspace.api_calls) == (2, "", [])
    assert err.endswith(
        f"expected a channel's id, which begins with C or G (a channel's name > About > Channel ID), not '{channel}'\n"
    )


def settings_of(environment: dict[str, str]) -> Settings:
    """The settings of an environment, for a rehearsal that the command line would refuse or not stop."""
    given: dict[str, Any] = {name.lower(): value for name, value in environment.items()}
    return Settings(_env_file=None, **given)


@pytest.mark.usefixtures("last_message_alone")
async def test_channel_that_slack_names(
    environment: dict[str, str], workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """If Slack posts the card in a channel with another id, it is updated and deleted there."""
    assert await rehearsal.rehearse(settings_of(environment), ANA)
    assert f"ok    {DELETED}" in capsys.readouterr().out
    assert workspace.notes == []


@pytest.mark.usefixtures("last_message_alone")
async def test_card_that_is_left_at_ctrl_c(
    environment: dict[str, str], workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the rehearsal is stopped while its card is in the channel, the last line says so."""
    updating = asyncio.Event()

    async def note(step: str) -> None:
        if step == "before chat.update":
            updating.set()

    workspace.on_step = note
    workspace.faults["chat.update"].append("hang")
    running = asyncio.create_task(rehearsal.rehearse(settings_of(environment), NUMBERS))
    await updating.wait()
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert capsys.readouterr().out.splitlines()[-1] == LEFT
    assert len(workspace.notes) == 1


HELLO = json.dumps({"type": "hello", "num_connections": 1})
REQUEST = json.dumps({"type": "slash_commands", "envelope_id": "1", "payload": {}})
ARRIVED = (
    "A person's request arrived here and got no answer, so Slack shows the person an error. "
    "Rehearse before you start the bot, or stop it first."
)


def disconnect(reason: str) -> str:
    """A frame with which Slack ends a connection."""
    return json.dumps({"type": "disconnect", "reason": reason, "debug_info": {"host": "fake"}})


@pytest.mark.parametrize(
    ("greeting", "why"),
    [
        pytest.param(
            [disconnect("link_disabled")],
            "Slack disconnected it (link_disabled). Turn it on under api.slack.com/apps > your app > Socket Mode.",
            id="Socket Mode is off",
        ),
        pytest.param(
            [HELLO, disconnect("refresh_requested")],
            "Slack disconnected it (refresh_requested). Try again later.",
            id="a refresh",
        ),
        pytest.param([REQUEST], ARRIVED, id="a request before the hello"),
        pytest.param([HELLO, REQUEST], ARRIVED, id="a request after the hello"),
        pytest.param(["welcome"], "Slack did not greet it: the first frame is not a hello.", id="no hello"),
        pytest.param(["{"], "The connection failed (JSONDecodeError).", id="half a frame"),
    ],
)
@pytest.mark.usefixtures("last_message_alone")
async def test_socket_that_slack_does_not_greet(
    environment: dict[str, str], tmp_path: Path, workspace: Workspace, greeting: list[str], why: str
) -> None:
    """A socket is fine only if Slack greets it, and sends neither a disconnect nor a person's request there."""
    workspace.greeting = greeting
    code, lines = await rehearse_channel(environment, tmp_path, socket=True)
    assert (code, lines[-1]) == (1, f"FAIL  {SOCKET}: {why}")


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        pytest.param("403", "The connection failed (WSServerHandshakeError, status 403).", id="a refused handshake"),
        pytest.param("close", "Slack closed it.", id="a close"),
        pytest.param("hang", "Slack did not answer in time.", id="no handshake"),
    ],
)
@pytest.mark.usefixtures("last_message_alone")
async def test_socket_that_breaks(
    environment: dict[str, str],
    tmp_path: Path,
    workspace: Workspace,
    monkeypatch: pytest.MonkeyPatch,
    fault: str,
    why: str,
) -> None:
    """A socket that cannot be opened is a line that does not name its address."""
    monkeypatch.setattr("bot.cli.rehearse.SOCKET_TIMEOUT", 0.5)
    workspace.faults["socket"].append(fault)
    code, lines = await rehearse_channel(environment, tmp_path, socket=True)
    assert (code, lines[-1]) == (1, f"FAIL  {SOCKET}: {why}")


@pytest.mark.usefixtures("last_message_alone")
async def test_socket_that_stalls(
    environment: dict[str, str], tmp_path: Path, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket that does not answer a ping is a line too."""
    monkeypatch.setattr("bot.cli.rehearse.SOCKET_TIMEOUT", 0.2)
    workspace.deaf = True
    code, lines = await rehearse_channel(environment, tmp_path, socket=True)
    assert (code, lines[-1]) == (1, f"FAIL  {SOCKET}: Slack did not answer in time.")


@pytest.mark.usefixtures("last_message_alone")
async def test_socket_behind_a_proxy(environment: dict[str, str], tmp_path: Path, workspace: Workspace) -> None:
    """If the environment names a proxy, the socket is opened through it, as the bot does."""
    passed = bytearray()
    address = URL(workspace.api_url)

    async def copy(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
        while data := await source.read(65_536):
            passed.extend(data)
            sink.write(data)
        sink.close()

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        slack = await asyncio.open_connection(address.host, address.port)
        await asyncio.gather(copy(reader, slack[1]), copy(slack[0], writer))

    async with await asyncio.start_server(pass_on, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        proxy = environment | {"HTTP_PROXY": f"http://127.0.0.1:{port}"}
        code, lines = await rehearse_channel(proxy, tmp_path, socket=True)
    assert (code, lines[-1]) == (0, f"ok    {SOCKET}")
    assert re.search(rb"GET [a-z]+://[^ ]+/socket/", passed)


@THOROUGH
async def test_rate_limit(environment: dict[str, str], tmp_path: Path, workspace: Workspace) -> None:
    """If Slack limits requests, the rehearsal says so, waits as long as Slack says, and goes on."""
    workspace.faults["blocks.validate"].append("429")
    code, out, _ = await run_command("rehearse", settings=environment, cwd=tmp_path)
    assert code == 0
    assert out.splitlines()[0] == "waiting 1 s, because Slack limits requests"


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        pytest.param("invalid_blocks", "Slack does not say what is wrong (invalid_blocks)", id="no pointer"),
        pytest.param("unknown_method", "Slack refused it (unknown_method).", id="another error", marks=THOROUGH),
        pytest.param("500", BROKEN, id="an outage", marks=THOROUGH),
        pytest.param(
            "drop_before", NO_ANSWER.format("ServerDisconnectedError"), id="a lost connection", marks=THOROUGH
        ),
    ],
)
async def test_one_bad_answer(
    environment: dict[str, str], tmp_path: Path, workspace: Workspace, fault: str, why: str
) -> None:
    """One message that Slack does not judge has a line with the reason, and all others are tried."""
    workspace.faults["blocks.validate"].extend(["", "", fault])
    code, out, err = await run_command("rehearse", settings=environment, cwd=tmp_path)
    *lines, _ = out.splitlines()
    assert (code, err, len(lines)) == (1, "", JUDGED)
    assert [n for n, line in enumerate(lines) if not line.startswith("ok    ")] == [2]
    assert lines[2].startswith("FAIL  Cards: ")
    assert lines[2].endswith(f": {why}")


async def test_errors_that_are_not_a_list_of_faults(
    environment: dict[str, str], tmp_path: Path, workspace: Workspace
) -> None:
    """Pointers in a shape that nobody documents are a line too."""
    workspace.faults["blocks.validate"].extend(
        f'{{"ok": false, "error": "invalid_message", "errors": {errors}}}' for errors in ("5", "[5]", "[]")
    )
    code, out, _ = await run_command("rehearse", settings=environment, cwd=tmp_path)
    said = [line.partition(": Slack ")[2] for line in out.splitlines() if line.startswith("FAIL")]
    assert (code, said) == (1, ["does not say what is wrong (invalid_message)"] * 3)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        pytest.param("500", BROKEN, id="an outage"),
        pytest.param("unknown_method", "Slack refused it (unknown_method).", id="no such method"),
    ],
)
async def test_no_judgement(
    environment: dict[str, str], tmp_path: Path, workspace: Workspace, fault: str, why: str
) -> None:
    """After three messages in a row without a judgement the rehearsal ends with the reason, and exit code 1."""
    workspace.faults["blocks.validate"].extend([fault, fault, "", *[fault] * 100])
    code, out, err = await run_command("rehearse", settings=environment, cwd=tmp_path)
    assert (code, err) == (1, f"The rehearsal ended: Slack judged none of the last 3 messages. {why}\n")
    assert [line[:4] for line in out.splitlines()] == ["FAIL", "FAIL", "ok  ", "FAIL", "FAIL", "FAIL"]


async def test_wrong_token(environment: dict[str, str], tmp_path: Path) -> None:
    """A token that Slack does not accept is one plain line that does not show it."""
    settings = environment | {"SLACK_BOT_TOKEN": "xoxb-of-nobody"}
    code, out, err = await run_command("rehearse", settings=settings, cwd=tmp_path)
    assert (code, out) == (1, "")
    assert "Slack does not accept SLACK_BOT_TOKEN (invalid_auth)" in err
    assert not [secret for secret in [*SECRETS, "xoxb-of-nobody"] if secret in err]

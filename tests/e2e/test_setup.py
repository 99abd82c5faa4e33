"""python -m bot setup, in a terminal as a person has it: each answer proved at once, no secret echoed, .env for its owner."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pty
import select
import stat
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from bot.cli.main import main
from bot.settings import MANIFEST
from sandbox.fake_cellcast import Cellcast
from sandbox.fake_slack import Workspace
from tests.conftest import ANA, APP_TOKEN, KEY, SECRETS, SIGNING_SECRET, THOROUGH, TOKEN
from tests.process import clean_environment, run_bot

# The terminal becomes the process's own: getpass opens it, and Ctrl-C reaches it.
IN_A_TERMINAL = (
    "import fcntl, os, signal, sys, termios; fcntl.ioctl(0, termios.TIOCSCTTY, 0);"
    # A test run in the background ignores it, and so would its children.
    "signal.signal(signal.SIGINT, signal.SIG_DFL); os.execv(sys.argv[1], sys.argv[1:])"
)
CTRL_C = "\x03"
Talk = Callable[[list[tuple[str, str]]], "asyncio.Future[tuple[int, str]]"]


def talk(environment: dict[str, str], folder: Path, script: list[tuple[str, str]]) -> tuple[int, str]:
    """Answer each prompt in a terminal of the process's own; the exit code, and all that the terminal showed.

    A prompt is indented, the line above it is not: what is typed before getpass has its terminal gets lost.
    """
    terminal, end = pty.openpty()
    process = subprocess.Popen(  # noqa: S603 - the bot itself
        [sys.executable, "-c", IN_A_TERMINAL, sys.executable, "-m", "bot", "setup"],
        stdin=end,
        stdout=end,
        stderr=end,
        env=environment,
        cwd=folder,
        start_new_session=True,
    )
    os.close(end)
    shown, seen = "", 0

    def until(prompt: str) -> None:
        nonlocal shown, seen
        deadline = time.monotonic() + 40
        while prompt not in shown[seen:]:
            assert time.monotonic() < deadline, shown
            if select.select([terminal], [], [], 0.5)[0]:
                shown += os.read(terminal, 4096).decode()
        seen = shown.index(prompt, seen) + len(prompt)

    for prompt, answer in script:
        until(prompt)
        os.write(terminal, answer.encode())
    with contextlib.suppress(OSError):  # the terminal is closed with its last process
        while True:
            if not select.select([terminal], [], [], 2)[0] and script[-1][1] == CTRL_C:
                # Python misses a signal that comes between its look for signals and the read: people press again.
                os.write(terminal, CTRL_C.encode())
            elif not (part := os.read(terminal, 4096)):
                break
            else:
                shown += part.decode()
    os.close(terminal)
    return process.wait(), shown


@pytest.fixture
def talking(workspace: Workspace, cellcast: Cellcast, tmp_path: Path) -> Talk:
    """A conversation with `setup` while the fakes answer."""
    addresses = {"SLACK_API_URL": workspace.api_url, "CELLCAST_BASE_URL": cellcast.url, "TERM": "dumb"}
    environment = clean_environment(addresses)

    def start(script: list[tuple[str, str]]) -> asyncio.Future[tuple[int, str]]:
        return asyncio.get_running_loop().run_in_executor(None, talk, environment, tmp_path, script)

    return start


async def test_setup_writes_what_it_has_proved(
    talking: Talk, tmp_path: Path, workspace: Workspace, cellcast: Cellcast
) -> None:
    """Each wrong answer is told at once, the right ones are proved and written for the owner alone; `check` agrees."""
    (tmp_path / ".env").write_text("DRY_RUN=true\n")
    (tmp_path / ".env").chmod(0o644)
    code, shown = await talking(
        [
            ("  SLACK_BOT_TOKEN: ", f"{APP_TOKEN}\r"),
            ("SLACK_BOT_TOKEN is invalid: expected a token that begins with xoxb-. Please paste it again.", ""),
            ("  SLACK_BOT_TOKEN: ", "xoxb-of-nobody\r"),
            ("Slack does not accept SLACK_BOT_TOKEN (invalid_auth)", ""),
            ("  SLACK_BOT_TOKEN: ", "\r"),
            ("  SLACK_BOT_TOKEN: ", f" {TOKEN} \r"),
            ("ok: cellcast in Stand-in (T0HOME)", ""),
            ("  SLACK_APP_TOKEN (Enter: none, HTTP mode): ", f"{APP_TOKEN}\r"),
            ("ok: a socket can be opened", ""),
            ("  CELLCAST_API_KEY: ", "wrong-key-of-nobody\r"),
            ("Cellcast does not accept CELLCAST_API_KEY (Token expired)", ""),
            ("  CELLCAST_API_KEY: ", f"{KEY}\r"),
            ("ok: Token verified successfully!", ""),
            ("  ALLOWED_USERS: ", "ana\r"),
            ("ALLOWED_USERS is invalid: 1 of 1 entries are not ids.", ""),
            ("  ALLOWED_USERS: ", f"{ANA}\r"),
            ("which only you can read", ""),
        ]
    )
    assert code == 0
    assert not [secret for secret in SECRETS if secret in shown]
    text = (tmp_path / ".env").read_text()
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert "DRY_RUN=true\n" in text
    for line in (
        f"SLACK_BOT_TOKEN={TOKEN}",
        f"SLACK_APP_TOKEN={APP_TOKEN}",
        f"CELLCAST_API_KEY={KEY}",
        f"ALLOWED_USERS={ANA}",
    ):
        assert f"{line}\n" in text
    addresses = {"SLACK_API_URL": workspace.api_url, "CELLCAST_BASE_URL": cellcast.url}
    code, out, _ = await run_bot("check", settings=addresses, cwd=tmp_path)
    assert code == 0, out


@THOROUGH
async def test_link_opens_slacks_page_with_the_manifest(talking: Talk) -> None:
    """The first thing shown is the link to Slack's page, with the manifest filled in; Ctrl-C writes nothing."""
    code, shown = await talking([("  SLACK_BOT_TOKEN: ", CTRL_C)])
    link = next(line for line in shown.split() if line.startswith("https://api.slack.com/apps?"))
    query = parse_qs(urlsplit(link).query)
    assert query["new_app"] == ["1"]
    assert json.loads(query["manifest_json"][0]) == MANIFEST
    assert code == 1
    assert "Nothing was written." in shown


@THOROUGH
async def test_setup_again_in_http_mode(talking: Talk, tmp_path: Path) -> None:
    """What .env holds is kept by Enter; without an app token the signing secret is asked for."""
    (tmp_path / ".env").write_text(f"SLACK_BOT_TOKEN={TOKEN}\nCELLCAST_API_KEY={KEY}\n")
    code, shown = await talking(
        [
            ("  SLACK_BOT_TOKEN (Enter keeps the current value): ", "\r"),
            ("  SLACK_APP_TOKEN (Enter: none, HTTP mode): ", "\r"),
            ("none: Slack's requests are expected at /slack/events", ""),
            ("  SLACK_SIGNING_SECRET: ", f"{SIGNING_SECRET}\r"),
            ("ok: it has the usual form, and only a request of Slack can prove it", ""),
            ("  CELLCAST_API_KEY (Enter keeps the current value): ", "\r"),
            ("  ALLOWED_USERS: ", "*\r"),
            ("which only you can read", ""),
        ]
    )
    assert code == 0
    assert not [secret for secret in SECRETS if secret in shown]
    text = (tmp_path / ".env").read_text()
    assert f"SLACK_SIGNING_SECRET={SIGNING_SECRET}\n" in text
    assert "ALLOWED_USERS=*\n" in text


@THOROUGH
async def test_setup_with_secrets_in_files(talking: Talk, tmp_path: Path) -> None:
    """What a file holds is not asked for and not written, so that .env and the file do not contradict each other."""
    given = f"SLACK_APP_TOKEN_FILE={tmp_path}/app\nCELLCAST_API_KEY_FILE=key\n"
    (tmp_path / ".env").write_text(given)
    code, shown = await talking(
        [
            ("  SLACK_BOT_TOKEN: ", f"{TOKEN}\r"),
            ("SLACK_APP_TOKEN: SLACK_APP_TOKEN_FILE names a file for it, which `python -m bot check` checks.", ""),
            ("CELLCAST_API_KEY: CELLCAST_API_KEY_FILE names a file for it, which `python -m bot check` checks.", ""),
            ("  ALLOWED_USERS: ", "*\r"),
            ("which only you can read", ""),
        ]
    )
    assert code == 0
    assert "SLACK_SIGNING_SECRET" not in shown
    assert f"{tmp_path}/app" not in shown
    assert (tmp_path / ".env").read_text() == f"{given}SLACK_BOT_TOKEN={TOKEN}\nALLOWED_USERS=*\n"


@THOROUGH
async def test_setup_without_cellcast(talking: Talk, cellcast: Cellcast, tmp_path: Path) -> None:
    """A Cellcast that cannot be reached is told, and asked again."""
    await cellcast.stop()
    code, shown = await talking(
        [
            ("  SLACK_BOT_TOKEN: ", f"{TOKEN}\r"),
            ("  SLACK_APP_TOKEN (Enter: none, HTTP mode): ", f"{APP_TOKEN}\r"),
            ("  CELLCAST_API_KEY: ", f"{KEY}\r"),
            ("Cellcast cannot be reached (ConnectError). Check the network of this machine.", ""),
            ("  CELLCAST_API_KEY: ", CTRL_C),
        ]
    )
    assert (code, "Nothing was written." in shown) == (1, True)
    assert not (tmp_path / ".env").exists()


def test_setup_needs_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Without a terminal the way out is told."""
    assert main(["setup"]) == 1
    assert "fill in .env by hand" in capsys.readouterr().err

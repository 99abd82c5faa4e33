"""python -m bot: what starts it, what stops it, and the plain lines where it cannot start."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import aiohttp
import pytest

from bot.cli.main import main
from sandbox.bot_process import start_python
from sandbox.fake_cellcast import SUCCESS, Answer, Cellcast
from sandbox.fake_slack import Workspace
from tests.conftest import ANA, APP_TOKEN, BEN, KEY, NUMBER, NUMBERS, SECRETS, THOROUGH, ask, public
from tests.process import ROOT, clean_environment, run_bot, run_command, running


async def test_faulty_settings_are_reported_together(tmp_path: Path) -> None:
    """One message lists every missing variable with what it should be and where to get it; exit code 2."""
    code, out, err = await run_bot(settings={"CELLCAST_TIMEOUT_SECONDS": "soon"}, cwd=tmp_path)
    assert code == 2
    assert out == ""
    for name in ("SLACK_BOT_TOKEN", "SLACK_SIGNING_SECRET", "CELLCAST_API_KEY", "ALLOWED_USERS"):
        assert f"  {name} is missing" in err
    assert "CELLCAST_TIMEOUT_SECONDS is invalid: expected a number above 0 and up to 300." in err
    assert "api.slack.com/apps > your app > OAuth & Permissions" in err
    assert "Traceback" not in err


async def test_dotenv_is_read(tmp_path: Path, environment: dict[str, str]) -> None:
    """`.env` is read, and a real environment variable wins."""
    lines = [f"{k}={v}" for k, v in environment.items()] + ["SLACK_BOT_TOKEN=xoxb-wrong"]
    (tmp_path / ".env").write_text("\n".join(lines))
    code, out, _ = await run_bot("check", settings={}, cwd=tmp_path)
    assert code == 1
    assert "FAIL  Slack bot token: Slack does not accept SLACK_BOT_TOKEN (invalid_auth)." in out
    code, out, _ = await run_command(
        "check", settings={"SLACK_BOT_TOKEN": environment["SLACK_BOT_TOKEN"]}, cwd=tmp_path
    )
    assert code == 0


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        pytest.param({"SLACK_BOT_TOKEN": "xoxb-other"}, "Slack does not accept SLACK_BOT_TOKEN (invalid_auth)", id="bot"),
        pytest.param({"SLACK_APP_TOKEN": "xapp-other"}, "Slack does not accept SLACK_APP_TOKEN (invalid_auth)", id="app"),
        pytest.param({"SLACK_API_URL": "http://127.0.0.1:9/api/"}, "Slack cannot be reached", id="Slack is away"),
        pytest.param({"DATABASE_URL": "sqlite:////nowhere/x.db"}, "unable to open database file", id="database"),
        pytest.param({"HOST": "203.0.113.1"}, "The web server cannot listen on 203.0.113.1", id="address"),
        pytest.param({"DATABASE_URL": "sqlite:///newer.db"}, "written by a newer version of this bot", id="newer ledger"),
    ],
)  # fmt: skip
async def test_start_that_fails(
    tmp_path: Path, environment: dict[str, str], changes: dict[str, str], says: str
) -> None:
    """Whatever stands in the way of a start is one plain line and exit code 1."""
    with contextlib.closing(sqlite3.connect(tmp_path / "newer.db")) as db:
        db.execute("CREATE TABLE ledger_version (version INTEGER PRIMARY KEY)")
        db.execute("INSERT INTO ledger_version VALUES (999)")
        db.commit()
    code, _, err = await run_bot(settings=environment | changes, cwd=tmp_path)
    assert code == 1
    assert says in err.splitlines()[-1]
    assert "Traceback" not in err
    assert not [secret for secret in SECRETS if secret in err]


@pytest.mark.parametrize(
    ("command", "variable"),
    [("run", "ALL_PROXY"), ("run", "https_proxy"), ("check", "ALL_PROXY"), ("setup", "ALL_PROXY")],
)
async def test_proxy_that_the_bot_cannot_use(
    tmp_path: Path, environment: dict[str, str], command: str, variable: str
) -> None:
    """A SOCKS proxy in the environment is one plain line that names the variable, without the proxy's password."""
    proxy = {variable: "socks5://user:proxy-secret@127.0.0.1:1"}
    code, out, err = await run_bot(command, settings=environment | proxy, cwd=tmp_path)
    assert (code, out) == (1, "")
    assert err == (
        f"The environment variable {variable.upper()} names a socks5:// proxy, which the bot cannot use. "
        "Set it to an HTTP proxy (http://HOST:PORT), or unset it.\n"
    )


@pytest.mark.parametrize(
    ("name", "mode"),
    [
        (signal.SIGTERM, "http"),
        pytest.param(signal.SIGTERM, "socket", marks=THOROUGH),
        pytest.param(signal.SIGINT, "http", marks=THOROUGH),
    ],
)
async def test_stop_lets_the_running_call_end(
    tmp_path: Path, environment: dict[str, str], workspace: Workspace, cellcast: Cellcast, name: int, mode: str
) -> None:
    """On SIGTERM and Ctrl-C the running call ends and is told, no new work is taken, and the exit code is 0."""
    app_token = {"SLACK_APP_TOKEN": APP_TOKEN} if mode == "socket" else {}
    settings = environment | {"CELLCAST_TIMEOUT_SECONDS": "10"} | app_token
    reached = asyncio.Event()
    cellcast.hold, cellcast.wire.on_change = asyncio.Event(), reached.set
    async with running(workspace, settings, tmp_path, python=True) as process:
        card = await ask(workspace)
        await workspace.click(BEN, card, "Unsubscribe Number")
        await reached.wait()
        process.send_signal(name)
        assert process.stderr is not None
        async with asyncio.timeout(5):
            while b"stopping" not in await process.stderr.readline():
                pass
        if mode == "http":
            assert (await workspace.send_raw(b"command=/x"))[0] == 503  # on a connection that is open since before
        cellcast.hold.set()
        await asyncio.wait_for(process.wait(), 8)
        assert process.returncode == 0
    assert public(workspace)[-1].text.startswith(SUCCESS)


async def test_stop_does_not_wait_without_end(
    tmp_path: Path, environment: dict[str, str], workspace: Workspace, cellcast: Cellcast
) -> None:
    """A call that hangs ends as unknown and is told within CELLCAST_TIMEOUT_SECONDS + 5."""
    cellcast.next.append(Answer(fault="hang"))
    reached = asyncio.Event()
    cellcast.wire.on_change = reached.set
    async with running(workspace, environment, tmp_path, python=True) as process:
        card = await ask(workspace)
        await workspace.click(BEN, card, "Unsubscribe Number")
        await reached.wait()
        process.terminate()
        await asyncio.wait_for(process.wait(), 8)
        assert process.returncode == 0
    assert "Outcome unknown" in public(workspace)[-1].text


@THOROUGH
async def test_stop_does_not_wait_for_half_a_request(
    tmp_path: Path, environment: dict[str, str], workspace: Workspace
) -> None:
    """A request whose body never ends does not hold up the exit."""
    async with running(workspace, environment, tmp_path, python=True) as process:
        _, writer = await asyncio.open_connection("127.0.0.1", int(workspace.bot_url.rsplit(":", 1)[1]))
        writer.write(b"POST /slack/events HTTP/1.1\r\nHost: bot\r\nContent-Length: 100\r\n\r\npayload=")
        await writer.drain()
        await workspace.command(ANA, NUMBERS, "help")  # by then the bot has read the half
        process.terminate()
        await asyncio.wait_for(process.wait(), 5)
        assert process.returncode == 0
        writer.close()


@THOROUGH
async def test_stop_with_work_that_nothing_can_interrupt(
    tmp_path: Path, environment: dict[str, str], workspace: Workspace
) -> None:
    """If a thread hangs in a file system, the process still ends in time, and says that it was forced."""
    listed = tmp_path / "numbers.csv"
    listed.write_text("id,number,label\n")
    settings = environment | {"NUMBERS_FILE": str(listed), "CELLCAST_TIMEOUT_SECONDS": "1"}
    async with running(workspace, settings, tmp_path, python=True) as process:
        listed.unlink()
        os.mkfifo(listed)  # reading it waits for somebody who writes
        await workspace.command(ANA, NUMBERS, NUMBER)
        process.terminate()
        _, err = await asyncio.wait_for(process.communicate(), 1 + 5 + 3)
        assert process.returncode == 1
        assert b"stop_forced" in err


def test_forced_end_does_not_wait_for_the_reader_of_the_log() -> None:
    """A process whose log nobody reads any more still ends in time."""
    code = (
        "import logging, sys, time\n"
        "from bot.cli.main import _force_stop_after\n"
        "logging.basicConfig(stream=sys.stderr)\n"
        "_force_stop_after(0.5)\n"
        "while True:\n    logging.error('x' * 10_000)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code], env=clean_environment({}), stderr=subprocess.PIPE)  # noqa: S603 - the bot itself
    assert process.wait(10) == 1
    process.communicate()


@THOROUGH
async def test_stop_during_the_start(tmp_path: Path, environment: dict[str, str], workspace: Workspace) -> None:
    """A bot that is stopped while it waits for Slack exits at once, with code 0."""
    asked = asyncio.Event()

    async def wait(_step: str) -> None:
        asked.set()
        await asyncio.Event().wait()

    workspace.on_step = wait
    process = await start_python(settings=clean_environment(environment), cwd=tmp_path)
    await asked.wait()
    process.terminate()
    _, err = await asyncio.wait_for(process.communicate(), 4)
    assert process.returncode == 0
    assert b"Traceback" not in err


FROM_THE_ENVIRONMENT = (
    "SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "SLACK_SIGNING_SECRET", "CELLCAST_API_KEY", "DATABASE_URL",
)  # fmt: skip


async def test_check_proves_a_set_up(tmp_path: Path, environment: dict[str, str]) -> None:
    """`check` says of each part that it works, with the account's name and balance; exit code 0."""
    code, out, err = await run_bot("check", settings=environment | {"SLACK_APP_TOKEN": APP_TOKEN}, cwd=tmp_path)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "ok    Secrets: " + ", ".join(f"{name} from the environment" for name in FROM_THE_ENVIRONMENT),
        "ok    Slack bot token: cellcast in Stand-in (T0HOME)",
        "ok    Slack app token: a socket can be opened",
        "ok    Slack signing secret: it has the usual form, and only a request of Slack can prove it",
        f"ok    People: can request and confirm: {ANA}, {BEN}",
        "ok    Slack user groups: none in ALLOWED_USERS, APPROVERS and NOTIFY_USERS",
        "ok    People to notify: nobody: NOTIFY_USERS is not set",
        "ok    Reminder: none: REMIND_BEFORE_SECONDS is 0",
        "ok    Reasons: not required",
        "ok    Audit channel: none: AUDIT_CHANNEL is not set",
        "ok    Cellcast key: Token verified successfully!",
        "ok    Cellcast account: Stand-in Pty Ltd, SMS balance 9972.2, MMS 10000",
        "ok    Database: not there yet: the bot creates it when it starts",
        "ok    List of numbers: not set: people request numbers by id",
    ]
    assert not [secret for secret in SECRETS if secret in out]


async def test_check_says_where_each_secret_comes_from(tmp_path: Path, environment: dict[str, str]) -> None:
    """`check` names the place of each secret, and shows none."""
    (tmp_path / "key").write_text(environment.pop("CELLCAST_API_KEY") + "\n")
    (tmp_path / ".env").write_text(f"SLACK_SIGNING_SECRET={environment.pop('SLACK_SIGNING_SECRET')}\n")
    environment["CELLCAST_API_KEY_FILE"] = str(tmp_path / "key")
    del environment["DATABASE_URL"]
    code, out, _ = await run_command("check", settings=environment, cwd=tmp_path)
    assert code == 0, out
    assert out.splitlines()[0] == (
        "ok    Secrets: SLACK_BOT_TOKEN from the environment, SLACK_SIGNING_SECRET from .env, "
        f"CELLCAST_API_KEY from the file {tmp_path}/key, DATABASE_URL from its default"
    )
    assert not [secret for secret in SECRETS if secret in out]


@pytest.mark.parametrize("schema", [None, 0, 3])
async def test_check_changes_nothing(tmp_path: Path, environment: dict[str, str], schema: int | None) -> None:
    """`check` creates no file, no table, and migrates nothing, and says what the bot will do at its start."""
    file = tmp_path / "ledger.db"
    if schema == 0:
        file.touch()
    elif schema is not None:
        shutil.copy(ROOT / "tests" / "ledgers" / f"schema_{schema}.sqlite", file)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    code, out, _ = await run_command("check", settings=environment, cwd=tmp_path)
    assert code == 0
    says = (
        f"can be written: the bot migrates it from schema {schema} to"
        if schema
        else "not there yet: the bot creates it"
    )
    assert f"ok    Database: {says}" in out
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


async def test_check_of_a_running_bot(tmp_path: Path, environment: dict[str, str], workspace: Workspace) -> None:
    """`check` writes to the database of a running bot, and leaves nothing there."""
    async with running(workspace, environment, tmp_path):
        code, out, _ = await run_command("check", settings=environment, cwd=tmp_path)
    assert code == 0
    assert "ok    Database: can be read and written" in out
    with contextlib.closing(sqlite3.connect(tmp_path / "ledger.db")) as db:
        assert db.execute("SELECT count(*) FROM write_check").fetchone() == (0,)


@pytest.mark.parametrize(
    ("schema", "says"),
    [
        pytest.param(None, "a database without any record of this bot. Check the address.", id="no file"),
        pytest.param(0, "a database without any record of this bot. Check the address.", id="an empty file"),
        pytest.param(3, "Start the bot once, because it migrates the database when it starts.", id="an earlier schema"),
    ],
)
async def test_history_changes_nothing(
    tmp_path: Path, environment: dict[str, str], schema: int | None, says: str
) -> None:
    """`history` on a wrong DATABASE_URL or an earlier schema is a plain line, and creates or migrates nothing."""
    file = tmp_path / "ledger.db"
    if schema == 0:
        file.touch()
    elif schema is not None:
        shutil.copy(ROOT / "tests" / "ledgers" / f"schema_{schema}.sqlite", file)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    code, out, err = await run_command("history", settings=environment, cwd=tmp_path)
    assert (code, out) == (1, "")
    (line,) = err.splitlines()
    assert says in line
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


async def test_check_reports_every_fault(tmp_path: Path, environment: dict[str, str], cellcast: Cellcast) -> None:
    """`check` goes on after a fault, names each with the cure, and exits with 1."""
    wrong = {"SLACK_BOT_TOKEN": "xoxb-other", "CELLCAST_API_KEY": "other-key", "DATABASE_URL": "sqlite:////no/x.db"}
    code, out, _ = await run_command("check", settings=environment | wrong, cwd=tmp_path)
    assert code == 1
    lines = out.splitlines()
    failed = [line for line in lines if not line.startswith("ok  ")]
    parts = ["Slack bot token", "Cellcast key", "Cellcast account", "Database"]
    assert [line.partition(":")[0] for line in failed] == [f"FAIL  {part}" for part in parts]
    assert "Cellcast does not accept CELLCAST_API_KEY (Token expired)" in failed[1]
    assert "other-key" not in out
    code, out, _ = await run_command(
        "check", settings=environment | {"CELLCAST_BASE_URL": "http://127.0.0.1:9"}, cwd=tmp_path
    )
    assert code == 1
    assert "FAIL  Cellcast key: Cellcast cannot be reached (ConnectError)" in out


async def test_health(tmp_path: Path, environment: dict[str, str], workspace: Workspace) -> None:
    """/healthz is 200 in Socket Mode while the socket is open; Slack's route is not there."""
    settings = environment | {"SLACK_APP_TOKEN": APP_TOKEN}
    async with running(workspace, settings, tmp_path), aiohttp.ClientSession() as client:
        async with client.get(f"{workspace.bot_url}/healthz") as answer:
            assert (answer.status, await answer.json()) == (200, {"ok": True})
        async with client.post(f"{workspace.bot_url}/slack/events") as answer:
            assert answer.status == 404


@THOROUGH
def test_commands_do_not_load_the_bot() -> None:
    """A command loads only what it needs: not the running bot, its listeners, nor Bolt."""
    commands = ", ".join(f"bot.cli.{command}" for command in ("check", "setup", "history", "delivered"))
    code = f"import sys, {commands}; print(sorted({{'bot.app', 'handlers', 'slack_bolt'}} & sys.modules.keys()))"
    done = subprocess.run(  # noqa: S603 - the bot itself
        [sys.executable, "-c", code], env=clean_environment({}), capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_demo_is_not_everywhere(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """An installation without the folder sandbox/ says so; a package that is missing for another reason is an error."""
    monkeypatch.setitem(sys.modules, "sandbox", None)
    assert main(["demo"]) == 1
    assert capsys.readouterr().err == (
        "`python -m bot demo` needs the folder sandbox/, which the image does not carry. Run it from a checkout of "
        "the project, or from its package.\n"
    )
    monkeypatch.delitem(sys.modules, "sandbox")
    monkeypatch.delitem(sys.modules, "sandbox.demo", raising=False)
    monkeypatch.setitem(sys.modules, "sandbox.bot_process", None)
    with pytest.raises(ModuleNotFoundError):
        main(["demo"])


def test_help_and_wrong_words(capsys: pytest.CaptureFixture[str]) -> None:
    """The command line explains itself."""
    with pytest.raises(SystemExit) as ended:
        main(["--help"])
    assert ended.value.code == 0
    assert "rehearse" in capsys.readouterr().out
    with pytest.raises(SystemExit) as ended:
        main(["dance"])
    assert ended.value.code == 2


async def test_key_in_the_environment_is_no_argument(tmp_path: Path, environment: dict[str, str]) -> None:
    """A wrong value is never shown: it may be a secret pasted into the wrong line."""
    code, _, err = await run_bot(settings=environment | {"SLACK_BOT_TOKEN": KEY}, cwd=tmp_path)
    assert code == 2
    assert "SLACK_BOT_TOKEN is invalid: expected a token that begins with xoxb-" in err
    assert KEY not in err
    assert sys.version_info >= (3, 11)

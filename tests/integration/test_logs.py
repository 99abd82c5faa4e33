"""Log lines: in which form, and that no secret stands in one."""

from __future__ import annotations

import asyncio
import io
import json
import logging
from pathlib import Path
from urllib.parse import quote

import pytest
import structlog
from pydantic import SecretStr

from bot import errors
from bot import logging as logs
from bot.domain.models import NewRequest
from bot.ledger.store import Ledger
from bot.settings import Settings, load
from bot.tasks import Tasks
from sandbox.fake_cellcast import ANSWERS, Cellcast
from sandbox.fake_slack import Workspace
from tests.conftest import BEN, Start, ask, current, settled


class Terminal(io.StringIO):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Yes."""
        return True


@pytest.fixture
def settings() -> Settings:
    """Settings with a secret of every sort."""
    return load(
        slack_bot_token="xoxb-secret-1",
        slack_app_token="xapp-secret-2",
        slack_signing_secret="3" * 32,
        cellcast_api_key="secret-4-of-cellcast",
        allowed_users="*",
        database_url="postgresql+psycopg://u:secret-5@h/d",
    )


def test_every_secret_is_masked(settings: Settings) -> None:
    """Whatever holds a secret, a nested value or a traceback, the line does not."""
    secrets = ["xoxb-secret-1", "xapp-secret-2", "3" * 32, "secret-4-of-cellcast", "secret-5"]
    out = io.StringIO()
    logs.configure(settings, out)
    for secret in secrets:
        structlog.get_logger("bot").info("said", nested={"deep": [secret]})
        logging.getLogger("other").warning("plain %s", secret)
        errors.report(ValueError(f"about {secret}"))
    for secret in secrets:
        assert secret not in out.getvalue()
    assert out.getvalue().count(logs.MASK) >= 15


@pytest.mark.parametrize("log_format", ["json", "text"])
@pytest.mark.parametrize(
    "key", ['quote"of-the-key', "back\\slash-of-the-key", "both\"'\\-of-the-key", "one'-of-the-key"]
)
def test_escaped_secret_is_masked(settings: Settings, key: str, log_format: str) -> None:
    """A key with quotation marks or backslashes is masked in JSON, in text, and inside a repr or JSON of a library."""
    out = io.StringIO()
    url = f"postgresql+psycopg://u:{quote(key, safe='')}@h/d"
    changes = {"cellcast_api_key": SecretStr(key), "database_url": url, "log_format": log_format}
    logs.configure(settings.model_copy(update=changes), out)
    for said in (key, repr(key), json.dumps(key), url, json.dumps(repr(key)), f"' and \" {key}"):
        structlog.get_logger("bot").info("said", nested={"deep": [said]}, plain=said)
        errors.report(ValueError(said))
    assert "of-the-key" not in out.getvalue()
    assert out.getvalue().count(logs.MASK) >= 15


def test_short_password_is_masked_only_as_a_password(settings: Settings) -> None:
    """A database password that is a word of the log is masked in a URL, and leaves the words readable."""
    out = io.StringIO()
    logs.configure(settings.model_copy(update={"database_url": "postgresql+psycopg://bot:bot@h/bot"}), out)
    structlog.get_logger("bot").info("about", url="postgresql+psycopg://bot:bot@h/bot", other="host=h password=bot")
    found = json.loads(out.getvalue())
    assert found["url"] == f"postgresql+psycopg://bot:{logs.MASK}@h/bot"
    assert found["other"] == f"host=h password={logs.MASK}"
    assert found["logger"] == "bot"


def test_json_where_there_is_no_terminal(settings: Settings) -> None:
    """Each line is JSON with its event, level and time; what libraries tell below a warning is left out."""
    out = io.StringIO()
    logs.configure(settings, out)
    structlog.get_logger("bot").info("told", request="r1")
    structlog.get_logger("bot").debug("not shown")
    logging.getLogger("slack_sdk").info("not shown")
    (line,) = out.getvalue().splitlines()
    found = json.loads(line)
    assert (found["event"], found["request"], found["level"], found["logger"]) == ("told", "r1", "info", "bot")


def test_text_on_a_terminal(settings: Settings) -> None:
    """On a terminal the lines are text, unless LOG_FORMAT says otherwise."""
    out = Terminal()
    logs.configure(settings, out)
    structlog.get_logger("bot").info("told", request="r1")
    assert "told" in out.getvalue()
    assert not out.getvalue().startswith("{")
    out = Terminal()
    logs.configure(settings.model_copy(update={"log_format": "json"}), out)
    structlog.get_logger("bot").info("told")
    assert out.getvalue().startswith("{")


async def test_database_errors_hold_no_parameters(tmp_path: Path) -> None:
    """The text of a database error, which is logged, holds no response_url and no words of people."""
    ledger = Ledger(f"sqlite:///{tmp_path}/empty.db")  # its tables are missing
    with pytest.raises(errors.LedgerError) as raised:
        await ledger.create_request(
            NewRequest("a" * 24, "C1", "U1", 1.0, 1.0, response_url="http://secret-url", reason="secret reason")
        )
    ledger.close()
    assert "no such table" in str(raised.value.__cause__)
    assert "secret" not in str(raised.value.__cause__)


async def test_background_errors_are_logged(settings: Settings) -> None:
    """An expected error of background work is a line; an unexpected one has a reference and a traceback."""
    out = io.StringIO()
    logs.configure(settings, out)
    tasks = Tasks()

    async def fail(error: Exception) -> None:
        raise error

    tasks.start(fail(errors.SlackRejectedError("is_archived")))
    tasks.start(fail(ZeroDivisionError("what")))
    assert await tasks.drain(1) == 0
    expected, unexpected = (json.loads(line) for line in out.getvalue().splitlines())
    assert expected["error"] == "Slack rejected the call (is_archived)."
    assert unexpected["event"] == "unexpected_error"
    assert len(unexpected["reference"]) == 8
    assert "ZeroDivisionError: what" in unexpected["exception"]


async def test_drain_does_not_wait_without_end() -> None:
    """What does not end in time is counted, not waited for."""
    tasks = Tasks()
    event = asyncio.Event()
    waiting = tasks.start(event.wait())
    assert await tasks.drain(0.01) == 1
    waiting.cancel()
    assert await tasks.drain(1) == 0


async def test_one_grep_shows_a_request(
    start: Start, workspace: Workspace, cellcast: Cellcast, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each event of a request's life is one line with its id, in the order in which it happened, as JSON."""
    cellcast.next += [ANSWERS["server error"], ANSWERS["fine"]]
    async with start() as bot:
        card = await ask(workspace)
        await settled(bot)
        for label in ("Unsubscribe Number", "Try Again"):
            await workspace.click(BEN, card, label)
            await settled(bot)
            card = current(workspace, card)
        request = (await bot.ledger.history())[0][0].id
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines() if request in line]
    attempt = ["request_confirmed", "call_started", "call_finished", "outcome_delivered"]
    assert [line["event"] for line in lines] == ["request_created", "card_posted", *attempt, *attempt]
    assert {line["request"] for line in lines} == {request}

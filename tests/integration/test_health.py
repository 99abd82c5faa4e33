"""Health that tells the truth, and the metrics: what an operator sees while something is away."""

from __future__ import annotations

import asyncio
import re
import resource
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
import sqlalchemy as sa
import yaml
from prometheus_client.parser import text_string_to_metric_families

from bot import app
from bot.domain.models import NewRequest
from bot.errors import BotStoppedError, LedgerError
from bot.ops import health
from bot.settings import Settings
from sandbox.fake_cellcast import ANSWERS, Cellcast
from sandbox.fake_slack import Workspace
from tests.conftest import (
    ANA,
    APP_TOKEN,
    BEN,
    GIL,
    NUMBER,
    NUMBERS,
    OTHER,
    SECRETS,
    Start,
    TestClock,
    ask,
    settled,
)
from tests.process import ROOT

T = TypeVar("T")


async def fetch(workspace: Workspace, path: str) -> tuple[int, str]:
    """Ask the bot's web server."""
    async with aiohttp.ClientSession() as client, client.get(workspace.bot_url + path) as answer:
        return answer.status, await answer.text()


async def healthz(workspace: Workspace) -> tuple[int, Any]:
    """What /healthz says."""
    async with aiohttp.ClientSession() as client, client.get(f"{workspace.bot_url}/healthz") as answer:
        return answer.status, await answer.json()


async def test_sweep_that_is_dead(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """Without a sweep nothing expires and nothing is told again: 503, with since when; a sweep later it is fine."""
    async with start() as bot:
        assert await healthz(workspace) == (200, {"ok": True})
        clock.advance(20)
        status, told = await healthz(workspace)
        assert (status, told["ok"], list(told)) == (503, False, ["ok", "sweep"])
        assert told["sweep"]["why"] == "the last one was 20 s ago"
        assert re.fullmatch(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", told["sweep"]["since"])
        clock.advance(10)
        assert (await healthz(workspace))[1]["sweep"]["since"] == told["sweep"]["since"]
        await bot.scheduler.sweep()
        assert await healthz(workspace) == (200, {"ok": True})


async def test_database_that_cannot_be_written(start: Start, workspace: Workspace, tmp_path: Path) -> None:
    """A database that is away is told at once, and so is its return; the metrics leave out what only it knows."""
    async with start() as bot:
        (tmp_path / "ledger.db").rename(tmp_path / "away")
        bot.ledger.database.engine.dispose()
        (tmp_path / "ledger.db").mkdir()
        status, told = await healthz(workspace)
        assert (status, told["database"]["why"]) == (503, "it cannot be written")
        _, text = await fetch(workspace, "/metrics")
        assert "unsubscribe_healthy 0.0" in text
        assert "unsubscribe_requests_pending" not in text
        (tmp_path / "ledger.db").rmdir()
        (tmp_path / "away").rename(tmp_path / "ledger.db")
        assert await healthz(workspace) == (200, {"ok": True})


async def test_database_that_is_full(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """If the database has no room for another request, /healthz is 503, until there is room."""

    def limit(pages: int) -> None:
        with bot.ledger.database.transaction() as db:
            db.exec_driver_sql(f"PRAGMA max_page_count={pages}")

    async with start() as bot:
        assert await healthz(workspace) == (200, {"ok": True})
        limit(1)  # SQLite takes the number of pages that there are
        with pytest.raises(LedgerError):  # which one fails depends on the room in the last page
            for number in range(1_000):
                new = NewRequest(f"{number:024x}", NUMBERS, ANA, clock.now(), within=900.0, reason="x" * 190)
                await bot.ledger.create_request(new)
        status, told = await healthz(workspace)
        assert (status, told["database"]["why"]) == (503, "it cannot be written")
        limit(1_000_000)
        assert await healthz(workspace) == (200, {"ok": True})


async def test_disk_that_is_full(start: Start, workspace: Workspace, tmp_path: Path) -> None:
    """If SQLite's files cannot grow, /healthz is 503, until they can."""
    async with start() as bot:
        await ask(workspace)
        await settled(bot)
        assert await healthz(workspace) == (200, {"ok": True})
        limits = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / "ledger.db-wal").stat().st_size, limits[1]))
        try:
            status, told = await healthz(workspace)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert (status, told["database"]["why"]) == (503, "it cannot be written")
        assert await healthz(workspace) == (200, {"ok": True})


@pytest.mark.parametrize("fault", ["500", "service_unavailable"])
async def test_slack_that_does_not_answer(
    start: Start,
    workspace: Workspace,
    clock: TestClock,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: str,
) -> None:
    """In HTTP mode a quiet bot asks Slack now and then; without an answer it is not healthy, and with one it is again."""
    monkeypatch.setattr(health, "WATCH_EVERY", 0.02)
    async with start() as bot:
        workspace.api_calls.clear()
        clock.advance(40)
        bot.scheduler.swept_at = clock.now()
        await heard_anew(bot)
        assert workspace.api_calls == ["auth.test"]
        workspace.faults["auth.test"].extend([fault] * 1000)
        clock.advance(100)
        bot.scheduler.swept_at = clock.now()
        status, told = await healthz(workspace)
        assert (status, list(told)) == (503, ["ok", "slack"])
        assert re.fullmatch(r"no answer for \d+ s", told["slack"]["why"])
        await soon(lambda: asyncio.sleep(0, bot.slack.errors), lambda errors: "auth.test" in errors)
        workspace.faults["auth.test"].clear()
        await heard_anew(bot)
        assert await healthz(workspace) == (200, {"ok": True})
    log = capsys.readouterr().out
    assert '"slack_unreachable"' in log
    assert '"unhealthy"' in log


async def test_slack_that_answers_is_not_asked(
    start: Start, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While Slack answers the bot's own calls, the health check asks it for nothing more."""
    monkeypatch.setattr(health, "WATCH_EVERY", 0.01)
    async with start() as bot:
        await settled(bot)
        workspace.api_calls.clear()
        checks: list[object] = []
        sa.event.listen(bot.ledger.database.engine, "commit", checks.append)  # each check writes to the database
        await soon(lambda: asyncio.sleep(0, checks), lambda found: len(found) >= 3)
        assert workspace.api_calls == []


async def soon(look: Callable[[], Awaitable[T]], holds: Callable[[T], object], seconds: float = 8.0) -> T:
    """Look again and again until it holds: what is looked at sends no event."""
    async with asyncio.timeout(seconds):
        while not holds(found := await look()):  # noqa: ASYNC110 - as the docstring says
            await asyncio.sleep(0.02)
        return found


async def heard_anew(bot: app.Bot) -> None:
    """Wait until Slack has answered anew."""
    before = bot.slack.heard_at
    await soon(lambda: asyncio.sleep(0, bot.slack.heard_at), lambda at: at != before)


async def test_socket_that_stays_away(
    environment: dict[str, str], workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A deaf socket that cannot be opened anew is told by /healthz, and then the process ends with a plain line."""
    monkeypatch.setattr(health, "PING_EVERY", 0.1)
    monkeypatch.setattr(health, "WATCH_EVERY", 0.05)
    monkeypatch.setattr(health, "GIVE_UP_SECONDS", 1.0)
    given: dict[str, Any] = {k.lower(): v for k, v in environment.items()} | {"slack_app_token": APP_TOKEN, "port": 0}
    running = asyncio.create_task(app.run(Settings(_env_file=None, **given), lambda _seconds: None))
    await workspace.until(lambda: workspace.connected)
    workspace.deaf = True
    workspace.faults["socket"].extend(["hang"] * 100)
    await workspace.drop_sockets()
    with pytest.raises(
        BotStoppedError, match=r"stopped because Slack's socket was down for \d+ seconds and did not reconnect"
    ):
        await asyncio.wait_for(running, 20)


async def test_deaf_socket_is_reported(start: Start, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that claims to be connected and hears nothing is not healthy; one that is closed is neither."""
    monkeypatch.setattr(health, "PING_EVERY", 0.2)
    workspace.deaf = True
    async with start(slack_app_token=APP_TOKEN) as bot:
        assert bot._socket is not None
        bot._socket.client.auto_reconnect_enabled = False
        told = await soon(lambda: healthz(workspace), lambda found: found[0] == 503)
        assert told[1]["slack"]["why"] == "the socket is closed, or hears nothing"
        workspace.deaf = False
        await bot._socket.client.connect_to_new_endpoint(force=True)
        await soon(lambda: healthz(workspace), lambda found: found[0] == 200)
        await bot._socket.client.disconnect()  # type: ignore[no-untyped-call]  # slack_sdk's own
        assert (await healthz(workspace))[1]["slack"]["why"] == "the socket is closed, or hears nothing"


def values(text: str) -> dict[str, float]:
    """The samples of /metrics by their names and labels."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            labels = ",".join(f"{k}={v}" for k, v in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


async def test_metrics_count_what_happens(
    start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock
) -> None:
    """Endings, calls, acks, pending cards, what is untold, and Slack's errors are counted; no secret is among them."""
    async with start() as bot:
        cellcast.next.append(ANSWERS["unknown number"])
        for number, label in ((NUMBER, "Unsubscribe Number"), (NUMBER, "Unsubscribe Number"), (OTHER, "Keep Number")):
            await workspace.click(BEN, await ask(workspace, text=number), label)
            await settled(bot)
        await ask(workspace, text=OTHER)
        await settled(bot)
        card = await ask(workspace, text="f" * 24)
        workspace.faults["chat.postMessage"].extend(["500"])
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
        clock.advance(7)
        await workspace.command(GIL, NUMBERS, NUMBER)
        await settled(bot)
        _, text = await fetch(workspace, "/metrics")
    found = values(text)
    assert found["unsubscribe_outcomes_delivered_total{outcome=succeeded}"] == 1
    assert found["unsubscribe_outcomes_delivered_total{outcome=not_found}"] == 1
    assert found["unsubscribe_outcomes_delivered_total{outcome=kept}"] == 1
    assert found["unsubscribe_cellcast_call_duration_seconds_count{outcome=succeeded}"] == 2
    assert 0 < found["unsubscribe_cellcast_call_duration_seconds_sum{outcome=succeeded}"] < 5
    assert found["unsubscribe_cellcast_call_duration_seconds_bucket{le=+Inf,outcome=not_found}"] == 1
    assert found["unsubscribe_ack_duration_seconds_count{request=command}"] == 6
    assert found["unsubscribe_ack_duration_seconds_count{request=block_actions}"] == 4
    assert found["unsubscribe_ack_duration_seconds_bucket{le=3.0,request=command}"] == 6
    assert found["unsubscribe_requests_pending"] == 1
    assert 6 < found["unsubscribe_oldest_undelivered_outcome_age_seconds"] < 20
    assert found["unsubscribe_slack_errors_total{method=chat.postMessage}"] == 1
    assert found["unsubscribe_socket_reconnects_total"] == 0
    assert found["unsubscribe_healthy"] == 1
    assert not [secret for secret in [*SECRETS, NUMBER, ANA] if secret in text]


async def test_reconnects_are_counted(start: Start, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A socket that is opened anew counts."""
    monkeypatch.setattr(health, "PING_EVERY", 0.2)
    async with start(slack_app_token=APP_TOKEN):
        await workspace.until(lambda: workspace.connected)
        await workspace.drop_sockets()
        await workspace.until(lambda: workspace.opened >= 2 and workspace.connected)
        await soon(
            lambda: fetch(workspace, "/metrics"),
            lambda found: values(found[1])["unsubscribe_socket_reconnects_total"] == 1,
        )


async def test_operations_page_knows_every_metric(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """docs/operations.md explains each metric, and its alert rules ask for metrics and labels that there are."""
    page = (ROOT / "docs" / "operations.md").read_text()
    async with start() as bot:
        cellcast.next.append(ANSWERS["server error"])
        workspace.faults["chat.update"].append("500")
        await workspace.click(BEN, await ask(workspace), "Unsubscribe Number")
        await settled(bot)
        families = list(text_string_to_metric_families((await fetch(workspace, "/metrics"))[1]))
    names = {sample.name for family in families for sample in family.samples}
    explained = set(re.findall(r"^\| `(unsubscribe_\w+)` \|", page, re.MULTILINE))
    shown = {family.name + ("_total" if family.type == "counter" else "") for family in families}
    assert explained == shown
    labels = {(sample.name, label) for family in families for sample in family.samples for label in sample.labels}
    (rules,) = re.findall(r"```yaml\n(groups:.*?)```", page, re.DOTALL)
    (group,) = yaml.safe_load(rules)["groups"]
    assert len(group["rules"]) >= 3
    for rule in group["rules"]:
        asked = re.findall(r"(unsubscribe_\w+)(?:\{(\w+)=)?", rule["expr"])
        assert asked
        for name, label in asked:
            assert name in names, rule["alert"]
            assert not label or (name, label) in labels, rule["alert"]
        assert rule["annotations"]["summary"]


async def test_cards_whose_deadline_has_passed_are_not_pending(
    start: Start, workspace: Workspace, clock: TestClock
) -> None:
    """A card that nobody can confirm any more does not count as one that waits, also before a sweep closes it."""
    async with start() as bot:
        await ask(workspace)
        await settled(bot)
        for wait, pending in ((890, 1), (20, 0)):
            clock.advance(wait)
            assert values((await fetch(workspace, "/metrics"))[1])["unsubscribe_requests_pending"] == pending

"""The record as JSON keeps to its documented shape: docs/operations.md, and docs/history.schema.json."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot.cli.record import OutcomeRecord, RequestRecord
from bot.domain.models import Click, NewRequest, Outcome, Request
from bot.domain.status import CallResult, OutcomeCode
from bot.ledger.store import Ledger
from sandbox.fake_slack import Workspace
from tests.conftest import BEN, REPEATED, THOROUGH, Start, ask, settled
from tests.process import ROOT, clean_environment, run_command
from tools.docs import record

NOW, WITHIN = 1_800_000_000.25, 900.0
WITHOUT_CALL = {OutcomeCode.KEPT, OutcomeCode.EXPIRED, OutcomeCode.REPLACED, OutcomeCode.ALREADY_GONE}
# What version 1 promised when it was released: a field can be added to the bot, but none of these can change.
PROMISED = {
    RequestRecord: {
        "integer": "version attempt",
        "string": "id number_id status channel requested_by",
        "string or null": "phone label warning reason decided_by card_ts",
        "boolean": "dry_run card_posted",
        "number": "requested_at",
        "number or null": "expires_at decided_at call_started_at",
        "array": "outcomes",
    },
    OutcomeRecord: {
        "integer": "attempt delivery_attempts",
        "string": "request_id code message",
        "string or null": "decided_by",
        "boolean": "after_unknown correction",
        "number": "settled_at",
        "number or null": "retry_at decided_at message_posted_at delivered_at undeliverable_since closed_at",
    },
}
# Anyone with a response_url can write into the channel for 30 minutes; the rest is the bot's own bookkeeping.
NOT_PRINTED = {"response_url", "response_url_replaces", "posting_lease_until", "active_number_id", "outcome"}
NOT_PRINTED |= {"call_deadline", "card_update_due", "remind_at", "deliver_after"}


@pytest.fixture
async def ledger(database: str) -> AsyncIterator[Ledger]:
    """A ledger."""
    found = Ledger(database)
    await found.open()
    yield found
    found.close()


async def request(ledger: Ledger, name: str, now: float = NOW, within: float = WITHIN) -> Request:
    """Somebody requests a number whose id this name gives."""
    new = NewRequest(name.encode().hex()[:24].ljust(24, "0"), "C1", "U1", now, within, reason="left, “gone”\u2028")
    return (await ledger.create_request(new))[0]


async def call(ledger: Ledger, asked: Request, code: OutcomeCode) -> Request:
    """Somebody confirms a request, and its call ends so."""
    confirmed = await ledger.confirm(Click(asked.id, asked.attempt, "U2", NOW + 1), NOW + 30, second_person=False)
    assert confirmed is not None
    await ledger.start_call(confirmed, NOW + 2)
    settled = await ledger.settle(confirmed, CallResult(code, "Cellcast's words", 60.0), NOW + 3, WITHIN)
    assert settled is not None
    return settled


async def fill(ledger: Ledger) -> None:
    """Store requests that ended in every way, and one that waits."""
    for code in set(OutcomeCode) - WITHOUT_CALL:
        settled = await call(ledger, await request(ledger, code), code)
        assert settled.outcome is not None
        await ledger.delivered(settled.outcome, NOW + 4)
    uncertain = await call(ledger, await request(ledger, "gone"), OutcomeCode.TIMEOUT)
    await call(ledger, uncertain, OutcomeCode.NOT_FOUND)
    await ledger.close_outcomes(uncertain.id, NOW + 5)
    await ledger.keep(Click((await request(ledger, "kept")).id, 0, "U2", NOW + 1))
    await ledger.expire(Click((await request(ledger, "expired", within=0.0)).id, 0, "U2", NOW + 1))
    await request(ledger, "again")
    await request(ledger, "again", now=NOW + WITHIN - 1)


def invalid(folder: Path, rows: list[dict[str, Any]]) -> set[int]:
    """Return the positions of the rows that the published schema refuses."""
    folder.mkdir()
    for number, row in enumerate(rows):
        (folder / f"{number}.json").write_text(json.dumps(row), encoding="utf-8")
    command = [str(Path(sys.executable).parent / "check-jsonschema"), "--output-format", "json", "--schemafile"]
    files = [str(path) for path in folder.iterdir()]
    checked = subprocess.run(  # noqa: S603 - an installed program
        [*command, "docs/history.schema.json", *files], cwd=ROOT, capture_output=True, check=False
    )
    return {int(Path(error["filename"]).stem) for error in json.loads(checked.stdout)["errors"]}


@REPEATED
async def test_each_outcome_keeps_to_the_schema(ledger: Ledger, environment: dict[str, str], tmp_path: Path) -> None:
    """Every outcome code, printed from a real database, fits; without one of its fields no line does."""
    await fill(ledger)
    code, out, err = await run_command("history", "--json", settings=environment, cwd=tmp_path)
    assert (code, err) == (0, "")
    assert out.isascii()
    rows = [json.loads(line) for line in out.splitlines()]
    outcomes = [outcome for row in rows for outcome in row["outcomes"]]
    assert {outcome["code"] for outcome in outcomes} == set(OutcomeCode)
    assert {row["version"] for row in rows} == {1}
    assert "pending" in {row["status"] for row in rows}
    row = next(row for row in rows if len(row["outcomes"]) == 2)
    first, last = row["outcomes"]
    shorter = [{name: row[name] for name in row if name != left_out} for left_out in row]
    shorter += [
        row | {"outcomes": [first, {name: last[name] for name in last if name != left_out}]} for left_out in last
    ]
    shorter += [row | {"requested_at": "2026-01-31"}, row | {"version": 2}, row | {"outcomes": None}]
    good = [*rows, row | {"added_later": 1}]
    assert invalid(tmp_path / "rows", good + shorter) == set(range(len(good), len(good) + len(shorter)))


@pytest.mark.parametrize(("model", "stored"), [(RequestRecord, Request), (OutcomeRecord, Outcome)])
def test_no_field_of_version_1_has_changed(model: type[RequestRecord | OutcomeRecord], stored: type) -> None:
    """Each field that version 1 promised is there with its type, and a new column is printed or is left out on purpose."""
    printed = [line.split("|")[1:3] for line in record(model).splitlines()[2:]]
    now = {name.strip(" `"): types.strip() for name, types in printed}
    assert {name: types for types, names in PROMISED[model].items() for name in names.split()}.items() <= now.items()
    assert set(stored.__annotations__) - NOT_PRINTED == now.keys() - {"version", "outcomes"}


@THOROUGH
async def test_cron_line_replaces_the_copy_only_by_a_whole_one(
    start: Start, workspace: Workspace, environment: dict[str, str], tmp_path: Path
) -> None:
    """The line of docs/operations.md exports what settled later, and keeps the last copy if an export fails."""
    page = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    (line,) = re.findall(r"^```crontab\n[\d *]+ (.+)\n```$", page, re.MULTILINE)
    assert "%" not in line  # cron ends a command there
    for path, own in {"/opt/cellcast-unsubscribe-bot": tmp_path, ".venv/bin/python": sys.executable}.items():
        line = line.replace(path, str(own))
    line = line.replace("/var/backups", str(tmp_path))
    copy, new = tmp_path / "unsubscribe.jsonl", tmp_path / "unsubscribe.jsonl.new"
    (tmp_path / ".env").write_text("".join(f"{name}={value}\n" for name, value in environment.items()))

    async def export() -> int:
        process = await asyncio.create_subprocess_shell(line, env=clean_environment({}), stderr=subprocess.DEVNULL)
        return await process.wait()

    async with start() as bot:
        card = await ask(workspace)
        await settled(bot)
        assert await export() == 0
        assert [json.loads(row)["status"] for row in copy.read_text().splitlines()] == ["pending"]
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
    new.symlink_to("/dev/full")
    assert await export() != 0
    assert [json.loads(row)["status"] for row in copy.read_text().splitlines()] == ["pending"]
    new.unlink()
    assert await export() == 0
    (row,) = [json.loads(row) for row in copy.read_text().splitlines()]
    assert (row["status"], row["outcomes"][0]["code"]) == ("succeeded", "succeeded")
    assert not new.exists()

"""Bugs on purpose: a net that catches none of them is no net. Each must be found within its number of seeds.

python -m tests.simulation.planted_bugs            plant each bug in a copy of the code, and play until it is found
python -m tests.simulation.planted_bugs NAME ...   only these
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
MAX_SEEDS = 1000


@dataclass(frozen=True)
class Bug:
    """A bug, as changes of the code: the file, what stands there, and what the bug makes of it."""

    name: str
    edits: tuple[tuple[str, str, str], ...]


def bug(name: str, *edits: tuple[str, str, str]) -> Bug:
    """Return a bug."""
    return Bug(name, edits)


STATEMENTS = "bot/ledger/statements.py"
TRANSITIONS = "bot/ledger/transitions.py"
STORE = "bot/ledger/store.py"
OUTBOX = "bot/ledger/outbox.py"
EXECUTOR = "bot/service/executor.py"
NOTIFIER = "bot/service/notifier.py"
SCHEDULER = "bot/service/scheduler.py"
AUDITOR = "bot/service/auditor.py"
CARDS = "bot/views/cards.py"
REPLIES = "bot/views/replies.py"
SLACK = "bot/clients/slack.py"
APP = "bot/app.py"

BUGS = [
    bug(
        "a confirmation is checked, then set",
        (
            STORE,
            "        return await self.database.write(\n            lambda db: transitions.confirm(",
            (
                "        if (await self.require(click.request_id)).status in ('confirmed', 'kept', 'expired'):\n"
                "            return None\n"
                "        return await self.database.write(\n            lambda db: transitions.confirm("
            ),
        ),
        (STATEMENTS, "    requests.c.status.in_([Status.PENDING, Status.REFUSED, Status.UNKNOWN]),\n", ""),
        (STATEMENTS, "    requests.c.attempt == _attempt,\n    requests.c.expires_at > _at,\n", ""),
    ),
    bug(
        "a confirmation after the deadline",
        (STATEMENTS, "    requests.c.expires_at > _at,\n    requests.c.requested_by", "    requests.c.requested_by"),
    ),
    bug(
        "the requester confirms where someone else must",
        (STATEMENTS, '    requests.c.requested_by != sa.bindparam("unless_requested_by"),\n', ""),
    ),
    bug(
        "an outcome is delivered before it is stored",
        (
            EXECUTOR,
            "            settled = await self._record_outcome(request, result)\n",
            (
                "            from bot.views.blocks import private\n"
                "            from bot.views.outcomes import OUTCOME_TEXT\n"
                "            said = result.message or OUTCOME_TEXT[result.code].what\n"
                "            await self.notifier.slack.post(request.channel, private(f'{said} {request.reason}'))\n"
                "            settled = await self._record_outcome(request, result)\n"
            ),
        ),
    ),
    bug(
        "it is not stored that a message was posted",
        (NOTIFIER, "        await self.ledger.message_posted(outcome, ", "        _ = (outcome, "),
    ),
    bug(
        "a sweep ignores the calls that run",
        (SCHEDULER, "frozenset(self.executor.running)", "frozenset()"),
    ),
    bug(
        "a request takes over the id of one whose card was lost",
        (
            TRANSITIONS,
            (
                '        _settle(db, statements.REPLACE, {"request": lost.id}, CallResult(OutcomeCode.REPLACED), new.now, '
                "claim=False)\n"
            ),
            (
                "        values = {'requested_by': new.requested_by, 'dry_run': new.dry_run, 'reason': new.reason,\n"
                "                  'expires_at': new.now + new.within, 'posting_lease_until': new.now + LEASE}\n"
                "        db.execute(statements._update, {'request': lost.id} | values)\n"
                "        return queries.require(db, lost.id), True\n"
            ),
        ),
    ),
    bug(
        "a clock that is set back gives the call more time",
        (
            EXECUTOR,
            "ends_at = self.clock.monotonic() + min(left, self.settings.cellcast_timeout_seconds)",
            "ends_at = self.clock.monotonic() + left",
        ),
    ),
    bug(
        "the start of a call is not stored",
        (
            EXECUTOR,
            "                started = await self.ledger.start_call(request, self.clock.now())\n",
            "                started = True\n",
        ),
    ),
    bug(
        "a call starts though another replica has settled it",
        (EXECUTOR, "return started and ", "return "),
    ),
    bug(
        "a dry run of the request is forgotten",
        (EXECUTOR, "if request.dry_run or self.settings.dry_run:", "if self.settings.dry_run:"),
    ),
    bug(
        "a dry run of the settings is forgotten",
        (EXECUTOR, "if request.dry_run or self.settings.dry_run:", "if request.dry_run:"),
    ),
    bug(
        "an outcome is settled without a claim",
        (
            TRANSITIONS,
            "    return _settle(db, statements.SETTLE, guard | values, result, now, claim=True)",
            "    return _settle(db, statements.SETTLE, guard | values, result, now, claim=False)",
        ),
    ),
    bug(
        "a number is kept after the deadline",
        (STATEMENTS, "KEEP = _close.where(requests.c.expires_at > _at).values", "KEEP = _close.values"),
    ),
    bug(
        "an outcome names the requester as the one who decided",
        (TRANSITIONS, 'decided_by=row["decided_by"],', 'decided_by=row["decided_by"] and row["requested_by"],'),
    ),
    bug(
        "an unknown outcome before is forgotten",
        (TRANSITIONS, "    after_unknown = bool(", "    after_unknown = False and bool("),
    ),
    bug(
        "a delivery that failed is not tried again",
        (
            NOTIFIER,
            "        await self.ledger.defer_delivery(outcome, self.now() + wait, since)\n",
            "        await self.ledger.delivered(outcome, self.now())\n",
        ),
    ),
    bug(
        "a broken call is repeated",
        ("bot/clients/cellcast.py", "                if sending.began:\n", "                if False:\n"),
    ),
    bug(
        "a late result settles the next attempt",
        (
            STATEMENTS,
            "SETTLE = _update.where(_is_confirmed, requests.c.attempt == _attempt).values",
            "SETTLE = _update.where(_is_confirmed).values",
        ),
    ),
    bug(
        "a stop does not wait for running calls",
        (
            APP,
            "        left = await self.tasks.close(deadline - self.clock.monotonic())\n",
            "        left = await self.tasks.close(0.0)\n",
        ),
    ),
    bug(
        "a reminder is not stored before it is posted",
        (
            STATEMENTS,
            "    .values(remind_at=None)\n",
            "    .values(attempt=0)\n",
        ),
    ),
    bug(
        "the requester hears nothing of what others kept",
        (
            NOTIFIER,
            "                elif posts:\n                    await self._post_outcome(outcome, request, reply)\n",
            "",
        ),
    ),
    bug(
        "an audit line counts as posted before it is",
        (
            AUDITOR,
            "        try:\n            await self.slack.post(self.channel, audit",
            (
                "        await self.ledger.audited(line)\n"
                "        try:\n            await self.slack.post(self.channel, audit"
            ),
        ),
    ),
    # The faults that the first versions had.
    bug(
        "first version: a card that Slack did not confirm says that nothing was sent",
        (
            REPLIES,
            'f"Slack did not confirm that it posted the card for {number(request)}. If you see the card, use it. "',
            'f"Slack did not confirm that it posted the card for {number(request)}. Nothing was sent to Cellcast. "',
        ),
    ),
    bug(
        "first version: the drain does not wait for a click that is being stored",
        (
            APP,
            "        await self.tasks.start(self.dispatcher.handle(body, send))\n",
            "        await asyncio.create_task(self.dispatcher.handle(body, send))\n",
        ),
    ),
    bug(
        "first version: an answer does not replace what another replica took for interrupted",
        (EXECUTOR, "            known = result.code.status is not Status.UNKNOWN\n", "            known = False\n"),
    ),
    bug(
        "first version: nobody looks for a confirmation whose commit was not answered",
        (
            EXECUTOR,
            "            self.tasks.start(self._settle_late(click))\n            raise\n",
            "            raise\n",
        ),
    ),
    bug(
        "first version: a click on an old card does not update it",
        (
            NOTIFIER,
            "        await self.ledger.card_clicked(click)\n        await self.update_card(click.request_id)\n",
            "        del click\n",
        ),
    ),
    bug(
        "first version: an update without an answer is the last one",
        (
            NOTIFIER,
            "                if error.sent:  # Slack may still apply this update, and after a later one\n",
            "                if False:\n",
        ),
    ),
    bug(
        "first version: a response_url that says no with 200 counts as delivered",
        (SLACK, "            failure = _failure_in_body(answer.body)\n", "            failure = None\n"),
    ),
]


def apply(found: Bug, folder: Path) -> None:
    """Put a bug into a copy of the code. Raise ValueError if the code has changed, and the bug has to change too."""
    for file, old, new in found.edits:
        path = folder / file
        text = path.read_text(encoding="utf-8")
        if text.count(old) != 1:
            raise ValueError(f"{found.name}: {file} has {text.count(old)} places like this one, not 1:\n{old}")
        path.write_text(text.replace(old, new), encoding="utf-8")


def hunt(found: Bug) -> int | None:
    """Return the first seed that finds a bug, None if none does."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for part in ("bot", "handlers", "tests"):
            shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
        apply(found, folder)
        command = [sys.executable, "-m", "tests.simulation", "--seeds", str(MAX_SEEDS), "--stop", "--explain", "0"]
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=900)  # noqa: S603 - ours
        if (match := re.search(r"first: seed (\d+)", done.stdout)) is None:
            print(done.stdout[-500:], done.stderr[-1500:])
            return None
        return int(match[1])


def main(names: list[str]) -> int:
    """Return 0 if every bug is found; without names all of them are planted."""
    missed = 0
    for found in BUGS:
        if names and not any(name in found.name for name in names):
            continue
        seed = hunt(found)
        missed += seed is None
        print(f"{'missed' if seed is None else f'seed {seed}':10} {found.name}", flush=True)
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

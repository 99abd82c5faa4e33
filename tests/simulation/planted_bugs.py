"""Bugs on purpose: a net that catches none of them is no net. Each must be found within MAX_SEEDS seeds.

The seed that last found each bug is recorded, and played first: it mostly finds the bug again, in a second. If it does
not, because the plans or the code have changed, the seeds are played from 0 on, and the record is to be renewed.

python -m tests.simulation.planted_bugs            plant each bug in a copy of the code, and play until it is found
python -m tests.simulation.planted_bugs NAME ...   only these
python -m tests.simulation.planted_bugs --record   the same, and write which seeds found them
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import shutil
import signal
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
MAX_SEEDS = 1000
LIMIT = 900  # seconds for a hunt
# Importing them takes longer than all the rest of a recorded seed, so it is done once.
LIBRARIES = [
    *("aiohttp", "httpx", "prometheus_client", "pydantic_settings", "slack_bolt.async_app"),
    *("sqlalchemy.dialects.sqlite", "structlog"),
]
RECORD = Path(__file__).with_name("planted_bugs.json")  # which seed last found which bug


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

ACTIONS = "handlers/actions.py"
COMMANDS = "handlers/commands.py"
OUTCOMES = "bot/views/outcomes.py"
NUMBERS_FILE = "bot/clients/numbers_file.py"

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
        "a click does not look at the list of numbers",
        (ACTIONS, "    await require_permitted(services, context, click)\n", ""),
    ),
    bug(
        "nobody looks at the list of numbers before the call",
        (EXECUTOR, "        if known.errors or known.of_id(request.number_id).protected:\n", "        if False:\n"),
    ),
    bug(
        "a list of numbers with an error permits a call",
        (
            EXECUTOR,
            "if known.errors or known.of_id(request.number_id).protected:",
            "if known.of_id(request.number_id).protected:",
        ),
    ),
    bug(
        "a request does not look at the list of numbers",
        (COMMANDS, "    known.require_permitted(number)\n", ""),
    ),
    bug(
        "a number that is protected now is refused, and its request stays open",
        (ACTIONS, "(kept := await services.ledger.protect(click)) is not None", "(kept := click and None) is not None"),
    ),
    bug(
        "keeping needs a list of numbers without an error",
        (
            ACTIONS,
            "        if (kept := await services.ledger.keep(click)) is not None:\n",
            (
                "        (await services.numbers.current()).require_usable()\n"
                "        if (kept := await services.ledger.keep(click)) is not None:\n"
            ),
        ),
    ),
    bug(
        "the requester hears nothing of a number that is kept by rule",
        (OUTCOMES, "    elif outcome.code is OutcomeCode.PROTECTED:\n", "    elif False:\n"),
    ),
    bug(
        "a list of numbers is not read again",
        (NUMBERS_FILE, "            if stamp != self._stamp:\n", "            if self._stamp is None:\n"),
    ),
    bug(
        "a click alone confirms a number with a warning",
        (
            STATEMENTS,
            '    sa.or_(requests.c.warning.is_(None), sa.bindparam("typed", type_=sa.Boolean)),\n',
            '    sa.or_(sa.true(), sa.bindparam("typed", type_=sa.Boolean)),\n',
        ),
    ),
    bug(
        "other digits confirm",
        (
            "handlers/forms.py",
            "if request.waits_for(click) and not are_last_digits(",
            "if False and not are_last_digits(",
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
    bug(
        "first version: half of a header is a list without a protection",
        (NUMBERS_FILE, "    header_alone = len(text.splitlines()) == 1\n", "    header_alone = False\n"),
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


def hunt(found: Bug, recorded: int | None) -> int | None:
    """Return a seed that finds a bug: the recorded one if it still does, else the first; None if none does.

    This needs a process of its own, in which nothing has imported the bot.
    """
    signal.alarm(LIMIT)
    with tempfile.TemporaryDirectory() as folder:
        # The compiled files go along, so that only what the bug changes is compiled again.
        for part in ("bot", "handlers", "tests/simulation"):
            shutil.copytree(ROOT / part, Path(folder, part), ignore=shutil.ignore_patterns("*.pyc.*"))
        shutil.copy(ROOT / "tests/__init__.py", Path(folder, "tests"))
        apply(found, Path(folder))
        for name in [name for name in sys.modules if name.partition(".")[0] in ("bot", "handlers", "tests")]:
            del sys.modules[name]
        sys.path.insert(0, folder)
        play_seeds = importlib.import_module("tests.simulation.many").play_seeds
        seeds = range(0) if recorded is None else range(recorded, recorded + 1)
        failed = play_seeds(seeds).failed or play_seeds(range(MAX_SEEDS), stop_at_first=True).failed
        return next(iter(failed), None)


def main(arguments: list[str]) -> int:
    """Return 0 if every bug is found; without names all of them are planted."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.planted_bugs", description=__doc__)
    parser.add_argument("names", nargs="*", help="parts of the names of bugs")
    parser.add_argument("--record", action="store_true", help="write which seeds found them")
    given = parser.parse_args(arguments)
    chosen = [found for found in BUGS if not given.names or any(name in found.name for name in given.names)]
    seeds: dict[str, int] = json.loads(RECORD.read_text(encoding="utf-8"))
    missed = 0
    processes = get_context("forkserver")
    processes.set_forkserver_preload(LIBRARIES)
    with ProcessPoolExecutor(os.cpu_count(), processes, max_tasks_per_child=1) as pool:
        hunts = pool.map(hunt, chosen, [seeds.get(found.name) for found in chosen])
        for found, seed in zip(chosen, hunts, strict=True):
            missed += seed is None
            print(f"{'missed' if seed is None else f'seed {seed}':10} {found.name}", flush=True)
            if seed is not None and seed != seeds.get(found.name):
                print(f"{'':10} record it with --record; it was {seeds.get(found.name, 'not recorded')}", flush=True)
                if given.record:
                    seeds[found.name] = seed
                    RECORD.write_text(json.dumps(seeds, indent=4, sort_keys=True) + "\n", encoding="utf-8")
    return 1 if missed else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))

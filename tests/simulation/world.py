"""The world of one run: replicas of the bot, Slack, Cellcast, people; and what happens to them."""

from __future__ import annotations

import asyncio
import functools
import itertools
import json
import shutil
import sqlite3
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from slack_bolt.response import BoltResponse

from bot.app import Bot
from bot.settings import Settings
from tests.simulation.fakes import (
    CELLCAST_TIMEOUT,
    WEBHOOK,
    Call,
    Faults,
    PostedMessage,
    SlackAnswer,
)
from tests.simulation.loop import SimulatedLoop
from tests.simulation.numbers_list import NumbersList, check_call
from tests.simulation.plan import (
    ANA,
    AUDIT,
    BEN,
    CELLCAST_FAULTS,
    CEM,
    CONFIRM_WITHIN,
    REMIND_BEFORE,
    SLACK_FAULTS,
    Event,
    Plan,
)
from tests.simulation.replica import Replica

CHANNEL, TEAM = "C0NUMBERS", "T0HOME"


@dataclass
class Click:
    """A click as a person made it, or the form that they submitted: what it said to them, and what became of it.

    A click on a card with a warning only opens a form: it confirms nothing.
    """

    at: float
    user: str
    value: str
    confirms: bool
    said: str
    opens_form: bool = False
    replies: list[str] = field(default_factory=list)
    handled: list[tuple[float, Settings]] = field(default_factory=list)  # the replica's moment, and its settings
    by: list[tuple[Replica, int]] = field(default_factory=list)  # the replicas that got it, in which of their lives

    @property
    def deadline(self) -> float | None:
        """The deadline that the card said."""
        return _deadline_of(self.said)

    def in_time(self) -> bool:
        """Return whether a replica got it before the deadline that the card said, by its own clock."""
        deadline = self.deadline
        return deadline is not None and any(now <= deadline + 1 for now, _ in self.handled)


class World:
    """Everything outside of the bot, and the replicas of it."""

    def __init__(self, plan: Plan, folder: Path, template: Path) -> None:
        self.plan = plan
        order = Random(f"order {plan.seed}") if plan.shuffled else None
        self.loop = SimulatedLoop(order)
        self.file = folder / "ledger.db"
        for suffix in ("", "-wal", "-shm"):
            folder.joinpath(f"ledger.db{suffix}").unlink(missing_ok=True)
        shutil.copyfile(template, self.file)
        self.slack = Faults(Random(f"slack {plan.seed}"), SLACK_FAULTS)
        self.cellcast = Faults(Random(f"cellcast {plan.seed}"), CELLCAST_FAULTS)
        self.people = Random(f"people {plan.seed}")
        self.reader = sqlite3.connect(self.file)
        self.reader.row_factory = sqlite3.Row
        self.transaction_fault = ""
        self.trace: list[tuple[float, str, str]] = []
        self.violations: list[str] = []
        self.calm = 0  # for how many looks no database had a fault
        self.doubts: Counter[str] = Counter()  # how often Slack may have done what it did not confirm, by the text
        self.cards: dict[tuple[str, str], PostedMessage] = {}
        self.audit_lines: list[PostedMessage] = []
        self.stopping: set[asyncio.Task[None]] = set()
        self.commands: list[tuple[str, str]] = []  # the reason of each command, and its response_url
        self.replies: list[tuple[str, str]] = []  # private ones, each with its response_url
        self.calls: list[Call] = []
        self.running: list[Call] = []  # those without an outcome
        self.clicks: list[Click] = []
        self.forms = Random(f"forms {plan.seed}")
        self.triggers: dict[str, str] = {}  # the person of each trigger_id that was not used yet
        self.urls: dict[str, tuple[str | None, Click | None, int]] = {}  # the card's ts, the click, uses
        self._count = itertools.count(1)
        self.list: NumbersList | None = None
        self.confirmed_at: dict[tuple[str, int], float] = {}  # if there is a list: by request and attempt
        self.requested_at: list[tuple[float, str]] = []  # the moment of each command, and its reason
        if any(event.what == "list" for event in plan.events):
            self.list = NumbersList(folder / "numbers.csv")
            reading = Random(f"reading {plan.seed}")
            self.loop.job_takes = lambda: reading.uniform(0.0, 0.05)
        self.replicas = [Replica(self, i, ahead) for i, ahead in enumerate(plan.skews)]

    # What the run says

    def note(self, who: object, what: str) -> None:
        """Note something for the trace."""
        self.trace.append((self.loop.seconds, str(who), what))

    def report_violation(self, what: str) -> None:
        """Note that the bot broke a guarantee."""
        self.note("VIOLATION", what)
        self.violations.append(what)

    def settings(self, changed: dict[str, Any]) -> Settings:
        """Return the settings of a replica."""
        given: dict[str, Any] = {
            "slack_bot_token": "xoxb-1",
            "slack_signing_secret": "0" * 32,
            "cellcast_api_key": "a-key-of-cellcast",
            "allowed_users": f"{ANA},{BEN},{CEM}",
            "confirm_within_seconds": CONFIRM_WITHIN,
            "remind_before_seconds": REMIND_BEFORE,
            "cellcast_timeout_seconds": CELLCAST_TIMEOUT,
            "database_url": f"sqlite:///{self.file}",
            "port": 0,
        }
        if self.list is not None:
            given["numbers_file"] = str(self.list.path)
        return _settings(json.dumps({**given, **self.plan.settings, **changed}))

    def rows(self, sql: str, *values: object) -> list[dict[str, Any]]:
        """Read the database from outside."""
        return [dict(row) for row in self.reader.execute(sql, values)]

    # What Cellcast and Slack do

    def called(self, number: str, replica: Replica) -> Call:
        """Record a call: it must belong to a confirmed request whose start is stored, and be its first.

        A replica whose clock is ahead may have settled it as interrupted meanwhile.
        """
        found = self.rows(
            "SELECT r.*, o.code FROM requests r LEFT JOIN outcomes o ON o.request_id = r.id AND o.attempt = r.attempt "
            "WHERE active_number_id = ? AND call_started_at IS NOT NULL",
            number,
        )
        if not found or (found[0]["status"] != "confirmed" and found[0]["code"] != "interrupted"):
            self.report_violation(f"{replica} called Cellcast for {number} without a stored confirmation and start")
            return Call(self.loop.seconds, "", 0, replica, replica.life)
        call = Call(self.loop.seconds, found[0]["id"], found[0]["attempt"], replica, replica.life)
        if any((c.request, c.attempt) == (call.request, call.attempt) for c in self.calls):
            self.report_violation(f"{replica} made a second call for attempt {call.attempt} of {call.request}")
        self.calls.append(call)
        if found[0]["status"] == "confirmed":
            self.running.append(call)
        self.note(replica, f"calls Cellcast for {call.request[:6]}, attempt {call.attempt}")
        assert replica.bot is not None
        if replica.bot.settings.dry_run:
            self.report_violation(f"{replica} called Cellcast, but its setting is a dry run")
        self._check_confirmed_by_click(call, found[0])
        check_call(self, number, call.request, call.attempt)
        return call

    def _check_confirmed_by_click(self, call: Call, row: dict[str, Any]) -> None:
        """Look for the click behind a call: a permitted person's, on a card that said just this, before its deadline."""
        value = f"{call.request}:{call.attempt - 1}"
        for click in self.clicks:
            if click.value != value or not click.confirms or click.opens_form or "nothing will be sent" in click.said:
                continue
            deadline = _deadline_of(click.said)
            for now, settings in click.handled:
                second = not settings.require_second_person or click.user != row["requested_by"]
                permitted = "*" in settings.allowed_users or click.user in settings.allowed_users
                if second and permitted and deadline is not None and now <= deadline + 1:
                    return
        self.report_violation(f"nobody's click allowed the call for {row['id']}, attempt {row['attempt']}")

    def check_own_calls(self, replica: Replica) -> None:
        """Look whether this replica has just taken a call for interrupted that it holds itself."""
        for call in list(self.running):
            found = self.rows(
                "SELECT code FROM outcomes WHERE request_id = ? AND attempt = ?", call.request, call.attempt
            )
            if found:
                self.running.remove(call)
                if found[0]["code"] == "interrupted" and call.replica is replica and replica.lives(call.life):
                    self.report_violation(f"{replica} took its own call for interrupted")

    def check_stop(self, replica: Replica) -> None:
        """Look whether a replica that stopped in good order has left a confirmation behind that it alone had got."""
        for row in self.rows("SELECT * FROM requests WHERE status = 'confirmed'"):
            value = f"{row['id']}:{row['attempt'] - 1}"
            clicks = [click for click in self.clicks if click.value == value and not click.opens_form]
            if {got for click in clicks for got in click.by} == {(replica, replica.life)}:
                self.report_violation(f"{replica} stopped, and left {row['id'][:6]} confirmed")

    def apply(self, replica: Replica, method: str, url: str, body: dict[str, Any]) -> SlackAnswer:
        """Do what a request to Slack says."""
        text = str(body.get("text", ""))
        if method == "auth.test":
            return SlackAnswer(200, json.dumps({"ok": True, "team_id": TEAM, "user_id": "U0BOT", "team": "Home"}))
        if method == "chat.postMessage":
            if body["channel"] == AUDIT:
                self.note(replica, f"posts in the audit channel: {_short(text)}")
                self.audit_lines.append(PostedMessage(AUDIT, "", self.loop.seconds, [body]))
                return SlackAnswer(200, json.dumps({"ok": True, "ts": "0"}))
            ts = self._show(body["channel"], body)
            self.note(replica, f"posts {ts}: {_short(text)}")
            return SlackAnswer(200, json.dumps({"ok": True, "ts": ts}))
        if method == "chat.update":
            shown = self.cards[body["channel"], body["ts"]]
            if shown.deleted:
                return SlackAnswer(200, '{"ok": false, "error": "message_not_found"}')
            shown.update(body)
            self.note(replica, f"updates {shown.ts}: {_short(text)}")
            return SlackAnswer(200, json.dumps({"ok": True, "ts": shown.ts}))
        if method == "chat.getPermalink":
            return SlackAnswer(200, json.dumps({"ok": True, "permalink": "https://slack.com/x"}))
        if method == "views.open":
            user = self.triggers.pop(body["trigger_id"], None)
            if user is None:  # a click that was delivered again
                return SlackAnswer(200, '{"ok": false, "error": "exchanged_trigger_id"}')
            self._open_form(replica, user, body["view"])
        if method == "response_url":
            return self._respond(replica, url, body)
        return SlackAnswer(200, '{"ok": true}')

    def _respond(self, replica: Replica, url: str, body: dict[str, Any]) -> SlackAnswer:
        ts, click, uses = self.urls[url]
        if uses >= 5:
            return SlackAnswer(404, "used_url")
        self.urls[url] = ts, click, uses + 1
        text = str(body.get("text", ""))
        if body.get("replace_original") and ts is not None:
            if self.cards[CHANNEL, ts].deleted:
                return SlackAnswer(404, "message_not_found")
            self.cards[CHANNEL, ts].update(body)
            self.note(replica, f"replaces {ts}: {_short(text)}")
        elif body.get("response_type") == "in_channel":
            self.note(replica, f"posts {self._show(CHANNEL, body)} by response_url: {_short(text)}")
        else:
            self.replies.append((url, text))
            if click is not None:
                click.replies.append(text)
            self.note(replica, f"says privately: {_short(text)}")
        return SlackAnswer(200, "ok")

    def _show(self, channel: str, body: dict[str, Any]) -> str:
        ts = f"{next(self._count)}.000000"
        self.cards[channel, ts] = PostedMessage(channel, ts, self.loop.seconds, [body])
        return ts

    def _open_form(self, replica: Replica, user: str, given: str | dict[str, Any]) -> None:
        """Show a form in which a person types digits; most type the right ones, some too late, and some none."""
        view = json.loads(given) if isinstance(given, str) else given
        self.note(replica, f"opens a form for {user}")
        delay = self.forms.choice([self.forms.uniform(0.5, 3), self.forms.uniform(0.5, 10), CONFIRM_WITHIN + 1.0])
        right = "".join(filter(str.isdigit, view["blocks"][-1]["label"]["text"]))[-4:]
        digits = right if self.forms.random() < 0.8 else "1234"
        if self.forms.random() < 0.9:
            self.loop.call_later(delay, self._submit, user, view, digits)

    # What people do

    def apply_event(self, event: Event) -> None:
        """Let an event of the plan happen."""
        details = event.details
        if event.what == "request":
            self._request(**details)
        elif event.what == "click":
            self._click(**details)
        elif event.what in ("slack", "cellcast"):
            self.note(event.what, f"{details['kind']} for {details['seconds']} s")
            faults: Faults = getattr(self, event.what)
            faults.begin(self.loop.seconds + details["seconds"], details["kind"])
        elif event.what == "list":
            self._change_list(details)
        else:
            self._apply_to_replica(self.replicas[details["replica"]], event.what, details)

    def _change_list(self, details: dict[str, Any]) -> None:
        assert self.list is not None
        self.note("list", " ".join(f"{name}={value}" for name, value in details.items()))
        if "kind" in details:
            self.list.begin(details)
            self.loop.call_later(details["seconds"], self._end_of_list_fault, details)
        else:
            self.list.change(details["number"], {name: details[name] for name in ("warning", "protected")})
        self.list.write(self.loop.seconds)

    def _end_of_list_fault(self, fault: dict[str, Any]) -> None:
        assert self.list is not None
        self.note("list", f"no longer {fault['kind']}")
        self.list.end(fault)
        self.list.write(self.loop.seconds)

    def _apply_to_replica(self, replica: Replica, what: str, details: dict[str, Any]) -> None:
        if what == "database":
            self.note(replica, f"its database: {details['kind']} for {details['seconds']} s")
            replica.database.begin(self.loop.seconds + details["seconds"], details["kind"])
        elif what == "kill":
            replica.kill()
        elif what == "kill at a step":
            replica.dies_in = details["steps"]
        elif what == "stop":
            stopping = self.loop.create_task(replica.stop())
            self.stopping.add(stopping)  # asyncio itself keeps only weak references
        elif what == "start":
            replica.start(details["settings"])
        elif what == "clock":
            self.note(replica, f"its clock is set by {details['seconds']:+.0f} s")
            replica.clock.ahead += details["seconds"]

    def _url(self, ts: str | None = None, click: Click | None = None) -> str:
        url = f"{WEBHOOK}{next(self._count)}"
        self.urls[url] = ts, click, 0
        return url

    def _request(self, user: str, number: str) -> None:
        self.note(user, f"requests {number[-2:]}")
        self.commands.append((f"because r{next(self._count):04d}", self._url()))
        reason, url = self.commands[-1]
        self.requested_at.append((self.loop.seconds, reason))
        body = {
            "command": "/unsubscribe-number",
            "text": f"{number} {reason}",
            "user_id": user,
            "team_id": TEAM,
            "channel_id": CHANNEL,
            "response_url": url,
            "trigger_id": self._trigger(user),
        }
        self._deliver(body, None)

    def _click(self, user: str, button: str, card: float, old: bool, again_after: float | None = None) -> None:
        cards = [
            shown
            for shown in self.cards.values()
            if not shown.deleted and any(_buttons(version) for version in shown.versions)
        ]
        if not cards:
            return
        shown = cards[-1 - int(card * len(cards))]
        with_buttons = [version for version in shown.versions if _buttons(version)]
        version = with_buttons[0] if old else shown.versions[-1]
        wanted = ("keep_number",) if button == "keep" else ("unsubscribe_number", "try_again")
        found = next((b for b in _buttons(version) if b["action_id"] in wanted), None)
        if found is not None:
            self._press(user, shown, version, found, again_after)

    def stays_rejected(self, shown: PostedMessage) -> bool:
        """Let people click a card whose last update Slack has rejected; True if it has no button to click."""
        if shown.rejected and (found := _buttons(shown.versions[-1])):
            shown.rejected = False
            for user in (ANA, CEM):  # one of them has not requested it
                self._press(user, shown, shown.versions[-1], found[0])
        return shown.rejected

    def _press(
        self,
        user: str,
        shown: PostedMessage,
        version: dict[str, Any],
        found: dict[str, Any],
        again_after: float | None = None,
    ) -> None:
        confirms, said = found["action_id"] != "keep_number", str(version["text"])
        warned = "*Warning:*" in said
        click = Click(self.loop.seconds, user, found["value"], confirms, said, opens_form=confirms and warned)
        self.clicks.append(click)
        self.note(user, f"clicks {found['action_id']} on {shown.ts} ({found['value'][:6]}{found['value'][32:]})")
        body = {
            "type": "block_actions",
            "user": {"id": user, "team_id": TEAM},
            "channel": {"id": shown.channel},
            "container": {"type": "message", "message_ts": shown.ts, "channel_id": shown.channel},
            "actions": [{"type": "button", "action_id": found["action_id"], "value": found["value"]}],
            "response_url": self._url(shown.ts, click),
            "trigger_id": self._trigger(user),
        }
        self._deliver(body, click)
        if again_after is not None:
            self.loop.call_later(again_after, self._deliver, body, click)

    def _trigger(self, user: str) -> str:
        trigger = str(next(self._count))
        self.triggers[trigger] = user
        return trigger

    def _submit(self, user: str, view: dict[str, Any], digits: str) -> None:
        """Let a person submit a form; other digits than those that it asks for are no click at all."""
        value = str(json.loads(view["private_metadata"])["value"])
        self.note(user, f"types {digits} in the form of {value[:6]}{value[32:]}")
        asked = view["blocks"][-1]["label"]["text"].replace(" ", "")
        click = None
        if asked.endswith(digits):
            click = Click(self.loop.seconds, user, value, confirms=True, said=view["blocks"][0]["text"]["text"])
            self.clicks.append(click)
        block, element = view["blocks"][-1]["block_id"], view["blocks"][-1]["element"]
        typed = {block: {element["action_id"]: {"type": element["type"], "value": digits}}}
        body = {
            "type": "view_submission",
            "user": {"id": user, "team_id": TEAM},
            "view": {**view, "state": {"values": typed}},
            "trigger_id": self._trigger(user),
        }
        self._deliver(body, click)

    def _deliver(self, body: dict[str, Any], click: Click | None) -> None:
        """Send a request to one of the replicas; without one Slack shows the person an error."""
        ready = [replica for replica in self.replicas if replica.started]
        if not ready:
            self.note("Slack", "nobody answers")
            return
        replica = self.people.choice(ready)
        assert replica.bot is not None
        if click is not None:
            click.handled.append((replica.clock.now(), replica.bot.settings))
            click.by.append((replica, replica.life))
        replica.spawn(self._answer(replica, replica.bot, body, click))

    async def _answer(self, replica: Replica, bot: Bot, body: dict[str, Any], click: Click | None) -> None:
        began = self.loop.seconds

        async def send(answer: BoltResponse) -> None:
            if not replica.step("ack"):
                await asyncio.Event().wait()
            if (late := self.loop.seconds - began) > 3:
                self.report_violation(f"an ack came after {late:.1f} s")
            if answer.status != 200:
                self.report_violation(f"an ack had status {answer.status}")
            shown = json.loads(answer.body) if answer.body.startswith("{") else {}
            if click is not None and "view" in shown:
                click.replies.append(shown["view"]["blocks"][0]["text"]["text"])
                self.note(replica, f"says in the form: {_short(click.replies[-1])}")

        await bot.receive(body, send)


@functools.cache
def _settings(given: str) -> Settings:
    return Settings(_env_file=None, **json.loads(given))


def _buttons(version: dict[str, Any]) -> list[dict[str, Any]]:
    return [
        element for block in version.get("blocks", []) if block["type"] == "actions" for element in block["elements"]
    ]


def _deadline_of(text: str) -> float | None:
    """Return the deadline that a card names."""
    for line in text.splitlines():
        if "can be confirmed until" in line or "click Try Again until" in line:
            return float(line.split("until <!date^")[1].split("^")[0])
    return None


def _short(text: str) -> str:
    return text if len(text) <= 150 else text[:150] + " …"

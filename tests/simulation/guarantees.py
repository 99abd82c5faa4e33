"""The guarantees, as they are checked from outside: the calls that Cellcast got, the messages in Slack, and the rows."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

from bot.domain.status import OutcomeCode, Status
from bot.views.outcomes import OUTCOME_TEXT
from tests.simulation.fakes import SUCCESS, Call, PostedMessage
from tests.simulation.world import World

# A card shows its true state at most this long after the last change of its request, when no fault is at work.
CARD_LIMIT = 60.0
# A process that ends this many seconds after an answer may not have stored it.
SOON = 10.0
LOOK_EVERY = 5.0  # how often a run is looked at, in seconds
# What nobody may read about a click that a call followed.
NOT_DONE = re.compile("[Nn]othing was (sent|done)")
# What the requester reads about a request that ended without a call.
TOLD = {
    OutcomeCode.KEPT: " kept ",
    OutcomeCode.EXPIRED: "nobody confirmed ",
    OutcomeCode.PROTECTED: "the list of numbers protects it now",
}
STOPS = {"kill", "kill at a step", "stop"}
NOTHING_SENT = {
    OutcomeCode.DRY_RUN,
    OutcomeCode.NOT_CONNECTED,
    OutcomeCode.NOT_STARTED,
    OutcomeCode.LIST_UNUSABLE,
    OutcomeCode.KEPT,
    OutcomeCode.PROTECTED,
    OutcomeCode.EXPIRED,
    OutcomeCode.REPLACED,
}


def still_open(world: World) -> list[str]:
    """Return what is still to be settled or delivered."""
    found = world.rows(
        "SELECT id, status, expires_at FROM requests WHERE expires_at IS NOT NULL OR status = 'confirmed'"
    )
    late = world.rows("SELECT request_id, code FROM outcomes WHERE delivered_at IS NULL")
    unaudited = world.rows("SELECT request_id, code FROM outcomes WHERE audit_after IS NOT NULL")
    return [
        *(f"{row['id'][:6]} {row['status']}" for row in found),
        *(f"{row['request_id'][:6]} {row['code']}" for row in late),
        *(f"{row['request_id'][:6]} {row['code']}, its audit line" for row in unaudited),
    ]


def check_confirmed(world: World) -> None:
    """Look for a confirmation that nobody acts on, though its replica runs and no fault is at work."""
    if any(event.what in STOPS | {"clock"} for event in world.plan.events):
        return
    now = world.loop.seconds
    world.calm = 0 if any(replica.database.remaining(now) > 0 for replica in world.replicas) else world.calm + 1
    for row in world.rows("SELECT * FROM requests WHERE status = 'confirmed' AND call_started_at IS NULL"):
        # A sweep that settles it, when its call must have ended, is later.
        if world.calm > 1 and world.replicas[0].clock.now() - row["decided_at"] > 2 * LOOK_EVERY:
            world.report_violation(f"{row['id'][:6]} is confirmed, and nobody acts on it")


def check_cards(world: World, wrong_since: dict[str, float]) -> None:
    """Look whether each card shows the state of its request; for a while after a change it need not.

    If Slack has rejected its last update it need not either, until somebody clicks it.
    """
    for row in world.rows("SELECT * FROM requests"):
        state = f"{row['id'][:6]} {row['status']} {row['attempt']} {row['expires_at'] is not None}"
        shown = world.cards.get((row["channel"], row["card_ts"]))
        if (
            shown is None
            or shown.deleted
            or (problem := _wrong(world, row, shown)) is None
            or world.stays_rejected(shown)
        ):
            for key in [key for key in wrong_since if key.startswith(row["id"][:6])]:
                del wrong_since[key]
            continue
        for key in [key for key in wrong_since if key.startswith(row["id"][:6]) and key != state]:
            del wrong_since[key]
        since = wrong_since.setdefault(state, world.loop.seconds)
        # Clocks that are apart by minutes put off what waits for a Retry-After by as much.
        limit = CARD_LIMIT + max([abs(replica.clock.ahead) for replica in world.replicas])
        if world.loop.seconds - since > limit:
            world.report_violation(f"the card {row['card_ts']} of {state} is wrong: {problem}")


def _wrong(world: World, row: dict[str, Any], shown: PostedMessage) -> str | None:
    """Return what is wrong with the card of a request, None if it shows the truth."""
    text, first = shown.text, shown.text.splitlines()[0]
    can_click = "can be confirmed until" in text or "click Try Again until" in text
    if can_click != (row["expires_at"] is not None):
        return f"buttons: {can_click}: {text!r}"
    if row["status"] == Status.PENDING:
        return None if first.startswith("*Unsubscribe ") else first
    if row["status"] == Status.CONFIRMED:
        return None if first.startswith("*Unsubscribing ") else first
    found = world.rows("SELECT * FROM outcomes WHERE request_id = ? AND attempt = ?", row["id"], row["attempt"])
    headline = OUTCOME_TEXT[OutcomeCode(found[0]["code"])].headline.split("{number}")[0].strip()
    fitting = first.startswith(
        (f"*{headline}", "*Outcome still unknown" if found[0]["after_unknown"] else f"*{headline}")
    )
    return None if fitting else f"{first!r} for {found[0]['code']}"


def check_outcomes(world: World) -> None:
    """Look whether each outcome is true, was delivered, and is the only one."""
    calls = {(call.request, call.attempt): call for call in world.calls}
    for row in world.rows(
        "SELECT o.*, r.reason, r.channel, r.card_ts FROM outcomes o JOIN requests r ON r.id = o.request_id"
    ):
        code, call = OutcomeCode(row["code"]), calls.get((row["request_id"], row["attempt"]))
        about = f"{row['request_id'][:6]}, attempt {row['attempt']}, {code}"
        if call is not None and code in NOTHING_SENT:
            world.report_violation(f"{about}: people read that nothing was sent, but Cellcast was called")
        if call is None and code not in NOTHING_SENT and code is not OutcomeCode.INTERRUPTED:
            world.report_violation(f"{about}: Cellcast was not called")
        if call is not None and call.answered and not _may_be_lost(world, call):
            known = {call.answered, "already_gone"} if call.answered == "not_found" else {call.answered}
            if code not in known and not OutcomeCode(call.answered).status is code.status is Status.UNKNOWN:
                world.report_violation(f"{about}: Cellcast's answer was {call.answered}")
        if row["delivered_at"] is not None:
            _check_message(world, row, code, about)
    _check_decisions(world)
    _check_requests(world)
    _check_messages(world)
    _check_threads(world)
    _check_replies(world, calls)
    _check_audit_lines(world)


def _check_decisions(world: World) -> None:
    """Look whether each outcome names somebody who clicked for it in time, and knows of an unknown one before it."""
    unknown: set[str] = set()  # numbers
    for row in world.rows("SELECT * FROM outcomes ORDER BY rowid"):
        about = f"{row['request_id'][:6]}, attempt {row['attempt']}, {row['code']}"
        kept, status = row["code"] == OutcomeCode.KEPT, OutcomeCode(row["code"]).status
        if row["decided_by"] is not None:
            value = f"{row['request_id']}:{0 if kept else row['attempt'] - 1}"
            clicks = [click for click in world.clicks if click.value == value and click.confirms is not kept]
            clicks = [click for click in clicks if not click.opens_form]
            if not any(click.user == row["decided_by"] and click.in_time() for click in clicks):
                world.report_violation(f"{about}: {row['decided_by']} did not click for it in time")
        if row["number_id"] in unknown and not row["after_unknown"]:
            world.report_violation(f"{about}: it forgets an outcome before it that is unknown")
        if status is Status.UNKNOWN:
            unknown.add(row["number_id"])


def _check_requests(world: World) -> None:
    """Look whether each request has one outcome for each attempt, and no more."""
    for request in world.rows("SELECT * FROM requests"):
        outcomes = world.rows("SELECT attempt FROM outcomes WHERE request_id = ? ORDER BY attempt", request["id"])
        attempts = [row["attempt"] for row in outcomes]
        expected = list(range(1, request["attempt"] + 1)) or [0]
        if request["status"] not in (Status.PENDING, Status.CONFIRMED) and attempts != expected:
            world.report_violation(f"{request['id'][:6]} has outcomes of the attempts {attempts}, not {expected}")


def _check_replies(world: World, calls: dict[tuple[str, int], Call]) -> None:
    """Look whether somebody read that nothing was sent for a click that a call followed."""
    for click in world.clicks:
        call = next((calls[key] for key in calls if click.value == f"{key[0]}:{key[1] - 1}"), None)
        if call is not None and any(NOT_DONE.search(said) for said in click.replies):
            world.report_violation(f"{click.user} read {click.replies}, but the click was followed by a call")


def _may_be_lost(world: World, call: Call) -> bool:
    """Return whether the process that had the answer ended soon after it: then it may never have stored it."""
    return any(call.at <= ended <= call.answered_at + SOON for ended in call.replica.ended_at) or any(
        fault.what == "database" and fault.at <= call.answered_at + SOON and call.replica.ended_at
        for fault in world.plan.events
    )


def _check_message(world: World, row: dict[str, Any], code: OutcomeCode, about: str) -> None:
    """Look for the words of a delivered outcome in Slack."""
    card = world.cards.get((row["channel"], row["card_ts"]))
    on_card = row["attempt"] == 0 and card is not None
    words = (SUCCESS,) if code is OutcomeCode.SUCCEEDED else (OUTCOME_TEXT[code].what,)
    found = [
        shown
        for shown in world.cards.values()
        if any(row["reason"] in text and any(word in text for word in words) for text in shown.texts)
        if on_card or shown.ts != row["card_ts"]
    ]
    if not found:
        world.report_violation(f"{about}: delivered, but nothing in Slack says so")
    if row["attempt"] == 0 or _may_repeat(world, [shown.at for shown in found]):
        return
    same = world.rows("SELECT * FROM outcomes WHERE request_id = ? AND code = ?", row["request_id"], code)
    allowed = len(same) + sum({shown.text: world.doubts[shown.text] for shown in found}.values())
    # If the channel takes no message, the requester and the person who decided get one each.
    direct = Counter(shown.channel for shown in found if shown.channel.startswith("U"))
    times = len(found) - direct.total() + max(direct.values(), default=0)
    if times > allowed:
        world.report_violation(f"{about}: its message was posted {times} times, {allowed} had a reason")


def _may_repeat(world: World, posted: list[float]) -> bool:
    """Return whether something happened meanwhile that can end a lease early: then a message is delivered again."""
    if not posted or (world.plan.replicas > 1 and any(event.what == "clock" for event in world.plan.events)):
        return True
    times = [(at, at) for replica in world.replicas for at in replica.ended_at]
    # An answer of the database can be late by 40 s.
    times += [(e.at, e.at + e.details["seconds"] + 40) for e in world.plan.events if e.what == "database"]
    return any(begin <= max(posted) and end >= min(posted) for begin, end in times)


def _check_messages(world: World) -> None:
    """Look whether each message tells of an outcome that is stored, and each request has one card."""
    stored = world.rows("SELECT o.*, r.reason, r.card_ts FROM outcomes o JOIN requests r ON r.id = o.request_id")
    live: Counter[str] = Counter()
    for shown in world.cards.values():
        first = shown.texts[0]
        if (values := _live(shown)) is not None:
            live[values] += 1
            continue
        rows = [row for row in stored if row["reason"] in first]
        if rows and not any(_matches(first, row) for row in rows):
            world.report_violation(f"a message tells of an outcome that is not stored: {first!r}")
    for value, count in live.items():
        if count > 1:
            world.report_violation(f"{count} cards with live buttons for {value}")
    for reason, url in world.commands:
        said = [text for found, text in world.replies if found == url]
        called = world.rows("SELECT id FROM requests WHERE reason = ?", reason)
        if any("Nothing was sent" in text for text in said):
            for call in world.calls:
                if called and call.request == called[0]["id"]:
                    world.report_violation(f"somebody read {said}, but Cellcast was called for {reason}")


def _check_threads(world: World) -> None:
    """Look whether people were reminded of a card at most once, and the requester heard what others decided."""
    messages = list(world.cards.values())
    for row in world.rows(
        "SELECT r.*, o.code, o.delivered_at FROM requests r LEFT JOIN outcomes o ON o.request_id = r.id AND o.attempt = 0"
    ):
        replies = [
            m for m in messages if row["card_ts"] is not None and m.versions[0].get("thread_ts") == row["card_ts"]
        ]
        if sum("still waits" in message.text for message in replies) > 1:
            world.report_violation(f"people were reminded of {row['id'][:6]} more than once")
        own = row["code"] == OutcomeCode.KEPT and row["decided_by"] == row["requested_by"]
        if row["delivered_at"] is None or own or row["code"] not in TOLD:
            continue
        who, words = f"<@{row['requested_by']}>", TOLD[OutcomeCode(row["code"])]
        told = [m for m in messages if m.text.startswith(f"{who}: ") and words in m.text and row["number_id"] in m.text]
        said = [
            m
            for m in messages
            if m.ts != row["card_ts"] and row["reason"] in m.text and f"Requested by {who}" in m.text
        ]
        if not told and not said:
            world.report_violation(f"{row['id'][:6]} was {row['code']}, and nothing told the requester")


def _check_audit_lines(world: World) -> None:
    """Look whether each outcome has its line in the audit channel, once if nothing went wrong, and no line is untrue."""
    left = list(world.audit_lines)
    for row in world.rows("SELECT o.*, r.reason FROM outcomes o JOIN requests r ON r.id = o.request_id"):
        about = f"{row['request_id'][:6]}, attempt {row['attempt']}, {row['code']}"
        attempt = f" · attempt {row['attempt']} · " if row["attempt"] else " · no call · "
        of_attempt = [line for line in left if line.text.endswith(f" {row['reason']}") and attempt in line.text]
        code = OutcomeCode(row["code"])
        said = "Cellcast reported success." if code is OutcomeCode.SUCCEEDED else OUTCOME_TEXT[code].what
        told = [line for line in of_attempt if f" · {said}" in line.text]
        if world.plan.settings.get("audit_channel") and not told:
            world.report_violation(f"{about}: the audit channel has no line of it")
        allowed = 1 + sum({line.text: world.doubts[line.text] for line in told}.values())
        if len(told) > allowed and not _may_repeat(world, [line.at for line in told]):
            world.report_violation(f"{about}: its audit line was posted {len(told)} times, {allowed} had a reason")
        before = f" · {OUTCOME_TEXT[OutcomeCode.INTERRUPTED].what}"
        corrected = [line for line in of_attempt if row["correction"] and before in line.text]
        left = [line for line in left if line not in told + corrected]
    for line in left:
        world.report_violation(f"an audit line tells of an outcome that is not stored: {line.text!r}")


def _live(shown: PostedMessage) -> str | None:
    """Return which request a message was posted with live buttons for, None if with none."""
    for block in shown.versions[0].get("blocks", []):
        if block["type"] == "actions":
            return str(block["elements"][0]["value"])
    return None


def _matches(text: str, row: dict[str, Any]) -> bool:
    code = OutcomeCode(row["code"])
    words = [OUTCOME_TEXT[code].headline.split("{number}")[0].strip(), "Outcome still unknown"]
    if code is OutcomeCode.SUCCEEDED:
        words += [SUCCESS, "Cellcast reported success"]
    if row["correction"]:  # people may have read that it was unknown
        words.append("Outcome unknown")
    return any(word in text for word in words)

"""The audit channel: a line for each outcome, which alerts nobody, comes at least once, and holds up nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot.app import Bot
from bot.clients.slack import CALL_TIMEOUT, Slack
from bot.domain.models import Click, NewRequest
from bot.domain.status import CallResult, OutcomeCode
from bot.errors import SlackRejectedError
from bot.ledger.store import Ledger
from bot.ledger.transitions import LEASE
from bot.service import pace
from bot.views.blocks import private
from bot.views.outcomes import OUTCOME_TEXT
from sandbox.fake_cellcast import SUCCESS, Answer, Cellcast
from sandbox.fake_slack import Note, Workspace
from tests.conftest import (
    ANA,
    AUDIT,
    BEN,
    BOTH,
    NUMBER,
    NUMBERS,
    QUIET,
    REPEATED,
    SQLITE,
    TOKEN,
    Record,
    Start,
    TestClock,
    advance,
    ask,
    current,
    public,
    settled,
)
from tests.process import run_command

pytestmark = REPEATED

POST = f"chat.postMessage {AUDIT}"
WITHIN = 900.0
UNSUBSCRIBE, KEEP = "Unsubscribe Number", "Keep Number"


@pytest.fixture
def audited(environment: dict[str, str]) -> None:
    """An audit channel in the settings."""
    environment["AUDIT_CHANNEL"] = AUDIT


@pytest.fixture
def fast_pace(monkeypatch: pytest.MonkeyPatch) -> float:
    """Let the bot post twice as fast; return Slack's second, which is shorter by the same 0.1 s as always."""
    every = pace.EVERY / 2
    monkeypatch.setattr(pace, "EVERY", every)
    monkeypatch.setattr("bot.service.auditor.EVERY", every)
    return every - 0.1


@contextlib.asynccontextmanager
async def swept(starting: AbstractAsyncContextManager[Bot]) -> AsyncIterator[Bot]:
    """Start a bot, and wait for the sweep that it begins with: the next one comes when the test says so."""
    async with starting as bot:
        began = bot.clock.monotonic()
        while bot.scheduler.swept_at < began:  # noqa: ASYNC110 - nothing else tells it
            await asyncio.sleep(0.001)
        await settled(bot)
        yield bot


def lines(workspace: Workspace) -> list[str]:
    """What the audit channel shows, with each moment in the same words."""
    return [re.sub(r"<!date[^>]*>", "WHEN", note.text) for note in public(workspace, AUDIT)]


async def decide(bot: Bot, workspace: Workspace, label: str, text: str = NUMBER) -> Note:
    """Ana requests a number, Ben decides, and the bot delivers that. No sweep has come yet."""
    card = await ask(workspace, text=text)
    await settled(bot)
    await workspace.click(BEN, card, label)
    await settled(bot)
    return card


async def sweep(bot: Bot) -> None:
    """Sweep, and wait until the bot is idle."""
    await bot.scheduler.sweep()
    await settled(bot)


@pytest.mark.usefixtures("audited")
@BOTH
async def test_line(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """The next sweep posts one line with everything about the outcome, and it alerts nobody."""
    workspace.people |= {ANA: "Ana Lima", BEN: ""}
    async with swept(start()) as bot:
        card = await decide(bot, workspace, UNSUBSCRIBE, f"{NUMBER} campaign ended")
        assert lines(workspace) == []
        for _ in range(3):
            await advance(bot, clock, LEASE)
    (note,) = public(workspace, AUDIT)
    (line,) = lines(workspace)
    assert line == (
        f"*Unsubscribed: virtual number* `{NUMBER}` · Cellcast reported success. · "
        f"attempt 1 · requested by Ana Lima ({ANA}) · confirmed by {BEN} · WHEN · "
        f"<https://stand-in.slack.example/archives/{NUMBERS}/p{card.ts.replace('.', '')}|card> in <#{NUMBERS}> · "
        "reason: campaign ended"
    )
    assert note.mentions == frozenset()


@pytest.mark.usefixtures("audited")
async def test_every_way_to_end(
    start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock, tmp_path: Path
) -> None:
    """Kept, protected, expired, replaced, refused and each attempt: one line each."""
    numbers = [f"{n:024x}" for n in range(6)]
    listed = tmp_path / "numbers.csv"
    listed.write_text(f"id,number,label,warning,protected\n{numbers[0]},,Shop,,no\n")
    async with swept(start(numbers_file=str(listed))) as bot:
        cellcast.next.append(Answer(fault="drop"))
        card = await decide(bot, workspace, UNSUBSCRIBE, numbers[1])
        await workspace.click(ANA, current(workspace, card), "Try Again")
        await settled(bot)
        await decide(bot, workspace, KEEP, numbers[2])
        protected = await ask(workspace, text=numbers[0])
        listed.write_text(f"id,number,label,warning,protected\n{numbers[0]},,Shop,,yes\n")
        await workspace.click(BEN, protected, UNSUBSCRIBE)
        await settled(bot)
        workspace.faults["chat.postMessage"].append("500")
        await workspace.command(ANA, NUMBERS, numbers[3])  # its card is lost
        await settled(bot)
        await ask(workspace, text=numbers[3])
        await settled(bot)
        clock.advance(WITHIN + 1)
        for _ in range(3):
            await advance(bot, clock, 10)
    expected = {
        f"*Outcome unknown: `{numbers[1]}`": "attempt 1 · requested by Ana (U0ANA) · confirmed by Ben (U0BEN)",
        f"*Unsubscribed: `{numbers[1]}`": "attempt 2 · requested by Ana (U0ANA) · confirmed by Ana (U0ANA)",
        f"*Kept: `{numbers[2]}`": "no call · requested by Ana (U0ANA) · kept by Ben (U0BEN)",
        f'*Kept: "Shop"* (`{numbers[0]}`)': "no call · requested by Ana (U0ANA)",
        f"*Replaced: `{numbers[3]}`": "no call · requested by Ana (U0ANA)",
        f"*Expired: `{numbers[3]}`": "no call · requested by Ana (U0ANA)",
    }
    parts = [line.replace("virtual number* ", "").split(" · ") for line in lines(workspace)]
    assert {what: " · ".join(more[: more.index("WHEN")]) for what, _, *more in parts} == expected
    assert len(parts) == len(expected)
    words = {text.what for text in OUTCOME_TEXT.values()} | {"Cellcast reported success."}
    assert all(said in words for _, said, *_ in parts)
    assert all(note.mentions == frozenset() for note in public(workspace, AUDIT))


@SQLITE
@pytest.mark.usefixtures("audited")
async def test_dry_run(start: Start, workspace: Workspace) -> None:
    """A dry run says so, also if the number was kept."""
    async with swept(start(dry_run="true")) as bot:
        for label, number in ((UNSUBSCRIBE, NUMBER), (KEEP, "1" * 24)):
            await decide(bot, workspace, label, number)
        await sweep(bot)
    assert all(" · dry run · " in line for line in lines(workspace))
    assert len(lines(workspace)) == 2


LOUD = "<!here> @channel *now* <@U0GIL>"


@SQLITE
@pytest.mark.usefixtures("audited")
async def test_words_of_people(start: Start, workspace: Workspace, tmp_path: Path) -> None:
    """Names, labels and reasons alert nobody, format nothing, and no name can look like another part of the line."""
    listed = tmp_path / "numbers.csv"
    listed.write_text(f"id,number,label\n{NUMBER},,@here #numbers\n")
    workspace.people |= {ANA: f"{LOUD}\u202e (U0GIL) · confirmed（by）\n⋅Gil O'Hara-Zoë", BEN: "x" * 300}
    async with swept(start(numbers_file=str(listed))) as bot:
        await decide(bot, workspace, KEEP, f"{NUMBER} for {LOUD}")
        await sweep(bot)
    (note,) = public(workspace, AUDIT)
    assert note.mentions == frozenset()
    shown = "&lt;!here&gt; @channel ∗now∗ &lt;@U0GIL&gt;"
    assert f'*Kept: "@here #numbers"* (`{NUMBER}`) · ' in note.text
    named = "here channel now U0GIL U0GIL confirmed by Gil O'Hara-Zoë"
    assert f" · requested by {named} ({ANA}) · kept by {'x' * 199}… ({BEN}) · " in note.text
    assert note.text.endswith(f" · reason: for {shown}")
    assert "\n" not in note.text


@SQLITE
@pytest.mark.usefixtures("audited")
@pytest.mark.parametrize("fault", ["user_not_found", "429", "500"])
async def test_no_name_and_no_link(start: Start, workspace: Workspace, fault: str) -> None:
    """If Slack gives no name or no link, the line has the ids."""
    async with swept(start()) as bot:
        await decide(bot, workspace, KEEP)
        workspace.faults["users.info"] += [fault] * 2
        workspace.faults["chat.getPermalink"].append(fault)
        await sweep(bot)
    (line,) = lines(workspace)
    assert line.endswith(f" · requested by {ANA} · kept by {BEN} · WHEN · in <#{NUMBERS}>")


@SQLITE
@pytest.mark.usefixtures("audited")
@pytest.mark.parametrize("fault", ["hang", "429", "500", "not_in_channel"])
async def test_toast_does_not_wait(
    start: Start, workspace: Workspace, cellcast: Cellcast, fault: str, reliability: Record
) -> None:
    """Toasts come at once while the audit channel takes no line, and sweeps return at once."""
    workspace.retry_after = 30
    workspace.faults[POST] += [fault] * 10
    async with swept(start()) as bot:
        await decide(bot, workspace, UNSUBSCRIBE)
        begun = asyncio.Event()

        async def notice(step: str) -> None:
            if step == "before chat.postMessage":
                begun.set()

        workspace.on_step = notice
        less = CALL_TIMEOUT - 1  # than a line takes that gets no answer
        await asyncio.wait_for(bot.scheduler.sweep(), less)
        await begun.wait()  # the line is on its way
        await bot.scheduler.sweep()  # it begins no second one
        card = await ask(workspace, text="1" * 24)
        await workspace.click(BEN, card, UNSUBSCRIBE)
        await workspace.until(lambda: [SUCCESS in n.text for n in public(workspace)].count(True) == 2, less)
        await settled(bot)
        assert [outcome.delivered_at is None for _, (outcome,) in await bot.ledger.history()] == [False, False]
    assert lines(workspace) == []
    assert len(cellcast.calls) == 2
    reliability("Slack", f"the audit channel: {fault}", calls="one", told="the toast at once, the audit line later")


@pytest.mark.usefixtures("audited")
@pytest.mark.parametrize("fault", ["500", "drop_before", "garbage", "internal_error"])
async def test_line_is_repeated_until_slack_accepts_it(
    start: Start, workspace: Workspace, clock: TestClock, fault: str
) -> None:
    """The waits double with the age of the outcome, and the line is posted once."""
    async with swept(start()) as bot:
        await decide(bot, workspace, UNSUBSCRIBE)
        workspace.faults[POST] += [fault] * 4
        await sweep(bot)
        for seconds in (2, 4, 8, 16):
            assert lines(workspace) == []
            await advance(bot, clock, seconds)
        assert len(lines(workspace)) == 1
        await advance(bot, clock, 100)
    assert len(lines(workspace)) == 1


@SQLITE
@pytest.mark.usefixtures("audited")
async def test_longest_wait_in_an_outage(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """After a long outage the line comes within a minute."""
    async with swept(start()) as bot:
        await decide(bot, workspace, UNSUBSCRIBE)
        clock.advance(3600)
        workspace.faults[POST].append("500")
        await sweep(bot)
        await advance(bot, clock, 58)
        assert lines(workspace) == []
        await advance(bot, clock, 3)
    assert len(lines(workspace)) == 1


@SQLITE
@pytest.mark.usefixtures("audited")
async def test_retry_after_is_obeyed(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """If Slack asks to wait, the whole audit channel does: the other lines too."""
    workspace.retry_after = 300
    async with swept(start()) as bot:
        await decide(bot, workspace, UNSUBSCRIBE)
        await decide(bot, workspace, KEEP, "1" * 24)
        workspace.faults[POST].append("429")
        await sweep(bot)
        posts = workspace.api_calls.count("chat.postMessage")
        await advance(bot, clock, 295)
        assert workspace.api_calls.count("chat.postMessage") == posts
        await advance(bot, clock, 6)
    assert len(lines(workspace)) == 2


@SQLITE
@pytest.mark.usefixtures("audited")
async def test_channel_that_rejects(
    start: Start, workspace: Workspace, clock: TestClock, capsys: pytest.CaptureFixture[str]
) -> None:
    """If the channel rejects the line, that is logged with the next step once in each wait, until somebody acts."""
    workspace.channels[AUDIT] = replace(workspace.channels[AUDIT], bot=False)
    async with swept(start()) as bot:
        await decide(bot, workspace, UNSUBSCRIBE)
        for seconds in (0, 30, 32, 30, 34, 60):
            await advance(bot, clock, seconds)
        workspace.channels[AUDIT] = replace(workspace.channels[AUDIT], bot=True)
        clock.advance(4 * 3600)
        await sweep(bot)
    logged = [json.loads(line) for line in capsys.readouterr().out.splitlines() if "audit_line_" in line]
    events = [line["event"] for line in logged]
    assert events == ["audit_line_rejected"] * (len(events) - 1) + ["audit_line_posted"]
    assert [line["wait"] // 60 for line in logged[:-1]] == [1, 1, 2]
    assert {(line["level"], line["step"]) for line in logged[:-1]} == {("error", "python -m bot check")}
    assert len(lines(workspace)) == 1


@SQLITE
@pytest.mark.usefixtures("audited")
async def test_line_that_slack_rejects_holds_up_no_other(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """Lines after one that Slack rejects again and again come a minute later."""
    async with swept(start()) as bot:
        await decide(bot, workspace, UNSUBSCRIBE)
        await decide(bot, workspace, KEEP, "1" * 24)
        workspace.faults[POST].append("invalid_blocks")
        await sweep(bot)
        await advance(bot, clock, 61)
    assert [line.split(":")[0] for line in lines(workspace)] == ["*Kept", "*Unsubscribed"]


@pytest.mark.usefixtures("audited")
async def test_restart(start: Start, workspace: Workspace, reliability: Record) -> None:
    """A bot that ends between the outcome and its line posts that after its next start."""
    async with swept(start()) as bot:
        await decide(bot, workspace, UNSUBSCRIBE)
    assert lines(workspace) == []
    async with swept(start()) as bot:
        await sweep(bot)
    assert len(lines(workspace)) == 1
    reliability("Crash", "between an outcome and its audit line", calls="one", told="the audit line after the restart")


@SQLITE
@pytest.mark.usefixtures("audited", "fast_pace")
async def test_stop_leaves_lines_for_later(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """A bot that stops does not wait until every line is posted; the next start goes on."""
    count, at_once = 7, 5
    async with swept(start()) as bot:
        for n in range(count):
            await decide(bot, workspace, KEEP, f"{n:024x}")
        await bot.scheduler.sweep()
        await workspace.until(lambda: lines(workspace))
    assert 0 < len(lines(workspace)) <= at_once
    async with swept(start()) as bot:
        await settled(bot)
        while len(lines(workspace)) < count:
            await advance(bot, clock, 10)
    assert len(lines(workspace)) == count


@pytest.mark.usefixtures("audited")
async def test_correction(
    start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock, database: str
) -> None:
    """An answer that replaces "interrupted" gets a line of its own, which says so if the other one was posted."""
    cellcast.hold = asyncio.Event()
    other = Ledger(database, auditing=True)
    async with swept(start()) as bot:
        card = await ask(workspace)
        await workspace.click(BEN, card, UNSUBSCRIBE)
        await cellcast.called.wait()
        clock.advance(30)
        await other.sweep(clock.now(), WITHIN)  # another replica, which takes the call for interrupted
        await bot.scheduler.sweep()
        await workspace.until(lambda: lines(workspace))
        cellcast.hold.set()
        await settled(bot)
        await advance(bot, clock, LEASE + 1)
    other.close()
    first, second = lines(workspace)
    assert first.startswith("*Outcome unknown: ")
    assert second.startswith("*Unsubscribed: ")
    assert "Correction: this outcome may have been reported as unknown" in second
    assert "Correction" not in first


async def interrupted(ledger: Ledger, now: float) -> Any:
    """A request whose call another replica has taken for interrupted, as it was confirmed."""
    request, _ = await ledger.create_request(NewRequest(NUMBER, "C1", ANA, now, WITHIN))
    confirmed = await ledger.confirm(Click(request.id, 0, BEN, now), now + 10, second_person=False)
    assert confirmed is not None
    assert await ledger.start_call(confirmed, now)
    await ledger.sweep(now + 10, WITHIN)
    return confirmed


DONE = CallResult(OutcomeCode.SUCCEEDED, "Done.")


@BOTH
async def test_correction_during_a_post(database: str) -> None:
    """A line that is being posted when its outcome is corrected does not count for the correction."""
    ledger = Ledger(database, auditing=True)
    await ledger.open()
    confirmed = await interrupted(ledger, 0.0)
    line = await ledger.claim_audit(10.0)
    assert line is not None
    assert line.outcome.code is OutcomeCode.INTERRUPTED
    with ledger.database.transaction() as db:  # as if many deliveries were due before this one
        db.execute(sa.text("UPDATE outcomes SET delivery_attempts = 0"))
    assert await ledger.correct(confirmed, DONE, 11.0, WITHIN)
    await ledger.audited(line)
    await ledger.defer_audit(line, 500.0)
    assert await ledger.audit_due(11.0)
    line = await ledger.claim_audit(11.0)
    assert line is not None
    assert (line.outcome.code, line.outcome.correction) == (OutcomeCode.SUCCEEDED, True)
    ledger.close()


@pytest.mark.parametrize("auditing", [True, False])
@BOTH
async def test_correction_before_any_post(database: str, auditing: bool) -> None:
    """A correction before the line was posted leaves one line; it stays due if there is no audit channel any more."""
    ledger = Ledger(database, auditing=True)
    await ledger.open()
    confirmed = await interrupted(ledger, 0.0)
    corrects = Ledger(database, auditing=auditing)
    with ledger.database.transaction() as db:
        db.execute(sa.text("UPDATE outcomes SET delivery_attempts = 0"))
    assert await corrects.correct(confirmed, DONE, 11.0, WITHIN)
    line = await ledger.claim_audit(11.0)
    assert line is not None
    assert (line.outcome.code, line.outcome.correction) == (OutcomeCode.SUCCEEDED, False)
    await ledger.audited(line)
    assert not await ledger.audit_due(100_000.0)
    for opened in (ledger, corrects):
        opened.close()


@BOTH
async def test_claim(database: str) -> None:
    """A line is claimed by one replica until its lease is over; the one before then changes nothing."""
    one, other = Ledger(database, auditing=True), Ledger(database, auditing=True)
    await one.open()
    request, _ = await one.create_request(NewRequest(NUMBER, "C1", ANA, 0.0, WITHIN))
    assert await one.keep(Click(request.id, 0, BEN, 1.0))
    claims = await asyncio.gather(*(ledger.claim_audit(1.0) for ledger in (one, other)))
    (first,) = [line for line in claims if line is not None]
    assert await one.claim_audit(1.0 + LEASE - 0.1) is None
    second = await other.claim_audit(1.0 + LEASE)
    assert second is not None
    await one.audited(first)
    await one.defer_audit(first, 0.0)
    assert not await one.audit_due(1.0 + LEASE)
    await other.defer_audit(second, 50.0)
    assert [await one.audit_due(now) for now in (49.0, 50.0)] == [False, True]
    third = await other.claim_audit(50.0)
    assert third is not None
    await other.audited(third)
    assert not await one.audit_due(100_000.0)
    for ledger in (one, other):
        ledger.close()


@BOTH
async def test_two_replicas(start: Start, workspace: Workspace) -> None:
    """Replicas that sweep at the same time post each line once."""
    async with start(audit_channel=AUDIT) as one, start(audit_channel=AUDIT) as other:
        for n in range(3):
            await decide(other, workspace, KEEP, f"{n:024x}")
        for _ in range(2):
            await asyncio.gather(one.scheduler.sweep(), other.scheduler.sweep())
            await settled(one)
            await settled(other)
    assert sorted(Counter(lines(workspace)).values()) == [1, 1, 1]


async def test_without_an_audit_channel(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """Without an audit channel nothing is posted, then or later; what was due before waits for the channel."""
    async with swept(start(audit_channel=AUDIT)) as bot:
        await decide(bot, workspace, KEEP)
    async with swept(start()) as bot:
        await decide(bot, workspace, UNSUBSCRIBE)
        for _ in range(3):
            await advance(bot, clock, 60)
    assert lines(workspace) == []
    async with swept(start(audit_channel=AUDIT)) as bot:
        for _ in range(3):
            await advance(bot, clock, 60)
    assert [line.split(":")[0] for line in lines(workspace)] == ["*Kept"]


@pytest.mark.usefixtures("audited")
@pytest.mark.parametrize("back", [3600, 20 * 3600])
async def test_clock_that_is_set_back(start: Start, workspace: Workspace, clock: TestClock, back: float) -> None:
    """A line that waits since before the clock was set back comes at once, also if a replica had claimed it."""
    async with swept(start()) as bot:
        await decide(bot, workspace, UNSUBSCRIBE)
        assert await bot.ledger.claim_audit(clock.now())
        clock.set_back(back)
        await sweep(bot)
    assert len(lines(workspace)) == 1


@SQLITE
@pytest.mark.usefixtures("audited")
async def test_channel_of_the_cards(start: Start, workspace: Workspace) -> None:
    """The audit channel can be the channel of the cards, too: a toast waits for one of many lines at most."""
    count = 8
    async with swept(start(audit_channel=NUMBERS)) as bot:
        for n in range(count):
            await decide(bot, workspace, KEEP, f"{n:024x}")
        card = await ask(workspace)
        workspace.limits["chat.postMessage"] = (1.0, 3)
        workspace.retry_after = 30
        await bot.scheduler.sweep()
        began = bot.clock.monotonic()
        await workspace.click(BEN, card, UNSUBSCRIBE)
        await workspace.until(lambda: any(SUCCESS in note.text for note in public(workspace)))
        assert bot.clock.monotonic() - began < 2 * pace.EVERY + 1
    assert workspace.limited == []


@SQLITE
@pytest.mark.usefixtures("audited")
async def test_lines_keep_the_pace_and_the_order(start: Start, workspace: Workspace, fast_pace: float) -> None:
    """Many lines go out in the order of their outcomes, as fast as Slack allows and not faster."""
    workspace.limits[POST.split(maxsplit=1)[0]] = (fast_pace, 3)
    count = 6
    async with swept(start()) as bot:
        for n in range(count):
            workspace.limits.clear()
            await decide(bot, workspace, KEEP, f"{n:024x}")
        workspace.limits["chat.postMessage"] = (fast_pace, 3)
        await bot.scheduler.sweep()
        await bot.scheduler.sweep()  # a second one begins nothing beside the first
        await workspace.until(lambda: len(lines(workspace)) == count)
        await settled(bot)
    assert workspace.limited == []
    assert [f"{n:024x}" in line for n, line in enumerate(lines(workspace))] == [True] * count


@pytest.mark.usefixtures("audited")
async def test_restart_after_the_cause_is_mended(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """What waits for hours, because Slack rejected it, goes out at once after a restart."""
    workspace.channels[AUDIT] = replace(workspace.channels[AUDIT], bot=False)
    async with swept(start()) as bot:
        await decide(bot, workspace, UNSUBSCRIBE)
        for _ in range(3):
            await advance(bot, clock, 6 * 3600)
    workspace.channels[AUDIT] = replace(workspace.channels[AUDIT], bot=True)
    async with swept(start()):
        pass
    assert len(lines(workspace)) == 1


@SQLITE
@pytest.mark.usefixtures("audited")
async def test_names_are_remembered(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """Slack is asked for each name once in five minutes."""
    async with swept(start()) as bot:
        for n, wait in enumerate((0, 10, 301)):
            await decide(bot, workspace, KEEP, f"{n:024x}")
            await advance(bot, clock, wait)
    assert len(lines(workspace)) == 3
    assert workspace.api_calls.count("users.info") == 4


# The command line


async def check(environment: dict[str, str], cwd: Path) -> tuple[int, str]:
    """The exit code of `check`, and its line about the audit channel."""
    code, out, _ = await run_command("check", settings=environment, cwd=cwd)
    return code, next(line for line in out.splitlines() if "Audit channel" in line)


@SQLITE
@pytest.mark.usefixtures("audited")
async def test_check_proves_it(environment: dict[str, str], tmp_path: Path, workspace: Workspace) -> None:
    """`check` proves that the bot can post there, and posts nothing."""
    assert await check(environment, tmp_path) == (
        0,
        f"ok    Audit channel: Slack takes messages for {AUDIT}: one that was scheduled for tomorrow is deleted again",
    )
    assert (workspace.notes, workspace.scheduled) == ([], {})


@SQLITE
@pytest.mark.parametrize(
    ("channel", "fault", "says"),
    [
        pytest.param(
            QUIET,
            ("", ""),
            f"Slack takes no message for {QUIET} (not_in_channel): check the id of the channel, and invite the bot with "
            "/invite.",
            id="not invited",
        ),
        pytest.param(
            "C0OTHER",
            ("", ""),
            "Slack takes no message for C0OTHER (channel_not_found): check the id of the channel, and invite the bot with "
            "/invite.",
            id="no channel",
        ),
        pytest.param(
            AUDIT,
            ("chat.scheduleMessage", "is_archived"),
            f"Slack takes no message for {AUDIT} (is_archived): unarchive the channel, or set another one.",
            id="archived",
        ),
        pytest.param(
            AUDIT,
            ("chat.scheduleMessage", "429"),
            "Slack received too many requests from this app. Wait a minute, then try again.",
            id="limited",
        ),
        pytest.param(
            AUDIT,
            ("chat.scheduleMessage", "drop_before"),
            "Slack cannot be reached: no usable answer (ServerDisconnectedError). Check the network of this machine, and "
            "SLACK_API_URL. A message of this check may come there tomorrow: you can delete it.",
            id="no answer",
        ),
        pytest.param(
            AUDIT,
            ("chat.deleteScheduledMessage", "invalid_scheduled_message_id"),
            f"Slack takes messages for {AUDIT}, but did not delete one again. Slack rejected the call "
            "(invalid_scheduled_message_id). A message of this check may come there tomorrow: you can delete it.",
            id="not deleted",
        ),
    ],
)
async def test_check_of_a_channel_that_takes_none(
    environment: dict[str, str],
    tmp_path: Path,
    workspace: Workspace,
    channel: str,
    fault: tuple[str, str],
    says: str,
) -> None:
    """`check` says why Slack takes no message, what to do, and whether one may come later."""
    if fault[0]:
        workspace.faults[fault[0]].append(fault[1])
    found = await check(environment | {"AUDIT_CHANNEL": channel}, tmp_path)
    assert found == (1, f"FAIL  Audit channel: {says}")
    workspace.scheduled.clear()


@SQLITE
async def test_fake_deletes_no_message_that_is_about_to_come(workspace: Workspace) -> None:
    """The fake is as strict as Slack about the time of a scheduled message."""
    slack = Slack(TOKEN, workspace.api_url)
    for ahead, code in ((-5, "time_in_past"), (121 * 86_400, "time_too_far")):
        with pytest.raises(SlackRejectedError, match=code):
            await slack.schedule(AUDIT, private("Hello."), int(workspace.now() + ahead))
    soon = await slack.schedule(AUDIT, private("Hello."), int(workspace.now() + 30))
    with pytest.raises(SlackRejectedError, match="invalid_scheduled_message_id"):
        await slack.unschedule(AUDIT, soon)
    await slack.close()
    workspace.scheduled.clear()


@SQLITE
@pytest.mark.usefixtures("audited", "last_message_alone")
@pytest.mark.parametrize(
    ("fault", "expected", "left"),
    [
        (("", ""), [f"ok    Post an audit line in {AUDIT}", "ok    Delete the audit line"], 0),
        (
            (POST, "not_in_channel"),
            [f"FAIL  Post an audit line in {AUDIT}: Slack refused it (not_in_channel)."],
            0,
        ),
        (
            (f"chat.delete {AUDIT}", "cant_delete_message"),
            [
                f"ok    Post an audit line in {AUDIT}",
                "FAIL  Delete the audit line: Slack refused it (cant_delete_message).",
                f"An audit line may be left in {AUDIT}: delete it by hand.",
            ],
            1,
        ),
    ],
    ids=["fine", "not posted", "not deleted"],
)
async def test_rehearsal(
    environment: dict[str, str],
    tmp_path: Path,
    workspace: Workspace,
    fault: tuple[str, str],
    expected: list[str],
    left: int,
) -> None:
    """With a channel, the rehearsal posts a line in the audit channel too, and deletes it."""
    if fault[0]:
        workspace.faults[fault[0]].append(fault[1])
    code, out, _ = await run_command("rehearse", "--channel", NUMBERS, settings=environment, cwd=tmp_path)
    found = out.splitlines()
    assert found[found.index("ok    Delete the card") + 1 : -1] == expected
    assert code == (1 if fault[0] else 0)
    assert len(workspace.notes) == left


@SQLITE
@pytest.mark.usefixtures("audited", "last_message_alone")
async def test_rehearsal_without_a_channel(environment: dict[str, str], tmp_path: Path, workspace: Workspace) -> None:
    """Without a channel, the rehearsal posts nothing at all."""
    code, _, _ = await run_command("rehearse", settings=environment, cwd=tmp_path)
    assert (code, "chat.postMessage" in workspace.api_calls) == (0, False)

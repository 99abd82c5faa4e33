"""Every outcome is delivered: repeated until Slack accepts it, by whatever way is left, after a restart too."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path

import pytest

from bot.app import Bot
from bot.clients import slack
from bot.domain.status import OutcomeCode
from bot.service import notifier
from bot.service.notifier import MAX_WAIT_IF_REJECTED, backoff
from bot.views import blocks
from sandbox.fake_cellcast import ANSWERS, SUCCESS, Answer, Cellcast
from sandbox.fake_slack import Channel, Workspace
from tests.conftest import (
    ANA,
    BEN,
    NUMBER,
    NUMBERS,
    QUIET,
    REPEATED,
    SECRET,
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


def toasts(workspace: Workspace, channel: str = NUMBERS) -> list[str]:
    """The toasts of success that stand in a channel."""
    return [n.text for n in public(workspace, channel) if n.text.startswith(SUCCESS)]


def delivered(bot: Bot) -> float:
    """How many successes the metrics count as delivered."""
    labels = {"outcome": str(OutcomeCode.SUCCEEDED)}
    return bot.metrics.registry.get_sample_value("unsubscribe_outcomes_delivered_total", labels) or 0.0


async def test_waits_double_up_to_a_minute() -> None:
    """A failed delivery is repeated after a second, then doubling up to a minute."""
    assert [backoff(n) for n in range(1, 9)] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert backoff(10_000) == 60


@pytest.mark.parametrize("fault", ["500", "drop_before", "garbage", "update_failed", "internal_error"])
async def test_delivery_is_repeated_until_slack_accepts_it(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: TestClock, fault: str, reliability: Record
) -> None:
    """A toast that Slack did not take comes a second, two and four seconds later, and stands once in the end."""
    card = await ask(workspace)
    await settled(bot)
    workspace.faults["chat.postMessage"] += [fault] * 3
    await workspace.click(BEN, card, "Unsubscribe Number")
    await settled(bot)
    for wait in (1, 2, 4):
        assert toasts(workspace) == []
        await advance(bot, clock, wait - 0.7)
        assert toasts(workspace) == []
        await advance(bot, clock, 0.7)
    assert len(toasts(workspace)) == 1
    assert len(cellcast.calls) == 1
    reliability("Slack", f"chat.postMessage of the toast, three times: {fault}", calls="one", told="the toast, once")


@pytest.mark.parametrize("fault", ["drop_after", "hang"])
@pytest.mark.usefixtures("short_slack_timeout")
async def test_toast_whose_answer_is_lost(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: TestClock, fault: str, reliability: Record
) -> None:
    """At least once: a toast that Slack may have taken is told again, by the bot's own plan and not by slack_sdk's."""
    card = await ask(workspace)
    await settled(bot)
    posted = workspace.api_calls.count("chat.postMessage")
    workspace.faults["chat.postMessage"].append(fault)
    await workspace.click(BEN, card, "Unsubscribe Number")
    await settled(bot)
    assert workspace.api_calls.count("chat.postMessage") == posted + 1
    await advance(bot, clock, 1.1)
    assert len(toasts(workspace)) == (2 if fault == "drop_after" else 1)
    assert len(set(toasts(workspace))) == 1
    assert len(cellcast.calls) == 1
    told = "the toast, twice the same" if fault == "drop_after" else "the toast, once"
    reliability("Slack", f"chat.postMessage of the toast: {fault}", calls="one", told=told)


async def test_retry_after_is_obeyed(bot: Bot, workspace: Workspace, clock: TestClock) -> None:
    """Where Slack asks to wait longer, the bot does."""
    card = await ask(workspace)
    await settled(bot)
    workspace.retry_after = 30
    workspace.faults["chat.postMessage"].append("429")
    await workspace.click(BEN, card, "Unsubscribe Number")
    await settled(bot)
    for wait, there in ((25, 0), (6, 1)):
        await advance(bot, clock, wait)
        assert len(toasts(workspace)) == there


async def test_longest_retry_after(bot: Bot, workspace: Workspace, clock: TestClock) -> None:
    """A Retry-After of a day delays an outcome by 15 minutes at most."""
    card = await ask(workspace)
    await settled(bot)
    workspace.retry_after = 86_400
    workspace.faults["chat.postMessage"].append("429")
    await workspace.click(BEN, card, "Unsubscribe Number")
    await settled(bot)
    for wait, there in ((890, 0), (11, 1)):
        await advance(bot, clock, wait)
        assert len(toasts(workspace)) == there


async def test_toast_after_the_offer_has_ended(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: TestClock
) -> None:
    """A toast that is written after the offer to try again has ended says to request the number again."""
    cellcast.next.append(Answer(fault="drop"))
    card = await ask(workspace)
    await settled(bot)
    workspace.faults["chat.postMessage"].append("500")
    await workspace.click(BEN, card, "Unsubscribe Number")
    await settled(bot)
    clock.advance(898)
    await bot.scheduler.sweep()  # it claims the outcome, and the offer still holds
    clock.advance(3)
    await settled(bot)
    assert "If it is, request it again with" in public(workspace)[-1].text


async def test_card_that_could_not_be_closed_is_closed_later(bot: Bot, workspace: Workspace, clock: TestClock) -> None:
    """The toast is not repeated only because the card could not be changed; the card is closed later."""
    card = await ask(workspace)
    await settled(bot)
    workspace.faults["chat.update"] += ["500", "500"]
    await workspace.click(BEN, card, "Unsubscribe Number")
    await settled(bot)
    assert current(workspace, card).buttons
    await advance(bot, clock, 1.1)
    assert not current(workspace, card).buttons
    assert len(toasts(workspace)) == 1


async def test_message_deleted(bot: Bot, workspace: Workspace, reliability: Record) -> None:
    """Where somebody deleted the card meanwhile, the toast comes all the same."""
    card = await ask(workspace)
    payload = workspace.click_payload(BEN, card, "Unsubscribe Number")
    await workspace.delete(card)
    await workspace.send("interactive", payload)
    await settled(bot)
    assert toasts(workspace)
    reliability("Slack", "the card was deleted", calls="one", told="the toast, once")


async def test_channel_archived(bot: Bot, workspace: Workspace, reliability: Record) -> None:
    """Where the channel was archived during the call, the toast comes by the click's response_url."""
    card = await ask(workspace)
    await settled(bot)
    workspace.channels[NUMBERS] = Channel(NUMBERS, "numbers", archived=True)
    await workspace.click(BEN, card, "Unsubscribe Number")
    await settled(bot)
    assert len(toasts(workspace)) == 1
    reliability("Slack", "the channel was archived", calls="one", told="the toast, by response_url")


async def test_response_url_over(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: TestClock, reliability: Record
) -> None:
    """Where no way to the channel is left, who confirmed gets the toast as a direct message."""
    cellcast.hold = asyncio.Event()
    card = await ask(workspace, channel=QUIET)
    await workspace.click(BEN, card, "Unsubscribe Number")
    await workspace.until(lambda: "Unsubscribing" in current(workspace, card).text)
    await cellcast.called.wait()
    clock.advance(1801)
    cellcast.hold.set()
    await settled(bot)
    assert toasts(workspace, QUIET) == []
    assert len(toasts(workspace, f"D0{BEN}")) == 1
    reliability("Slack", "no member, and the response_url expired", calls="one", told="the toast, as a direct message")


async def test_response_url_used_up(bot: Bot, workspace: Workspace, cellcast: Cellcast, reliability: Record) -> None:
    """Where the click's response_url has been used five times, who confirmed gets the toast as a direct message."""
    cellcast.hold = asyncio.Event()
    card = await ask(workspace, channel=QUIET)
    payload = workspace.click_payload(BEN, card, "Unsubscribe Number")
    await workspace.send("interactive", payload)
    await workspace.until(lambda: "Unsubscribing" in current(workspace, card).text)
    workspace.use_up(payload["response_url"])
    cellcast.hold.set()
    await settled(bot)
    assert len(toasts(workspace, f"D0{BEN}")) == 1
    assert set(workspace.broken_rules) == {"used_url"}
    workspace.broken_rules.clear()
    reliability(
        "Slack", "no member, and the response_url is used up", calls="one", told="the toast, as a direct message"
    )


@pytest.mark.parametrize("fault", ["expired_url", "no_permission", "word:action_prohibited", "word:invalid_blocks"])
async def test_response_url_says_no_with_200(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: TestClock, fault: str, reliability: Record
) -> None:
    """A toast that a response_url refuses with HTTP 200 is sent to the requester and the person who confirmed, and counts only then."""
    cellcast.hold = asyncio.Event()
    card = await ask(workspace, channel=QUIET)
    await workspace.click(BEN, card, "Unsubscribe Number")
    await workspace.until(lambda: "Unsubscribing" in current(workspace, card).text)
    # The toast, and the card beside it, which is updated twice if the outcome comes during an update.
    workspace.faults["response_url"] += [fault] * 3
    # Slack takes the direct messages only the second time: until then the outcome must not count as delivered.
    workspace.faults["chat.postMessage"] += ["not_in_channel", "500", "500"]
    cellcast.hold.set()
    await settled(bot)
    assert toasts(workspace, QUIET) == toasts(workspace, f"D0{BEN}") == []
    assert delivered(bot) == 0
    workspace.faults["response_url"] += [fault] * 3
    await advance(bot, clock, 1.1)
    refused = 6 - len(workspace.faults["response_url"])
    workspace.faults["response_url"].clear()
    assert toasts(workspace, QUIET) == []
    assert len(toasts(workspace, f"D0{BEN}")) == 1
    assert delivered(bot) == 1
    assert bot.slack.errors["response_url"] == refused >= 4
    await advance(bot, clock, 60)
    assert len(toasts(workspace, f"D0{BEN}")) == 1
    reliability(
        "Slack",
        f"no member, and the response_url says no with HTTP 200: {fault.removeprefix('word:')}",
        calls="one",
        told="the toast, as a direct message",
    )


@pytest.mark.parametrize("fault", ["ratelimited", "word:rate_limited", "internal_error", "garbage", "word:<html>"])
async def test_response_url_says_later_with_200(
    bot: Bot, workspace: Workspace, clock: TestClock, fault: str, reliability: Record
) -> None:
    """If a response_url answers HTTP 200 with a passing error, or nothing readable, the toast is sent again."""
    card = await ask(workspace, channel=QUIET)
    await settled(bot)
    workspace.faults["response_url"] += [fault] * 3
    await workspace.click(BEN, card, "Unsubscribe Number")
    await settled(bot)
    assert toasts(workspace, QUIET) == toasts(workspace, f"D0{BEN}") == []
    await advance(bot, clock, 2.1)
    assert len(toasts(workspace, QUIET)) == 1
    assert toasts(workspace, f"D0{BEN}") == []
    what = {"garbage": "broken JSON", "word:<html>": "HTML"}.get(fault, fault.removeprefix("word:"))
    reliability("Slack", f"no member, the response_url answers 200 with {what}", calls="one", told="the toast, once")


@pytest.mark.parametrize("body", ["", "ok"])
async def test_response_url_that_takes_a_message(bot: Bot, workspace: Workspace, body: str) -> None:
    """HTTP 200 with `ok` or an empty body means that Slack took the message."""
    url = workspace.command_fields(ANA, NUMBERS, "")["response_url"]
    workspace.faults["response_url"].append(f"word:{body}")
    await bot.slack.respond(url, blocks.private("Hello."))
    assert bot.slack.errors["response_url"] == 0


async def test_expiry_where_no_way_is_left(bot: Bot, workspace: Workspace, clock: TestClock) -> None:
    """An expiry that can stand nowhere in the channel is told to who asked."""
    await ask(workspace, channel=QUIET)
    await settled(bot)
    await advance(bot, clock, 1801)
    (line,) = public(workspace, f"D0{ANA}")
    assert line.text.startswith("*Expired: ")


async def undeliverable(bot: Bot, workspace: Workspace, clock: TestClock) -> str:
    """Leave an expiry that Slack will never accept: private channel, response_url over, requester deactivated."""
    await ask(workspace, channel=SECRET)
    await settled(bot)
    del workspace.people[ANA]
    await advance(bot, clock, 1900)
    ((request, _),) = await bot.ledger.history()
    return request.id


async def test_outcome_that_can_never_be_delivered(bot: Bot, workspace: Workspace, clock: TestClock) -> None:
    """It is tried some twenty times in two days, not at each sweep; if Slack accepts it then, it comes."""
    await undeliverable(bot, workspace, clock)
    before = len(workspace.api_calls)
    for _ in range(2 * 24 * 20):
        clock.advance(180)
        await bot.scheduler.sweep()
        await settled(bot)
    assert 15 <= workspace.api_calls.count("chat.postMessage") // 2 <= 30
    assert len(workspace.api_calls) - before < 60
    assert (await bot.ledger.gauges(clock.now()))[1] > 2 * 24 * 3600
    workspace.channels[SECRET] = Channel(SECRET, "secret", private=True)
    await advance(bot, clock, MAX_WAIT_IF_REJECTED)
    assert "Expired" in public(workspace, SECRET)[-1].text
    assert (await bot.ledger.gauges(clock.now()))[1] == 0
    workspace.broken_rules.clear()


async def test_outcome_closed_by_an_operator(
    start: Start,
    workspace: Workspace,
    clock: TestClock,
    environment: dict[str, str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """One error asks for `delivered REQUEST`; what that closes is not tried again, and raises no alert."""
    async with start() as bot:
        request_id = await undeliverable(bot, workspace, clock)
        for wait in (61, 62, 125):
            await advance(bot, clock, wait)
        code, out, err = await run_command("delivered", request_id, settings=environment, cwd=tmp_path)
        assert (code, err) == (0, "")
        assert out == (
            f"Closed: expired of {NUMBER}, attempt 0 (delivery attempts: 4). The bot no longer delivers it: make sure "
            f"that {ANA} knows it.\n"
        )
        assert (await bot.ledger.gauges(clock.now()))[1] == 0
        before = len(workspace.api_calls)
        await advance(bot, clock, 3600)
        assert len(workspace.api_calls) == before
    log = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    assert [line["event"] for line in log].count("delivery_failed") == 4
    (found,) = [line for line in log if line["event"] == "outcome_undeliverable"]
    assert (found["level"], found["step"]) == ("error", f"python -m bot delivered {request_id}")
    _, out, _ = await run_command("history", settings=environment, cwd=tmp_path)
    assert re.search(r"attempt 0: expired 20.*, closed by an operator 20\d\d-\d\d-\d\d \d\d:\d\d:\d\d UTC", out)
    code, out, err = await run_command("delivered", request_id, settings=environment, cwd=tmp_path)
    assert (code, out) == (1, "")
    assert err == f"Request {request_id} has no undelivered outcome, so nothing was closed.\n"
    code, out, err = await run_command("delivered", "0" * 32, settings=environment, cwd=tmp_path)
    assert (code, out) == (1, "")
    assert err.startswith(f"There is no request {'0' * 32}.")
    workspace.broken_rules.clear()


@pytest.mark.parametrize("fault", ["500", "429"])
async def test_kept_card_that_could_not_be_closed(bot: Bot, workspace: Workspace, clock: TestClock, fault: str) -> None:
    """A kept card that Slack did not let change is closed later; no message is posted for it."""
    card = await ask(workspace)
    await settled(bot)
    workspace.faults["chat.update"].append(fault)
    await workspace.click(BEN, card, "Keep Number")
    await settled(bot)
    assert current(workspace, card).buttons
    await advance(bot, clock, 2.1)  # Slack's second, and up to one more
    assert "Kept" in current(workspace, card).text
    assert len(public(workspace)) == 1


async def test_toast_by_response_url_whose_answer_is_lost(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: TestClock
) -> None:
    """At least once: a toast whose answer got lost may stand twice, and both say the same."""
    cellcast.hold = asyncio.Event()
    card = await ask(workspace, channel=QUIET)
    await settled(bot)
    await workspace.click(BEN, card, "Unsubscribe Number")
    await workspace.until(lambda: "Unsubscribing" in current(workspace, card).text)
    workspace.faults["response_url"] += ["", "drop_after"]
    cellcast.hold.set()
    await settled(bot)
    await advance(bot, clock, 1.1)
    assert len(set(toasts(workspace, QUIET))) == 1


@pytest.mark.parametrize("fault", ["429", "drop_before", "500"])
async def test_response_url_fails_for_a_while(
    bot: Bot, workspace: Workspace, clock: TestClock, fault: str, reliability: Record
) -> None:
    """Where the response_url does not work at the moment, it is tried again; the toast stands once."""
    card = await ask(workspace, channel=QUIET)
    await settled(bot)
    workspace.faults["response_url"] += [fault] * 3
    await workspace.click(BEN, card, "Unsubscribe Number")
    await settled(bot)
    assert toasts(workspace, QUIET) == []
    for _ in range(2):
        await advance(bot, clock, 3)
    assert len(toasts(workspace, QUIET)) == 1
    assert not current(workspace, card).buttons
    reliability("Slack", f"no member, response_url: {fault}", calls="one", told="the toast, once")


@REPEATED
async def test_delivered_after_a_restart(
    start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock
) -> None:
    """An outcome that Slack did not accept before the bot stopped is delivered by the next start."""
    async with start() as bot:
        card = await ask(workspace)
        await settled(bot)
        workspace.faults["chat.postMessage"].append("drop_before")
        await workspace.click(BEN, card, "Unsubscribe Number")
    assert toasts(workspace) == []
    clock.advance(16)
    async with start(sweep_every=0.2) as bot:
        await workspace.until(lambda: toasts(workspace))
        await settled(bot)
    assert len(toasts(workspace)) == 1
    assert len(cellcast.calls) == 1


@REPEATED
async def test_running_call_is_not_taken_for_an_orphan(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: TestClock
) -> None:
    """A sweep leaves alone the call that this very bot still holds."""
    cellcast.hold = asyncio.Event()
    card = await ask(workspace)
    await workspace.click(BEN, card, "Unsubscribe Number")
    await workspace.until(lambda: "Unsubscribing" in current(workspace, card).text)
    await cellcast.called.wait()
    clock.advance(11)
    await bot.scheduler.sweep()
    cellcast.hold.set()
    await settled(bot)
    assert len(toasts(workspace)) == 1


async def test_card_that_comes_after_its_time(
    start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock
) -> None:
    """A card that Slack took so long to post that its time was over shows at once that it has expired."""
    posting, go_on = asyncio.Event(), asyncio.Event()

    async def step(name: str) -> None:
        if name == "after chat.postMessage" and not posting.is_set():
            posting.set()
            await go_on.wait()

    async with start() as bot:
        workspace.on_step = step
        await workspace.command(ANA, NUMBERS, NUMBER)
        await posting.wait()
        clock.advance(901)
        await bot.scheduler.sweep()
        await workspace.until(lambda: len(public(workspace)) == 2)
        go_on.set()
        await settled(bot)
    card, told = public(workspace)
    assert "Expired" in card.text
    assert "Expired" in told.text
    assert not card.buttons


async def test_sweep_runs_by_itself(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """The sweep comes by without being asked, also after one that failed."""
    async with start(sweep_every=0.01) as bot:
        card = await ask(workspace)
        clock.advance(901)
        await workspace.until(lambda: "Expired" in current(workspace, card).text)
        await settled(bot)


async def test_outcome_of_the_first_attempt_is_delivered_too(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: TestClock
) -> None:
    """An outcome that Slack did not take comes later, although the same outcome of the next attempt was delivered."""
    cellcast.next += [ANSWERS["server error"]] * 2
    card = await ask(workspace)
    await settled(bot)
    workspace.faults["chat.postMessage"].append("500")
    await workspace.click(BEN, card, "Unsubscribe Number")
    await settled(bot)
    assert len(public(workspace)) == 1
    await workspace.click(BEN, current(workspace, card), "Try Again")
    await settled(bot)
    await advance(bot, clock, 1.1)
    second, first = [note.text for note in public(workspace)[1:]]
    assert first.startswith("*Outcome unknown: ")
    assert second.startswith("*Outcome unknown: ")
    assert ("attempt 2" in first, "attempt 2" in second) == (False, True)


async def test_card_that_fails_while_the_toast_is_on_its_way(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: TestClock
) -> None:
    """If the card can't be changed while Slack still takes the toast, a sweep in between does not post it twice."""
    cellcast.hold = asyncio.Event()
    card = await ask(workspace)
    await settled(bot)
    await workspace.click(BEN, card, "Unsubscribe Number")
    await workspace.until(lambda: "Unsubscribing" in current(workspace, card).text)
    posting, go_on = asyncio.Event(), asyncio.Event()

    async def step(name: str) -> None:
        if name == "before chat.postMessage":
            posting.set()
            await go_on.wait()

    workspace.on_step = step
    workspace.faults["chat.update"].append("429")
    cellcast.hold.set()
    await posting.wait()
    while not bot.slack.errors["chat.update"]:  # noqa: ASYNC110 - the bot sends no event
        await asyncio.sleep(0)
    await bot.ledger.gauges(clock.now())  # what the bot stores about the failure comes before
    clock.advance(1.1)
    await bot.scheduler.sweep()
    go_on.set()
    await settled(bot)
    await advance(bot, clock, 1.1)
    assert len(toasts(workspace)) == 1
    assert not current(workspace, card).buttons


async def test_toast_comes_once_although_the_card_is_deleted_then(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: TestClock
) -> None:
    """A toast that stands is not posted again because the card, not closed yet, can no longer be changed."""
    cellcast.hold = asyncio.Event()
    card = await ask(workspace)
    await settled(bot)
    await workspace.click(BEN, card, "Unsubscribe Number")
    await workspace.until(lambda: "Unsubscribing" in current(workspace, card).text)
    workspace.faults["chat.update"].append("500")
    cellcast.hold.set()
    await settled(bot)
    assert len(toasts(workspace)) == 1
    await workspace.delete(current(workspace, card))
    await advance(bot, clock, 1801)  # the response_url of the click is no way any more
    assert len(toasts(workspace)) == 1
    assert delivered(bot) == 1


async def test_delivery_ends_within_its_lease(
    start: Start, workspace: Workspace, clock: TestClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A delivery that Slack keeps waiting is given up before another replica may take it, and comes again."""
    monkeypatch.setattr(slack, "CALL_TIMEOUT", 60)
    async with start() as bot:
        card = await ask(workspace)
        await settled(bot)
        workspace.faults["chat.postMessage"].append("hang")
        with monkeypatch.context() as short:
            short.setattr(notifier, "LEASE", 1.3)
            await workspace.click(BEN, card, "Unsubscribe Number")
            await settled(bot)
        assert toasts(workspace) == []
        await advance(bot, clock, 1.1)
        assert len(toasts(workspace)) == 1


@pytest.mark.parametrize("label", ["Unsubscribe Number", "Keep Number"])
async def test_sweep_while_an_outcome_is_being_delivered(
    bot: Bot, workspace: Workspace, clock: TestClock, label: str
) -> None:
    """An outcome that the bot is just delivering is not due for a sweep: nothing is posted or updated twice."""
    card = await ask(workspace)
    await settled(bot)
    method = "chat.postMessage" if label == "Unsubscribe Number" else "chat.update"
    there, go_on = asyncio.Event(), asyncio.Event()

    async def step(name: str) -> None:
        if name == f"before {method}":
            there.set()
            await go_on.wait()

    workspace.on_step = step
    before = workspace.api_calls.count(method)
    await workspace.click(BEN, card, label)
    await there.wait()
    clock.advance(2)
    await bot.scheduler.sweep()
    go_on.set()
    await settled(bot)
    assert workspace.api_calls.count(method) == before + 1

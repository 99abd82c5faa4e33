"""Slack's rate limits: the bot waits as long as Slack asks, and loses nothing."""

from __future__ import annotations

import asyncio
import json
import time

import pytest

from bot.service import pace
from sandbox.fake_cellcast import SUCCESS, Cellcast
from sandbox.fake_slack import Workspace
from tests.conftest import (
    ANA,
    BEN,
    DIRECT,
    GIL,
    NUMBER,
    NUMBERS,
    OTHER,
    SECRET,
    Record,
    Start,
    TestClock,
    advance,
    ask,
    card_buttons,
    current,
    often,
    private,
    public,
    settled,
)
from tests.messages import said_by

OUTCOMES, EVERY, BURST = often(30, 100), 0.2, 5  # Slack's second is shorter here
SLOWLY = 0.5  # the same, where a busy machine must not decide


@pytest.mark.long
async def test_many_outcomes_in_one_channel(
    start: Start, workspace: Workspace, cellcast: Cellcast, monkeypatch: pytest.MonkeyPatch, reliability: Record
) -> None:
    """Many outcomes at once are all delivered, once each, in at most 1.3 times what Slack's limit allows.

    Slack's limit, the bot's pace and its sweeps are faster here, by the same factor.
    """
    monkeypatch.setattr("bot.service.pace.EVERY", pace.EVERY * SLOWLY)
    async with start(sweep_every=SLOWLY) as bot:
        found = [await ask(workspace, text=f"{n:024x}") for n in range(OUTCOMES)]
        await settled(bot)
        workspace.limits["chat.postMessage"] = SLOWLY, BURST
        started_at = time.monotonic()
        for n in range(0, OUTCOMES, 10):  # few at a time, so that a busy machine acks them in time
            await asyncio.gather(*(workspace.click(BEN, card, "Unsubscribe Number") for card in found[n : n + 10]))
        await workspace.until(lambda: len(toasts(workspace)) == OUTCOMES, seconds=120)
        took = time.monotonic() - started_at
        await settled(bot)
    assert len(set(toasts(workspace))) == OUTCOMES
    # A Retry-After has whole seconds, also here: each one takes longer than its share.
    assert took <= 1.3 * (OUTCOMES - BURST) * SLOWLY + len(workspace.limited)
    assert len(workspace.limited) <= OUTCOMES / 10  # Slack had to refuse few calls
    assert len(cellcast.calls) == OUTCOMES
    reliability(
        "Slack",
        f"{OUTCOMES} outcomes at once in one channel, with Slack's limit",
        calls="one for each",
        told="the toast",
    )


async def test_updates_that_slack_limits_hold_no_message_up(
    start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock
) -> None:
    """While Slack limits updates of cards, outcomes are still posted; the cards show them when Slack takes updates."""
    async with start() as bot:
        found = [await ask(workspace, text=f"{n:024x}") for n in range(4)]
        workspace.limits["chat.update"] = 3600, 1
        for card in found:
            await workspace.click(BEN, card, "Unsubscribe Number")
            await settled(bot)
        assert len(toasts(workspace)) == len(found)
        workspace.limits.clear()
        await advance(bot, clock, 3600)
    assert len(toasts(workspace)) == len(cellcast.calls) == len(found)
    assert all(current(workspace, card).text.startswith("*Unsubscribed") for card in found)


async def test_outcome_whose_turn_is_far_away(
    start: Start, workspace: Workspace, clock: TestClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outcome that would wait for longer than its lease allows is delivered by a sweep when it is its turn."""
    monkeypatch.setattr("bot.service.notifier.LONGEST_PAUSE", 0.0)
    async with start() as bot:
        found = [await ask(workspace, text=f"{n:024x}") for n in range(pace.BURST + 2)]
        await asyncio.gather(*(workspace.click(BEN, card, "Unsubscribe Number") for card in found))
        await settled(bot)
        assert len(toasts(workspace)) == pace.BURST
        await advance(bot, clock, 3)
    assert len(toasts(workspace)) == len(set(toasts(workspace))) == len(found)


def toasts(workspace: Workspace) -> list[str]:
    """The toasts in the channel."""
    return [note.text for note in public(workspace) if note.text.startswith(SUCCESS)]


@pytest.mark.parametrize("seconds", [1, 60])
async def test_card_that_slack_wants_later(
    start: Start, workspace: Workspace, cellcast: Cellcast, seconds: int
) -> None:
    """A card that comes too early is posted all the same: after Slack's wait, or at once in another way if that is long."""
    workspace.faults["chat.postMessage"].append("429")
    workspace.retry_after = seconds
    async with start() as bot:
        began = time.monotonic()
        card = await ask(workspace)
        await settled(bot)
        assert (time.monotonic() - began >= 1) is (seconds == 1)
        assert private(workspace, ANA) == []
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
    assert len(toasts(workspace)) == 1
    assert "Unsubscribed" in current(workspace, card).text
    assert len(cellcast.calls) == 1


async def test_card_that_waits_longer_than_its_lease(
    start: Start, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While a card waits for its turn, no later request for the number replaces its request."""
    monkeypatch.setattr("bot.service.card_poster.CALL_TIMEOUT", 13.5)  # so the lease is soon too short
    workspace.faults["chat.postMessage"].append("429")
    workspace.retry_after = 2
    async with start() as bot:
        await workspace.command(ANA, NUMBERS, NUMBER)
        await settled(bot)
        (request, _), *_ = await bot.ledger.history()
    assert request.posting_lease_until > request.requested_at + 15
    assert request.card_ts is not None


@pytest.mark.parametrize("channel", [SECRET, DIRECT])
async def test_card_by_response_url_that_slack_wants_later(start: Start, workspace: Workspace, channel: str) -> None:
    """If the bot is no member, a card waits for the limit of its response_url, and people need not request it again."""
    workspace.faults["response_url"].append("429")
    async with start() as bot:
        await workspace.command(ANA, channel, NUMBER)
        await settled(bot)
    (card,) = workspace.notes
    assert card.buttons


@pytest.mark.parametrize("fault", ["ratelimited", "rate_limited", "message_limit_exceeded", "Retry-After: 0"])
async def test_limit_without_a_time(start: Start, workspace: Workspace, fault: str) -> None:
    """If Slack does not say how long to wait, or says 0, the card waits for a second."""
    workspace.retry_after = 0
    workspace.faults["chat.postMessage"].append("429" if fault == "Retry-After: 0" else fault)
    async with start() as bot:
        await ask(workspace)
        await settled(bot)
    assert private(workspace, ANA) == []


async def test_many_cards_at_once(
    start: Start, workspace: Workspace, cellcast: Cellcast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cards that Slack puts off come as messages, once each, with few refused calls; an outcome does not wait."""
    monkeypatch.setattr("bot.service.pace.EVERY", pace.EVERY * EVERY)
    monkeypatch.setattr("bot.clients.slack.SHORTEST_WAIT", EVERY)
    async with start(sweep_every=EVERY) as bot:
        first = await ask(workspace, text=OTHER)
        await settled(bot)
        workspace.limits["chat.postMessage"], workspace.retry_after = (EVERY, BURST), 0
        for n in range(20):
            await workspace.command(ANA, NUMBERS, f"{n:024x}")
        await workspace.click(BEN, first, "Unsubscribe Number")
        await workspace.until(lambda: toasts(workspace))
        assert len([note for note in public(workspace) if note.buttons]) < 20
        await settled(bot)
    cards = [note for note in public(workspace) if note.buttons]
    assert sorted(card.text.split("`")[1] for card in cards) == [f"{n:024x}" for n in range(20)]
    assert len(workspace.limited) < 40
    assert workspace.api_calls.count("chat.postMessage") == 22 + len(workspace.limited)


async def test_message_keeps_its_turn(
    start: Start, workspace: Workspace, clock: TestClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An outcome that Slack puts off comes before those that were settled after it."""
    monkeypatch.setattr("bot.service.notifier.LONGEST_PAUSE", 0.0)
    async with start() as bot:
        found = [await ask(workspace, text=f"{n:024x}") for n in range(8)]
        workspace.faults["chat.postMessage"].append("429")
        workspace.retry_after = 3
        for card in found:
            await workspace.click(BEN, card, "Unsubscribe Number")
            await settled(bot)
        for _ in range(30):
            await advance(bot, clock, 0.5)
    order = [text.split("`")[1] for text in toasts(workspace)]
    assert sorted(order) == [f"{n:024x}" for n in range(8)]
    assert order.index(f"{0:024x}") < order.index(f"{7:024x}")


async def test_private_answer_that_slack_wants_later(start: Start, workspace: Workspace) -> None:
    """A person whose click or request is turned away still reads why, in the channel and in the App Home."""
    async with start() as bot:
        card = await ask(workspace)
        await workspace.open_home(BEN)
        await settled(bot)
        workspace.faults["response_url"].append("429")
        await workspace.click(GIL, card, "Unsubscribe Number")
        await settled(bot)
        workspace.faults["response_url"].append("429")
        await workspace.command(BEN, NUMBERS, NUMBER)
        await settled(bot)
        button = card_buttons(workspace, BEN)[0]
        await workspace.click(ANA, card, "Keep Number")
        workspace.faults["views.open"].append("429")
        await workspace.click_in_home(BEN, button)
        await settled(bot)
    assert "You don't have permission" in private(workspace, GIL)[0]
    assert "There is already an open card" in private(workspace, BEN)[0]
    assert [user for user, _ in workspace.dialogs] == [BEN]


async def test_stop_while_a_card_waits(start: Start, workspace: Workspace) -> None:
    """A card that waits for its turn when the bot is stopped goes out at once by response_url."""
    workspace.faults["chat.postMessage"].append("429")
    workspace.retry_after = 8
    refused = asyncio.Event()

    async def step(now: str) -> None:
        if now == "before chat.postMessage":
            refused.set()

    async with start(cellcast_timeout_seconds="0.5") as bot:
        workspace.on_step = step
        await workspace.command(ANA, NUMBERS, NUMBER)
        await refused.wait()
        await asyncio.sleep(0.2)  # now the bot knows of it
        await asyncio.wait_for(bot.stop(), 3)
    (card,) = workspace.notes
    assert card.buttons


@pytest.mark.parametrize("groups", [4, 25])
async def test_many_user_groups(start: Start, workspace: Workspace, clock: TestClock, groups: int) -> None:
    """With many groups each is read less often, so that Slack's limit leaves nobody out."""
    ids = [f"S0G{n:02}" for n in range(groups)]
    workspace.groups |= {group: [] for group in ids} | {ids[-1]: [GIL]}
    async with start(allowed_users=",".join(ids)) as bot:
        for n in range(12):
            await workspace.command(GIL, NUMBERS, f"{n:024x}")
            await settled(bot)
            clock.advance(10)
    assert private(workspace, GIL) == []
    assert workspace.api_calls.count("usergroups.users.list") <= groups + 2 * 20


@pytest.mark.parametrize("fault", ["ratelimited", "500", "drop_before", "internal_error"])
async def test_home_that_slack_does_not_take(start: Start, workspace: Workspace, clock: TestClock, fault: str) -> None:
    """An App Home that could not be published is published later."""
    async with start() as bot:
        await workspace.open_home(ANA)
        await settled(bot)
        workspace.faults["views.publish"].append(fault)
        await ask(workspace)
        await settled(bot)
        await advance(bot, clock, 10)
    assert NUMBER in said_by(workspace.homes[ANA])


async def test_more_viewers_than_slack_allows_at_once(start: Start, workspace: Workspace) -> None:
    """If Slack limits the calls, those who don't see the last change are next; nobody is published to in vain."""
    people = [f"U0P{n:02}" for n in range(12)]
    workspace.people |= {user: user for user in people}
    async with start(sweep_every=0.1, allowed_users=",".join([ANA, *people])) as bot:
        for user in people:
            await workspace.open_home(user)
        await settled(bot)
        before = workspace.api_calls.count("views.publish")
        workspace.limits["views.publish"] = 0.1, 6
        await ask(workspace)
        await workspace.until(lambda: all(NUMBER in said_by(workspace.homes[user]) for user in people))
        await settled(bot)
    accepted = workspace.api_calls.count("views.publish") - before - len(workspace.limited)
    assert accepted == len(people)


async def test_home_that_slack_wants_later(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """An App Home that comes too early keeps what it shows, and is published when Slack takes it."""
    async with start() as bot:
        await workspace.open_home(ANA)
        await settled(bot)
        before = workspace.homes[ANA]
        workspace.faults["views.publish"].append("429")
        workspace.retry_after = 30
        await ask(workspace)
        await settled(bot)
        assert workspace.homes[ANA] == before
        await ask(workspace, text=OTHER)
        await advance(bot, clock, 20)
        assert workspace.homes[ANA] == before
        await advance(bot, clock, 10)
    assert NUMBER in said_by(workspace.homes[ANA])


async def test_home_while_slack_does_not_say_who_it_is(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """If Slack limits users.info, people who see the App Home keep it, and the others get it later."""
    async with start(allowed_users=f"{ANA},{BEN}") as bot:
        await workspace.open_home(ANA)
        await settled(bot)
        clock.advance(601)  # what is remembered of people has become too old
        await workspace.open_home(ANA)
        workspace.faults["users.info"] += ["429"]
        workspace.retry_after = 30
        await settled(bot)
        await workspace.open_home(BEN)
        await settled(bot)
        assert "No request is waiting" in said_by(workspace.homes[ANA])
        assert "cannot read from Slack which workspace" in said_by(workspace.homes[BEN])
        asked = workspace.api_calls.count("users.info")
        await advance(bot, clock, 15)
        assert workspace.api_calls.count("users.info") == asked  # not before the time that Slack named
        await advance(bot, clock, 20)
        assert "No request is waiting" in said_by(workspace.homes[BEN])


async def test_person_is_remembered_while_slack_does_not_answer(
    start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock
) -> None:
    """The last answer about a person counts for ten minutes if Slack gives no new one, and no longer."""
    async with start(allowed_users="*", confirm_within_seconds=3600) as bot:
        cards = [await ask(workspace), await ask(workspace, text=OTHER)]
        workspace.faults["users.info"] += ["500"] * 9
        clock.advance(599)
        await workspace.click(ANA, cards[0], "Unsubscribe Number")
        await settled(bot)
        clock.advance(2)
        await workspace.click(ANA, cards[1], "Unsubscribe Number")
        await settled(bot)
    assert [call.number_id for call in cellcast.calls] == [NUMBER]
    assert "cannot read from Slack whether you are a guest" in private(workspace, ANA)[-1]


@pytest.mark.parametrize("code", ["update_failed", "external_channel_migrating"])
async def test_card_update_that_fails_for_a_while(
    start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock, code: str
) -> None:
    """A card that cannot be updated for a moment is updated a moment later."""
    async with start() as bot:
        card = await ask(workspace)
        workspace.faults["chat.update"] += [code, code, code]
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
        assert "Unsubscribed" not in current(workspace, card).text
        for _ in range(3):
            await advance(bot, clock, 5)
        assert "Unsubscribed" in current(workspace, card).text
    assert len(toasts(workspace)) == 1


@pytest.mark.parametrize("code", ["token_revoked", "account_inactive", "missing_scope", "access_denied"])
async def test_outcome_that_needs_an_administrator(
    start: Start,
    workspace: Workspace,
    cellcast: Cellcast,
    clock: TestClock,
    capsys: pytest.CaptureFixture[str],
    code: str,
) -> None:
    """An outcome that needs an administrator is logged once with the next step, retried rarely, and delivered at last."""
    async with start() as bot:
        card = await ask(workspace)
        workspace.faults["chat.postMessage"] += [code] * 1000
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
        tries = workspace.api_calls.count("chat.postMessage")
        for _ in range(48):
            await advance(bot, clock, 1800)
        assert workspace.api_calls.count("chat.postMessage") - tries < 20
        workspace.faults["chat.postMessage"].clear()
        await advance(bot, clock, 4 * 3600)
    assert len(toasts(workspace)) == 1
    log = [json.loads(line) for line in capsys.readouterr().out.splitlines() if line.startswith("{")]
    (logged,) = [line for line in log if line["event"] == "outcome_undeliverable"]
    assert logged["step"] == "python -m bot check"


async def test_limits_of_the_fake(workspace: Workspace) -> None:
    """The fake counts messages by channel and other methods for everyone, and says how long to wait."""
    workspace.limits["chat.postMessage"] = 60.0, 2
    early = [workspace._early("chat.postMessage", {"channel": channel}) for channel in (NUMBERS, NUMBERS, NUMBERS, GIL)]
    assert early == [0, 0, 60, 0]
    assert workspace.limited == ["chat.postMessage"]

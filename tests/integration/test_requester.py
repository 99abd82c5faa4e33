"""The requester hears of the outcome: an edit of the card notifies nobody, so a new message mentions the requester."""

from __future__ import annotations

from dataclasses import replace

import pytest

from sandbox.fake_cellcast import ANSWERS, SUCCESS, Cellcast
from sandbox.fake_slack import Workspace
from tests.conftest import (
    ANA,
    BEN,
    GIL,
    NUMBER,
    NUMBERS,
    QUIET,
    Start,
    TestClock,
    advance,
    ask,
    card_buttons,
    current,
    public,
    settled,
    text_of,
    thread_of,
)

KEPT = f"<@{ANA}>: <@{BEN}> kept virtual number `{NUMBER}`. Nothing was sent to Cellcast."
EXPIRED = (
    f"<@{ANA}>: nobody confirmed virtual number `{NUMBER}` in time. Nothing was sent to Cellcast. "
    f"To unsubscribe the number, request it again with `/unsubscribe-number {NUMBER}`."
)


@pytest.mark.parametrize("answer", ["fine", "unknown number"])
async def test_toast_mentions_the_requester(
    start: Start, workspace: Workspace, cellcast: Cellcast, answer: str
) -> None:
    """If someone else confirmed, the toast mentions the requester in its blocks and its text, and else it doesn't."""
    async with start() as bot:
        for user in (BEN, ANA):
            cellcast.next.append(ANSWERS[answer])
            card = await ask(workspace)
            await workspace.click(user, card, "Unsubscribe Number")
            await settled(bot)
            toast = public(workspace)[-1]
            assert toast.mentions == {ANA, user}
            for said in (toast.text, text_of(toast)):
                assert (f"Requested by <@{ANA}>." in said) is (user == BEN)


async def test_kept_by_someone_else(start: Start, workspace: Workspace) -> None:
    """A reply in the card's thread mentions the requester, once; the channel gets no other message."""
    async with start() as bot:
        card = await ask(workspace)
        await workspace.click(BEN, card, "Keep Number")
        await settled(bot)
    assert thread_of(workspace, card) == [KEPT]
    assert workspace.notes[-1].mentions == {ANA, BEN}
    assert public(workspace) == [current(workspace, card)]


async def test_kept_by_the_requester(start: Start, workspace: Workspace) -> None:
    """Keeping one's own request notifies nobody."""
    async with start() as bot:
        card = await ask(workspace)
        await workspace.click(ANA, card, "Keep Number")
        await settled(bot)
    assert workspace.notes == [current(workspace, card)]


@pytest.mark.parametrize("by", ["the sweep", "a late click"])
async def test_expired(start: Start, workspace: Workspace, clock: TestClock, by: str) -> None:
    """If nobody confirmed in time, a reply in the thread mentions the requester and names the next step."""
    async with start() as bot:
        card = await ask(workspace)
        if by == "the sweep":
            await advance(bot, clock, 901)
        else:
            clock.advance(901)
            await workspace.click(BEN, card, "Unsubscribe Number")
            await settled(bot)
        await advance(bot, clock, 60)
    assert thread_of(workspace, card) == [EXPIRED]


@pytest.mark.parametrize("fault", ["500", "429", "drop_before", "update_failed"])
async def test_reply_that_slack_does_not_take_at_once(
    start: Start, workspace: Workspace, clock: TestClock, fault: str
) -> None:
    """The reply is a part of the delivery: it comes later, and once."""
    async with start() as bot:
        card = await ask(workspace)
        workspace.faults["chat.postMessage"].append(fault)
        await workspace.click(BEN, card, "Keep Number")
        await settled(bot)
        assert thread_of(workspace, card) == []
        for _ in range(3):
            await advance(bot, clock, 60)
    assert thread_of(workspace, card) == [KEPT]


async def test_reply_is_not_repeated(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """A delivery that is repeated after its reply was stored as posted posts none again."""
    async with start() as bot:
        card = await ask(workspace)
        await workspace.click(BEN, card, "Keep Number")
        await settled(bot)
        updates = workspace.api_calls.count("chat.update")
        with bot.ledger.database.transaction() as db:
            db.exec_driver_sql("UPDATE outcomes SET delivered_at = NULL, deliver_after = 0")
        await advance(bot, clock, 60)
    assert workspace.api_calls.count("chat.update") > updates
    assert thread_of(workspace, card) == [KEPT]


async def test_card_that_was_deleted(start: Start, workspace: Workspace) -> None:
    """If there is no card to reply to, a message in the channel says what happened and mentions the requester."""
    async with start() as bot:
        card = await ask(workspace)
        workspace.faults["chat.update"].append("message_not_found")
        workspace.faults["response_url"].append("message_not_found")
        await workspace.click(BEN, card, "Keep Number")
        await settled(bot)
    toast = public(workspace)[-1]
    assert toast.text.startswith(f"*Kept: virtual number* `{NUMBER}`")
    assert toast.mentions == {ANA, BEN}


async def test_channel_that_the_bot_is_not_in(start: Start, workspace: Workspace) -> None:
    """Where the bot cannot reply in a thread, the reply goes to the channel by the click's response_url."""
    async with start() as bot:
        card = await ask(workspace, channel=QUIET)
        await workspace.click(BEN, card, "Keep Number")
        await settled(bot)
    assert [note.text for note in public(workspace, QUIET)][1:] == [KEPT]


@pytest.mark.parametrize("reached", [[ANA, BEN], [ANA], []])
@pytest.mark.parametrize("label", ["Unsubscribe Number", "Keep Number"])
async def test_channel_that_takes_no_message(
    start: Start, workspace: Workspace, clock: TestClock, label: str, reached: list[str]
) -> None:
    """If only direct messages are left, the requester and the person who decided get one each, and none twice."""
    async with start(confirm_within_seconds="3600") as bot:
        await ask(workspace)
        await workspace.open_home(BEN)
        await settled(bot)
        workspace.channels[NUMBERS] = replace(workspace.channels[NUMBERS], private=True, bot=False)
        clock.advance(2000)  # the command's response_url is over
        button = next(b for b in card_buttons(workspace, BEN) if b["text"]["text"] == label)
        for user in {ANA, BEN}.difference(reached):
            workspace.people.pop(user)
        await workspace.click_in_home(BEN, button)
        await settled(bot)
        for _ in range(3):
            await advance(bot, clock, 120)
    assert [user for user in (ANA, BEN) for _ in public(workspace, f"D0{user}")] == reached


async def test_card_of_a_limited_channel(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """While Slack limits the channel, a kept card loses its buttons at once; the reply comes later."""
    async with start() as bot:
        cards = [await ask(workspace, text=f"{n:024x}") for n in range(2)]
        workspace.retry_after = 60
        workspace.faults["chat.postMessage"].append("429")
        await workspace.click(BEN, cards[0], "Unsubscribe Number")
        await settled(bot)
        await workspace.click(BEN, cards[1], "Keep Number")
        await settled(bot)
        assert not current(workspace, cards[1]).buttons
        assert thread_of(workspace, cards[1]) == []
        await advance(bot, clock, 63)
    assert len(thread_of(workspace, cards[1])) == 1


async def test_nobody_else_hears(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """A whole round mentions only the people who took part in it."""
    async with start() as bot:
        card = await ask(workspace, text=f"{NUMBER} for <@{GIL}>")
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
    assert SUCCESS in public(workspace, NUMBERS)[-1].text
    assert all(note.mentions <= {ANA, BEN} for note in workspace.notes)

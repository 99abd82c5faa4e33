"""A card whose posting Slack did not confirm may be there all the same: its buttons do what it says, or nothing."""

from __future__ import annotations

import asyncio

import pytest
import sqlalchemy as sa

from bot.app import Bot
from bot.domain.models import NewRequest
from bot.domain.status import OutcomeCode, Status
from bot.ledger.store import Ledger
from sandbox.fake_cellcast import SUCCESS, Cellcast
from sandbox.fake_slack import Note, Workspace
from tests.conftest import (
    ANA,
    BEN,
    NUMBER,
    NUMBERS,
    QUIET,
    REPEATED,
    Record,
    Start,
    TestClock,
    advance,
    ask,
    card_buttons,
    current,
    private,
    public,
    settled,
)


async def lose_card(bot: Bot, workspace: Workspace, user: str = ANA, text: str = NUMBER) -> Note:
    """Somebody requests, and the answer to the post of the card is lost; the card, which is there."""
    workspace.faults["chat.postMessage"].append("drop_after")
    card = await ask(workspace, user, text=text)
    await settled(bot)
    return card


def cards(workspace: Workspace) -> list[Note]:
    """The cards in the channel that can still be clicked."""
    return [note for note in public(workspace) if note.buttons]


@pytest.mark.parametrize("fault", ["drop_after", "hang", "500", "garbage", "internal_error"])
@pytest.mark.usefixtures("short_slack_timeout")
async def test_new_request_has_its_own_card(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, fault: str, reliability: Record
) -> None:
    """The second request has an id and a card of its own; the first card confirms nothing and closes when clicked."""
    workspace.faults["chat.postMessage"].append(fault)
    await workspace.command(ANA, NUMBERS, NUMBER)
    await settled(bot)
    assert "Slack did not confirm that it posted the card" in private(workspace, ANA)[0]
    assert "Nothing was sent" not in private(workspace, ANA)[0]
    fresh = await ask(workspace, BEN)
    await settled(bot)
    lost = [card for card in cards(workspace) if card.ts != fresh.ts]
    assert len(lost) == (fault == "drop_after")
    for card in lost:
        assert card.buttons["Keep Number"]["value"] != fresh.buttons["Keep Number"]["value"]
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
        assert "a later request replaced it" in private(workspace, BEN)[0]
        assert current(workspace, card).text.startswith("*Replaced: ")
    assert cellcast.calls == []
    await workspace.click(ANA, fresh, "Unsubscribe Number")
    await settled(bot)
    assert len(cellcast.calls) == 1
    assert cards(workspace) == []
    reliability("Slack", f"chat.postMessage of the card: {fault}", calls="one", told="ask again; then the toast")


async def test_lost_card_still_works_by_itself(bot: Bot, workspace: Workspace, cellcast: Cellcast) -> None:
    """As long as nobody has asked again, the lost card confirms its own request."""
    card = await lose_card(bot, workspace)
    await workspace.click(BEN, card, "Unsubscribe Number")
    await settled(bot)
    assert len(cellcast.calls) == 1
    assert public(workspace)[-1].text.startswith(SUCCESS)
    assert "Unsubscribed:" in current(workspace, card).text


async def test_dry_run_card_never_sends(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """A card that says "dry run" makes no call, even if a later request without a dry run has replaced it."""
    async with start(dry_run=True) as bot:
        card = await lose_card(bot, workspace)
    assert "Dry run" in card.text
    async with start() as bot:
        await ask(workspace)
        await settled(bot)
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
    assert cellcast.calls == []


async def test_deadline_of_the_card_holds(bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: TestClock) -> None:
    """A lost card confirms nothing after the deadline it shows, even if the number was requested again since."""
    card = await lose_card(bot, workspace)
    clock.advance(890)
    await ask(workspace, BEN)
    await settled(bot)
    clock.advance(600)
    await workspace.click(ANA, card, "Unsubscribe Number")
    await settled(bot)
    assert cellcast.calls == []


async def test_requester_of_a_lost_card_is_no_second_person(
    start: Start, workspace: Workspace, cellcast: Cellcast
) -> None:
    """With REQUIRE_SECOND_PERSON nobody confirms their own card because someone else has requested again."""
    async with start(require_second_person=True) as bot:
        card = await lose_card(bot, workspace)
        await ask(workspace, BEN)
        await settled(bot)
        await workspace.click(ANA, card, "Unsubscribe Number")
        await settled(bot)
    assert cellcast.calls == []


@REPEATED
async def test_both_requests_stay_in_the_record(bot: Bot, workspace: Workspace, clock: TestClock) -> None:
    """The first request keeps its requester and reason, ends as replaced, and the channel hears of it."""
    await lose_card(bot, workspace, text=f"{NUMBER} first")
    await ask(workspace, BEN, text=f"{NUMBER} second")
    await settled(bot)
    await advance(bot, clock, 1)
    (second, none), (first, outcomes) = await bot.ledger.history()
    assert (second.requested_by, second.reason, second.status, none) == (BEN, "second", Status.PENDING, [])
    assert (first.requested_by, first.reason, first.status) == (ANA, "first", Status.REPLACED)
    assert [outcome.code for outcome in outcomes] == [OutcomeCode.REPLACED]
    assert outcomes[0].delivered_at is not None
    told = public(workspace)[-1].text
    assert told.startswith("*Replaced: ")
    assert "Use the newer card" in told


async def test_closed_by_a_click_in_another_channel(bot: Bot, workspace: Workspace, cellcast: Cellcast) -> None:
    """The replaced card closes when it is clicked, also if the newer card is in another channel."""
    lost = await lose_card(bot, workspace)
    await ask(workspace, BEN, QUIET)
    await settled(bot)
    await workspace.click(BEN, lost, "Keep Number")
    await settled(bot)
    assert current(workspace, lost).text.startswith("*Replaced: ")
    assert cards(workspace) == []
    assert cellcast.calls == []


@REPEATED
async def test_replicas_replace_a_lost_card_once(database: str) -> None:
    """Of requests that reach several replicas at once one replaces the lost card; the others find the new one."""
    ledgers = [Ledger(database) for _ in range(3)]
    for ledger in ledgers:
        await ledger.open()
    for now in range(0, 60, 2):
        old, _ = await ledgers[0].create_request(NewRequest(NUMBER, "C1", "U1", float(now), 900.0))
        assert await ledgers[0].card_lost(old.id)
        asking = NewRequest(NUMBER, "C1", "U2", now + 1.0, 900.0)
        found = await asyncio.gather(*(ledger.create_request(asking) for ledger in ledgers))
        assert [fresh for _, fresh in found].count(True) == 1
        (new,) = {request.id for request, _ in found}
        assert new != old.id
        assert (await ledgers[0].require(old.id)).status is Status.REPLACED
        assert await ledgers[0].card_lost(new)
    for ledger in ledgers:
        ledger.close()


async def test_confirmed_in_home_while_slack_refuses_the_card(
    bot: Bot, workspace: Workspace, cellcast: Cellcast
) -> None:
    """A request whose card Slack refused can be confirmed in the App Home, so nobody reads that nothing was sent."""
    workspace.faults["chat.postMessage"].append("invalid_auth")
    await workspace.command(ANA, NUMBERS, NUMBER)
    await settled(bot)
    await workspace.open_home(BEN)
    await workspace.until(lambda: BEN in workspace.homes)
    await workspace.click_in_home(BEN, card_buttons(workspace, BEN)[0])
    await settled(bot)
    assert len(cellcast.calls) == 1
    assert "Slack did not post the card" in private(workspace, ANA)[0]
    assert "Nothing was sent" not in private(workspace, ANA)[0]


@REPEATED
async def test_card_is_remembered_after_an_outage(bot: Bot, workspace: Workspace, clock: TestClock) -> None:
    """If the database is away when the card has been posted, where it is gets stored a moment later."""
    failed: list[str] = []

    def executes(_db: sa.Connection, _cursor: object, statement: str, *_of_it: object) -> None:
        if "SET card_posted" in statement and not failed:
            failed.append(statement)
            raise sa.exc.OperationalError(statement, {}, Exception("away"))

    sa.event.listen(bot.ledger.database.engine, "before_cursor_execute", executes)
    card = await ask(workspace)
    await settled(bot)
    assert failed
    await advance(bot, clock, 901)
    assert current(workspace, card).text.startswith("*Expired: ")


async def test_slow_post_while_somebody_confirms(bot: Bot, workspace: Workspace, cellcast: Cellcast) -> None:
    """If the card was confirmed before the post failed, nobody reads that nothing was sent."""
    toasted = asyncio.Event()

    async def step(name: str) -> None:
        if name == "after chat.postMessage" and not toasted.is_set():
            await toasted.wait()

    workspace.on_step = step
    workspace.watch(lambda note: toasted.set() if note.text.startswith(SUCCESS) else None)
    workspace.faults["chat.postMessage"].append("drop_after")
    card = await ask(workspace)
    await workspace.click(BEN, card, "Unsubscribe Number")
    await settled(bot)
    assert len(cellcast.calls) == 1
    assert private(workspace, ANA) == []
    assert "Unsubscribed:" in current(workspace, card).text


@REPEATED
async def test_database_error_after_the_card_is_no_false_reply(
    bot: Bot, workspace: Workspace, cellcast: Cellcast
) -> None:
    """If the database fails after the card was posted and confirmed, nobody reads that nothing was done."""
    confirmed = asyncio.Event()
    failing: list[str] = []

    async def step(name: str) -> None:
        if name == "after chat.postMessage" and not confirmed.is_set():
            await confirmed.wait()

    def executes(_db: sa.Connection, _cursor: object, statement: str, *_of_it: object) -> None:
        if "CASE WHEN" in statement and "card_update_due" in statement and not failing:
            failing.append(statement)
            raise sa.exc.OperationalError(statement, {}, Exception("away"))

    sa.event.listen(bot.ledger.database.engine, "before_cursor_execute", executes)
    workspace.on_step = step
    card = await ask(workspace)
    await workspace.click(BEN, card, "Unsubscribe Number")
    await cellcast.called.wait()
    confirmed.set()
    await settled(bot)
    assert failing
    assert private(workspace, ANA) == []
    assert len(cellcast.calls) == 1

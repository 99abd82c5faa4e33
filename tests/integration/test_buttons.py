"""The buttons: who may click, what a click does, and that one yes makes one call."""

from __future__ import annotations

import asyncio
import re
from dataclasses import replace

import pytest
import sqlalchemy as sa

from bot.app import Bot
from bot.ledger.store import Ledger
from sandbox.fake_cellcast import ANSWERS, SUCCESS, Cellcast
from sandbox.fake_slack import Channel, Workspace
from tests.conftest import (
    ANA,
    BEN,
    GIL,
    NUMBER,
    NUMBERS,
    OTHER,
    QUIET,
    REPEATED,
    Start,
    TestClock,
    advance,
    ask,
    current,
    private,
    public,
    settled,
)


async def test_person_who_may_not_click(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, caplog: pytest.LogCaptureFixture
) -> None:
    """Who may not gets a private line with who may; the card stays; the log names person, team and request."""
    card = await ask(workspace)
    for label in card.buttons:
        await workspace.click(GIL, card, label)
    await settled(bot)
    assert (
        private(workspace, GIL) == [f"You don't have permission to unsubscribe numbers. Ask <@{ANA}> or <@{BEN}>."] * 2
    )
    assert public(workspace) == [card]
    assert cellcast.calls == []
    logged = [r.msg for r in caplog.records if isinstance(r.msg, dict) and r.msg["event"] == "access_denied"]
    request = card.buttons["Keep Number"]["value"].partition(":")[0]
    assert [(line["user"], line["team"], line["request"]) for line in logged] == [(GIL, "T0HOME", request)] * 2


async def test_member_of_another_company_clicks(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """A member of another company in a shared channel can click, and nothing happens."""
    async with start(allowed_users="*") as bot:
        card = await ask(workspace)
        await workspace.click(ANA, card, "Unsubscribe Number", team="T0OTHER")
        await settled(bot)
        assert "Only members" in private(workspace, ANA)[0]
        assert public(workspace) == [card]
    assert cellcast.calls == []


async def test_keep(bot: Bot, workspace: Workspace, cellcast: Cellcast) -> None:
    """Keep Number closes the card with who and when, and calls nobody."""
    card = await ask(workspace)
    await workspace.click(BEN, card, "Keep Number")
    await settled(bot)
    (closed,) = public(workspace)
    assert closed.text.startswith("*Kept: virtual number")
    assert f"Kept by <@{BEN}> (<!date^" in closed.text
    assert not closed.buttons
    assert cellcast.calls == []
    assert await ask(workspace)


async def test_card_says_that_the_call_is_under_way(bot: Bot, workspace: Workspace, cellcast: Cellcast) -> None:
    """After the yes the buttons go at once, before Cellcast has answered."""
    cellcast.hold = asyncio.Event()
    card = await ask(workspace)
    await workspace.click(BEN, card, "Unsubscribe Number")
    await workspace.until(lambda: not current(workspace, card).buttons)
    assert "*Unsubscribing virtual number" in current(workspace, card).text
    assert f"Confirmed by <@{BEN}>" in current(workspace, card).text
    assert len(public(workspace)) == 1
    cellcast.hold.set()


async def test_click_after_the_deadline(bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: TestClock) -> None:
    """A click after the time closes the card as expired and says so; nobody is called."""
    card = await ask(workspace)
    clock.advance(901)
    await workspace.click(BEN, card, "Unsubscribe Number")
    await settled(bot)
    (closed,) = public(workspace)
    assert closed.text.startswith("*Expired: virtual number")
    assert not closed.buttons
    assert "Nobody confirmed before the deadline" in private(workspace, BEN)[0]
    assert cellcast.calls == []


async def test_card_closes_by_itself(bot: Bot, workspace: Workspace, clock: TestClock) -> None:
    """Without a click the card closes when its time is over, and not before."""
    card = await ask(workspace)
    await settled(bot)
    await advance(bot, clock, 890)
    assert public(workspace) == [card]
    await advance(bot, clock, 11)
    (closed,) = public(workspace)
    assert "Nobody confirmed before the deadline. Nothing was sent to Cellcast." in closed.text
    assert not closed.buttons


async def test_card_that_cannot_be_changed_expires_with_a_message(
    bot: Bot, workspace: Workspace, clock: TestClock, cellcast: Cellcast
) -> None:
    """Where the bot cannot change the card, a message says that it expired; a click on it then closes it."""
    card = await ask(workspace, channel=QUIET)
    await settled(bot)
    await advance(bot, clock, 901)
    assert public(workspace, QUIET)[1].text.startswith("*Expired: ")
    await workspace.click(ANA, card, "Unsubscribe Number")
    await settled(bot)
    assert not current(workspace, card).buttons
    assert "Request it again" in private(workspace, ANA)[0]
    assert cellcast.calls == []


@REPEATED
async def test_ten_clicks_at_once(bot: Bot, workspace: Workspace, cellcast: Cellcast) -> None:
    """Of many clicks at the same moment one makes the call; the others learn who did."""
    card = await ask(workspace)
    payloads = [workspace.click_payload(user, card, "Unsubscribe Number") for user in (ANA, BEN) * 5]
    await asyncio.gather(*(workspace.send("interactive", p) for p in payloads))
    await settled(bot)
    assert len(cellcast.calls) == 1
    assert len(public(workspace)) == 2
    assert len(private(workspace, ANA) + private(workspace, BEN)) == 9
    assert "Unsubscribed:" in current(workspace, card).text


@REPEATED
async def test_keep_and_unsubscribe_at_once(bot: Bot, workspace: Workspace, cellcast: Cellcast) -> None:
    """Of a yes and a no at the same moment one counts, and the card tells which."""
    card = await ask(workspace)
    await asyncio.gather(workspace.click(ANA, card, "Keep Number"), workspace.click(BEN, card, "Unsubscribe Number"))
    await settled(bot)
    kept = "Kept" in current(workspace, card).text
    assert len(cellcast.calls) == (0 if kept else 1)


@REPEATED
async def test_the_same_click_delivered_again(bot: Bot, workspace: Workspace, cellcast: Cellcast) -> None:
    """A payload that Slack sends again, or that somebody replays later, makes no second call."""
    cellcast.next.append(ANSWERS["server error"])
    card = await ask(workspace)
    payload = workspace.click_payload(BEN, card, "Unsubscribe Number")
    for _ in range(3):
        await workspace.send("interactive", payload)
        await settled(bot)
    assert len(cellcast.calls) == 1
    assert "Try Again" in current(workspace, card).buttons


@pytest.mark.parametrize(
    ("first", "says"),
    [
        ("Unsubscribe Number", "The number is unsubscribed"),
        ("Keep Number", "already clicked Keep Number"),
    ],
)
async def test_click_on_a_closed_card(bot: Bot, workspace: Workspace, first: str, says: str) -> None:
    """A click on a card that an outdated client still shows learns who decided."""
    card = await ask(workspace)
    await workspace.click(BEN, card, first)
    await settled(bot)
    before = public(workspace)
    await workspace.click(ANA, card, "Unsubscribe Number")
    await settled(bot)
    (line,) = private(workspace, ANA)
    assert f"<@{BEN}>" in line
    assert says in line
    assert [n.text for n in public(workspace)] == [n.text for n in before]


async def test_click_while_the_call_runs(bot: Bot, workspace: Workspace, cellcast: Cellcast) -> None:
    """A click during the call learns that it is under way."""
    cellcast.hold = asyncio.Event()
    card = await ask(workspace)
    await workspace.click(BEN, card, "Unsubscribe Number")
    await workspace.click(ANA, card, "Keep Number")
    await workspace.until(lambda: private(workspace, ANA))
    assert re.search(r"already confirmed this \(<!date.*>\)\. The outcome will follow\.", private(workspace, ANA)[0])
    cellcast.hold.set()
    await settled(bot)
    assert len(cellcast.calls) == 1


@REPEATED
@pytest.mark.parametrize("value", ["", "0" * 32 + ":0", "nonsense", "0" * 32 + ":99999999", None])
async def test_forged_button(bot: Bot, workspace: Workspace, cellcast: Cellcast, value: str | None) -> None:
    """A button value that the bot never made is answered, and does nothing."""
    card = await ask(workspace)
    for label in card.buttons:
        payload = workspace.click_payload(BEN, card, label)
        if value is None:
            del payload["actions"][0]["value"]
        else:
            payload["actions"][0]["value"] = value
        await workspace.send("interactive", payload)
    await settled(bot)
    assert len(private(workspace, BEN)) == 2
    assert "again with the command" in private(workspace, BEN)[0]
    assert public(workspace) == [card]
    assert cellcast.calls == []


async def test_confirming_a_value_ahead_of_its_attempt(bot: Bot, workspace: Workspace, cellcast: Cellcast) -> None:
    """A value that claims attempts which never were confirms nothing, and the card stays."""
    card = await ask(workspace)
    payload = workspace.click_payload(BEN, card, "Unsubscribe Number")
    payload["actions"][0]["value"] = payload["actions"][0]["value"].replace(":0", ":1")
    await workspace.send("interactive", payload)
    await settled(bot)
    assert "This card has changed" in private(workspace, BEN)[0]
    assert current(workspace, card).buttons
    assert cellcast.calls == []


async def test_second_person(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """With REQUIRE_SECOND_PERSON who asked can keep but not confirm, and the card says so."""
    async with start(require_second_person="true") as bot:
        card = await ask(workspace, ANA)
        assert f"Someone other than <@{ANA}> must confirm." in card.text
        await workspace.click(ANA, card, "Unsubscribe Number")
        await settled(bot)
        assert "someone else must confirm" in private(workspace, ANA)[0]
        assert public(workspace) == [card]
        assert cellcast.calls == []
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
        assert len(cellcast.calls) == 1
        kept = await ask(workspace, ANA)
        await workspace.click(ANA, kept, "Keep Number")
        await settled(bot)
        assert "Kept" in current(workspace, kept).text


async def test_unexpected_error_gives_a_reference(
    workspace: Workspace, start: Start, cellcast: Cellcast, database: str
) -> None:
    """What nobody expected gives the person a reference number, and the log the same; the card stays."""
    with pytest.raises(AssertionError, match="unexpected"):  # the log holds one, which every other test forbids
        async with start() as bot:
            card = await ask(workspace)
            await settled(bot)
            ledger = Ledger(database)
            with ledger.database.transaction() as db:
                db.execute(sa.text("UPDATE requests SET status = 'nonsense'"))
            ledger.close()
            ack = await workspace.click(BEN, card, "Keep Number")
            assert ack.status == 200
            await workspace.command(BEN, NUMBERS, NUMBER)
            await settled(bot)
    for line in private(workspace, BEN):
        assert "Please give an administrator the reference" in line
    assert len(private(workspace, BEN)) == 2
    assert public(workspace) == [card]
    assert cellcast.calls == []


async def test_things_the_bot_does_not_know(bot: Bot, workspace: Workspace, cellcast: Cellcast) -> None:
    """A button or command that is not the bot's, and a payload that cannot be read, are answered."""
    card = await ask(workspace)
    payload = workspace.click_payload(BEN, card, "Keep Number")
    payload["actions"][0]["action_id"] = "dance"
    await workspace.send("interactive", payload)
    await workspace.send("interactive", payload | {"actions": []})
    nowhere = workspace.click_payload(BEN, card, "Keep Number")
    del nowhere["channel"], nowhere["container"]["channel_id"]
    await workspace.send("interactive", nowhere)
    fields = workspace.sent[0] | {"command": "/dance"}
    answer = await workspace.send("slash_commands", fields)
    assert "The bot knows only the command `/unsubscribe-number`" in answer.body
    answer = await workspace.send("slash_commands", {"command": "/unsubscribe-number"})
    assert "could not read what Slack sent" in answer.body
    await settled(bot)
    assert sorted(line[:24] for line in private(workspace, BEN)) == [
        "The bot could not read w",
        "The bot could not read w",
        "The bot no longer knows ",
    ]
    assert current(workspace, card).buttons
    assert cellcast.calls == []


async def test_keep_after_the_deadline(bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: TestClock) -> None:
    """Keep Number after the deadline keeps nothing: the card expires, and the person reads so."""
    card = await ask(workspace)
    await settled(bot)
    clock.advance(901)
    await workspace.click(BEN, card, "Keep Number")
    await settled(bot)
    assert current(workspace, card).text.startswith("*Expired: ")
    assert "Nobody confirmed before the deadline" in private(workspace, BEN)[0]


@pytest.mark.parametrize("label", ["Unsubscribe Number", "Keep Number"])
async def test_decision_has_its_time(bot: Bot, workspace: Workspace, clock: TestClock, label: str) -> None:
    """Card and toast say when somebody clicked, not when the outcome came."""
    card = await ask(workspace)
    await settled(bot)
    clock.advance(100)
    now = clock.now()
    await workspace.click(BEN, card, label)
    await settled(bot)
    for note in public(workspace):
        said = re.search(rf"(?:Confirmed|Kept) by <@{BEN}>,? \(?<!date\^(\d+)", note.text)
        assert said
        assert 0 <= int(said[1]) - int(now) < 10


async def test_second_person_clicks_in_vain(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """With REQUIRE_SECOND_PERSON only the requester reads that someone else must confirm, whoever else is too late."""
    async with start(require_second_person="true") as bot:
        card, late = await ask(workspace, ANA), await ask(workspace, ANA, text=OTHER)
        for _ in range(2):
            await workspace.click(BEN, card, "Unsubscribe Number")
            await settled(bot)
        clock.advance(901)
        await workspace.click(BEN, late, "Unsubscribe Number")
        await settled(bot)
    again, too_late = private(workspace, BEN)
    assert "The number is unsubscribed" in again
    assert "Nobody confirmed before the deadline" in too_late


async def test_outcome_comes_where_it_was_confirmed(bot: Bot, workspace: Workspace, cellcast: Cellcast) -> None:
    """A click names where its card is: after a channel got another id, the card is changed and the toast comes there."""
    card = await ask(workspace)
    await settled(bot)
    payload = workspace.click_payload(BEN, card, "Unsubscribe Number")
    moved = replace(card, channel="C0MOVED", ts="1700000000.000001")
    workspace.channels["C0MOVED"] = Channel("C0MOVED", "numbers")
    workspace.notes[workspace.notes.index(card)] = moved
    payload["channel"]["id"] = payload["container"]["channel_id"] = moved.channel
    payload["container"]["message_ts"] = moved.ts
    del payload["response_url"]
    await workspace.send("interactive", payload)
    await settled(bot)
    closed, toast = public(workspace, "C0MOVED")
    assert closed.text.startswith("*Unsubscribed: ")
    assert toast.text.startswith(SUCCESS)

"""/unsubscribe-number: what people type, who may, and where the card stands."""

from __future__ import annotations

import asyncio

import pytest

from bot.app import Bot
from sandbox.fake_cellcast import Cellcast
from sandbox.fake_slack import Workspace
from tests.conftest import (
    ANA,
    BEN,
    DIRECT,
    GIL,
    NUMBER,
    NUMBERS,
    QUIET,
    SECRET,
    Start,
    TestClock,
    ask,
    private,
    public,
    settled,
    text_of,
)


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(NUMBER, id="plain"),
        pytest.param(f"“{NUMBER.upper()}”.", id="upper case, smart quotes and a full stop"),
    ],
)
async def test_id_is_taken_with_clutter(bot: Bot, workspace: Workspace, text: str) -> None:
    """The id is found in what people paste, and the card names it in lower case."""
    card = await ask(workspace, text=text)
    assert f"`{NUMBER}`" in card.text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("<!channel> & co", "&lt;!channel&gt; &amp; co", id="would alert everyone"),
        pytest.param(f"{NUMBER} {'x' * 201}", "The reason is too long: it has 201 characters", id="a long reason"),
        pytest.param("payload", "This is not the id of a virtual number: payload", id="the word payload"),
    ],
)
async def test_wrong_text_is_answered_privately(bot: Bot, workspace: Workspace, text: str, says: str) -> None:
    """What is wrong is told privately, harmlessly echoed, with an example; the channel shows nothing."""
    await workspace.command(ANA, NUMBERS, text)
    (line,) = private(workspace, ANA)
    assert says in line
    assert "Example: `/unsubscribe-number 66ea98514f0c1a121c76ec17`" in line or "reason is too long" in line
    assert "<!" not in line
    assert public(workspace) == []


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(f"{NUMBER} <!channel> & co", "&lt;!channel&gt; &amp; co", id="would alert everyone"),
        pytest.param(f"{NUMBER} \x00payload", "payload", id="NUL"),
    ],
)
async def test_reason_stands_everywhere(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, text: str, reason: str
) -> None:
    """The reason stands harmless on the card in each state, in the toast and in the record."""
    card = await ask(workspace, text=text)
    assert f"\nReason: {reason}" in card.text
    await workspace.click(BEN, card, "Unsubscribe Number")
    await settled(bot)
    await workspace.command(ANA, NUMBERS, "history")
    shown, toast = public(workspace)
    for line in (shown.text, toast.text, private(workspace, ANA)[0]):
        assert f"Reason: {reason}" in line
    assert len(cellcast.calls) == 1


@pytest.mark.parametrize("text", ["", "`Help`"])
async def test_help_is_private(bot: Bot, workspace: Workspace, text: str) -> None:
    """No text or `help` answers with what the command does, an example, and who may use it; anyone may read it."""
    await workspace.command(GIL, NUMBERS, text)
    (line,) = private(workspace, GIL)
    assert "unsubscribes one virtual number at Cellcast" in line
    assert "Example: `/unsubscribe-number 66ea" in line
    assert f"<@{ANA}> and <@{BEN}> can request and confirm." in line
    assert public(workspace) == []


async def test_person_who_may_not_ask(bot: Bot, workspace: Workspace) -> None:
    """Who is not allowed learns so privately, with whom to ask; nothing appears in the channel."""
    await workspace.command(GIL, NUMBERS, NUMBER)
    assert private(workspace, GIL) == [f"You don't have permission to unsubscribe numbers. Ask <@{ANA}> or <@{BEN}>."]
    assert public(workspace) == []


async def test_channel_where_it_may_not_be_used(start: Start, workspace: Workspace) -> None:
    """In a channel that is not allowed nothing appears, and the line says where it may be used."""
    async with start(allowed_channels=NUMBERS, allowed_users="*"):
        await workspace.command(ANA, DIRECT, NUMBER)
        assert private(workspace, ANA) == [
            f"Numbers can't be unsubscribed in this channel. Use the command in <#{NUMBERS}>."
        ]
        assert public(workspace, DIRECT) == []
        assert await ask(workspace, GIL)


async def test_long_lists_are_cut(start: Start, workspace: Workspace) -> None:
    """A refusal names ten people and counts the others."""
    users = ",".join(f"U{n:05d}" for n in range(13))
    async with start(allowed_users=users, allowed_channels=f"{NUMBERS},{QUIET}"):
        await workspace.command(GIL, NUMBERS, NUMBER)
    (line,) = private(workspace, GIL)
    assert "<@U00009> or 3 more people in <#C0NUMBERS> or <#C0QUIET>." in line


async def test_member_of_another_company(start: Start, workspace: Workspace) -> None:
    """A member of another workspace may not ask, whatever the user id."""
    async with start(allowed_users="*"):
        await workspace.command(ANA, NUMBERS, NUMBER, team="T0OTHER")
        assert "Only members of the workspaces that use this bot" in private(workspace, ANA)[0]
    async with start(allowed_teams="T0OTHER"):
        await workspace.command(ANA, NUMBERS, NUMBER, team="T0OTHER")
        await workspace.until(lambda: public(workspace))


async def test_card(bot: Bot, workspace: Workspace) -> None:
    """The card says what, by whom, until when, and that no undo is documented; the text says all of it."""
    card = await ask(workspace)
    assert card.text == text_of(card)
    assert card.text.startswith(f"*Unsubscribe virtual number* `{NUMBER}`?")
    assert f"Requested by <@{ANA}>. It can be confirmed until <!date^" in card.text
    assert "No undo is documented" in card.text
    unsubscribe, keep = card.buttons["Unsubscribe Number"], card.buttons["Keep Number"]
    assert unsubscribe["style"] == "danger"
    assert NUMBER in unsubscribe["confirm"]["text"]["text"]
    assert "style" not in keep
    assert "confirm" not in keep


@pytest.mark.parametrize("channel", [QUIET, SECRET, DIRECT])
async def test_card_where_the_bot_is_no_member(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, channel: str
) -> None:
    """Where the bot is no member the whole round goes by response_url: card, under way, end, toast."""
    card = await ask(workspace, channel=channel)
    await workspace.click(BEN, card, "Unsubscribe Number")
    await settled(bot)
    shown, toast = public(workspace, channel)
    assert "Unsubscribed:" in shown.text
    assert not shown.buttons
    assert "successfully" in toast.text
    assert len(cellcast.calls) == 1


async def test_second_request_points_to_the_open_card(bot: Bot, workspace: Workspace) -> None:
    """A second asking for a number gets a link to its open card, and no other card."""
    card = await ask(workspace)
    await settled(bot)
    await workspace.command(BEN, NUMBERS, NUMBER)
    await settled(bot)
    (line,) = private(workspace, BEN)
    assert f"<https://stand-in.slack.example/archives/{NUMBERS}/p{card.ts.replace('.', '')}|Go to the card>" in line
    assert f"requested by <@{ANA}>" in line
    assert "It can be confirmed until" in line
    assert public(workspace) == [card]


async def test_second_request_while_the_call_runs(bot: Bot, workspace: Workspace, cellcast: Cellcast) -> None:
    """While the call runs a second asking learns who confirmed."""
    cellcast.hold = asyncio.Event()
    card = await ask(workspace)
    await workspace.click(BEN, card, "Unsubscribe Number")
    await workspace.command(ANA, NUMBERS, NUMBER)
    await workspace.until(lambda: private(workspace, ANA))
    assert f"was confirmed by <@{BEN}> and is in progress" in private(workspace, ANA)[0]
    cellcast.hold.set()


async def test_second_request_where_no_link_can_be_had(bot: Bot, workspace: Workspace) -> None:
    """Where Slack gives no link, the channel is named instead."""
    card = await ask(workspace)
    await settled(bot)
    workspace.faults["chat.getPermalink"].append("channel_not_found")
    await workspace.command(BEN, QUIET, NUMBER)
    await settled(bot)
    assert f"Look for the card in <#{NUMBERS}>" in private(workspace, BEN)[0]
    assert public(workspace) == [card]


async def test_second_request_where_nobody_knows_the_place_of_the_card(bot: Bot, workspace: Workspace) -> None:
    """A card that went by response_url has no link: the channel is named."""
    card = await ask(workspace, channel=QUIET)
    await settled(bot)
    await workspace.command(BEN, QUIET, NUMBER)
    await settled(bot)
    assert f"Look for the card in <#{QUIET}>" in private(workspace, BEN)[0]
    assert public(workspace, QUIET) == [card]


async def test_two_people_ask_at_once(bot: Bot, workspace: Workspace) -> None:
    """Of askings at the same moment one posts the card."""
    await asyncio.gather(*(workspace.command(user, NUMBERS, NUMBER) for user in (ANA, BEN) * 5))
    await settled(bot)
    assert len(public(workspace)) == 1


@pytest.mark.parametrize("fault", ["missing_scope", "invalid_auth"])
async def test_card_that_slack_refuses(bot: Bot, workspace: Workspace, fault: str) -> None:
    """A card that Slack surely did not take is told so, and the next asking posts it."""
    workspace.faults["chat.postMessage"].append(fault)
    await workspace.command(ANA, NUMBERS, NUMBER)
    await settled(bot)
    assert "Slack did not post the card" in private(workspace, ANA)[0]
    assert public(workspace) == []
    assert await ask(workspace)


async def test_card_while_slack_refuses_all(bot: Bot, workspace: Workspace) -> None:
    """Where even the private line is not taken, nothing happens, and the next asking works."""
    workspace.faults["chat.postMessage"].append("is_archived")
    workspace.faults["response_url"] += ["429", "drop_before", "drop_before"]
    await workspace.command(ANA, NUMBERS, NUMBER)
    await settled(bot)
    assert workspace.notes == []
    assert await ask(workspace)


async def test_request_again_after_the_deadline(bot: Bot, workspace: Workspace, clock: TestClock) -> None:
    """An asking after the open card's time gets a fresh request, before any sweep has come by."""
    first = await ask(workspace)
    clock.advance(901)
    second = await ask(workspace)
    await bot.scheduler.sweep()
    await settled(bot)
    old, new = public(workspace)
    assert (old.ts, new.ts) == (first.ts, second.ts)
    assert "Expired" in old.text
    assert new.buttons

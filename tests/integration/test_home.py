"""The App Home: what permitted people see and do there, and what nobody else sees."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from bot.app import Bot
from bot.service.home_publisher import AGAIN, EVERY
from sandbox.fake_cellcast import ANSWERS, Answer, Cellcast, failure
from sandbox.fake_slack import Channel, Workspace
from tests.conftest import (
    ANA,
    BEN,
    GIL,
    NUMBER,
    NUMBERS,
    OTHER,
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
from tests.messages import said_by


def said(workspace: Workspace, user: str) -> str:
    """All that a person's App Home says."""
    return said_by(workspace.homes[user])


def labels(workspace: Workspace, user: str) -> list[str]:
    """The buttons of the cards in a person's App Home."""
    return [button["text"]["text"] for button in card_buttons(workspace, user)]


async def look(bot: Bot, workspace: Workspace, user: str) -> str:
    """Open the App Home and return what it says."""
    workspace.homes.pop(user, None)
    await workspace.open_home(user)
    await workspace.until(lambda: user in workspace.homes)
    await settled(bot)
    return said(workspace, user)


async def test_nothing_yet(start: Start, workspace: Workspace, mode: str) -> None:
    """An empty home says what to do, who may, and which account the bot acts on."""
    async with start() as bot:
        await settled(bot)
        shown = await look(bot, workspace, ANA)
    assert "No request is waiting for confirmation. Make one with the button, or with `/unsubscribe-number`" in shown
    assert "No request has an outcome yet." in shown
    assert f"<@{ANA}> and <@{BEN}> can request and confirm." in shown
    assert "Cellcast account: Stand-in Pty Ltd" in shown
    assert "Dry run" not in shown


async def test_click_in_home(
    start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock, mode: str
) -> None:
    """A request is confirmed from the home: one call, the card in the channel closed, the toast, and an updated home."""
    async with start() as bot:
        await ask(workspace, text=f"{NUMBER} campaign ended")
        shown = await look(bot, workspace, BEN)
        assert f"*Unsubscribe virtual number* `{NUMBER}`?" in shown
        assert f"Reason: campaign ended\nIn <#{NUMBERS}>" in shown
        assert labels(workspace, BEN) == ["Unsubscribe Number", "Keep Number"]
        await workspace.click_in_home(BEN, card_buttons(workspace, BEN)[0])
        await settled(bot)
        await advance(bot, clock, EVERY)  # the confirmation was shown at once, the outcome so soon after it is not
    assert labels(workspace, BEN) == []
    card, toast = public(workspace)
    assert not card.buttons
    assert toast.text.startswith("Virtual number has been unsubscribed successfully.")
    assert len(cellcast.calls) == 1
    shown = said(workspace, BEN)
    assert f"*Unsubscribed: virtual number* `{NUMBER}`\nConfirmed by" in shown
    assert "Latest outcomes\n*Unsubscribed" in shown
    assert f"Confirmed by <@{BEN}>" in shown
    assert "Cellcast's message: Virtual number has been" in shown
    assert "Reason: campaign ended" in shown


async def test_changes_that_come_quickly(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """The home is published at once, then at most every two seconds; the last change is never left out."""
    async with start() as bot:
        await look(bot, workspace, BEN)
        published = workspace.api_calls.count("views.publish")
        for n in range(5):
            await ask(workspace, text=f"{n:024x}")
        await advance(bot, clock, EVERY - 0.5)
        assert workspace.api_calls.count("views.publish") == published + 1
        await advance(bot, clock, 0.5)
        await advance(bot, clock, 60)
        assert workspace.api_calls.count("views.publish") == published + 2
    assert f"{4:024x}" in said(workspace, BEN)


async def test_page_that_takes_long(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """If a change comes while a page is on its way to Slack, that page is not the last one."""
    reached, go_on = asyncio.Event(), asyncio.Event()

    async def wait(step: str) -> None:
        if step == "before views.publish":
            reached.set()
            await go_on.wait()

    async with start() as bot:
        workspace.on_step = wait
        await workspace.open_home(BEN)
        await reached.wait()
        await ask(workspace)
        go_on.set()
        await advance(bot, clock, EVERY)
        await advance(bot, clock, EVERY)
    assert NUMBER in said(workspace, BEN)


async def test_stop_shows_the_last_outcome(start: Start, workspace: Workspace) -> None:
    """A call that ends while the bot stops is shown in the home: nobody else knows who looks at it."""
    async with start() as bot:
        await look(bot, workspace, BEN)
        card = await ask(workspace)
        await settled(bot)
        await workspace.click(BEN, card, "Unsubscribe Number")
    assert "*Unsubscribed" in said(workspace, BEN)


async def test_stop_does_not_wait_for_the_home(start: Start, workspace: Workspace) -> None:
    """A bot that has just published the home stops at once: the next one publishes it again when it is opened."""
    async with start() as bot:
        await look(bot, workspace, BEN)
        await ask(workspace)
        await workspace.until(lambda: labels(workspace, BEN))
        began = time.monotonic()
    assert time.monotonic() - began < EVERY / 2


async def test_second_click_in_home(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """Who clicks in the home after another is told in a dialog, for there is no channel to answer in."""
    async with start() as bot:
        card = await ask(workspace)
        await look(bot, workspace, BEN)
        unsubscribe, keep = card_buttons(workspace, BEN)
        await workspace.click(ANA, card, "Keep Number")
        await workspace.click_in_home(BEN, unsubscribe)
        await workspace.click_in_home(BEN, keep)
        await settled(bot)
    assert cellcast.calls == []
    assert [user for user, _ in workspace.dialogs] == [BEN, BEN]
    for _, view in workspace.dialogs:
        assert view["title"]["text"] == "Cellcast numbers"
        assert f"<@{ANA}>" in view["blocks"][0]["text"]["text"]
        assert "already clicked Keep Number" in view["blocks"][0]["text"]["text"]


async def test_only_permitted_people_see_the_record(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """Who may not use the bot, and people of other workspaces, see who may, and no number; nor can they click."""
    async with start(allowed_users="*") as bot:
        await ask(workspace)
        workspace.teams[GIL] = "T0OTHER"
        shown = await look(bot, workspace, GIL)
        assert "Only members of the workspaces that use this bot" in shown
        assert NUMBER not in json.dumps(workspace.homes[GIL])
        await look(bot, workspace, BEN)
        button = card_buttons(workspace, BEN)[0]
        workspace.homes[GIL] = workspace.homes[BEN]
        await workspace.click_in_home(GIL, button, team="T0OTHER")
        await settled(bot)
        assert "Only members of the workspaces" in workspace.dialogs[0][1]["blocks"][0]["text"]["text"]
    async with start(allowed_users=f"{ANA},{BEN}") as bot:
        assert f"You don't have permission to unsubscribe numbers. Ask <@{ANA}> or <@{BEN}>." in await look(
            bot, workspace, BEN + "X"
        )
    assert cellcast.calls == []


async def test_rules_hold_in_home(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """The second person, the channel of the request and forged values are looked at in the home too."""
    async with start(require_second_person="true") as bot:
        await ask(workspace)
        await look(bot, workspace, BEN)
        button = card_buttons(workspace, BEN)[0]
        await look(bot, workspace, ANA)  # whose page has no such button
        await workspace.click_in_home(ANA, button)
        await workspace.click_in_home(ANA, button | {"value": "x"})
        await workspace.click_in_home(ANA, button | {"value": f"{'0' * 32}:0"})
        await settled(bot)
    async with start(allowed_channels="C0OTHER") as bot:
        await workspace.click_in_home(ANA, button)
        await settled(bot)
    told = [view["blocks"][0]["text"]["text"] for _, view in workspace.dialogs]
    assert "so someone else must confirm it" in told[0]
    assert "no longer knows this button" in told[1]
    assert "no record of this request" in told[2]
    assert "can't be unsubscribed in this channel" in told[3]
    assert cellcast.calls == []


async def test_what_waits_for_the_person_comes_first(
    start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock
) -> None:
    """What a person can confirm comes first, with all buttons; the others can only be kept; then the outcomes."""
    cellcast.next.append(ANSWERS["server error"])
    async with start(require_second_person="true") as bot:
        tried = await ask(workspace, ANA, text=f"{3:024x}")
        await workspace.click(BEN, tried, "Unsubscribe Number")
        await settled(bot)
        await ask(workspace, ANA, text=f"{1:024x}")
        await ask(workspace, BEN, text=f"{2:024x}")
        shown = await look(bot, workspace, BEN)
        order = ["Waiting for you", f"{3:024x}", f"{1:024x}", "Other open requests", f"{2:024x}", "Latest outcomes"]
        places = [shown.index(part) for part in order]
        assert places == sorted(places)
        assert labels(workspace, BEN) == ["Try Again", "Unsubscribe Number", "Keep Number", "Keep Number"]
        shown = await look(bot, workspace, ANA)
        assert shown.index("Waiting for you") < shown.index(f"{2:024x}") < shown.index("Other open requests")
        assert labels(workspace, ANA) == ["Unsubscribe Number", "Keep Number", "Keep Number"]


async def test_people_with_one_right(start: Start, workspace: Workspace) -> None:
    """Who can only request gets no red button, and who can only confirm gets no button for a request."""
    async with start(allowed_users=ANA, approvers=BEN) as bot:
        await ask(workspace, ANA)
        assert "Waiting for you" not in await look(bot, workspace, ANA)
        assert labels(workspace, ANA) == ["Keep Number"]
        assert len(workspace.home_buttons(ANA)) == 2
        assert "Waiting for you" in await look(bot, workspace, BEN)
        assert len(workspace.home_buttons(BEN)) == 2
        assert labels(workspace, BEN) == ["Unsubscribe Number", "Keep Number"]
        workspace.homes[BEN] = workspace.homes[ANA]
        await workspace.click_in_home(BEN, workspace.home_buttons(BEN)[0])
        await settled(bot)
    ((who, view),) = workspace.dialogs
    assert (who, view["blocks"][0]["text"]["text"]) == (
        BEN,
        f"You don't have permission to request numbers. Ask <@{ANA}>.",
    )


async def test_request_in_progress(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """A request whose call is under way waits for nobody, nor does one in a channel that is not allowed."""
    cellcast.hold = asyncio.Event()
    async with start() as bot:
        card = await ask(workspace)
        await workspace.click(BEN, card, "Unsubscribe Number")
        await workspace.until(lambda: not current(workspace, card).buttons)
        workspace.homes.clear()
        await workspace.open_home(BEN)
        await workspace.until(lambda: BEN in workspace.homes)
        assert "Waiting for you" not in said(workspace, BEN)
        assert "Open requests" in said(workspace, BEN)
        cellcast.hold.set()
        await settled(bot)
        await ask(workspace, text=OTHER)
    async with start(allowed_channels="C0OTHER") as bot:
        assert "Waiting for you" not in await look(bot, workspace, BEN)


async def test_groups_that_slack_cannot_read(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """While Slack does not say who can confirm, the page comes without those buttons, and with them a bit later."""
    workspace.groups["S0ADMINS"] = [BEN]
    async with start(allowed_users=f"{ANA},{BEN}", approvers="S0ADMINS") as bot:
        await ask(workspace, ANA)
        workspace.faults["usergroups.users.list"].append("500")
        await look(bot, workspace, BEN)
        assert labels(workspace, BEN) == ["Keep Number"]
        await advance(bot, clock, AGAIN)
        await workspace.until(lambda: "Unsubscribe Number" in labels(workspace, BEN))


async def test_page_without_permission_is_one_screen(start: Start, workspace: Workspace) -> None:
    """Who has no permission sees a heading and one paragraph, however much there is."""
    async with start() as bot:
        for n in range(10):
            await ask(workspace, text=f"{n:024x}")
        shown = await look(bot, workspace, GIL)
    assert [block["type"] for block in workspace.homes[GIL]] == ["header", "section"]
    assert len(shown) < 200


async def test_home_shows_dry_run(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """In a dry run the home says so."""
    async with start(dry_run="true") as bot:
        assert "*Dry run:* nothing is sent to Cellcast." in await look(bot, workspace, ANA)


async def test_home_without_the_account(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """Where the account cannot be read, the home leaves it out."""
    await cellcast.stop()
    async with start() as bot:
        await settled(bot)
        assert "Cellcast account" not in await look(bot, workspace, ANA)


async def test_home_with_a_wrong_key(start: Start, workspace: Workspace) -> None:
    """A key that Cellcast does not take has no account to show."""
    async with start(cellcast_api_key="wrong-key-of-nobody") as bot:
        await settled(bot)
        assert "Cellcast account" not in await look(bot, workspace, ANA)


async def test_home_with_much_in_it(start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock) -> None:
    """Twenty outcomes, newest first, and twenty open requests; the rest is counted."""
    async with start() as bot:
        for number in range(22):
            cellcast.next.append(ANSWERS["unknown number"])
            card = await ask(workspace, text=f"{number:024x} {'<reason> & ' * 18}")
            await workspace.click(BEN, card, "Unsubscribe Number")
            await settled(bot)
            clock.advance(1)
        for number in range(23):
            await ask(workspace, text=f"{number + 100:024x} {'<reason> & ' * 18}")
            clock.advance(1)
        shown = await look(bot, workspace, ANA)
    assert "3 more requests are open. Their cards are in the channels." in shown
    assert shown.count("*Not unsubscribed: virtual number") == 20
    assert f"{21:024x}" in shown
    assert f"{1:024x}" not in shown
    assert len(labels(workspace, ANA)) == 40


@pytest.mark.parametrize("fault", ["missing_scope", "500", "user_not_found"])
async def test_home_where_the_team_is_not_known(start: Start, workspace: Workspace, fault: str) -> None:
    """Where Slack does not say whose person this is, nothing is shown, and that is said."""
    async with start() as bot:
        await ask(workspace)
        await settled(bot)
        workspace.faults["users.info"].append(fault)
        assert "cannot read from Slack which workspace you belong to" in await look(bot, workspace, ANA)
        workspace.teams[ANA] = None
        assert "cannot read from Slack" in await look(bot, workspace, ANA)
    assert NUMBER not in json.dumps(workspace.homes[ANA])


async def test_home_without_the_database(start: Start, workspace: Workspace) -> None:
    """A home that the database does not answer stays as it is, and is published when it is opened again."""
    async with start() as bot:
        await ask(workspace)
        await settled(bot)

        def rename(old: str, new: str) -> None:
            with bot.ledger.database.transaction() as db:
                db.execute(sa.text(f"ALTER TABLE {old} RENAME TO {new}"))

        rename("outcomes", "away")
        await workspace.open_home(ANA)
        await settled(bot)
        assert ANA not in workspace.homes
        rename("away", "outcomes")
        assert NUMBER in await look(bot, workspace, ANA)


async def test_home_that_slack_does_not_take(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """A home that Slack does not take stops nothing else."""
    async with start() as bot:
        workspace.faults["views.publish"].append("500")
        await workspace.open_home(ANA)
        card = await ask(workspace)
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
    assert len(cellcast.calls) == 1


async def test_other_tabs_and_events(bot: Bot, workspace: Workspace) -> None:
    """Another tab, or an event that nobody asked for, is acknowledged and leads to nothing."""
    await workspace.open_home(ANA, tab="messages")
    event: dict[str, Any] = {"type": "event_callback", "team_id": "T0HOME", "event": {"type": "team_join", "user": {}}}
    assert (await workspace.send("events_api", event)).status == 200
    event["event"] = {"type": "app_home_opened", "user": 7, "tab": "home"}
    assert (await workspace.send("events_api", event)).status == 200
    await settled(bot)
    assert workspace.homes == {}


async def test_home_of_who_looks_no_more(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """A home that was opened long ago is not published again with each change."""
    async with start(confirm_within_seconds=86_000) as bot:
        await look(bot, workspace, ANA)
        await ask(workspace)
        await settled(bot)
        assert NUMBER in said(workspace, ANA)
        clock.advance(700)
        await ask(workspace, text=OTHER)
        await settled(bot)
    assert OTHER not in said(workspace, ANA)
    assert private(workspace, ANA) == []


async def test_order_of_open_requests(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """What a person can confirm begins with the nearest deadline, and the others with the newest request."""
    async with start(allowed_users=f"{ANA},{BEN}", approvers=BEN) as bot:
        for number in (OTHER, "f" * 24, NUMBER):
            await ask(workspace, text=number)
            clock.advance(1)
        shown = await look(bot, workspace, ANA)
        assert shown.index(NUMBER) < shown.index("f" * 24) < shown.index(OTHER)
        shown = await look(bot, workspace, BEN)
    assert shown.index(OTHER) < shown.index("f" * 24) < shown.index(NUMBER)


async def test_what_waits_is_found_among_many(start: Start, workspace: Workspace) -> None:
    """A request that the person can confirm is shown although many newer ones, which only others can, are open."""
    async with start(require_second_person="true") as bot:
        await ask(workspace, BEN)
        for n in range(25):
            await ask(workspace, ANA, text=f"{n:024x}")
        shown = await look(bot, workspace, ANA)
    assert shown.index("Waiting for you") < shown.index(NUMBER) < shown.index("Other open requests")
    assert "6 more requests are open. Their cards are in the channels." in shown


@pytest.mark.parametrize(("later", "published"), [(590, True), (610, False)])
async def test_home_is_kept_up_to_date_for_ten_minutes(
    start: Start, workspace: Workspace, clock: TestClock, later: float, published: bool
) -> None:
    """Whoever opened the home within the last ten minutes sees what changes."""
    async with start() as bot:
        await look(bot, workspace, ANA)
        clock.advance(later)
        await ask(workspace)
        await settled(bot)
    assert (NUMBER in said(workspace, ANA)) is published


async def test_long_outcome_does_not_block_the_home(
    start: Start, workspace: Workspace, cellcast: Cellcast, tmp_path: Path
) -> None:
    """An outcome whose words become five times as long by escaping leaves everyone's App Home up to date."""
    numbers = tmp_path / "numbers.csv"
    numbers.write_text(f"id,number,label\n{NUMBER},+49 151 23 45678901,a{'&' * 59}\n", encoding="utf-8")
    cellcast.next += [Answer(418, failure(418, "&" * 2500))] * 2
    someone, somewhere = f"U{'0' * 20}", f"C{'0' * 20}"  # ids as long as Slack's can be
    workspace.channels[somewhere] = Channel(somewhere, "somewhere")
    async with start(numbers_file=str(numbers), allowed_users=f"{someone},{ANA},{BEN}") as bot:
        card = await ask(workspace, someone, somewhere, f"{NUMBER} {'&' * 200}")
        await workspace.click(someone, card, "Unsubscribe Number")
        await settled(bot)
        await workspace.click(someone, current(workspace, card), "Try Again")
        await settled(bot)
        for user in (ANA, BEN):
            assert "Latest outcomes" in await look(bot, workspace, user)
            assert "&amp;…" in json.dumps(workspace.homes[user], ensure_ascii=False)


async def test_label_stays_literal(start: Start, workspace: Workspace, tmp_path: Path) -> None:
    """Underscores in a label, and all marks in a reason, format nothing on the card, in the toast and in the home."""
    numbers = tmp_path / "numbers.csv"
    numbers.write_text(f"id,number,label\n{NUMBER},+61 480 000 000,_Main_ line_2\n", encoding="utf-8")
    async with start(numbers_file=str(numbers)) as bot:
        card = await ask(workspace, text='"_Main_ line_2" do it *now* ~or~ `never` _x_')
        assert '"\u02cdMain\u02cd line_2"' in card.text
        assert "Reason: do it \u2217now\u2217 \u223cor\u223c \u02cbnever\u02cb \u02cdx\u02cd" in card.text
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
        assert "\u02cdMain\u02cd" in await look(bot, workspace, BEN)
        await workspace.command(ANA, NUMBERS, "history")

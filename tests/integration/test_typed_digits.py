"""A number with a warning is confirmed by typing its last digits: nothing else confirms it, and all checks run then."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bot.domain.models import Click
from sandbox.fake_cellcast import ANSWERS, SUCCESS, Cellcast
from sandbox.fake_slack import Note, Workspace
from tests.conftest import (
    ANA,
    BEN,
    GIL,
    NUMBER,
    OTHER,
    QUIET,
    REPEATED,
    Start,
    TestClock,
    ask,
    card_buttons,
    current,
    private,
    public,
    settled,
)
from tests.integration.test_home import look
from tests.messages import said_by

WARNING = "Main hotline, printed on invoices"
DIGITS = "0123"


def listing(path: Path, *, protected: str = "no") -> None:
    """Write a list with a warning for each number; the second one has no phone number."""
    path.write_text(
        "id,number,label,warning,protected\n"
        f'{NUMBER},+61 480 000 123,Support line,"{WARNING}",{protected}\n'
        f'{OTHER},,Campaign,"{WARNING}",no\n',
        encoding="utf-8",
    )


@pytest.fixture(autouse=True)
def listed(tmp_path: Path, environment: dict[str, str]) -> Path:
    """The list."""
    path = tmp_path / "numbers.csv"
    listing(path)
    environment["NUMBERS_FILE"] = str(path)
    return path


async def open_form(workspace: Workspace, card: Note, user: str = BEN, label: str = "Unsubscribe Number") -> str:
    """Click the button, and return what the form says."""
    seen = len(workspace.dialogs)
    await workspace.click(user, card, label)
    await workspace.until(lambda: len(workspace.dialogs) > seen)
    return said_by(workspace.form_of(user)["blocks"])


async def test_typed_digits_confirm(start: Start, workspace: Workspace, cellcast: Cellcast, mode: str) -> None:
    """The click opens a form that says all that the card says; the digits confirm: one call, and the toast."""
    async with start() as bot:
        card = await ask(workspace, text="Support line")
        assert "confirm" not in card.buttons["Unsubscribe Number"]
        says = await open_form(workspace, card)
        assert card.text in says
        assert says.endswith("Type the last 4 digits of +61 480 000 123")
        assert cellcast.calls == []
        assert current(workspace, card).buttons  # nothing was stored
        assert await workspace.submit(BEN, {"digits": " 01 23"}) == {}
        await settled(bot)
    assert len(cellcast.calls) == 1
    assert public(workspace)[-1].text.startswith(SUCCESS)
    assert f"Confirmed by <@{BEN}>" in public(workspace)[0].text


@REPEATED
@pytest.mark.parametrize("typed", ["0124", "9999", "123 ", "00123", "\u0660\u0661\u0662\u0663", "https"])
async def test_other_digits(start: Start, workspace: Workspace, cellcast: Cellcast, typed: str) -> None:
    """Other digits get an error at their field, store nothing and call nobody; the form can be submitted again."""
    async with start() as bot:
        card = await ask(workspace, text="Support line")
        await open_form(workspace, card)
        answer = await workspace.submit(BEN, {"digits": typed})
        await settled(bot)
        error = "These are not the last 4 digits of +61 480 000 123."
        assert answer == {"response_action": "errors", "errors": {"digits": error}}
        (request, outcomes), *_ = await bot.ledger.history()
        assert (request.status, request.attempt, outcomes, cellcast.calls) == ("pending", 0, [], [])
        await workspace.submit(BEN, {"digits": DIGITS})
        await settled(bot)
    assert len(cellcast.calls) == 1


async def test_number_without_a_phone_number(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """If the list has only a label for the number, the last digits of its id are asked for, in any case."""
    async with start() as bot:
        card = await ask(workspace, text="Campaign")
        assert (await open_form(workspace, card)).endswith(f"Type the last 4 characters of {OTHER}")
        await workspace.submit(BEN, {"digits": OTHER[-4:].upper()})
        await settled(bot)
    assert len(cellcast.calls) == 1


@REPEATED
async def test_no_other_way_confirms(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """However often the button is clicked, also on a card from before an update: only the digits confirm."""
    async with start() as bot:
        card = await ask(workspace, text="Support line")
        for _ in range(3):
            await open_form(workspace, card)
        request = (await bot.ledger.history())[0][0]
        assert await bot.executor.confirm(Click(request.id, 0, BEN, bot.clock.now())) is None
        await settled(bot)
    assert cellcast.calls == []
    assert private(workspace, BEN) == []


@REPEATED
@pytest.mark.parametrize("second", ["button", "form"])
async def test_two_people(start: Start, workspace: Workspace, cellcast: Cellcast, second: str) -> None:
    """Two people type at the same time: one call; the other reads who was first, in the form or privately."""
    async with start() as bot:
        card = await ask(workspace, text="Support line")
        await open_form(workspace, card, ANA)
        await open_form(workspace, card, BEN)
        form = workspace.form_of(BEN)
        await workspace.submit(ANA, {"digits": DIGITS})
        await settled(bot)
        if second == "form":
            answer = await workspace.submit(BEN, {"digits": DIGITS}, form)
            assert answer["response_action"] == "update"
            said = said_by(answer["view"]["blocks"])
        else:
            await workspace.click(BEN, card, "Unsubscribe Number")
            await settled(bot)
            (said,) = private(workspace, BEN)
        await settled(bot)
    assert f"<@{ANA}> already confirmed this" in said
    assert len(cellcast.calls) == 1


@REPEATED
@pytest.mark.parametrize("digits", [DIGITS, "9999"])
async def test_form_that_stays_open(
    start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock, digits: str
) -> None:
    """A form left open past the deadline says so, whatever was typed, and the card shows it; nobody is called."""
    async with start() as bot:
        card = await ask(workspace, text="Support line")
        await open_form(workspace, card)
        clock.advance(901)
        answer = await workspace.submit(BEN, {"digits": digits})
        await settled(bot)
    assert "Nobody confirmed before the deadline" in said_by(answer["view"]["blocks"])
    assert current(workspace, card).text.startswith("*Expired:")
    assert cellcast.calls == []


def _protect(path: Path) -> None:
    listing(path, protected="yes")


def _spoil(path: Path) -> None:
    path.write_text("x", encoding="utf-8")


@pytest.mark.parametrize(
    ("change", "said"),
    [(_protect, "This number is protected in the list"), (_spoil, "The list of numbers cannot be used")],
)
async def test_list_that_changes_meanwhile(
    start: Start, listed: Path, workspace: Workspace, cellcast: Cellcast, change: Callable[[Path], None], said: str
) -> None:
    """The list is looked at again when the form is submitted."""
    async with start() as bot:
        card = await ask(workspace, text="Support line")
        await open_form(workspace, card)
        change(listed)
        answer = await workspace.submit(BEN, {"digits": DIGITS})
        await settled(bot)
    assert answer["response_action"] == "push"
    assert said in said_by(answer["view"]["blocks"])
    assert cellcast.calls == []
    assert bool(current(workspace, card).buttons) == (change is _spoil)


async def test_permission_is_checked_again(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """Somebody without permission cannot submit a form, and the requester cannot where someone else must confirm."""
    async with start(require_second_person="true") as bot:
        card = await ask(workspace, text="Support line")
        await workspace.click(ANA, card, "Unsubscribe Number")
        await settled(bot)
        assert "someone else must confirm" in private(workspace, ANA)[0]
        assert workspace.dialogs == []
        await open_form(workspace, card)
        form = workspace.form_of(BEN)
        said = [
            said_by((await workspace.submit(who, {"digits": DIGITS}, form))["view"]["blocks"]) for who in (ANA, GIL)
        ]
        await settled(bot)
    assert "someone else must confirm" in said[0]
    assert "You don't have permission" in said[1]
    assert cellcast.calls == []


async def test_people_who_cannot_confirm(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """Somebody who can request and keep, but not confirm, gets no form and cannot submit one."""
    async with start(approvers=BEN) as bot:
        card = await ask(workspace, text="Support line")
        await workspace.click(ANA, card, "Unsubscribe Number")
        await settled(bot)
        assert "You don't have permission to confirm requests." in private(workspace, ANA)[0]
        await open_form(workspace, card)
        answer = await workspace.submit(ANA, {"digits": DIGITS}, workspace.form_of(BEN))
        await settled(bot)
    assert "You don't have permission to confirm requests." in said_by(answer["view"]["blocks"])
    assert cellcast.calls == []


async def test_card_of_an_earlier_attempt(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """A click on the card as it was before an attempt opens no form: its person reads who was first."""
    cellcast.next.append(ANSWERS["server error"])
    async with start() as bot:
        card = await ask(workspace, text="Support line")
        await open_form(workspace, card)
        await workspace.submit(BEN, {"digits": DIGITS})
        await settled(bot)
        await workspace.click(ANA, card, "Unsubscribe Number")
        await settled(bot)
    assert len(workspace.dialogs) == 1
    assert f"<@{BEN}> already confirmed this" in private(workspace, ANA)[0]


async def test_submission_without_digits(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """An empty field, or none, which Slack's clients do not send, confirms nothing."""
    async with start() as bot:
        card = await ask(workspace, text="Support line")
        await open_form(workspace, card)
        for values in ({}, {"digits": {"digits": {"type": "plain_text_input", "value": None}}}):
            payload = workspace.submission_payload(BEN, workspace.form_of(BEN), {"digits": DIGITS})
            payload["view"]["state"]["values"] = values
            assert "These are not the last 4 digits" in (await workspace.send("interactive", payload)).body
        await settled(bot)
    assert cellcast.calls == []


async def test_try_again(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """Try Again opens the form too: one call for each time that the digits were typed."""
    cellcast.next.append(ANSWERS["server error"])
    async with start() as bot:
        card = await ask(workspace, text="Support line")
        await open_form(workspace, card)
        first = workspace.form_of(BEN)
        await workspace.submit(BEN, {"digits": DIGITS})
        await settled(bot)
        assert "Outcome unknown" in await open_form(workspace, current(workspace, card), label="Try Again")
        # The form of the first attempt confirms no second one.
        answer = await workspace.submit(BEN, {"digits": DIGITS}, first)
        assert "already confirmed this" in said_by(answer["view"]["blocks"])
        assert len(cellcast.calls) == 1
        await workspace.submit(ANA, {"digits": DIGITS}, workspace.dialogs[1][1])
        await settled(bot)
    assert len(cellcast.calls) == 2


async def test_home(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """From the App Home the form opens as well, and the outcome comes in the request's channel."""
    async with start() as bot:
        await ask(workspace, text="Support line")
        await look(bot, workspace, BEN)
        await workspace.click_in_home(BEN, card_buttons(workspace, BEN)[0])
        await workspace.until(lambda: bool(workspace.dialogs))
        assert await workspace.submit(BEN, {"digits": DIGITS}) == {}
        await settled(bot)
    assert len(cellcast.calls) == 1
    assert public(workspace)[-1].text.startswith(SUCCESS)


async def test_channel_without_the_bot(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """Where the bot is not a member, the click that opened the form is the way to show the outcome."""
    async with start() as bot:
        card = await ask(workspace, channel=QUIET, text="Support line")
        await open_form(workspace, card)
        await settled(bot)
        await workspace.submit(BEN, {"digits": DIGITS})
        await settled(bot)
    assert public(workspace, QUIET)[0].text.startswith("*Unsubscribed")
    assert public(workspace, QUIET)[-1].text.startswith(SUCCESS)


async def test_form_that_slack_does_not_open(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """The person reads it, and can click again."""
    workspace.faults["views.open"].append("500")
    async with start() as bot:
        card = await ask(workspace, text="Support line")
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
        assert private(workspace, BEN)[0].endswith("If you see none, please click the button again.")
        await open_form(workspace, card)
        await workspace.submit(BEN, {"digits": DIGITS})
        await settled(bot)
    assert len(cellcast.calls) == 1


@pytest.mark.parametrize(
    "metadata", ["", "x", "{}", '{"value": 7}', '{"value": "x"}', '{"value": "x", "channel": "c"}']
)
async def test_form_of_another_bot(start: Start, workspace: Workspace, cellcast: Cellcast, metadata: str) -> None:
    """A form without a button of this bot in it confirms nothing, and its person reads why."""
    async with start() as bot:
        card = await ask(workspace, text="Support line")
        await open_form(workspace, card)
        form: dict[str, Any] = workspace.form_of(BEN) | {"private_metadata": metadata}
        answer = await workspace.submit(BEN, {"digits": DIGITS}, form)
        unknown = await workspace.submit(BEN, {"digits": DIGITS}, form | {"callback_id": "other"})
        await settled(bot)
    assert answer["response_action"] == unknown["response_action"] == "push"
    assert cellcast.calls == []

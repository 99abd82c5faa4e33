"""Numbers by name: the list, what people type of it, and the picker."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bot.app import Bot
from bot.clients.numbers_file import read
from sandbox.fake_cellcast import Cellcast
from sandbox.fake_slack import Note, Workspace
from tests.conftest import (
    ANA,
    BEN,
    GIL,
    NUMBER,
    NUMBERS,
    OTHER,
    Start,
    advance,
    ask,
    current,
    private,
    public,
    settled,
    text_of,
)
from tests.process import run_command

US = "66ea98514f0c1a121c76ec20"
NAMELESS = "66ea98514f0c1a121c76ec21"
LIST = f"""id,number,label
{NUMBER},+61 480 000 000,Support line
{OTHER.upper()},+61480000001,Campaign & co.
{US},+1 202-555-0100,24 hour line

{NAMELESS},,Ana's line
{"a" * 24},+61 480 000 002,
{"b" * 24},+61 480 000 003,Twice
{"c" * 24},+61 480 000 004,Twice
"""


@pytest.fixture
def listed(tmp_path: Path, environment: dict[str, str]) -> Path:
    """The list of numbers that the bot is given."""
    path = tmp_path / "numbers.csv"
    path.write_text(LIST, encoding="utf-8-sig")
    environment["NUMBERS_FILE"] = str(path)
    return path


@pytest.mark.parametrize(
    ("text", "number"),
    [
        pytest.param("0480 000 000", NUMBER, id="national"),
        pytest.param("<tel:+61480000000|+61 480 000 000>", NUMBER, id="as Slack links it"),
        pytest.param("“support  LINE”", NUMBER, id="label in smart quotes, in another case"),
    ],
)
async def test_number_is_found(start: Start, listed: Path, workspace: Workspace, text: str, number: str) -> None:
    """A number is taken in any form that people write, and the label, exactly."""
    async with start():
        card = await ask(workspace, text=text)
    assert f"(`{number}`)" in card.text


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("+61 480 000 00", "No number in the list has this phone number or label", id="one digit short"),
        pytest.param("Twice", "This can mean more than one number. Please say which: +61 480 000 003 or", id="twice"),
        pytest.param("0480 000 000 instead of 0480 000 001", "the reason names +61 480 000 001", id="two numbers"),
    ],
)
async def test_no_number_is_guessed(start: Start, listed: Path, workspace: Workspace, text: str, says: str) -> None:
    """Half a number, part of a label, or two at once lead to a private line with the next step, never to a card."""
    async with start():
        await workspace.command(ANA, NUMBERS, text)
    (line,) = private(workspace, ANA)
    assert says in line
    assert "Please say which" in line or "Example: `/unsubscribe-number +61 480 000 000`" in line
    assert public(workspace) == []


async def test_names_stand_everywhere(start: Start, listed: Path, workspace: Workspace, cellcast: Cellcast) -> None:
    """Card, dialog, pointer, toast and history name the number, with the id beside it; the call has the id."""
    async with start() as bot:
        card = await ask(workspace, text="0480 000 001 no longer needed")
        assert card.text.startswith(f'*Unsubscribe +61 480 000 001 "Campaign &amp; co."?* (`{OTHER}`)\n')
        assert "Reason: no longer needed" in text_of(card)
        dialog = card.buttons["Unsubscribe Number"]["confirm"]["text"]["text"]
        assert dialog.startswith(f'+61 480 000 001 "Campaign & co." ({OTHER}). ')
        await settled(bot)
        await workspace.command(BEN, NUMBERS, '"Campaign & co."')
        await settled(bot)
        assert f'open card for +61 480 000 001 "Campaign &amp; co." (`{OTHER}`)' in private(workspace, BEN)[0]
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
        await workspace.command(BEN, NUMBERS, "history")
    shown, toast = public(workspace)
    assert [call.number_id for call in cellcast.calls] == [OTHER]
    assert shown.text.startswith(f'*Unsubscribed: +61 480 000 001 "Campaign &amp; co."* (`{OTHER}`)')
    assert f'\n+61 480 000 001 "Campaign &amp; co." (`{OTHER}`). Confirmed by' in toast.text
    assert f'• +61 480 000 001 "Campaign &amp; co." (`{OTHER}`) was unsubscribed' in private(workspace, BEN)[1]


async def test_id_that_is_not_listed(start: Start, listed: Path, workspace: Workspace, cellcast: Cellcast) -> None:
    """An id that the list does not know works, and the card says that no name is known."""
    unknown = "f" * 24
    async with start() as bot:
        card = await ask(workspace, text=f"{unknown} old one")
        assert card.text.startswith(f"*Unsubscribe virtual number* `{unknown}`?")
        assert "The list of numbers does not name this id" in card.text
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
    assert "list of numbers" not in public(workspace)[0].text
    assert len(cellcast.calls) == 1


async def test_ask_again_names_the_number(start: Start, listed: Path, workspace: Workspace, clock: Any) -> None:
    """The command for asking again has the phone number where one is known."""
    async with start(confirm_within_seconds=50) as bot:
        await ask(workspace, text="Support line")
        await settled(bot)
        await advance(bot, clock, 60)
    assert "request it again with `/unsubscribe-number +61 480 000 000`." in public(workspace)[0].text


async def test_file_is_read_again(start: Start, listed: Path, workspace: Workspace) -> None:
    """A changed file counts at once; an open card keeps the name that was confirmed."""
    async with start() as bot:
        card = await ask(workspace, text="Support line")
        listed.write_text(f"id,number,label\n{NUMBER},+61 480 000 000,Sales\n{OTHER},,Support line\n")
        other = await ask(workspace, text="Support line")
        assert f'*Unsubscribe "Support line"?* (`{OTHER}`)' in other.text
        await workspace.click(BEN, card, "Keep Number")
        await settled(bot)
    assert public(workspace)[0].text.startswith('*Kept: +61 480 000 000 "Support line"*')


async def test_faulty_file_refuses_everything(
    start: Start, listed: Path, workspace: Workspace, cellcast: Cellcast
) -> None:
    """With an error in the file nothing is requested or confirmed, also by id; keeping stays possible; then it is fixed."""
    async with start() as bot:
        cards = [await ask(workspace, text=number) for number in (NUMBER, OTHER)]
        listed.write_text(f"{LIST}{OTHER},+61 480 000 009,Again\n")
        for text in ("Support line", "", "e" * 24):
            await workspace.command(ANA, NUMBERS, text)
        await settled(bot)
        await workspace.click(ANA, cards[0], "Unsubscribe Number")
        await settled(bot)
        assert len(public(workspace)) == 2
        await workspace.click(ANA, cards[0], "Keep Number")
        await settled(bot)
        assert current(workspace, cards[0]).text.startswith("*Kept")
        listed.unlink()
        await workspace.click(BEN, cards[1], "Unsubscribe Number")
        await settled(bot)
        assert cellcast.calls == []
        await workspace.command(BEN, NUMBERS, "0480 000 000")
        listed.write_text(LIST)
        assert 'Unsubscribe +1 202-555-0100 "24 hour line"' in (await ask(workspace, text="24 hour line")).text
        await settled(bot)
    for line in private(workspace, ANA):
        assert "The list of numbers cannot be used: line 10: the id 66ea98514f0c1a121c76ec18 is already in" in line
        assert "Until then no number can be requested or confirmed. Keep Number still works." in line
    assert len(private(workspace, ANA)) == 4
    for line in private(workspace, BEN):
        assert "the file cannot be read (No such file or directory)" in line


def test_file_that_is_no_text(tmp_path: Path) -> None:
    """A file that is no UTF-8 text is told as that."""
    path = tmp_path / "numbers.csv"
    path.write_bytes(b"id,number,label\n\xff\xfe,,x\n")
    assert read(path).errors == ("the file is not UTF-8 text",)


async def test_check_proves_the_list(tmp_path: Path, environment: dict[str, str], listed: Path) -> None:
    """`check` counts the numbers, and names each fault up to twenty."""
    _, out, _ = await run_command("check", settings=environment, cwd=tmp_path)
    assert f"ok    List of numbers: 7 numbers in {listed}" in out
    listed.write_text("id,number,label\n" + "x,,\n" * 22)
    code, out, _ = await run_command("check", settings=environment, cwd=tmp_path)
    assert code == 1
    assert f"FAIL  List of numbers: {listed}: line 2: the id does not have 24" in out
    assert "line 21: the id does not have 24 hexadecimal digits; and 2 more." in out


def picker(workspace: Workspace, user: str = ANA) -> Note:
    """The picker that a person was shown last."""
    return [n for n in workspace.notes if n.to == user and n.menu is not None][-1]


def texts(options: list[dict[str, Any]]) -> list[str]:
    """What the options say."""
    return [option["text"]["text"] for option in options]


async def test_picker_leads_to_the_card(start: Start, listed: Path, workspace: Workspace, cellcast: Cellcast) -> None:
    """The command alone shows a private picker; typing filters it, open cards are marked, a choice leads to the card."""
    async with start() as bot:
        await ask(workspace, user=BEN, text="Support line")
        await settled(bot)
        await workspace.command(ANA, NUMBERS, "  ")
        shown = picker(workspace)
        assert "A card in the channel will ask for confirmation" in shown.text
        everything = await workspace.suggestions(ANA, shown, "")
        assert texts(everything) == [
            "+61 480 000 002",
            '+1 202-555-0100 "24 hour line"',
            '"Ana\'s line"',
            '+61 480 000 001 "Campaign & co."',
            '+61 480 000 000 "Support line" (card open)',
            '+61 480 000 003 "Twice"',
            '+61 480 000 004 "Twice"',
        ]
        assert texts(await workspace.suggestions(ANA, shown, "camp")) == ['+61 480 000 001 "Campaign & co."']
        assert len(await workspace.suggestions(ANA, shown, "0480 000")) == 5
        assert len(await workspace.suggestions(ANA, shown, NAMELESS[:24])) == 1
        assert await workspace.suggestions(ANA, shown, "nothing of this") == []
        (option,) = await workspace.suggestions(ANA, shown, "camp")
        await workspace.choose(ANA, shown, option)
        await settled(bot)
        assert shown not in workspace.notes
        card = public(workspace)[-1]
        assert card.text.startswith('*Unsubscribe +61 480 000 001 "Campaign &amp; co."?*')
        assert cellcast.calls == []
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
    assert [call.number_id for call in cellcast.calls] == [OTHER]


async def test_choice_without_a_way_to_answer(start: Start, listed: Path, workspace: Workspace) -> None:
    """A choice that Slack sends without a response_url leads to the card as well; the picker stays."""
    async with start() as bot:
        await workspace.command(ANA, NUMBERS, "")
        (option,) = await workspace.suggestions(ANA, picker(workspace), "support")
        payload = workspace.choice_payload(ANA, picker(workspace), option)
        del payload["response_url"]
        await workspace.send("interactive", payload)
        await settled(bot)
    assert len(public(workspace)) == 1
    assert picker(workspace)


async def test_choice_of_an_open_number(start: Start, listed: Path, workspace: Workspace) -> None:
    """Who chooses a number whose card is open is led to that card."""
    async with start() as bot:
        await ask(workspace, user=BEN, text="Support line")
        await settled(bot)
        await workspace.command(ANA, NUMBERS, "")
        (option,) = await workspace.suggestions(ANA, picker(workspace), "support")
        await workspace.choose(ANA, picker(workspace), option)
        await settled(bot)
    assert len(public(workspace)) == 1
    assert 'There is already an open card for +61 480 000 000 "Support line"' in private(workspace, ANA)[-1]


async def test_picker_is_for_permitted_people(start: Start, listed: Path, workspace: Workspace) -> None:
    """Nobody else is shown the list, or can choose from it; a choice that names no number does nothing."""
    async with start() as bot:
        await workspace.command(GIL, NUMBERS, "")
        assert "You don't have permission to unsubscribe numbers." in private(workspace, GIL)[0]
        await workspace.command(ANA, NUMBERS, "")
        shown = picker(workspace)
        (option,) = await workspace.suggestions(ANA, shown, "support")
        assert await workspace.suggestions(GIL, shown, "") == []
        assert await workspace.suggestions(ANA, shown, "", team="T0OTHER") == []
        await workspace.choose(GIL, shown, option)
        await workspace.choose(ANA, shown, option, team="T0OTHER")
        await workspace.choose(ANA, shown, None)
        await workspace.choose(ANA, shown, option | {"value": "x"})
        await settled(bot)
    assert public(workspace) == []
    assert "You don't have permission to unsubscribe numbers." in private(workspace, GIL)[1]
    assert "Only members of the workspaces that use this bot" in private(workspace, ANA)[-1]


async def test_picker_of_thousands(start: Start, listed: Path, workspace: Workspace) -> None:
    """With thousands of numbers, and the longest labels, the picker offers as many as an ack can carry and says so."""
    lines = [f"{n:024x},+61 480 {n // 1000:03} {n % 1000:03},{'x' * 55} {n}" for n in range(5000)]
    listed.write_text("id,number,label\n" + "\n".join(lines))
    async with start() as bot:
        await ask(workspace, text="0480 000 001")
        await settled(bot)
        await workspace.command(ANA, NUMBERS, "")
        options = await workspace.suggestions(ANA, picker(workspace), "x 4321")
        assert texts(options) == [f'+61 480 004 321 "{"x" * 55} 4321"'[:74] + "…"]
        offer = await workspace.offer(ANA, picker(workspace), "xx")
        assert 70 <= len(offer.options) < 100
        assert offer.label == f"Showing {len(offer.options)} of 5000: type more to narrow it down"
        (marked,) = await workspace.suggestions(ANA, picker(workspace), f"{1:024x}")
    assert marked["text"]["text"].endswith("… (card open)")


@pytest.mark.parametrize(("count", "label"), [(100, ""), (101, "Showing 100 of 101: type more to narrow it down")])
async def test_picker_of_a_hundred(start: Start, listed: Path, workspace: Workspace, count: int, label: str) -> None:
    """A hundred short names are offered without a word; of more, the first hundred with a label that says so."""
    listed.write_text("id,number,label\n" + "\n".join(f"{n:024x},,Line {n}" for n in range(count)))
    async with start():
        await workspace.command(ANA, NUMBERS, "")
        offer = await workspace.offer(ANA, picker(workspace), "")
    assert (len(offer.options), offer.label) == (100, label)


async def test_picker_without_the_ledger(start: Start, listed: Path, workspace: Workspace, tmp_path: Path) -> None:
    """Where the record cannot be read, the picker still offers; the choice tells that nothing was done."""
    async with start() as bot:
        await workspace.command(ANA, NUMBERS, "")
        (option,) = await workspace.suggestions(ANA, picker(workspace), "support")
        (tmp_path / "ledger.db").rename(tmp_path / "away")
        bot.ledger.database.engine.dispose()
        (tmp_path / "ledger.db").mkdir()
        assert await workspace.suggestions(ANA, picker(workspace), "support") == [option]
        await workspace.choose(ANA, picker(workspace), option)
        await settled(bot)
        (tmp_path / "ledger.db").rmdir()
        (tmp_path / "away").rename(tmp_path / "ledger.db")
    assert "so this was not recorded" in private(workspace, ANA)[-1]
    assert picker(workspace)


async def test_help_with_a_list(start: Start, listed: Path, workspace: Workspace) -> None:
    """`help` tells of labels, phone numbers and the picker where there is a list."""
    async with start():
        await workspace.command(ANA, NUMBERS, "help")
    (line,) = private(workspace, ANA)
    assert "its phone number, its label or its id" in line
    assert 'Example: `/unsubscribe-number "Support line" campaign ended`' in line


async def test_menu_of_another_bot(bot: Bot, workspace: Workspace) -> None:
    """A menu that the bot does not know (of a bot before) offers nothing."""
    menu = {
        "type": "external_select",
        "action_id": "of_another_bot",
        "placeholder": {"type": "plain_text", "text": "x"},
    }
    note = Note("1.1", NUMBERS, "U0BOT", "x", [{"type": "section", "accessory": menu}], to=ANA)
    assert await workspace.suggestions(ANA, note, "") == []
    await workspace.choose(ANA, note, None)
    await settled(bot)
    assert "The bot no longer knows this button" in private(workspace, ANA)[0]

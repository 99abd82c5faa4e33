"""Numbers that the list warns of or protects: people read the warning, and nobody cancels a protected number."""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from bot.clients.numbers_file import NumbersFile
from bot.domain.models import Click
from sandbox.fake_cellcast import ANSWERS, SUCCESS, Cellcast
from sandbox.fake_slack import Workspace
from tests.conftest import (
    ANA,
    BEN,
    NUMBER,
    NUMBERS,
    OTHER,
    REPEATED,
    Start,
    TestClock,
    advance,
    ask,
    card_buttons,
    current,
    private,
    public,
    settled,
    text_of,
    thread_of,
)
from tests.integration.test_home import look
from tests.messages import said_by
from tests.process import run_command

HOTLINE = "Main hotline, printed on invoices"
REFUSAL = "This number is protected in the list of numbers, so it can't be unsubscribed."


def listing(path: Path, *, protected: str = "no", warning: str = "") -> None:
    """Write the list."""
    path.write_text(
        f'id,number,label,warning,protected\n{NUMBER},+61 480 000 000,Support line,"{warning}",{protected}\n'
        f"{OTHER},,Campaign,,no\n",
        encoding="utf-8",
    )


@pytest.fixture
def listed(tmp_path: Path, environment: dict[str, str]) -> Path:
    """A list with a warning."""
    path = tmp_path / "numbers.csv"
    listing(path)
    environment["NUMBERS_FILE"] = str(path)
    return path


@REPEATED
async def test_warning(start: Start, listed: Path, workspace: Workspace, cellcast: Cellcast) -> None:
    """The warning stands on the card, in its form, in the picker, in the App Home, and on the card to try again."""
    listing(listed, warning=HOTLINE)
    cellcast.next.append(ANSWERS["500"] if "500" in ANSWERS else ANSWERS["server error"])
    async with start() as bot:
        card = await ask(workspace, text="Support line")
        assert f"*Warning:* {HOTLINE}" in card.text
        assert f"*Warning:* {HOTLINE}" in text_of(card)
        assert HOTLINE in await look(bot, workspace, BEN)
        await workspace.command(ANA, NUMBERS, "")
        shown = next(note for note in workspace.notes if note.menu is not None)
        (option,) = await workspace.suggestions(ANA, shown, "Support")
        assert option["description"]["text"] == f"Warning: {HOTLINE}"
        (option,) = await workspace.suggestions(ANA, shown, "Campaign")
        assert option["description"]["text"] == OTHER
        listing(listed, warning="another one")  # people confirm what the card said
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
        assert f"*Warning:* {HOTLINE}" in said_by(workspace.form_of(BEN)["blocks"])
        await workspace.submit(BEN, {"digits": "0000"})
        await settled(bot)
        again = current(workspace, card)
        assert f"*Warning:* {HOTLINE}" in again.text
        (request, _), *_ = await bot.ledger.history()
    assert request.warning == HOTLINE


async def test_warning_is_in_the_export(
    start: Start, listed: Path, workspace: Workspace, environment: dict[str, str], tmp_path: Path
) -> None:
    """`history --json` has the warning that people saw."""
    listing(listed, warning=HOTLINE)
    async with start():
        await ask(workspace, text="Support line")
    _, out, _ = await run_command("history", "--json", settings=environment, cwd=tmp_path)
    assert json.loads(out)["warning"] == HOTLINE


@pytest.mark.parametrize("text", [NUMBER, "Support line", "0480 000 000"])
async def test_protected_number_gets_no_card(start: Start, listed: Path, workspace: Workspace, text: str) -> None:
    """A protected number is refused before a card, by its name and by its id, and stays out of reach in the picker."""
    listing(listed, protected="yes")
    async with start() as bot:
        await workspace.command(ANA, NUMBERS, text)
        await workspace.command(ANA, NUMBERS, "")
        shown = next(note for note in workspace.notes if note.menu is not None)
        (option,) = await workspace.suggestions(ANA, shown, "Support")
        assert option["text"]["text"] == '+61 480 000 000 "Support line" (protected)'
        await workspace.choose(ANA, shown, option)
        await settled(bot)
    assert public(workspace) == []
    assert [REFUSAL in said for said in private(workspace, ANA) if "Which number" not in said] == [True, True]


@REPEATED
@pytest.mark.parametrize("where", ["card", "home"])
async def test_number_that_is_protected_after_its_card(
    start: Start, listed: Path, workspace: Workspace, cellcast: Cellcast, where: str
) -> None:
    """The click calls nobody, the request settles as kept by rule, and the person and the requester read why."""
    async with start() as bot:
        card = await ask(workspace, text="Support line")
        await look(bot, workspace, BEN)
        listing(listed, protected="yes")
        if where == "card":
            await workspace.click(BEN, card, "Unsubscribe Number")
        else:
            await workspace.click_in_home(BEN, card_buttons(workspace, BEN)[0])
        await settled(bot)
        (request, outcomes), *_ = await bot.ledger.history()
    assert cellcast.calls == []
    assert (request.status, [(o.code, o.decided_by) for o in outcomes]) == ("kept", [("protected", None)])
    assert not current(workspace, card).buttons
    assert "The list of numbers has protected this number since the request." in current(workspace, card).text
    called = f'+61 480 000 000 "Support line" (`{NUMBER}`)'
    assert thread_of(workspace, card) == [
        f"<@{ANA}>: {called} was kept, because the list of numbers protects it now. Nothing was sent to Cellcast."
    ]
    if where == "card":
        assert REFUSAL in private(workspace, BEN)[0]
    else:
        assert REFUSAL in workspace.dialogs[0][1]["blocks"][0]["text"]["text"]


async def test_number_that_is_protected_after_an_attempt(
    start: Start, listed: Path, workspace: Workspace, cellcast: Cellcast, clock: TestClock
) -> None:
    """Try Again is refused while the number is protected; the outcome of the attempt stays."""
    cellcast.next.append(ANSWERS["timeout"])
    async with start(cellcast_timeout_seconds="0.2") as bot:
        card = await ask(workspace, text="Support line")
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
        listing(listed, protected="yes")
        await workspace.click(BEN, current(workspace, card), "Try Again")
        await settled(bot)
        assert len(cellcast.calls) == 1
        assert REFUSAL in private(workspace, BEN)[0]
        listing(listed)
        await workspace.click(BEN, current(workspace, card), "Try Again")
        await settled(bot)
        await advance(bot, clock, 60)
    assert len(cellcast.calls) == 2
    assert public(workspace)[-1].text.startswith(SUCCESS)


@pytest.mark.parametrize("click", ["Unsubscribe Number", "Keep Number"])
async def test_other_numbers_are_not_touched(
    start: Start, listed: Path, workspace: Workspace, cellcast: Cellcast, click: str
) -> None:
    """A protected number in the list holds up no other one, and keeping is always possible."""
    listing(listed, protected="yes")
    async with start() as bot:
        card = await ask(workspace, text="Campaign")
        await workspace.click(BEN, card, click)
        await settled(bot)
    assert len(cellcast.calls) == (click == "Unsubscribe Number")


async def test_check_counts_them(environment: dict[str, str], listed: Path, tmp_path: Path) -> None:
    """`check` says how many numbers are protected, and how many have a warning."""
    listing(listed, protected="yes", warning=HOTLINE)
    _, out, _ = await run_command("check", settings=environment, cwd=tmp_path)
    assert f"2 numbers in {listed}, 1 protected, 1 with a warning" in out


async def test_list_that_is_not_complete(start: Start, listed: Path, workspace: Workspace, cellcast: Cellcast) -> None:
    """A list that was cut within a line, also the first, or whose cell for the protection is empty, refuses everything."""
    listing(listed, protected="yes")
    whole = listed.read_text(encoding="utf-8")
    async with start() as bot:
        card = await ask(workspace, text="Campaign")
        for end in range(len(whole)):
            if not whole[:end].endswith("\n"):
                listed.write_text(whole[:end], encoding="utf-8")
                assert (await NumbersFile(listed).current()).errors
        listed.write_text(whole.replace(",yes", ","), encoding="utf-8")
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
    assert "line 2: protected must be yes or no" in private(workspace, BEN)[0]
    assert cellcast.calls == []


async def test_list_that_could_not_be_read_for_a_moment(listed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list is read again at once if it could not be read, also if nothing of it has changed."""
    numbers = NumbersFile(listed)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_bytes", raising(OSError(errno.EMFILE, "Too many open files")))
        assert (await numbers.current()).errors == ("the file cannot be read (Too many open files)",)
    assert (await numbers.current()).errors == ()


def raising(error: Exception) -> Callable[[object], bytes]:
    """A function that only raises this."""

    def fail(_path: object) -> bytes:
        raise error

    return fail


@pytest.mark.parametrize("how", ["protected", "faulty"])
async def test_list_that_changes_while_the_click_is_stored(
    start: Start, listed: Path, workspace: Workspace, cellcast: Cellcast, how: str
) -> None:
    """The list is looked at again just before the call."""

    async with start() as bot:
        card = await ask(workspace, text="Support line")
        request = (await bot.ledger.history())[0][0]
        click = Click(request.id, 0, BEN, bot.clock.now(), NUMBERS, card.ts)
        confirmed = await bot.executor.confirm(click)
        assert confirmed is not None
        if how == "protected":
            listing(listed, protected="yes")
        else:
            listed.write_text("x", encoding="utf-8")
        await bot.executor.execute(confirmed)
        await settled(bot)
        (_, outcomes), *_ = await bot.ledger.history()
    assert cellcast.calls == []
    assert [outcome.code for outcome in outcomes] == ["protected" if how == "protected" else "list_unusable"]
    assert "Nothing was sent" in current(workspace, card).text


async def test_late_click_on_a_protected_number(start: Start, listed: Path, workspace: Workspace) -> None:
    """A late click is answered with what happened, whatever the list says now."""
    async with start() as bot:
        card = await ask(workspace, text="Support line")
        await workspace.click(ANA, card, "Unsubscribe Number")
        await settled(bot)
        listing(listed, protected="yes")
        await workspace.click(BEN, card, "Unsubscribe Number")
        listed.write_text("x", encoding="utf-8")
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
    assert ["already confirmed this" in said for said in private(workspace, BEN)] == [True, True]


@pytest.mark.parametrize(("now", "says"), [(f'New,"{HOTLINE}",no', f"*Warning:* {HOTLINE}"), ("New,,yes", REFUSAL)])
async def test_list_that_changes_before_the_request_is_stored(
    start: Start, workspace: Workspace, tmp_path: Path, now: str, says: str
) -> None:
    """What the list says of a number when it is requested counts, not what it said when the text was parsed."""
    pipe, moments = tmp_path / "numbers.csv", itertools.count()
    os.mkfifo(pipe)

    def feed(row: str) -> None:
        """Give the next read of the list its lines: it waits for them, and the read after it finds a changed file."""
        with pipe.open("w", encoding="utf-8") as file:
            file.write(f"id,number,label,warning,protected\n{NUMBER},,{row}\n")
            file.flush()  # this changes the time of the file too, to one that two reads could have in common
            os.utime(pipe, (next(moments),) * 2)

    first = asyncio.create_task(asyncio.to_thread(feed, "Old,,no"))
    async with start(numbers_file=str(pipe)) as bot:
        await first
        commanding = asyncio.create_task(workspace.command(ANA, NUMBERS, "Old"))
        await asyncio.to_thread(feed, "Old,,no")
        await commanding
        await asyncio.to_thread(feed, now)
        await settled(bot)
    (note,) = workspace.notes
    assert says in note.text
    assert "Old" not in note.text

"""A reason is required, or must have a certain form: nothing gets a card without it, and a form asks for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from bot.errors import SettingsError
from bot.settings import load
from sandbox.fake_cellcast import Cellcast
from sandbox.fake_slack import Workspace
from tests.conftest import (
    ANA,
    BEN,
    GIL,
    NUMBER,
    NUMBERS,
    OTHER,
    QUIET,
    SECRET,
    Start,
    TestClock,
    ask,
    private,
    public,
    settled,
)
from tests.integration.test_home import look
from tests.messages import said_by
from tests.process import run_command

EXAMPLE = "OPS-1234 campaign ended"
TICKET = {"require_reason": "true", "reason_pattern": "OPS-[0-9]+ .+", "reason_example": EXAMPLE}


@pytest.fixture
def listed(tmp_path: Path, environment: dict[str, str]) -> Path:
    """A list of numbers, one of them protected."""
    path = tmp_path / "numbers.csv"
    path.write_text(
        f"id,number,label,protected\n{NUMBER},+61 480 000 000,Support line,no\n{OTHER},,Campaign,yes\n",
        encoding="utf-8",
    )
    environment["NUMBERS_FILE"] = str(path)
    return path


@pytest.mark.parametrize("text", ["", " ", " campaign ended", " OPS-7", " see OPS-7 campaign ended"])
async def test_command_without_the_reason(start: Start, workspace: Workspace, text: str) -> None:
    """A typed number without the reason is refused in the ack, with an example that works when it is typed."""
    async with start(**TICKET) as bot:
        await workspace.command(ANA, NUMBERS, f"{NUMBER}{text}")
        await settled(bot)
        assert public(workspace) == []
        (said,) = private(workspace, ANA)
        card = await ask(workspace, text=said.split("`")[1].removeprefix("/unsubscribe-number "))
    assert f"Reason: {EXAMPLE}" in card.text


async def test_help_says_so(start: Start, workspace: Workspace) -> None:
    """The help says that a reason is required, with the operator's example."""
    async with start(**TICKET):
        await workspace.command(ANA, NUMBERS, "help")
    assert "You must add a reason after the id." in private(workspace, ANA)[0]
    assert f"`/unsubscribe-number {NUMBER} {EXAMPLE}`" in private(workspace, ANA)[0]


async def open_form(workspace: Workspace, channel: str = NUMBERS) -> dict[str, Any]:
    """Type the command alone, and return the form that opens."""
    await workspace.command(ANA, channel, "")
    await workspace.until(lambda: bool(workspace.dialogs))
    return workspace.form_of(ANA)


async def chosen(workspace: Workspace, typed: str = "Support") -> dict[str, Any]:
    """Choose a number in the menu of the form."""
    return (await workspace.form_suggestions(ANA, typed))[0]


@pytest.mark.parametrize("settings", [TICKET, {"require_reason": "true"}, {"reason_pattern": ".+ended"}])
async def test_form(start: Start, listed: Path, workspace: Workspace, settings: dict[str, str], mode: str) -> None:
    """The command alone opens a form with number, reason and this channel; submitted, it posts the card there."""
    async with start(**settings) as bot:
        form = await open_form(workspace)
        assert [block.get("block_id") for block in form["blocks"]] == [None, "number", "reason", "channel"]
        assert private(workspace, ANA) == []
        answer = await workspace.submit(ANA, {"number": await chosen(workspace), "reason": f" {EXAMPLE}\n"})
        assert answer == {}
        await settled(bot)
    (card,) = public(workspace)
    assert card.text.startswith('*Unsubscribe +61 480 000 000 "Support line"?*')
    assert f"Requested by <@{ANA}>" in card.text
    assert f"Reason: {EXAMPLE}" in card.text


async def test_database_is_not_asked_before_the_form(start: Start, listed: Path, workspace: Workspace) -> None:
    """The form opens although the database is closed: its trigger_id lives only three seconds, so nothing comes before."""
    async with start(**TICKET) as bot:
        bot.ledger.close()  # whatever asks it now fails
        await open_form(workspace)
        await settled(bot)
    assert workspace.form_of(ANA)["callback_id"] == "request_number"


async def test_errors_of_fields(start: Start, listed: Path, workspace: Workspace) -> None:
    """A protected number and a wrong reason get their errors at their fields, and post nothing."""
    async with start(**TICKET) as bot:
        await open_form(workspace)
        protected = await chosen(workspace, "Campaign")
        answer = await workspace.submit(ANA, {"number": protected, "reason": "x"})
        assert answer["response_action"] == "errors"
        assert answer["errors"] == {
            "number": "This number is protected in the list of numbers, so it can't be unsubscribed. The list's owner "
            "must lift that first.",
            "reason": f"The reason does not match the required format. For example: {EXAMPLE}",
        }
        answer = await workspace.submit(ANA, {"number": await chosen(workspace), "reason": "  "})
        assert answer["errors"] == {"reason": f"Please give a reason. For example: {EXAMPLE}"}
        await settled(bot)
    assert public(workspace) == []


async def test_permission(start: Start, listed: Path, workspace: Workspace) -> None:
    """Nobody opens, fills or submits the form without permission, or for another channel than allowed."""
    async with start(**TICKET, allowed_channels=NUMBERS) as bot:
        form = await open_form(workspace)
        number = await chosen(workspace)
        await workspace.command(GIL, NUMBERS, "")
        assert "You don't have permission" in private(workspace, GIL)[0]
        given = {"number": number, "reason": EXAMPLE}
        workspace.dialogs.append((GIL, form))
        assert await workspace.form_suggestions(GIL, "") == []
        refused = await workspace.submit(GIL, given, form)
        elsewhere = await workspace.submit(ANA, given | {"channel": QUIET}, form)
        await settled(bot)
    assert refused["response_action"] == elsewhere["response_action"] == "push"
    assert "You don't have permission" in said_by(refused["view"]["blocks"])
    assert "can't be unsubscribed in this channel" in said_by(elsewhere["view"]["blocks"])
    assert [note for note in workspace.notes if note.buttons] == []


async def test_people_who_can_only_confirm(start: Start, listed: Path, workspace: Workspace) -> None:
    """Somebody who can confirm, but not request, cannot submit the form."""
    async with start(**TICKET, allowed_users=ANA, approvers=BEN) as bot:
        form = await open_form(workspace)
        given = {"number": await chosen(workspace), "reason": EXAMPLE}
        answer = await workspace.submit(BEN, given, form)
        await settled(bot)
    assert "You don't have permission to request numbers." in said_by(answer["view"]["blocks"])
    assert public(workspace) == []


@pytest.mark.parametrize(
    ("pattern", "example"),
    [("\\[OPS-[0-9]+\\] .+", "[OPS-12] campaign ended"), ("[0-9]{4,} .+", "48213 campaign ended")],
)
async def test_example_can_be_typed(
    start: Start, listed: Path, workspace: Workspace, pattern: str, example: str
) -> None:
    """The example of a refusal works as it stands: brackets stay, and its digits are no part of the number."""
    async with start(require_reason="true", reason_pattern=pattern, reason_example=example) as bot:
        await workspace.command(ANA, NUMBERS, "0480 000 000")
        await settled(bot)
        (said,) = private(workspace, ANA)
        card = await ask(workspace, text=said.split("`")[1].removeprefix("/unsubscribe-number "))
    assert f"Reason: {example}" in card.text


async def test_longest_example(start: Start, workspace: Workspace) -> None:
    """The form opens although the example is longer than its field can hint at."""
    async with start(require_reason="true", reason_example="\N{TELEPHONE RECEIVER}" * 100):
        await open_form(workspace)
    assert workspace.form_of(ANA)["blocks"][2]["element"]["placeholder"]["text"].endswith("…")


async def test_channel_without_the_bot(start: Start, listed: Path, workspace: Workspace) -> None:
    """In a private channel of which the bot is no member, the form's own response_url posts the card."""
    async with start(**TICKET) as bot:
        await open_form(workspace, SECRET)
        await workspace.submit(ANA, {"number": await chosen(workspace), "reason": EXAMPLE})
        await settled(bot)
    assert [note.text.split("\n")[-1] for note in public(workspace, SECRET)] == [f"Reason: {EXAMPLE}"]


async def test_open_card(start: Start, listed: Path, workspace: Workspace) -> None:
    """If there is a card already, the person who submitted the form reads where it is, and nobody else does."""
    async with start(**TICKET) as bot:
        await ask(workspace, BEN, text=f"{NUMBER} {EXAMPLE}")
        await open_form(workspace)
        await workspace.submit(ANA, {"number": await chosen(workspace), "reason": EXAMPLE})
        await settled(bot)
    assert len(public(workspace)) == 1
    assert private(workspace, ANA)[-1].startswith("There is already an open card for")


async def test_faulty_list(start: Start, listed: Path, workspace: Workspace) -> None:
    """A faulty list opens no form, and lets none be submitted: what was entered stays there."""
    async with start(**TICKET) as bot:
        form = await open_form(workspace)
        number = await chosen(workspace)
        listed.write_text("x", encoding="utf-8")
        answer = await workspace.submit(ANA, {"number": number, "reason": EXAMPLE}, form)
        await workspace.command(ANA, NUMBERS, "")
        await settled(bot)
    assert answer["response_action"] == "push"
    assert "The list of numbers cannot be used" in said_by(answer["view"]["blocks"])
    assert "The list of numbers cannot be used" in private(workspace, ANA)[0]
    assert len(workspace.dialogs) == 2


async def test_form_that_slack_does_not_open(start: Start, listed: Path, workspace: Workspace) -> None:
    """The person reads it, with another way."""
    workspace.faults["views.open"].append("429")
    async with start(**TICKET) as bot:
        await workspace.command(ANA, NUMBERS, "")
        await settled(bot)
    assert "If you see none, please try again." in private(workspace, ANA)[0]


async def test_form_that_slack_does_not_open_in_the_home(start: Start, workspace: Workspace) -> None:
    """Where no private reply is possible, the person reads it in a direct message."""
    workspace.faults["views.open"].append("500")
    async with start() as bot:
        await look(bot, workspace, ANA)
        await workspace.click_in_home(ANA, workspace.home_buttons(ANA)[0])
        await settled(bot)
    (said,) = public(workspace, f"D0{ANA}")
    assert "If you see none, please try again." in said.text


async def test_form_without_a_list(start: Start, workspace: Workspace) -> None:
    """Without a list of numbers the command alone opens the form too, and asks for the id."""
    async with start(**TICKET) as bot:
        await open_form(workspace)
        await workspace.submit(ANA, {"number": NUMBER, "reason": EXAMPLE})
        await settled(bot)
    assert f"Reason: {EXAMPLE}" in public(workspace)[0].text


async def test_command_without_a_trigger(start: Start, workspace: Workspace) -> None:
    """A command without a trigger_id, which opens no form, is answered with the other way."""
    async with start(**TICKET) as bot:
        fields = workspace.command_fields(ANA, NUMBERS, "")
        del fields["trigger_id"]
        await workspace.send("slash_commands", fields)
        await settled(bot)
    assert "You can also type the number and the reason" in private(workspace, ANA)[0]


async def test_picker_from_before(start: Start, listed: Path, workspace: Workspace) -> None:
    """A picker that is older than the setting opens the form, with its choice in it, instead of posting a card."""
    async with start() as bot:
        await workspace.command(ANA, NUMBERS, "")
        picker = next(note for note in workspace.notes if note.menu is not None)
        (option,) = await workspace.suggestions(ANA, picker, "Support")
    async with start(**TICKET) as bot:
        await workspace.choose(ANA, picker, option)
        await workspace.until(lambda: bool(workspace.dialogs))
        await workspace.submit(ANA, {"reason": EXAMPLE})
        await settled(bot)
    (card,) = public(workspace)
    assert card.text.startswith('*Unsubscribe +61 480 000 000 "Support line"?*')


@pytest.mark.parametrize("given", [NUMBER, f" `{NUMBER.upper()}`"])
async def test_button_in_the_home(start: Start, workspace: Workspace, cellcast: Cellcast, given: str) -> None:
    """The App Home's button opens the form, which asks for the channel; without a list, for the id."""
    async with start() as bot:
        await look(bot, workspace, ANA)
        (button,) = [b for b in workspace.home_buttons(ANA) if b["text"]["text"] == "Unsubscribe a number"]
        await workspace.click_in_home(ANA, button)
        await workspace.until(lambda: bool(workspace.dialogs))
        wrong = await workspace.submit(ANA, {"number": "+61 480 000 000", "channel": NUMBERS})
        two = await workspace.submit(ANA, {"number": f"{NUMBER} {OTHER}", "channel": NUMBERS})
        words = await workspace.submit(ANA, {"number": f"please not {NUMBER}", "channel": NUMBERS})
        assert await workspace.submit(ANA, {"number": given, "channel": NUMBERS}) == {}
        await settled(bot)
        await workspace.click(BEN, public(workspace)[0], "Unsubscribe Number")
        await settled(bot)
    assert wrong["errors"] == two["errors"] == words["errors"]
    assert wrong["errors"]["number"].startswith("This is not the id of a virtual number.")
    assert len(cellcast.calls) == 1


@pytest.mark.parametrize("fields", ["channel", "number", "reason", "everything"])
async def test_submission_with_less(start: Start, workspace: Workspace, clock: TestClock, fields: str) -> None:
    """A submission that lacks a field, which Slack's clients do not send, is answered and posts nothing wrong."""
    async with start() as bot:
        await look(bot, workspace, ANA)
        await workspace.click_in_home(ANA, workspace.home_buttons(ANA)[0])
        await workspace.until(lambda: bool(workspace.dialogs))
        payload = workspace.submission_payload(ANA, workspace.form_of(ANA), {"number": NUMBER, "channel": NUMBERS})
        values = payload["view"]["state"]["values"]
        for name in list(values) if fields == "everything" else [fields]:
            del values[name]
        ack = await workspace.send("interactive", payload)
        await settled(bot)
    assert bool(public(workspace)) == (fields == "reason")
    assert ("errors" in json.loads(ack.body or "{}")) == (fields != "reason")


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, "not required"),
        ({"REQUIRE_REASON": "true"}, "required"),
        (
            {name.upper(): value for name, value in TICKET.items()},
            f"required; each must match OPS-[0-9]+ .+, as '{EXAMPLE}' does",
        ),
        (
            {"REASON_PATTERN": "[a-z ]+"},
            "not required; each must match [a-z ]+, as 'campaign ended' does",
        ),
    ],
)
async def test_check_shows_the_rule(
    environment: dict[str, str], tmp_path: Path, settings: dict[str, str], line: str
) -> None:
    """`check` says whether reasons are required, and of which form."""
    _, out, _ = await run_command("check", settings=environment | settings, cwd=tmp_path)
    assert f"ok    Reasons: {line}\n" in out


def test_example_must_match(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """The start names an example that does not match, and a pattern that is invalid, without showing either."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("REASON_PATTERN", "OPS-[0-9]+")
    with pytest.raises(SettingsError, match="REASON_EXAMPLE is invalid: it does not match REASON_PATTERN"):
        load()
    monkeypatch.setenv("REASON_EXAMPLE", "OPS-1`")
    with pytest.raises(SettingsError, match="REASON_EXAMPLE is invalid: expected up to 100 characters"):
        load()
    monkeypatch.setenv("REASON_PATTERN", "OPS-[0-9]+  x")
    monkeypatch.setenv("REASON_EXAMPLE", "OPS-1  x")  # a reason has no two spaces
    with pytest.raises(SettingsError, match="REASON_EXAMPLE is invalid: expected up to 100 characters"):
        load()
    monkeypatch.setenv("REASON_PATTERN", "(")
    with pytest.raises(SettingsError, match="REASON_PATTERN is invalid: unclosed group"):
        load()

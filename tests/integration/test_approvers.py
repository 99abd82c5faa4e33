"""APPROVERS: some people request, and others confirm. Both are looked at again at each click."""

from __future__ import annotations

from pathlib import Path

import pytest

from bot import settings
from bot.errors import SettingsError
from sandbox.fake_cellcast import ANSWERS, SUCCESS, Cellcast
from sandbox.fake_slack import Workspace
from tests.conftest import (
    ANA,
    BEN,
    GIL,
    NUMBER,
    NUMBERS,
    OTHER,
    Start,
    TestClock,
    ask,
    card_buttons,
    current,
    private,
    public,
    settled,
)
from tests.integration.test_home import labels, look, said
from tests.process import run_command

GROUP = "S0ADMINS"
DENIED = f"You don't have permission to confirm requests. Ask <@{BEN}>. You can still click Keep Number."


@pytest.fixture(autouse=True)
def _separate(environment: dict[str, str]) -> None:
    """Ana requests, and Ben confirms."""
    environment |= {"ALLOWED_USERS": ANA, "APPROVERS": BEN}


async def test_requester_and_approver(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """The requester cannot confirm and reads who can; the approver can, also what is tried again."""
    cellcast.next.append(ANSWERS["timeout"])
    async with start(cellcast_timeout_seconds="0.2") as bot:
        card = await ask(workspace)
        await workspace.click(ANA, card, "Unsubscribe Number")
        await settled(bot)
        assert private(workspace, ANA) == [DENIED]
        assert current(workspace, card).buttons
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
        await workspace.click(ANA, current(workspace, card), "Try Again")
        await settled(bot)
        assert len(cellcast.calls) == 1
        await workspace.click(BEN, current(workspace, card), "Try Again")
        await settled(bot)
    assert private(workspace, ANA) == [DENIED] * 2
    assert len(cellcast.calls) == 2
    assert public(workspace)[-1].text.startswith(SUCCESS)


@pytest.mark.parametrize("user", [ANA, BEN])
async def test_both_keep(start: Start, workspace: Workspace, user: str) -> None:
    """Requesters and approvers keep a number."""
    async with start() as bot:
        card = await ask(workspace)
        await workspace.click(user, card, "Keep Number")
        await settled(bot)
    assert current(workspace, card).text.startswith("*Kept")


async def test_approver_requests_nothing(start: Start, workspace: Workspace) -> None:
    """Approvers who are no requesters read whom to ask; the record, the App Home and its buttons are for them too."""
    async with start() as bot:
        await workspace.command(BEN, NUMBERS, OTHER)
        assert private(workspace, BEN) == [f"You don't have permission to request numbers. Ask <@{ANA}>."]
        await ask(workspace)
        await workspace.command(BEN, NUMBERS, "history")
        await settled(bot)
        assert "is waiting for confirmation" in private(workspace, BEN)[-1]
        assert labels(workspace, BEN) if BEN in workspace.homes else await look(bot, workspace, BEN)
        await workspace.click_in_home(BEN, card_buttons(workspace, BEN)[0])
        await settled(bot)
        assert public(workspace)[-1].text.startswith(SUCCESS)
        shown = await look(bot, workspace, ANA)
        assert f"<@{ANA}> can request and keep numbers." in shown
        assert f"<@{BEN}> can confirm." in said(workspace, ANA)
        assert "You don't have permission" in await look(bot, workspace, GIL)


async def test_approver_of_a_group(start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock) -> None:
    """A member of a group confirms; one who was taken off it does not, and the requesters' group gives no such right."""
    workspace.groups |= {GROUP: [BEN], "S0SALES": [ANA, GIL]}
    async with start(allowed_users="S0SALES", approvers=GROUP) as bot:
        cards = [await ask(workspace, text=number) for number in (NUMBER, OTHER)]
        await workspace.click(GIL, cards[0], "Unsubscribe Number")
        await workspace.click(BEN, cards[0], "Unsubscribe Number")
        await settled(bot)
        assert len(cellcast.calls) == 1
        workspace.groups[GROUP] = []
        clock.advance(11)
        await workspace.click(BEN, cards[1], "Unsubscribe Number")
        await settled(bot)
    assert len(cellcast.calls) == 1
    assert f"<!subteam^{GROUP}>" in private(workspace, GIL)[0]
    assert f"<!subteam^{GROUP}>" in private(workspace, BEN)[0]


async def test_approvers_that_change(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """A card that was posted before a restart follows the approvers of now."""
    async with start():
        card = await ask(workspace)
    async with start(approvers=GIL) as bot:
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
        assert cellcast.calls == []
        await workspace.click(GIL, card, "Unsubscribe Number")
        await settled(bot)
    assert len(cellcast.calls) == 1


async def test_second_person(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """An approver who requested it cannot confirm it under the rule of the second person."""
    async with start(allowed_users=f"{ANA},{BEN}", approvers=f"{BEN},{GIL}", require_second_person="true") as bot:
        card = await ask(workspace, BEN)
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
        assert "someone else must confirm it. Ask " + f"<@{GIL}>." in private(workspace, BEN)[0]
        await workspace.click(GIL, card, "Unsubscribe Number")
        await settled(bot)
    assert len(cellcast.calls) == 1


async def test_help_names_both(start: Start, workspace: Workspace) -> None:
    """Help has a line for each list."""
    async with start():
        ack = await workspace.command(GIL, NUMBERS, "help")
    assert f"<@{ANA}> can request and keep numbers.\\n<@{BEN}> can confirm." in ack.body


async def test_check_names_both(environment: dict[str, str], tmp_path: Path) -> None:
    """`check` shows who can do what."""
    _, out, _ = await run_command("check", settings=environment, cwd=tmp_path)
    assert f"ok    People: can request and keep: {ANA}; can confirm: {BEN}\n" in out


@pytest.mark.parametrize(("requesters", "approvers", "starts"), [
    (ANA, ANA, False), (ANA, "", False), (ANA, BEN, True), (f"{ANA},{BEN}", ANA, True), (ANA, "*", True), (GROUP, GROUP, True),
])  # fmt: skip
def test_somebody_must_be_able_to_confirm(
    environment: dict[str, str], requesters: str, approvers: str, starts: bool
) -> None:
    """With the rule of the second person the bot does not start if nobody could ever confirm."""
    given = {name.lower(): value for name, value in environment.items()}
    given |= {"allowed_users": requesters, "approvers": approvers, "require_second_person": "true"}
    if not approvers:
        del given["approvers"]
    if starts:
        assert settings.load(**given).require_second_person
    else:
        with pytest.raises(SettingsError, match="nobody could confirm"):
            settings.load(**given)

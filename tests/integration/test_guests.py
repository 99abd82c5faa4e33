"""Guests of the workspace: `ALLOWED_USERS=*` leaves them out, in each form in which the bot can be used."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sandbox.fake_cellcast import Cellcast
from sandbox.fake_slack import TEAM, Workspace
from tests.conftest import ANA, GIL, NUMBER, NUMBERS, OTHER, Start, TestClock, ask, crossed, private, public
from tests.integration.test_enterprise import FORMS, looked_up, refused_without_an_answer, told, uses

GUEST = "Guests of the workspace can't unsubscribe numbers. Ask a member who is not a guest."
UNKNOWN = "cannot read from Slack whether you are a guest of the workspace"
# What users.info says: https://docs.slack.dev/reference/objects/user-object.
MULTI_CHANNEL, SINGLE_CHANNEL = (True, False), (True, True)


@pytest.fixture(autouse=True)
def _everyone(tmp_path: Path, environment: dict[str, str]) -> None:
    """Let everyone of the workspace use the bot, with a list of numbers, so that it has a menu."""
    numbers = tmp_path / "numbers.csv"
    numbers.write_text(f"id,number,label\n{NUMBER},,Support line\n{OTHER},,Campaign\n", encoding="utf-8")
    environment |= {"NUMBERS_FILE": str(numbers), "ALLOWED_USERS": "*"}


@pytest.mark.parametrize(("form", "kind"), crossed(FORMS, [MULTI_CHANNEL, SINGLE_CHANNEL, (False, True)]))
async def test_guest_is_refused(
    start: Start, workspace: Workspace, cellcast: Cellcast, form: str, kind: tuple[bool, bool]
) -> None:
    """A guest cannot request, confirm, keep, choose or read, and gets a reply that says so."""
    workspace.guests[GIL] = kind
    async with start() as bot:
        assert not await uses(bot, workspace, form, FORMS[form] and TEAM)
    assert form == "typing" or GUEST in told(workspace)
    assert cellcast.calls == []


@pytest.mark.parametrize(
    ("form", "case"),
    crossed(FORMS, ["a full member", "guests are allowed", "a guest in the list", "a guest in a group"]),
)
async def test_who_is_no_refused_guest(start: Start, workspace: Workspace, form: str, case: str) -> None:
    """Full members get in, and guests whom the operator allows."""
    changes = {
        "a full member": {},
        "guests are allowed": {"allow_guests": "true"},
        "a guest in the list": {"allowed_users": f"{ANA},{GIL}"},
        "a guest in a group": {"allowed_users": f"{ANA},S0ADMINS"},
    }[case]
    workspace.guests[GIL] = (case != "a full member", False)
    workspace.groups["S0ADMINS"] = [GIL]
    async with start(**changes) as bot:
        assert await uses(bot, workspace, form, FORMS[form] and TEAM)


async def test_guest_reads_no_record(start: Start, workspace: Workspace) -> None:
    """The record of requests is for members only; the help is for everyone."""
    workspace.guests[GIL] = MULTI_CHANNEL
    async with start():
        await ask(workspace)
        await workspace.command(GIL, NUMBERS, "history")
        await workspace.command(GIL, NUMBERS, "help")
    refused, usage = private(workspace, GIL)
    assert refused == GUEST
    assert usage.endswith("Everyone in the workspace, except guests, can request and confirm.")


@pytest.mark.parametrize(
    ("form", "fault"),
    crossed([form for form in FORMS if form != "home"], ["500", "missing_scope", "429", "garbage"]),
)
async def test_no_answer_about_a_person(
    start: Start, workspace: Workspace, cellcast: Cellcast, form: str, fault: str
) -> None:
    """If users.info does not answer, the person is refused and reads why and what to do; later it works."""
    await refused_without_an_answer(start, workspace, form, fault, TEAM, UNKNOWN)
    assert cellcast.calls == []


@pytest.mark.parametrize("said", [(None, None), (False, None), (None, False), ("no", "no")])
async def test_answer_that_does_not_tell(start: Start, workspace: Workspace, said: tuple[object, object]) -> None:
    """An answer of users.info that does not say whether the person is a guest is no permission."""
    workspace.guests[GIL] = said
    async with start() as bot:
        assert not await uses(bot, workspace, "command", TEAM)
    assert UNKNOWN in told(workspace)


async def test_look_up_that_hangs(start: Start, workspace: Workspace) -> None:
    """A command is acknowledged in time although users.info hangs."""
    async with start():
        workspace.faults["users.info"].append("hang")
        ack = await workspace.command(GIL, NUMBERS, NUMBER)
    assert (ack.status, ack.seconds < 3) == (200, True)
    assert UNKNOWN in told(workspace)
    assert public(workspace) == []


async def test_member_who_becomes_a_guest(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """Slack is asked once in five minutes, and for people who come at the same time once."""
    async with start() as bot:
        await asyncio.gather(*(uses(bot, workspace, "typing", TEAM) for _ in range(3)))
        asked = looked_up(workspace)
        workspace.guests[GIL] = MULTI_CHANNEL
        clock.advance(290)
        assert await uses(bot, workspace, "typing", TEAM)
        assert looked_up(workspace) == asked == 2  # Ana was shown the menu
        clock.advance(11)
        assert not await uses(bot, workspace, "typing", TEAM)


async def test_nobody_is_looked_up_needlessly(start: Start, workspace: Workspace) -> None:
    """Where guests make no difference, Slack is not asked about people."""
    for changes in ({"allow_guests": "true"}, {"allowed_users": f"{ANA},{GIL}"}):
        async with start(**changes):
            await workspace.command(ANA, NUMBERS, "history")
    assert looked_up(workspace) == 0

"""User groups in ALLOWED_USERS: who is in them now may, and who was taken off may not."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from sandbox.fake_cellcast import Cellcast
from sandbox.fake_slack import Workspace
from tests.conftest import (
    ANA,
    BEN,
    GIL,
    NUMBER,
    NUMBERS,
    Start,
    TestClock,
    ask,
    current,
    private,
    public,
    settled,
)
from tests.process import run_command

GROUP = "S0ADMINS"


async def test_members_may(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """Members of the group may ask and confirm; others are told which group may."""
    workspace.groups[GROUP] = [ANA]
    async with start(allowed_users=f"{GROUP},{BEN}") as bot:
        card = await ask(workspace, ANA)
        await workspace.click(GIL, card, "Unsubscribe Number")
        await settled(bot)
        assert private(workspace, GIL) == [
            f"You don't have permission to unsubscribe numbers. Ask <!subteam^{GROUP}> or <@{BEN}>."
        ]
        await workspace.click(ANA, card, "Unsubscribe Number")
        await settled(bot)
    assert len(cellcast.calls) == 1


async def test_person_taken_off_the_group(
    start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock
) -> None:
    """Rights are looked at again at the click: who is off the group since the asking is refused."""
    workspace.groups[GROUP] = [ANA]
    async with start(allowed_users=GROUP) as bot:
        card = await ask(workspace, ANA)
        workspace.groups[GROUP] = [BEN]
        clock.advance(11)
        await workspace.click(ANA, card, "Unsubscribe Number")
        await settled(bot)
        assert "You don't have permission to unsubscribe numbers" in private(workspace, ANA)[0]
        assert public(workspace) == [card]
        await workspace.click(BEN, card, "Keep Number")
        await settled(bot)
        assert "Kept" in current(workspace, card).text
    assert cellcast.calls == []


async def test_person_taken_off_the_list_by_a_restart(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """A card that was asked under an earlier list is confirmed under the one of now."""
    async with start(allowed_users=f"{ANA},{BEN}") as bot:
        card = await ask(workspace, ANA)
        await settled(bot)
    async with start(allowed_users=BEN) as bot:
        await workspace.click(ANA, card, "Unsubscribe Number")
        await settled(bot)
    assert "You don't have permission to unsubscribe numbers" in private(workspace, ANA)[0]
    assert cellcast.calls == []


@pytest.mark.parametrize("fault", ["500", "missing_scope", "hang", "429"])
async def test_slack_does_not_list_the_members(
    start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock, fault: str
) -> None:
    """For ten minutes the last known members hold; then nobody gets in by the group, in time for the ack."""
    workspace.groups[GROUP] = [ANA]
    async with start(allowed_users=GROUP) as bot:
        card = await ask(workspace, ANA)
        workspace.faults["usergroups.users.list"] += [fault] * 2
        clock.advance(601)
        ack = await workspace.click(ANA, card, "Unsubscribe Number")
        await settled(bot)
        assert ack.status == 200
        assert "cannot read from Slack who is in the user group" in private(workspace, ANA)[0]
        assert cellcast.calls == []
        workspace.faults["usergroups.users.list"].clear()
        clock.advance(31)
        await workspace.click(ANA, card, "Keep Number")
        await settled(bot)
        clock.advance(60)
        workspace.faults["usergroups.users.list"].append(fault)
        assert await ask(workspace, ANA)


async def test_clock_that_is_set_back(start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock) -> None:
    """Members are read again after their time even if somebody sets the clock back meanwhile."""
    workspace.groups[GROUP] = [ANA]
    async with start(allowed_users=GROUP) as bot:
        card = await ask(workspace, ANA)
        workspace.groups[GROUP] = [BEN]
        clock.set_back(600)
        clock.advance(11)
        await workspace.click(ANA, card, "Unsubscribe Number")
        await settled(bot)
        assert "You don't have permission to unsubscribe numbers" in private(workspace, ANA)[0]
    assert cellcast.calls == []


async def test_slow_group_holds_up_nobody(
    start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock
) -> None:
    """Clicks at the same time share a read that hangs; the last known members do, and the next clicks don't wait."""
    workspace.groups[GROUP] = [BEN]
    async with start(allowed_users=f"{GROUP},{ANA}") as bot:
        card = await ask(workspace, ANA)
        await workspace.click(BEN, card, "Keep Number")  # now the members are known
        card = await ask(workspace, ANA)
        clock.advance(11)
        reads = workspace.api_calls.count("usergroups.users.list")
        workspace.faults["usergroups.users.list"] += ["hang"] * 6
        acks = await asyncio.gather(*(workspace.click(BEN, card, "Unsubscribe Number") for _ in range(6)))
        assert [ack.status for ack in acks] == [200] * 6
        assert (await workspace.click(BEN, card, "Unsubscribe Number")).seconds < 1
        assert workspace.api_calls.count("usergroups.users.list") == reads + 1
        await settled(bot)
    assert len(cellcast.calls) == 1


@pytest.mark.parametrize("fault", ["429", "hang", "garbage"])
async def test_failed_read_is_remembered(
    start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock, fault: str
) -> None:
    """A group that Slack could not list is not read at each click: people read so at once, until some seconds later."""
    workspace.groups[GROUP] = [BEN]
    async with start(allowed_users=f"{GROUP},{ANA}") as bot:
        card = await ask(workspace, ANA)
        workspace.faults["usergroups.users.list"] += [fault] * 2
        for _ in range(3):
            await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
        assert workspace.api_calls.count("usergroups.users.list") == 1
        assert "cannot read from Slack who is in the user group" in private(workspace, BEN)[-1]
        workspace.faults["usergroups.users.list"].clear()
        clock.advance(31)
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
    assert len(cellcast.calls) == 1


async def test_answer_without_members(start: Start, workspace: Workspace) -> None:
    """An answer of Slack that lists no members is a failed read, and no group without members."""
    workspace.groups[GROUP] = "odd"  # type: ignore[assignment]  # what Slack never documented
    async with start(allowed_users=f"{GROUP},{ANA}") as bot:
        card = await ask(workspace, ANA)
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
        assert "cannot read from Slack who is in the user group" in private(workspace, BEN)[-1]


async def test_deleted_group(start: Start, workspace: Workspace, cellcast: Cellcast, clock: TestClock) -> None:
    """A group that was deleted has no members, and the members of another group still get in."""
    workspace.groups["S0SALES"] = [BEN]
    async with start(allowed_users=f"{GROUP},S0SALES") as bot:
        card = await ask(workspace, BEN)
        await workspace.click(GIL, card, "Unsubscribe Number")
        await settled(bot)
        assert "You don't have permission to unsubscribe numbers" in private(workspace, GIL)[0]
        clock.advance(11)
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
    assert len(cellcast.calls) == 1


async def test_check_explains_the_scope(tmp_path: Path, environment: dict[str, str], workspace: Workspace) -> None:
    """`check` counts the members of each group, and says what to do without the scope, the paid plan or the group."""
    workspace.groups[GROUP] = [ANA, BEN]
    settings = environment | {"ALLOWED_USERS": GROUP}
    for fault, says in (
        ("", "ok    Slack user groups: S0ADMINS has 2 members"),
        ("missing_scope", "(missing_scope): add the scope usergroups:read to the app and reinstall it."),
        (
            "plan_upgrade_required",
            "(plan_upgrade_required): user groups need a paid plan of Slack, so list people's ids",
        ),
        (
            "no_such_subteam",
            "(no_such_subteam): check the ids of the groups in ALLOWED_USERS, APPROVERS and NOTIFY_USERS.",
        ),
        ("500", "FAIL  Slack user groups: Slack cannot be reached: no usable answer ("),
    ):
        workspace.faults["usergroups.users.list"].append(fault)
        _, out, _ = await run_command("check", settings=settings, cwd=tmp_path)
        assert says in out


async def test_nobody_is_asked_for_groups_where_there_are_none(start: Start, workspace: Workspace) -> None:
    """Without groups in the list Slack is not asked for any."""
    async with start():
        await workspace.command(GIL, NUMBERS, NUMBER)
    assert "usergroups.users.list" not in workspace.api_calls


async def test_members_are_remembered_for_ten_seconds(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """Clicks and commands one after another ask Slack once; after ten seconds it is asked again."""
    workspace.groups[GROUP] = [ANA]
    async with start(allowed_users=GROUP):
        for _ in range(3):
            assert (await workspace.command(ANA, NUMBERS, "history")).status == 200
        assert workspace.api_calls.count("usergroups.users.list") == 1
        clock.advance(11)
        await workspace.command(ANA, NUMBERS, "history")
        assert workspace.api_calls.count("usergroups.users.list") == 2


@pytest.mark.parametrize(("later", "asked"), [(590, True), (610, False)])
async def test_last_known_members_hold_for_ten_minutes(
    start: Start, workspace: Workspace, clock: TestClock, later: float, asked: bool
) -> None:
    """While Slack does not list the members, those of the last ten minutes can use the bot, and nobody after that."""
    workspace.groups[GROUP] = [ANA]
    async with start(allowed_users=GROUP) as bot:
        await workspace.command(ANA, NUMBERS, "history")
        workspace.faults["usergroups.users.list"] += ["500"] * 9
        clock.advance(later)
        await workspace.command(ANA, NUMBERS, NUMBER)
        await settled(bot)
    assert bool(public(workspace)) is asked


async def test_command_that_cannot_be_checked_in_time(
    start: Start, workspace: Workspace, cellcast: Cellcast, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the check takes longer than an ack may, the ack itself says so, and there is no card."""
    monkeypatch.setattr("bot.receivers.bolt.ACK_BUDGET", 0.1)
    workspace.groups[GROUP] = [ANA]
    workspace.faults["usergroups.users.list"].append("hang")
    async with start(allowed_users=GROUP) as bot:
        ack = await workspace.command(ANA, NUMBERS, NUMBER)
        await settled(bot)
    assert ack.status == 200
    (line,) = private(workspace, ANA)
    assert "did not answer the bot in time" in line
    assert public(workspace) == []
    assert cellcast.calls == []

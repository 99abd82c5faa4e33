"""Enterprise organizations: members of the bot's own workspace are recognized, whichever of their teams Slack names."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from bot.app import Bot
from sandbox.fake_cellcast import Cellcast
from sandbox.fake_slack import TEAM, Ack, Note, Workspace
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
    crossed,
    current,
    private,
    public,
    settled,
)

ORG, SALES = "E0ORG", "T0SALES"
OTHER_ORG, PARTNER = "E0PARTNER", "T0PARTNER"
# Which of a person's teams Slack names in each form (https://github.com/slackapi/bolt-js/issues/1875).
FORMS = {
    "command": SALES,
    "click": SALES,
    "typing": ORG,
    "choice": SALES,
    "home": None,
    "click in home": SALES,
}
WITHOUT_TEAM = [form for form in FORMS if form != "command"]
STRANGER = "Only members of the workspaces that use this bot"
UNKNOWN = "cannot read from Slack which workspace you belong to"


@pytest.fixture(autouse=True)
def _listed(tmp_path: Path, environment: dict[str, str]) -> None:
    """Give the bot a list of numbers, so that it has a menu, and let everyone of its workspace use it."""
    numbers = tmp_path / "numbers.csv"
    numbers.write_text(f"id,number,label\n{NUMBER},,Support line\n{OTHER},,Campaign\n", encoding="utf-8")
    environment["NUMBERS_FILE"] = str(numbers)
    environment |= {"ALLOWED_USERS": "*", "ALLOW_GUESTS": "true"}  # test_guests.py has the rule for guests


async def menu(workspace: Workspace) -> Note:
    """The menu of numbers that Ana was shown."""
    await workspace.command(ANA, NUMBERS, "")
    return [note for note in workspace.notes if note.menu is not None][-1]


async def types(workspace: Workspace, user: str, team: str | None = ORG) -> bool:
    """Type in the menu; whether it offers anything."""
    found = next((note for note in workspace.notes if note.menu is not None), None) or await menu(workspace)
    return bool(await workspace.suggestions(user, found, "", team))


async def uses(bot: Bot, workspace: Workspace, form: str, team: str | None, user: str = GIL) -> bool:
    """Use the bot in one of its forms; whether it did what was asked for."""
    if form == "typing":
        return await types(workspace, user, team)
    if form == "command":
        assert team is not None
        await workspace.command(user, NUMBERS, OTHER, team)
        await settled(bot)
        return any(OTHER in note.text for note in public(workspace))
    if form == "choice":
        shown = await menu(workspace)
        (option,) = await workspace.suggestions(ANA, shown, "Campaign")
        await workspace.choose(user, shown, option, team)
        await settled(bot)
        return any(OTHER in note.text for note in public(workspace))
    if form == "home":
        await workspace.open_home(user)
        await settled(bot)
        return "Open requests" in json.dumps(workspace.homes[user])
    card = next((note for note in public(workspace) if note.buttons), None) or await ask(workspace)
    if form == "click":
        await workspace.click(user, card, "Keep Number", team)
    else:
        await workspace.open_home(ANA)
        await settled(bot)
        workspace.homes[user] = workspace.homes[ANA]
        await workspace.click_in_home(user, card_buttons(workspace, ANA)[1], team)
    await settled(bot)
    return current(workspace, card).text.startswith("*Kept")


async def refused_without_an_answer(
    start: Start, workspace: Workspace, form: str, fault: str, team: str | None, sentence: str
) -> None:
    """Use the bot while users.info has a fault: this sentence and the next step come, and later it works."""
    workspace.retry_after = 1
    async with start() as bot:
        await workspace.open_home(ANA)
        await settled(bot)
        workspace.faults["users.info"].append(fault)
        assert not await uses(bot, workspace, form, team)
        assert form == "typing" or sentence in told(workspace)
        assert form == "typing" or "Try again in a moment" in told(workspace)
        assert isinstance(bot.clock, TestClock)
        bot.clock.advance(1)
        assert await uses(bot, workspace, form, team)


def told(workspace: Workspace, user: str = GIL) -> str:
    """All that a person read: private lines, dialogs and the App Home."""
    dialogs = [view for who, view in workspace.dialogs if who == user]
    return json.dumps([private(workspace, user), dialogs, workspace.homes.get(user)])


def looked_up(workspace: Workspace) -> int:
    """How often the bot has asked Slack about a person."""
    return workspace.api_calls.count("users.info")


@pytest.mark.parametrize(("form", "team_id"), crossed(FORMS, [SALES, None]))
async def test_member_of_another_workspace_too(
    start: Start, workspace: Workspace, form: str, team_id: str | None
) -> None:
    """A person of the bot's organization and workspace may use it, although Slack names another workspace."""
    workspace.enterprise_id = ORG
    workspace.teams[GIL], workspace.enterprise_users[GIL] = team_id, (ORG, [SALES, TEAM])
    async with start() as bot:
        assert await uses(bot, workspace, form, FORMS[form])


@pytest.mark.parametrize(("form", "team_id"), crossed(FORMS, [SALES, None]))
async def test_member_of_other_workspaces_only(
    start: Start, workspace: Workspace, cellcast: Cellcast, form: str, team_id: str | None
) -> None:
    """A person of the bot's organization whose workspaces do not include the bot's own may not use it."""
    workspace.enterprise_id = ORG
    workspace.teams[GIL], workspace.enterprise_users[GIL] = team_id, (ORG, [SALES])
    async with start() as bot:
        assert not await uses(bot, workspace, form, FORMS[form])
    assert form == "typing" or STRANGER in told(workspace)
    assert cellcast.calls == []


@pytest.mark.parametrize(("form", "teams"), crossed(FORMS, [[PARTNER, TEAM], [PARTNER]]))
async def test_stranger_of_another_enterprise(
    start: Start, workspace: Workspace, cellcast: Cellcast, form: str, teams: list[str]
) -> None:
    """A member of another organization (Slack Connect) may not use the bot, whatever teams that organization lists."""
    workspace.enterprise_id = ORG
    workspace.teams[GIL], workspace.enterprise_users[GIL] = PARTNER, (OTHER_ORG, teams)
    async with start() as bot:
        assert not await uses(bot, workspace, form, {SALES: PARTNER, ORG: OTHER_ORG, None: None}[FORMS[form]])
    assert form == "typing" or STRANGER in told(workspace)
    assert cellcast.calls == []


@pytest.mark.parametrize("form", FORMS)
async def test_stranger_without_an_enterprise(start: Start, workspace: Workspace, form: str) -> None:
    """A member of another company that is in no organization may not use the bot of one that is."""
    workspace.enterprise_id = ORG
    workspace.teams[GIL] = PARTNER
    async with start() as bot:
        assert not await uses(bot, workspace, form, PARTNER)


@pytest.mark.parametrize("form", ["command", "click", "typing", "choice", "click in home"])
async def test_stranger_in_a_plain_workspace(start: Start, workspace: Workspace, form: str) -> None:
    """A bot outside of an organization refuses another team at once, without a call."""
    workspace.enterprise_users[GIL] = (ORG, [PARTNER, TEAM])
    async with start() as bot:
        await menu(workspace)
        assert not await uses(bot, workspace, form, PARTNER)
    asked_for_home = form == "click in home"  # Ana's own App Home, whose button is used
    assert looked_up(workspace) == asked_for_home


@pytest.mark.parametrize(("form", "enterprise"), crossed(WITHOUT_TEAM, ["", ORG]))
async def test_payload_without_a_team(start: Start, workspace: Workspace, form: str, enterprise: str) -> None:
    """If the payload names no team, users.info decides."""
    workspace.enterprise_id = enterprise
    workspace.teams[BEN] = PARTNER
    async with start() as bot:
        assert not await uses(bot, workspace, form, None, BEN)
        assert await uses(bot, workspace, form, None, GIL)


@pytest.mark.parametrize(("form", "fault"), crossed(WITHOUT_TEAM, ["500", "missing_scope", "429", "garbage"]))
async def test_payload_without_a_team_and_no_answer(
    start: Start, workspace: Workspace, cellcast: Cellcast, form: str, fault: str
) -> None:
    """If users.info does not answer either, the person is refused and reads why and what to do; later it works."""
    await refused_without_an_answer(start, workspace, form, fault, None, UNKNOWN)
    assert cellcast.calls == []


async def test_users_info_that_names_no_team(start: Start, workspace: Workspace) -> None:
    """An answer of users.info without any team decides nothing: the person is refused, and the reason is said."""
    workspace.teams[GIL] = None
    async with start() as bot:
        assert not await uses(bot, workspace, "click", None)
    assert UNKNOWN in told(workspace)


async def test_users_info_that_hangs(start: Start, workspace: Workspace) -> None:
    """A click is acknowledged in time although users.info hangs."""
    workspace.enterprise_id = ORG
    async with start() as bot:
        card = await ask(workspace)
        workspace.faults["users.info"].append("hang")
        ack: Ack = await workspace.click(GIL, card, "Keep Number", SALES)
        await settled(bot)
    assert ack.status == 200
    assert UNKNOWN in told(workspace)
    assert public(workspace) == [card]


async def test_user_groups_after_a_look_up(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """Both the person and the user group are asked for in time for the ack."""
    workspace.enterprise_id, workspace.groups["S0ADMINS"] = ORG, [GIL]
    workspace.enterprise_users[GIL] = (ORG, [SALES, TEAM])
    async with start(allowed_users=f"S0ADMINS,{ANA}") as bot:
        card = await ask(workspace)
        workspace.faults["usergroups.users.list"].append("hang")
        ack = await workspace.click(GIL, card, "Keep Number", SALES)
        await settled(bot)
        assert ack.status == 200
        assert "cannot read from Slack who is in the user group" in told(workspace)
        clock.advance(6)  # a failed read is remembered for a while
        await workspace.click(GIL, card, "Keep Number", SALES)
        await settled(bot)
    assert current(workspace, card).text.startswith("*Kept")


async def test_answer_is_remembered(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """The answer of users.info counts for five minutes, for every form; then Slack is asked again."""
    workspace.enterprise_id, workspace.enterprise_users[GIL] = ORG, (ORG, [SALES, TEAM])
    async with start() as bot:
        for form in ("typing", "command", "click", "home"):
            assert await uses(bot, workspace, form, FORMS[form])
        assert looked_up(workspace) == 1
        workspace.enterprise_users[GIL], workspace.teams[GIL] = (ORG, [SALES]), SALES
        clock.advance(290)
        assert await types(workspace, GIL)
        assert looked_up(workspace) == 1
        clock.advance(11)
        assert not await types(workspace, GIL)
        assert not await types(workspace, GIL)
        assert looked_up(workspace) == 2


async def test_failure_is_not_remembered(start: Start, workspace: Workspace) -> None:
    """After a failed look-up the next request asks Slack again."""
    workspace.enterprise_id, workspace.enterprise_users[GIL] = ORG, (ORG, [SALES, TEAM])
    workspace.faults["users.info"].append("500")
    async with start():
        assert not await types(workspace, GIL)
        assert await types(workspace, GIL)
    assert looked_up(workspace) == 2


async def test_people_are_not_remembered_without_end(
    start: Start, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a bounded number of people is remembered; the oldest answer makes room."""
    monkeypatch.setattr("bot.clients.directory.MAX_PEOPLE", 2)
    async with start():
        for user in (GIL, BEN, ANA, ANA, BEN):
            assert await types(workspace, user, None)
        assert looked_up(workspace) == 3
        assert await types(workspace, GIL, None)
        assert looked_up(workspace) == 4


async def test_look_ups_at_the_same_time(start: Start, workspace: Workspace) -> None:
    """Requests of one person that come together share one look-up."""
    workspace.enterprise_id, workspace.enterprise_users[GIL] = ORG, (ORG, [SALES, TEAM])
    async with start() as bot:
        await menu(workspace)

        async def all_here(step: str) -> None:
            while step == "before users.info" and len(bot.tasks._running) < 5:  # noqa: ASYNC110 - no event tells it
                await asyncio.sleep(0)

        workspace.on_step = all_here
        assert await asyncio.gather(*(types(workspace, GIL) for _ in range(5))) == [True] * 5
    assert looked_up(workspace) == 1


async def test_organization_in_allowed_teams(start: Start, workspace: Workspace) -> None:
    """If ALLOWED_TEAMS lists the organization, people of all its workspaces may use the bot, others may not."""
    workspace.enterprise_id = ORG
    workspace.teams |= {GIL: SALES, BEN: PARTNER}
    workspace.enterprise_users |= {GIL: (ORG, [SALES]), BEN: (OTHER_ORG, [PARTNER])}
    async with start(allowed_teams=ORG) as bot:
        await workspace.command(GIL, NUMBERS, "", SALES)
        assert await types(workspace, GIL, ORG)
        assert looked_up(workspace) == 1
        assert not await types(workspace, BEN, PARTNER)
        assert await uses(bot, workspace, "command", SALES)


async def test_log_names_the_refused_ids(
    start: Start, workspace: Workspace, capsys: pytest.CaptureFixture[str]
) -> None:
    """The line of a refusal names the person, the team of the payload, and the teams that users.info told."""
    workspace.enterprise_id = ORG
    workspace.teams[GIL], workspace.enterprise_users[GIL] = SALES, (ORG, [SALES, "T0LABS"])
    async with start() as bot:
        assert not await uses(bot, workspace, "click", SALES)
        workspace.faults["users.info"].append("500")
        await workspace.command(BEN, NUMBERS, NUMBER, PARTNER)
        await settled(bot)
    lines = capsys.readouterr().out.splitlines()
    known, unknown = [json.loads(line) for line in lines if '"event": "access_denied"' in line]
    assert (known["user"], known["team"]) == (GIL, SALES)
    assert (known["teams"], known["enterprise"]) == (["T0LABS", SALES], ORG)
    assert (unknown["user"], unknown["team"]) == (BEN, PARTNER)
    assert "teams" not in unknown

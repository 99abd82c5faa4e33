"""NOTIFY_USERS and REMIND_BEFORE_SECONDS: who hears of a new card, and of one that still waits."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from bot.app import Bot, Outside
from bot.settings import Settings
from sandbox.fake_cellcast import Cellcast
from sandbox.fake_slack import Workspace
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
    advance,
    ask,
    current,
    public,
    settled,
    text_of,
    thread_of,
)
from tests.process import run_command

GROUP = "S0ADMINS"
LINE = f"<!subteam^{GROUP}>, <@{BEN}>: please confirm or keep the number."


@pytest.fixture(autouse=True)
def _notified(environment: dict[str, str], workspace: Workspace) -> None:
    """Ben and a group are mentioned on a new card."""
    workspace.groups[GROUP] = [GIL, BEN]
    environment |= {"ALLOWED_USERS": f"{ANA},{BEN},{GROUP}", "NOTIFY_USERS": f"{GROUP},{BEN}"}


async def test_new_card_mentions_people(start: Start, workspace: Workspace) -> None:
    """Only the first post mentions them: no update does, and the App Home does not."""
    async with start() as bot:
        card = await ask(workspace)
        assert card.mentions == {ANA, BEN, GROUP}
        assert LINE in card.text
        assert LINE in text_of(card)
        assert card.text.startswith("*Unsubscribe virtual number*")
        await workspace.open_home(BEN)
        await settled(bot)
        assert GROUP not in str(workspace.homes[BEN][:3])
        await workspace.click(BEN, card, "Keep Number")
        await settled(bot)
    assert current(workspace, card).mentions == {ANA, BEN}


async def test_requester_who_cannot_confirm_is_left_out(start: Start, workspace: Workspace) -> None:
    """Under the rule of the second person nobody is asked to confirm their own request."""
    async with start(require_second_person="true"):
        card = await ask(workspace, BEN)
    assert f"<!subteam^{GROUP}>: please confirm" in card.text
    async with start(require_second_person="true", notify_users=BEN):
        card = await ask(workspace, BEN, text=OTHER)
    assert "please confirm" not in card.text


async def test_card_by_response_url_mentions_them_too(start: Start, workspace: Workspace) -> None:
    """Where the bot is no member, the card that goes by response_url mentions them."""
    async with start():
        card = await ask(workspace, channel=QUIET)
    assert LINE in card.text


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "ok    People to notify: a new card will notify 2 people"),
        ({"NOTIFY_USERS": BEN}, "ok    People to notify: a new card will notify 1 person"),
        ({"NOTIFY_USERS": ""}, "ok    People to notify: nobody: NOTIFY_USERS is not set"),
        ({"REMIND_BEFORE_SECONDS": "300"}, "ok    Reminder: 300 seconds before the deadline"),
        ({"ALLOWED_USERS": f"{ANA},{GROUP}", "NOTIFY_USERS": "U0CEM"}, "FAIL  People to notify: U0CEM cannot confirm."),
        ({"ALLOWED_USERS": "*", "NOTIFY_USERS": "U0CEM"}, "ok    People to notify: a new card will notify 1 person"),
    ],
)
async def test_check_counts_them(
    environment: dict[str, str], tmp_path: Path, changes: dict[str, str], says: str
) -> None:
    """`check` says how many people will be notified, and who of them cannot confirm."""
    given = {name: value for name, value in (environment | changes).items() if value}
    _, out, _ = await run_command("check", settings=given, cwd=tmp_path)
    assert says in out


async def test_check_without_an_answer(environment: dict[str, str], tmp_path: Path, workspace: Workspace) -> None:
    """`check` reads a group once, and both lines about it say equally well why Slack does not list its members."""
    await run_command("check", settings=environment, cwd=tmp_path)
    assert workspace.api_calls.count("usergroups.users.list") == 1
    for fault, says in (
        ("no_such_subteam", "Slack does not list their members (no_such_subteam): check the ids of the groups in "),
        ("429", "Slack received too many requests from this app. Wait a minute, then try again."),
    ):
        workspace.faults["usergroups.users.list"].append(fault)
        code, out, _ = await run_command("check", settings=environment, cwd=tmp_path)
        assert code == 1
        assert f"FAIL  Slack user groups: {says}" in out
        assert f"FAIL  People to notify: {says}" in out


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        (
            {"ALLOWED_USERS": "*"},
            "FAIL  People to notify: U0GIL (a guest, and ALLOW_GUESTS is off) cannot confirm. Add",
        ),
        ({"ALLOWED_USERS": "*", "ALLOW_GUESTS": "true"}, "ok    People to notify: a new card will notify 2 people"),
        ({}, "ok    People to notify: a new card will notify 2 people"),
        ({"NOTIFY_USERS": ANA}, "FAIL  People to notify: U0ANA (deactivated) cannot confirm. Add"),
    ],
)
async def test_check_finds_people_who_cannot_confirm(
    environment: dict[str, str], tmp_path: Path, workspace: Workspace, changes: dict[str, str], says: str
) -> None:
    """`check` knows guests whom only `*` would permit, and people whose account was closed."""
    workspace.guests[GIL] = (True, False)
    workspace.deactivated.add(ANA)
    _, out, _ = await run_command("check", settings=environment | changes, cwd=tmp_path)
    assert says in out


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        ("user_not_found", "FAIL  People to notify: U0BEN (Slack knows no such person) cannot confirm."),
        ("missing_scope", "FAIL  People to notify: Slack does not say who U0BEN is (missing_scope)."),
        ("429", "FAIL  People to notify: Slack received too many requests from this app."),
    ],
)
async def test_check_without_an_answer_about_a_person(
    environment: dict[str, str], tmp_path: Path, workspace: Workspace, fault: str, says: str
) -> None:
    """`check` says whom Slack does not know, and why Slack does not answer."""
    workspace.faults["users.info"].append(fault)
    code, out, _ = await run_command("check", settings=environment | {"NOTIFY_USERS": BEN}, cwd=tmp_path)
    assert code == 1
    assert says in out


async def test_check_looks_up_as_many_as_slack_allows(
    environment: dict[str, str], tmp_path: Path, workspace: Workspace
) -> None:
    """`check` looks up at most 50 people, and says so."""
    workspace.groups[GROUP] = [f"U0{n:03}" for n in range(60)]
    _, out, _ = await run_command("check", settings=environment | {"NOTIFY_USERS": GROUP}, cwd=tmp_path)
    assert workspace.api_calls.count("users.info") == 50
    assert "ok    People to notify: a new card will notify 60 people; only 50 were looked up" in out


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "ok    Slack user groups: warning: S0ADMINS has no members"),
        (
            {"ALLOWED_USERS": GROUP},
            "FAIL  Slack user groups: nobody could confirm, because no user group of S0ADMINS has",
        ),
        ({"APPROVERS": GROUP}, "FAIL  Slack user groups: nobody could confirm, because no user group of S0ADMINS has"),
        ({"ALLOWED_USERS": GROUP, "APPROVERS": BEN}, "ok    Slack user groups: warning: S0ADMINS has no members"),
        (
            {"ALLOWED_USERS": f"{GROUP},{BEN}", "REQUIRE_SECOND_PERSON": "true"},
            "FAIL  Slack user groups: nobody could confirm, because only U0BEN can request and confirm, and",
        ),
    ],
)
async def test_check_finds_empty_groups(
    environment: dict[str, str], tmp_path: Path, workspace: Workspace, changes: dict[str, str], says: str
) -> None:
    """`check` warns of a user group without members, and fails if nobody could confirm."""
    workspace.groups[GROUP] = []
    code, out, _ = await run_command("check", settings=environment | changes, cwd=tmp_path)
    assert says in out
    assert code == says.startswith("FAIL")


@REPEATED
@pytest.mark.parametrize("notify", [f"{GROUP},{BEN}", ""])
async def test_reminder(start: Start, workspace: Workspace, clock: TestClock, notify: str) -> None:
    """One reply in the thread, so long before the deadline, mentions the same people, or else the requester."""
    async with start(remind_before_seconds="300", notify_users=notify or None) as bot:
        card = await ask(workspace)
        await advance(bot, clock, 599)
        assert thread_of(workspace, card) == []
        for _ in range(4):
            await advance(bot, clock, 60)
    (said,) = thread_of(workspace, card)
    who = f"<!subteam^{GROUP}>, <@{BEN}>" if notify else f"<@{ANA}>"
    assert said.startswith(f"{who}: virtual number `{NUMBER}` still waits. It can be confirmed until <!date^")


@pytest.mark.parametrize("end", ["Keep Number", "Unsubscribe Number"])
async def test_no_reminder_of_what_is_decided(start: Start, workspace: Workspace, clock: TestClock, end: str) -> None:
    """A request that was decided is not waiting."""
    async with start(remind_before_seconds="300") as bot:
        card = await ask(workspace)
        await workspace.click(BEN, card, end)
        await settled(bot)
        before = len(workspace.notes)
        await advance(bot, clock, 700)
    assert len(workspace.notes) == before


@pytest.mark.parametrize(
    ("fault", "comes"), [("429", True), ("accesslimited", True), ("500", False), ("drop_after", True)]
)
async def test_reminder_that_slack_does_not_take(
    start: Start, workspace: Workspace, clock: TestClock, fault: str, comes: bool
) -> None:
    """A reminder is posted at most once: it waits for Slack's limit, and is not repeated after anything else."""
    async with start(remind_before_seconds="300") as bot:
        card = await ask(workspace)
        workspace.faults["chat.postMessage"].append(fault)
        clock.advance(601)
        for _ in range(5):
            await advance(bot, clock, 50)
    assert len([said for said in thread_of(workspace, card) if "still waits" in said]) == comes


async def test_decision_while_a_reminder_waits(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """Nobody reads that a card waits after somebody has decided."""
    async with start(remind_before_seconds="300") as bot:
        card = await ask(workspace)
        workspace.faults["chat.postMessage"].append("429")
        workspace.retry_after = 30
        await advance(bot, clock, 601)
        await workspace.click(BEN, card, "Keep Number")
        await settled(bot)
        await advance(bot, clock, 60)
    assert not [said for said in thread_of(workspace, card) if "still waits" in said]


async def test_reminder_after_the_response_url_is_over(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """If nothing else is left, the requester gets the reminder as a direct message."""
    async with start(remind_before_seconds="600", confirm_within_seconds="3600") as bot:
        await ask(workspace, channel=QUIET)
        await advance(bot, clock, 3001)
    assert ["still waits" in note.text for note in public(workspace, f"D0{ANA}")] == [True]


async def test_reminder_without_anybody_to_mention(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """Under the rule of the second person a requester who is the only one to notify is not asked to confirm."""
    async with start(remind_before_seconds="300", notify_users=BEN, require_second_person="true") as bot:
        card = await ask(workspace, BEN)
        await advance(bot, clock, 601)
    (said,) = thread_of(workspace, card)
    assert said.startswith("Virtual number")


async def test_decided_requests_have_no_reminder(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """What was decided or has expired is not looked at by later sweeps."""
    async with start(remind_before_seconds="300") as bot:
        cards = [await ask(workspace, text=f"{n:024x}") for n in range(3)]
        await workspace.click(BEN, cards[0], "Keep Number")
        await workspace.click(BEN, cards[1], "Unsubscribe Number")
        await settled(bot)
        clock.advance(901)
        await workspace.click(BEN, cards[2], "Unsubscribe Number")
        await settled(bot)
        assert [request.remind_at for request, _ in await bot.ledger.history()] == [None] * 3


async def test_reminder_where_the_bot_is_no_member(start: Start, workspace: Workspace, clock: TestClock) -> None:
    """Without a card to reply to, the reminder goes to the channel by the command's response_url."""
    async with start(remind_before_seconds="300") as bot:
        await ask(workspace, channel=QUIET)
        await advance(bot, clock, 601)
        assert ["still waits" in note.text for note in public(workspace, QUIET)] == [False, True]


@REPEATED
async def test_replicas_remind_once(
    start: Start, workspace: Workspace, clock: TestClock, environment: dict[str, str], cellcast: Cellcast
) -> None:
    """Of several replicas that sweep at the same moment one posts the reminder."""
    async with start(remind_before_seconds="300") as bot:
        cards = [await ask(workspace, text=number) for number in (NUMBER, OTHER)]
        given = {name.lower(): value for name, value in environment.items()} | {"remind_before_seconds": "300"}
        others = [Bot(Settings(_env_file=None, **given), Outside(clock=clock)) for _ in range(2)]  # type: ignore[arg-type]
        for other in others:
            await other.start(3600)
        clock.advance(601)
        await asyncio.gather(*(replica.scheduler.sweep() for replica in (bot, *others)))
        for replica in (bot, *others):
            await settled(replica)
        for other in others:
            await other.stop()
    assert [len(thread_of(workspace, card)) for card in cards] == [1, 1]

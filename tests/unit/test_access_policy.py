"""The rules of who may use the bot, and what people without permission read; no Slack, no settings."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bot.domain.access import AccessPolicy, Denial, Membership, People, Person, Right
from bot.views.replies import denied, rights

ANA, BEN, CEM, GIL = "U0ANA", "U0BEN", "U0CEM", "U0GIL"
HOME, SALES, PARTNER = "T0HOME", "T0SALES", "T0PARTNER"
ORG, OTHER_ORG = "E0ORG", "E0OTHER"


def listing(users: set[str] | None, *groups: str) -> AccessPolicy:
    """A policy with these people, who can request and confirm."""
    people = People(None if users is None else frozenset(users), frozenset(groups))
    return AccessPolicy(people, people, None, frozenset({HOME}))


LISTED, OPEN, GROUP = listing({ANA, BEN}), listing(None), listing(set(), "S0A")
# Ana and Ben request, Cem and a group confirm.
SEPARATE = replace(LISTED, approvers=People(frozenset({CEM}), frozenset({"S0A"})))
IN_ORG = replace(LISTED, enterprise_id=ORG)


def member(team: str | None, enterprise: str | None, *teams: str) -> Membership:
    """What users.info tells about a person."""
    return Membership(team, enterprise, frozenset(teams) | ({team} if team else set()))


@pytest.mark.parametrize(
    ("policy", "team_id", "needed"),
    [
        pytest.param(LISTED, HOME, False, id="the bot's own workspace"),
        pytest.param(LISTED, PARTNER, False, id="another workspace, no organization"),
        pytest.param(LISTED, None, True, id="no team"),
        pytest.param(IN_ORG, HOME, False, id="the bot's own workspace in an organization"),
        pytest.param(IN_ORG, SALES, True, id="another workspace in an organization"),
        pytest.param(IN_ORG, ORG, True, id="the organization itself"),
        pytest.param(OPEN, HOME, True, id="everyone, guests aside"),
        pytest.param(OPEN, PARTNER, False, id="everyone, another workspace"),
        pytest.param(replace(OPEN, guests=True), HOME, False, id="everyone and guests"),
    ],
)
def test_needs_membership(policy: AccessPolicy, team_id: str | None, needed: bool) -> None:
    """Slack is asked about a person only if the payload's team does not decide."""
    assert policy.needs_membership(Person(ANA, team_id), Right.REQUEST) is needed


@pytest.mark.parametrize(
    ("policy", "team_id", "membership", "denial"),
    [
        pytest.param(LISTED, HOME, None, None, id="the bot's own workspace"),
        pytest.param(LISTED, PARTNER, None, Denial.OTHER_TEAM, id="another workspace"),
        pytest.param(LISTED, None, None, Denial.UNKNOWN_TEAM, id="no team, and no answer from Slack"),
        pytest.param(LISTED, None, member(HOME, None), None, id="no team, a member of the workspace"),
        pytest.param(LISTED, None, member(PARTNER, None), Denial.OTHER_TEAM, id="no team, a member of another workspace"),
        pytest.param(IN_ORG, SALES, None, Denial.UNKNOWN_TEAM, id="another workspace, and no answer from Slack"),
        pytest.param(IN_ORG, SALES, member(SALES, ORG, HOME), None, id="a member of both workspaces"),
        pytest.param(IN_ORG, ORG, member(None, ORG, HOME), None, id="the organization, a member of the workspace"),
        pytest.param(IN_ORG, SALES, member(SALES, ORG), Denial.OTHER_TEAM, id="a member of other workspaces only"),
        pytest.param(IN_ORG, PARTNER, member(PARTNER, OTHER_ORG, HOME), Denial.OTHER_TEAM, id="another organization lists ours"),
        pytest.param(replace(IN_ORG, teams=frozenset({ORG})), SALES, member(SALES, ORG), None, id="the whole organization is allowed"),
    ],
)  # fmt: skip
def test_team(policy: AccessPolicy, team_id: str | None, membership: Membership | None, denial: Denial | None) -> None:
    """People of allowed teams get in; an unknown team is told apart from a wrong one."""
    assert policy.deny(Person(ANA, team_id), None, membership) is denial


@pytest.mark.parametrize("team_id", [HOME, None])
@pytest.mark.parametrize(
    ("policy", "guest", "denial"),
    [
        pytest.param(OPEN, False, None, id="a full member"),
        pytest.param(OPEN, True, Denial.GUEST, id="a guest"),
        pytest.param(OPEN, None, Denial.UNKNOWN_GUEST, id="Slack does not say"),
        pytest.param(replace(OPEN, guests=True), True, None, id="guests are allowed"),
        pytest.param(replace(OPEN, guests=True), None, None, id="guests are allowed, Slack does not say"),
        pytest.param(LISTED, True, None, id="a guest in the list"),
    ],
)
def test_guest(policy: AccessPolicy, team_id: str | None, guest: bool | None, denial: Denial | None) -> None:
    """Everyone does not include guests, unless the operator says so; a guest whom the operator lists gets in."""
    membership = replace(member(HOME, None), guest=guest)
    assert policy.deny(Person(ANA, team_id), None, membership) is None
    assert policy.deny_right(ANA, Right.CONFIRM, membership) is denial


def test_guest_without_an_answer() -> None:
    """If Slack does not answer, the person may be a guest, and is refused."""
    assert OPEN.deny_right(ANA, Right.REQUEST, None) is Denial.UNKNOWN_GUEST
    assert replace(OPEN, guests=True).deny_right(ANA, Right.REQUEST, None) is None


@pytest.mark.parametrize(
    ("channels", "channel", "denial"),
    [
        pytest.param(None, "C0ANY", None, id="every channel"),
        pytest.param(frozenset({"C0A"}), "C0A", None, id="a listed channel"),
        pytest.param(frozenset({"C0A"}), "C0B", Denial.CHANNEL, id="another channel"),
        pytest.param(frozenset({"C0A"}), None, None, id="the App Home"),
    ],
)
def test_channel(channels: frozenset[str] | None, channel: str | None, denial: Denial | None) -> None:
    """Only listed channels count; the App Home is no channel."""
    assert replace(LISTED, channels=channels).deny(Person(ANA, HOME), channel, None) is denial


@pytest.mark.parametrize(
    ("policy", "user", "rights"),
    [
        pytest.param(LISTED, ANA, set(Right), id="listed"),
        pytest.param(LISTED, GIL, set(), id="not listed"),
        pytest.param(GROUP, ANA, set(), id="groups only"),
        pytest.param(SEPARATE, ANA, {Right.REQUEST, Right.KEEP}, id="a requester"),
        pytest.param(SEPARATE, CEM, {Right.CONFIRM, Right.KEEP}, id="an approver"),
        pytest.param(replace(LISTED, approvers=People(None)), ANA, {Right.REQUEST, Right.KEEP}, id="a guest, listed as requester"),
    ],
)  # fmt: skip
def test_rights_of_a_person(policy: AccessPolicy, user: str, rights: set[Right]) -> None:
    """Requesters request, approvers confirm, and both keep and read; user groups are looked at elsewhere."""
    guest = replace(member(HOME, None), guest=True)
    assert {right for right in Right if policy.deny_right(user, right, guest) is None} == rights


def test_groups_of_a_right() -> None:
    """Slack is asked only about the groups that can give this right."""
    assert [SEPARATE.groups(right) for right in Right] == [frozenset(), {"S0A"}, {"S0A"}]


@pytest.mark.parametrize(
    ("second_person", "user", "can"),
    [
        pytest.param(False, ANA, True, id="no rule, the requester"),
        pytest.param(True, ANA, False, id="the requester"),
        pytest.param(True, BEN, True, id="someone else"),
    ],
)
def test_second_person(second_person: bool, user: str, can: bool) -> None:
    """With the rule on, the requester cannot confirm."""
    assert replace(LISTED, second_person=second_person).can_confirm(user, ANA) is can


IN_CHANNELS = replace(LISTED, channels=frozenset({"C0A", "C0B"}))
MANY = listing({f"U0{n:02}" for n in range(13)})


@pytest.mark.parametrize(
    ("denial", "policy", "user", "sentence"),
    [
        pytest.param(Denial.NOT_LISTED, LISTED, GIL, "You don't have permission to unsubscribe numbers. Ask <@U0ANA> or <@U0BEN>.", id="not listed"),
        pytest.param(Denial.NOT_LISTED, GROUP, GIL,
                     "You don't have permission to unsubscribe numbers. Ask <!subteam^S0A>.", id="not in the group"),
        pytest.param(Denial.NOT_LISTED, SEPARATE, ANA, "You don't have permission to confirm requests. Ask <!subteam^S0A> or <@U0CEM>. You can still click Keep Number.",
                     id="a requester who cannot confirm"),
        pytest.param(Denial.NOT_LISTED, SEPARATE, GIL, "You don't have permission to confirm requests. Ask <!subteam^S0A> or <@U0CEM>.", id="nobody of either list"),
        pytest.param(Denial.OTHER_TEAM, LISTED, GIL, "Only members of the workspaces that use this bot can unsubscribe numbers. Ask <@U0ANA> or <@U0BEN>.", id="another workspace"),
        pytest.param(Denial.OTHER_TEAM, OPEN, GIL, "Only members of the workspaces that use this bot can unsubscribe numbers. Ask someone in one of those workspaces.",
                     id="another workspace, everyone"),
        pytest.param(Denial.CHANNEL, IN_CHANNELS, ANA, "Numbers can't be unsubscribed in this channel. Use the command in <#C0A> or <#C0B>.", id="another channel"),
        pytest.param(Denial.CHANNEL, IN_CHANNELS, GIL, "Numbers can't be unsubscribed in this channel. Ask <@U0ANA> or <@U0BEN> in <#C0A> or <#C0B>.",
                     id="another channel, not listed"),
        pytest.param(Denial.GUEST, OPEN, GIL, "Guests of the workspace can't unsubscribe numbers. Ask a member who is not a guest.", id="a guest"),
        pytest.param(Denial.GUEST, replace(OPEN, channels=frozenset({"C0A"})), GIL,
                     "Guests of the workspace can't unsubscribe numbers. Ask a member who is not a guest in <#C0A>.", id="a guest, one channel"),
        pytest.param(Denial.REQUESTER, LISTED, ANA, "You requested this yourself, so someone else must confirm it. Ask <@U0BEN>. You can still click Keep Number.",
                     id="the requester"),
        pytest.param(Denial.REQUESTER, OPEN, ANA, "You requested this yourself, so someone else must confirm it. Ask someone else. You can still click Keep Number.",
                     id="the requester, everyone"),
    ],
)  # fmt: skip
def test_denied(denial: Denial, policy: AccessPolicy, user: str, sentence: str) -> None:
    """Each denial says why, and whom to ask or where to go, without naming the person who is denied."""
    assert denied(denial, policy, user, Right.CONFIRM) == sentence


@pytest.mark.parametrize(
    ("policy", "sentence"),
    [
        pytest.param(LISTED, "<@U0ANA> and <@U0BEN> can request and confirm.", id="two people"),
        pytest.param(OPEN, "Everyone in the workspace, except guests, can request and confirm.", id="everyone"),
        pytest.param(replace(OPEN, guests=True), "Everyone in the workspace can request and confirm.", id="everyone and guests"),
        pytest.param(IN_CHANNELS, "<@U0ANA> and <@U0BEN> can request and confirm in <#C0A> and <#C0B>.", id="two channels"),
        pytest.param(SEPARATE, "<@U0ANA> and <@U0BEN> can request and keep numbers.\n<!subteam^S0A> and <@U0CEM> can confirm.", id="approvers"),
        pytest.param(listing({ANA}), "<@U0ANA> can request and confirm.", id="one person"),
    ],
)  # fmt: skip
def test_rights(policy: AccessPolicy, sentence: str) -> None:
    """People read who can use the bot, and where."""
    assert rights(policy) == sentence


def test_long_lists_are_cut() -> None:
    """Of many people ten are named, and the rest counted."""
    assert rights(MANY).endswith("<@U009> and 3 more people can request and confirm.")

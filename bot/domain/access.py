"""The access rules: which people can use the bot, and in which channels. They look nothing up themselves."""

from __future__ import annotations

import enum
from dataclasses import dataclass


@dataclass(frozen=True)
class Person:
    """Someone who did something. Slack's payload names one of the person's teams, their organization, or no team."""

    user_id: str
    team_id: str | None


@dataclass(frozen=True)
class Membership:
    """The workspaces and the organization that a person belongs to, as far as users.info names them.

    `guest` is whether the person is a guest of the workspace; None if users.info does not say. `deactivated` is whether
    the account was closed. `name` is what Slack calls the person: anyone can choose any name.
    """

    team_id: str | None
    enterprise_id: str | None
    teams: frozenset[str]  # all workspaces, `team_id` included
    guest: bool | None = False
    deactivated: bool = False
    name: str = ""


class Right(enum.Enum):
    """What a person wants to do: request a number, confirm, or keep it and read what the bot shows."""

    REQUEST = enum.auto()
    CONFIRM = enum.auto()
    KEEP = enum.auto()


@dataclass(frozen=True)
class People:
    """The people whom a setting lists; `users` is None if it lists everyone."""

    users: frozenset[str] | None
    groups: frozenset[str] = frozenset()

    def name(self, user_id: str) -> bool:
        """Return whether the list names the person, everyone and user groups aside."""
        return self.users is not None and user_id in self.users


class Denial(enum.StrEnum):
    """Why a person was turned away."""

    UNKNOWN_TEAM = "unknown_team"  # Slack does not answer which workspaces the person belongs to
    OTHER_TEAM = "other_team"
    CHANNEL = "channel"
    UNKNOWN_GUEST = "unknown_guest"  # Slack does not answer whether the person is a guest of the workspace
    GUEST = "guest"
    UNKNOWN_GROUPS = "unknown_groups"  # Slack does not answer who is in the user groups
    NOT_LISTED = "not_listed"
    REQUESTER = "requester"  # someone else must confirm

    @property
    def temporary(self) -> bool:
        """Whether nobody knows yet: Slack does not answer."""
        return self in (Denial.UNKNOWN_TEAM, Denial.UNKNOWN_GUEST, Denial.UNKNOWN_GROUPS)


@dataclass(frozen=True)
class AccessPolicy:
    """The operator's rules. `channels` is None if every channel is allowed.

    `guests` is whether "everyone" includes the workspace's guests. A guest whom the operator has listed is always
    allowed.
    """

    requesters: People
    approvers: People
    channels: frozenset[str] | None
    teams: frozenset[str]
    enterprise_id: str | None = None
    second_person: bool = False
    guests: bool = False

    def people(self, right: Right) -> list[People]:
        """Return the lists of the people who have this right: each who can request or confirm can keep, and read."""
        lists = {Right.REQUEST: [self.requesters], Right.CONFIRM: [self.approvers]}
        return lists.get(right, [self.requesters, self.approvers])

    def groups(self, right: Right) -> frozenset[str]:
        """Return the user groups whose members have this right."""
        return frozenset().union(*(people.groups for people in self.people(right)))

    def needs_membership(self, person: Person, right: Right) -> bool:
        """Return whether only users.info can tell if this person has this right."""
        if self._needs_team(person):
            return True
        named = any(people.name(person.user_id) for people in self.people(right))
        return person.team_id in self.teams and self._allows_everyone(right) and not self.guests and not named

    def _needs_team(self, person: Person) -> bool:
        """Return whether only users.info can tell if this person belongs to an allowed team.

        Slack names the organization in a menu, and the person's primary workspace at a click: both can differ from an
        allowed workspace that the person belongs to as well (https://github.com/slackapi/bolt-js/issues/1875).
        """
        return person.team_id is None or (person.team_id not in self.teams and self.enterprise_id is not None)

    def _allows_everyone(self, right: Right) -> bool:
        return any(people.users is None for people in self.people(right))

    def is_member(self, person: Person, membership: Membership | None) -> bool:
        """Return whether the person belongs to an allowed team; `membership` is what users.info said, if asked."""
        if membership is None or person.team_id in self.teams:
            return person.team_id in self.teams
        if person.team_id is None and membership.team_id in self.teams:
            return True
        # Teams that another organization (Slack Connect) lists do not count.
        same = self.enterprise_id is not None and membership.enterprise_id == self.enterprise_id
        return same and bool(self.teams & {*membership.teams, membership.enterprise_id})

    def deny(self, person: Person, channel: str | None, membership: Membership | None) -> Denial | None:
        """Return why nobody of this person's teams can use the bot in this channel (None: any)."""
        if self._needs_team(person) and (membership is None or not membership.teams):
            return Denial.UNKNOWN_TEAM
        if not self.is_member(person, membership):
            return Denial.OTHER_TEAM
        if channel is not None and not self.allows_channel(channel):
            return Denial.CHANNEL
        return None

    def allows_channel(self, channel: str) -> bool:
        """Return whether the bot can be used in this channel."""
        return self.channels is None or channel in self.channels

    def deny_right(self, user_id: str, right: Right, membership: Membership | None) -> Denial | None:
        """Return why a person lacks a right, user groups aside."""
        if any(people.name(user_id) for people in self.people(right)):
            return None
        if not self._allows_everyone(right):
            return Denial.NOT_LISTED
        if self.guests or (membership is not None and membership.guest is False):
            return None
        return Denial.GUEST if membership is not None and membership.guest else Denial.UNKNOWN_GUEST

    def can_confirm(self, user_id: str, requested_by: str) -> bool:
        """Return whether this person can confirm what `requested_by` has requested."""
        return not (self.second_person and user_id == requested_by)

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

    `guest` is whether the person is a guest of the workspace; None if users.info does not say.
    """

    team_id: str | None
    enterprise_id: str | None
    teams: frozenset[str]  # all workspaces, `team_id` included
    guest: bool | None = False


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
    """The operator's rules. `users` and `channels` are None if everyone, or every channel, is allowed.

    `guests` is whether "everyone" includes the workspace's guests. A guest whom the operator has listed is always
    allowed.
    """

    users: frozenset[str] | None
    groups: frozenset[str]
    channels: frozenset[str] | None
    teams: frozenset[str]
    enterprise_id: str | None = None
    second_person: bool = False
    guests: bool = False

    def needs_membership(self, person: Person) -> bool:
        """Return whether only users.info can tell if this person may use the bot."""
        return self._needs_team(person) or (person.team_id in self.teams and self._refuses_guests())

    def _needs_team(self, person: Person) -> bool:
        """Return whether only users.info can tell if this person belongs to an allowed team.

        Slack names the organization in a menu, and the person's primary workspace at a click: both can differ from an
        allowed workspace that the person belongs to as well (https://github.com/slackapi/bolt-js/issues/1875).
        """
        return person.team_id is None or (person.team_id not in self.teams and self.enterprise_id is not None)

    def _refuses_guests(self) -> bool:
        return self.users is None and not self.guests

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
        """Return why this person can't use the bot in this channel (None: any), the list of people aside."""
        if self._needs_team(person) and (membership is None or not membership.teams):
            return Denial.UNKNOWN_TEAM
        if not self.is_member(person, membership):
            return Denial.OTHER_TEAM
        if channel is not None and self.channels is not None and channel not in self.channels:
            return Denial.CHANNEL
        if self._refuses_guests() and (membership is None or membership.guest is not False):
            return Denial.GUEST if membership is not None and membership.guest else Denial.UNKNOWN_GUEST
        return None

    def lists(self, user_id: str) -> bool:
        """Return whether the list names the person, user groups aside."""
        return self.users is None or user_id in self.users

    def can_confirm(self, user_id: str, requested_by: str) -> bool:
        """Return whether this person can confirm what `requested_by` has requested."""
        return not (self.second_person and user_id == requested_by)

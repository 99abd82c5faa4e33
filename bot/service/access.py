"""Access to requesting and confirming: checks the rules of the settings at each command and click."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from bot.clients.directory import GROUP_TIMEOUT, Members, UserGroups
from bot.clients.slack import Slack
from bot.domain.access import AccessPolicy, Denial, Membership, People, Person, Right
from bot.domain.models import Request
from bot.errors import RequestDeniedError
from bot.settings import EVERYONE, Settings
from bot.views import replies

log = structlog.get_logger("bot.access")
# The ack is due within 3 s: both look-ups together have one limit.
CHECK_TIMEOUT = 2.5


def policy_of(settings: Settings, home_team: str, enterprise_id: str | None) -> AccessPolicy:
    """Return the rules that the settings ask for."""
    return AccessPolicy(
        requesters=_people(settings.allowed_users),
        approvers=_people(settings.people_who_confirm),
        channels=None if EVERYONE in settings.allowed_channels else settings.allowed_channels,
        teams=settings.allowed_teams or frozenset({home_team}),
        enterprise_id=enterprise_id,
        second_person=settings.require_second_person,
        guests=settings.allow_guests,
    )


def _people(ids: frozenset[str]) -> People:
    groups = frozenset(i for i in ids if i.startswith("S"))
    return People(None if EVERYONE in ids else ids - groups, groups)


class Access:
    """Checks people against the rules."""

    def __init__(
        self,
        settings: Settings,
        home_team: str,
        slack: Slack,
        monotonic: Callable[[], float] = time.monotonic,
        enterprise_id: str | None = None,
    ) -> None:
        self.policy = policy_of(settings, home_team, enterprise_id)
        self._groups = UserGroups(self.policy.groups(Right.KEEP), slack, monotonic)
        self.members = Members(slack, monotonic)

    async def check(self, who: Person, channel: str | None, right: Right, about: str = "") -> None:
        """Raise RequestDeniedError, naming who can help, if this person lacks a right in this channel (None: any).

        `about` is the request that the log names beside the person.
        """
        denial, membership = await self._find_denial(who, channel, right)
        if denial is None:
            return
        teams = (
            {} if membership is None else {"teams": sorted(membership.teams), "enterprise": membership.enterprise_id}
        )
        log.warning(
            "access_denied", user=who.user_id, team=who.team_id, **teams, channel=channel, request=about, why=denial
        )
        raise RequestDeniedError(replies.denied(denial, self.policy, who.user_id, right), temporary=denial.temporary)

    async def denial(self, who: Person, right: Right) -> Denial | None:
        """Return why this person lacks a right, None if they have it."""
        return (await self._find_denial(who, None, right))[0]

    async def _find_denial(
        self, who: Person, channel: str | None, right: Right
    ) -> tuple[Denial | None, Membership | None]:
        """Return why a person lacks a right, if they do, and what Slack says of the person, if it was asked."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CHECK_TIMEOUT
        needed = self.policy.needs_membership(who, right)
        membership = await self.members.find(who.user_id) if needed else None
        denial = self.policy.deny(who, channel, membership)
        if denial is None:
            denial = self.policy.deny_right(who.user_id, right, membership)
            if denial is not None and (groups := self.policy.groups(right)):
                found = await self._groups.contain(who.user_id, groups, min(GROUP_TIMEOUT, deadline - loop.time()))
                if found:
                    denial = None
                elif found is None and denial is Denial.NOT_LISTED:
                    denial = Denial.UNKNOWN_GROUPS
        return denial, membership

    def check_decision(self, user_id: str, request: Request) -> None:
        """Raise RequestDeniedError if this person requested it, and someone else must confirm."""
        if not self.policy.can_confirm(user_id, request.requested_by):
            why = Denial.REQUESTER
            log.warning("access_denied", user=user_id, requested_by=request.requested_by, request=request.id, why=why)
            raise RequestDeniedError(replies.denied(why, self.policy, user_id, Right.CONFIRM))

    def rights(self) -> str:
        """Return the sentences that name the people with permission, and the channels."""
        return replies.rights(self.policy)

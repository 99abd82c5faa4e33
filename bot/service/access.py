"""Access to requesting and confirming: checks the rules of the settings at each command and click."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from bot.clients.directory import GROUP_TIMEOUT, People, UserGroups
from bot.clients.slack import Slack
from bot.domain.access import AccessPolicy, Denial, Person
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
        users=None if EVERYONE in settings.allowed_users else settings.allowed_users - settings.allowed_groups,
        groups=settings.allowed_groups,
        channels=None if EVERYONE in settings.allowed_channels else settings.allowed_channels,
        teams=settings.allowed_teams or frozenset({home_team}),
        enterprise_id=enterprise_id,
        second_person=settings.require_second_person,
        guests=settings.allow_guests,
    )


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
        self._groups = UserGroups(self.policy.groups, slack, monotonic)
        self._people = People(slack, monotonic)

    async def check(self, who: Person, channel: str | None, about: str = "") -> None:
        """Raise RequestDeniedError, naming who can help, if this person lacks permission in this channel (None: any).

        `about` is the request that the log names beside the person.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + CHECK_TIMEOUT
        membership = await self._people.find(who.user_id) if self.policy.needs_membership(who) else None
        denial = self.policy.deny(who, channel, membership)
        if denial is None and not self.policy.lists(who.user_id):
            found = await self._groups.contain(who.user_id, min(GROUP_TIMEOUT, deadline - loop.time()))
            if found is None:
                denial = Denial.UNKNOWN_GROUPS
            elif not found:
                denial = Denial.NOT_LISTED
        if denial is None:
            return
        teams = (
            {} if membership is None else {"teams": sorted(membership.teams), "enterprise": membership.enterprise_id}
        )
        log.warning(
            "access_denied", user=who.user_id, team=who.team_id, **teams, channel=channel, request=about, why=denial
        )
        raise RequestDeniedError(replies.denied(denial, self.policy, who.user_id), temporary=denial.temporary)

    def check_decision(self, user_id: str, request: Request) -> None:
        """Raise RequestDeniedError if this person requested it, and someone else must confirm."""
        if not self.policy.can_confirm(user_id, request.requested_by):
            why = Denial.REQUESTER
            log.warning("access_denied", user=user_id, requested_by=request.requested_by, request=request.id, why=why)
            raise RequestDeniedError(replies.denied(why, self.policy, user_id))

    def rights(self) -> str:
        """Return the sentence that names the people with permission, and the channels."""
        return replies.rights(self.policy)

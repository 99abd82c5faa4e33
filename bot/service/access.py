"""Who may ask, who may confirm."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from bot.clients.slack import Membership, Slack
from bot.domain.models import Request
from bot.errors import RequestDenied, SlackError
from bot.settings import EVERYONE, Settings
from bot.views.cards import person

log = structlog.get_logger("bot.access")
MAX_NAMES = 10
# Members of a user group are asked for again after this; a person taken off it is out at the latest then.
GROUP_CACHE_SECONDS = 10.0
# Without an answer of Slack the last known members hold this long; then nobody gets in by a group.
GROUP_STALE_SECONDS = 600.0
# The ack is due within 3 s: each call has its limit, and both calls together have one.
GROUP_TIMEOUT = PERSON_TIMEOUT = 1.5
CHECK_TIMEOUT = 2.5
# The answers of users.info: how long they count, and how many are kept.
PERSON_CACHE_SECONDS = 300.0
MAX_PEOPLE = 10_000
GROUPS_UNREADABLE = (
    "The bot cannot read from Slack who is in the user group that may do this. Nothing was done. Please try again in a "
    "moment; if it stays so, an administrator should run `python -m bot check`."
)
UNKNOWN_TEAM = (
    "The bot cannot read from Slack which workspace you belong to. Nothing was done. Try again in a moment. If this "
    "keeps happening, ask an administrator to run `python -m bot check`."
)


@dataclass(frozen=True)
class Person:
    """Who did something. Slack's payload names one of the person's teams, their organization, or no team at all."""

    user_id: str
    team_id: str | None


class Groups:
    """The members of Slack's user groups, remembered for a few seconds. `now` tells seconds since the epoch."""

    def __init__(self, ids: frozenset[str], slack: Slack, now: Callable[[], float] = time.time) -> None:
        self._ids, self._slack, self._now = sorted(ids), slack, now
        self._members: frozenset[str] = frozenset()
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def hold(self, user_id: str, within: float = GROUP_TIMEOUT) -> bool:
        """Whether one of the groups has this member now. Raises RequestDenied where that cannot be known."""
        if not self._ids:
            return False
        async with self._reading:
            if self._now() - self._read_at > GROUP_CACHE_SECONDS:
                await self._read(within)
        return user_id in self._members

    async def _read(self, within: float) -> None:
        try:
            async with asyncio.timeout(within):
                found = await asyncio.gather(*(self._slack.group_members(group) for group in self._ids))
        except (SlackError, TimeoutError) as error:
            log.warning("user_group_unavailable", error=str(error))
            if self._now() - self._read_at > GROUP_STALE_SECONDS:
                raise RequestDenied(GROUPS_UNREADABLE) from None
        else:
            self._members, self._read_at = frozenset().union(*found), self._now()


class People:
    """What users.info says about people, remembered for a few minutes. `now` tells seconds since the epoch."""

    def __init__(self, slack: Slack, now: Callable[[], float] = time.time) -> None:
        self._slack, self._now = slack, now
        self._known: dict[str, tuple[float, Membership]] = {}  # oldest answer first
        self._asking: dict[str, asyncio.Task[Membership | None]] = {}

    async def find(self, user_id: str) -> Membership | None:
        """Return where a person belongs, or None if Slack does not tell. Requests at the same time share one call."""
        read_at, known = self._known.get(user_id, (float("-inf"), None))
        if self._now() - read_at <= PERSON_CACHE_SECONDS:
            return known
        if (asking := self._asking.get(user_id)) is None:
            asking = self._asking[user_id] = asyncio.create_task(self._ask(user_id))
            asking.add_done_callback(lambda _: self._asking.pop(user_id))
        return await asyncio.shield(asking)  # a request that is cancelled does not take the answer from the others

    async def _ask(self, user_id: str) -> Membership | None:
        try:
            async with asyncio.timeout(PERSON_TIMEOUT):
                found = await self._slack.membership(user_id)
        except (SlackError, TimeoutError) as error:
            log.warning("user_unavailable", user=user_id, error=str(error) or type(error).__name__)
            return None
        self._known.pop(user_id, None)
        self._known[user_id] = self._now(), found
        if len(self._known) > MAX_PEOPLE:
            del self._known[next(iter(self._known))]
        return found


class Access:
    """The rules of the settings, looked at anew for each command and each press."""

    def __init__(
        self,
        settings: Settings,
        home_team: str,
        slack: Slack,
        now: Callable[[], float] = time.time,
        enterprise_id: str | None = None,
    ) -> None:
        self._groups = frozenset(i for i in settings.allowed_users if i.startswith("S"))
        self._users = settings.allowed_users - self._groups
        self._members = Groups(self._groups, slack, now)
        self._channels = settings.allowed_channels
        self._second_person = settings.require_second_person
        self._teams = settings.allowed_teams or frozenset({home_team})
        self._lookups = People(slack, now)
        self._enterprise_id = enterprise_id

    async def check(self, who: Person, channel: str | None, about: str = "") -> None:
        """Raise RequestDenied, with who may instead, unless this person may ask and decide in this channel (None: any).

        `about` is the request that the log names beside the person.
        """
        loop = asyncio.get_running_loop()
        due = loop.time() + CHECK_TIMEOUT
        found = await self._lookups.find(who.user_id) if (asked := self._must_ask(who)) else None
        if asked and found is None:
            sentence = UNKNOWN_TEAM
        elif not self._is_ours(who.team_id, found):
            sentence = "Only members of this bot's own workspace may unsubscribe numbers."
        elif channel is not None and EVERYONE not in self._channels and channel not in self._channels:
            sentence = "Numbers cannot be unsubscribed in this channel."
        elif not await self._is_listed(who.user_id, min(GROUP_TIMEOUT, due - loop.time())):
            sentence = "You may not unsubscribe numbers."
        else:
            return
        told = {} if found is None else {"teams": sorted(found.teams), "enterprise": found.enterprise_id}
        log.warning(
            "access_denied", user=who.user_id, team=who.team_id, **told, channel=channel, request=about, why=sentence
        )
        raise RequestDenied(sentence if sentence == UNKNOWN_TEAM else f"{sentence} {self.who_may()}")

    def _must_ask(self, who: Person) -> bool:
        """Whether only users.info can tell if this person belongs to an allowed team.

        Slack names the organization in a menu, and the person's primary workspace at a click: both can differ from an
        allowed workspace that the person belongs to as well (https://github.com/slackapi/bolt-js/issues/1875).
        """
        return who.team_id is None or (who.team_id not in self._teams and self._enterprise_id is not None)

    def _is_ours(self, team_id: str | None, found: Membership | None) -> bool:
        if found is None:
            return team_id in self._teams
        if team_id is None and found.team_id in self._teams:
            return True
        # Teams that another organization (Slack Connect) lists do not count.
        same = self._enterprise_id is not None and found.enterprise_id == self._enterprise_id
        return same and bool(self._teams & {*found.teams, found.enterprise_id})

    async def _is_listed(self, user_id: str, within: float) -> bool:
        return bool({EVERYONE, user_id} & self._users) or await self._members.hold(user_id, within)

    def check_decision(self, user_id: str, request: Request) -> None:
        """Raise RequestDenied where another person than the one who asked must confirm."""
        if self._second_person and user_id == request.requested_by:
            why = "You asked for this yourself, so another person must confirm; you can press Keep Number."
            log.warning("access_denied", user=user_id, requested_by=request.requested_by, request=request.id, why=why)
            raise RequestDenied(f"{why} {self.who_may()}")

    def who_may(self) -> str:
        """Who may use the bot, and where: the end of every refusal, so that a person knows whom to ask."""
        everyone, somewhere = EVERYONE in self._users, EVERYONE not in self._channels
        ask = "" if everyone else f": ask one of them{' there' if somewhere else ''}"
        return f"{self._people()} may do so{self._where()}{ask}."

    def rights(self) -> str:
        """The same for people who may."""
        return f"Who may ask and confirm: {self._people()}{self._where()}."

    def _people(self) -> str:
        names = [f"<!subteam^{g}>" for g in sorted(self._groups)] + [person(u) for u in sorted(self._users)]
        return "Everyone in the workspace" if EVERYONE in self._users else _listed(names, "people")

    def _where(self) -> str:
        if EVERYONE in self._channels:
            return ""
        return ", in " + _listed([f"<#{c}>" for c in sorted(self._channels)], "channels")


def _listed(names: list[str], what: str) -> str:
    shown = ", ".join(names[:MAX_NAMES])
    more = len(names) - MAX_NAMES
    return f"{shown} and {more} more {what}" if more > 0 else shown

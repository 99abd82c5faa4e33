"""What Slack knows of people: members of user groups, and the workspaces of a person, each remembered for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import structlog

from bot.clients.slack import Slack
from bot.domain.access import Membership
from bot.errors import SlackError

log = structlog.get_logger("bot.access")

# The members of user groups are read again after this; someone removed from a group loses access then at the latest.
GROUP_CACHE_SECONDS = 10.0
# Without an answer from Slack the last known members count for this long; then nobody gets in through a group.
GROUP_STALE_SECONDS = 600.0
# The ack is due within 3 s, so each call has its limit.
GROUP_TIMEOUT = PERSON_TIMEOUT = 1.5
# The answers of users.info: how long they count, and how many are kept.
PERSON_CACHE_SECONDS = 300.0
MAX_PEOPLE = 10_000


class UserGroups:
    """The members of Slack's user groups, remembered for a few seconds. `now` returns seconds since the epoch."""

    def __init__(self, ids: frozenset[str], slack: Slack, now: Callable[[], float] = time.time) -> None:
        self._ids, self._slack, self._now = sorted(ids), slack, now
        self._members: frozenset[str] = frozenset()
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def contain(self, user_id: str, within: float = GROUP_TIMEOUT) -> bool | None:
        """Return whether one of the groups has this member now, or None if Slack has not answered for too long."""
        if not self._ids:
            return False
        async with self._reading:
            known = self._now() - self._read_at <= GROUP_CACHE_SECONDS or await self._read(within)
        return user_id in self._members if known else None

    async def _read(self, within: float) -> bool:
        """Read the members; False if that failed and the last known ones are too old."""
        try:
            reading = asyncio.gather(*(self._slack.group_members(group) for group in self._ids))
            found = await asyncio.wait_for(reading, within)
        except (SlackError, TimeoutError) as error:
            log.warning("user_group_unavailable", error=str(error))
            return self._now() - self._read_at <= GROUP_STALE_SECONDS
        self._members, self._read_at = frozenset().union(*found), self._now()
        return True


class People:
    """What users.info says about people, remembered for a few minutes. `now` returns seconds since the epoch."""

    def __init__(self, slack: Slack, now: Callable[[], float] = time.time) -> None:
        self._slack, self._now = slack, now
        self._known: dict[str, tuple[float, Membership]] = {}  # oldest answer first
        self._lookups: dict[str, asyncio.Task[Membership | None]] = {}

    async def find(self, user_id: str) -> Membership | None:
        """Return where a person belongs, or None if Slack does not answer. Requests at the same time share one call."""
        read_at, known = self._known.get(user_id, (float("-inf"), None))
        if self._now() - read_at <= PERSON_CACHE_SECONDS:
            return known
        if (lookup := self._lookups.get(user_id)) is None:
            lookup = self._lookups[user_id] = asyncio.create_task(self._look_up(user_id))
            lookup.add_done_callback(lambda _: self._lookups.pop(user_id))
        return await asyncio.shield(lookup)  # a request that is cancelled does not take the answer from the others

    async def _look_up(self, user_id: str) -> Membership | None:
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

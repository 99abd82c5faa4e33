"""What Slack knows of people: members of user groups, and the workspaces of a person, each remembered for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from bot.clients.slack import Slack
from bot.domain.access import Membership
from bot.errors import SlackError

log = structlog.get_logger("bot.access")

# The members of user groups are read again after this; someone removed from a group loses access then at the latest.
# With more than two groups it takes longer: Slack allows 20 reads a minute, of all groups together
# (https://docs.slack.dev/reference/methods/usergroups.users.list).
GROUP_CACHE_SECONDS, SECONDS_FOR_EACH_GROUP = 10.0, 3.5
# Without an answer from Slack the last known members count for this long; then nobody gets in through a group.
GROUP_STALE_SECONDS = 600.0
# Seconds after a failed read before Slack is asked again; clicks in between do not wait.
GROUP_RETRY_SECONDS = 5.0
# Slack's answer for a group that was deleted: it has no members, and the other groups count as before.
# https://docs.slack.dev/reference/methods/usergroups.users.list
GROUP_GONE = "no_such_subteam"
# The ack is due within 3 s, so each call has its limit.
GROUP_TIMEOUT = PERSON_TIMEOUT = 1.5
# The answers of users.info: how long they count, how long they count if Slack does not answer, and how many are kept.
PERSON_CACHE_SECONDS = 300.0
PERSON_STALE_SECONDS = 600.0
MAX_PEOPLE = 10_000


@dataclass
class _Group:
    """The last known members of a group."""

    members: frozenset[str] = frozenset()
    read_at: float = float("-inf")
    read_again_at: float = float("-inf")
    reading: asyncio.Task[None] | None = None


class UserGroups:
    """The members of Slack's user groups, remembered for a few seconds, each group by itself."""

    def __init__(self, ids: frozenset[str], slack: Slack, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._groups = {group: _Group() for group in sorted(ids)}
        self._slack, self._monotonic = slack, monotonic
        self._cache_seconds = max(GROUP_CACHE_SECONDS, SECONDS_FOR_EACH_GROUP * len(ids))

    async def contain(self, user_id: str, groups: frozenset[str], within: float = GROUP_TIMEOUT) -> bool | None:
        """Return whether one of these groups has this member now; None if one has been unknown for too long.

        Concurrent callers share one read of a group. For a few seconds after a failed read, the last known members
        count and no caller waits.
        """
        asked = {name: group for name, group in self._groups.items() if name in groups}
        due = {name: group for name, group in asked.items() if self._is_due(group)}
        if due:
            await asyncio.wait([self._read(*found) for found in due.items()], timeout=max(within, 0))
        known = [group.members for group in asked.values() if self._is_known(group)]
        if any(user_id in members for members in known):
            return True
        return False if len(known) == len(asked) else None

    def _is_known(self, group: _Group) -> bool:
        return self._monotonic() - group.read_at <= GROUP_STALE_SECONDS

    def _is_due(self, group: _Group) -> bool:
        return group.reading is not None or self._monotonic() >= group.read_again_at

    def _read(self, name: str, group: _Group) -> asyncio.Task[None]:
        if group.reading is None:
            group.reading = asyncio.create_task(self._refresh(name, group))
        return group.reading

    async def _refresh(self, name: str, group: _Group) -> None:
        try:
            async with asyncio.timeout(GROUP_TIMEOUT):
                group.members = await self._slack.group_members(name)
        except (SlackError, TimeoutError) as error:
            log.warning("user_group_unavailable", group=name, error=str(error) or type(error).__name__)
            asked = error.retry_after if isinstance(error, SlackError) else 0.0
            if not (isinstance(error, SlackError) and error.code == GROUP_GONE):
                group.read_again_at = self._monotonic() + max(GROUP_RETRY_SECONDS, asked)
                return
            group.members = frozenset()
        finally:
            group.reading = None
        group.read_at = self._monotonic()
        group.read_again_at = group.read_at + self._cache_seconds


class Members:
    """What users.info says about people, remembered for a few minutes."""

    def __init__(self, slack: Slack, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._slack, self._monotonic = slack, monotonic
        self._known: dict[str, tuple[float, Membership]] = {}  # oldest answer first
        self._lookups: dict[str, asyncio.Task[Membership | None]] = {}
        self._limited_until = float("-inf")  # Slack limits the calls of users.info for everyone together

    async def find(self, user_id: str) -> Membership | None:
        """Return where a person belongs, or None if Slack does not answer and the last answer is too old.

        Requests at the same time share one call.
        """
        if (known := self._remembered(user_id, PERSON_CACHE_SECONDS)) is not None:
            return known
        if (lookup := self._lookups.get(user_id)) is None:
            lookup = self._lookups[user_id] = asyncio.create_task(self._look_up(user_id))
            lookup.add_done_callback(lambda _: self._lookups.pop(user_id))
        return await asyncio.shield(lookup)  # a request that is cancelled does not take the answer from the others

    async def _look_up(self, user_id: str) -> Membership | None:
        if self._monotonic() < self._limited_until:
            return self._remembered(user_id, PERSON_STALE_SECONDS)
        try:
            async with asyncio.timeout(PERSON_TIMEOUT):
                found = await self._slack.membership(user_id)
        except (SlackError, TimeoutError) as error:
            log.warning("user_unavailable", user=user_id, error=str(error) or type(error).__name__)
            if isinstance(error, SlackError):
                self._limited_until = self._monotonic() + error.retry_after
            return self._remembered(user_id, PERSON_STALE_SECONDS)
        self._known.pop(user_id, None)
        self._known[user_id] = self._monotonic(), found
        if len(self._known) > MAX_PEOPLE:
            del self._known[next(iter(self._known))]
        return found

    def _remembered(self, user_id: str, seconds: float) -> Membership | None:
        """Return the last answer, unless it is older than this."""
        read_at, known = self._known.get(user_id, (float("-inf"), None))
        return known if self._monotonic() - read_at <= seconds else None

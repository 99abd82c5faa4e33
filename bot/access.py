"""Who may ask, who may confirm."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from bot.cards import person
from bot.errors import Refusal, SlackError
from bot.ledger import Request
from bot.settings import EVERYONE, Settings
from bot.slack import Slack

log = structlog.get_logger("bot.access")
MOST_NAMES = 10
# Members of a user group are asked for again after this; a person taken off it is out at the latest then.
FRESH_SECONDS = 10.0
# Without an answer of Slack the last known members hold this long; then nobody gets in by a group.
STALE_SECONDS = 600.0
# The ack is due within 3 s.
GROUP_SECONDS = 1.5
UNREADABLE = (
    "The bot cannot read from Slack who is in the user group that may do this. Nothing was done. Please try again in a "
    "moment; if it stays so, an administrator should run `python -m bot check`."
)


@dataclass(frozen=True)
class Person:
    """Who did something, as Slack says: members of other companies (Slack Connect) have another team."""

    user_id: str
    team_id: str | None


class Groups:
    """The members of Slack's user groups, remembered for a few seconds. `now` tells seconds since the epoch."""

    def __init__(self, ids: frozenset[str], slack: Slack, now: Callable[[], float] = time.time) -> None:
        self._ids, self._slack, self._now = sorted(ids), slack, now
        self._members: frozenset[str] = frozenset()
        self._read_at = float("-inf")
        self._reading = asyncio.Lock()

    async def hold(self, user_id: str) -> bool:
        """Whether one of the groups has this member now. Raises Refusal where that cannot be known."""
        if not self._ids:
            return False
        async with self._reading:
            if self._now() - self._read_at > FRESH_SECONDS:
                await self._read()
        return user_id in self._members

    async def _read(self) -> None:
        try:
            async with asyncio.timeout(GROUP_SECONDS):
                found = await asyncio.gather(*(self._slack.group_members(group) for group in self._ids))
        except (SlackError, TimeoutError) as error:
            log.warning("groups_not_read", error=str(error))
            if self._now() - self._read_at > STALE_SECONDS:
                raise Refusal(UNREADABLE) from None
        else:
            self._members, self._read_at = frozenset().union(*found), self._now()


class Access:
    """The rules of the settings, looked at anew for each command and each press."""

    def __init__(self, settings: Settings, home_team: str, slack: Slack, now: Callable[[], float] = time.time) -> None:
        self._groups = frozenset(i for i in settings.allowed_users if i.startswith("S"))
        self._users = settings.allowed_users - self._groups
        self._members = Groups(self._groups, slack, now)
        self._channels = settings.allowed_channels
        self._second_person = settings.require_second_person
        self._teams = settings.allowed_teams or frozenset({home_team})

    async def check(self, who: Person, channel: str | None, about: str = "") -> None:
        """Raise Refusal, with who may instead, unless this person may ask and decide in this channel (None: in any).

        `about` is the request that the log names beside the person.
        """
        if who.team_id not in self._teams:
            sentence = "Only members of this bot's own workspace may unsubscribe numbers."
        elif channel is not None and EVERYONE not in self._channels and channel not in self._channels:
            sentence = "Numbers cannot be unsubscribed in this channel."
        elif not {EVERYONE, who.user_id} & self._users and not await self._members.hold(who.user_id):
            sentence = "You may not unsubscribe numbers."
        else:
            return
        log.warning("refused", user=who.user_id, team=who.team_id, channel=channel, request=about, why=sentence)
        raise Refusal(f"{sentence} {self.who_may()}")

    def check_decision(self, user_id: str, request: Request) -> None:
        """Raise Refusal where another person than the one who asked must confirm."""
        if self._second_person and user_id == request.asked_by:
            why = "You asked for this yourself, so another person must confirm; you can press Keep Number."
            log.warning("refused", user=user_id, asked_by=request.asked_by, request=request.id, why=why)
            raise Refusal(f"{why} {self.who_may()}")

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
    shown = ", ".join(names[:MOST_NAMES])
    more = len(names) - MOST_NAMES
    return f"{shown} and {more} more {what}" if more > 0 else shown

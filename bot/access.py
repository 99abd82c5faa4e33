"""Who may ask, who may confirm."""

from __future__ import annotations

from dataclasses import dataclass

import structlog

from bot.cards import person
from bot.errors import Refusal
from bot.ledger import Request
from bot.settings import EVERYONE, Settings

log = structlog.get_logger("bot.access")
MOST_NAMES = 10


@dataclass(frozen=True)
class Person:
    """Who did something, as Slack says: members of other companies (Slack Connect) have another team."""

    user_id: str
    team_id: str


class Access:
    """The rules of the settings, looked at anew for each command and each press."""

    def __init__(self, settings: Settings, home_team: str) -> None:
        self._users = settings.allowed_users
        self._channels = settings.allowed_channels
        self._second_person = settings.require_second_person
        self._teams = settings.allowed_teams or frozenset({home_team})

    def check(self, who: Person, channel: str) -> None:
        """Raise Refusal, with who may instead, unless this person may ask and decide in this channel."""
        if who.team_id not in self._teams:
            sentence = f"Only members of this bot's own workspace may unsubscribe numbers. {self.who_may()}"
        elif EVERYONE not in self._users and who.user_id not in self._users:
            sentence = f"You may not unsubscribe numbers. {self.who_may()}"
        elif EVERYONE not in self._channels and channel not in self._channels:
            sentence = f"Numbers cannot be unsubscribed in this channel. {self.who_may()}"
        else:
            return
        log.warning("refused", user=who.user_id, team=who.team_id, channel=channel, why=sentence)
        raise Refusal(sentence)

    def check_decision(self, user_id: str, request: Request) -> None:
        """Raise Refusal where another person than the one who asked must confirm."""
        if self._second_person and user_id == request.asked_by:
            log.warning("refused", user=user_id, request=request.id, why="asked for it too")
            raise Refusal(
                "You asked for this yourself, so another person must confirm; you can press Keep Number. "
                f"{self.who_may()}"
            )

    def who_may(self) -> str:
        """Who may use the bot, and where: the end of every refusal, so that a person knows whom to ask."""
        everyone = EVERYONE in self._users
        people = (
            "Everyone in the workspace" if everyone else _listed([person(u) for u in sorted(self._users)], "people")
        )
        if EVERYONE in self._channels:
            return f"{people} may do so{'' if everyone else ': ask one of them'}."
        channels = _listed([f"<#{c}>" for c in sorted(self._channels)], "channels")
        return f"{people} may do so, in {channels}{'' if everyone else ': ask one of them there'}."


def _listed(names: list[str], what: str) -> str:
    shown = ", ".join(names[:MOST_NAMES])
    more = len(names) - MOST_NAMES
    return f"{shown} and {more} more {what}" if more > 0 else shown

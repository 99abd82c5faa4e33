"""Slack's limit for messages: about one a second in a channel, short bursts aside.

https://docs.slack.dev/apis/web-api/rate-limits
"""

from __future__ import annotations

import time
from collections.abc import Callable

# Seconds from one message of a channel to the next (a little more than Slack's, because not every call takes the same
# time), and how many can go out at once after a pause.
EVERY, BURST = 1.1, 3
# A turn that nobody took is forgotten after this many seconds: another replica has delivered the message.
FORGET_AFTER = 60.0


class Pace:
    """Gives each message of a channel a turn, in the order in which they ask for the first time."""

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._next: dict[str, float] = {}
        self._turns: dict[tuple[str, str], float] = {}

    def wait(self, channel: str, message: str) -> float:
        """Return the seconds until it is this message's turn. One that asks again before `done` keeps its turn."""
        now = self._monotonic()
        if (channel, message) not in self._turns:
            self._turns = {key: turn for key, turn in self._turns.items() if turn > now - FORGET_AFTER}
            turn = max(self._next.get(channel, 0.0), now - (BURST - 1) * EVERY)
            self._turns[channel, message] = turn
            self._next[channel] = turn + EVERY
        return max(0.0, self._turns[channel, message] - now)

    def done(self, channel: str, message: str) -> None:
        """Forget the turn of a message: Slack has accepted it, or it will ask for a new one."""
        self._turns.pop((channel, message), None)

    def hold(self, channel: str, seconds: float) -> None:
        """Put off every turn of a channel so that the first one comes in so many seconds: Slack asked for that."""
        turns = {key: turn for key, turn in self._turns.items() if key[0] == channel}
        until = self._monotonic() + seconds
        later = max(0.0, until - min(turns.values(), default=until))
        self._turns |= {key: turn + later for key, turn in turns.items()}
        self._next[channel] = max(self._next.get(channel, 0.0) + later, until)

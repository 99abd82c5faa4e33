"""The time: the moment, which is stored and shown, and durations, which must not follow a clock that is set."""

from __future__ import annotations

import time


class Clock:
    """The clock of this machine."""

    def now(self) -> float:
        """Return the moment, in seconds since the epoch. It can jump when somebody, or NTP, sets the clock."""
        return time.time()

    def monotonic(self) -> float:
        """Return seconds since an arbitrary moment. They only go forward, so they measure durations."""
        return time.monotonic()

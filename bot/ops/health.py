"""Health: whether the bot can do its job now. Slack must be reachable, the database writable, the sweep alive."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from bot.clients.slack import Slack
from bot.clock import Clock
from bot.errors import BotStoppedError, LedgerError, SlackError
from bot.ledger.store import Ledger

log = structlog.get_logger("bot.health")

# The scheduler sweeps every second: after this many seconds without a sweep it is not just slow.
SWEEP_SECONDS = 15.0
# If Slack is silent for the first time, the bot asks it (auth.test); after the second it counts as unreachable.
ASK_SLACK_SECONDS, SLACK_SECONDS = 30.0, 75.0
# slack_sdk reconnects a socket after four pings without a pong, here after 32 seconds.
PING_EVERY = 8.0
# A socket that stays down this long has not been fixed by reconnecting; a new process may be.
GIVE_UP_SECONDS = 90.0
WATCH_EVERY = 5.0


@dataclass
class Health:
    """The parts that must work, and since when one does not. A problem is a short text; None means that it works."""

    ledger: Ledger
    slack: Slack
    swept_at: Callable[[], float]
    socket_problem: Callable[[], Awaitable[str | None]] | None  # None in HTTP mode
    clock: Clock
    started: bool = False
    stopping: bool = False
    _since: dict[str, float] = field(default_factory=dict)  # monotonic, by part

    async def state(self) -> dict[str, Any]:
        """Return the answer of /healthz: `ok` and, for each part that does not work, why and since when."""
        problems = {
            "started": None if self.started else "not yet",
            "stopping": "it is stopping" if self.stopping else None,
            "sweep": self._sweep_problem(),
            "database": await self._database_problem(),
            "slack": await (self._http_problem() if self.socket_problem is None else self.socket_problem()),
        }
        state: dict[str, Any] = {"ok": not any(problems.values())}
        for part, problem in problems.items():
            if problem is None:
                self._since.pop(part, None)
                continue
            age = self.clock.monotonic() - self._since.setdefault(part, self.clock.monotonic())
            since = self.clock.now() - age
            state[part] = {"why": problem, "since": datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds")}
        return state

    def _sweep_problem(self) -> str | None:
        age = self.clock.monotonic() - self.swept_at()
        return None if age < SWEEP_SECONDS else f"the last one was {age:.0f} s ago"

    async def _database_problem(self) -> str | None:
        try:
            await self.ledger.check()
        except LedgerError:
            return "it cannot be written"
        return None

    async def _http_problem(self) -> str | None:
        age = self.clock.monotonic() - self.slack.heard_at
        return None if age < SLACK_SECONDS else f"no answer for {age:.0f} s"

    async def watch(self) -> None:
        """Check every few seconds, so that `since` is right and a silent Slack is asked.

        Raise BotStoppedError if the socket stays down: a new process may be able to connect.
        """
        while True:
            if self.socket_problem is None and self.clock.monotonic() - self.slack.heard_at > ASK_SLACK_SECONDS:
                await self._ask_slack()
            state = await self.state()
            if not state["ok"] and not self.stopping:
                log.warning("unhealthy", **{part: problem["why"] for part, problem in state.items() if part != "ok"})
            down = self.clock.monotonic() - self._since.get("slack", self.clock.monotonic())
            if self.socket_problem is not None and down > GIVE_UP_SECONDS:
                raise BotStoppedError(
                    f"The bot stopped because Slack's socket was down for {down:.0f} seconds and did not reconnect. "
                    "Restart it (a supervisor does so automatically). No outcome is lost."
                )
            await asyncio.sleep(WATCH_EVERY)

    async def _ask_slack(self) -> None:
        try:
            await self.slack.identify()
        except SlackError as error:
            log.warning("slack_unreachable", error=str(error))

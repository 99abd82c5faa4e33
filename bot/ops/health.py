"""Whether the bot could do its job now: Slack reachable lately, the database writable, the sweep alive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import structlog

from bot.clients.slack import Slack
from bot.errors import BotStoppedError, LedgerError, SlackError
from bot.ledger.store import Ledger

log = structlog.get_logger("bot.health")

# A sweep is due every few seconds; the promise of the design is 5.
SWEEP_SECONDS = 15.0
# Without a word of Slack for so long somebody asks (auth.test), and after the second it counts as away.
ASK_SLACK_SECONDS, SLACK_SECONDS = 30.0, 75.0
# slack_sdk opens a socket anew when no pong came for four pings: this is less than 40 seconds.
PING_EVERY = 8.0
# A socket that is down for so long will not come back in this process.
GIVE_UP_SECONDS = 90.0
WATCH_EVERY = 5.0


@dataclass
class Health:
    """The parts that must work, since when one does not, and the watch over them."""

    ledger: Ledger
    slack: Slack
    swept_at: Callable[[], float]
    connected: Callable[[], Awaitable[str]] | None  # what is wrong with the socket; None in HTTP mode
    now: Callable[[], float] = time.time
    started: bool = False
    stopping: bool = False
    _since: dict[str, float] = field(default_factory=dict)

    async def state(self) -> dict[str, Any]:
        """What /healthz tells: `ok`, and for each part that does not work why, and since when it is known."""
        parts = {"started": "" if self.started else "not yet", "stopping": "it is stopping" if self.stopping else ""}
        age = self.now() - self.swept_at()
        parts["sweep"] = "" if age < SWEEP_SECONDS else f"the last one was {age:.0f} s ago"
        parts["database"] = await self._database()
        parts["slack"] = await (self._http() if self.connected is None else self.connected())
        told: dict[str, Any] = {"ok": not any(parts.values())}
        for part, why in parts.items():
            if why:
                since = self._since.setdefault(part, self.now())
                told[part] = {"why": why, "since": datetime.fromtimestamp(since, UTC).isoformat(timespec="seconds")}
            else:
                self._since.pop(part, None)
        return told

    async def _database(self) -> str:
        try:
            await self.ledger.check()
        except LedgerError:
            return "it cannot be written"
        return ""

    async def _http(self) -> str:
        age = self.now() - self.slack.heard_at
        return "" if age < SLACK_SECONDS else f"no answer for {age:.0f} s"

    async def watch(self) -> None:
        """Look every few seconds, so that `since` is true and Slack is asked.

        Raises StartError where a socket stays away: a new process may have more luck.
        """
        while True:
            if self.connected is None and self.now() - self.slack.heard_at > ASK_SLACK_SECONDS:
                await self._ask_slack()
            state = await self.state()
            if not state["ok"] and not self.stopping:
                log.warning("unhealthy", **{part: told["why"] for part, told in state.items() if part != "ok"})
            down = self.now() - self._since.get("slack", self.now())
            if self.connected is not None and down > GIVE_UP_SECONDS:
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

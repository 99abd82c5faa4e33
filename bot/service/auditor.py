"""Posts a line for each outcome in the audit channel, at least once; no delivery and no sweep waits for that."""

from __future__ import annotations

import asyncio
import contextlib

import structlog

from bot import PROGRAM
from bot.clients.directory import Members
from bot.clients.slack import Slack, needs_somebody
from bot.clock import Clock
from bot.domain.models import AuditLine
from bot.errors import SlackError
from bot.ledger.store import Ledger
from bot.service.notifier import FIRST_WAIT, MAX_WAIT, wait_for_somebody
from bot.service.pace import EVERY, Pace
from bot.tasks import Tasks
from bot.views import audit

log = structlog.get_logger("bot.audit")

TURN = "next line"  # the pace gives each message a turn by its name; lines go out one by one, so one name is enough


def pause(error: SlackError, age: float) -> float:
    """Return the seconds until a line is tried again that Slack did not take; they double with the outcome's age."""
    if needs_somebody(error):
        return wait_for_somebody(age)
    return max(error.retry_after, min(max(FIRST_WAIT, age), MAX_WAIT))


class Auditor:
    """Posts what is due in one channel."""

    def __init__(
        self, channel: str, ledger: Ledger, slack: Slack, members: Members, pace: Pace, tasks: Tasks, clock: Clock
    ) -> None:
        self.channel, self.ledger, self.slack, self.members = channel, ledger, slack, members
        # That of the deliveries: if cards are posted in the same channel, a toast waits for one line at most.
        self.pace = pace
        self.tasks, self.clock = tasks, clock
        self._posting: asyncio.Task[None] | None = None
        self._stopping = False
        self._not_before = float("-inf")  # after an error, in monotonic seconds
        self._hastened = False

    def post_due(self) -> None:
        """Begin to post the lines that are due, unless that is going on already."""
        if self._posting is None or self._posting.done():
            self._posting = self.tasks.start(self._post_due())

    def stop(self) -> None:
        """Begin no further line: what is due stays due."""
        self._stopping = True

    async def _post_due(self) -> None:
        """Post what is due, while Slack accepts it. A sweep comes back for the rest."""
        if not self._hastened:  # a restart is the way to say that the cause of a rejection is gone
            await self.ledger.hasten_audits(self.clock.now())
            self._hastened = True
        while self.clock.monotonic() >= self._not_before and await self.ledger.audit_due(self.clock.now()):
            wait = self.pace.wait(self.channel, TURN)
            if wait > EVERY:
                return
            await asyncio.sleep(wait)
            if self._stopping:
                return
            line = await self.ledger.claim_audit(self.clock.now())
            if line is None or not await self._post(line):
                return

    async def _post(self, line: AuditLine) -> bool:
        """Post a line that is claimed; return whether Slack accepted it. Otherwise it is due again later."""
        log_of = log.bind(request=line.outcome.request_id, attempt=line.outcome.attempt)
        names, link = await asyncio.gather(self._names(line), self._link(line))
        try:
            await self.slack.post(self.channel, audit.line(line.request, line.outcome, names, link))
        except SlackError as error:
            now = self.clock.now()
            wait = pause(error, now - line.outcome.settled_at)
            if needs_somebody(error):
                log_of.error("audit_line_rejected", error=str(error), wait=wait, step=f"{PROGRAM} check")
            else:
                log_of.warning("audit_line_failed", error=str(error), wait=wait)
            # The other lines would most likely fail too. If only this one does, they wait a minute at most.
            self._not_before = self.clock.monotonic() + max(error.retry_after, min(wait, MAX_WAIT))
            if error.retry_after:
                self.pace.hold(self.channel, error.retry_after)
            self.pace.done(self.channel, TURN)
            await self.ledger.defer_audit(line, now + wait)
            return False
        self.pace.done(self.channel, TURN)
        await self.ledger.audited(line)
        log_of.info("audit_line_posted", outcome=line.outcome.code)
        return True

    async def _names(self, line: AuditLine) -> dict[str, str]:
        """Return the names that Slack gives within a moment; without one the id stands alone."""
        people = sorted({line.request.requested_by, line.outcome.decided_by or line.request.requested_by})
        found = await asyncio.gather(*map(self.members.find, people))
        return {person: member.name for person, member in zip(people, found, strict=True) if member is not None}

    async def _link(self, line: AuditLine) -> str | None:
        """Return a link to the card, None if there is none: the line is useful without it too."""
        if line.request.card_ts is not None:
            with contextlib.suppress(SlackError):
                return await self.slack.permalink(line.request.channel, line.request.card_ts)
        return None

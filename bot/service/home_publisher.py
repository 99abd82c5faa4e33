"""Publishes the App Home, again whenever a request changes, for the people who look at it.

A home tab is published for each person, and shown until it is published again: https://docs.slack.dev/surfaces/app-home.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from bot.clients.slack import Slack
from bot.clock import Clock
from bot.domain.access import Person, Right
from bot.domain.models import Outcome, Request
from bot.errors import LedgerError, RequestDeniedError, SlackError, SlackRejectedError
from bot.ledger.store import Ledger
from bot.service.access import Access
from bot.tasks import Tasks
from bot.views import home
from bot.views.blocks import Block
from bot.views.cards import Rules

log = structlog.get_logger("bot.home")

# People who opened the tab within this time see changes; Slack allows some hundred calls of views.publish a minute.
LOOKING_SECONDS = 600.0
# A change that follows another within this time waits for the first sweep after it.
EVERY = 2.0
# Seconds until the tab is published again if that failed, or if Slack did not say whether a person has permission.
AGAIN = 10.0

# The newest open requests, how many are open, and the latest outcomes: everyone sees the same ones.
Overview = tuple[list[Request], int, list[tuple[Request, Outcome]]]


@dataclass
class HomePublisher:
    """Keeps the home tabs that people look at up to date.

    `rules` returns what holds for every card now.
    """

    ledger: Ledger
    slack: Slack
    access: Access
    tasks: Tasks
    rules: Callable[[], Rules]
    dry_run: bool
    clock: Clock

    def __post_init__(self) -> None:
        self._looking: dict[str, float] = {}
        self._permitted: set[str] = set()  # who sees the page, and not why they don't
        self._changes = 0  # how many changes there were, and up to which one each person sees them
        self._seen: dict[str, int] = {}
        self._publishing: set[str] = set()
        self._again_at = float("inf")
        self._limited_until = self._refreshed_at = float("-inf")
        self._refreshing: asyncio.Task[None] | None = None
        self._reading: asyncio.Task[tuple[int, Overview | None]] | None = None
        self._stopping = False

    async def opened(self, user: str) -> None:
        """Publish the tab for a person who has just opened it."""
        self._looking[user] = self.clock.monotonic()
        self._seen.pop(user, None)
        # People who open it at the same time share one reading: a change after it publishes the tab again.
        if self._reading is None or self._reading.done():
            self._reading = self.tasks.start(self._read())
        await self._publish([user], *await self._reading)

    def refresh(self) -> None:
        """Publish what has changed for everyone who looks at the tab, at most every two seconds."""
        self._changes += 1
        self._refresh_now_or_later()

    def refresh_due(self) -> None:
        """Publish what has waited for its turn, or was not accepted by Slack before, if it is due."""
        if self.clock.monotonic() >= self._again_at:
            self._again_at = float("inf")
            self._refresh_now_or_later()

    def stop(self) -> None:
        """Publish what waits now, and every change to come at once: no sweep comes after this."""
        self._stopping = True
        self._refresh_now_or_later()

    def _refresh_now_or_later(self) -> None:
        now = self.clock.monotonic()
        self._looking = {user: at for user, at in self._looking.items() if at >= now - LOOKING_SECONDS}
        self._permitted &= self._looking.keys()
        self._seen = {user: seen for user, seen in self._seen.items() if user in self._looking}
        early = now < self._refreshed_at + EVERY and not self._stopping
        if early or not (self._refreshing is None or self._refreshing.done()):
            self._come_back(self._refreshed_at + EVERY - now)
        elif self._behind():
            self._refreshed_at = now
            self._refreshing = self.tasks.start(self._refresh())

    def _behind(self) -> list[str]:
        """Return the people who look at the tab and don't see the last change."""
        return [user for user in self._looking if self._seen.get(user, -1) < self._changes]

    def _come_back(self, seconds: float) -> None:
        self._again_at = min(self._again_at, self.clock.monotonic() + seconds)

    async def _refresh(self) -> None:
        changes = -1
        while changes < self._changes and (self._stopping or changes < 0):
            self._reading = self.tasks.start(self._read())
            changes, found = await self._reading
            await self._publish(self._behind(), changes, found)

    async def _read(self) -> tuple[int, Overview | None]:
        """Return what the tab shows, and how many changes it has at least; None if the ledger cannot be read."""
        changes = self._changes
        try:
            return changes, await self.ledger.overview(self.clock.now(), home.MAX_READ, home.MAX_OUTCOMES)
        except LedgerError as error:
            log.warning("home_publish_failed", error=str(error))
            return changes, None

    async def _publish(self, users: list[str], changes: int, found: Overview | None) -> None:
        if found is not None:
            await asyncio.gather(*(self._publish_for(user, changes, found) for user in users))
        if self._behind():
            self._come_back(AGAIN)

    async def _publish_for(self, user: str, changes: int, found: Overview) -> None:
        if user in self._publishing:  # a later page must not land first
            self._come_back(0)
        elif (left := self._limited_until - self.clock.monotonic()) > 0:
            self._come_back(left)
        else:
            self._publishing.add(user)
            try:
                if await self._accepted(user, found):
                    self._seen[user] = changes
            finally:
                self._publishing.discard(user)

    async def _accepted(self, user: str, found: Overview) -> bool:
        """Publish for a person; return whether this need not be repeated."""
        # The event names no team of the person, and members of other companies (Slack Connect) can send it.
        person = Person(user, None)
        temporary = False
        try:
            await self.access.check(person, None, Right.KEEP)
        except RequestDeniedError as denial:
            temporary = denial.temporary
            if temporary and user in self._permitted:  # what stands there stays
                return False
            self._permitted.discard(user)
            page = home.denied(str(denial))
        else:
            self._permitted.add(user)
            denials = {right: await self.access.denial(person, right) for right in (Right.REQUEST, Right.CONFIRM)}
            temporary = any(denial is not None and denial.temporary for denial in denials.values())
            page = self._page(user, found, {right for right, denial in denials.items() if denial is None})
        try:
            await self.slack.publish_home(user, page)
        except SlackError as error:
            log.warning("home_publish_failed", user=user, error=str(error))
            if error.retry_after:  # Slack limits the calls for everyone together
                self._limited_until = self.clock.monotonic() + error.retry_after
                self._come_back(error.retry_after)
            return isinstance(error, SlackRejectedError)
        return not temporary

    def _page(self, user: str, found: Overview, rights: set[Right]) -> list[Block]:
        """Return what a person with permission sees."""
        requests, open_count, outcomes = found
        policy = self.access.policy

        def can_confirm(request: Request) -> bool:
            allowed = policy.allows_channel(request.channel)
            return allowed and Right.CONFIRM in rights and policy.can_confirm(user, request.requested_by)

        return home.page(
            requests,
            outcomes,
            self.rules(),
            self.access.rights(),
            can_confirm=can_confirm,
            can_request=Right.REQUEST in rights,
            open_count=open_count,
            dry_run=self.dry_run,
        )

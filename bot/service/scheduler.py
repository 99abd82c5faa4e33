"""The sweep: expires, settles what was interrupted, delivers what is due, and updates cards that may be stale."""

from __future__ import annotations

import asyncio

import structlog

from bot.clock import Clock
from bot.errors import LedgerError
from bot.ledger.store import Ledger
from bot.service.auditor import Auditor
from bot.service.card_poster import CardPoster
from bot.service.executor import Executor
from bot.service.home_publisher import HomePublisher
from bot.service.notifier import Notifier
from bot.settings import Settings
from bot.tasks import Tasks

log = structlog.get_logger("bot.scheduler")

SWEEP_EVERY = 1.0


class Scheduler:
    """Sweeps the ledger again and again."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        executor: Executor,
        notifier: Notifier,
        poster: CardPoster,
        home: HomePublisher,
        tasks: Tasks,
        clock: Clock,
        auditor: Auditor | None,
    ) -> None:
        self.settings, self.ledger, self.executor, self.notifier = settings, ledger, executor, notifier
        self.poster, self.home, self.tasks, self.clock, self.auditor = poster, home, tasks, clock, auditor
        self.swept_at = clock.monotonic()  # when a sweep last reached the database

    async def sweep(self) -> None:
        """Close what is overdue, and start the deliveries and updates that are due now."""
        retry_for = self.settings.confirm_within_seconds
        due = await self.ledger.sweep(self.clock.now(), retry_for, frozenset(self.executor.running))
        self.swept_at = self.clock.monotonic()
        for outcome in due.outcomes:
            self.tasks.start(self.notifier.deliver(outcome))
        for request in due.cards:
            self.tasks.start(self.notifier.update_card(request.id, request.card_update_due))
        for request in due.reminders:
            self.tasks.start(self.poster.remind(request))
        if self.auditor is not None:
            self.auditor.post_due()
        self.home.refresh_due()

    async def run_forever(self, every: float) -> None:
        """Sweep every so many seconds, also after a sweep that could not reach the database."""
        while True:
            try:
                await self.sweep()
            except LedgerError as error:
                log.error("sweep_failed", error=str(error.__cause__))
            await asyncio.sleep(every)

"""Confirms requests, and makes the one call of each confirmation."""

from __future__ import annotations

import asyncio

import structlog

from bot.acks_first import AcksFirst
from bot.clients.cellcast import Cellcast
from bot.clients.numbers_file import NumbersFile
from bot.clock import Clock
from bot.domain.models import Click, Request
from bot.domain.status import CallResult, OutcomeCode, Status
from bot.errors import LedgerError
from bot.ledger.store import Ledger, until_stored
from bot.ops.metrics import Metrics
from bot.service.notifier import Notifier
from bot.settings import Settings
from bot.tasks import Tasks

log = structlog.get_logger("bot.executor")

# A request still confirmed this many seconds after the end of its call was interrupted.
GRACE = 5.0


class Executor:
    """From a click to a settled outcome."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        cellcast: Cellcast,
        notifier: Notifier,
        numbers: NumbersFile,
        tasks: Tasks,
        metrics: Metrics,
        clock: Clock,
        acks_first: AcksFirst,
    ) -> None:
        self.settings, self.ledger, self.cellcast, self.notifier = settings, ledger, cellcast, notifier
        self.numbers, self.tasks, self.metrics, self.clock = numbers, tasks, metrics, clock
        self.acks_first = acks_first
        self.running: set[str] = set()  # the requests whose call this replica holds

    def call_deadline(self, now: float) -> float:
        """Return the moment by which a call that is confirmed now has ended, whatever happens."""
        return now + self.settings.cellcast_timeout_seconds + GRACE

    async def confirm(self, click: Click) -> Request | None:
        """Store a confirmation; return the request to the one click that did. Raise LedgerError.

        If that fails, or is cancelled because the ack is due, no call is made for this click.
        """
        deadline, alone = self.call_deadline(click.now), self.settings.require_second_person
        try:
            return await self.ledger.confirm(click, deadline, second_person=alone)
        except (LedgerError, asyncio.CancelledError):
            self.tasks.start(self._settle_late(click))
            raise

    async def _settle_late(self, click: Click) -> None:
        """Settle a confirmation that was recorded after all: its person may have read that it was not."""
        retry_for = self.settings.confirm_within_seconds
        settled = await until_stored(lambda: self.ledger.settle_unstarted(click, self.clock.now(), retry_for))
        if settled is not None and settled.outcome is not None:
            log.warning("late_confirmation_settled", request=settled.id, attempt=settled.attempt)
            await self.notifier.deliver(settled.outcome, settled)

    async def execute(self, request: Request) -> None:
        """Make the one call of a confirmed request, store its outcome, and deliver it."""
        await self.acks_first.turn()
        self.running.add(request.id)
        # Other replicas count from the click, so the call has what is left of its time; it is measured from here on,
        # because a clock that is set back would give it more.
        left = (request.call_deadline or 0.0) - GRACE - self.clock.now()
        ends_at = self.clock.monotonic() + min(left, self.settings.cellcast_timeout_seconds)
        try:
            self.tasks.start(self.notifier.update_card(request.id))
            result = await self._call(request, ends_at)
            log.info("call_finished", request=request.id, attempt=request.attempt, outcome=result.code)
            settled = await self._record_outcome(request, result)
        finally:
            self.running.discard(request.id)
        if settled is not None and settled.outcome is not None:
            await self.notifier.deliver(settled.outcome, settled)
        else:  # another replica delivers the outcome, and this one's update of the card may have come after it
            await self.ledger.card_stale(request.id, self.clock.now())

    async def _call(self, request: Request, ends_at: float) -> CallResult:
        if request.dry_run or self.settings.dry_run:
            return CallResult(OutcomeCode.DRY_RUN)
        known = await self.numbers.current()  # it may have changed while the confirmation was stored
        if known.errors or known.of_id(request.number_id).protected:
            log.error("call_not_permitted", request=request.id, attempt=request.attempt)
            return CallResult(OutcomeCode.LIST_UNUSABLE if known.errors else OutcomeCode.PROTECTED)
        if not await self._start(request, ends_at):
            return CallResult(OutcomeCode.NOT_STARTED)
        log.info("call_started", request=request.id, attempt=request.attempt, number=request.number_id)
        began = self.clock.monotonic()
        result = await self.cellcast.unsubscribe(request.number_id, ends_at - began)
        self.metrics.call_duration.labels(result.code).observe(self.clock.monotonic() - began)
        return result

    async def _start(self, request: Request, ends_at: float) -> bool:
        """Store that the call begins. False if that was not stored in time: then the call must not be made.

        A replica that finds the attempt interrupted takes a missing start for "nothing was sent".
        """
        try:
            async with asyncio.timeout(ends_at - self.clock.monotonic()):
                started = await self.ledger.start_call(request, self.clock.now())
        except (LedgerError, TimeoutError) as error:
            log.error("call_not_started", request=request.id, attempt=request.attempt, error=str(error.__cause__))
            return False
        return started and self.clock.monotonic() < ends_at

    async def _record_outcome(self, request: Request, result: CallResult) -> Request | None:
        """Store the outcome; it is this replica's to deliver if the request is returned.

        If another replica has settled the attempt as interrupted, what this one knows takes that place.
        """
        retry_for = self.settings.confirm_within_seconds
        settled = await until_stored(lambda: self.ledger.settle(request, result, self.clock.now(), retry_for))
        if settled is None:
            known = result.code.status is not Status.UNKNOWN
            corrected = known and await until_stored(
                lambda: self.ledger.correct(request, result, self.clock.now(), retry_for)
            )
            log.error(
                "outcome_corrected" if corrected else "result_ignored",
                request=request.id,
                attempt=request.attempt,
                outcome=result.code,
            )
        return settled

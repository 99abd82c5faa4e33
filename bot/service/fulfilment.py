"""From a recorded request to its told outcome; and the sweep that expires, rescues and tells again."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar
from weakref import WeakValueDictionary

import structlog

from bot.clients.cellcast import Cellcast
from bot.clients.slack import Slack
from bot.domain.models import Click, Message, Outcome, Request
from bot.domain.status import CallResult, OutcomeCode, Status
from bot.errors import LedgerError, SlackError, SlackRejected, SlackUnavailable
from bot.ledger.store import LEASE, Ledger
from bot.ops.metrics import Metrics
from bot.settings import Settings
from bot.tasks import Tasks
from bot.views import cards, outcomes, replies

log = structlog.get_logger("bot.fulfilment")

# A confirmed request past the call's timeout and this much more was orphaned by a crash.
GRACE = 5.0
SWEEP_EVERY = 1.0
FIRST_WAIT, MAX_WAIT = 1.0, 60.0
# What Cellcast answered must be stored before another replica takes the call for interrupted.
STORE_EVERY = 1.0

T = TypeVar("T")


def wait_before(telling: int) -> float:
    """Seconds from the failed telling of this count to the next: a second, then doubling up to a minute."""
    return float(min(FIRST_WAIT * 2 ** min(telling - 1, 10), MAX_WAIT))


@dataclass
class Fulfilment:
    """What happens after the ledger has recorded a request or a press. `now` tells seconds since the epoch."""

    settings: Settings
    ledger: Ledger
    cellcast: Cellcast
    slack: Slack
    tasks: Tasks
    metrics: Metrics = field(default_factory=Metrics)
    now: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self._running: set[str] = set()  # the requests whose call this process holds
        # One update of a card at a time. An entry lasts while somebody holds the lock or waits for it.
        self._drawing: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.swept_at = self.now()
        self.rules = cards.Rules(self.settings.require_second_person, listed=self.settings.numbers_file is not None)
        self.on_change: Callable[[], None] = lambda: None  # told whenever a card stands otherwise than before

    # NewRequest

    async def post_card(self, request: Request) -> None:
        """Post the card of a fresh request: as a message, or where the bot is no member by the response_url."""
        message = self._card(request)
        try:
            try:
                ts: str | None = await self.slack.post(request.channel, message)
            except SlackRejected as error:
                if error.passing or request.response_url is None:
                    raise
                log.info("card_posted_by_response_url", request=request.id, code=error.code)
                await self.slack.respond(request.response_url, message)
                ts = None
        except SlackError as error:
            log.warning("card_post_failed", request=request.id, error=str(error))
            # If Slack posted the card without saying so, somebody may have confirmed by now: nothing is lost then.
            if await self._stored(lambda: self.ledger.card_lost(request.id)):
                lost = replies.card_not_posted(request, known=isinstance(error, SlackRejected))
                await self.tell_privately(request.response_url, lost)
        else:
            log.info("card_posted", request=request.id, channel=request.channel, ts=ts)
            now = await self._stored(lambda: self.ledger.card_posted(request.id, ts))
            if now.status is not request.status:  # told by a message, for nobody knew where the card was
                await self.ledger.card_stale(request.id, self.now())
                await self.update_card(request.id)
        self.on_change()

    async def point_to_card(self, request: Request, response_url: str | None) -> None:
        """Tell the person who asked again where the open card is."""
        link = None
        if request.card_ts:
            with contextlib.suppress(SlackError):  # the line is useful without the link too
                link = await self.slack.permalink(request.channel, request.card_ts)
        await self.tell_privately(response_url, replies.pointer(request, link))

    async def tell_privately(self, response_url: str | None, message: Message, trigger_id: str | None = None) -> None:
        """Show one person a line; it is worth one try only, for it changes nothing."""
        try:
            if response_url is not None:
                await self.slack.respond(response_url, message, private=True)
            elif trigger_id is not None:
                await self.slack.open_dialog(trigger_id, replies.DIALOG, message)
        except SlackError as error:
            log.warning("private_reply_failed", error=str(error))

    # The yes

    def call_deadline(self, now: float) -> float:
        """The moment by which a call that is confirmed now has ended, whatever happens."""
        return now + self.settings.cellcast_timeout_seconds + GRACE

    async def confirm(self, press: Click) -> Request | None:
        """Record a yes; the confirmed request for the one press that did it. Raises LedgerError."""
        alone = self.settings.require_second_person
        try:
            return await self.ledger.confirm(press, self.call_deadline(press.now), second_person=alone)
        except LedgerError:
            self.tasks.start(self._settle_unstarted(press))
            raise

    async def _settle_unstarted(self, press: Click) -> None:
        """Look again for a yes whose person read that it was not recorded: if it was, it ends without a call."""
        within = self.settings.confirm_within_seconds
        ended = await self._stored(lambda: self.ledger.settle_unstarted(press, self.now(), within))
        if ended is not None:
            log.warning("late_confirmation_settled", request=ended.id, attempt=ended.attempt)
            await self.deliver_now(ended)

    async def execute(self, request: Request) -> None:
        """Make the one call of a confirmed request, write down what came of it, and tell."""
        self._running.add(request.id)
        try:
            self.tasks.start(self.update_card(request.id))
            result = await self._call(request)
            log.info("call_finished", request=request.id, attempt=request.attempt, outcome=result.code)
            ended = await self.record_outcome(request, result)
        finally:
            self._running.discard(request.id)
        if ended is not None:
            await self.deliver_now(ended)
        else:  # another replica has told an outcome, and this one's update of the card may have come after it
            await self.ledger.card_stale(request.id, self.now())

    async def _call(self, request: Request) -> CallResult:
        if request.dry_run or self.settings.dry_run:
            return CallResult(OutcomeCode.DRY_RUN)
        if not await self._start(request):
            return CallResult(OutcomeCode.NOT_STARTED)
        log.info("call_started", request=request.id, attempt=request.attempt, number=request.number_id)
        began = time.monotonic()
        result = await self.cellcast.unsubscribe(request.number_id, self._left(request))
        self.metrics.calls.add(result.code, time.monotonic() - began)
        return result

    def _left(self, request: Request) -> float:
        """The seconds left for the call; they run from the press, because other replicas count from there too."""
        return (request.call_deadline or 0.0) - GRACE - self.now()

    async def _start(self, request: Request) -> bool:
        """Record that the call begins. False if that was not stored in time: then the call must not be made.

        Whoever finds the attempt interrupted takes a missing record for "nothing was sent".
        """
        try:
            async with asyncio.timeout(self._left(request)):
                started = await self.ledger.start_call(request, self.now())
        except (LedgerError, TimeoutError) as error:
            log.error("call_not_started", request=request.id, attempt=request.attempt, error=str(error.__cause__))
            return False
        return started and self._left(request) > 0

    async def record_outcome(self, request: Request, result: CallResult) -> Request | None:
        """Store the outcome; it is this replica's to tell if it is returned.

        If another replica has ended the attempt as interrupted, what this one knows takes that place.
        """
        within = self.settings.confirm_within_seconds
        ended = await self._stored(lambda: self.ledger.finish(request, result, self.now(), within))
        if ended is None:
            known = result.code.status is not Status.UNKNOWN
            corrected = known and await self._stored(lambda: self.ledger.correct(request, result, self.now(), within))
            event = "ending_corrected" if corrected else "answer_too_late"
            log.error(event, request=request.id, attempt=request.attempt, outcome=result.code)
        return ended

    async def _stored(self, work: Callable[[], Awaitable[T]]) -> T:
        """Store what must not get lost: a database that is away is tried again every second."""
        while True:
            try:
                return await work()
            except LedgerError as error:
                log.error("outcome_not_stored", error=str(error.__cause__))
                await asyncio.sleep(STORE_EVERY)

    # Telling

    async def deliver_now(self, ended: Request) -> None:
        """Tell the outcome of a request that has just ended: nothing but this telling can have changed it since."""
        assert ended.outcome is not None  # noqa: S101 - every request that the ledger ends has one
        await self.tell(ended.outcome, known=ended)

    async def tell(self, outcome: Outcome, known: Request | None = None) -> None:
        """Tell an outcome that is claimed for telling: the card, then the message. What fails is due again later."""
        try:
            async with asyncio.timeout(LEASE - 1):
                await self._tell(outcome, known)
        except (SlackError, TimeoutError) as error:
            asked = error.retry_after if isinstance(error, SlackRejected) else 0.0
            wait = max(wait_before(outcome.delivery_attempts), asked)
            log.warning(
                "delivery_failed", request=outcome.request_id, attempt=outcome.attempt, error=str(error), wait=wait
            )
            await self.ledger.defer_delivery(outcome, self.now() + wait)
        else:
            await self.ledger.told(outcome, self.now())
            self.metrics.outcomes[outcome.code] += 1
            log.info("outcome_delivered", request=outcome.request_id, attempt=outcome.attempt, outcome=outcome.code)

    async def _tell(self, outcome: Outcome, known: Request | None) -> None:
        drawing = self._draw(outcome.request_id)
        if outcome.attempt == 0 or outcome.message_posted_at is not None:
            # Kept and expired stand on the card; where it cannot be changed, a message must say so.
            if not await drawing and outcome.message_posted_at is None:
                await self._post_ending(outcome, known)
            return
        # Nobody waits for the card to read what came of the call, and neither spoils the other.
        ended = await asyncio.gather(self._post_ending(outcome, known), drawing, return_exceptions=True)
        for error in ended:
            if isinstance(error, BaseException):
                raise error

    async def _post_ending(self, outcome: Outcome, known: Request | None) -> None:
        """Post the message of an outcome, and record at once that it stands: it is not posted again."""
        await self._post_somewhere(outcome, known)
        await self.ledger.posted(outcome, self.now())

    async def _post_somewhere(self, outcome: Outcome, known: Request | None) -> None:
        """In the channel, by the response_url, or to the person who decided."""
        request = known or await self.ledger.require(outcome.request_id)
        message = outcomes.toast(request, outcome)
        try:
            await self.slack.post(request.channel, message)
        except SlackRejected as error:
            if error.passing:
                raise
            await self._post_without_channel(request, outcome, message)

    async def _post_without_channel(self, request: Request, outcome: Outcome, message: Message) -> None:
        if request.response_url is not None:
            try:
                await self.slack.respond(request.response_url, message)
            except SlackRejected as error:
                if error.passing:
                    raise
            else:
                return
        await self.slack.post(outcome.decided_by or request.requested_by, message)

    async def _draw(self, request_id: str, due: float | None = None) -> bool:
        """Bring the card to what the ledger says; False where it cannot be changed (any more).

        `due` is the claim of a sweep. Raises SlackError where it may work later. One update of a card at a time: the
        last one shows the last state. An update of another replica may still land after it, so whatever can be followed
        by another state claims the card for a later sweep.
        """
        self.on_change()
        lock = self._drawing.setdefault(request_id, asyncio.Lock())
        async with lock:
            request = await self.ledger.require(request_id)
            try:
                drawn = await self._draw_now(request)
            except SlackUnavailable:  # Slack may still apply this update, and after a later one
                await self.ledger.card_stale(request_id, self.now())
                raise
        if due is not None:
            await self.ledger.card_updated(request, due)
        return drawn

    async def _draw_now(self, request: Request) -> bool:
        message = self._card(request)
        if request.card_ts:
            try:
                await self.slack.update(request.channel, request.card_ts, message)
            except SlackRejected as error:
                if error.passing:
                    raise
                log.info("card_update_rejected", request=request.id, code=error.code)
            else:
                return True
        if request.response_url is None or not request.response_url_replaces:
            return False
        try:
            await self.slack.respond(request.response_url, message, replace=True)
        except SlackRejected as error:
            if error.passing:
                raise
            return False
        return True

    async def update_card(self, request_id: str, due: float | None = None) -> None:
        """Update a card once, without retrying. `due` is the claim of a sweep, which ends if Slack took the update.

        Only a sweep ends a claim: it comes when every update from before the claim must have landed.
        """
        try:
            await self._draw(request_id, due)
        except SlackError as error:
            log.warning("card_update_failed", request=request_id, error=str(error))

    async def update_clicked_card(self, press: Click) -> None:
        """Update the card of a press that changed nothing."""
        await self.ledger.pressed(press)
        await self.update_card(press.request_id)

    def _card(self, request: Request) -> Message:
        return cards.card(request, self.rules)

    # The sweep

    async def sweep(self) -> None:
        """Expire, end what was interrupted, tell what is due now, and update the cards that may be stale."""
        within = self.settings.confirm_within_seconds
        swept = await self.ledger.sweep(self.now(), within, frozenset(self._running))
        self.swept_at = self.now()
        for outcome in swept.outcomes:
            self.tasks.start(self.tell(outcome))
        for request in swept.cards:
            self.tasks.start(self.update_card(request.id, request.card_update_due))

    async def sweep_forever(self, every: float) -> None:
        """Sweep at least every 5 seconds, also after one that found the database away."""
        while True:
            try:
                await self.sweep()
            except LedgerError as error:
                log.error("sweep_failed", error=str(error.__cause__))
            await asyncio.sleep(every)

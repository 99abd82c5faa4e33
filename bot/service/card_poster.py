"""Posts the card of a new request, and the reminder of one that still waits."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog

from bot.clients.slack import CALL_TIMEOUT
from bot.clock import Clock
from bot.domain.models import Request
from bot.errors import LedgerError, SlackError, SlackRejectedError, SlackUnavailableError
from bot.ledger.store import until_stored
from bot.ledger.transitions import LEASE
from bot.service.notifier import Notifier, first_accepted
from bot.service.pace import Pace
from bot.views import cards, replies

log = structlog.get_logger("bot.cards")

# A card waits for its turn up to this many seconds. After that it goes out by response_url, which has no such limit:
# Slack lets the bot change such a card only after a click, or within 30 minutes.
LONGEST_CARD_WAIT = 60.0
REMIND_AGAIN = 5.0  # seconds

T = TypeVar("T")


class CardPoster:
    """Posts cards, each once."""

    def __init__(self, notifier: Notifier, clock: Clock) -> None:
        self.notifier, self.clock = notifier, clock
        # Cards that Slack puts off have turns of their own: many at once hold up no outcome.
        self.pace = Pace(clock.monotonic)
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """Let no card wait any longer for its turn."""
        self._stopping.set()

    async def post(self, request: Request) -> None:
        """Post the card of a new request: as a message, or by response_url if the bot is not in the channel."""
        message = cards.new_card(request, self.notifier.rules())
        url = request.response_url

        async def post() -> str | None:
            return (await self._within_limits(request, lambda: self.notifier.slack.post(request.channel, message)))[1]

        async def respond() -> None:
            assert url is not None  # noqa: S101 - the way is only taken with one
            await self._within_limits(request, lambda: self.notifier.slack.respond(url, message))
            log.info("card_posted_by_response_url", request=request.id)

        try:
            ts = await first_accepted(post, *([respond] if url is not None else []))
        except SlackError as error:
            log.warning("card_post_failed", request=request.id, error=str(error))
            # If Slack posted the card without saying so, somebody may have confirmed by now: nothing is lost then.
            if await until_stored(lambda: self.notifier.ledger.card_lost(request.id)):
                await self.notifier.send_private(url, replies.card_not_posted(request, known=not error.sent))
        else:
            log.info("card_posted", request=request.id, channel=request.channel, ts=ts)
            current = await until_stored(lambda: self.notifier.ledger.card_posted(request.id, ts))
            if current.status is not request.status:  # it was settled before the bot knew where its card is
                await until_stored(lambda: self.notifier.ledger.card_stale(request.id, self.clock.now()))
                await self.notifier.update_card(request.id)
        self.notifier.on_change()

    async def _within_limits(self, request: Request, post: Callable[[], Awaitable[T]]) -> T:
        """Post a card; if Slack limits messages, wait as long as it says, and then for the card's turn in the channel.

        Raise SlackRejectedError if that is longer than a person waits, or if the bot stops meanwhile: another way may
        have no such limit.
        """
        give_up_at, lease = self.clock.monotonic() + LONGEST_CARD_WAIT, request.posting_lease_until
        try:
            while True:
                try:
                    return await post()
                except SlackUnavailableError as error:
                    if not error.retry_after:
                        raise
                    limited = error
                self.pace.wait(request.channel, request.id)  # takes a turn, which `hold` puts off with the others
                self.pace.hold(request.channel, limited.retry_after)
                while (wait := self.pace.wait(request.channel, request.id)) > 0:
                    if self._stopping.is_set() or self.clock.monotonic() + wait > give_up_at:
                        raise SlackRejectedError(limited.code) from limited
                    pause = min(wait, LEASE - CALL_TIMEOUT - 1)
                    if self.clock.now() + pause + CALL_TIMEOUT > lease:  # else the next request would replace this one
                        lease = self.clock.now() + LEASE
                        with contextlib.suppress(LedgerError):  # later is better than never
                            await self.notifier.ledger.extend_posting(request.id, lease)
                    with contextlib.suppress(TimeoutError):
                        await asyncio.wait_for(self._stopping.wait(), pause)
        finally:
            self.pace.done(request.channel, request.id)

    async def remind(self, request: Request) -> None:
        """Remind people of a card that still waits: no other replica does. Repeat it only if nothing was posted."""
        message = cards.reminder(request, self.notifier.rules())
        try:
            await self.notifier.post_anyhow(request, message, {request.requested_by}, request.card_ts)
        except SlackError as error:
            log.warning("reminder_failed", request=request.id, error=str(error))
            if isinstance(error, SlackUnavailableError) and not error.sent:
                wait = max(error.retry_after, REMIND_AGAIN)
                await self.notifier.ledger.remind_later(request.id, self.clock.now() + wait)
        else:
            log.info("reminder_posted", request=request.id)

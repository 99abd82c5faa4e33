"""Shows in Slack what the ledger says: updates cards, and delivers outcomes until Slack accepts them."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar
from weakref import WeakValueDictionary

import structlog

from bot import PROGRAM
from bot.clients.slack import ADMINISTRATOR_ERRORS, MAX_RETRY_AFTER, Slack, needs_somebody
from bot.clock import Clock
from bot.domain.models import Click, Message, Outcome, Request
from bot.errors import LedgerError, SlackError, SlackRejectedError, SlackUnavailableError
from bot.ledger.store import Ledger
from bot.ledger.transitions import LEASE
from bot.ops.metrics import Metrics
from bot.service.pace import Pace
from bot.views import cards, outcomes, replies
from bot.views.blocks import Block, modal, private

log = structlog.get_logger("bot.notifier")

# Seconds until a failed delivery is repeated: doubling from the first to the longest. What Slack rejects for good can
# only work again after somebody acts, such as to invite the bot.
FIRST_WAIT, MAX_WAIT, MAX_WAIT_IF_REJECTED = 1.0, 60.0, 4 * 3600.0

# A message waits up to this many seconds for its turn in the channel, which its lease allows; later ones are deferred.
LONGEST_PAUSE = 5.0
# One more try of a private message comes within this time or not at all.
LONGEST_PRIVATE_WAIT = 10.0

T = TypeVar("T")


def backoff(attempts: int) -> float:
    """Return the seconds from a failed delivery, the last of `attempts`, to the next: 1, then doubling."""
    return float(min(FIRST_WAIT * 2 ** min(attempts - 1, 20), MAX_WAIT))


def wait_for_somebody(age: float) -> float:
    """Return the seconds until Slack is asked again what it rejected first so many seconds ago: it doubles."""
    return min(max(MAX_WAIT, age), MAX_WAIT_IF_REJECTED)


def _turn(outcome: Outcome) -> str:
    """Return the name under which the message of an outcome has its turn in the channel."""
    return f"{outcome.request_id}:{outcome.attempt}"


async def first_accepted(*ways: Callable[[], Awaitable[T]]) -> T:
    """Return the result of the first way that Slack does not reject for good.

    Raise SlackUnavailableError if a way may work later, and SlackRejectedError if Slack rejects all of them.
    """
    for way in ways[:-1]:
        with contextlib.suppress(SlackRejectedError):
            return await way()
    return await ways[-1]()


class Notifier:
    """Updates and delivers.

    `rules` returns what holds for every card now, and `on_change` is called when a card changes.
    """

    def __init__(
        self,
        ledger: Ledger,
        slack: Slack,
        rules: Callable[[], cards.Rules],
        metrics: Metrics,
        on_change: Callable[[], None],
        clock: Clock,
    ) -> None:
        self.ledger, self.slack, self.rules, self.metrics, self.now = ledger, slack, rules, metrics, clock.now
        self.on_change = on_change
        self.pace = Pace(clock.monotonic)
        # One update of a card at a time. An entry lasts while somebody holds the lock or waits for it.
        self._updating: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    async def send_card_link(self, request: Request, response_url: str | None) -> None:
        """Tell the person who requested again where the open card is."""
        link = None
        if request.card_ts:
            with contextlib.suppress(SlackError):  # the reply is useful without the link too
                link = await self.slack.permalink(request.channel, request.card_ts)
        await self.send_private(response_url, replies.pointer(request, link))

    async def send_private(
        self, response_url: str | None, message: Message, trigger_id: str | None = None, *, again: bool = True
    ) -> None:
        """Show one person a message, once: it changes nothing. If Slack limits that, try it `again` when it says so."""
        try:
            if response_url is not None:
                await self.slack.respond(response_url, message, private=True)
            elif trigger_id is not None:
                await self.slack.open_dialog(trigger_id, modal(replies.DIALOG, message))
        except SlackError as error:
            if again and 0 < error.retry_after <= LONGEST_PRIVATE_WAIT:
                await asyncio.sleep(error.retry_after)
                await self.send_private(response_url, message, trigger_id, again=False)
            else:
                log.warning("private_reply_failed", error=str(error))

    async def open_form(
        self, user: str, trigger_id: str | None, form: Block, response_url: str | None, *, otherwise: str
    ) -> None:
        """Open a form for the person who clicked or typed: Slack allows it for three seconds.

        If that fails, say `otherwise`: in the App Home, where there is no response_url, by a direct message.
        """
        try:
            if trigger_id is not None:
                await self.slack.open_dialog(trigger_id, form)
                return
        except SlackError as error:
            log.warning("form_not_opened", error=str(error))
        if response_url is not None:
            await self.send_private(response_url, private(otherwise))
            return
        with contextlib.suppress(SlackError):
            await self.slack.post(user, private(otherwise))

    async def withdraw(self, response_url: str) -> None:
        """Take away the private message whose menu was used; one that stays can do no harm."""
        with contextlib.suppress(SlackError):
            await self.slack.withdraw(response_url)

    async def deliver(self, outcome: Outcome, request: Request | None = None) -> None:
        """Deliver an outcome that is claimed: its card and its message. What fails is due again later.

        `request` is as the outcome was settled; without it the ledger is read.
        """
        log_of = log.bind(request=outcome.request_id, attempt=outcome.attempt)
        request = request or await self.ledger.require(outcome.request_id)
        reply = outcomes.reply_to_requester(request, outcome)
        posts = outcome.message_posted_at is None and (outcome.attempt > 0 or reply is not None)
        try:
            async with asyncio.timeout(LEASE - 1):
                if posts and not await self._has_turn(outcome, request):
                    return
                updating = self._update(outcome.request_id)
                if posts and outcome.attempt > 0:
                    # The message and the card go out at once, and an error in one does not stop the other.
                    posting = self._post_outcome(outcome, request)
                    for error in await asyncio.gather(posting, updating, return_exceptions=True):
                        if isinstance(error, BaseException):
                            raise error
                # Kept and expired are on the card; only if it can't be changed, a message in the channel must say so.
                elif not await updating and outcome.message_posted_at is None:
                    await self._post_outcome(outcome, request)
                elif posts:
                    await self._post_outcome(outcome, request, reply)
        except (SlackError, TimeoutError) as error:
            await self._defer(outcome, error)
        else:
            await self.ledger.delivered(outcome, self.now())
            self.metrics.outcomes_delivered.labels(outcome.code).inc()
            log_of.info("outcome_delivered", outcome=outcome.code)

    async def _has_turn(self, outcome: Outcome, request: Request) -> bool:
        """Wait for the turn of a message in its channel; False if it is far away: then a sweep comes back."""
        wait = self.pace.wait(request.channel, _turn(outcome))
        if wait and outcome.attempt == 0:  # only the reply waits: the card loses its buttons at once
            await self.update_card(outcome.request_id)
        if wait > LONGEST_PAUSE:
            log.info("delivery_waits", request=outcome.request_id, attempt=outcome.attempt, wait=wait)
            until = self.now() + min(wait, MAX_RETRY_AFTER)
            await self.ledger.defer_delivery(outcome, until, outcome.undeliverable_since)
            return False
        await asyncio.sleep(wait)
        return True

    async def _defer(self, outcome: Outcome, error: SlackError | TimeoutError) -> None:
        """Store when a delivery that failed is due again."""
        log_of = log.bind(request=outcome.request_id, attempt=outcome.attempt)
        since = outcome.undeliverable_since
        code, asked = (error.code, error.retry_after) if isinstance(error, SlackError) else ("", 0.0)
        if isinstance(error, SlackError) and needs_somebody(error):
            wait = wait_for_somebody(self.now() - (since or self.now()))  # an outage before it does not count
            if since is None:
                since = self.now()
                close = f"{PROGRAM} delivered {outcome.request_id}"
                step = f"{PROGRAM} check" if code in ADMINISTRATOR_ERRORS else close
                log_of.error("outcome_undeliverable", error=str(error), step=step)
        elif asked:
            # Up to a second more, another one for each request: replicas do not all come back at once.
            wait = asked + int(outcome.request_id[:8], 16) / 2**32
        else:
            wait = backoff(outcome.delivery_attempts)
        log_of.warning("delivery_failed", error=str(error), wait=wait)
        await self.ledger.defer_delivery(outcome, self.now() + wait, since)

    async def post_anyhow(
        self, request: Request, message: Message, people: set[str], thread: str | None = None
    ) -> None:
        """Post a message about a request in its channel, or in the thread of its card.

        If Slack rejects that, post it by response_url, and if it rejects that too, to these people.
        """
        url = request.response_url

        async def post_to_people() -> None:
            """Post to each. If one got it, that is enough: a repetition for another would reach that person twice."""
            failures: list[SlackError] = []
            for person in sorted(people):
                try:
                    await self.slack.post(person, message)
                except SlackError as error:
                    failures.append(error)
            if len(failures) == len(people):
                raise failures[0]

        ways: list[Callable[[], Awaitable[object]]] = [lambda: self.slack.post(request.channel, message, thread)]
        if url is not None:
            ways.append(lambda: self.slack.respond(url, message))
        await first_accepted(*ways, post_to_people)

    async def _post_outcome(self, outcome: Outcome, request: Request, reply: Message | None = None) -> None:
        """Post the message of an outcome, or instead of it this reply in the card's thread for the requester."""
        people, limited = {request.requested_by, outcome.decided_by or request.requested_by}, 0.0
        try:
            if reply is not None:
                await self.post_anyhow(request, reply, {request.requested_by}, request.card_ts)
            else:
                toast = outcomes.toast(request, outcome, now=self.now(), account=self.rules().account)
                await self.post_anyhow(request, toast, people)
        except SlackError as error:
            limited = error.retry_after
            raise
        finally:
            if limited:  # the message keeps its turn, which comes later
                self.pace.hold(request.channel, limited)
            else:
                self.pace.done(request.channel, _turn(outcome))
        await self.ledger.message_posted(outcome, self.now())  # at once: it is not posted again

    async def update_card(self, request_id: str, due: float | None = None) -> None:
        """Update a card once, without retrying. `due` is the claim of a sweep, which ends if Slack took the update.

        Only a sweep ends a claim: it comes when every update from before the claim must have landed.
        """
        try:
            await self._update(request_id, due)
        except (SlackError, LedgerError) as error:  # the card was claimed before: a sweep updates it again
            log.warning("card_update_failed", request=request_id, error=str(error))

    async def update_clicked_card(self, click: Click) -> None:
        """Update the card of a click that changed nothing."""
        await self.ledger.card_clicked(click)
        await self.update_card(click.request_id)

    async def _update(self, request_id: str, due: float | None = None) -> bool:
        """Show on the card what the ledger says; False if it can no longer be changed.

        Raise SlackUnavailableError if it may work later. One update of a card at a time, so that the last one shows the
        last state. An update of another replica may still land after it: whatever can be followed by another state
        claims the card for a later sweep.
        """
        self.on_change()
        async with self._updating.setdefault(request_id, asyncio.Lock()):
            request = await self.ledger.require(request_id)
            message = cards.card(request, self.rules())
            ts, url = request.card_ts, request.response_url
            ways: list[Callable[[], Awaitable[None]]] = []
            if ts is not None:
                ways.append(lambda: self.slack.update(request.channel, ts, message))
            if url is not None and request.response_url_replaces:
                ways.append(lambda: self.slack.respond(url, message, replace=True))
            try:
                if ways:
                    await first_accepted(*ways)
                changed = bool(ways)
            except SlackRejectedError as error:
                log.info("card_update_rejected", request=request_id, code=error.code)
                changed = False
            except SlackUnavailableError as error:
                if error.sent:  # Slack may still apply this update, and after a later one
                    await self.ledger.card_stale(request_id, self.now())
                raise
        if due is not None:
            await self.ledger.card_updated(request, due)
        return changed

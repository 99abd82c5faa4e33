"""The App Home: open requests with their buttons, the last outcomes, who may, which account; for permitted people only.

A home tab is published for each person, and shown until it is published again: https://docs.slack.dev/surfaces/app-home.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from bot.clients.slack import Slack
from bot.domain.models import Outcome, Request
from bot.errors import BotError, RequestDenied
from bot.ledger.store import Ledger
from bot.service.access import Access, Person
from bot.tasks import Tasks
from bot.views import cards
from bot.views.cards import Block, context, section

log = structlog.get_logger("bot.home")

LAST_OUTCOMES = 20
MAX_OPEN = 20
# Who has opened the tab within this time is shown what changes; views.publish takes some hundred calls a minute.
LOOKING_SECONDS = 600.0
EVERY = 1.0


def page(
    requests: list[Request], outcomes: list[tuple[Request, Outcome]], rules: cards.Rules, about: list[str]
) -> list[Block]:
    """What a permitted person sees."""
    blocks = [_header("Open requests")]
    for request in requests[:MAX_OPEN]:
        blocks += cards.card(request, rules).blocks
        blocks.append(context(f"In <#{request.channel}>"))
    if len(requests) > MAX_OPEN:
        blocks.append(context(f"{len(requests) - MAX_OPEN} more are open; their cards stand in the channels."))
    if not requests:
        blocks.append(section(f"Nothing waits for confirmation. Ask with `{cards.COMMAND}` in a channel."))
    blocks.append(_header("Last outcomes"))
    blocks += [section(cards.in_home(request, outcome)) for request, outcome in outcomes]
    if not outcomes:
        blocks.append(section("No request has ended yet."))
    return [*blocks, {"type": "divider"}, *map(context, about)]


def refused(sentence: str) -> list[Block]:
    """What everybody else sees."""
    return [_header("Cellcast numbers"), section(sentence)]


def _header(text: str) -> Block:
    return {"type": "header", "text": {"type": "plain_text", "text": text}}


@dataclass
class Home:
    """The home tabs that people look at, kept up to date. `now` tells seconds since the epoch."""

    ledger: Ledger
    slack: Slack
    access: Access
    tasks: Tasks
    rules: cards.Rules
    dry_run: bool
    now: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self.account = ""  # the Cellcast account's name, once it is known
        self._looking: dict[str, float] = {}
        self._stale = False
        self._work: asyncio.Task[None] | None = None

    async def opened(self, user: str) -> None:
        """Somebody looks at the tab."""
        self._looking[user] = self.now()
        await self._publish(user)

    def refresh(self) -> None:
        """Show what has changed to who looks at the tab."""
        since = self.now() - LOOKING_SECONDS
        self._looking = {user: at for user, at in self._looking.items() if at >= since}
        self._stale = bool(self._looking)
        if self._stale and (self._work is None or self._work.done()):
            self._work = self.tasks.start(self._refresh())

    async def _refresh(self) -> None:
        while self._stale:
            self._stale = False
            await asyncio.gather(*map(self._publish, list(self._looking)))
            await asyncio.sleep(EVERY)

    async def _publish(self, user: str) -> None:
        try:
            await self.slack.publish_home(user, await self._blocks(user))
        except BotError as error:
            log.warning("home_publish_failed", user=user, error=str(error))

    async def _blocks(self, user: str) -> list[Block]:
        try:
            # The event names no team of the person, and members of other companies (Slack Connect) can send it.
            await self.access.check(Person(user, None), None)
        except RequestDenied as refusal:
            return refused(str(refusal))
        requests = await self.ledger.open_requests(self.now())
        return page(requests, await self.ledger.last_outcomes(LAST_OUTCOMES), self.rules, self._about())

    def _about(self) -> list[str]:
        lines = [self.access.rights()]
        if self.account:
            lines.append(f"Cellcast account: {cards.escape(self.account)}")
        return [*lines, "*Dry run:* nothing is sent to Cellcast."] if self.dry_run else lines

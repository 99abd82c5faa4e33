"""The ledger: every request and outcome, in one database that any number of replicas share.

Every method raises LedgerError if the database can't be reached or is locked; then nothing was changed, unless the
error says otherwise. transitions.py, outbox.py and queries.py have the work itself.
"""

from __future__ import annotations

import asyncio
import contextlib
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import sqlalchemy as sa
import structlog

from bot.domain.models import AuditLine, Click, DueWork, NewRequest, Outcome, Request
from bot.domain.status import CallResult
from bot.errors import LedgerDataError, LedgerError, StartError
from bot.ledger import outbox, pruning, queries, restore, schema, transitions
from bot.ledger.backup import require_own_log
from bot.ledger.database import ACK_TIMEOUT, Database
from bot.ledger.threads import Threads
from bot.ledger.transitions import NumberTakenError

log = structlog.get_logger("bot.ledger")

# What must not get lost is tried again this often while the database is away: before another replica takes over.
RETRY_EVERY = 1.0
# What `check` writes: several pages of SQLite, because a small row can find room in a database that is full.
CHECK_CONTENT = "x" * 20_000
# A migration that was given up would begin again with each start: a million requests take it half a minute.
MIGRATION_TIMEOUT = 600.0
# A sweep closes overdue requests in at most this many transactions: 500 requests, in about half of the second until the
# next sweep.
CLOSINGS = 25
HISTORY_PAGE = 500
# After each transaction `prune` leaves the database alone for this many times as long.
PRUNING_PAUSE = 4
# What is shown in Slack is read in at most this time: a read as long as a lease could show an older state after a sweep
# has shown the last one. Two calls to Slack, each of five seconds, fit in the rest of the lease.
SHOWN_TIMEOUT = 5.0

T = TypeVar("T")


async def until_stored(write: Callable[[], Awaitable[T]]) -> T:
    """Return the result of a write that must not get lost, however long the database is away."""
    while True:
        try:
            return await write()
        except LedgerError as error:
            log.error("outcome_not_stored", error=str(error.__cause__))
            await asyncio.sleep(RETRY_EVERY)


def _prove_writable(folder: Path) -> None:
    try:
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise LedgerError from OSError(error.errno, error.strerror, str(folder))


class Ledger:
    """Reads and writes requests and outcomes.

    What an ack waits for has ACK_TIMEOUT, what is shown in Slack SHOWN_TIMEOUT, and the rest BACKGROUND_TIMEOUT.

    If it is `auditing`, each outcome that is settled from now on is due for the audit channel.

    Without `create` no file is created: then call `require_current` or `rehearse_start` first, instead of `open`.
    """

    def __init__(
        self,
        url: str,
        start_threads: Callable[[int], Threads] = Threads,
        *,
        create: bool = True,
        auditing: bool = False,
    ) -> None:
        self.database = Database(url, start_threads, create=create, auditing=auditing)

    def close(self) -> None:
        """Close the threads and connections."""
        self.database.close()

    async def open(self) -> None:
        """Create or migrate the tables.

        Raise NewerLedgerError if a newer bot wrote them, and StartError if the database is a restored backup that
        nobody has settled.
        """
        if self.database.file is not None:
            require_own_log(self.database.file)
        # A database that is silent fails here: it does not get the time of a migration.
        await self.database.read(lambda db: db.scalar(sa.select(sa.literal(1))))
        await self.database.write(schema.create_or_migrate, timeout=MIGRATION_TIMEOUT)

    async def version(self) -> int | None:
        """Return the schema version of the database, None if there is none. Raise NewerLedgerError."""
        if self.database.file is not None:
            if not self.database.file.exists():
                return None
            require_own_log(self.database.file)
        return await self.database.read(schema.version_of)

    async def require_any(self) -> int:
        """Return the schema version. Raise StartError if there is no ledger. Nothing is created or migrated."""
        found = await self.version()
        if found is None:
            raise StartError("DATABASE_URL names a database without any record of this bot. Check the address.")
        return found

    async def require_current(self) -> None:
        """Raise StartError if there is no ledger, or one of an earlier version. Nothing is created or migrated."""
        found = await self.require_any()
        if found < schema.SCHEMA_VERSION:
            raise StartError(
                f"The database has schema {found}, and this version of the bot needs {schema.SCHEMA_VERSION}. "
                "Start the bot once, because it migrates the database when it starts. Then try again."
            )

    async def rehearse_start(self) -> int | None:
        """Prove that `open` would work, and change nothing. Return the schema version, None if there is no ledger."""
        file, found = self.database.file, await self.version()
        if file is not None and not file.exists():
            await asyncio.to_thread(_prove_writable, file.parent)
        elif found == schema.SCHEMA_VERSION:
            await self.database.read(schema.require_settled)
            await self.check()
        else:
            await self.database.rehearse(schema.rehearse_create_or_migrate)
        return found

    async def check(self) -> None:
        """Prove that the database can store a request: write a row that needs room, and delete it again."""

        def write(db: sa.Connection) -> None:
            db.execute(schema.write_check.insert().values(content=CHECK_CONTENT))
            db.execute(schema.write_check.delete())

        await self.database.write(write, timeout=ACK_TIMEOUT)

    async def settle_restored(self, now: float, *, unmarked: bool) -> restore.Restored:
        """Settle what is open in a restored backup, in one transaction. Raise BotError if it carries no mark."""
        return await self.database.write(
            lambda db: restore.settle_restored(db, now, unmarked=unmarked), timeout=MIGRATION_TIMEOUT
        )

    async def prunable(self, before: float) -> int:
        """Return how many requests `prune` would remove."""
        return await self.database.read(lambda db: pruning.count(db, before), timeout=MIGRATION_TIMEOUT)

    async def prune(self, before: float, now: float) -> int:
        """Remove the requests whose last event was before this moment, in small transactions; return how many."""
        removed, first = 0, (0.0, "")
        after = first
        while page := await self.database.read(
            partial(pruning.page, before=before, after=after), timeout=MIGRATION_TIMEOUT
        ):
            if after == first:  # a run that finds nothing leaves no record
                await self.database.write(lambda db: pruning.begin(db, before, now))
            began = time.monotonic()
            removed += await self.database.write(partial(pruning.remove, ids=[id_ for _, id_ in page], pruned_at=now))
            # SQLite has one writer, and waiting connections look only now and then: it must be free most of the time.
            await asyncio.sleep(PRUNING_PAUSE * (time.monotonic() - began))
            after = page[-1]
        return removed

    # Requests

    async def create_request(self, new: NewRequest) -> tuple[Request, bool]:
        """Store a request; return the active request for the number, and whether it is new and needs a card."""
        while True:  # only the database can tell who was first; whoever lost the race looks again
            with contextlib.suppress(NumberTakenError):
                return await self.database.write(lambda db: transitions.create(db, new)), True
            with contextlib.suppress(NumberTakenError):
                return await self.database.write(lambda db: transitions.find_active(db, new))

    async def confirm(self, click: Click, call_deadline: float, *, second_person: bool) -> Request | None:
        """Confirm a request, or try it again; return it to the one click that did."""
        return await self.database.write(
            lambda db: transitions.confirm(db, click, call_deadline, second_person=second_person), timeout=ACK_TIMEOUT
        )

    async def start_call(self, request: Request, now: float) -> bool:
        """Store that the call of this attempt is about to be sent; False if the attempt has ended already."""
        return await self.database.write(lambda db: transitions.start_call(db, request, now))

    async def keep(self, click: Click) -> Request | None:
        """Keep the number; return the request to the one click that did, its outcome claimed."""
        return await self.database.write(lambda db: transitions.keep(db, click), timeout=ACK_TIMEOUT)

    async def protect(self, click: Click) -> Request | None:
        """Keep the number by rule; return the request to the one click that did, its outcome claimed."""
        return await self.database.write(lambda db: transitions.protect(db, click), timeout=ACK_TIMEOUT)

    async def expire(self, click: Click) -> Request | None:
        """Expire a request if its deadline has passed; return it to the one click that did, its outcome claimed."""
        return await self.database.write(lambda db: transitions.expire(db, click), timeout=ACK_TIMEOUT)

    async def settle(self, request: Request, result: CallResult, now: float, retry_for: float) -> Request | None:
        """Store how the call ended; return the request, its outcome claimed, or None if it had ended before."""
        return await self._store_result(
            request, result, lambda db, result: transitions.settle(db, request, result, now, retry_for)
        )

    async def settle_unstarted(self, click: Click, now: float, retry_for: float) -> Request | None:
        """Settle the attempt that this click confirmed, if its call has not begun; its outcome is claimed."""
        return await self.database.write(lambda db: transitions.settle_unstarted(db, click, now, retry_for))

    async def correct(self, request: Request, result: CallResult, now: float, retry_for: float) -> bool:
        """Replace "interrupted", as another replica settled the attempt, by what the call brought."""
        return await self._store_result(
            request, result, lambda db, result: transitions.correct(db, request, result, now, retry_for)
        )

    async def _store_result(
        self, request: Request, result: CallResult, work: Callable[[sa.Connection, CallResult], T]
    ) -> T:
        """Store a result, without Cellcast's message if the database can't encode it: waiting would not change that."""
        try:
            return await self.database.write(lambda db: work(db, result))
        except LedgerDataError as error:
            log.error("message_not_stored", request=request.id, outcome=result.code, error=str(error.__cause__))
        return await self.database.write(lambda db: work(db, result.without_message()))

    # Deliveries and cards

    async def sweep(self, now: float, retry_for: float, running: frozenset[str] = frozenset()) -> DueWork:
        """Close what is overdue, and claim what is due. `running` are the requests whose call this replica holds."""
        if not await self.database.read(lambda db: outbox.anything_due(db, now)):
            return DueWork([], [])

        def close(db: sa.Connection) -> DueWork | None:
            more = transitions.close_overdue(db, now, retry_for, running)
            return None if more else outbox.claim_due(db, now)

        for _ in range(CLOSINGS):  # many transactions instead of one: acks go first in between
            if (due := await self.database.write(close)) is not None:
                return due
        # The rest waits for the next sweep, and the deliveries don't.
        return await self.database.write(lambda db: outbox.claim_due(db, now))

    async def message_posted(self, outcome: Outcome, now: float) -> None:
        """Store that Slack accepted the message of an outcome: it is not posted again."""
        await self.database.write(lambda db: outbox.message_posted(db, outcome, now))

    async def delivered(self, outcome: Outcome, now: float) -> None:
        """Store that an outcome is delivered in full."""
        await self.database.write(lambda db: outbox.delivered(db, outcome, now))

    async def defer_delivery(self, outcome: Outcome, until: float, undeliverable_since: float | None = None) -> None:
        """Give a delivery back: it is due again at `until`, unless it was claimed again since."""
        await self.database.write(lambda db: outbox.defer_delivery(db, outcome, until, undeliverable_since))

    async def close_outcomes(self, request_id: str, now: float) -> list[Outcome]:
        """Close the undelivered outcomes of a request by hand, so that they are never due again; return them."""
        return await self.database.write(lambda db: outbox.close_outcomes(db, request_id, now))

    async def audit_due(self, now: float) -> bool:
        """Return whether an audit line is due."""
        return await self.database.read(lambda db: outbox.audit_due(db, now))

    async def claim_audit(self, now: float) -> AuditLine | None:
        """Claim the audit line that has been due longest; None if another replica was faster."""
        return await self.database.write(lambda db: outbox.claim_audit(db, now))

    async def audited(self, line: AuditLine) -> None:
        """Store that Slack accepted an audit line, unless its outcome was corrected or it was claimed again since."""
        await self.database.write(lambda db: outbox.change_audit(db, line, None))

    async def hasten_audits(self, now: float) -> None:
        """Make audit lines due at once that are due later than any claim is long: those that Slack rejected."""
        await self.database.write(lambda db: outbox.hasten_audits(db, now))

    async def defer_audit(self, line: AuditLine, until: float) -> None:
        """Give an audit line back: it is due again at `until`, unless it was corrected or claimed again since."""
        await self.database.write(lambda db: outbox.change_audit(db, line, until))

    async def remind_later(self, request_id: str, at: float) -> None:
        """Give a reminder back that was not posted: it is due again at this moment."""
        await self.database.write(lambda db: outbox.remind_later(db, request_id, at))

    async def extend_posting(self, request_id: str, until: float) -> None:
        """Extend the time in which this replica posts a card: until then no other request replaces this one."""
        await self.database.write(lambda db: outbox.extend_posting(db, request_id, until))

    async def card_posted(self, request_id: str, ts: str | None) -> Request:
        """Store where the card is, None if it was posted by response_url; return the request as it is now."""
        return await self.database.write(lambda db: outbox.card_posted(db, request_id, ts))

    async def card_lost(self, request_id: str) -> bool:
        """Store that nobody knows of a card; False if somebody has clicked it, or the request has ended."""
        return await self.database.write(lambda db: outbox.card_lost(db, request_id))

    async def card_stale(self, request_id: str, now: float) -> None:
        """Store that the card may show an older state: a sweep updates it."""
        await self.database.write(lambda db: outbox.card_stale(db, request_id, now))

    async def card_clicked(self, click: Click) -> None:
        """Store where a card is whose click changed nothing, and that it may show an older state."""
        await self.database.write(lambda db: outbox.card_clicked(db, click))

    async def card_updated(self, shown: Request, due: float) -> None:
        """End the claim `due` of a sweep, unless the request has changed or was claimed again since."""
        await self.database.write(lambda db: outbox.card_updated(db, shown, due))

    # Queries

    async def require(self, request_id: str) -> Request:
        """Return the request of an id that the ledger itself gave out, to show it: within SHOWN_TIMEOUT."""
        return await self.database.read(lambda db: queries.require(db, request_id), timeout=SHOWN_TIMEOUT)

    async def get(self, request_id: str) -> Request | None:
        """Return the request of an id, None if there is none."""
        return await self.database.read(lambda db: queries.find(db, request_id), timeout=ACK_TIMEOUT)

    async def history(self, limit: int = 10) -> list[tuple[Request, list[Outcome]]]:
        """Return the newest requests, newest first, each with its outcomes in their order."""
        return await self.database.read(lambda db: queries.history(db, limit), timeout=ACK_TIMEOUT)

    async def whole_history(self, since: float = 0.0) -> AsyncGenerator[tuple[Request, list[Outcome]], None]:
        """Yield the requests since then, oldest first, each with its outcomes in their order.

        They are read in pages. Each request that was stored before the first page comes exactly once, as it is when its
        page is read. Later ones come too, unless they carry a time before that of the last page.
        """
        after = (since, "")
        while page := await self.database.read(partial(queries.history_page, after=after, limit=HISTORY_PAGE)):
            for request, outcomes in page:
                yield request, outcomes
            after = (page[-1][0].requested_at, page[-1][0].id)

    async def prunings(self, since: float = 0.0) -> list[tuple[float, float, int]]:
        """Return each removal since then: its time, the moment before which requests had ended, and their number."""
        return await self.database.read(lambda db: pruning.history(db, since))

    async def open_numbers(self, numbers: list[str], now: float) -> set[str]:
        """Return which of these numbers have a request that a click can still confirm, or whose call is under way."""
        return await self.database.read(lambda db: queries.open_numbers(db, numbers, now), timeout=ACK_TIMEOUT)

    async def overview(
        self, now: float, open_limit: int, outcome_limit: int
    ) -> tuple[list[Request], int, list[tuple[Request, Outcome]]]:
        """Return the newest open requests, how many are open, and the latest outcomes with their requests."""

        def read(db: sa.Connection) -> tuple[list[Request], int, list[tuple[Request, Outcome]]]:
            return *queries.open_requests(db, now, open_limit), queries.latest_outcomes(db, outcome_limit)

        return await self.database.read(read)

    async def gauges(self, now: float) -> tuple[int, float]:
        """Return how many cards wait for a first click, and the age of the oldest undelivered outcome in seconds."""
        return await self.database.read(lambda db: queries.gauges(db, now), timeout=ACK_TIMEOUT)

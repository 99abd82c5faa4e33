"""Settles what is open in a restored backup as unknown: it may have been confirmed since."""

from __future__ import annotations

from dataclasses import dataclass

import sqlalchemy as sa

from bot import PROGRAM
from bot.domain.models import Outcome, Request
from bot.errors import BotError
from bot.ledger import queries, schema, statements, transitions


@dataclass(frozen=True)
class Restored:
    """What was settled, as it was in the backup, and what is no longer delivered or posted."""

    settled: list[Request]
    closed: list[Outcome]
    audit_lines: int


def settle_restored(db: sa.Connection, now: float, *, unmarked: bool) -> Restored:
    """Settle what is open in a restored backup, and close what is due in it: it may have happened since.

    Raise BotError if the database is not marked as a restored backup, unless the operator knows that it is `unmarked`.
    """
    if not (unmarked or schema.is_restored(db)):
        raise BotError(
            "Nothing was changed: the database is not marked as a restored backup, or was settled already. If you "
            "restored it in a way that leaves no mark, such as a copied file or a snapshot of a disk, run "
            f"`{PROGRAM} restored --unmarked`."
        )
    schema.create_or_migrate(db, even_if_restored=True)
    closed = [queries.to_outcome(row) for row in db.execute(statements.CLOSE_RESTORED, {"at": now}).mappings()]
    audit_lines = db.execute(statements.DROP_AUDITS).rowcount
    db.execute(statements.DROP_CARD_UPDATES)
    open_before = [queries.to_request(row, None) for row in db.execute(statements.ALL_ACTIVE).mappings()]
    for request in open_before:
        transitions.settle_restored(db, request, now)
    schema.settle_place(db)
    return Restored(open_before, closed, audit_lines)

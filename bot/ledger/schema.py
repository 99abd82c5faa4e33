"""The tables, and how a database of an earlier version becomes one of this version.

The running bot never deletes a row, so no query may depend on how many there are. What waits is a small part of them:
the partial indexes hold only that part, and cost nothing for the rest.

A restored backup must not be used before `python -m bot restored` has settled it, so each backup differs from its
original. On SQLite, `python -m bot backup` marks the file with a `user_version` other than 0. On PostgreSQL the ledger
stores its place: a random value that a materialized view holds. A dump has only the view's definition, so the restored
view holds another value.
"""

from __future__ import annotations

import sqlalchemy as sa

from bot import PROGRAM
from bot.errors import NewerLedgerError, StartError

SCHEMA_VERSION = 8
METADATA = sa.MetaData()


def _partial(name: str, columns: str, where: str) -> sa.Index:
    """Return an index of the rows that `where` holds for."""
    return sa.Index(name, *columns.split(", "), sqlite_where=sa.text(where), postgresql_where=sa.text(where))


version = sa.Table(
    "ledger_version",
    METADATA,
    sa.Column("version", sa.Integer, primary_key=True),
    # On PostgreSQL: what `ledger_place` held when this database was created, migrated or settled.
    sa.Column("place", sa.Text),
)
requests = sa.Table(
    "requests",
    METADATA,
    sa.Column("id", sa.String(32), primary_key=True),
    sa.Column("number_id", sa.String(24), nullable=False),
    # What the list of numbers called it when it was requested: this is what people confirm.
    sa.Column("phone", sa.String(40)),
    sa.Column("label", sa.Text),
    sa.Column("warning", sa.Text),
    sa.Column("reason", sa.Text),
    # Holds the number while the request can still lead to a call: no two live cards for one number.
    sa.Column("active_number_id", sa.String(24), unique=True),
    sa.Column("status", sa.String(16), nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("dry_run", sa.Boolean, nullable=False),
    sa.Column("channel", sa.String(32), nullable=False),
    sa.Column("requested_by", sa.String(32), nullable=False),
    sa.Column("requested_at", sa.Double, nullable=False),
    sa.Column("expires_at", sa.Double),
    sa.Column("decided_by", sa.String(32)),
    sa.Column("decided_at", sa.Double),
    sa.Column("call_deadline", sa.Double),
    # Stored just before the call of the current attempt: an interrupted attempt without it sent nothing.
    sa.Column("call_started_at", sa.Double),
    # From this moment on the sweep updates the card, because it may show an older state.
    sa.Column("card_update_due", sa.Double),
    # When people are reminded of the card; empty once they were, or if they are not.
    sa.Column("remind_at", sa.Double),
    sa.Column("posting_lease_until", sa.Double, nullable=False),
    sa.Column("card_posted", sa.Boolean, nullable=False),
    sa.Column("card_ts", sa.String(32)),
    sa.Column("response_url", sa.Text),
    sa.Column("response_url_replaces", sa.Boolean, nullable=False),
    # The id makes the order unique, so that a page of the history can begin where the one before ended.
    sa.Index("requests_by_creation", "requested_at", "id"),
    _partial("requests_active", "requested_at", "active_number_id IS NOT NULL"),
    # With the status it counts the open cards without reading their rows.
    _partial("requests_by_deadline", "expires_at, status", "expires_at IS NOT NULL"),
    _partial("requests_by_call_deadline", "call_deadline, status", "call_deadline IS NOT NULL"),
    _partial("requests_by_card_update", "card_update_due", "card_update_due IS NOT NULL"),
    _partial("requests_by_reminder", "remind_at, status", "remind_at IS NOT NULL"),
)
outcomes = sa.Table(
    "outcomes",
    METADATA,
    sa.Column("request_id", sa.ForeignKey("requests.id"), primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),
    sa.Column("code", sa.String(32), nullable=False),
    sa.Column("message", sa.Text, nullable=False),
    sa.Column("retry_at", sa.Double),
    sa.Column("after_unknown", sa.Boolean, nullable=False),
    sa.Column("decided_by", sa.String(32)),
    sa.Column("decided_at", sa.Double),
    sa.Column("settled_at", sa.Double, nullable=False),
    sa.Column("delivery_attempts", sa.Integer, nullable=False),
    sa.Column("deliver_after", sa.Double, nullable=False),
    sa.Column("message_posted_at", sa.Double),
    sa.Column("delivered_at", sa.Double),
    # It replaces an outcome that people may have read.
    sa.Column("correction", sa.Boolean, nullable=False),
    # Slack rejected every way for good: when it did so first. The bot goes on trying, with long waits.
    sa.Column("undeliverable_since", sa.Double),
    # An operator closed it by hand: `delivered_at` has the same time, so that nothing is due.
    sa.Column("closed_at", sa.Double),
    # That of its request: what is unknown about a number is found without reading all its requests.
    sa.Column("number_id", sa.String(24), nullable=False),
    # When its line for the audit channel is due; empty once it is posted, or if there was no such channel.
    sa.Column("audit_after", sa.Double),
    sa.Index("outcomes_by_number", "number_id", "code"),
    sa.Index("outcomes_by_settlement", "settled_at"),
    _partial("outcomes_undelivered", "deliver_after", "delivered_at IS NULL"),
    _partial("outcomes_undelivered_by_age", "settled_at", "delivered_at IS NULL"),
    _partial("outcomes_by_audit", "audit_after", "audit_after IS NOT NULL"),
)
# Empty: the health check writes a row and deletes it again in one transaction.
write_check = sa.Table("write_check", METADATA, sa.Column("content", sa.Text, nullable=False))
# What an operator has removed from the record (`python -m bot prune`).
prunings = sa.Table(
    "prunings",
    METADATA,
    sa.Column("pruned_at", sa.Double, primary_key=True),
    # Requests whose last event was before this moment were removed.
    sa.Column("ended_before", sa.Double, nullable=False),
    sa.Column("removed", sa.Integer, nullable=False),
)
# gen_random_uuid() needs PostgreSQL 13.
_CREATE_PLACE = "CREATE MATERIALIZED VIEW ledger_place AS SELECT gen_random_uuid()::text AS place"


def _rename_columns(table: str, names: dict[str, str]) -> list[str]:
    return [f"ALTER TABLE {table} RENAME COLUMN {old} TO {new}" for old, new in names.items()]


def _rename_codes(codes: dict[str, str]) -> list[str]:
    return [f"UPDATE outcomes SET code = '{new}' WHERE code = '{old}'" for old, new in codes.items()]  # noqa: S608 - ours


# What each version changes in the database of the one before.
MIGRATIONS = {
    2: ["ALTER TABLE requests ADD COLUMN phone VARCHAR(40)", "ALTER TABLE requests ADD COLUMN label TEXT"],
    3: [
        "ALTER TABLE requests ADD COLUMN call_started_at DOUBLE PRECISION",
        "ALTER TABLE requests ADD COLUMN card_due DOUBLE PRECISION",
        "ALTER TABLE endings ADD COLUMN correction BOOLEAN NOT NULL DEFAULT FALSE",
        "CREATE INDEX requests_by_card_due ON requests (card_due)",
        # Version 2 did not store when a call began: what it left under way may have been sent.
        "UPDATE requests SET call_started_at = decided_at WHERE state = 'confirmed'",
    ],
    4: [
        *_rename_columns(
            "requests",
            {
                "state": "status",
                "asked_by": "requested_by",
                "asked_at": "requested_at",
                "open_until": "expires_at",
                "open_number": "active_number_id",
                "posting_until": "posting_lease_until",
                "reply_url": "response_url",
                "reply_replaces": "response_url_replaces",
                "call_ends_by": "call_deadline",
                "card_due": "card_update_due",
            },
        ),
        "ALTER TABLE endings RENAME TO outcomes",
        *_rename_columns(
            "outcomes",
            {
                "kind": "code",
                "ended_at": "settled_at",
                "tellings": "delivery_attempts",
                "tell_after": "deliver_after",
                "posted_at": "message_posted_at",
                "told_at": "delivered_at",
            },
        ),
        "ALTER TABLE outcomes ALTER COLUMN code TYPE VARCHAR(32)",
        *_rename_codes(
            {
                "broken": "connection_lost",
                "unreadable": "unexpected_response",
                "declined": "rejected",
                "lost": "interrupted",
            }
        ),
        "UPDATE outcomes SET code = 'already_gone' WHERE code = 'not_found' AND after_unknown",
        *(f"DROP INDEX {name}" for name in ("requests_by_state", "requests_by_card_due", "endings_untold")),
        "CREATE INDEX requests_by_creation ON requests (requested_at)",
        "CREATE INDEX requests_by_deadline ON requests (expires_at)",
        "CREATE INDEX requests_by_call_deadline ON requests (call_deadline)",
        "CREATE INDEX requests_by_card_update ON requests (card_update_due)",
        "CREATE INDEX outcomes_by_settlement ON outcomes (settled_at)",
        "CREATE INDEX outcomes_undelivered ON outcomes (delivered_at, deliver_after)",
    ],
    5: [
        "CREATE TABLE write_check (content TEXT NOT NULL)",
        "ALTER TABLE outcomes ADD COLUMN undeliverable_since DOUBLE PRECISION",
        "ALTER TABLE outcomes ADD COLUMN closed_at DOUBLE PRECISION",
        "ALTER TABLE outcomes ADD COLUMN number_id VARCHAR(24) NOT NULL DEFAULT ''",
        "UPDATE outcomes SET number_id = (SELECT number_id FROM requests WHERE id = request_id)",
        *(
            f"DROP INDEX {name}"
            for name in (
                "requests_by_number",
                "requests_by_creation",
                "requests_by_deadline",
                "requests_by_call_deadline",
                "requests_by_card_update",
                "outcomes_undelivered",
            )
        ),
        "CREATE INDEX requests_by_creation ON requests (requested_at, id)",
        "CREATE INDEX requests_active ON requests (requested_at) WHERE active_number_id IS NOT NULL",
        "CREATE INDEX requests_by_deadline ON requests (expires_at, status) WHERE expires_at IS NOT NULL",
        "CREATE INDEX requests_by_call_deadline ON requests (call_deadline, status) WHERE call_deadline IS NOT NULL",
        "CREATE INDEX requests_by_card_update ON requests (card_update_due) WHERE card_update_due IS NOT NULL",
        "CREATE INDEX outcomes_by_number ON outcomes (number_id, code)",
        "CREATE INDEX outcomes_undelivered ON outcomes (deliver_after) WHERE delivered_at IS NULL",
        "CREATE INDEX outcomes_undelivered_by_age ON outcomes (settled_at) WHERE delivered_at IS NULL",
    ],
    6: [
        "ALTER TABLE requests ADD COLUMN remind_at DOUBLE PRECISION",
        "ALTER TABLE requests ADD COLUMN warning TEXT",
        "CREATE INDEX requests_by_reminder ON requests (remind_at, status) WHERE remind_at IS NOT NULL",
    ],
    7: [
        "ALTER TABLE outcomes ADD COLUMN audit_after DOUBLE PRECISION",
        "CREATE INDEX outcomes_by_audit ON outcomes (audit_after) WHERE audit_after IS NOT NULL",
    ],
    8: [
        "ALTER TABLE ledger_version ADD COLUMN place TEXT",
        """CREATE TABLE prunings (
            pruned_at DOUBLE PRECISION NOT NULL PRIMARY KEY,
            ended_before DOUBLE PRECISION NOT NULL,
            removed INTEGER NOT NULL
        )""",
    ],
}


def version_of(db: sa.Connection) -> int | None:
    """Return the schema version of a database, None if it has no tables. Raise NewerLedgerError if it is too new."""
    found: int | None = None
    if sa.inspect(db).has_table(version.name):
        found = db.scalar(sa.select(sa.func.max(version.c.version)))
    if found is not None and found > SCHEMA_VERSION:
        raise NewerLedgerError(
            f"The database was written by a newer version of this bot (schema {found}, this bot knows "
            f"{SCHEMA_VERSION}). Run that version or a later one, or point DATABASE_URL to another database."
        )
    return found


def is_restored(db: sa.Connection) -> bool:
    """Return whether the database is a restored backup that nobody has settled yet."""
    if db.dialect.name == "sqlite":
        return db.exec_driver_sql("PRAGMA user_version").scalar() != 0
    if (version_of(db) or 0) < 8:  # earlier schemas have no place
        return False
    return bool(db.exec_driver_sql("SELECT v.place <> p.place FROM ledger_version v, ledger_place p").scalar())


def settle_place(db: sa.Connection) -> None:
    """Remove the mark of a restored backup, so that the bot can use this database."""
    if db.dialect.name == "sqlite":
        db.exec_driver_sql("PRAGMA user_version = 0")
    else:
        db.exec_driver_sql("REFRESH MATERIALIZED VIEW ledger_place")
        db.exec_driver_sql("UPDATE ledger_version SET place = (SELECT place FROM ledger_place)")


def require_settled(db: sa.Connection) -> None:
    """Raise StartError if the database is a restored backup that nobody has settled yet."""
    if is_restored(db):
        raise StartError(
            "The database was restored from a backup, so its open requests may have been confirmed since. "
            "Make sure that no bot uses the database, and "
            f"run `{PROGRAM} restored`: it settles these requests. Then start the bot."
        )


def be_patient(db: sa.Connection) -> None:
    """Let the statements of this transaction take longer than the running bot waits: they work on the whole record."""
    if db.dialect.name != "sqlite":
        db.exec_driver_sql("SET LOCAL statement_timeout = 0")
        db.exec_driver_sql("SET LOCAL lock_timeout = 0")


def rehearse_create_or_migrate(db: sa.Connection) -> None:
    """Create the tables, or write the version that is there: a rehearsal of `create_or_migrate` that takes no time."""
    require_settled(db)
    if version_of(db) is None:
        METADATA.create_all(db)
    else:
        db.execute(version.update().values(version=version.c.version))


def create_or_migrate(db: sa.Connection, *, even_if_restored: bool = False) -> None:
    """Create the tables, or migrate those of an earlier version.

    Raise NewerLedgerError if a newer bot wrote them, and StartError if this is a restored backup that nobody has
    settled.
    """
    on_sqlite = db.dialect.name == "sqlite"
    # To migrate a million rows, or to wait for another replica that does, takes longer than the running bot waits.
    be_patient(db)
    if not on_sqlite:
        db.execute(sa.select(sa.func.pg_advisory_xact_lock(7_263_549)))  # several replicas may start at once
    found = version_of(db)
    if not even_if_restored:
        require_settled(db)
    if found is None:
        METADATA.create_all(db)
        db.execute(version.insert().values(version=SCHEMA_VERSION))
    else:
        for number in range(found + 1, SCHEMA_VERSION + 1):
            for statement in MIGRATIONS[number]:
                if not (on_sqlite and " TYPE " in statement):  # SQLite enforces no length, and can't change one
                    db.exec_driver_sql(statement)
        db.execute(version.update().values(version=SCHEMA_VERSION))
    if not on_sqlite and (found or 0) < 8:
        db.exec_driver_sql(_CREATE_PLACE)
        settle_place(db)

"""The statuses of a request, and the ways in which it can end."""

from __future__ import annotations

import enum
from dataclasses import dataclass, replace


class Status(enum.StrEnum):
    """The status of a request; all but the first two come with an outcome."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    KEPT = "kept"
    EXPIRED = "expired"
    REPLACED = "replaced"


class OutcomeCode(enum.StrEnum):
    """Why a request ended as it did; each has its own words and next step."""

    SUCCEEDED = "succeeded"
    DRY_RUN = "dry_run"
    UNAUTHORIZED = "unauthorized"  # 401
    NOT_FOUND = "not_found"  # 404 that speaks of the number
    ALREADY_GONE = "already_gone"  # the same, after an attempt whose outcome is unknown: that one probably worked
    REJECTED = "rejected"  # 400, 422, or 200 with `status: false`
    RATE_LIMITED = "rate_limited"  # 429
    NOT_CONNECTED = "not_connected"  # nothing was sent
    NOT_STARTED = "not_started"  # interrupted before the call: nothing was sent
    LIST_UNUSABLE = "list_unusable"  # the list of numbers had an error before the call: nothing was sent
    TIMEOUT = "timeout"
    CONNECTION_LOST = "connection_lost"  # the connection broke after sending began
    SERVER_ERROR = "server_error"  # 5xx
    REDIRECT = "redirect"  # 3xx
    UNEXPECTED_RESPONSE = "unexpected_response"  # not what Cellcast documents
    INTERRUPTED = "interrupted"  # the bot stopped during the call
    RESTORED = "restored"  # open in the backup that the database was restored from
    KEPT = "kept"
    PROTECTED = "protected"  # kept by rule: the list of numbers protects it since
    EXPIRED = "expired"
    REPLACED = "replaced"  # a later request replaced it, because its card was lost

    @property
    def status(self) -> Status:
        """The status that this outcome leads to."""
        return _STATUSES.get(self, Status.UNKNOWN)

    @property
    def can_try_again(self) -> bool:
        """Whether another attempt could end differently: a temporary cause, or nobody knows what happened."""
        # The old card of a restored request may still have its buttons: nothing on it can lead to a call.
        return (self.status is Status.UNKNOWN and self is not OutcomeCode.RESTORED) or self in _MAY_PASS


_STATUSES = {
    OutcomeCode.SUCCEEDED: Status.SUCCEEDED,
    OutcomeCode.DRY_RUN: Status.SUCCEEDED,
    OutcomeCode.UNAUTHORIZED: Status.REFUSED,
    OutcomeCode.NOT_FOUND: Status.REFUSED,
    OutcomeCode.ALREADY_GONE: Status.REFUSED,
    OutcomeCode.REJECTED: Status.REFUSED,
    OutcomeCode.RATE_LIMITED: Status.REFUSED,
    OutcomeCode.NOT_CONNECTED: Status.REFUSED,
    OutcomeCode.NOT_STARTED: Status.REFUSED,
    OutcomeCode.LIST_UNUSABLE: Status.REFUSED,
    OutcomeCode.KEPT: Status.KEPT,
    OutcomeCode.PROTECTED: Status.KEPT,
    OutcomeCode.EXPIRED: Status.EXPIRED,
    OutcomeCode.REPLACED: Status.REPLACED,
}
# The causes that another attempt may not meet again.
_MAY_PASS = (
    OutcomeCode.RATE_LIMITED,
    OutcomeCode.NOT_CONNECTED,
    OutcomeCode.NOT_STARTED,
    OutcomeCode.LIST_UNUSABLE,
)


@dataclass(frozen=True)
class CallResult:
    """How a call ended: `message` is Cellcast's own, `retry_after` the seconds it asked to wait (429)."""

    code: OutcomeCode
    message: str = ""
    retry_after: float | None = None

    def without_message(self) -> CallResult:
        """Return the result for a database that can't store Cellcast's message: in ASCII, and it says so."""
        said = "Cellcast reported success, with" if self.code is OutcomeCode.SUCCEEDED else "Cellcast sent"
        return replace(self, message=f"{said} a message that the bot's database cannot store.")

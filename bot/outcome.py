"""How a request can stand, and how it can end."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class State(enum.StrEnum):
    """The states of a request; all but the first two are endings."""

    PENDING = "pending"
    CONFIRMED = "confirmed"
    SUCCEEDED = "succeeded"
    REFUSED = "refused"
    UNKNOWN = "unknown"
    KEPT = "kept"
    EXPIRED = "expired"
    REPLACED = "replaced"


class Kind(enum.StrEnum):
    """Why a request ended as it did; each has its own words and next step."""

    SUCCEEDED = "succeeded"
    DRY_RUN = "dry_run"
    UNAUTHORIZED = "unauthorized"  # 401
    NOT_FOUND = "not_found"  # 404 that speaks of the number
    DECLINED = "declined"  # 400, 422, or 200 with `status: false`
    RATE_LIMITED = "rate_limited"  # 429
    NOT_CONNECTED = "not_connected"  # nothing was sent
    NOT_STARTED = "not_started"  # interrupted before the call: nothing was sent
    TIMEOUT = "timeout"
    BROKEN = "broken"  # the connection broke after sending
    SERVER_ERROR = "server_error"  # 5xx
    REDIRECT = "redirect"  # 3xx
    UNREADABLE = "unreadable"  # not what Cellcast documents
    LOST = "lost"  # the bot stopped during the call
    KEPT = "kept"
    EXPIRED = "expired"
    REPLACED = "replaced"  # a later request took its place, for its card got lost

    @property
    def state(self) -> State:
        """The ending that this kind belongs to."""
        return _STATES.get(self, State.UNKNOWN)

    @property
    def can_try_again(self) -> bool:
        """Whether the same press could end otherwise: a passing cause, or nobody knows what happened."""
        return self.state is State.UNKNOWN or self in _MAY_PASS


_STATES = {
    Kind.SUCCEEDED: State.SUCCEEDED,
    Kind.DRY_RUN: State.SUCCEEDED,
    Kind.UNAUTHORIZED: State.REFUSED,
    Kind.NOT_FOUND: State.REFUSED,
    Kind.DECLINED: State.REFUSED,
    Kind.RATE_LIMITED: State.REFUSED,
    Kind.NOT_CONNECTED: State.REFUSED,
    Kind.NOT_STARTED: State.REFUSED,
    Kind.KEPT: State.KEPT,
    Kind.EXPIRED: State.EXPIRED,
    Kind.REPLACED: State.REPLACED,
}
# The causes that another attempt may not meet again.
_MAY_PASS = (Kind.RATE_LIMITED, Kind.NOT_CONNECTED, Kind.NOT_STARTED)


@dataclass(frozen=True)
class Outcome:
    """What came of a call: `message` is the API's own, `retry_after` the seconds it asked to wait (429)."""

    kind: Kind
    message: str = ""
    retry_after: float | None = None

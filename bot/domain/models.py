"""A request and its outcomes, what people do with it, and the message that they read."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from bot.domain.status import OutcomeCode, Status


@dataclass(frozen=True)
class Outcome:
    """How one attempt of a request ended (attempt 0: without a call), and the state of its delivery.

    `undeliverable_since` is set once Slack has rejected every way to deliver it. If an operator closed it by hand,
    `closed_at` and `delivered_at` are the moment at which that happened.
    """

    request_id: str
    attempt: int
    code: OutcomeCode
    message: str
    retry_at: float | None
    after_unknown: bool
    decided_by: str | None
    decided_at: float | None
    settled_at: float
    delivery_attempts: int
    deliver_after: float
    message_posted_at: float | None
    delivered_at: float | None
    correction: bool = False
    undeliverable_since: float | None = None
    closed_at: float | None = None


@dataclass(frozen=True)
class Request:
    """A request as it is now. `expires_at` is the moment until which a click can (again) confirm it, if any.

    `call_started_at` is set once the call of this attempt may have been sent. From `card_update_due` on a sweep updates
    the card, because it may show an older state. `remind_at` is the moment of a reminder that was not posted yet.
    """

    id: str
    number_id: str
    phone: str | None
    label: str | None
    reason: str | None
    active_number_id: str | None
    status: Status
    attempt: int
    dry_run: bool
    channel: str
    requested_by: str
    requested_at: float
    expires_at: float | None
    posting_lease_until: float
    response_url: str | None
    decided_by: str | None = None
    decided_at: float | None = None
    call_deadline: float | None = None
    call_started_at: float | None = None
    card_update_due: float | None = None
    remind_at: float | None = None
    warning: str | None = None
    card_posted: bool = False
    card_ts: str | None = None
    response_url_replaces: bool = False
    outcome: Outcome | None = None

    def waits_for(self, click: Click) -> bool:
        """Return whether the click came in time, on a card that shows the request as it is."""
        return self.attempt == click.attempt and self.expires_at is not None and click.now < self.expires_at


@dataclass(frozen=True)
class NewRequest:
    """Someone requests, at `now`, to unsubscribe a number; the card can be confirmed for `within` seconds.

    `remind_before` is how long before its deadline people are reminded of it, in seconds; 0 means never.
    """

    number_id: str
    channel: str
    requested_by: str
    now: float
    within: float
    dry_run: bool = False
    response_url: str | None = None
    reason: str | None = None
    phone: str | None = None
    label: str | None = None
    remind_before: float = 0.0
    warning: str | None = None


@dataclass(frozen=True)
class Click:
    """Somebody clicked a button, at `now`, on the card that showed `attempt` attempts.

    `typed` is whether the person has typed the number's last digits as well.
    """

    request_id: str
    attempt: int
    by: str
    now: float
    channel: str | None = None
    card_ts: str | None = None
    response_url: str | None = None
    typed: bool = False


@dataclass(frozen=True)
class DueWork:
    """What a sweep found due and claimed: outcomes to deliver, cards to update, and requests to remind people of."""

    outcomes: list[Outcome]
    cards: list[Request]
    reminders: list[Request] = field(default_factory=list)


@dataclass(frozen=True)
class AuditLine:
    """An outcome whose line for the audit channel is due, with its request; one replica has claimed it until then."""

    request: Request
    outcome: Outcome
    claimed_until: float


@dataclass(frozen=True)
class Message:
    """What people read: blocks, and a text that says all that the blocks say (screen readers, notifications)."""

    text: str
    blocks: list[dict[str, Any]]

"""Limits that belong together, in modules that do not know each other."""

from __future__ import annotations

from bot.clients.slack import MAX_RETRY_AFTER
from bot.ledger import statements
from bot.ledger.database import ACK_TIMEOUT
from bot.ledger.transitions import LEASE
from bot.receivers.bolt import ACK_BUDGET
from bot.receivers.socket_mode import ACK_LIMIT
from bot.service.executor import GRACE
from bot.service.notifier import MAX_WAIT, MAX_WAIT_IF_REJECTED
from bot.settings import Settings

APART = statements.CLOCKS_APART


def test_no_healthy_row_lies_too_far_ahead() -> None:
    """What the sweep takes for the stamp of a clock ahead is later than every wait that the bot sets."""
    (longest_call,) = [
        limit.le for limit in Settings.model_fields["cellcast_timeout_seconds"].metadata if hasattr(limit, "le")
    ]
    assert statements.LONGEST_LEASE == LEASE + APART
    assert longest_call + GRACE + APART == statements.LONGEST_CALL
    assert max(MAX_RETRY_AFTER, MAX_WAIT) + APART == statements.LONGEST_RETRY
    assert max(MAX_RETRY_AFTER, MAX_WAIT_IF_REJECTED) + APART == statements.LONGEST_RETRY_IF_REJECTED


def test_limits_of_an_ack() -> None:
    """One job of the database fits into the time of an ack, and that into the time that Slack waits."""
    assert ACK_TIMEOUT < ACK_BUDGET < ACK_LIMIT

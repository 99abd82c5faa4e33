"""The errors of the bot, each with the plain sentence that a person gets.

BotError
├── SettingsError        the environment is not complete; the start ends with exit code 2
├── StartError           the bot cannot start (a bad token, a taken port); exit code 1
├── LedgerError          the ledger cannot be read or written now
│   └── NewerLedgerError the ledger was written by a newer bot
├── RequestDenied        a person asked for what is not possible or not allowed; nothing was done
└── SlackError           Slack did not do what the bot asked of it
    ├── SlackRejected    for good: the same call will not work later
    └── SlackUnavailable for now; `sent` tells whether it may have been done
"""

from __future__ import annotations

import secrets

import structlog

log = structlog.get_logger("bot")


class BotError(Exception):
    """An error that knows its plain sentence, next step included: `str(error)`."""


class SettingsError(BotError):
    """One message that lists every missing or wrong setting."""


class StartError(BotError):
    """The bot cannot start, and a restart alone will not help."""


class LedgerError(BotError):
    """The ledger cannot be read or written at the moment."""

    def __init__(
        self,
        sentence: str = "The bot can't reach its database right now. This was not recorded, and nothing was done. "
        "Please try again in a moment.",
    ) -> None:
        super().__init__(sentence)


class NewerLedgerError(LedgerError):
    """The ledger's schema is newer than this bot knows."""


class RequestDenied(BotError):
    """What a person asked for is not possible or not allowed; the sentence says why and what to do."""


class SlackError(BotError):
    """Slack did not do what the bot asked of it."""


class SlackRejected(SlackError):
    """Slack rejected a call for good; `code` is Slack's error.

    https://docs.slack.dev/reference/methods/chat.postMessage
    """

    def __init__(self, code: str) -> None:
        super().__init__(f"Slack rejected the call ({code}).")
        self.code = code


class SlackUnavailable(SlackError):
    """Slack can't take a call now; the same call may work later.

    `sent` tells whether Slack may have done it all the same, `retry_after` how many seconds Slack asked to wait, and
    `code` is Slack's error if it names one (an expired token, say).
    """

    def __init__(self, reason: str, *, sent: bool, retry_after: float = 0.0, code: str = "") -> None:
        super().__init__(f"Slack is unavailable ({reason}).")
        self.sent = sent
        self.retry_after = retry_after
        self.code = code


def report(error: BaseException, **where: object) -> str:
    """Log what nobody expected under a reference number, and return the sentence that carries the same number."""
    reference = secrets.token_hex(4)
    log.error("unexpected_error", reference=reference, exc_info=error, **where)
    return unexpected(reference)


def unexpected(reference: str) -> str:
    """The sentence for what nobody expected."""
    return (
        f"The bot had an unexpected error. Please give an administrator the reference {reference}: it is in the bot's "
        "log too. Nothing is sent to Cellcast unless someone clicks the button on a card."
    )

"""The errors of the bot. The text of each is a plain sentence for a person, with the next step.

BotError
├── SettingsError               a setting is missing or invalid; exit code 2
├── StartError                  the bot cannot start (an invalid token, a port in use); exit code 1
├── BotStoppedError             the running bot gave up (a crashed scheduler, a socket that stays down); exit code 1
├── LedgerError                 the ledger cannot be read or written now
│   ├── LedgerDataError         it cannot store a text, now or later
│   └── NewerLedgerError        a newer bot has written the ledger
├── RequestDeniedError          this person lacks permission, or it is no longer possible; nothing was done
├── InvalidCommandError         the text of a command is invalid; nothing was done
├── NumbersFileError            the list of numbers has an error
├── NumberProtectedError        the list of numbers protects a number
└── SlackError                  Slack did not do what the bot asked of it
    ├── SlackRejectedError      for good: the same call will not work later
    └── SlackUnavailableError   for now; `sent` tells whether Slack may have done it
"""

from __future__ import annotations

import secrets

import structlog

log = structlog.get_logger("bot")


class BotError(Exception):
    """An expected error; `str(error)` is a sentence for a person."""


class SettingsError(BotError):
    """Settings are missing or invalid; the text lists all of them."""


class StartError(BotError):
    """The bot cannot start, and a restart alone does not help."""


class BotStoppedError(BotError):
    """The running bot gave up; a restart may help."""


class LedgerError(BotError):
    """The ledger cannot be read or written now."""

    def __init__(
        self,
        # Not "nothing was done": an earlier delivery of the same click may have been stored.
        sentence: str = "The bot can't reach its database right now, so this was not recorded. Please try again in a "
        "moment.",
    ) -> None:
        super().__init__(sentence)


class LedgerDataError(LedgerError):
    """The database cannot store a text, for example because its encoding lacks a character. Nothing was changed."""

    def __init__(self) -> None:
        super().__init__(
            "The database cannot store a character of the reason, the label or the warning. Nothing was done. Please "
            "leave out emoji and other special characters, or ask an administrator to use a database with the encoding "
            "UTF8."
        )


class NewerLedgerError(LedgerError):
    """The ledger's schema is newer than this bot knows."""


class RequestDeniedError(BotError):
    """This person may not do this, or it is no longer possible; the sentence says why and what to do instead.

    `temporary` is whether only Slack's answer is missing.
    """

    def __init__(self, sentence: str, *, temporary: bool = False) -> None:
        super().__init__(sentence)
        self.temporary = temporary


class InvalidCommandError(BotError):
    """The text of a command is invalid; the sentence says why, with an example. Nothing was done."""


class NumbersFileError(BotError):
    """The list of numbers has an error, so no number can be requested or confirmed."""


class NumberProtectedError(BotError):
    """The list of numbers protects this number."""

    def __init__(self) -> None:
        super().__init__(
            "This number is protected in the list of numbers, so it can't be unsubscribed. The list's owner must lift "
            "that first."
        )


class SlackError(BotError):
    """Slack did not do what the bot asked of it.

    `sent` tells whether Slack may have done it all the same, `retry_after` how many seconds Slack asked to wait, and
    `code` is Slack's error if it names one.
    """

    sent: bool = False
    retry_after: float = 0.0
    code: str = ""


class SlackRejectedError(SlackError):
    """Slack rejected a call for good; `code` says why.

    https://docs.slack.dev/reference/methods/chat.postMessage
    """

    def __init__(self, code: str) -> None:
        super().__init__(f"Slack rejected the call ({code}).")
        self.code = code


class SlackUnavailableError(SlackError):
    """Slack can't take a call now; the same call may work later (`code` can be that of an expired token, say)."""

    def __init__(self, reason: str, *, sent: bool, retry_after: float = 0.0, code: str = "") -> None:
        super().__init__(f"Slack is unavailable ({reason}).")
        self.reason = reason
        self.sent = sent
        self.retry_after = retry_after
        self.code = code


def report(error: BaseException) -> str:
    """Log an unexpected error with its traceback and a reference number; return a sentence with the same number."""
    reference = secrets.token_hex(4)
    log.error("unexpected_error", reference=reference, exc_info=error)
    return unexpected(reference)


def unexpected(reference: str) -> str:
    """Return the sentence for an unexpected error."""
    return (
        f"The bot had an unexpected error. Please give an administrator the reference {reference}: it is in the bot's "
        "log too. Nothing is sent to Cellcast unless someone clicks the button on a card."
    )

"""The errors of the bot, each with the plain sentence that a person gets.

BotError
├── SettingsError        the environment is not complete; the start ends with exit code 2
├── StartError           the bot cannot start (a bad token, a taken port); exit code 1
├── BotStoppedError      the running bot gave up (a crashed scheduler, a socket that stays down); exit code 1
├── LedgerError          the ledger cannot be read or written now
│   └── NewerLedgerError      the ledger was written by a newer bot
├── RequestDenied        this person may not do this; nothing was done
├── InvalidCommandError  the text of a command is wrong; nothing was done
├── NumbersFileError     the list of numbers has an error
└── SlackError           Slack did not take a message
    ├── SlackRejected         Slack said no: the message is not there
    └── SlackUnavailable         no answer came: the message may be there
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


class BotStoppedError(BotError):
    """The running bot gave up; a restart may help."""


class LedgerError(BotError):
    """The ledger cannot be read or written at the moment."""

    def __init__(
        self,
        sentence: str = "The bot cannot reach its record right now. This was not recorded and nothing was done. "
        "Please try again in a moment.",
    ) -> None:
        super().__init__(sentence)


class NewerLedgerError(LedgerError):
    """The ledger's schema is newer than this bot knows."""


class RequestDenied(BotError):
    """What a person asked for is not possible or not allowed; the sentence says why and what to do."""


class InvalidCommandError(BotError):
    """The text of a command is wrong; the sentence says why, with an example. Nothing was done."""


class NumbersFileError(BotError):
    """The list of numbers has an error, so no number can be found by phone number or label."""


class SlackError(BotError):
    """Slack did not take a message."""


class SlackRejected(SlackError):
    """Slack said no: the message is not there.

    `code` is Slack's error (https://docs.slack.dev/reference/methods/chat.postMessage), `retry_after` the seconds
    that Slack asked to wait, and `passing` whether the same message may be taken later.
    """

    def __init__(self, code: str, *, retry_after: float = 0.0, passing: bool = False) -> None:
        super().__init__(f"Slack did not take the message ({code}).")
        self.code = code
        self.retry_after = retry_after
        self.passing = passing


class SlackUnavailable(SlackError):
    """No answer came from Slack, or none that tells whether the message was taken."""


def report(error: BaseException, **where: object) -> str:
    """Log what nobody expected under a reference number, and return the sentence that carries the same number."""
    reference = secrets.token_hex(4)
    log.error("unexpected_error", reference=reference, exc_info=error, **where)
    return unexpected(reference)


def unexpected(reference: str) -> str:
    """The sentence for what nobody expected."""
    return (
        f"Something unexpected went wrong in the bot. Please give an administrator the reference {reference}: "
        "the bot's log has the same number. Nothing is sent to Cellcast without a press of the button on a card."
    )

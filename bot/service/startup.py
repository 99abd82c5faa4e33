"""The first steps of the bot and of the command line: open the ledger, prove the tokens, say plainly what fails."""

from __future__ import annotations

from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, TypeVar

from bot.errors import LedgerError, NewerLedgerError, SlackError, SlackUnavailableError, StartError
from bot.settings import APP_PAGE

# `history` needs no Slack client, `setup` no ledger: neither loads what it does not use.
if TYPE_CHECKING:
    from bot.clients.slack import Slack
    from bot.ledger.store import Ledger


T = TypeVar("T")


async def open_ledger(ledger: Ledger) -> None:
    """Open the ledger. Raise StartError if the database cannot be used, NewerLedgerError if a newer bot wrote it."""
    await or_start_error(ledger.open())


async def or_start_error(work: Awaitable[T]) -> T:
    """Return the result of the first work on a ledger. Raise StartError if the database cannot be used."""
    try:
        return await work
    except NewerLedgerError:
        raise
    except LedgerError as error:
        why = str(getattr(error.__cause__, "orig", None) or error.__cause__) or "it does not answer"
        raise StartError(
            f"The database of DATABASE_URL cannot be used: {why}. Check the address and the permissions."
        ) from None


async def identify(slack: Slack) -> dict[str, Any]:
    """Return what auth.test says about the bot token. Raise StartError if Slack does not accept it or is away."""
    try:
        return await slack.identify()
    except SlackError as error:
        raise _start_error(error, "SLACK_BOT_TOKEN", "OAuth & Permissions") from None


async def open_socket(slack: Slack, app_token: str) -> str:
    """Return the URL of a new socket. Raise StartError if Slack does not accept the app-level token or is away."""
    try:
        return await slack.open_socket(app_token)
    except SlackError as error:
        raise _start_error(error, "SLACK_APP_TOKEN", "Basic Information > App-Level Tokens") from None


def unreachable(error: SlackError) -> str | None:
    """Return a sentence if Slack could not be reached or is limiting requests; None if Slack said no."""
    if error.code == "ratelimited":
        return "Slack received too many requests from this app. Wait a minute, then try again."
    if error.code:
        return None
    why = "the connection failed"
    if isinstance(error, SlackUnavailableError) and error.sent:
        why = f"no usable answer ({error.reason})"
    return f"Slack cannot be reached: {why}. Check the network of this machine, and SLACK_API_URL."


def _start_error(error: SlackError, variable: str, page: str) -> StartError:
    rejected = f"Slack does not accept {variable} ({error.code}). Copy the token again from {APP_PAGE} > {page}."
    return StartError(unreachable(error) or rejected)

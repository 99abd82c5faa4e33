"""The parts of sentences: moments, people, numbers.

Slack's markup: https://docs.slack.dev/messaging/formatting-message-text.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from bot.domain.commands import COMMAND
from bot.domain.markup import literal
from bot.domain.models import Request

MAX_NAMES = 10


def moment(seconds: float) -> str:
    """Return a moment in each reader's own time zone, in UTC if a client can't show that."""
    fallback = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(seconds))
    return f"<!date^{int(seconds)}^{{date_short_pretty}} at {{time}}|{fallback}>"


def person(user_id: str | None) -> str:
    """Mention a person."""
    return f"<@{user_id}>"


def mention(people_id: str) -> str:
    """Mention a person or a user group."""
    return f"<!subteam^{people_id}>" if people_id.startswith("S") else person(people_id)


def place(channel: str) -> str:
    """Return a link to a channel; other people see no link to a direct message."""
    return "a direct message" if channel.startswith("D") else f"<#{channel}>"


def begin(sentence: str) -> str:
    """Return a sentence that begins with a capital letter."""
    return sentence[:1].upper() + sentence[1:]


def listing(names: Sequence[str], last: str, others: str) -> str:
    """Return "A, B or C" (`last` is the "or"); from many names only the first, and how many `others` there are."""
    shown = list(names[:MAX_NAMES])
    if more := len(names) - len(shown):
        shown.append(f"{more} more {others}")
    return f" {last} ".join(filter(None, [", ".join(shown[:-1]), *shown[-1:]]))


def name(phone: str | None, label: str | None) -> str:
    """Return what people call a number, as plain text; empty if the list does not name it."""
    return " ".join(filter(None, [phone, f'"{label}"' if label else ""]))


def number(request: Request) -> str:
    """Return the number within a sentence: its name with the id, or the id alone."""
    called = literal(name(request.phone, request.label))
    return f"{called} (`{request.number_id}`)" if called else f"virtual number `{request.number_id}`"


def title(request: Request, template: str) -> str:
    """Return the first line of a card: the action, the number in the place of `{number}`, and its id beside it.

    Bold text ends before the id, because Slack documents no code within bold text.
    """
    before, after = template.split("{number}")
    if called := literal(name(request.phone, request.label)):
        return f"*{before}{called}{after}* (`{request.number_id}`)"
    more = f" *{after.strip()}*" if len(after) > 1 else after
    return f"*{before}virtual number* `{request.number_id}`{more}"


def warning(request: Request) -> list[str]:
    """Return the line with the list's warning, if there is one."""
    return [f"*Warning:* {literal(request.warning)}"] if request.warning else []


def reason(request: Request) -> list[str]:
    """Return the line with the reason, if there is one."""
    return [f"Reason: {literal(request.reason)}"] if request.reason else []


def command(request: Request) -> str:
    """Return the command that requests this number again."""
    return f"`{COMMAND} {request.phone or request.number_id}`"

"""What people type after /unsubscribe-number: the subcommands, and the number with its reason."""

from __future__ import annotations

import enum
import re
from dataclasses import dataclass, replace

from bot.domain.markup import escape, literal
from bot.domain.numbers import NUMBER_ID, Number, NumberList
from bot.domain.reasons import ReasonRule, clean
from bot.errors import InvalidCommandError

COMMAND = "/unsubscribe-number"
EXAMPLE = f"{COMMAND} 66ea98514f0c1a121c76ec17"
# What people paste around an id: quotes, backticks, brackets, and characters that show nothing.
CLUTTER = re.compile(
    "[\"'`<>()\\[\\]{}*_~.,;:\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb\u200b-\u200f\u2060\ufeff\u00ad]"
)
# What begins something that belongs to the reason, such as a ticket in brackets.
OPENING = re.compile("[<(\\[{\u2018\u201a\u201c\u201e\u00ab]")
ID_IN_TEXT = re.compile(r"(?<![0-9a-z])[0-9a-f]{24}(?![0-9a-z])")
MAX_ECHO = 100


class Action(enum.Enum):
    """What a command asks for."""

    HELP = enum.auto()
    HISTORY = enum.auto()
    CHOOSE = enum.auto()
    UNSUBSCRIBE = enum.auto()


@dataclass(frozen=True)
class Target:
    """The number to unsubscribe, and the reason if the person gave one."""

    number: Number
    reason: str | None = None


def parse_action(text: str, *, can_choose: bool) -> Action:
    """Return what a command asks for; without a text it is the menu or the form if there is one, else the help."""
    words = _words(text)
    if not words:
        return Action.CHOOSE if can_choose else Action.HELP
    subcommands = {"help": Action.HELP, "history": Action.HISTORY}
    return subcommands.get(" ".join(words), Action.UNSUBSCRIBE)


def parse_target(text: str, known: NumberList, rule: ReasonRule | None = None) -> Target:
    """Return the one number that a command names, by id, phone number or label, and the reason behind it.

    `rule` is what the reason must be like. Raise InvalidCommandError with the problem and an example, in Slack's mrkdwn
    with people's own words escaped, or NumbersFileError if the text has no id and the list has an error.
    """
    words, ids = _words(text), ID_IN_TEXT.findall(text.lower())
    if len(ids) > 1:
        raise InvalidCommandError(
            f"One number at a time, please: there are {len(ids)} ids in your text. {_example(known)}"
        )
    if ids and words[0] == ids[0]:
        # Only clutter is before the id, so it has the same position in the text and in the text in lower case.
        number, rest = known.of_id(ids[0]), text[text.lower().index(ids[0]) + len(ids[0]) :]
    else:
        number, rest = _named(text, bool(ids), known)
    reason = _reason_behind(rest)
    if ids and number.id not in ids:
        raise InvalidCommandError(
            f"One number at a time, please: there is an id behind the first number. {_example(known)}"
        )
    rule = rule or ReasonRule()
    if problem := rule.problem(reason):
        # A phone number would swallow the digits behind it.
        named = replace(number, phone=None) if rule.example[0] in "0123456789+(" else number
        raise InvalidCommandError(f"{problem} Example: `{COMMAND} {_typed(named)} {escape(rule.example)}`")
    if others := known.mentioned(reason) - {number}:
        phones = ", ".join(sorted(other.phone or "" for other in others))
        raise InvalidCommandError(f"One number at a time, please: the reason names {phones}. {_example(known)}")
    return Target(number, reason or None)


def parse_id(text: str) -> str | None:
    """Return the id that a text is, clutter aside; None if it is anything else."""
    words = _words(text)
    return words[0] if len(words) == 1 and NUMBER_ID.fullmatch(words[0]) else None


def _words(text: str) -> list[str]:
    """Return the words in lower case and without clutter (no-break spaces separate words too)."""
    return CLUTTER.sub(" ", text).lower().split()


def _reason_behind(rest: str) -> str:
    """Return the reason in the text after a number, without the clutter that closes the number."""
    while CLUTTER.match(rest) and not OPENING.match(rest):
        rest = rest[1:]
    reason = clean(rest)
    return reason if CLUTTER.sub("", reason).strip() else ""


def _named(text: str, has_id: bool, known: NumberList) -> tuple[Number, str]:
    if (known.by_id or known.errors) and (found := known.named(text)) is not None:
        return found
    if has_id:
        problem = "The id comes first, then a reason"
    elif known.by_id:
        problem = "No number in the list has this phone number or label"
    else:
        problem = "This is not the id of a virtual number"
    shown = text.strip()
    shown = literal(shown if len(shown) <= MAX_ECHO else shown[:MAX_ECHO] + "…")
    menu = f"`{COMMAND}` alone lets you choose one. " if known.by_id else ""
    raise InvalidCommandError(
        f"{problem}: {shown}\n{menu}An id has 24 hexadecimal digits (0-9, a-f); Cellcast shows it. {_example(known)}"
    )


def _example(known: NumberList) -> str:
    number = next(iter(known.by_id.values()), None)
    return f"Example: `{EXAMPLE}`" if number is None else f"Example: `{COMMAND} {_typed(number)}`"


def _typed(number: Number) -> str:
    """Return how a number is typed in a command; a label has no backtick."""
    return escape(number.phone or (f'"{number.label}"' if number.label else number.id))

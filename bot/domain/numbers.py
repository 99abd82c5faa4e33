"""The list of known numbers: ids get a phone number and a label, so that nobody has to remember ids.

It can also warn of a number, and protect one. An id that is not in the list works too. If the list has an error, no
number can be requested or confirmed: a wrong line could name the wrong number, or switch a protection off.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property

from bot.domain import phone
from bot.domain.markup import LOOKALIKES
from bot.errors import InvalidCommandError, NumberProtectedError, NumbersFileError

HEADER = ["id", "number", "label"]
OPTIONAL = {"warning", "protected"}  # columns behind those, in any order
NUMBER_ID = re.compile(r"[0-9a-f]{24}")
MAX_LABEL, MAX_WARNING = 60, 200
# How many digits of a number with a warning a person types to confirm.
LAST_DIGITS = 4
# One block of a Slack message holds 3000 characters, so a reply names only some of many numbers.
MAX_NAMED = 10
QUOTES = '"\u201c\u201d\u201e\u00ab\u00bb'
QUOTED = re.compile(f"[{QUOTES}]([^{QUOTES}]+)[{QUOTES}](.*)", re.DOTALL)
# What would look like markup in a message, or like the end of a quoted label in a command.
MARKUP = re.compile(f"[`*~<>{QUOTES}]")
# A label that was copied from a message has these instead of what was typed.
TYPED = str.maketrans({shown: typed for typed, shown in LOOKALIKES.items()})


@dataclass(frozen=True)
class Number:
    """A virtual number: its id and, if the list names it, its phone number (international) and label.

    `warning` is what the list's owner wants people to know before they confirm. A protected number can be neither
    requested nor confirmed.
    """

    id: str
    phone: str | None = None
    label: str | None = None
    warning: str | None = None
    protected: bool = False


def are_last_digits(typed: str, number_phone: str | None, number_id: str) -> bool:
    """Return whether somebody has typed the last digits of a phone number, or of the id if the list has no number."""
    digits = phone.digits(number_phone) if number_phone else number_id
    return "".join(typed.split()).lower() == digits[-LAST_DIGITS:]


@dataclass(frozen=True)
class NumberList:
    """The list as it was read; `errors` says what is wrong with it, each with its line.

    `unread` is whether the file could not be read at all.
    """

    by_id: dict[str, Number] = field(default_factory=dict)
    by_phone: dict[str, Number] = field(default_factory=dict)
    errors: tuple[str, ...] = ()
    unread: bool = False

    def of_id(self, number_id: str) -> Number:
        """Return the number with this id, whether the list names it or not."""
        return self.by_id.get(number_id, Number(number_id))

    @cached_property
    def protects(self) -> bool:
        """Whether it protects a number at all: each click asks, and a list can have thousands."""
        return any(number.protected for number in self.by_id.values())

    def require_permitted(self, number: Number) -> None:
        """Raise NumbersFileError if the list has an error, NumberProtectedError if it protects the number."""
        self.require_usable()
        if number.protected:
            raise NumberProtectedError

    def named(self, text: str) -> tuple[Number, str] | None:
        """Return the number that a text begins with, and the rest of the text; None if it begins with none.

        The text begins with a phone number in any form that people write, or is an exact label. A label with a reason
        behind it is in quotation marks.

        Raise InvalidCommandError if the text can mean more than one number, NumbersFileError if the list has an error.
        """
        self.require_usable()
        text = phone.unlink(text).strip(" \t\r\n\u00a0\u200b`'\u2018\u2019")
        found = dict.fromkeys(self._labelled(text), "")
        if quoted := QUOTED.fullmatch(text):
            found |= dict.fromkeys(self._labelled(quoted[1]), quoted[2])
        if parts := phone.split(text):
            written, rest = parts
            meant = phone.candidates(written, phone.regions(self.by_phone))
            found |= {self.by_phone[number]: rest for number in meant if number in self.by_phone}
        if len(found) > 1:
            names = [number.phone or number.id for number in found]
            more = [f"one of {len(names) - MAX_NAMED} more"] if len(names) > MAX_NAMED else []
            choices = " or ".join(names[:MAX_NAMED] + more)
            raise InvalidCommandError(f"This can mean more than one number. Please say which: {choices}.")
        return next(iter(found.items()), None)

    def mentioned(self, text: str) -> set[Number]:
        """Return the numbers of the list whose phone number is anywhere in a text."""
        if not (text and self.by_phone):
            return set()
        found = phone.mentioned(text, phone.regions(self.by_phone))
        return {self.by_phone[number] for number in found if number in self.by_phone}

    def search(self, typed: str) -> list[Number]:
        """Return the numbers that match part of a label, of a phone number, or the beginning of an id.

        Raise NumbersFileError if the list has an error.
        """
        self.require_usable()
        key, digits = _key(typed), phone.searched_digits(typed)
        found = []
        for number in self.by_id.values():
            in_phone = digits and digits in phone.digits(number.phone or "")
            if key in _key(number.label or "") or number.id.startswith(key) or in_phone:
                found.append(number)
        return sorted(found, key=lambda number: (_key(number.label or ""), number.phone or ""))

    def require_usable(self) -> None:
        """Raise NumbersFileError if the list has an error."""
        if self.errors:
            more = f" There are {len(self.errors)} errors in all." if len(self.errors) > 1 else ""
            raise NumbersFileError(
                f"The list of numbers cannot be used: {self.errors[0]}.{more} Ask an administrator to fix it. "
                "Until then no number can be requested or confirmed. Keep Number still works."
            )

    def _labelled(self, text: str) -> list[Number]:
        return [number for number in self.by_id.values() if number.label and _key(number.label) == _key(text)]


def parse_csv(lines: Iterable[str]) -> NumberList:
    """Read a CSV file with the columns of HEADER and OPTIONAL; if a line is invalid, the list has only its errors."""
    by_id: dict[str, Number] = {}
    by_phone: dict[str, Number] = {}
    errors: list[str] = []
    try:
        for line, row, columns in _rows(lines):
            try:
                number = parse_row(row, columns)
            except InvalidRowError as error:
                errors.append(f"line {line}: {error}")
                continue
            if number.id in by_id:
                errors.append(f"line {line}: the id {number.id} is already in an earlier line")
            elif number.phone in by_phone:
                errors.append(f"line {line}: the number {number.phone} is already in an earlier line")
            else:
                by_id[number.id] = number
                by_phone |= {number.phone: number} if number.phone else {}
    except (csv.Error, InvalidRowError) as error:
        errors.append(str(error))
    return NumberList(errors=tuple(errors)) if errors else NumberList(by_id, by_phone)


class InvalidRowError(ValueError):
    """A line of the list is invalid; the text says why."""


def _rows(lines: Iterable[str]) -> Iterator[tuple[int, list[str], list[str]]]:
    """Yield the lines that are not empty, each with its line number and the names of the columns."""
    rows = csv.reader(lines, strict=True)
    columns = [cell.strip().lower() for cell in next(rows, [])]
    more = columns[len(HEADER) :]
    if columns[: len(HEADER)] != HEADER or not OPTIONAL.issuperset(more) or len(more) != len(set(more)):
        raise InvalidRowError(f"line 1: it must be {','.join(HEADER)}, and may go on with warning and protected")
    for row in rows:
        if any(cell.strip() for cell in row):
            yield rows.line_num, row, columns


def parse_row(row: list[str], columns: list[str]) -> Number:
    """Return the number of one line. Raise InvalidRowError if the line is invalid."""
    if len(row) != len(columns):
        raise InvalidRowError(
            f"it has {len(row)} columns instead of {len(columns)} (put a text with a comma in quotation marks)"
        )
    cells = dict(zip(columns, (" ".join(cell.split()) for cell in row), strict=True))
    number_id, written, label = cells["id"].lower(), cells["number"], cells["label"]
    warning, protected = cells.get("warning", ""), cells.get("protected", "").lower()
    if not NUMBER_ID.fullmatch(number_id):
        raise InvalidRowError("the id does not have 24 hexadecimal digits")
    shown = phone.international(written) if written else None
    if written and shown is None:
        raise InvalidRowError("the number is not an international one, like +61 480 000 000")
    if not written and not label:
        raise InvalidRowError("it has neither a number nor a label")
    _check_label(label)
    if len(warning) > MAX_WARNING or not warning.isprintable():
        raise InvalidRowError(f"the warning has more than {MAX_WARNING} characters, or one that cannot be printed")
    if "protected" in columns and protected not in ("yes", "no"):  # an empty cell may be one that was cut off
        raise InvalidRowError("protected must be yes or no")
    return Number(number_id, shown, label or None, warning or None, protected == "yes")


def _check_label(label: str) -> None:
    if MARKUP.search(label) or not label.isprintable():
        raise InvalidRowError("the label contains quotation marks, or one of ` * ~ < >")
    if len(label) > MAX_LABEL:
        raise InvalidRowError(f"the label has {len(label)} characters; a card has room for {MAX_LABEL}")
    if label and not any(c.isalpha() for c in label):
        raise InvalidRowError("the label contains no letter")
    if NUMBER_ID.search(label.lower()):
        raise InvalidRowError("the label contains an id")


def _key(text: str) -> str:
    """Return a label in the form that is compared: case and spaces make no difference."""
    return " ".join(text.translate(TYPED).split()).casefold()

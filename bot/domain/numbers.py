"""The list of known numbers (NUMBERS_FILE): ids get a phone number and a name, so that nobody has to remember ids.

A CSV file, `id,number,label`, read again when it changes. It names numbers and never forbids one: an id that is not in
it still works. With a fault in it nothing is found by number or label any more, for a wrong line could name the wrong
number; ids go on working.
"""

from __future__ import annotations

import asyncio
import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from bot.errors import RequestDenied

log = structlog.get_logger("bot.numbers")

HEADER = ["id", "number", "label"]
NUMBER_ID = re.compile(r"[0-9a-f]{24}")
# What would look like markup in a message, or like the end of a quoted label in a command.
MAX_LABEL = 60
MAX_FAULTS = 20
# A refusal must fit in one block of Slack's (3000 characters), so it names only some of many numbers.
MAX_NAMED = 10
# A telephone number as people write it, and what stands behind it; possessive, for half a number is none.
PHONE = re.compile(r"([+(]?[0-9][0-9\s().\-/\u2010-\u2013]*+)(.*)", re.DOTALL)
MIN_DIGITS = 6
MAX_PHONE = 23
QUOTES = '"\u201c\u201d\u201e\u00ab\u00bb'
QUOTED = re.compile(f"[{QUOTES}]([^{QUOTES}]+)[{QUOTES}](.*)", re.DOTALL)
MARKUP = re.compile(f"[`*~<>{QUOTES}]")
TEL_LINK = re.compile(r"<tel:([^|>]*)(?:\|[^>]*)?>")


@dataclass(frozen=True)
class Number:
    """A virtual number: its id, and where the list names it, its phone number (international) and label."""

    id: str
    phone: str | None = None
    label: str | None = None


@dataclass(frozen=True)
class NumberList:
    """The list as it was read once; `faults` are what is wrong with it, each with its line."""

    by_id: dict[str, Number] = field(default_factory=dict)
    by_phone: dict[str, Number] = field(default_factory=dict)
    faults: tuple[str, ...] = ()

    def of_id(self, number_id: str) -> Number:
        """The number of an id, known or not."""
        return self.by_id.get(number_id, Number(number_id))

    def named(self, text: str) -> tuple[Number, str] | None:
        """The one number that a text begins with, by phone number or label, and what stands behind it, if there is one.

        A phone number in any form that people write, or the exact label, in quotation marks where more stands behind
        it. Raises RequestDenied where it can mean more than one, or the list has a fault.
        """
        self.usable()
        text = TEL_LINK.sub(r"\1 ", text).strip(" \t\r\n\u00a0\u200b`'\u2018\u2019")
        found = dict.fromkeys(self._labelled(text), "")
        if quoted := QUOTED.fullmatch(text):
            found |= dict.fromkeys(self._labelled(quoted[1]), quoted[2])
        if (phone := PHONE.fullmatch(text)) and not (phone[1][-1].isdigit() and phone[2][:1].isalnum()):
            found |= dict.fromkeys(self._called(phone[1].strip()), phone[2])
        if len(found) > 1:
            names = [number.phone or number.id for number in found]
            more = [f"one of {len(names) - MAX_NAMED} more"] if len(names) > MAX_NAMED else []
            which = " or ".join(names[:MAX_NAMED] + more)
            raise RequestDenied(f"This can mean more than one number. Please say which: {which}.")
        return next(iter(found.items()), None)

    def mentioned(self, text: str) -> set[Number]:
        """The numbers of the list whose phone number stands somewhere in a text."""
        if not (text and self.by_phone):
            return set()
        from phonenumbers import PhoneNumberMatcher  # noqa: PLC0415 - loaded only where there is a list

        found = (match.number for region in self._regions() for match in PhoneNumberMatcher(text, region))
        return {self.by_phone[phone] for phone in map(_international, found) if phone in self.by_phone}

    def like(self, typed: str) -> list[Number]:
        """Return the numbers that match what a person typed: part of a label, of a phone number, or of an id."""
        self.usable()
        key, digits = _key(typed), "" if len(typed) > MAX_PHONE else re.sub(r"[^0-9]", "", typed).lstrip("0")
        found = []
        for number in self.by_id.values():
            in_phone = digits and digits in re.sub(r"[^0-9]", "", number.phone or "")
            if key in _key(number.label or "") or number.id.startswith(key) or in_phone:
                found.append(number)
        return sorted(found, key=lambda number: (_key(number.label or ""), number.phone or ""))

    def usable(self) -> None:
        """Raise RequestDenied where the list has a fault."""
        if self.faults:
            more = f" There are {len(self.faults)} faults in all." if len(self.faults) > 1 else ""
            raise RequestDenied(
                f"The list of numbers cannot be used: {self.faults[0]}.{more} An administrator must mend it; until "
                "then please give the id of the number."
            )

    def _labelled(self, text: str) -> list[Number]:
        return [number for number in self.by_id.values() if number.label and _key(number.label) == _key(text)]

    def _called(self, text: str) -> list[Number]:
        """The numbers that a written phone number can mean: as of any country that the list has numbers of."""
        from phonenumbers import NumberParseException, parse  # noqa: PLC0415 - as above

        found: list[Number] = []
        if len(re.findall("[0-9]", text)) < MIN_DIGITS:
            return found
        written = [text, f"+{text[2:]}"] if text.startswith("00") else [text]
        for region in self._regions():
            for form in written:
                try:
                    number = self.by_phone.get(_international(parse(form, region)))
                except NumberParseException:
                    continue
                if number is not None and number not in found:
                    found.append(number)
        return found

    def _regions(self) -> list[str]:
        from phonenumbers import COUNTRY_CODE_TO_REGION_CODE  # noqa: PLC0415 - as above

        codes = {int(phone.split(" ")[0]) for phone in self.by_phone}
        return [COUNTRY_CODE_TO_REGION_CODE[code][0] for code in sorted(codes)]


class Numbers:
    """The file, read again when it has changed; without a file the list is empty."""

    def __init__(self, path: Path | None) -> None:
        self.path = path
        self._list = NumberList()
        self._stamp: object = None
        self._reading = asyncio.Lock()

    async def current(self) -> NumberList:
        """The list as the file says now; a file that is missing or wrong is a list with faults."""
        if self.path is None:
            return self._list
        async with self._reading:
            stamp = _stamp(self.path)
            if stamp != self._stamp:
                # Thousands of lines take longer than an ack should wait for others.
                self._list, self._stamp = await asyncio.to_thread(read, self.path), stamp
                for fault in self._list.faults[:MAX_FAULTS]:
                    log.error("numbers_file_invalid", file=str(self.path), fault=fault)
                log.info("numbers_file_loaded", file=str(self.path), count=len(self._list.by_id))
        return self._list


def read(path: Path) -> NumberList:
    """Read the file; what is wrong becomes faults, each with its line, and then no line counts."""
    found: dict[str, Number] = {}
    phones: dict[str, Number] = {}
    faults: list[str] = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            for line, row in _rows(file):
                number = _number(row)
                if isinstance(number, str):
                    faults.append(f"line {line}: {number}")
                elif number.id in found:
                    faults.append(f"line {line}: the id {number.id} stands in an earlier line too")
                elif number.phone in phones:
                    faults.append(f"line {line}: the number {number.phone} stands in an earlier line too")
                else:
                    found[number.id] = number
                    phones |= {number.phone: number} if number.phone else {}
    except OSError as error:
        faults.append(f"the file cannot be read ({error.strerror})")
    except UnicodeDecodeError:
        faults.append("the file is not UTF-8 text")
    except (csv.Error, _NoHeaderError) as error:
        faults.append(str(error))
    return NumberList(faults=tuple(faults)) if faults else NumberList(found, phones)


class _NoHeaderError(Exception):
    """The first line is not the one that the file begins with."""


def _rows(file: Iterator[str]) -> Iterator[tuple[int, list[str]]]:
    """The lines that hold something, each with its number."""
    lines = csv.reader(file, strict=True)
    if [cell.strip().lower() for cell in next(lines, [])] != HEADER:
        raise _NoHeaderError(f"line 1: it must be {','.join(HEADER)}")
    for row in lines:
        if any(cell.strip() for cell in row):
            yield lines.line_num, row


def _number(row: list[str]) -> Number | str:
    """The number of a line, or what is wrong with it."""
    if len(row) != len(HEADER):
        return f"it has {len(row)} columns, not {len(HEADER)} (put a label with a comma in quotation marks)"
    number_id, written, label = row[0].strip().lower(), row[1].strip(), " ".join(row[2].split())
    if not NUMBER_ID.fullmatch(number_id):
        return "the id has not 24 hexadecimal digits"
    phone = _international_of(written) if written else None
    if written and phone is None:
        return "the number is no international one, like +61 480 000 000"
    if not written and not label:
        return "it has neither a number nor a label"
    if MARKUP.search(label) or not label.isprintable():
        return "the label holds quotation marks, or one of ` * ~ < >"
    if len(label) > MAX_LABEL:
        return f"the label has {len(label)} characters, and {MAX_LABEL} fit on a card"
    if label and not any(c.isalpha() for c in label):
        return "the label holds no letter"
    if NUMBER_ID.search(label.lower()):
        return "the label holds an id"
    return Number(number_id, phone, label or None)


def _international_of(written: str) -> str | None:
    """A phone number as it is shown, None where it is not an international one."""
    from phonenumbers import NumberParseException, is_possible_number, parse  # noqa: PLC0415 - as above

    try:
        number = parse(written)
    except NumberParseException:
        return None
    return _international(number) if is_possible_number(number) and not number.extension else None


def _international(number: object) -> str:
    from phonenumbers import PhoneNumberFormat, format_number  # noqa: PLC0415 - as above

    return format_number(number, PhoneNumberFormat.INTERNATIONAL)  # type: ignore[arg-type]


def _key(text: str) -> str:
    """A label as it is compared: in any case, with any spaces."""
    return " ".join(text.split()).casefold()


def _stamp(path: Path) -> object:
    try:
        found = path.stat()
    except OSError:
        return "missing"
    return (found.st_mtime_ns, found.st_size, found.st_ino)

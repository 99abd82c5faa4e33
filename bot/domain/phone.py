"""Phone numbers: how people write them, and the one international form in which the bot shows and compares them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from phonenumbers import (
    COUNTRY_CODE_TO_REGION_CODE,
    NumberParseException,
    PhoneNumber,
    PhoneNumberFormat,
    PhoneNumberMatcher,
    format_number,
    is_possible_number,
    parse,
)

MIN_DIGITS = 6
# The longest text in which a search looks for the digits of a phone number.
MAX_SEARCHED = 23
# The digits are possessive (*+): half a phone number must not match, with its other half taken for the reason.
_WRITTEN = re.compile(r"([+(]?[0-9][0-9\s().\-/\u2010-\u2013]*+)(.*)", re.DOTALL)
_TEL_LINK = re.compile(r"<tel:([^|>]*)(?:\|[^>]*)?>")


def unlink(text: str) -> str:
    """Replace the links that Slack makes of phone numbers by the phone numbers."""
    return _TEL_LINK.sub(r"\1 ", text)


def split(text: str) -> tuple[str, str] | None:
    """Return the phone number that a text begins with, as written, and the rest; None if it begins with none."""
    match = _WRITTEN.fullmatch(text)
    if match is None or (match[1][-1].isdigit() and match[2][:1].isalnum()):
        return None
    return match[1].strip(), match[2]


def international(written: str) -> str | None:
    """Return the form in which a phone number is shown; None if it is not written with its country code."""
    try:
        number = parse(written)
    except NumberParseException:
        return None
    return _shown(number) if is_possible_number(number) and not number.extension else None


def candidates(written: str, regions: Iterable[str]) -> Iterator[str]:
    """Yield every number, in international form, that a written one can mean when dialed from one of the regions."""
    if len(re.findall("[0-9]", written)) < MIN_DIGITS:
        return
    forms = [written, f"+{written[2:]}"] if written.startswith("00") else [written]
    for region in regions:
        for form in forms:
            try:
                yield _shown(parse(form, region))
            except NumberParseException:
                continue


def mentioned(text: str, regions: Iterable[str]) -> Iterator[str]:
    """Yield every phone number in a text, in international form."""
    for region in regions:
        for match in PhoneNumberMatcher(text, region):
            yield _shown(match.number)


def regions(phones: Iterable[str]) -> list[str]:
    """Return the main region of each country code among phone numbers in international form."""
    codes = {int(phone.split(" ")[0]) for phone in phones}
    return [COUNTRY_CODE_TO_REGION_CODE[code][0] for code in sorted(codes)]


def digits(text: str) -> str:
    """Return the digits of a text."""
    return re.sub(r"[^0-9]", "", text)


def searched_digits(typed: str) -> str:
    """Return the digits to search for in phone numbers: without the zeros of a national or dialed number."""
    return "" if len(typed) > MAX_SEARCHED else digits(typed).lstrip("0")


def _shown(number: PhoneNumber) -> str:
    return format_number(number, PhoneNumberFormat.INTERNATIONAL)

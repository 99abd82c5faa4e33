"""Phone numbers as people write them."""

from __future__ import annotations

import pytest

from bot.domain import phone


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        pytest.param("+61480000000", "+61 480 000 000", id="without spaces"),
        pytest.param("+1 (202) 555-0100", "+1 202-555-0100", id="brackets"),
        pytest.param("0480 000 000", None, id="national"),
        pytest.param("+61 4", None, id="too short"),
        pytest.param("+999 480 000 000", None, id="no country"),
        pytest.param("+61 480 000 000 ext. 5", None, id="an extension"),
        pytest.param("hello", None, id="no number"),
    ],
)
def test_international(written: str, shown: str | None) -> None:
    """Only a number with its country code has an international form."""
    assert phone.international(written) == shown


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        pytest.param("0480 000 000 ended", ("0480 000 000", "ended"), id="a reason"),
        pytest.param("+61 480 000 000", ("+61 480 000 000", ""), id="alone"),
        pytest.param("0480 000 000x", None, id="a letter at its end"),
        pytest.param("0480 000 000, ended", ("0480 000 000", ", ended"), id="a comma"),
        pytest.param("ended 0480 000 000", None, id="a word first"),
        pytest.param("", None, id="empty"),
    ],
)
def test_split(text: str, parts: tuple[str, str] | None) -> None:
    """A phone number at the beginning is taken whole, or not at all."""
    assert phone.split(text) == parts


@pytest.mark.parametrize(
    ("written", "found"),
    [
        pytest.param("0480 000 000", {"+61 480 000 000", "+1 0480000000"}, id="national in either country"),
        pytest.param("0061 480 000 000", {"+61 480 000 000"}, id="00 for +"),
        pytest.param("48000", set(), id="too few digits"),
    ],
)
def test_candidates(written: str, found: set[str]) -> None:
    """A written number can mean one in each country of the list."""
    assert set(phone.candidates(written, ["AU", "US"])) >= found
    assert bool(list(phone.candidates(written, ["AU", "US"]))) is bool(found)


def test_regions() -> None:
    """Each country code counts once."""
    assert phone.regions(["+61 480 000 000", "+61 480 000 001", "+1 202-555-0100"]) == ["US", "AU"]


def test_mentioned() -> None:
    """Phone numbers are found anywhere in a text."""
    assert set(phone.mentioned("not 0480 000 000 but +1 202-555-0100.", ["AU"])) == {
        "+61 480 000 000",
        "+1 202-555-0100",
    }


def test_links_of_slack() -> None:
    """Slack's links become the number they link to."""
    assert phone.unlink("<tel:+61480000000|0480 000 000> ended").split() == ["+61480000000", "ended"]


@pytest.mark.parametrize(
    ("typed", "digits"),
    [
        pytest.param("0480 00", "48000", id="national"),
        pytest.param("+61 480", "61480", id="international"),
        pytest.param("1" * 24, "", id="longer than a phone number"),
        pytest.param("support", "", id="no digit"),
    ],
)
def test_searched_digits(typed: str, digits: str) -> None:
    """A search compares digits without the zeros at their beginning."""
    assert phone.searched_digits(typed) == digits

"""The list of known numbers, read from lines of text."""

from __future__ import annotations

import pytest

from bot.domain.numbers import Number, NumberList, parse_csv
from bot.errors import InvalidCommandError, NumbersFileError

NUMBER, OTHER = "66ea98514f0c1a121c76ec17", "66ea98514f0c1a121c76ec18"
SUPPORT = Number(NUMBER, "+61 480 000 000", "Support line")
CAMPAIGN = Number(OTHER, "+61 480 000 001", "Campaign & co.")
LIST = NumberList({n.id: n for n in (SUPPORT, CAMPAIGN)}, {n.phone or "": n for n in (SUPPORT, CAMPAIGN)})


def test_list() -> None:
    """Ids count in any case, empty lines do not count, and a phone number is shown in one form."""
    lines = ["ID, number ,label\n", f"{NUMBER},+61480000000,  Support  line\n", "\n", f"{OTHER.upper()},,A\n"]
    found = parse_csv(lines)
    assert found.errors == ()
    assert found.by_id == {NUMBER: SUPPORT, OTHER: Number(OTHER, None, "A")}
    assert found.by_phone == {"+61 480 000 000": SUPPORT}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("", "line 1: it must be id,number,label", id="empty"),
        pytest.param("id;number;label\n", "line 1: it must be id,number,label", id="semicolons"),
        pytest.param("id,number,label\nxyz,,A\n", "line 2: the id does not have 24 hexadecimal digits", id="no id"),
        pytest.param(f"id,number,label\n\n{NUMBER},0480 000 000,A\n", "line 3: the number is not an international", id="national"),
        pytest.param(f"id,number,label\n{NUMBER},+61 4,A\n", "line 2: the number is not an international", id="too short"),
        pytest.param(f"id,number,label\n{NUMBER},+999 480 000 000,A\n", "line 2: the number is not", id="no country"),
        pytest.param(f"id,number,label\n{NUMBER},,\n", "line 2: it has neither a number nor a label", id="neither"),
        pytest.param(f"id,number,label\n{NUMBER},,A,B\n", "line 2: it has 4 columns instead of 3", id="a comma too many"),
        pytest.param(f"id,number,label\n{NUMBER},,*A*\n", "line 2: the label contains quotation marks, or", id="markup"),
        pytest.param(f"id,number,label\n{NUMBER},,{'x' * 61}\n", "line 2: the label has 61 characters", id="long"),
        pytest.param(f"id,number,label\n{NUMBER},,123\n", "line 2: the label contains no letter", id="digits"),
        pytest.param(f"id,number,label\n{NUMBER},,{OTHER}\n", "line 2: the label contains an id", id="an id as label"),
        pytest.param(f'id,number,label\n{NUMBER},,"A\n', "unexpected end of data", id="an open quotation mark"),
        pytest.param(
            f"id,number,label\n{NUMBER},+61480000000,A\n{OTHER},+61 480 000 000,B\n",
            "line 3: the number +61 480 000 000 is already in an earlier line",
            id="two rows that claim one number",
        ),
        pytest.param(
            f"id,number,label\n{NUMBER},,A\n{NUMBER.upper()},,B\n",
            f"line 3: the id {NUMBER} is already in an earlier line",
            id="an id twice",
        ),
    ],
)  # fmt: skip
def test_every_error_names_its_line(text: str, says: str) -> None:
    """Each error names its line, and then no line of the file counts."""
    found = parse_csv(text.splitlines(keepends=True))
    assert any(error.startswith(says) for error in found.errors), found.errors
    assert found.by_id == {}


def test_every_error_is_reported() -> None:
    """A wrong line does not hide the next one."""
    assert [error[:7] for error in parse_csv(["id,number,label", "x,,", "y,,"]).errors] == ["line 2:", "line 3:"]


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        pytest.param("", [CAMPAIGN, SUPPORT], id="nothing: all, by label"),
        pytest.param("camp", [CAMPAIGN], id="part of a label"),
        pytest.param("SUPPORT  l", [SUPPORT], id="another case and more spaces"),
        pytest.param("0480 000 0", [CAMPAIGN, SUPPORT], id="part of a national number"),
        pytest.param("480000001", [CAMPAIGN], id="the end of a number"),
        pytest.param(OTHER, [CAMPAIGN], id="an id"),
        pytest.param("nothing of this", [], id="nothing of it"),
    ],
)
def test_search(typed: str, found: list[Number]) -> None:
    """The menu searches labels, phone numbers and ids."""
    assert LIST.search(typed) == found


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        pytest.param("", set(), id="empty"),
        pytest.param("moved to 0480 000 001", {CAMPAIGN}, id="a national number"),
        pytest.param("not +61480000000, +61480000001", {SUPPORT, CAMPAIGN}, id="two numbers"),
        pytest.param("ended on 2026-01-31", set(), id="a date"),
    ],
)
def test_mentioned(text: str, numbers: set[Number]) -> None:
    """The numbers of the list are found anywhere in a text."""
    assert LIST.mentioned(text) == numbers
    assert NumberList().mentioned(text) == set()


def test_label_of_several_numbers() -> None:
    """A label that several numbers have is an error that lists them."""
    twice = parse_csv(["id,number,label", f"{NUMBER},,Twice", f"{OTHER},,twice"])
    with pytest.raises(InvalidCommandError, match=f"Please say which: {NUMBER} or {OTHER}"):
        twice.named("Twice")


def test_list_with_an_error_finds_nothing() -> None:
    """A list with an error names no number, because a wrong line could name the wrong one."""
    broken = NumberList(errors=("line 2: the label contains an id",))
    for find in (broken.named, broken.search):
        with pytest.raises(NumbersFileError, match="line 2: the label contains an id"):
            find("Support line")
    assert broken.of_id(NUMBER) == Number(NUMBER)


@pytest.mark.parametrize(
    ("cells", "error"),
    [
        ("x" * 201 + ",no", "line 2: the warning has more than 200 characters, or one that cannot be printed"),
        ("a\x07b,no", "line 2: the warning has more than 200 characters, or one that cannot be printed"),
        (",maybe", "line 2: protected must be yes or no"),
        (",", "line 2: protected must be yes or no"),
    ],
)
def test_optional_columns(cells: str, error: str) -> None:
    """A warning and a protection are read as they are meant, or the line is an error."""
    found = parse_csv(["id,number,label,warning,protected", f"{'a' * 24},,A,{cells}"])
    assert found.errors == (error,)
    (number,) = parse_csv(["id,number,label,Protected,Warning", f"{'a' * 24},,A,YES, b  c "]).by_id.values()
    assert (number.warning, number.protected) == ("b c", True)


@pytest.mark.parametrize("header", ["id,number,label,colour", "id,number,label,warning,warning", "id,number,warning"])
def test_columns_that_are_not_known(header: str) -> None:
    """Any other column is an error: it may be a protection that was misspelled."""
    assert "it must be id,number,label" in parse_csv([header]).errors[0]

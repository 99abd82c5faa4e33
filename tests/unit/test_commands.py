"""What people type after the command, as data: no server, no database."""

from __future__ import annotations

import pytest

from bot.domain.commands import Action, Target, parse_action, parse_target
from bot.domain.numbers import Number, NumberList, parse_csv
from bot.domain.reasons import MAX_REASON
from bot.errors import InvalidCommandError, NumbersFileError

NUMBER, OTHER = "66ea98514f0c1a121c76ec17", "66ea98514f0c1a121c76ec18"
US, NAMELESS = "66ea98514f0c1a121c76ec20", "66ea98514f0c1a121c76ec21"
NO_LIST = NumberList()
LIST = parse_csv(
    [
        "id,number,label\n",
        f"{NUMBER},+61 480 000 000,Support line\n",
        f"{OTHER},+61480000001,Campaign & co.\n",
        f"{US},+1 202-555-0100,24 hour line\n",
        f"{NAMELESS},,Ana's line\n",
        f"{'b' * 24},+61 480 000 003,Twice\n",
        f"{'c' * 24},+61 480 000 004,Twice\n",
    ]
)


@pytest.mark.parametrize(
    ("text", "has_list", "action"),
    [
        pytest.param("", False, Action.HELP, id="nothing"),
        pytest.param("  \u00a0", True, Action.CHOOSE, id="only spaces, with a list"),
        pytest.param(" `` ", True, Action.CHOOSE, id="only clutter, with a list"),
        pytest.param("help", True, Action.HELP, id="help"),
        pytest.param("`Help`.", False, Action.HELP, id="help in upper case with clutter"),
        pytest.param("“History”", False, Action.HISTORY, id="history"),
        pytest.param("help me", False, Action.UNSUBSCRIBE, id="more than help"),
        pytest.param(NUMBER, False, Action.UNSUBSCRIBE, id="an id"),
        pytest.param(f"{NUMBER} history", False, Action.UNSUBSCRIBE, id="history as a reason"),
    ],
)
def test_action(text: str, has_list: bool, action: Action) -> None:
    """The subcommands are found in any case and with clutter; everything else names a number."""
    assert parse_action(text, can_choose=has_list) is action


@pytest.mark.parametrize(
    "text",
    [
        pytest.param(NUMBER, id="plain"),
        pytest.param(NUMBER.upper(), id="upper case"),
        pytest.param(f"  {NUMBER}\t", id="spaces"),
        pytest.param(f"`{NUMBER}`", id="backticks"),
        pytest.param(f"“{NUMBER}”", id="smart quotes"),
        pytest.param(f"'{NUMBER}'.", id="quotes and a full stop"),
        pytest.param(f"\u00a0{NUMBER}\u00a0", id="no-break spaces"),
        pytest.param(f"\u200b{NUMBER}\ufeff", id="characters that show nothing"),
        pytest.param(f"<{NUMBER}>", id="angle brackets"),
        pytest.param(f"*{NUMBER}*", id="bold"),
    ],
)
def test_id_with_clutter(text: str) -> None:
    """The id is found in what people paste, in lower case."""
    assert parse_target(text, NO_LIST) == Target(Number(NUMBER))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("hello", "This is not the id of a virtual number: hello\n", id="a word"),
        pytest.param(NUMBER[:-1], "This is not the id", id="23 digits"),
        pytest.param(NUMBER + "0", "This is not the id", id="25 digits"),
        pytest.param("g" * 24, "This is not the id", id="no hexadecimal digits"),
        pytest.param("１" * 24, "This is not the id", id="full-width digits"),
        pytest.param(f"{NUMBER} {OTHER}", "One number at a time, please: there are 2 ids", id="two ids"),
        pytest.param(f"{NUMBER},{OTHER}", "One number at a time", id="two ids and a comma"),
        pytest.param(f"{NUMBER} {NUMBER}", "One number at a time", id="an id twice"),
        pytest.param(f"please {NUMBER}", "The id comes first, then a reason: please 66ea", id="a word and an id"),
        pytest.param(f"{NUMBER} instead of x={OTHER}.", "One number at a time", id="an id in the reason"),
        pytest.param(f"{NUMBER} {'x' * 201}", "The reason is too long: it has 201 characters", id="a long reason"),
        pytest.param("<!channel> & co", "&lt;!channel&gt; &amp; co", id="would alert everyone"),
        pytest.param("x" * 500, "x" * 100 + "…\n", id="very long"),
        pytest.param("payload", "This is not the id of a virtual number: payload", id="the word payload"),
    ],
)
def test_invalid_text(text: str, says: str) -> None:
    """The error names the problem, echoes the text without its markup, and gives an example."""
    with pytest.raises(InvalidCommandError) as error:
        parse_target(text, NO_LIST)
    line = str(error.value)
    assert says in line
    assert "Example: `/unsubscribe-number 66ea98514f0c1a121c76ec17`" in line or "reason is too long" in line
    assert "<!" not in line


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(f"{NUMBER} campaign ended", "campaign ended", id="plain"),
        pytest.param(f"`{NUMBER}`:  “campaign”\n ended.", "“campaign” ended.", id="clutter that closes the id"),
        pytest.param(f"{NUMBER} <!channel> & co", "<!channel> & co", id="markup, which the views escape"),
        pytest.param(f"{NUMBER} \x00payload", "payload", id="NUL"),
        pytest.param(f'"{NUMBER}" [OPS-7] (see wiki)', "[OPS-7] (see wiki)", id="brackets of its own"),
        pytest.param(f"{NUMBER} a\u202eb\u200bc\x1b", "a b c", id="signs that show nothing or turn the direction"),
        pytest.param(f"{NUMBER} - help", "- help", id="a dash"),
        pytest.param(f"{NUMBER} {'x' * MAX_REASON}", "x" * MAX_REASON, id="as long as the card has room"),
        pytest.param(f"{NUMBER} .`' ", None, id="only clutter"),
        pytest.param('"Support line" campaign ended', "campaign ended", id="behind a quoted label"),
        pytest.param("0480 000 000 campaign ended", "campaign ended", id="behind a phone number"),
        pytest.param("0480 000 000: in 2026", "in 2026", id="behind a phone number and a colon"),
    ],
)
def test_reason(text: str, reason: str | None) -> None:
    """What is behind the number is the reason, without the clutter at its beginning."""
    target = parse_target(text, LIST)
    assert (target.number.id, target.reason) == (NUMBER, reason)


@pytest.mark.parametrize(
    ("text", "number"),
    [
        pytest.param("+61 480 000 000", NUMBER, id="international"),
        pytest.param("+61480000000", NUMBER, id="without spaces"),
        pytest.param("0480 000 000", NUMBER, id="national"),
        pytest.param("(0480) 000-000", NUMBER, id="brackets and a hyphen"),
        pytest.param("0480.000.000", NUMBER, id="full stops"),
        pytest.param("0061 480 000 000", NUMBER, id="00 for +"),
        pytest.param("0011 61 480 000 000", NUMBER, id="dialled from Australia"),
        pytest.param("+61 (0)480 000 000", NUMBER, id="with a zero in brackets"),
        pytest.param("61480000000", NUMBER, id="without the plus sign"),
        pytest.param("<tel:+61480000000|+61 480 000 000>", NUMBER, id="as Slack links it"),
        pytest.param("`0480\u00a0000\u00a0000`", NUMBER, id="backticks and no-break spaces"),
        pytest.param("(202) 555-0100", US, id="of another country in the list"),
        pytest.param("Support line", NUMBER, id="label"),
        pytest.param("“support  LINE”", NUMBER, id="label in smart quotes, in another case"),
        pytest.param("24 hour line", US, id="a label that begins with digits"),
        pytest.param("ana's line", NAMELESS, id="a label without a phone number"),
        pytest.param(NUMBER, NUMBER, id="id"),
        pytest.param("f" * 24, "f" * 24, id="an id that the list does not name"),
    ],
)
def test_number_of_the_list(text: str, number: str) -> None:
    """A number is found in any form that people write, and by its exact label."""
    assert parse_target(text, LIST) == Target(LIST.of_id(number))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        pytest.param("+61 480 000 00", "No number in the list has this phone number or label", id="one digit short"),
        pytest.param("+61 480 000 0000", "No number in the list", id="one digit more"),
        pytest.param("480", "No number in the list", id="a few digits"),
        pytest.param("0480 000 000x", "No number in the list", id="a letter at its end"),
        pytest.param("Support", "No number in the list", id="part of a label"),
        pytest.param("Support line please", "No number in the list", id="more than a label"),
        pytest.param("Twice", "This can mean more than one number. Please say which: +61 480 000 003 or", id="twice"),
        pytest.param("0480 000 000 instead of 0480 000 001", "the reason names +61 480 000 001", id="two numbers"),
        pytest.param(f"{NUMBER} or +61480000001", "the reason names +61 480 000 001", id="an id and a number"),
        pytest.param("000 000 000", "No number in the list", id="no country has it"),
        pytest.param(f'"Support line" not {OTHER}', "an id behind the first number", id="a label and another id"),
        pytest.param(f"0480 000 000 {OTHER}", "The id comes first", id="a number and another id"),
        pytest.param(f"please {NUMBER}", "The id comes first, then a reason", id="a word and an id"),
    ],
)
def test_no_number_is_guessed(text: str, says: str) -> None:
    """Half a number, part of a label, or two at once are an error that names the next step."""
    with pytest.raises(InvalidCommandError) as error:
        parse_target(text, LIST)
    line = str(error.value)
    assert says in line
    assert "Please say which" in line or "Example: `/unsubscribe-number +61 480 000 000`" in line


def test_long_reason_is_not_searched_for_numbers() -> None:
    """The length of a reason is checked first: looking for phone numbers in 4,000 characters takes long."""
    with pytest.raises(InvalidCommandError, match="The reason is too long: it has 3899 characters"):
        parse_target(f"{NUMBER} " + "+61480000001 " * 300, LIST)


def test_label_in_an_example_is_escaped() -> None:
    """A label in the example of a refusal makes no mention, and no broken character."""
    known = NumberList({NUMBER: Number(NUMBER, label="R&D")})
    with pytest.raises(InvalidCommandError, match='Example: `/unsubscribe-number "R&amp;D"`'):
        parse_target("nothing of this", known)


def test_example_of_a_list_without_phone_numbers() -> None:
    """The example quotes the label if the first number of the list has no phone number."""
    with pytest.raises(InvalidCommandError, match='Example: `/unsubscribe-number "A"`'):
        parse_target("nothing", parse_csv(["id,number,label", f"{NUMBER},,A"]))


@pytest.mark.parametrize("text", ["Twice", f"{'0' * 24} " + " ".join(f"+6148000{n:04}" for n in range(300))])
def test_error_that_could_name_many_numbers(text: str) -> None:
    """An error stays short enough for Slack, no matter how many numbers a label or a reason can mean."""
    lines = [f"{n:024x},+61 480 00{n // 100} {n % 100:03},Twice" for n in range(300)]
    with pytest.raises(InvalidCommandError) as error:
        parse_target(text, parse_csv(["id,number,label", *lines]))
    assert len(str(error.value)) < 400
    if text == "Twice":
        assert str(error.value).endswith("or +61 480 000 009 or one of 290 more.")


def test_list_with_an_error() -> None:
    """An id is read without the list; anything else reports the first error of the list."""
    broken = NumberList(errors=("line 7: it has neither a number nor a label", "line 8: the label contains an id"))
    assert parse_target(NUMBER, broken) == Target(Number(NUMBER))
    with pytest.raises(NumbersFileError) as error:
        parse_target("Support line", broken)
    assert str(error.value) == (
        "The list of numbers cannot be used: line 7: it has neither a number nor a label. There are 2 errors in all. "
        "Ask an administrator to fix it. Until then no number can be requested or confirmed. Keep Number still works."
    )

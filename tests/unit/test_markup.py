"""Other people's words in Slack's markup."""

from __future__ import annotations

import pytest

from bot.domain.markup import cut, length, literal
from bot.domain.numbers import Number, NumberList
from sandbox.block_kit import formatting


@pytest.mark.parametrize(
    ("typed", "shown"),
    [
        pytest.param("+61 480 000 000", "+61 480 000 000", id="a phone number"),
        pytest.param("66ea98514f0c1a121c76ec17", "66ea98514f0c1a121c76ec17", id="an id"),
        pytest.param("a_b snake_case_9 x__y", "a_b snake_case_9 x\u02cd\u02cdy", id="underscores within words"),
        pytest.param("_a_ b_, _c", "\u02cda\u02cd b\u02cd, \u02cdc", id="underscores around words"),
        pytest.param("*a* 2*3", "\u2217a\u2217 2\u22173", id="asterisks"),
        pytest.param("~a~ ~5", "\u223ca\u223c \u223c5", id="tildes"),
        pytest.param("`a` ```b", "\u02cba\u02cb \u02cb\u02cb\u02cbb", id="backticks"),
        pytest.param(":phone: :a:b: 12:30:45", "\ua789phone: \ua789a\ua789b: 12\ua78930:45", id="codes of emoji"),
        pytest.param("line: 12:30, a:b", "line: 12:30, a:b", id="colons"),
        pytest.param("<@U1> & <!here>", "&lt;@U1&gt; &amp; &lt;!here&gt;", id="what Slack escapes"),
    ],
)
def test_literal(typed: str, shown: str) -> None:
    """People's words format nothing, and phone numbers and ids can be copied as they are."""
    assert literal(typed) == shown
    assert list(formatting(f"*Unsubscribe {shown}?* (`id`)")) == []


@pytest.mark.parametrize(
    ("markup", "longest", "kept"),
    [
        pytest.param("abc", 3, "abc", id="it fits"),
        pytest.param("abcd", 3, "ab…", id="too long"),
        pytest.param("a&amp;b", 6, "a…", id="an escape would be cut"),
        pytest.param("a&amp;bc", 7, "a&amp;…", id="an escape that fits"),
        pytest.param("a <@U0ANA> b", 9, "a …", id="a mention would be cut"),
        pytest.param("a\nbcd", 4, "a\nb…", id="two lines"),
        pytest.param("\U0001f4de" * 2, 4, "\U0001f4de" * 2, id="emoji count two, and fit"),
        pytest.param("\U0001f4de" * 3, 5, "\U0001f4de" * 2 + "…", id="emoji count two"),
        pytest.param("\U0001f4de" * 3, 4, "\U0001f4de…", id="an emoji would be cut"),
    ],
)
def test_cut(markup: str, longest: int, kept: str) -> None:
    """Text is cut to a length, and never within an escape or a mention."""
    assert cut(markup, longest) == kept
    assert length(kept) <= longest


def test_label_copied_from_a_message() -> None:
    """A label is found with the underscores and colons that a message shows."""
    number = Number("0" * 24, label="_Main_ :fax: line")
    known = NumberList({number.id: number})
    assert known.named("_main_ :fax: line") == known.named(literal("_Main_ :fax: line")) == (number, "")


@pytest.mark.parametrize(
    ("text", "faults"),
    [
        pytest.param("*a* `b_c_*d*` <https://x/_y_|z> snake_case *e* &amp;", 0, id="what the bot writes"),
        pytest.param("*a `b`*", 1, id="bold around a code span"),
        pytest.param("*a* `b` *c*\n*d*", 0, id="bold before and behind a code span"),
        pytest.param("*a\nb*", 2, id="bold over two lines"),
        pytest.param("*a* b*", 1, id="an odd asterisk"),
        pytest.param("_a_", 2, id="italics"),
        pytest.param("~a~", 2, id="strikethrough"),
        pytest.param("a :phone: b", 1, id="an emoji"),
        pytest.param("at 12:30, `:phone:`", 0, id="no emoji"),
        pytest.param("a ` b", 1, id="a single backtick"),
        pytest.param("a & b", 1, id="not escaped"),
        pytest.param("a &am", 1, id="an escape cut in two"),
    ],
)
def test_fake_finds_formatting(text: str, faults: int) -> None:
    """The fake Slack tells what a message formats that the bot did not mean to."""
    assert len(list(formatting(text))) == faults

"""What people read: every message of docs/messages.md keeps to the rules for words, and to Slack's limits."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from slack_sdk.models.blocks import Block

from bot.cli.longest_samples import LONG_FIELDS, LONG_ID, longest_outcomes
from bot.cli.samples import CONFIRMED, NOON, NUMBER, REQUEST, Row, rows
from bot.domain.access import AccessPolicy, Denial, People, Right
from bot.domain.commands import MAX_ECHO
from bot.domain.markup import literal
from bot.domain.models import Message
from bot.domain.numbers import Number
from bot.domain.status import OutcomeCode
from bot.views import blocks, cards, home, outcomes, replies
from bot.views.cards import Rules
from bot.views.text import MAX_NAMES
from handlers.commands import HISTORY
from sandbox import block_kit
from tests.messages import said_by

# Each test takes all messages at once: a test for each of them would cost more than the check.
ROWS = rows()
JARGON = re.compile(r"\b(HTTP|JSON|payload|traceback)\b", re.IGNORECASE)


def named(row: Row) -> str:
    """Name a message where a check fails."""
    return f"{row.part}: {row.when}"


def test_text_says_all_that_the_blocks_say() -> None:
    """Who hears a message, or sees it as a notification, misses nothing that stands in its blocks."""
    for row in ROWS:
        for line in said_by(row.message.blocks).split("\n"):
            assert literal(line) in row.message.text or line in row.message.text, named(row)


def test_words() -> None:
    """Sentence case, no jargon, times as Slack dates, and no bare id where a name is known."""
    for row in ROWS:
        text = row.message.text
        first = text.lstrip("*").split("\n")[0]
        assert first[0].isupper() or first[0] in "+`<", named(row)
        assert not JARGON.search(text.replace("API key", "")), named(row)
        assert not re.search(r"\d{4}-\d\d-\d\d|\d\d:\d\d", re.sub(r"<!date\^[^>]*>", "", text)), named(row)
        assert "!" not in re.sub(r"<![^>]*>", "", text), named(row)
        if "Support line" in text and row.part != "Denials and errors":
            assert text.count(f"`{NUMBER}`") == text.count(f'"Support line"* (`{NUMBER}`)') + len(
                re.findall(rf'"Support line"(\?\*| was not unsubscribed\*|) \(`{NUMBER}`\)', text)
            ), named(row)


ACTION = re.compile(
    "[Uu]nsubscrib|Kept|kept|nobody confirmed|still waits|Replaced|Outcome unknown|Cellcast reported success"
)


def test_first_line_says_action_and_object() -> None:
    """The first lines of what stands in the channel say what is done to which number."""
    found = [row for row in ROWS if row.part in ("Cards", "New messages")]
    assert found
    for row in found:
        begin = "\n".join(row.message.text.split("\n")[:2])
        assert NUMBER in begin, named(row)
        assert ACTION.search(begin), named(row)


NEXT_STEP = re.compile(
    r"[Rr]equest it again|Try Again|Try again|[Pp]lease|Example:|Ask |must lift that first|Use the |lets you choose|Type |explains|will follow|"
    r"[Nn]othing was sent to Cellcast|is unsubscribed"
)


def test_refusals_say_the_next_step() -> None:
    """Whoever is refused learns what to do instead, or that nothing is left to do."""
    found = [row for row in ROWS if row.part in ("Denials and errors", "Late clicks")]
    assert found
    assert [named(row) for row in found if not NEXT_STEP.search(row.message.text)] == []


def test_slack_parses_nothing_again() -> None:
    """Every mrkdwn object is verbatim, so that Slack makes no mention or link of what people typed."""
    for row in ROWS:
        found = list(block_kit.mrkdwn(row.message.blocks))
        assert found or row.message.blocks[0]["text"]["type"] == "plain_text", named(row)
        assert all(text["verbatim"] is True for text in found), named(row)


@pytest.mark.parametrize("denial", Denial)
def test_every_denial_has_a_row(denial: Denial) -> None:
    """docs/messages.md shows every way to turn a person away, and Slack judges it in `rehearse`."""
    policy = AccessPolicy(People(None), People(None), None, frozenset())
    why = replies.denied(denial, policy, "U0GIL", Right.CONFIRM).partition(". ")[0]
    assert [row for row in rows() if row.part == "Denials and errors" and row.message.text.startswith(why)]


def test_one_red_button_with_a_dialog() -> None:
    """A card has one red button, which asks once more or opens a form; the way out is plain; labels are verbs."""
    seen = set()
    for row in rows():
        buttons = [e for b in row.message.blocks if b["type"] == "actions" for e in b["elements"]]
        red = [b for b in buttons if b.get("style") == "danger"]
        assert len(red) == (1 if {"Unsubscribe Number", "Try Again"} & {b["text"]["text"] for b in buttons} else 0)
        assert all(("confirm" in b) != ("*Warning:*" in row.message.text) for b in red)
        assert not any("confirm" in b or "style" in b for b in buttons if b not in red)
        seen |= {b["text"]["text"] for b in buttons}
    assert seen == {"Unsubscribe Number", "Keep Number", "Try Again", "Unsubscribe a number"}


def everything() -> list[Message]:
    """Every message, as it is and at the longest inputs."""
    rules = Rules(second_person=True, listed=True, account="&" * 60)
    waiting = [replace(REQUEST, **LONG_FIELDS), replace(REQUEST, **LONG_FIELDS | {"phone": None, "label": None})]
    most = ", ".join([f"<@{LONG_ID}>"] * MAX_NAMES)
    cases = [row.message for row in rows() if row.part != "The App Home"]
    cases += [cards.card(request, rules) for request in [*waiting, *(r for r, _ in longest_outcomes())]]
    cases += [cards.card(replace(CONFIRMED, **LONG_FIELDS, decided_by=LONG_ID), rules)]
    cases += [outcomes.toast(request, outcome, now=NOON) for request, outcome in longest_outcomes()]
    cases += [replies.stale_click(request) for request, _ in longest_outcomes()]
    cases += [replies.pointer(waiting[0], "https://" + "x" * 200), replies.card_not_posted(waiting[0], known=False)]
    cases += [replies.history([request for request, _ in longest_outcomes()][:HISTORY])]
    cases += [replies.usage(f"{most}, in {most}", listed=True), blocks.private("&lt;" * MAX_ECHO + most * 2)]
    return cases


def assert_slack_sdk_knows(blocks: list[dict[str, Any]]) -> None:
    """Slack's models know every block and every field of it, and find no fault."""
    for given, block in zip(blocks, Block.parse_all(blocks), strict=True):
        block.validate_json()
        assert without_nothing(block.to_dict()) == without_nothing(given)


def without_nothing(value: Any) -> Any:
    """Leave out what is the same as not there."""
    if isinstance(value, dict):
        return {key: without_nothing(inner) for key, inner in value.items() if inner is not None}
    return [without_nothing(inner) for inner in value] if isinstance(value, list) else value


def test_slack_takes_every_message() -> None:
    """slack_sdk's own models, and Slack's limits, take every message at the longest inputs."""
    for message in everything():
        assert block_kit.faults(message.text, message.blocks) == [], message.text
        assert_slack_sdk_knows(message.blocks)
    for row in rows():
        assert_slack_sdk_knows(row.message.blocks)


def test_slack_takes_the_longest_home() -> None:
    """The App Home too, with more open requests and outcomes than it shows."""
    request = replace(REQUEST, **LONG_FIELDS)
    several = [pair for pair in longest_outcomes() if pair[1].code is not OutcomeCode.KEPT][: home.MAX_OUTCOMES]
    several += several[: home.MAX_OUTCOMES - len(several)]
    rules = Rules(second_person=True, listed=True, account="&" * 60)
    page = home.page(
        [request] * home.MAX_OPEN,
        several,
        rules,
        "x" * 2000,
        can_confirm=lambda _r: True,
        open_count=10**6,
        dry_run=True,
    )
    assert len(several) == home.MAX_OUTCOMES
    assert block_kit.view_faults({"type": "home", "blocks": page}, "home") == []
    assert_slack_sdk_knows(page)


def test_slack_takes_every_option() -> None:
    """The options of the picker at the longest label and phone number, with and without an open card."""
    named = Number(NUMBER, LONG_FIELDS["phone"], LONG_FIELDS["label"])
    kinds = [
        named,
        Number(NUMBER),
        replace(named, protected=True),
        replace(named, warning="\N{TELEPHONE RECEIVER}" * 200),
    ]
    found = [replies.option(number, has_card=has) for number in kinds for has in (True, False)]
    assert block_kit.option_faults(found) == []

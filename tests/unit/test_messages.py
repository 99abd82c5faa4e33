"""What people read: every message of docs/messages.md keeps to the rules for words, and to Slack's limits."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
from slack_sdk.models.blocks import Block

from bot.cli.samples import CONFIRMED, LATER, NOON, NUMBER, REQUEST, Row, ended, rows
from bot.clients.cellcast import CUT, MAX_MESSAGE
from bot.domain.commands import MAX_ECHO, MAX_REASON
from bot.domain.markup import literal
from bot.domain.models import Message, Outcome, Request
from bot.domain.numbers import MAX_LABEL
from bot.domain.status import OutcomeCode
from bot.views import blocks, cards, home, outcomes, replies
from bot.views.cards import Rules
from bot.views.text import MAX_NAMES, name
from handlers.commands import HISTORY
from sandbox import block_kit
from tests.messages import said_by

ROWS = [pytest.param(row, id=f"{row.part}: {row.when}") for row in rows()]
JARGON = re.compile(r"\b(HTTP|JSON|payload|traceback)\b", re.IGNORECASE)


@pytest.mark.parametrize("row", ROWS)
def test_text_says_all_that_the_blocks_say(row: Row) -> None:
    """Who hears a message, or sees it as a notification, misses nothing that stands in its blocks."""
    for line in said_by(row.message.blocks).split("\n"):
        assert literal(line) in row.message.text or line in row.message.text


@pytest.mark.parametrize("row", ROWS)
def test_words(row: Row) -> None:
    """Sentence case, no jargon, times as Slack dates, and no bare id where a name is known."""
    text = row.message.text
    first = text.lstrip("*").split("\n")[0]
    assert first[0].isupper() or first[0] in "+`<", first
    assert not JARGON.search(text.replace("API key", "")), JARGON.search(text)
    assert not re.search(r"\d{4}-\d\d-\d\d|\d\d:\d\d", re.sub(r"<!date\^[^>]*>", "", text))
    assert "!" not in re.sub(r"<![^>]*>", "", text)
    if "Support line" in text and row.part != "Denials and errors":
        assert text.count(f"`{NUMBER}`") == text.count(f'"Support line"* (`{NUMBER}`)') + len(
            re.findall(rf'"Support line"(\?\*| was not unsubscribed\*|) \(`{NUMBER}`\)', text)
        )


@pytest.mark.parametrize("row", [row for row in ROWS if row.values[0].part in ("Cards", "New messages")])  # type: ignore[union-attr]
def test_first_line_says_action_and_object(row: Row) -> None:
    """The first lines of what stands in the channel say what is done to which number."""
    begin = "\n".join(row.message.text.split("\n")[:2])
    assert NUMBER in begin
    assert re.search("[Uu]nsubscrib|Kept|Replaced|Outcome unknown|Cellcast reported success", begin)


NEXT_STEP = re.compile(
    r"[Rr]equest it again|Try Again|Try again|[Pp]lease|Example:|Ask |Use the |lets you choose|Type |explains|will follow|"
    r"[Nn]othing was sent to Cellcast|is unsubscribed"
)


@pytest.mark.parametrize("row", [r for r in ROWS if r.values[0].part in ("Denials and errors", "Late clicks")])  # type: ignore[union-attr]
def test_refusals_say_the_next_step(row: Row) -> None:
    """Whoever is refused learns what to do instead, or that nothing is left to do."""
    assert NEXT_STEP.search(row.message.text)


@pytest.mark.parametrize("row", ROWS)
def test_slack_parses_nothing_again(row: Row) -> None:
    """Every mrkdwn object is verbatim, so that Slack makes no mention or link of what people typed."""
    found = list(block_kit.mrkdwn(row.message.blocks))
    assert found or row.message.blocks[0]["text"]["type"] == "plain_text"
    assert all(text["verbatim"] is True for text in found)


def test_one_red_button_with_a_dialog() -> None:
    """A card has one red button, which asks once more; the way out is plain; labels are verbs without emoji."""
    seen = set()
    for row in rows():
        buttons = [e for b in row.message.blocks if b["type"] == "actions" for e in b["elements"]]
        red = [b for b in buttons if b.get("style") == "danger"]
        assert len(red) == (1 if buttons else 0)
        assert all("confirm" in b for b in red)
        assert not any("confirm" in b or "style" in b for b in buttons if b not in red)
        seen |= {b["text"]["text"] for b in buttons}
    assert seen == {"Unsubscribe Number", "Keep Number", "Try Again"}


LONG_ID = "U" + "W" * 20
LONGEST: dict[str, Any] = {
    "phone": "+999 " + "9" * 18,
    "label": "&" * MAX_LABEL,
    "reason": "<" * MAX_REASON,
    "channel": "C" + "W" * 20,
    "requested_by": LONG_ID,
    "attempt": 999_999,
    "dry_run": True,
}


def longest() -> list[tuple[Request, Outcome]]:
    """A request of every outcome, with the longest of everything."""
    found = []
    for kind in OutcomeCode:
        request = ended(
            kind,
            replace(CONFIRMED, **LONGEST, decided_by=LONG_ID),
            message="&" * MAX_MESSAGE + CUT,
            retry_at=LATER,
            after_unknown=True,
        )
        assert request.outcome is not None
        found.append((request, replace(request.outcome, decided_by=LONG_ID)))
    return found


def everything() -> list[Message]:
    """Every message, as it is and at the longest inputs."""
    rules = Rules(second_person=True, listed=True, account="&" * 60)
    waiting = [replace(REQUEST, **LONGEST), replace(REQUEST, **LONGEST | {"phone": None, "label": None})]
    most = ", ".join([f"<@{LONG_ID}>"] * MAX_NAMES)
    cases = [row.message for row in rows() if row.part != "The App Home"]
    cases += [cards.card(request, rules) for request in [*waiting, *(r for r, _ in longest())]]
    cases += [cards.card(replace(CONFIRMED, **LONGEST, decided_by=LONG_ID), rules)]
    cases += [outcomes.toast(request, outcome, now=NOON) for request, outcome in longest()]
    cases += [replies.stale_click(request) for request, _ in longest()]
    cases += [replies.pointer(waiting[0], "https://" + "x" * 200), replies.card_not_posted(waiting[0], known=False)]
    cases += [replies.history([request for request, _ in longest()][:HISTORY])]
    cases += [replies.usage(f"{most}, in {most}", listed=True), blocks.private("&lt;" * MAX_ECHO + most * 2)]
    return cases


def test_slack_takes_every_message() -> None:
    """slack_sdk's own models, and Slack's limits, take every message at the longest inputs."""
    for message in everything():
        assert block_kit.faults(message.text, message.blocks) == [], message.text
        for given, block in zip(message.blocks, Block.parse_all(message.blocks), strict=True):
            assert block.to_dict()["type"] == given["type"]


def test_slack_takes_the_longest_home() -> None:
    """The App Home too, with more open requests and outcomes than it shows."""
    request = replace(REQUEST, **LONGEST)
    several = [pair for pair in longest() if pair[1].code is not OutcomeCode.KEPT][: home.MAX_OUTCOMES]
    several += several[: home.MAX_OUTCOMES - len(several)]
    rules = Rules(second_person=True, listed=True, account="&" * 60)
    page = home.page([request] * home.MAX_OPEN, several, rules, "x" * 2000, more=10**6, dry_run=True)
    assert len(several) == home.MAX_OUTCOMES
    assert block_kit.view_faults({"type": "home", "blocks": page}, "home") == []
    assert [block.to_dict()["type"] for block in Block.parse_all(page)] == [block["type"] for block in page]


def test_slack_takes_every_option() -> None:
    """The options of the picker at the longest label and phone number, with and without an open card."""
    longest_name = name(LONGEST["phone"], LONGEST["label"])
    found = [replies.option(NUMBER, called, has_card=has) for called in (longest_name, "") for has in (True, False)]
    assert block_kit.option_faults(found) == []

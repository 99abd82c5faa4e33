"""What people read, rendered from made-up requests; no server, no database."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bot.cli.longest_samples import LONG_FIELDS, LONG_ID
from bot.cli.samples import CONFIRMED, LATER, NOON, REQUEST, ended
from bot.domain.models import Outcome, Request
from bot.domain.status import OutcomeCode, Status
from bot.views import blocks, cards, home, outcomes, replies, text
from bot.views.blocks import Block
from bot.views.cards import Rules
from sandbox import block_kit
from sandbox.slack_api import MAX_UPDATE
from tests.conftest import THOROUGH

VIEWS = Path(blocks.__file__).parent


@pytest.mark.parametrize("path", sorted(VIEWS.glob("*.py")), ids=lambda path: path.name)
def test_views_import_only_the_domain(path: Path) -> None:
    """A view knows neither the ledger, nor the clients, nor the services."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    ours = {module for module in imported if module.split(".")[0] in ("bot", "handlers")}
    assert all(module.startswith(("bot.domain", "bot.views")) for module in ours)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        pytest.param([blocks.section("*a* <@U1>")], "*a* <@U1>", id="markup"),
        pytest.param([blocks.plain("<a> & *b*")], "&lt;a&gt; &amp; *b*", id="words of others"),
        pytest.param([blocks.header("A"), blocks.context("b"), {"type": "divider"}], "A\nb", id="header, small print, divider"),
        pytest.param([blocks.section("a"), blocks.buttons(blocks.button("x", "Go", "1"))], "a", id="buttons aside"),
    ],
)  # fmt: skip
def test_text_is_derived_from_blocks(given: list[Block], said: str) -> None:
    """The text for notifications and screen readers says what the blocks say."""
    assert blocks.message(given).text == said
    assert blocks.message(given).blocks == given


@pytest.mark.parametrize(
    ("names", "listed"),
    [
        pytest.param([], "", id="none"),
        pytest.param(["A"], "A", id="one"),
        pytest.param(["A", "B"], "A or B", id="two"),
        pytest.param(["A", "B", "C"], "A, B or C", id="three"),
        pytest.param(list("ABCDEFGHIJK"), "A, B, C, D, E, F, G, H, I, J or 1 more people", id="eleven"),
    ],
)
def test_listing(names: list[str], listed: str) -> None:
    """Names are joined as people write them; many are cut."""
    assert text.listing(names, "or", "people") == listed


@pytest.mark.parametrize(
    ("phone", "label", "title"),
    [
        pytest.param("+61 480 000 000", "Shop", '*Keep +61 480 000 000 "Shop"?* (`{id}`)', id="phone number and label"),
        pytest.param(None, "A {b} & <c>", '*Keep "A {{b}} &amp; &lt;c&gt;"?* (`{id}`)', id="a label with braces"),
        pytest.param(
            None, "_Line_ a_b __", '*Keep "\u02cdLine\u02cd a_b \u02cd\u02cd"?* (`{id}`)', id="a label with underscores"
        ),
        pytest.param(None, None, "*Keep virtual number* `{id}`?", id="the id only"),
    ],
)
def test_title(phone: str | None, label: str | None, title: str) -> None:
    """The first line has the action, the number's name and its id."""
    request = replace(REQUEST, phone=phone, label=label)
    assert text.title(request, "Keep {number}?") == title.format(id=REQUEST.number_id)


@pytest.mark.parametrize("outcome", outcomes.OUTCOME_TEXT.values())
def test_bold_ends_before_the_id(outcome: outcomes.OutcomeText) -> None:
    """No headline has the id within bold text, whatever stands behind the number."""
    title = text.title(replace(REQUEST, phone=None, label=None), outcome.headline)
    assert list(block_kit.formatting(title)) == []
    assert title.replace("*", "") == outcome.headline.format(number=f"virtual number `{REQUEST.number_id}`")


@pytest.mark.parametrize(
    "words", ["&" * 2500, pytest.param("<" * 2500, marks=THOROUGH), "x" * 249 + "&" * 9, "*_~`" * 600]
)
def test_longest_outcome_fits(words: str) -> None:
    """The longest words of Cellcast and of people leave each message within Slack's limits, and cut no escape in two."""
    for code in OutcomeCode:
        fits(code, words)


def fits(code: OutcomeCode, words: str) -> None:
    """Check all messages about one outcome."""
    long = replace(CONFIRMED, **LONG_FIELDS, decided_by=LONG_ID)
    request = ended(code, long, message=words, after_unknown=True, correction=True)
    assert request.outcome is not None
    rules = Rules(second_person=True, listed=True, account="&" * 100)
    shown = [
        cards.card(request, rules),
        outcomes.toast(request, request.outcome, now=NOON, account=rules.account),
        replies.stale_click(replace(request, status=code.status)),
        replies.history([request]),
    ]
    assert len(shown[0].text) <= MAX_UPDATE
    for message in shown:
        assert block_kit.faults(message.text, message.blocks) == []
        assert block_kit.alarms(message.text, message.blocks) == []
    page = home.page([request] * 5, [(request, request.outcome)] * 20, rules, "", can_confirm=lambda _request: True)
    assert block_kit.view_faults({"type": "home", "blocks": page}, "home") == []
    assert block_kit.alarms("", page) == []


def test_every_outcome_has_its_text() -> None:
    """The table is complete; what is unknown is never called failed or done, and nobody reads that nothing was sent."""
    assert set(outcomes.OUTCOME_TEXT) == set(OutcomeCode)
    for code, words in outcomes.OUTCOME_TEXT.items():
        if code.status is Status.UNKNOWN:
            assert words.headline.startswith("Outcome unknown")
            assert "may or may not be unsubscribed" in words.what
            assert "still subscribed" in words.next_step
            assert "othing was" not in words.what
            assert "fail" not in words.what


SENT = (OutcomeCode.UNAUTHORIZED, OutcomeCode.NOT_FOUND, OutcomeCode.ALREADY_GONE, OutcomeCode.REJECTED, OutcomeCode.RATE_LIMITED)  # fmt: skip


@pytest.mark.parametrize("code", SENT)
def test_sent_requests_never_read_nothing_was_sent(code: OutcomeCode) -> None:
    """Cellcast has answered these, so a request was sent."""
    assert "othing was sent" not in outcomes.OUTCOME_TEXT[code].what


def settled(code: OutcomeCode, request: Request = CONFIRMED, **changes: Any) -> tuple[Request, Outcome]:
    """A request with its outcome."""
    found = ended(code, request, **changes)
    assert found.outcome is not None
    return found, found.outcome


@pytest.mark.parametrize(
    ("code", "changes", "can_try", "step"),
    [
        pytest.param(OutcomeCode.TIMEOUT, {}, True, "still subscribed. If it is, click Try Again on the card.", id="unknown"),
        pytest.param(OutcomeCode.TIMEOUT, {}, False, "If it is, request it again with `/unsubscribe-number +61 480 000 000`.", id="unknown, too late"),
        pytest.param(OutcomeCode.RATE_LIMITED, {}, True, "Wait a minute, then click Try Again on the card.", id="rate limited"),
        pytest.param(OutcomeCode.RATE_LIMITED, {"retry_at": LATER}, True, f"Wait until {text.moment(LATER)}, then click", id="rate limited, with a time"),
        pytest.param(OutcomeCode.NOT_STARTED, {}, True, "Nothing was sent. Click Try Again on the card.", id="not started"),
        pytest.param(OutcomeCode.REJECTED, {}, False, "Fix the problem Cellcast reports, then request it again", id="rejected"),
        pytest.param(OutcomeCode.NOT_FOUND, {}, False, "belongs to the account that the bot uses. If so, request it again", id="not found"),
    ],
)  # fmt: skip
def test_next_step(code: OutcomeCode, changes: dict[str, Any], can_try: bool, step: str) -> None:
    """What to do next fits whether the card still has its button."""
    assert step in outcomes.explanation(*settled(code, **changes), can_try=can_try)


def test_not_found_names_a_known_account() -> None:
    """A number can belong to another account, so people read which one the bot uses."""
    found, outcome = settled(OutcomeCode.NOT_FOUND)
    for message in (
        cards.card(found, Rules(account="A & B")),
        outcomes.toast(found, outcome, now=NOON, account="A & B"),
    ):
        assert "belongs to the Cellcast account A &amp; B, which the bot uses" in message.text


@pytest.mark.parametrize(
    ("code", "attempt", "headline"),
    [
        pytest.param(OutcomeCode.NOT_CONNECTED, 2, "*Outcome still unknown: ", id="a refusal"),
        pytest.param(
            OutcomeCode.NOT_CONNECTED, 1, "*Outcome still unknown: ", id="the unknown one was another request"
        ),
        pytest.param(OutcomeCode.ALREADY_GONE, 2, "*Probably already unsubscribed: ", id="already gone"),
        pytest.param(OutcomeCode.SUCCEEDED, 2, "*Unsubscribed: ", id="success"),
    ],
)
def test_after_an_unknown_attempt(code: OutcomeCode, attempt: int, headline: str) -> None:
    """After an unknown attempt a refusal leaves the outcome unknown."""
    found, outcome = settled(code, replace(CONFIRMED, attempt=attempt), after_unknown=True)
    assert outcomes.headline(found, outcome).startswith(headline)


@pytest.mark.parametrize(
    ("code", "message", "first"),
    [
        pytest.param(OutcomeCode.SUCCEEDED, "Done & <gone>", "Done &amp; &lt;gone&gt;", id="its own words"),
        pytest.param(OutcomeCode.SUCCEEDED, "", "Cellcast reported success, without a message.", id="no words"),
    ],
)
def test_toast_begins_with_cellcasts_words(code: OutcomeCode, message: str, first: str) -> None:
    """The toast of a success begins with Cellcast's own words."""
    assert outcomes.toast(*settled(code, message=message), now=NOON).text.split("\n")[0] == first


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        pytest.param(REQUEST, "is waiting for confirmation: requested by", id="pending"),
        pytest.param(CONFIRMED, "is in progress", id="confirmed"),
        pytest.param(ended(OutcomeCode.SUCCEEDED), "was unsubscribed: ", id="succeeded"),
        pytest.param(ended(OutcomeCode.DRY_RUN, replace(CONFIRMED, dry_run=True)), "was not unsubscribed, dry run", id="dry run"),
        pytest.param(ended(OutcomeCode.REJECTED), "was not unsubscribed: ", id="refused"),
        pytest.param(ended(OutcomeCode.ALREADY_GONE), "was probably unsubscribed by an earlier attempt", id="already gone"),
        pytest.param(ended(OutcomeCode.TIMEOUT), "has an unknown outcome", id="unknown"),
        pytest.param(ended(OutcomeCode.NOT_STARTED, replace(CONFIRMED, attempt=2), after_unknown=True), "still has an unknown outcome", id="still unknown"),
        pytest.param(ended(OutcomeCode.EXPIRED, REQUEST), "expired: ", id="expired"),
    ],
)  # fmt: skip
def test_history_never_claims_too_much(request_: Request, said: str) -> None:
    """The history says of each request how it stands, and nothing that is not known."""
    assert said in replies.history([request_]).text


@pytest.mark.parametrize(
    ("code", "step"),
    [
        pytest.param(OutcomeCode.TIMEOUT, "Check in Cellcast whether the number is still subscribed. If it is, click Try Again.", id="unknown"),
        pytest.param(OutcomeCode.RATE_LIMITED, "Wait a minute, then click Try Again.", id="rate limited"),
        pytest.param(OutcomeCode.EXPIRED, "To unsubscribe the number, request it again.", id="expired"),
        pytest.param(OutcomeCode.KEPT, "", id="kept"),
    ],
)  # fmt: skip
def test_explain(code: OutcomeCode, step: str) -> None:
    """The README's table has the words of the messages."""
    assert outcomes.explain(code) == (outcomes.OUTCOME_TEXT[code].what, step)

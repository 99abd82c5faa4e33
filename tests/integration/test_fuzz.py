"""Bad input of every sort: nothing makes the web server fail, nothing reaches Cellcast, people get an answer."""

from __future__ import annotations

import copy
import json
import string
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from bot import settings as bot_settings
from bot.app import Bot
from bot.cli import samples
from bot.domain.numbers import Number, NumberList
from bot.domain.reasons import ReasonRule
from bot.errors import SettingsError
from bot.views import forms
from bot.views.cards import Rules
from sandbox.fake_cellcast import SUCCESS, Answer, Cellcast, envelope
from sandbox.fake_slack import TEAM, Workspace
from tests.conftest import ANA, BEN, GIL, NUMBER, NUMBERS, ask, often, private, public, settled

# The fixtures (one bot for all examples of a test) are meant to live through the examples.
usual = settings(max_examples=often(20, 60), deadline=None, suppress_health_check=list(HealthCheck))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30)
VALUES = st.recursive(SCALARS, lambda v: st.lists(v, max_size=3) | st.dictionaries(st.text(max_size=8), v, max_size=3))
REQUEST_FORM = forms.request_form(ReasonRule(), listed=False)
CONFIRM_FORM = forms.confirm_form(samples.WARNED, Rules(), '{"value": "' + "0" * 32 + ':0"}')
NEAR_IDS = st.text(alphabet="0123456789abcdefABCDEF \u00a0`'\"\u200b<>|", min_size=20, max_size=60)


@given(text=st.text(max_size=300) | NEAR_IDS | st.text().map(lambda t: f"payload {t}"))
@usual
async def test_command_texts(bot: Bot, workspace: Workspace, cellcast: Cellcast, text: str) -> None:
    """Any text is answered privately or makes a card for an id that stands in it; nobody is alerted or called."""
    workspace.notes.clear()
    ack = await workspace.command(ANA, NUMBERS, text)
    assert ack.status == 200
    await settled(bot)
    lines = private(workspace, ANA)
    for card in public(workspace):
        assert card.text.split("`")[1] in "".join(text.lower().split())
        await workspace.click(ANA, card, "Keep Number")
        await settled(bot)
    assert len(lines) + len(public(workspace)) == 1
    assert not any("<!" in line for line in lines)
    assert cellcast.calls == []


LISTED = Number(NUMBER, "+61 480 000 000", "Support line")
KNOWN = NumberList({NUMBER: LISTED}, {"+61 480 000 000": LISTED})
WRITTEN = st.sampled_from(["+61 480 000 000", "0480 000 000", "0480000000", "(0480) 000-000", "0061 480 000 000"])


@given(written=WRITTEN, place=st.integers(0, 15), digit=st.sampled_from("123456789"), how=st.sampled_from("+-=+"))
@usual
def test_wrong_phone_numbers(written: str, place: int, digit: str, how: str) -> None:
    """A phone number with one digit more, less or other than a number of the list is not that number."""
    places = [i for i, c in enumerate(written) if c.isdigit()][4:]
    at = places[place % len(places)]
    wrong = written[:at] + ("" if how == "-" else digit) + written[at + (how != "+") :]
    assume(wrong != written)
    assert KNOWN.named(written) == (LISTED, "")
    assert KNOWN.named(wrong) is None
    assert KNOWN.named(f"{wrong} campaign ended") is None


@given(text=st.text(max_size=80) | st.text(alphabet='Support line"+0480 ()-', max_size=30))
@usual
def test_texts_with_a_list(text: str) -> None:
    """Any text names the number of the list, or no number; it is named by its whole label or number only."""
    found = KNOWN.named(text)
    if found is not None:
        shown = text.casefold()
        assert all(part in shown for part in ("support", "line")) or sum(c.isdigit() for c in shown) >= 9


@given(value=st.text(max_size=2000) | st.from_regex(r"[0-9a-f]{32}:[0-9]{1,9}", fullmatch=True))
@usual
async def test_button_values(bot: Bot, workspace: Workspace, cellcast: Cellcast, value: str) -> None:
    """A value that the bot did not make is refused privately."""
    workspace.notes[:] = public(workspace)
    (card,) = workspace.notes or [await ask(workspace)]
    payload = workspace.click_payload(BEN, card, "Unsubscribe Number")
    payload["actions"][0]["value"] = value
    assert (await workspace.send("interactive", payload)).status == 200
    await settled(bot)
    assert len(private(workspace, BEN)) == 1
    assert public(workspace) == [card]
    assert card.buttons
    assert cellcast.calls == []


def paths(value: Any, before: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The ways to every field of a payload."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [p for key, v in inner for p in [(*before, key), *paths(v, (*before, key))]]


def whole(workspace: Workspace, kind: str, who: str) -> dict[str, Any]:
    """A payload of each kind as Slack sends it; whatever stays whole of a click makes no call."""
    card = public(workspace)[0]
    menu = {"type": "external_select", "action_id": "pick_number"}
    picker = replace(card, blocks=[{"type": "section", "accessory": menu}], to=who)
    value = {"value": "0" * 32 + ":0"}  # of no request
    unsubscribe = card.buttons["Unsubscribe Number"] | value
    workspace.homes[who] = []
    makers: dict[str, Callable[[], dict[str, Any]]] = {
        "command": lambda: workspace.command_fields(who, NUMBERS, NUMBER),
        "click": lambda: workspace._on_message(who, card, TEAM, workspace._button_action(unsubscribe)),
        "click in the home": lambda: workspace.home_click_payload(who, unsubscribe),
        "typing": lambda: workspace.suggestion_payload(who, picker, "support"),
        "choice": lambda: workspace.choice_payload(who, picker, {"value": "x", "text": {"type": "plain_text"}}),
        "home": lambda: workspace.home_event(who),
        "form": lambda: workspace.submission_payload(who, REQUEST_FORM, {"number": NUMBER, "channel": NUMBERS}),
        "form to confirm": lambda: workspace.submission_payload(who, CONFIRM_FORM, {"digits": "0000"}),
    }
    return copy.deepcopy(makers[kind]())


KINDS = st.sampled_from(
    ["command", "click", "click in the home", "typing", "choice", "home", "form", "form to confirm"]
)


@given(data=st.data(), who=st.sampled_from([GIL, BEN]), kind=KINDS, faults=st.integers(1, 4))
@settings(usual, max_examples=often(40, 150))
async def test_whole_payloads(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, data: st.DataObject, who: str, kind: str, faults: int
) -> None:
    """Missing, added and wrongly typed fields are answered below 500, and lead to no call."""
    if not public(workspace):
        await ask(workspace, text=NUMBER)
    payload = whole(workspace, kind, who)
    for _ in range(faults):
        *way, last = data.draw(st.sampled_from(paths(payload)))
        place: Any = payload
        for key in way:
            place = place[key]
        if data.draw(st.booleans()):
            place[last] = data.draw(VALUES)
        elif isinstance(place, dict):
            del place[last]
        if not payload:
            break
    body = json.dumps(payload)
    status, _ = await workspace.send_raw(body.encode(), **{"Content-Type": "application/json"})
    assert status < 500
    await settled(bot)
    assert cellcast.calls == []


@given(body=st.binary(max_size=500) | st.text(max_size=300).map(str.encode) | st.just(b"payload=" + b"x" * 900_000))
@usual
async def test_raw_bodies(bot: Bot, workspace: Workspace, cellcast: Cellcast, body: bytes) -> None:
    """Signed bytes that are nothing are refused, up to a megabyte and beyond."""
    for kind in ("application/json", "application/x-www-form-urlencoded", "text/plain"):
        status, _ = await workspace.send_raw(body, **{"Content-Type": kind})
        assert status in (200, 400, 401)
    assert cellcast.calls == []


HEADER = st.text(alphabet=[c for c in map(chr, range(32, 256)) if c != "\x7f"], max_size=80)


@given(timestamp=HEADER | st.integers().map(str), signature=HEADER | st.just("v0=") | st.just("v0=" + "0" * 64))
@usual
async def test_signature_headers(bot: Bot, workspace: Workspace, timestamp: str, signature: str) -> None:
    """Headers that Slack did not make are refused."""
    headers = {"X-Slack-Request-Timestamp": timestamp.strip(), "X-Slack-Signature": signature.strip()}
    status, _ = await workspace.send_raw(b"command=/unsubscribe-number", **headers)
    assert status == 401


NAMES = [name for name in bot_settings.Settings.model_fields if name != "database_url"]
SOME = st.text(alphabet=string.printable, max_size=40) | st.sampled_from(
    ["*", "true", "1", "xoxb-1", "U0ANA", "http://x"]
)


@given(
    given=st.dictionaries(st.sampled_from(NAMES), SOME), url=SOME | st.sampled_from(["sqlite:///x", "postgresql://"])
)
@usual
def test_settings(given: dict[str, str], url: str) -> None:
    """Any settings are taken, or refused by name with what they should be."""
    try:
        bot_settings.load(**given, database_url=url)
    except SettingsError as error:
        told = [line.split()[0] for line in str(error).splitlines()[2::2]]
        assert set(told) <= {name.upper() for name in bot_settings.Settings.model_fields}
        assert len(told) == len(set(told))


@given(
    body=st.dictionaries(st.sampled_from(["status", "code", "message", "error", "data"]), VALUES), known=st.booleans()
)
@usual
async def test_answers_of_cellcast(bot: Bot, cellcast: Cellcast, body: dict[str, Any], known: bool) -> None:
    """Whatever Cellcast answers with 200, it is a success only with `status` exactly true and no `code`."""
    answer = envelope() | body if known else body
    cellcast.next.append(Answer(200, answer))
    result = await bot.cellcast.unsubscribe(NUMBER, 5)
    succeeded = answer.get("status") is True and "code" not in answer
    assert (result.code == "succeeded") is succeeded
    assert "\x00" not in result.message
    if known and "message" not in body:
        assert result.message == SUCCESS

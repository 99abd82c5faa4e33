"""Every answer of Cellcast is told apart, each with its next step; what is not known is called unknown."""

from __future__ import annotations

import asyncio
import json

import httpx
import pytest

from bot.app import Bot
from bot.domain.models import Click
from sandbox.fake_cellcast import ANSWERS, STACK, SUCCESS, Answer, Cellcast, envelope, failure
from sandbox.fake_slack import Note, Workspace
from tests.conftest import (
    ANA,
    BEN,
    KEY,
    NUMBER,
    NUMBERS,
    OTHER,
    REPEATED,
    SECRETS,
    Record,
    Start,
    TestClock,
    ask,
    current,
    private,
    public,
    settled,
    text_of,
)

UNKNOWN = [
    "Outcome unknown",
    "may or may not be unsubscribed",
    "Check in Cellcast whether the number is still subscribed",
    "If it is, click Try Again on the card",
]
REFUSED = ["Not unsubscribed", "Nothing was changed"]
SILENT = envelope(message="", error={"errorMessage": "Number is locked"}, status=False)


async def confirmed(
    bot: Bot, workspace: Workspace, label: str = "Unsubscribe Number", card: Note | None = None
) -> Note:
    """Ask where there is no card yet, click, and return the card as it ends."""
    card = card or await ask(workspace)
    await workspace.click(BEN, card, label)
    await settled(bot)
    return current(workspace, card)


@pytest.mark.parametrize(
    ("answer", "says", "try_again"),
    [
        pytest.param(Answer(401, failure(401, "Token expired")), [*REFUSED, "CELLCAST_API_KEY", "Token expired"], False,
                     id="401"),
        pytest.param(Answer(404, failure(404, "Virtual number not found")), [*REFUSED, "Check in Cellcast that the id is right"], False,
                     id="404 of the number"),
        pytest.param(Answer(400, failure(400, "Bad <id>")), [*REFUSED, "Bad &lt;id&gt;"], False, id="400"),
        pytest.param(Answer(422, envelope("Too young", status=False)), [*REFUSED, "Too young"], False, id="422"),
        pytest.param(Answer(200, envelope("Not now", status=False)), [*REFUSED, "Not now"], False, id="200 status false"),
        pytest.param(Answer(200, SILENT), [*REFUSED, "Number is locked"], False, id="the reason in error.errorMessage"),
        pytest.param(Answer(200, envelope("", status=False, error={"error": "Why"})), [*REFUSED, "Why"], False,
                     id="the reason in error.error"),
        pytest.param(Answer(429, failure(429, "Slow down")), [*REFUSED, "Wait a minute, then click Try Again", "Slow down"], True, id="429"),
        pytest.param(Answer(429, b"busy", {"Retry-After": "90"}), [*REFUSED, "Wait until <!date^"], True,
                     id="429 with seconds"),
        pytest.param(Answer(429, b"", {"Retry-After": "Fri, 01 Jan 2100 00:00:00 GMT"}), [*REFUSED, "Wait until <!date^"],
                     True, id="429 with a date"),
        pytest.param(Answer(429, b"", {"Retry-After": "soon"}), [*REFUSED, "Wait a minute, then click Try Again"], True, id="429 with a word"),
        pytest.param(Answer(fault="hang"), [*UNKNOWN, "timed out"], True, id="timeout"),
        pytest.param(Answer(fault="drop"), [*UNKNOWN, "was lost after the bot began to send the request"], True, id="reset"),
        pytest.param(Answer(fault="truncate"), [*UNKNOWN, "was lost after"], True, id="truncated"),
        pytest.param(Answer(500, failure(500, "Oh <no>")), [*UNKNOWN, "internal error", "Oh &lt;no&gt;"], True, id="500"),
        pytest.param(Answer(503, b"<html>"), [*UNKNOWN, "internal error"], True, id="503 in HTML"),
        pytest.param(Answer(302, b"", {"Location": "/elsewhere"}), ["Outcome unknown", "redirected the request", "CELLCAST_BASE_URL"],
                     True, id="redirect"),
        pytest.param(Answer(404, failure(404, "Not found")), [*UNKNOWN, "documentation does not describe"], True,
                     id="404 of something else"),
        pytest.param(Answer(404, b"not found"), [*UNKNOWN], True, id="404 in text"),
        pytest.param(Answer(401, b"<html>who?"), [*UNKNOWN], True, id="401 in HTML"),
        pytest.param(Answer(403, failure(403, "No")), [*UNKNOWN], True, id="403, documented nowhere"),
        pytest.param(Answer(404, {"message": "Virtual number not found"}), [*UNKNOWN], True, id="404 of another shape"),
        pytest.param(Answer(200, b""), UNKNOWN, True, id="empty"),
        pytest.param(Answer(200, b"[]"), UNKNOWN, True, id="a list"),
        pytest.param(Answer(200, b"\xff\xfe\x00"), UNKNOWN, True, id="no text"),
        pytest.param(Answer(200, b"[" * 60_000), UNKNOWN, True, id="nested without end"),
        pytest.param(Answer(200, b" " * 10_000_000), UNKNOWN, True, id="10 MB"),
        pytest.param(Answer(200, envelope(status="true")), UNKNOWN, True, id="status is a text"),
        pytest.param(Answer(200, envelope(status=1)), UNKNOWN, True, id="status is 1"),
        pytest.param(Answer(200, envelope(code=200)), UNKNOWN, True, id="success with a code"),
        pytest.param(Answer(200, envelope(), {"Content-Encoding": "gzip"}), UNKNOWN, True, id="encoded unasked"),
        pytest.param(Answer(204, b""), UNKNOWN, True, id="204"),
    ],
)  # fmt: skip
async def test_answer(
    bot: Bot,
    workspace: Workspace,
    cellcast: Cellcast,
    answer: Answer,
    says: list[str],
    try_again: bool,
    request: pytest.FixtureRequest,
    reliability: Record,
) -> None:
    """Card and toast say what happened and the next step; Try Again is there where it can help; nothing leaks."""
    cellcast.next.append(answer)
    card = await confirmed(bot, workspace)
    assert len(cellcast.calls) == 1
    toast = public(workspace)[-1]
    for words in says:
        assert words in toast.text
    assert f"Confirmed by <@{BEN}>" in toast.text
    assert f"`{NUMBER}`" in toast.text
    assert list(card.buttons) == (["Try Again"] if try_again else [])
    assert ("You can click Try Again until" in card.text) is try_again
    everything = json.dumps([n.text for n in workspace.notes]) + json.dumps([n.blocks for n in workspace.notes])
    assert STACK not in everything
    assert not [secret for secret in SECRETS if secret in everything]
    case = request.node.callspec.id
    reliability("Cellcast", f"answers: {case}", calls="one", told=toast.text.split(":")[0].strip("*").lower())


@REPEATED
@pytest.mark.parametrize(
    ("message", "shown"),
    [
        pytest.param("Done: *bold* <!channel> & `code` :tada:", None, id="markup"),
        pytest.param("Nul \x00 and half \ud83d", "Nul \ufffd and half ?", id="what no database holds"),
        pytest.param(f"Bearer {KEY} is fine", "Bearer [API key] is fine", id="the key"),
        pytest.param("x" * 5000, "x" * 2500 + " … (cut)", id="very long"),
        pytest.param("", "Cellcast reported success, without a message.", id="none"),
        pytest.param(7, "Cellcast reported success, without a message.", id="no text"),
    ],
)
async def test_toast_is_word_for_word(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, message: str, shown: str | None
) -> None:
    """The API's message stands as it is, harmless; only the key, and what cannot be shown, is taken out."""
    cellcast.next.append(Answer(200, envelope(message)))
    await confirmed(bot, workspace)
    toast = public(workspace)[-1]
    assert toast.blocks[0]["text"] == {"type": "plain_text", "text": shown or message, "emoji": False}
    assert "<!" not in toast.text.split("\n")[0]


@pytest.mark.parametrize("encoded_database", ["LATIN1"], indirect=True)
@pytest.mark.parametrize(
    ("answer", "headline", "said"),
    [
        pytest.param(
            Answer(body=envelope("Number \u201cSupport\u201d is gone \u2713")),
            "Unsubscribed",
            "Cellcast reported success, with a message that the bot's database cannot store.",
            id="success",
        ),
        pytest.param(
            Answer(400, failure(400, "Too young \u2713")),
            "Not unsubscribed",
            "Cellcast sent a message that the bot's database cannot store.",
            id="refusal",
        ),
    ],
)
async def test_message_that_the_database_cannot_store(
    start: Start,
    workspace: Workspace,
    cellcast: Cellcast,
    encoded_database: str,
    answer: Answer,
    headline: str,
    said: str,
) -> None:
    """An outcome is stored and delivered without a message that the database cannot encode."""
    cellcast.next.append(answer)
    async with start(database_url=encoded_database) as bot:
        card = await confirmed(bot, workspace)
        assert headline in card.text
        assert said in public(workspace)[-1].text
        await confirmed(bot, workspace)
    assert len(cellcast.calls) == 2


@pytest.mark.parametrize("encoded_database", ["LATIN1"], indirect=True)
async def test_reason_that_the_database_cannot_store(
    start: Start, workspace: Workspace, cellcast: Cellcast, encoded_database: str
) -> None:
    """A person whose reason the database cannot encode reads which characters to leave out, and no card appears."""
    async with start(database_url=encoded_database) as bot:
        await workspace.command(ANA, NUMBERS, f"{NUMBER} campaign \u2713")
        await settled(bot)
    (line,) = private(workspace, ANA)
    assert line.startswith("The database cannot store a character of the reason, the label or the warning.")
    assert public(workspace) == []


@pytest.mark.parametrize("seconds", [1, 5])
async def test_cellcast_is_not_there(start: Start, workspace: Workspace, seconds: float) -> None:
    """Where no connection can be made nothing was sent, and that is what the card says."""
    async with start(cellcast_base_url="http://127.0.0.1:9", cellcast_timeout_seconds=seconds) as bot:
        card = await confirmed(bot, workspace)
    assert "Not unsubscribed" in card.text
    assert "could not connect to Cellcast. Nothing was sent." in card.text
    assert "Try Again" in card.buttons


async def test_proxy_that_refuses_the_way_to_cellcast(
    start: Start, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If a proxy refuses its CONNECT, nothing was sent to Cellcast, and that is what the card says."""
    asked: list[bytes] = []

    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked.append(await reader.readline())
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    proxy = await asyncio.start_server(refuse, "127.0.0.1", 0)
    monkeypatch.setenv("ALL_PROXY", f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}")
    async with start(cellcast_base_url="https://api.cellcast.example") as bot:
        card = await confirmed(bot, workspace)
    proxy.close()
    assert set(asked) == {b"CONNECT api.cellcast.example:443 HTTP/1.1\r\n"}
    assert "could not connect to Cellcast. Nothing was sent." in card.text
    assert "Try Again" in card.buttons


async def test_call_that_comes_too_late_is_not_made(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: TestClock
) -> None:
    """A call whose time was over before it began is not made: another replica may have told the outcome already."""
    card = await ask(workspace)
    click = Click(card.buttons["Keep Number"]["value"].partition(":")[0], 0, BEN, clock.now(), card.channel, card.ts)
    request = await bot.ledger.confirm(click, bot.executor.call_deadline(click.now), second_person=False)
    assert request is not None
    clock.advance(5.5)
    await bot.executor.execute(request)
    assert "Nothing was sent" in current(workspace, card).text
    assert cellcast.calls == []


@REPEATED
async def test_try_again(bot: Bot, workspace: Workspace, cellcast: Cellcast) -> None:
    """Try Again is a new yes under the same rules: one call more, told as its own attempt."""
    cellcast.next += [ANSWERS["server error"], ANSWERS["fine"]]
    card = await confirmed(bot, workspace)
    assert card.buttons["Try Again"]["confirm"]["text"]["text"].startswith(f"Virtual number {NUMBER}")
    await workspace.click("U0GIL", card, "Try Again")
    await settled(bot)
    assert len(cellcast.calls) == 1
    card = await confirmed(bot, workspace, "Try Again", card)
    assert len(cellcast.calls) == 2
    assert "Unsubscribed:" in card.text
    assert "attempt 2" in card.text
    first, second = public(workspace)[1:]
    assert "Outcome unknown" in first.text
    assert second.blocks[0]["text"]["text"] == SUCCESS


async def test_try_again_ends_with_its_time(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: TestClock
) -> None:
    """The offer to try again goes with the card's time; a click after it calls nobody."""
    cellcast.next.append(ANSWERS["server error"])
    card = await confirmed(bot, workspace)
    clock.advance(901)
    await workspace.click(ANA, card, "Try Again")
    await settled(bot)
    assert len(cellcast.calls) == 1
    assert "Check in Cellcast whether the number is still subscribed" in private(workspace, ANA)[0]
    await bot.scheduler.sweep()
    await settled(bot)
    closed = current(workspace, card)
    assert not closed.buttons
    assert f"request it again with `/unsubscribe-number {NUMBER}`" in closed.text


async def test_request_again_while_it_can_be_tried_again(bot: Bot, workspace: Workspace, cellcast: Cellcast) -> None:
    """A card that offers Try Again is still open: an asking points to it."""
    cellcast.next.append(ANSWERS["server error"])
    card = await confirmed(bot, workspace)
    await workspace.command(ANA, card.channel, NUMBER)
    await settled(bot)
    assert "You can click Try Again until" in private(workspace, ANA)[0]


@pytest.mark.parametrize("same_card", [True, False])
async def test_not_found_after_unknown(
    bot: Bot, workspace: Workspace, cellcast: Cellcast, clock: TestClock, same_card: bool
) -> None:
    """A 404 after an attempt of unknown outcome says that the earlier one probably went through."""
    cellcast.next += [Answer(fault="drop"), ANSWERS["unknown number"]]
    card = await confirmed(bot, workspace)
    if same_card:
        card = await confirmed(bot, workspace, "Try Again", card)
    else:
        clock.advance(901)
        card = await confirmed(bot, workspace)
    for note in (card, public(workspace)[-1]):
        assert "Probably already unsubscribed" in note.text
        assert "An earlier attempt for this number had an unknown outcome, and probably succeeded" in note.text
    assert not card.buttons


async def test_not_found_after_another_number_was_unknown(bot: Bot, workspace: Workspace, cellcast: Cellcast) -> None:
    """An unknown outcome of one number says nothing of another."""
    cellcast.next += [Answer(fault="drop"), ANSWERS["unknown number"]]
    await confirmed(bot, workspace)
    card = await confirmed(bot, workspace, card=await ask(workspace, text=OTHER))
    assert "Check in Cellcast that the id is right" in card.text


async def test_dry_run(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """DRY_RUN does all but the call, and says so on the card, in the dialog and in the toast."""
    async with start(dry_run="true") as bot:
        card = await ask(workspace)
        assert "*Dry run:* nothing will be sent to Cellcast." in card.text
        assert "dry run" in card.buttons["Unsubscribe Number"]["confirm"]["text"]["text"]
        card = await confirmed(bot, workspace, card=card)
    assert card.text.startswith("*Dry run: virtual number")
    assert "This was a dry run: nothing was sent to Cellcast." in public(workspace)[-1].text
    assert cellcast.calls == []


@pytest.mark.parametrize(("asked", "clicked"), [("true", "false"), ("false", "true")])
async def test_dry_run_switched_in_between(
    start: Start, workspace: Workspace, cellcast: Cellcast, asked: str, clicked: str
) -> None:
    """A card that promised a dry run stays one, and a bot in dry run calls nobody for an older card."""
    async with start(dry_run=asked):
        card = await ask(workspace)
    async with start(dry_run=clicked) as bot:
        await confirmed(bot, workspace, card=card)
    assert cellcast.calls == []


async def test_key_never_follows_a_redirect(bot: Bot, workspace: Workspace, cellcast: Cellcast) -> None:
    """A redirect is answered by nobody: no second request leaves."""
    cellcast.next.append(Answer(307, b"", {"Location": f"{cellcast.url}/api/v1/user/token/verify"}))
    await confirmed(bot, workspace)
    assert len(cellcast.calls) == 1


async def test_toast_blocks_say_what_the_text_says(bot: Bot, workspace: Workspace, cellcast: Cellcast) -> None:
    """Blocks and top-level text of a refusal's toast tell the same."""
    cellcast.next.append(ANSWERS["expired key"])
    await confirmed(bot, workspace)
    toast = public(workspace)[-1]
    assert text_of(toast).replace("\n", " ") == toast.text.replace("\n", " ")


async def test_one_connection_for_a_call(bot: Bot, workspace: Workspace, cellcast: Cellcast) -> None:
    """No connection is kept for a later call, so that none can turn out closed in the middle of sending."""
    pool = bot.cellcast._client._transport._pool  # type: ignore[attr-defined]  # httpx shows it nowhere else
    await confirmed(bot, workspace)
    assert isinstance(bot.cellcast._client, httpx.AsyncClient)
    assert pool.connections == []


async def test_unknown_number_names_the_account(bot: Bot, workspace: Workspace, cellcast: Cellcast) -> None:
    """A 404 can mean that the number belongs to another Cellcast account, so the message names the one in use."""
    await settled(bot)  # the bot has asked whose key it has
    cellcast.next.append(Answer(404, failure(404, "Virtual number not found")))
    card = await ask(workspace)
    await workspace.click(BEN, card, "Unsubscribe Number")
    await settled(bot)
    for note in (current(workspace, card), public(workspace)[-1]):
        assert "the Cellcast account Stand-in Pty Ltd, which the bot uses" in note.text

"""The same bot over Slack's socket."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from slack_bolt.response import BoltResponse

from bot.errors import StartError
from bot.receivers.bolt import Send
from bot.receivers.socket_mode import Socket
from sandbox.fake_cellcast import SUCCESS, Cellcast
from sandbox.fake_slack import FRAME_BYTES, Workspace
from tests.conftest import (
    ANA,
    APP_TOKEN,
    BEN,
    GIL,
    NUMBER,
    NUMBERS,
    OTHER,
    Record,
    Start,
    ask,
    private,
    public,
    settled,
    text_of,
)


async def test_main_round(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """Command, card, confirmation, one call and the toast, with every envelope acknowledged in time."""
    async with start(slack_app_token=APP_TOKEN) as bot:
        await workspace.until(lambda: workspace.connected)
        assert await bot.health.state() == {"ok": True}
        await workspace.command(GIL, NUMBERS, NUMBER)
        assert "You don't have permission" in private(workspace, GIL)[0]
        card = await ask(workspace)
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
        assert public(workspace)[-1].text.startswith(SUCCESS)
        assert not public(workspace)[0].buttons
    assert len(cellcast.calls) == 1
    assert all(ack.seconds < 1 for ack in workspace.acks)


async def test_socket_closes_before_the_drain(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """While the bot waits for a running call it takes no new click: Slack hands that to another replica, or says no."""
    cellcast.hold = asyncio.Event()
    async with start(slack_app_token=APP_TOKEN, cellcast_timeout_seconds="8") as bot:
        await workspace.until(lambda: workspace.connected)
        card = await ask(workspace)
        await workspace.click(BEN, card, "Unsubscribe Number")
        await cellcast.called.wait()
        stopping = asyncio.create_task(bot.stop())
        await workspace.until(lambda: not workspace.connected)
        assert not stopping.done()
        cellcast.hold.set()
        await stopping
    assert public(workspace)[-1].text.startswith(SUCCESS)
    assert len(cellcast.calls) == 1


def hold_group_read(workspace: Workspace) -> tuple[asyncio.Event, asyncio.Event]:
    """Let the next read of a user group wait: an event for its beginning, and one that lets it go on."""
    reading, go_on = asyncio.Event(), asyncio.Event()

    async def wait(step: str) -> None:
        if step == "before usergroups.users.list":
            reading.set()
            await go_on.wait()

    workspace.on_step = wait
    return reading, go_on


async def test_click_under_way_is_acked_before_the_socket_closes(
    start: Start, workspace: Workspace, cellcast: Cellcast
) -> None:
    """Clicks that the bot was answering when it was stopped, or that came then, get their acks, and their calls are made."""
    workspace.groups["S0ADMINS"] = [BEN]
    async with start(slack_app_token=APP_TOKEN, allowed_users=f"S0ADMINS,{ANA}") as bot:
        await workspace.until(lambda: workspace.connected)
        cards = [await ask(workspace, text=number) for number in (NUMBER, OTHER)]
        reading, go_on = hold_group_read(workspace)
        clicking = [asyncio.create_task(workspace.click(BEN, cards[0], "Unsubscribe Number"))]
        await reading.wait()
        stopping = asyncio.create_task(bot.stop())
        await asyncio.sleep(0)
        clicking.append(asyncio.create_task(workspace.click(BEN, cards[1], "Unsubscribe Number")))
        await asyncio.sleep(0.2)  # now it has reached the bot
        go_on.set()
        assert [ack.status for ack in await asyncio.gather(*clicking)] == [200, 200]
        await stopping
    assert len(cellcast.calls) == 2
    assert public(workspace)[-1].text.startswith(SUCCESS)


async def test_socket_that_cannot_be_opened(
    start: Start, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A socket that never comes ends the start with a plain line."""
    monkeypatch.setattr("bot.receivers.socket_mode.CONNECT_TIMEOUT", 0.5)
    workspace.faults["socket"].append("hang")
    with pytest.raises(StartError, match="Slack's socket cannot be reached"):
        async with start(slack_app_token=APP_TOKEN):
            pass


@pytest.mark.parametrize("how", ["dropped", "refreshed", "deaf"])
async def test_socket_is_opened_anew(
    start: Start,
    workspace: Workspace,
    cellcast: Cellcast,
    monkeypatch: pytest.MonkeyPatch,
    how: str,
    reliability: Record,
) -> None:
    """A socket that breaks, is refreshed, or goes deaf is opened anew, and the next click comes through."""
    monkeypatch.setattr("bot.ops.health.PING_EVERY", 0.2)  # stale after 0.8 s here, after 32 s in use
    workspace.deaf = how == "deaf"
    async with start(slack_app_token=APP_TOKEN) as bot:
        await workspace.until(lambda: workspace.connected)
        card = await ask(workspace, text=NUMBER) if how != "deaf" else None
        workspace.deaf = False
        if how == "dropped":
            await workspace.drop_sockets()
        elif how == "refreshed":
            await workspace.refresh_sockets()
        await workspace.until(lambda: workspace.opened >= 2 and workspace.connected == 1)
        card = card or await ask(workspace)
        await workspace.click(BEN, card, "Unsubscribe Number")
        await settled(bot)
        assert public(workspace)[-1].text.startswith(SUCCESS)
    assert len(cellcast.calls) == 1
    reliability("Slack", f"the socket is {how}", calls="one", told="the toast")


async def test_nothing_is_lost_during_a_refresh(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """The new socket opens before the old one closes: every click on either is answered, and each makes one call."""
    opening, go_on = asyncio.Event(), asyncio.Event()

    async def wait(step: str) -> None:
        if step == "before socket":
            opening.set()
            await go_on.wait()

    async with start(slack_app_token=APP_TOKEN) as bot:
        await workspace.until(lambda: workspace.connected)
        cards = [await ask(workspace, text=f"{n:024x}") for n in range(4)]
        workspace.on_step, workspace.refresh_seconds = wait, 1.5
        await workspace.refresh_sockets()
        acks = [await workspace.click(BEN, cards[0], "Unsubscribe Number")]
        await opening.wait()
        acks.append(await workspace.click(BEN, cards[1], "Unsubscribe Number"))
        go_on.set()
        await workspace.until(lambda: workspace.connected == 2)
        for workspace.next_socket, card in enumerate(cards[2:]):
            acks.append(await workspace.click(BEN, card, "Unsubscribe Number"))
        workspace.next_socket = -1
        await workspace.until(lambda: workspace.connected == 1)
        acks.append(await workspace.click(BEN, cards[0], "Unsubscribe Number"))  # a second time
        await settled(bot)
        assert await bot.health.state() == {"ok": True}
        assert workspace.opened == 2
    assert [ack.status for ack in acks] == [200] * 5
    assert sorted(call.number_id for call in cellcast.calls) == [f"{n:024x}" for n in range(4)]


async def test_click_acked_after_the_old_socket_closed(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """Slack closes the old socket while the bot answers a click from it: the ack goes over the new one."""
    workspace.groups["S0ADMINS"] = [BEN]
    async with start(slack_app_token=APP_TOKEN, allowed_users=f"S0ADMINS,{ANA}") as bot:
        await workspace.until(lambda: workspace.connected)
        card = await ask(workspace)
        reading, go_on = hold_group_read(workspace)
        clicking = asyncio.create_task(workspace.click(BEN, card, "Unsubscribe Number"))
        await reading.wait()
        await workspace.refresh_sockets()
        await workspace.until(lambda: workspace.opened == 2 and workspace.connected == 1)
        go_on.set()
        assert (await clicking).status == 200
        await settled(bot)
    assert len(cellcast.calls) == 1


@pytest.mark.parametrize(
    ("method", "fault"),
    [
        ("apps.connections.open", "500"),
        ("apps.connections.open", '{"ok": true}'),
        ("socket", "hang"),
        ("socket", "403"),
    ],
)
async def test_refresh_that_fails(
    start: Start,
    workspace: Workspace,
    cellcast: Cellcast,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    method: str,
    fault: str,
) -> None:
    """If no new socket can be opened, the bot uses the old one until Slack closes it, and tries again."""
    monkeypatch.setattr("bot.receivers.socket_mode.RECONNECT_TIMEOUT", 0.3)
    async with start(slack_app_token=APP_TOKEN) as bot:
        await workspace.until(lambda: workspace.connected)
        card = await ask(workspace)
        workspace.refresh_seconds = 1.0
        workspace.faults[method].append(fault)
        await workspace.refresh_sockets()
        await workspace.click(BEN, card, "Unsubscribe Number")
        await workspace.until(lambda: workspace.opened == 2 and workspace.connected == 1)
        other = await ask(workspace, text=OTHER)
        await workspace.click(BEN, other, "Unsubscribe Number")
        await settled(bot)
    assert len(cellcast.calls) == 2
    assert '"event": "socket_reconnect_failed"' in capsys.readouterr().out


@pytest.mark.parametrize("before", ["a close", "a refresh that failed", "a handshake that failed"])
async def test_refresh_after_another_connection_was_lost(
    start: Start, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, before: str
) -> None:
    """A connection that replaced a lost one stays open in a refresh until Slack closes it, and answers what comes."""
    monkeypatch.setattr("bot.receivers.socket_mode.RECONNECT_TIMEOUT", 0.3)
    async with start(slack_app_token=APP_TOKEN):
        await workspace.until(lambda: workspace.connected)
        if before == "a refresh that failed":
            workspace.faults["apps.connections.open"].append("internal_error")
            await workspace.refresh_sockets()
        else:
            workspace.faults["socket"] += ["403"] * (before == "a handshake that failed")
            await workspace.close_sockets()
        await workspace.until(lambda: workspace.opened == 2 and workspace.connected == 1)
        await workspace.command(ANA, NUMBERS, "help")  # by now the bot knows of its new socket
        workspace.refresh_seconds = 30.0
        await workspace.refresh_sockets()
        await workspace.until(lambda: workspace.connected == 2)
        for workspace.next_socket in (1, 0, 1, 0):
            assert (await workspace.command(ANA, NUMBERS, "help")).status == 200
        assert workspace.connected == 2


async def test_stop_during_a_refresh(start: Start, workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bot that is stopped while it has two sockets closes both at once."""
    async with start(slack_app_token=APP_TOKEN) as bot:
        await workspace.until(lambda: workspace.connected)
        workspace.refresh_seconds = 30.0
        await workspace.refresh_sockets()
        await workspace.until(lambda: workspace.connected == 2)
        await asyncio.wait_for(bot.stop(), 3)
        await workspace.until(lambda: workspace.connected == 0)


async def test_refresh_during_a_stop(start: Start, workspace: Workspace, cellcast: Cellcast) -> None:
    """A bot that is stopping opens no other socket if Slack asks for a refresh: a click on it would get no ack."""
    workspace.groups["S0ADMINS"] = [BEN]
    async with start(slack_app_token=APP_TOKEN, allowed_users=f"S0ADMINS,{ANA}") as bot:
        await workspace.until(lambda: workspace.connected)
        cards = [await ask(workspace, text=number) for number in (NUMBER, OTHER)]
        reading, go_on = hold_group_read(workspace)
        workspace.refresh_seconds = 30.0
        clicking = [asyncio.create_task(workspace.click(BEN, cards[0], "Unsubscribe Number"))]
        await reading.wait()
        stopping = asyncio.create_task(bot.stop())
        await asyncio.sleep(0)  # it begins
        await workspace.refresh_sockets()
        clicking.append(asyncio.create_task(workspace.click(BEN, cards[1], "Unsubscribe Number")))
        await asyncio.sleep(0.2)  # now all of it has reached the bot
        go_on.set()
        assert [ack.status for ack in await asyncio.gather(*clicking)] == [200, 200]
        await stopping
    assert workspace.api_calls.count("apps.connections.open") == 1
    assert len(cellcast.calls) == 2


@pytest.mark.parametrize("step", ["before apps.connections.open", "before socket"])
async def test_stop_while_a_refresh_opens_its_socket(start: Start, workspace: Workspace, step: str) -> None:
    """A socket that is being opened when the bot is stopped is closed with the others, or never opened."""
    opening, go_on = asyncio.Event(), asyncio.Event()

    async def wait(now: str) -> None:
        if now == step:
            opening.set()
            await go_on.wait()

    async with start(slack_app_token=APP_TOKEN) as bot:
        await workspace.until(lambda: workspace.connected)
        workspace.on_step, workspace.refresh_seconds = wait, 30.0
        await workspace.refresh_sockets()
        await opening.wait()
        await asyncio.wait_for(bot.stop(), 3)
        go_on.set()
        await workspace.until(lambda: workspace.connected == 0)
    assert workspace.api_calls.count("apps.connections.open") == 2


@pytest.mark.parametrize("reason", ["too_many_websockets", "link_disabled"])
async def test_other_disconnect_of_an_old_socket(start: Start, workspace: Workspace, reason: str) -> None:
    """After a refresh the old socket leads to no other one, whatever Slack says on it."""
    async with start(slack_app_token=APP_TOKEN) as bot:
        await workspace.until(lambda: workspace.connected)
        workspace.refresh_seconds = 30.0
        await workspace.refresh_sockets()
        await workspace.until(lambda: workspace.connected == 2)
        workspace.next_socket = 1
        await ask(workspace)  # by now the bot knows of its second socket
        workspace.next_socket = 0
        await workspace.disconnect(reason)
        await ask(workspace, text=OTHER)  # Slack's frames are handled in their order
        await settled(bot)
    assert workspace.api_calls.count("apps.connections.open") == 2


async def test_old_socket_that_slack_forgets(
    start: Start, workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An old socket that Slack does not close is closed by the bot."""
    monkeypatch.setattr("bot.receivers.socket_mode.REFRESH_LIMIT", 0.3)
    async with start(slack_app_token=APP_TOKEN):
        await workspace.until(lambda: workspace.connected)
        workspace.refresh_seconds = 30.0
        await workspace.refresh_sockets()
        await workspace.until(lambda: workspace.opened == 2 and workspace.connected == 1)


@pytest.mark.parametrize(("others", "refreshes", "warns"), [(0, 2, False), (1, 1, False), (1, 2, True)])
async def test_two_hellos_in_a_row_count_another_replica(
    start: Start, workspace: Workspace, capsys: pytest.CaptureFixture[str], others: int, refreshes: int, warns: bool
) -> None:
    """A refresh does not count the bot's own two sockets, and one hello alone can count one that is just going."""
    async with start(slack_app_token=APP_TOKEN):
        await workspace.until(lambda: workspace.connected)
        workspace.going = others
        for _ in range(refreshes):
            await workspace.refresh_sockets()
            await workspace.until(lambda: workspace.connected == 2)
            await workspace.until(lambda: workspace.connected == 1)
        await ask(workspace)  # the hello before it has been read
    assert ('"event": "other_replicas"' in capsys.readouterr().out) is warns


@pytest.mark.parametrize("too_many", [0, 1])
async def test_fake_closes_the_socket_after_a_large_frame(workspace: Workspace, too_many: int) -> None:
    """A frame of 20,480 bytes closes the socket with 1009 and its ack is lost; a byte less is an ack."""
    async with aiohttp.ClientSession() as client:
        headers = {"Authorization": f"Bearer {APP_TOKEN}"}
        async with client.post(f"{workspace.api_url}apps.connections.open", headers=headers) as answer:
            url = (await answer.json())["url"]
        async with client.ws_connect(url) as socket:
            assert (await socket.receive_json())["type"] == "hello"
            sending = asyncio.create_task(workspace.open_home(ANA))
            envelope = (await socket.receive_json())["envelope_id"]
            # Bytes count: the letter takes two of them.
            frame = json.dumps({"envelope_id": envelope, "payload": {"text": "ж"}}, ensure_ascii=False)
            await socket.send_str(frame + " " * (FRAME_BYTES - 1 + too_many - len(frame.encode())))
            ack = await sending
            if too_many:
                closed = await socket.receive()
                assert (closed.type, closed.data) == (aiohttp.WSMsgType.CLOSE, 1009)
                assert closed.extra == "Max frame length of 20480 has been exceeded"
                assert workspace.connected == 0
    assert ack.status == (0 if too_many else 200)
    if too_many:
        large, late = workspace.broken_rules
        assert large == "a frame of 20480 bytes: Max frame length of 20480 has been exceeded"
        assert late.startswith("events_api: acknowledged with status 0")
        workspace.broken_rules.clear()


def numbers_file(tmp_path: Path, count: int, label: str) -> Path:
    """A list of numbers whose labels are as long as a label can be, each with a number of its own in front."""
    lines = [f"{n:024x},+61 480 000 {n:03},{n:03} {label:.56}" for n in range(count)]
    path = tmp_path / "numbers.csv"
    path.write_text("id,number,label\n" + "\n".join(lines), encoding="utf-8")
    return path


LATIN, CYRILLIC = (
    "Support line of the campaign in the autumn of last year east",
    "Горячая линия осенней кампании прошлого года восток и запад",
)


@pytest.mark.parametrize("label", [pytest.param(LATIN, id="latin"), pytest.param(CYRILLIC, id="cyrillic")])
async def test_picker_fits_in_a_frame(start: Start, workspace: Workspace, tmp_path: Path, label: str) -> None:
    """The picker offers as many long names as fit in a frame and says so; typing more leads to each of the others."""
    path = numbers_file(tmp_path, 100, label)
    async with start(slack_app_token=APP_TOKEN, numbers_file=str(path)) as bot:
        await workspace.until(lambda: workspace.connected)
        await workspace.command(ANA, NUMBERS, "")
        (shown,) = [n for n in workspace.notes if n.menu is not None]
        offer = await workspace.offer(ANA, shown, label[:20])
        assert 50 <= len(offer.options) < 100
        assert offer.label == f"Showing {len(offer.options)} of 100: type more to narrow it down"
        offered = {option["value"] for option in offer.options}
        hidden = [n for n in range(100) if f"{n:024x}" not in offered]
        for n in hidden:
            (option,) = await workspace.suggestions(ANA, shown, f"0480 000 {n:03}")
            assert option["value"] == f"{n:024x}"
        offer = await workspace.offer(ANA, shown, f"0480 000 {hidden[-1]:03}")
        assert offer.label == ""
        await workspace.choose(ANA, shown, offer.options[0])
        await settled(bot)
        assert public(workspace)[0].buttons
        assert workspace.opened == 1


@pytest.mark.parametrize("socket_mode", [True, False])
@pytest.mark.parametrize("letter", ["&", "😀"])
async def test_history_that_does_not_fit_in_a_frame(
    start: Start, workspace: Workspace, letter: str, socket_mode: bool
) -> None:
    """A history with ten long reasons arrives in full and privately, by the response_url."""
    changes: dict[str, Any] = {"slack_app_token": APP_TOKEN} if socket_mode else {}
    async with start(**changes) as bot:
        await workspace.until(lambda: workspace.connected == socket_mode)
        for n in range(10):
            await workspace.command(BEN, NUMBERS, f"{n:024x} {letter * 200}")
            await settled(bot)
        ack = await workspace.command(ANA, NUMBERS, "history")
        await settled(bot)
        assert (ack.status, ack.body) == (200, "")
        (line,) = [n for n in workspace.notes if n.to == ANA]
        assert workspace.opened == socket_mode
    reasons = text_of(line).replace("&amp;", "&")
    assert reasons.count(f"Reason: {letter * 200}") == 10
    assert line.text.replace("&amp;", "&").count(f"Reason: {letter * 200}") == 10


@pytest.mark.parametrize("large", [True, False])
async def test_last_defence_against_a_large_frame(
    start: Start, workspace: Workspace, capsys: pytest.CaptureFixture[str], large: bool
) -> None:
    """An ack that is too large after all is replaced by an empty one and logged, so that the socket stays open."""
    said = {"text": "x" * (20_000 if large else 10_000)}

    async def answer(_payload: dict[str, Any], send: Send) -> bool:
        await send(BoltResponse(status=200, body=said))
        return True

    # The bot itself makes no such answer, so here its socket gets one of the test.
    async with start() as bot:
        socket = Socket(bot.slack, APP_TOKEN, answer, lambda _connections: None)
        await socket.connect(await bot.slack.open_socket(APP_TOKEN))
        await workspace.until(lambda: workspace.connected)
        ack = await workspace.open_home(ANA)
        assert workspace.opened == workspace.connected == 1
        await socket.close()
    assert ack.body == ("" if large else json.dumps(said))
    assert ('"event": "ack_too_large"' in capsys.readouterr().out) is large


async def test_ack_waits_for_no_reconnect(
    start: Start, workspace: Workspace, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A socket that breaks before the ack and comes back slowly holds up no work that follows the ack."""
    monkeypatch.setattr("bot.receivers.socket_mode.ACK_LIMIT", 0.2)
    monkeypatch.setattr("bot.ops.health.PING_EVERY", 0.2)
    given_up, reconnecting = asyncio.Event(), asyncio.Event()

    async def step(now: str) -> None:
        if now == "before apps.connections.open":
            reconnecting.set()

    async def answer(_payload: dict[str, Any], send: Send) -> bool:
        workspace.faults["socket"].append("hang")
        workspace.on_step = step
        await workspace.drop_sockets()
        await reconnecting.wait()
        await send(BoltResponse(status=200, body=""))
        given_up.set()
        return True

    async with start() as bot:
        socket = Socket(bot.slack, APP_TOKEN, answer, lambda _connections: None)
        await socket.connect(await bot.slack.open_socket(APP_TOKEN))
        await workspace.until(lambda: workspace.connected)
        await workspace.open_home(ANA)
        assert given_up.is_set()
        await socket.close()
    assert workspace.broken_rules.pop().startswith("events_api: acknowledged with status 0")
    assert '"event": "ack_not_sent"' in capsys.readouterr().out


@pytest.mark.parametrize("kind", ["event", "menu"])
async def test_unreadable_envelope_is_acknowledged(start: Start, workspace: Workspace, kind: str) -> None:
    """What the bot cannot read is acknowledged, or Slack would deliver it again; a menu gets no options."""
    payload: dict[str, dict[str, Any]] = {
        "event": {"type": "event_callback", "event": {"type": 7}},
        "menu": {"type": "block_suggestion", "action_id": "pick_number", "value": "x", "user": {}},
    }
    async with start(slack_app_token=APP_TOKEN):
        await workspace.until(lambda: workspace.connected)
        ack = await workspace.send("events_api" if kind == "event" else "interactive", payload[kind])
    assert (ack.status, ack.body) == (200, '{"options": []}' if kind == "menu" else "")

"""The demo's page in a real browser: what a person sees and does there, by mouse and by keyboard, and what breaks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser, Locator, async_playwright, expect
from playwright.async_api import Page as Tab

from bot.errors import StartError
from sandbox import demo as play
from sandbox.bot_process import Shipped, shipped
from sandbox.fake_cellcast import SUCCESS, Cellcast
from sandbox.fake_slack import Workspace
from sandbox.page import Page
from tests.conftest import (
    ANA,
    BEN,
    KEY,
    NUMBERS,
    SIGNING_SECRET,
    THOROUGH,
    TOKEN,
    TestClock,
    card_buttons,
    open_cellcast,
    open_workspace,
)
from tests.process import free_port, start_bot
from tools.screenshot import CHROMIUM, FLAGS

SUPPORT = "+61 480 000 000"
# One browser for all tests, each with a profile of its own: so they share an event loop, also with their fakes.
pytestmark = pytest.mark.asyncio(loop_scope="module")


@dataclass
class Demo:
    """The page in a browser, and what stands behind it."""

    tab: Tab
    page: Page
    bot: Shipped
    workspace: Workspace
    cellcast: Cellcast

    async def type(self, text: str) -> None:
        """Type into the channel and send."""
        await self.tab.get_by_label("Message to #numbers").fill(text)
        await self.tab.get_by_role("button", name="Send").click()

    async def be(self, name: str) -> None:
        """Be somebody else."""
        await self.tab.get_by_role("radio", name=name).check()

    async def click(self, label: str, sure: str | None = None) -> None:
        """Click the newest button of this label, and the one of the dialog that asks again."""
        await self.tab.get_by_role("main").get_by_role("button", name=label, exact=True).last.click()
        if sure:
            await self.tab.get_by_role("dialog").get_by_role("button", name=sure).click()

    def says(self, text: str) -> Locator:
        """The newest message that says this."""
        return self.tab.locator("#messages li").filter(has_text=text).last

    def options(self, **what: str) -> Locator:
        """What the open menu of numbers offers."""
        return self.tab.get_by_role("listbox").get_by_role("option", **what)  # type: ignore[arg-type]

    async def see(self, text: str, seconds: float = 10) -> None:
        """Wait until the channel shows it."""
        await expect(self.says(text)).to_be_visible(timeout=seconds * 1000)


@contextlib.asynccontextmanager
async def stage(workspace: Workspace, cellcast: Cellcast, tmp_path: Path) -> AsyncIterator[tuple[Page, Shipped]]:
    """The shipped bot as a process, and the page's server."""
    numbers = tmp_path / "numbers.csv"
    numbers.write_text(play.LIST)
    settings = {
        "SLACK_BOT_TOKEN": TOKEN,
        "SLACK_SIGNING_SECRET": SIGNING_SECRET,
        "CELLCAST_API_KEY": KEY,
        "ALLOWED_USERS": f"{ANA},{BEN}",
        "NUMBERS_FILE": str(numbers),
        "CELLCAST_TIMEOUT_SECONDS": "2",
        "CONFIRM_WITHIN_SECONDS": "120",
        "REASON_EXAMPLE": "OPS-1234 campaign ended",
        "SLACK_API_URL": workspace.api_url,
        "CELLCAST_BASE_URL": cellcast.url,
    }
    cellcast.wire = workspace.wire
    async with shipped(workspace, settings, start_bot) as bot:
        page = Page(workspace, cellcast, bot, NUMBERS, [ANA, BEN])
        await page.start(0)
        try:
            yield page, bot
        finally:
            await page.stop()
            workspace.broken_rules.clear()  # a killed bot answers nothing


@pytest_asyncio.fixture(loop_scope="module")
async def workspace(clock: TestClock) -> AsyncIterator[Workspace]:
    """A workspace of the test's own, on the browser's event loop."""
    async with open_workspace(clock) as space:
        yield space


@pytest_asyncio.fixture(loop_scope="module")
async def cellcast() -> AsyncIterator[Cellcast]:
    """A Cellcast of the test's own, on the browser's event loop."""
    async with open_cellcast() as stand_in:
        yield stand_in


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Browser]:
    """A headless Chromium, Debian's in CI."""
    if CHROMIUM is None:
        if os.environ.get("CI"):
            raise AssertionError("no Chromium: apt-get install chromium-headless-shell")
        pytest.skip("no Chromium: install one, or set CHROMIUM to its path")
    async with async_playwright() as playwright:
        found = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield found
        await found.close()


@pytest_asyncio.fixture(loop_scope="module")
async def demo(browser: Browser, workspace: Workspace, cellcast: Cellcast, tmp_path: Path) -> AsyncIterator[Demo]:
    """The page, opened; no error may come up in its console."""
    async with stage(workspace, cellcast, tmp_path) as (page, bot):
        tab = await browser.new_page(viewport={"width": 1300, "height": 850})
        errors: list[str] = []
        tab.on("pageerror", lambda error: errors.append(str(error)))
        await tab.goto(page.url)
        await tab.get_by_role("radio", name="Ana").wait_for()
        yield Demo(tab, page, bot, workspace, cellcast)
        await tab.close()
        assert errors == []


@THOROUGH
async def test_main_round(demo: Demo) -> None:
    """Ask, confirm in the dialog, read the toast; the side panel shows each step, the ack's time and the ledger."""
    await demo.type(f"/unsubscribe-number {SUPPORT} campaign ended")
    await demo.see(f'Unsubscribe {SUPPORT} "Support line"?')
    assert await demo.tab.get_by_label("Message to #numbers").input_value() == ""
    await demo.be("Ben")
    await demo.click("Unsubscribe Number")
    dialog = demo.tab.get_by_role("dialog", name="Unsubscribe this number?")
    await expect(dialog).to_contain_text(f'{SUPPORT} "Support line" ({play.NUMBER})')
    await dialog.get_by_role("button", name="Go Back").click()
    await demo.click("Unsubscribe Number", sure="Unsubscribe Number")
    await demo.see(SUCCESS)
    await expect(demo.says("Unsubscribed:")).to_contain_text("(edited)")
    await expect(demo.says("Unsubscribed:")).to_contain_text("APP")
    panel = demo.tab.get_by_role("complementary")
    await expect(panel).to_contain_text("1 call reached Cellcast")
    steps = panel.get_by_label("Steps")
    for step in (
        f"Slack → bot: /unsubscribe-number {SUPPORT} campaign ended",
        "Slack → bot: Ben clicks Unsubscribe Number",
        "bot → Cellcast: PUT …/virtual-number/unsubscribe/",
        f"200 {SUCCESS}",
        "bot → Slack: chat.postMessage",
        "ledger: Support line: pending",
        "→ succeeded",
    ):
        await expect(steps).to_contain_text(step)
    acked = steps.locator("li", has_text="clicks Unsubscribe Number")
    await expect(acked).to_contain_text(re.compile(r"acknowledged 200 · \d+ ms"))
    await acked.locator("summary").click()
    await expect(acked.locator("pre")).to_contain_text('"type": "block_actions"')
    await expect(panel.get_by_role("row", name="Support line")).to_contain_text("succeeded")
    assert len(demo.cellcast.calls) == 1


@THOROUGH
async def test_keep(demo: Demo) -> None:
    """Keep Number closes the card without a call, and the requester reads a reply in its thread."""
    await demo.type(f"/unsubscribe-number {SUPPORT}")
    await demo.see("Requested by @Ana")
    await demo.be("Ben")
    await demo.click("Keep Number")
    await demo.see("Kept:")
    await expect(demo.says("@Ana: @Ben kept")).to_contain_text("Reply in the thread")
    await expect(demo.tab.get_by_role("main").get_by_role("button", name="Keep Number")).to_have_count(0)
    assert demo.cellcast.calls == []


@THOROUGH
async def test_expiry(demo: Demo) -> None:
    """A card that still waits gets a reminder in its thread, and closes by itself when its time is over."""
    await set_up(demo, "A reminder 3 seconds before the deadline", "REMIND_BEFORE_SECONDS=3")
    await demo.tab.get_by_label("A card lives").select_option("5 seconds")
    await expect(demo.tab.get_by_label("Steps")).to_contain_text(
        "restarted with CONFIRM_WITHIN_SECONDS=5", timeout=20_000
    )
    await demo.type(f"/unsubscribe-number {SUPPORT}")
    await demo.see("@Ana: +61 480 000 000", seconds=10)
    await demo.see("Expired:", seconds=15)
    await demo.see("@Ana: nobody confirmed")
    assert demo.cellcast.calls == []


@THOROUGH
async def test_wrong_person(demo: Demo) -> None:
    """People without permission get a private reply; the card stays."""
    await demo.type(f"/unsubscribe-number {SUPPORT}")
    await demo.see("Requested by @Ana")
    await demo.be("Gil")
    await demo.click("Unsubscribe Number", sure="Unsubscribe Number")
    await demo.see("You don't have permission to unsubscribe numbers. Ask @Ana or @Ben.")
    await expect(demo.says("You don't have permission")).to_contain_text("Only visible to you")
    await demo.be("Ana")
    await expect(demo.says("You don't have permission")).to_have_count(0)
    await expect(demo.tab.get_by_role("main").get_by_role("button", name="Unsubscribe Number")).to_be_visible()
    assert demo.cellcast.calls == []


@THOROUGH
async def test_second_person(demo: Demo) -> None:
    """With the second person required, who asked is refused and another one confirms."""
    await demo.tab.get_by_label("A second person must confirm").click()
    await expect(demo.tab.get_by_label("Steps")).to_contain_text("REQUIRE_SECOND_PERSON=true", timeout=20_000)
    await demo.type(f"/unsubscribe-number {SUPPORT}")
    await demo.see("Someone other than @Ana must confirm.")
    await demo.click("Unsubscribe Number", sure="Unsubscribe Number")
    await demo.see("You requested this yourself")
    assert demo.cellcast.calls == []
    await demo.be("Ben")
    await demo.click("Unsubscribe Number", sure="Unsubscribe Number")
    await demo.see(SUCCESS)
    assert len(demo.cellcast.calls) == 1


async def set_up(demo: Demo, label: str, setting: str) -> None:
    """Switch a setting on, and wait until the bot has restarted with it."""
    await demo.tab.get_by_label(label).click()  # not check(): the page shows the state that the server tells it
    await expect(demo.tab.get_by_label("Steps")).to_contain_text(f"restarted with {setting}", timeout=20_000)


@THOROUGH
async def test_approver_who_is_mentioned(demo: Demo) -> None:
    """A new card mentions Ben, and only Ben confirms."""
    await set_up(demo, "A new card mentions Ben", f"NOTIFY_USERS={BEN}")
    await set_up(demo, "Only Ben can confirm", f"APPROVERS={BEN}")
    await demo.type(f"/unsubscribe-number {SUPPORT}")
    await demo.see("@Ben: please confirm or keep the number.")
    await demo.click("Unsubscribe Number", sure="Unsubscribe Number")
    await demo.see("You don't have permission to confirm requests. Ask @Ben. You can still click Keep Number.")
    await demo.be("Ben")
    await demo.click("Unsubscribe Number", sure="Unsubscribe Number")
    await demo.see(SUCCESS)
    await expect(demo.says(SUCCESS)).to_contain_text("Requested by @Ana.")
    await expect(demo.tab.get_by_label("Only Ben can confirm")).to_be_checked()


@THOROUGH
async def test_audit_channel(demo: Demo) -> None:
    """With an audit channel, it shows a line for each outcome, with names that are no mentions and a link to the card."""
    await set_up(demo, "An audit channel", "AUDIT_CHANNEL=C0AUDIT")
    await demo.type(f"/unsubscribe-number {SUPPORT}")
    await demo.see("Requested by @Ana")
    await demo.be("Ben")
    await demo.click("Keep Number")
    await demo.tab.get_by_role("button", name="audit", exact=True).click()
    line = demo.tab.get_by_role("log", name="Lines in audit").get_by_role("listitem")
    await expect(line).to_contain_text(f"no call · requested by Ana ({ANA}) · kept by Ben ({BEN})", timeout=10_000)
    await accessible(demo, "audit channel")
    await line.get_by_role("link", name="card").click()
    await expect(demo.says("Kept:")).to_be_in_viewport()


@THOROUGH
async def test_numbers_with_a_warning_and_protected_ones(demo: Demo) -> None:
    """The card and the form warn, and a protected number gets no card."""
    await demo.type("/unsubscribe-number Night service")
    await demo.see("Warning: Emergency calls arrive here at night")
    await demo.click("Unsubscribe Number")
    dialog = demo.tab.get_by_role("dialog", name="Unsubscribe number?")
    await expect(dialog).to_contain_text("Warning: Emergency calls arrive here at night")
    await dialog.get_by_role("button", name="Go Back").click()
    await demo.type("/unsubscribe-number Auckland shop")
    await demo.see("This number is protected in the list of numbers")


@THOROUGH
async def test_cellcast_times_out(demo: Demo) -> None:
    """Without an answer the outcome is unknown, and Try Again makes a second call after a second yes."""
    await demo.tab.get_by_role("button", name="Cellcast times out").click()
    await demo.type(f"/unsubscribe-number {SUPPORT}")
    await demo.click("Unsubscribe Number", sure="Unsubscribe Number")
    await demo.see("Outcome unknown:")
    await expect(demo.tab.get_by_label("Steps")).to_contain_text("no answer")
    await demo.click("Try Again", sure="Try Again")
    await demo.see(SUCCESS)
    assert len(demo.cellcast.calls) == 2


@THOROUGH
async def test_slack_drops_a_message(demo: Demo) -> None:
    """A toast that gets lost on its way is told again; the call is not made again."""
    await demo.type(f"/unsubscribe-number {SUPPORT}")
    await demo.see("Requested by @Ana")
    await demo.tab.get_by_role("button", name="Slack drops a message").click()
    await expect(demo.tab.get_by_role("button", name="Slack drops the next message")).to_be_visible()
    await demo.click("Unsubscribe Number", sure="Unsubscribe Number")
    await demo.see(SUCCESS)
    await expect(demo.tab.get_by_label("Steps")).to_contain_text("dropped")
    await expect(demo.tab.get_by_role("row", name="Support line")).to_contain_text("yes")
    assert len(demo.cellcast.calls) == 1
    assert len([n for n in demo.workspace.notes if n.text.startswith(SUCCESS)]) == 1


@THOROUGH
async def test_kill_and_restart(demo: Demo) -> None:
    """A bot that is killed during the call comes back, calls the outcome unknown, and does not call again."""
    await demo.tab.get_by_label("Cellcast answers next").select_option("fine, after 4 s")
    await demo.type(f"/unsubscribe-number {SUPPORT}")
    await demo.click("Unsubscribe Number", sure="Unsubscribe Number")
    await expect(demo.tab.get_by_label("Steps")).to_contain_text("bot → Cellcast: PUT")
    await demo.tab.get_by_role("button", name="Kill and restart the bot").click()
    await expect(demo.tab.get_by_text("The bot is down")).to_be_visible()
    await expect(demo.tab.get_by_text("The bot runs")).to_be_visible(timeout=20_000)
    await demo.see("The bot was interrupted during the call to Cellcast and did not get the answer.", seconds=20)
    assert len(demo.cellcast.calls) == 1


@THOROUGH
async def test_two_clicks_at_once(demo: Demo) -> None:
    """Of two clicks at the same moment one makes the call; the other person reads who was first."""
    await demo.tab.get_by_role("button", name="Two people click").click()
    await expect(demo.tab.get_by_role("status")).to_have_text("This is no longer there.")
    await demo.type(f"/unsubscribe-number {SUPPORT}")
    await demo.see("Requested by @Ana")
    await demo.tab.get_by_role("button", name="Two people click").click()
    await demo.see(SUCCESS)
    assert len(demo.cellcast.calls) == 1
    (told,) = [n for n in demo.workspace.notes if n.to is not None]
    await demo.be("Ana" if told.to == ANA else "Ben")
    await demo.see("already confirmed this")


@THOROUGH
async def test_picker(demo: Demo) -> None:
    """The command alone shows a private menu; typing filters it, and the choice leads to the card."""
    await demo.type("/unsubscribe-number")
    menu = demo.tab.get_by_role("combobox", name="Type a label or a phone number")
    await menu.click()
    await expect(demo.options()).to_have_count(7)
    await menu.fill("nothing of this")
    await expect(demo.options()).to_have_text(["No results"])
    await menu.fill("shop")
    await expect(demo.options()).to_have_count(3)
    await demo.options(name="Perth shop").click()
    await demo.see('Unsubscribe +61 480 000 104 "Perth shop"?')
    await expect(menu).to_have_count(0)
    await demo.type("/unsubscribe-number")
    await menu.fill("perth")
    await expect(demo.options(name="(card open)")).to_be_visible()


@THOROUGH
async def test_typed_digits(demo: Demo) -> None:
    """A number with a warning opens a form: other digits get an error there, the right ones confirm, by keyboard too."""
    await demo.type("/unsubscribe-number Night service")
    await demo.see("Emergency calls arrive here")
    await demo.click("Unsubscribe Number")
    form = demo.tab.get_by_role("dialog", name="Unsubscribe number?")
    digits = form.get_by_label("Type the last 4 digits of +61 480 000 105")
    await expect(digits).to_be_focused()
    await digits.fill("12")
    await form.get_by_role("button", name="Unsubscribe Number").click()
    await expect(form.get_by_role("alert")).to_have_text("Please enter at least 4 characters.")
    await digits.fill("1234")
    await demo.tab.keyboard.press("Enter")
    await expect(form.get_by_role("alert")).to_have_text("These are not the last 4 digits of +61 480 000 105.")
    assert demo.cellcast.calls == []
    axe = await Axe().run(demo.tab)
    assert axe.violations_count == 0, axe.generate_report()
    await digits.fill("0105")
    await demo.tab.keyboard.press("Enter")
    await demo.see(SUCCESS)
    await expect(form).to_be_hidden()
    assert len(demo.cellcast.calls) == 1


@THOROUGH
async def test_request_form(demo: Demo) -> None:
    """With required reasons the command opens a form; what the bot refuses leaves what was entered as it is."""
    await demo.tab.get_by_label("A request needs a reason").click()
    await demo.tab.get_by_text("restarted with REQUIRE_REASON=true").wait_for(timeout=30_000)
    await demo.type("/unsubscribe-number")
    form = demo.tab.get_by_role("dialog", name="Unsubscribe a number")
    await form.get_by_role("combobox", name="Number").fill("Auckland")
    await expect(demo.options()).to_have_count(1)
    await demo.tab.keyboard.press("Enter")
    await form.get_by_role("button", name="Post Card").click()
    await expect(form.get_by_text("Please complete this required field.")).to_be_visible()
    await form.get_by_label("Reason").fill("moved to another line")
    await demo.tab.keyboard.press("Enter")
    await expect(form.get_by_text("This number is protected")).to_be_visible()
    await expect(form.get_by_label("Reason")).to_have_value("moved to another line")
    await form.get_by_role("combobox", name="Number").fill("Melbourne")
    await expect(demo.options(name="Melbourne")).to_have_count(1)
    await demo.tab.keyboard.press("Enter")
    await form.get_by_role("button", name="Post Card").click()
    await expect(form).to_be_hidden()
    await demo.see("Reason: moved to another line")


@THOROUGH
async def test_list_that_changes(demo: Demo) -> None:
    """The owner protects a number after its card, or makes an error in the list: nobody is called, people read why."""
    owner = demo.tab.get_by_label("The list of numbers")
    await demo.type(f"/unsubscribe-number {SUPPORT}")
    await demo.see('Unsubscribe +61 480 000 000 "Support line"?')
    await owner.select_option("protects Support line")
    await demo.click("Unsubscribe Number", sure="Unsubscribe Number")
    await demo.see("The list of numbers has protected this number since the request.")
    await owner.select_option("has an error")
    await demo.type("/unsubscribe-number Perth shop")
    await demo.see("The list of numbers cannot be used")
    await owner.select_option("as it is")
    await demo.type("/unsubscribe-number Perth shop")
    await demo.see('Unsubscribe +61 480 000 104 "Perth shop"?')
    assert demo.cellcast.calls == []


@THOROUGH
async def test_reason_with_a_ticket(demo: Demo) -> None:
    """With a pattern a reason in another format is refused with the example."""
    await demo.tab.get_by_label("A reason begins with a ticket").click()
    await demo.tab.get_by_text("restarted with REASON_PATTERN=OPS").wait_for(timeout=30_000)
    await demo.type(f"/unsubscribe-number {SUPPORT} campaign ended")
    await demo.see("The reason does not match the required format.")
    await demo.type(f"/unsubscribe-number {SUPPORT} OPS-7 campaign ended")
    await demo.see("Reason: OPS-7 campaign ended")


@THOROUGH
async def test_late_form(demo: Demo) -> None:
    """A form that was left open says who was first, and closes."""
    await demo.type("/unsubscribe-number Night service")
    await demo.see("Emergency calls arrive here")
    await demo.click("Unsubscribe Number")
    form = demo.tab.get_by_role("dialog")
    await form.get_by_label("Type the last 4 digits").fill("0105")
    card = next(note for note in demo.workspace.notes if note.buttons)
    await demo.workspace.click(BEN, card, "Keep Number")
    await demo.tab.keyboard.press("Enter")
    await expect(form).to_contain_text("@Ben already clicked Keep Number")
    await form.get_by_role("button", name="Close").click()
    await expect(form).to_be_hidden()
    assert demo.cellcast.calls == []


@THOROUGH
async def test_app_home(demo: Demo) -> None:
    """The App Home shows open requests with their buttons, and what ended; a click in it counts, and a late one is answered."""
    await demo.type(f"/unsubscribe-number {SUPPORT}")
    await demo.see("Requested by @Ana")
    await demo.tab.get_by_role("button", name="Cellcast Numbers").click()
    home = demo.tab.get_by_role("region", name="App Home")
    await expect(home).to_contain_text(f'Unsubscribe {SUPPORT} "Support line"?')
    await expect(home).to_contain_text("Cellcast account: Stand-in Pty Ltd")
    button = card_buttons(demo.workspace, ANA)[0]
    await demo.click("Unsubscribe Number", sure="Unsubscribe Number")
    await expect(home).to_contain_text("Unsubscribed:")
    assert len(demo.cellcast.calls) == 1
    await demo.workspace.click_in_home(ANA, button)
    modal = demo.tab.get_by_role("dialog", name="Cellcast numbers")
    await expect(modal).to_contain_text("already confirmed this")
    await modal.get_by_role("button", name="Close").click()
    await demo.be("Gil")
    await expect(home).to_contain_text("You don't have permission to unsubscribe numbers.")
    await expect(home).not_to_contain_text("Support line")


@THOROUGH
async def test_keyboard_alone(demo: Demo) -> None:
    """The whole round, and the picker, without a mouse."""
    keys = demo.tab.keyboard

    async def tab_to(name: str) -> None:
        for _ in range(60):
            await keys.press("Tab")
            focused = await demo.tab.evaluate(
                "document.activeElement.getAttribute('aria-label') ?? document.activeElement.labels?.[0]?.textContent"
                " ?? document.activeElement.textContent"
            )
            if (focused or "").strip().startswith(name):
                return
        raise AssertionError(f"the keyboard does not reach {name}")

    await tab_to("Message to #numbers")
    await keys.type("/unsubscribe-number")
    await keys.press("Enter")
    await demo.tab.get_by_role("combobox", name="Type a label").wait_for()
    await tab_to("Type a label or a phone number")
    await keys.type("night")
    await expect(demo.options()).to_have_count(1)
    await keys.press("Escape")
    await expect(demo.options()).to_have_count(0)
    await keys.press("ArrowDown")
    await expect(demo.options()).to_have_count(1)
    await keys.press("ArrowDown")
    await keys.press("Enter")
    await demo.see('Unsubscribe +61 480 000 105 "Night service"?')
    # When the picker goes, the page draws the card below it anew, and the button loses the focus.
    await expect(demo.tab.get_by_role("combobox", name="Type a label")).to_have_count(0)
    await tab_to("Unsubscribe Number")
    await keys.press("Enter")
    await demo.tab.get_by_role("dialog").wait_for()
    await keys.type("0105")  # its field has the focus
    await tab_to("Unsubscribe Number")
    await keys.press("Enter")
    await demo.see(SUCCESS)
    assert len(demo.cellcast.calls) == 1


@THOROUGH
async def test_messages_are_grouped(demo: Demo) -> None:
    """Messages that follow each other from one person are one group, with one name in sight; names are heard for each."""
    for text in ("Hello", "Is this <b>bold</b> & fine?"):
        await demo.type(text)
        await demo.see(text)
    first, second = demo.says("Hello"), demo.says("Is this <b>bold</b> & fine?")
    await expect(first.locator(".avatar")).to_have_count(1)
    await expect(second.locator(".avatar")).to_have_count(0)
    await expect(second).to_contain_text("Ana")
    await expect(demo.tab.locator("#messages .day")).to_have_text(["Today"])


async def accessible(demo: Demo, what: str) -> None:
    """No violation of axe-core's rules, in the colours of now and in the others, which stay."""
    for _ in range(2):
        found = await Axe().run(demo.tab)
        told = [f"{v['id']}: {n['html'][:150]}" for v in found.response["violations"] for n in v["nodes"]]
        assert told == [], what
        await demo.tab.get_by_role("button", name=re.compile("Switch to (dark|light) colours")).dispatch_event("click")


@THOROUGH
@pytest.mark.parametrize("width", [1300, 390])
async def test_accessible(demo: Demo, width: int) -> None:
    """axe-core finds no violation: channel, picker, dialog, App Home, faults; light and dark, wide and narrow."""
    await demo.tab.set_viewport_size({"width": width, "height": 800})
    await demo.tab.emulate_media(reduced_motion="reduce")
    await demo.tab.add_style_tag(content=".fresh { animation: none !important }")
    await demo.type("/unsubscribe-number 0480 000 101 campaign ended")
    await demo.click("Keep Number")
    await demo.see("Kept:")
    await demo.type(f"/unsubscribe-number {SUPPORT}")
    await demo.see("Unsubscribe +61")
    await demo.type("/unsubscribe-number")
    await demo.tab.get_by_role("combobox", name="Type a label").click()
    await demo.options().first.wait_for()
    await accessible(demo, "channel with the picker")
    await demo.click("Unsubscribe Number")
    await demo.tab.get_by_role("dialog").wait_for()
    await accessible(demo, "dialog")
    await demo.tab.keyboard.press("Escape")
    await demo.tab.get_by_role("button", name="Cellcast Numbers").click()
    await demo.tab.get_by_role("heading", name="Latest outcomes").wait_for()
    await accessible(demo, "App Home")
    if width < 800:
        await demo.tab.get_by_role("button", name="Behind the scenes").click()
        await accessible(demo, "behind the scenes")
        wide = await demo.tab.evaluate("document.documentElement.scrollWidth")
        assert wide <= width


async def post(page: Page, what: str, **body: Any) -> tuple[int, Any]:
    """Do something on the page without a browser."""
    async with aiohttp.ClientSession() as client, client.post(page.url + what, json=body) as answer:
        return answer.status, await answer.json()


async def test_what_is_not_there_any_more(workspace: Workspace, cellcast: Cellcast, tmp_path: Path) -> None:
    """What the page asks for and is gone, or was never there, is told; and a page that was closed is forgotten."""
    async with stage(workspace, cellcast, tmp_path) as (page, _):
        for what, body in [
            ("click", {"ts": "0", "label": "Keep Number"}),
            ("setting", {"name": "DRY_RUN", "value": "perhaps"}),
            ("setting", {"name": "SLACK_BOT_TOKEN", "value": "x"}),
            ("click_in_home", {"value": "x", "label": "Keep Number"}),
        ]:
            assert await post(page, what, user=ANA, **body) == (409, {"error": "This is no longer there."})
        async with aiohttp.ClientSession() as client, client.get(page.url + "events") as stream:
            await stream.content.readline()
            assert len(page._pages) == 1
        async with asyncio.timeout(5):
            while page._pages:
                await workspace.say(ANA, NUMBERS, "hello")
                await asyncio.sleep(0.01)


async def test_port_that_is_taken(workspace: Workspace, cellcast: Cellcast, tmp_path: Path) -> None:
    """A page that cannot be served is told with the way out; a bot that was never started has nothing to stop."""
    port = free_port()
    numbers = tmp_path / "numbers.csv"
    numbers.write_text(play.LIST)
    bot = Shipped(workspace, {"NUMBERS_FILE": str(numbers)}, tmp_path)
    await bot.stop()
    assert (bot.alive, bot.ledger()) == (False, [])
    first, second = (Page(workspace, cellcast, bot, NUMBERS, [ANA]) for _ in range(2))
    await first.start(port)
    with pytest.raises(StartError, match="Try --port 0"):
        await play._serve(second, port)
    await first.stop()
    await second.stop()

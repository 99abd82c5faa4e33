"""Takes the README's pictures from the demo, which it plays: the page, and each state of a card.

`python tools/screenshot.py [FOLDER]` writes into docs/pictures, or that folder. Needs the extra `test` and a Chromium
(CHROMIUM names it; else it is looked for). Fails where a picture cannot be taken.
"""

from __future__ import annotations

import asyncio
import os
import re
import shutil
import sys
from pathlib import Path

from playwright.async_api import Locator, Page, async_playwright, expect

# The first is Chromium without a window, which needs half of the time that the others take.
BROWSERS = ("chromium-headless-shell", "chromium", "google-chrome")
CHROMIUM = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]
TARGET = Path(__file__).parent.parent / "docs" / "pictures"


async def main(target: Path) -> None:
    """Start the demo, play it, write the pictures."""
    command = [sys.executable, "-m", "bot", "demo", "--port", "0", "--no-browser"]
    demo = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        url = await asyncio.wait_for(_url(demo), 60)
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = await browser.new_page(viewport={"width": 1360, "height": 900}, device_scale_factor=1.5)
            await page.goto(url)
            await Pictures(page, target).take()
            await browser.close()
    finally:
        demo.terminate()
        await demo.wait()


async def _url(demo: asyncio.subprocess.Process) -> str:
    if demo.stdout is None:
        raise RuntimeError("the demo has no output")
    async for line in demo.stdout:
        if found := re.search(rb"http://127\.0\.0\.1:\d+/", line):
            return found[0].decode()
    raise RuntimeError("the demo ended before its page was there")


class Pictures:
    """The demo's page, and where its pictures go."""

    def __init__(self, page: Page, target: Path) -> None:
        self.page, self.target = page, target

    async def take(self) -> None:
        """Play through every state of a card."""
        page = self.page
        await self.card("done", "Unsubscribed:")
        await self.card("toast", "has been unsubscribed successfully")
        await self.type("/unsubscribe-number Spring campaign")
        await self.card("waiting", "Unsubscribe +61 480 000 101")
        await self.type("/unsubscribe-number")
        await page.get_by_role("combobox", name="Type a label").fill("shop")
        await expect(page.get_by_role("listbox").get_by_role("option")).to_have_count(3)
        await page.wait_for_timeout(350)  # it fades in
        await page.screenshot(path=self.target / "demo.png")
        await page.keyboard.press("Escape")
        await self.click("Keep Number")
        await self.card("kept", "Kept:")
        await self.type("/unsubscribe-number Night service")
        await self.card("warning", "Emergency calls arrive here")
        await self.click("Unsubscribe Number")
        await self.form("confirm-form", "Type the last 4 digits")
        await page.get_by_role("button", name="Go Back").click()
        await page.get_by_role("radio", name="Ben").check()
        await self.click("Keep Number")
        await self.card("reply", "@Ana: @Ben kept")
        await page.get_by_role("radio", name="Ana").check()
        await self.end("Autumn campaign", "fine, after 4 s", "under-way", "Unsubscribing +61 480 000 102")
        await self.message("Unsubscribed: +61 480 000 102").wait_for()
        # Of a refusal the message is shown, for it has Cellcast's own words.
        await self.end("Melbourne shop", "unknown number", "refused", "Check in Cellcast that the id is right")
        await self.end("Perth shop", "timeout", "unknown", "You can click Try Again")
        await page.get_by_role("radio", name="Gil").check()
        await self.click("Try Again", sure="Try Again")
        await self.card("wrong-person", "You don't have permission")
        await page.get_by_role("radio", name="Ana").check()
        await page.get_by_role("button", name="Cellcast Numbers").click()
        await page.locator("#home-view").get_by_text("Cellcast account").wait_for()
        await page.locator("#home").screenshot(path=self.target / "home.png")
        await page.get_by_role("button", name="Unsubscribe a number").click()
        await self.form("request-form", "Reason")
        await page.get_by_role("button", name="Cancel").click()
        await page.get_by_role("button", name="numbers", exact=True).click()
        await self.change("A new card mentions Ben", "NOTIFY_USERS=U0BEN")
        await self.change("An audit channel", "AUDIT_CHANNEL=C0AUDIT")
        await self.type('/unsubscribe-number "Support line" moved to another line')
        await self.card("notified", "@Ben: please confirm or keep")
        await page.get_by_label("The list of numbers").select_option("protects Support line")
        await self.click("Unsubscribe Number", sure="Unsubscribe Number")
        await self.card("protected", "Kept: +61 480 000 000")
        await page.get_by_role("button", name="audit", exact=True).click()
        await self.card("audit", "Support line", "#audit-lines")
        await page.get_by_role("button", name="numbers", exact=True).click()
        await page.get_by_label("The list of numbers").select_option("as it is")
        await page.get_by_label("A card lives").select_option("5 seconds")
        await page.get_by_text("CONFIRM_WITHIN_SECONDS=5").wait_for()
        await self.type("/unsubscribe-number Night service")
        await self.card("expired", "Expired:")

    async def change(self, label: str, setting: str) -> None:
        """Check the box of a setting, and wait until the bot runs with it."""
        await self.page.get_by_label(label).check()
        await self.page.get_by_text(f"restarted with {setting}").wait_for()

    async def form(self, name: str, field: str) -> None:
        """The picture of the form that opens."""
        dialog = self.page.get_by_role("dialog")
        await dialog.get_by_label(field).wait_for()
        await self.page.mouse.move(0, 0)
        await dialog.screenshot(path=self.target / f"{name}.png")

    async def type(self, text: str) -> None:
        """Type into the channel."""
        await self.page.get_by_label("Message to #numbers").fill(text)
        await self.page.get_by_role("button", name="Send").click()

    async def click(self, label: str, sure: str = "") -> None:
        """Click the newest button of this label, and that of the dialog."""
        await self.page.get_by_role("main").get_by_role("button", name=label, exact=True).last.click()
        if sure:
            await self.page.get_by_role("dialog").get_by_role("button", name=sure).click()

    async def end(self, label: str, answer: str, name: str, says: str) -> None:
        """Ask for a number, let Cellcast answer so, and take the card's picture."""
        await self.page.get_by_label("Cellcast answers next").select_option(answer)
        await self.type(f"/unsubscribe-number {label}")
        await self.message(f'"{label}"?').wait_for()
        await self.click("Unsubscribe Number", sure="Unsubscribe Number")
        await self.card(name, says)

    def message(self, says: str, of: str = "#messages") -> Locator:
        """The newest message that says this."""
        return self.page.locator(f"{of} li").filter(has_text=says).last

    async def card(self, name: str, says: str, of: str = "#messages") -> None:
        """The picture of one message, without the pointer on it."""
        await self.message(says, of).wait_for()
        await self.page.mouse.move(0, 0)
        await self.page.wait_for_timeout(350)  # it fades in
        await self.message(says, of).locator(".body").screenshot(path=self.target / f"{name}.png")


if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    folder.mkdir(parents=True, exist_ok=True)
    asyncio.run(main(folder))

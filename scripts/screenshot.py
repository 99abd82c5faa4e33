"""Takes the README's picture: the demo page after its first round, and a second request waiting for its yes.

Needs the extra `browser` and a Chromium (CHROMIUM names it; /usr/bin/chromium else).
"""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

from playwright.async_api import Page, async_playwright

OTHER = "66ea98514f0c1a121c76ec99"
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-sync"]


async def main(target: Path) -> None:
    """Start the demo, look at it, write the picture."""
    command = [sys.executable, "-m", "bot", "demo", "--port", "0", "--no-browser"]
    demo = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
    try:
        url = await asyncio.wait_for(_url(demo), 60)
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(
                executable_path=os.environ.get("CHROMIUM", "/usr/bin/chromium"), args=FLAGS
            )
            page = await browser.new_page(viewport={"width": 1000, "height": 640}, device_scale_factor=2)
            await page.goto(url)
            await _show(page)
            await page.screenshot(path=target)
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


async def _show(page: Page) -> None:
    await page.get_by_text("has been unsubscribed successfully").wait_for()
    await page.get_by_label("Message to #numbers").fill(f"/unsubscribe-number {OTHER}")
    await page.get_by_role("button", name="Send").click()
    await page.get_by_role("button", name="Unsubscribe Number").wait_for()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))

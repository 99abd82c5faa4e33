"""Slack's own client judges the fake Slack."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from collections.abc import AsyncIterator

import pytest

from sandbox.fake_slack import Workspace
from tests.conftest import ANA, APP_TOKEN, BEN, NUMBERS, THOROUGH, TOKEN, private, public
from tests.messages import said_by
from tests.process import ROOT

FOLDER = ROOT / "tests" / "third_party"
INSTALLED = shutil.which("node") is not None and (FOLDER / "node_modules").is_dir()
with_node = pytest.mark.skipif(
    not INSTALLED and not os.environ.get("CI"), reason="nox -s third_party installs Bolt for JavaScript"
)


@pytest.fixture
async def bolt(workspace: Workspace) -> AsyncIterator[asyncio.subprocess.Process]:
    """An app on Bolt for JavaScript, connected to the fake workspace by Socket Mode."""
    environment = {"SLACK_BOT_TOKEN": TOKEN, "SLACK_APP_TOKEN": APP_TOKEN, "SLACK_API_URL": workspace.api_url}
    process = await asyncio.create_subprocess_exec(
        *("node", "app.js"),
        env={"PATH": os.environ["PATH"]} | environment,
        cwd=FOLDER,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        await workspace.until(lambda: workspace.connected == 1, seconds=20)
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        said, _ = await process.communicate()
    assert said.decode() == ""


@THOROUGH
@with_node
async def test_bolt_for_javascript_works_with_the_fake(bolt: asyncio.subprocess.Process, workspace: Workspace) -> None:
    """Slack's own client connects, gets a command, a click and an event, and posts, updates, answers and publishes."""
    await workspace.command(ANA, NUMBERS, "x")
    await workspace.until(lambda: "by response_url" in private(workspace, ANA))
    (card,) = public(workspace)
    assert (card.text, len(card.buttons)) == ("card of Bolt", 1)
    await workspace.click(BEN, card, "Go")
    await workspace.until(lambda: bool(workspace.dialogs))
    assert public(workspace)[0].text == "done"
    assert workspace.dialogs[0][0] == BEN
    await workspace.open_home(ANA)
    await workspace.until(lambda: ANA in workspace.homes)
    assert said_by(workspace.homes[ANA]) == "home of Bolt"
    assert bolt.returncode is None

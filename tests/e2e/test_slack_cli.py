"""`slack run` in a checkout: the hooks of .slack/hooks.json, run as the Slack CLI runs them.

The CLI joins the words of a command with single spaces, appends the arguments and passes the line to a shell in the
project's folder (https://docs.slack.dev/tools/slack-cli/reference/hooks). It is in no package index, so it is not run
here itself.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path

from sandbox.fake_slack import Workspace
from tests.conftest import ANA, APP_TOKEN, NUMBERS, THOROUGH, TOKEN
from tests.process import ROOT, clean_environment

HOOKS = json.loads((ROOT / ".slack" / "hooks.json").read_text(encoding="utf-8"))


async def run_hook(name: str, *arguments: str, environment: dict[str, str]) -> asyncio.subprocess.Process:
    """Run a hook as the CLI does, with the Python of this run in the place of the README's."""
    words = [word.replace(".venv/bin/python", sys.executable) for word in HOOKS["hooks"][name].split()]
    return await asyncio.create_subprocess_exec(
        *("sh", "-c", " ".join([*words, *arguments])),
        env=clean_environment(environment),
        cwd=ROOT,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_manifest_hook() -> None:
    """The CLI gets the manifest as one JSON object, although it appends an argument."""
    process = await run_hook("get-manifest", f"--source={ROOT}", environment={})
    out, err = await process.communicate()
    assert (process.returncode, err) == (0, b"")
    assert json.loads(out) == json.loads((ROOT / "bot" / "manifest.json").read_text(encoding="utf-8"))


@THOROUGH
async def test_start_hook(environment: dict[str, str], tmp_path: Path, workspace: Workspace) -> None:
    """The bot starts with the tokens of the CLI, opens its own socket, answers, and stops when the CLI interrupts it."""
    del environment["SLACK_SIGNING_SECRET"], environment["SLACK_BOT_TOKEN"]
    tokens = {
        "SLACK_BOT_TOKEN": TOKEN,
        "SLACK_APP_TOKEN": APP_TOKEN,
        "SLACK_CLI_XOXB": TOKEN,
        "SLACK_CLI_XAPP": APP_TOKEN,
    }
    assert HOOKS["config"]["sdk-managed-connection-enabled"] is True
    process = await run_hook("start", environment=environment | tokens)
    try:
        await workspace.until(lambda: workspace.connected == 1, seconds=60)
        await workspace.command(ANA, NUMBERS, "help")
        process.send_signal(signal.SIGINT)  # the CLI sends it to the shell only
        _, err = await asyncio.wait_for(process.communicate(), 10)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0
    assert b"Traceback" not in err


def test_hooks_use_what_the_readme_installs() -> None:
    """The hooks run the Python that the README's first command makes, and hand over to it, so that a stop reaches it."""
    assert "python3 -m venv .venv" in (ROOT / "README.md").read_text(encoding="utf-8")
    assert HOOKS["hooks"]["start"].startswith("exec .venv/bin/python ")

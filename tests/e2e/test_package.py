"""The package as it is published: built, installed in an empty environment, and used without a checkout."""

from __future__ import annotations

import asyncio
import json
import re
import subprocess
import sys
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from bot import __version__
from sandbox.demo import ANA, BEN
from sandbox.fake_cellcast import SUCCESS
from tests.conftest import OTHER, THOROUGH
from tests.process import ROOT

pytestmark = THOROUGH

UV = str(Path(sys.executable).parent / "uv")
SCRIPT = "cellcast-unsubscribe-bot"
BUTTON = '"text": "Unsubscribe Number"'


def run(*command: str, cwd: Path, **settings: str) -> subprocess.CompletedProcess[str]:
    """Run a program with these settings and no others: neither the checkout nor this environment is on its path."""
    return subprocess.run(  # noqa: S603 - the tests' own choice
        command,
        cwd=cwd,
        env={"PATH": "/usr/bin:/bin", "HOME": str(cwd)} | settings,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def uv(*arguments: str) -> None:
    """Run uv, with this machine's settings for the registry. Raises if it fails."""
    done = subprocess.run([UV, *arguments], cwd=ROOT, capture_output=True, text=True, check=False)  # noqa: S603 - as above
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from the source distribution as the release builds it."""
    folder = tmp_path_factory.mktemp("dist")
    uv("build", "--quiet", "--out-dir", str(folder))
    assert {path.name for path in folder.glob("*.tar.gz")} == {f"cellcast_unsubscribe_bot-{__version__}.tar.gz"}
    return next(folder.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment that holds only the wheel and what it requires, in the locked versions."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    uv("venv", "--quiet", "--python", sys.executable, str(venv))
    locked = ["--no-verify-hashes", "--constraint", "requirements.lock"]
    uv("pip", "install", "--quiet", "--python", str(venv / "bin" / "python"), *locked, str(wheel))
    return venv / "bin"


def test_wheel_holds_the_bot_and_the_demo_only(wheel: Path) -> None:
    """The wheel has the bot, its handlers, and the demo with its page; it has no tests, and is small."""
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"bot", "handlers", "sandbox"}
    pages = {f"sandbox/static/{name}" for name in ("index.html", "app.js", "style.css")}
    assert pages | {"bot/manifest.json"} <= set(names)
    assert wheel.stat().st_size < 400_000


def test_installed_program_needs_no_checkout(installed: Path, tmp_path: Path) -> None:
    """Help, a start without settings, `check` and `setup` say what to type, and name no file of a checkout."""
    script, module = [str(installed / SCRIPT)], [str(installed / "python"), "-m", "bot"]
    for program, name in ((script, SCRIPT), (module, "python -m bot")):
        assert run(*program, "--help", cwd=tmp_path).stdout.startswith(f"usage: {name} ")
    for command in ((), ("check",)):
        done = run(*script, *command, cwd=tmp_path)
        assert (done.returncode, done.stdout) == (2, "")
        assert "  SLACK_BOT_TOKEN is missing.\n" in done.stderr
        assert not re.search(r"\.env\.example|checkout|docs/|Traceback", done.stderr)
    done = run(*script, "setup", cwd=tmp_path)
    assert (done.returncode, done.stderr) == (
        1,
        "`setup` asks questions, so it needs a terminal. Without one, fill in .env by hand.\n",
    )
    settings = {"SLACK_BOT_TOKEN": "xoxb-1", "SLACK_APP_TOKEN": "xapp-1", "CELLCAST_API_KEY": "placeholder"}
    database = {"ALLOWED_USERS": "*", "DATABASE_URL": "postgresql+psycopg://u@127.0.0.1/x"}
    done = run(*script, cwd=tmp_path, **settings, **database)
    assert "install cellcast-unsubscribe-bot[postgres]" in done.stderr
    assert list(tmp_path.iterdir()) == []


async def states(client: aiohttp.ClientSession, page: str) -> AsyncIterator[dict[str, Any]]:
    """Yield what the page shows, whenever it changes."""
    async with client.get(f"{page}events") as stream:
        async for line in stream.content:
            if line.startswith(b"data: "):
                yield json.loads(line.removeprefix(b"data: "))


async def test_demo_of_the_installed_package(installed: Path, tmp_path: Path) -> None:
    """The demo plays its round, serves its page, and takes a command and a click there."""
    process = await asyncio.create_subprocess_exec(
        *(str(installed / SCRIPT), "demo", "--port", "0", "--no-browser"),
        env={"PATH": "/usr/bin:/bin", "HOME": str(tmp_path)},
        cwd=tmp_path,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        assert process.stdout is not None
        async with asyncio.timeout(60), aiohttp.ClientSession(read_bufsize=2**22) as client:
            while not (found := re.search(rb"http://127\.0\.0\.1:\d+/", line := await process.stdout.readline())):
                assert line, (await process.communicate())[1].decode()
            page = found[0].decode()
            for name, holds in (("", "<title>"), ("app.js", "EventSource"), ("style.css", "--danger")):
                async with client.get(page + name) as answer:
                    assert holds in await answer.text()
            typed = {"user": ANA, "text": f"/unsubscribe-number {OTHER}"}
            await client.post(f"{page}type", json=typed, raise_for_status=True)
            clicked = False
            async for state in states(client, page):
                open_cards = [note for note in state["notes"] if BUTTON in json.dumps(note["blocks"])]
                if open_cards and not clicked:
                    click = {"user": BEN, "ts": open_cards[0]["ts"], "label": "Unsubscribe Number"}
                    await client.post(f"{page}click", json=click, raise_for_status=True)
                    clicked = True
                if state["calls"] == 2 and sum(note["text"].startswith(SUCCESS) for note in state["notes"]) == 2:
                    break
    finally:
        process.terminate()
        _, err = await process.communicate()
    assert (process.returncode, err.decode()) == (0, "")

"""python -m bot setup: ask for the tokens one by one, check each one at once, and write .env."""

from __future__ import annotations

import asyncio
import getpass
import json
import os
import sys
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

from dotenv import dotenv_values, set_key

from bot import PROGRAM
from bot.cli.check import believe_signing_secret, prove_bot_token, prove_key
from bot.clients.cellcast import Cellcast
from bot.clients.proxies import require_usable_proxies
from bot.clients.slack import Slack
from bot.errors import BotError, StartError
from bot.secret_files import file_of
from bot.service.startup import open_socket
from bot.settings import MANIFEST, Settings, describe, problem_of

# Opens Slack's page "create an app" with the manifest filled in (https://docs.slack.dev/app-manifests).
CREATE = "https://api.slack.com/apps?new_app=1&manifest_json=" + quote(json.dumps(MANIFEST, separators=(",", ":")))

Prove = Callable[[str], Coroutine[Any, Any, str]]


@dataclass(frozen=True)
class Question:
    """A variable to ask for, and how its value is checked; a secret is never echoed."""

    name: str
    prove: Prove
    secret: bool = True
    optional: bool = False


def setup(path: Path) -> int:
    """Ask, check, and write `path` with mode 600, keeping its other lines; return the exit code.

    Ctrl-C changes nothing. Raise StartError if there is no terminal, or a proxy that the bot cannot use.
    """
    require_usable_proxies()  # otherwise each token would look wrong
    if not sys.stdin.isatty():
        raise StartError("`setup` asks questions, so it needs a terminal. Without one, fill in .env by hand.")
    print("First create the app: open this link, choose your workspace, and click Create.")
    print("Then click Install to Workspace (or Request to Install, if an administrator must approve the app).")
    print(f"\n{CREATE}\n")
    print("Then answer with the values from its pages. Secrets stay invisible while you paste them. Ctrl-C stops.\n")
    known = {name: value for name, value in dotenv_values(path).items() if value}
    try:
        return _finish(path, dict(_answers(known)))
    except (KeyboardInterrupt, EOFError):
        print("\nNothing was written.")
        return 1


def _finish(path: Path, answers: dict[str, str]) -> int:
    write(path, answers)
    print(f"\nWritten to {path}, which only you can read.")
    print(f"Next, `{PROGRAM} check` checks the whole configuration. `{PROGRAM} rehearse` lets Slack check every")
    print(f"message of the bot and posts none. `{PROGRAM}` runs the bot.")
    return 0


def _answers(known: dict[str, str]) -> Iterator[tuple[str, str]]:
    """Yield each variable with its value once it has been checked."""
    socket_mode = False
    for question in (BOT_TOKEN, APP_TOKEN, SIGNING_SECRET, KEY, PEOPLE):
        if file_of(question.name.lower()):  # a value in .env beside it would be ambiguous
            # The path is not shown: it may be the secret itself, set by mistake.
            print(f"{question.name}: {question.name}_FILE names a file for it, which `{PROGRAM} check` checks.\n")
            socket_mode = socket_mode or question is APP_TOKEN
        elif not (socket_mode and question is SIGNING_SECRET):
            value = _ask(question, known)
            socket_mode = socket_mode or (question is APP_TOKEN and bool(value))
            yield question.name, value


def _ask(question: Question, known: dict[str, str]) -> str:
    """Ask until the answer is valid; an empty answer keeps the value in .env."""
    before = known.get(question.name, "")
    hint = " (Enter keeps the current value)" if before else " (Enter: none, HTTP mode)" if question.optional else ""
    print(f"{question.name}: {describe(question.name.lower())}")
    while True:
        read = getpass.getpass if question.secret else input
        value = read(f"  {question.name}{hint}: ").strip() or before
        if not value and question.optional:
            print("  none: Slack's requests are expected at /slack/events")
            return ""
        if not value:
            continue
        if (problem := problem_of(question.name.lower(), value)) is not None:
            print(f"  {question.name} {problem}. Please paste it again.")
            continue
        try:
            print(f"  ok: {asyncio.run(question.prove(value))}\n")
        except BotError as error:
            print(f"  {error} Please paste it again.")
        else:
            return value


def write(path: Path, answers: dict[str, str]) -> None:
    """Write the variables into `path`, which only its owner can read from the first moment on."""
    os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
    path.chmod(0o600)
    for name, value in answers.items():
        set_key(path, name, value, quote_mode="never")
    path.chmod(0o600)


def _address(name: str) -> str:
    """Return the address of Slack or Cellcast: the real one, or a proxy's from the environment."""
    address = os.environ.get(name.upper()) or str(Settings.model_fields[name].default)
    return address.rstrip("/") + ("/" if name == "slack_api_url" else "")


async def _prove_bot_token(token: str) -> str:
    slack = Slack(token, _address("slack_api_url"))
    try:
        return await prove_bot_token(slack, groups=False)
    finally:
        await slack.close()


async def _prove_app_token(token: str) -> str:
    slack = Slack("xoxb-none", _address("slack_api_url"))
    try:
        await open_socket(slack, token)
    finally:
        await slack.close()
    return "a socket can be opened"


async def _prove_key(key: str) -> str:
    cellcast = Cellcast(_address("cellcast_base_url"), key)
    try:
        return await prove_key(cellcast)
    finally:
        await cellcast.close()


async def _believe(_value: str) -> str:
    return "it has the right form"


BOT_TOKEN = Question("SLACK_BOT_TOKEN", _prove_bot_token)
APP_TOKEN = Question("SLACK_APP_TOKEN", _prove_app_token, optional=True)
SIGNING_SECRET = Question("SLACK_SIGNING_SECRET", believe_signing_secret)
KEY = Question("CELLCAST_API_KEY", _prove_key)
PEOPLE = Question("ALLOWED_USERS", _believe, secret=False)

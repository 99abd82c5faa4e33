"""python -m bot [run | setup | check | rehearse | history | delivered | backup | ...]: the command line."""

from __future__ import annotations

import argparse
import asyncio
import errno
import gc
import os
import re
import sys
import threading
import time
from datetime import UTC, datetime
from pathlib import Path

import structlog

from bot import PROGRAM
from bot.errors import BotError, SettingsError

# The disk that standard output goes to is full, or failed.
OUTPUT_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)


def main(arguments: list[str] | None = None) -> int:
    """Run a command and return its exit code: 0 for success, 1 for failure, 2 for invalid settings or arguments."""
    given = _parser().parse_args(arguments)
    try:
        code = COMMANDS[given.do](given)
        sys.stdout.flush()
    except SettingsError as error:
        print(error, file=sys.stderr)
        return 2
    except BotError as error:
        print(error, file=sys.stderr)
        return 1
    except BrokenPipeError:
        # The reader of the output wants no more, as `head` does. Python flushes once more when it exits:
        # https://docs.python.org/3/library/signal.html#note-on-sigpipe
        _discard_output()
        return 0
    except OSError as error:
        if error.errno not in OUTPUT_ERRORS:
            raise
        _discard_output()
        print(f"The output could not be written: {error.strerror}.", file=sys.stderr)
        return 1
    return code


def _discard_output() -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=PROGRAM, description="Unsubscribe Cellcast numbers from Slack.")
    parser.set_defaults(do="run")
    commands = parser.add_subparsers(metavar=" | ".join(COMMANDS))
    commands.add_parser("run", help="run the bot (the default)").set_defaults(do="run")
    commands.add_parser("setup", help="ask for the tokens, check each one, write .env").set_defaults(do="setup")
    commands.add_parser("check", help="check tokens, key, people, channel and database, one line each").set_defaults(
        do="check"
    )
    rehearse = commands.add_parser("rehearse", help="let Slack check every message of the bot, and post none")
    rehearse.set_defaults(do="rehearse")
    rehearse.add_argument(
        "--channel",
        type=_channel,
        metavar="C...",
        help="also post, update and delete one card in this channel, and post and delete a line in AUDIT_CHANNEL; in "
        "Socket Mode also open a socket. Rehearse "
        "before you start the bot, or stop it first: Slack sends a part of people's requests to that socket",
    )
    history = commands.add_parser("history", help="print the record of every request")
    history.set_defaults(do="history")
    history.add_argument("--json", action="store_true", help="one JSON object per line")
    history.add_argument(
        "--since",
        type=_date,
        default=0.0,
        metavar="DATE",
        help="only requests since this day (UTC), such as 2026-01-31",
    )
    delivered = commands.add_parser("delivered", help="close the outcomes of a request that Slack never accepts")
    delivered.set_defaults(do="delivered")
    delivered.add_argument("request", metavar="REQUEST", help="the id of the request, as `history` and the log show it")
    backup = commands.add_parser("backup", help="copy an SQLite database to a new file, also while the bot runs")
    backup.set_defaults(do="backup")
    backup.add_argument("file", type=Path, metavar="FILE", help="the new file, which only you can read")
    restored = commands.add_parser("restored", help="settle what is open in a restored backup, before the bot starts")
    restored.set_defaults(do="restored")
    restored.add_argument(
        "--unmarked",
        action="store_true",
        help="for a database that was restored in a way that leaves no mark: a copied file, a snapshot of a disk",
    )
    prune = commands.add_parser("prune", help="remove old requests from the record, also while the bot runs")
    prune.set_defaults(do="prune")
    prune.add_argument(
        "--before",
        type=_past_day,
        required=True,
        metavar="DATE",
        help="requests whose last event was before this day (UTC), such as 2026-01-31",
    )
    prune.add_argument("--yes", action="store_true", help="remove the requests; without it they are only counted")
    demo = commands.add_parser("demo", help="try the bot in a web page, without Slack or Cellcast")
    demo.set_defaults(do="demo")
    demo.add_argument("--once", action="store_true", help="play one round, then exit: 0 if the toast came, else 1")
    demo.add_argument("--port", type=int, default=8080, help="the page's port (default 8080; 0: any free one)")
    demo.add_argument("--no-browser", action="store_true", help="do not open a browser")
    return parser


def _channel(text: str) -> str:
    if not re.fullmatch("[CG][A-Z0-9]{2,20}", text):
        raise argparse.ArgumentTypeError(
            f"expected a channel's id, which begins with C or G (a channel's name > About > Channel ID), not {text!r}"
        )
    return text


def _date(text: str) -> float:
    """Return the beginning of a day in UTC, in seconds since the epoch."""
    try:
        return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
    except ValueError:
        # argparse would say "invalid _date value" after any other error.
        raise argparse.ArgumentTypeError(f"expected a date such as 2026-01-31, not {text!r}") from None


def _past_day(text: str) -> float:
    """Return the beginning of a day in UTC that is over, in seconds since the epoch."""
    # What ended before that day is at least a day old, so no answer of Cellcast about it can still arrive.
    if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text) and _date(text) <= time.time() - 86_400:
        return _date(text)
    raise argparse.ArgumentTypeError(f"expected a day before today (UTC) such as 2026-01-31, not {text!r}")


def _run(_given: argparse.Namespace) -> int:
    gc.disable()  # what is loaded now stays: collecting it again and again would take a quarter of the start
    try:
        from bot import logging, settings  # noqa: PLC0415 - after the line above

        found = settings.load()
        import uvloop  # noqa: PLC0415 - a wrong setting is reported without loading what only a running bot needs

        from bot import app  # noqa: PLC0415 - likewise
    finally:
        gc.freeze()
        gc.enable()
    logging.configure(found)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(app.run(found, _force_stop_after))


def _say_stop_forced(seconds: float) -> None:
    structlog.get_logger("bot").error("stop_forced", seconds=seconds, why="something hangs")


def _force_stop_after(seconds: float) -> None:
    """End the process if it has not ended by then: something hangs that nothing here can interrupt."""

    def end() -> None:
        # On a thread of its own: if nobody reads the log, another thread may hold the lock of its handler for ever.
        saying = threading.Thread(target=_say_stop_forced, args=(seconds,), daemon=True)
        saying.start()
        saying.join(0.5)
        os._exit(1)

    timer = threading.Timer(seconds, end)
    timer.daemon = True
    timer.start()


def _setup(_given: argparse.Namespace) -> int:
    from bot.cli.setup import setup  # noqa: PLC0415 - as above

    return setup(Path(".env"))


def _check(_given: argparse.Namespace) -> int:
    from bot.cli.check import check  # noqa: PLC0415 - as above
    from bot.settings import load  # noqa: PLC0415 - as above

    return 0 if asyncio.run(check(load())) else 1


def _rehearse(given: argparse.Namespace) -> int:
    from bot.cli.rehearse import rehearse  # noqa: PLC0415 - as above
    from bot.settings import load  # noqa: PLC0415 - as above

    return 0 if asyncio.run(rehearse(load(), given.channel)) else 1


def _history(given: argparse.Namespace) -> int:
    from bot.cli.history import history  # noqa: PLC0415 - as above
    from bot.settings import load  # noqa: PLC0415 - as above

    asyncio.run(history(load(), since=given.since, as_json=given.json))
    return 0


def _delivered(given: argparse.Namespace) -> int:
    from bot.cli.delivered import delivered  # noqa: PLC0415 - as above
    from bot.settings import load  # noqa: PLC0415 - as above

    asyncio.run(delivered(load(), given.request))
    return 0


def _backup(given: argparse.Namespace) -> int:
    from bot.cli.backup import backup  # noqa: PLC0415 - as above
    from bot.settings import load  # noqa: PLC0415 - as above

    backup(load(), given.file)
    return 0


def _restored(given: argparse.Namespace) -> int:
    from bot.cli.restored import restored  # noqa: PLC0415 - as above
    from bot.settings import load  # noqa: PLC0415 - as above

    asyncio.run(restored(load(), unmarked=given.unmarked))
    return 0


def _prune(given: argparse.Namespace) -> int:
    from bot.cli.prune import prune  # noqa: PLC0415 - as above
    from bot.settings import load  # noqa: PLC0415 - as above

    asyncio.run(prune(load(), given.before, yes=given.yes))
    return 0


def _demo(given: argparse.Namespace) -> int:
    try:
        from sandbox import demo  # noqa: PLC0415 - the bot itself never loads the demo
    except ModuleNotFoundError as error:
        if error.name != "sandbox":  # a package that the demo needs is missing: that is another problem
            raise
        raise BotError(
            f"`{PROGRAM} demo` needs the folder sandbox/, which the image does not carry. Run it from a checkout "
            "of the project, or from its package."
        ) from None

    return asyncio.run(demo.demo(once=given.once, port=given.port, browser=not given.no_browser))


COMMANDS = {
    "run": _run,
    "setup": _setup,
    "check": _check,
    "rehearse": _rehearse,
    "history": _history,
    "delivered": _delivered,
    "backup": _backup,
    "restored": _restored,
    "prune": _prune,
    "demo": _demo,
}

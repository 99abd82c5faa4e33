"""Logging: one event per line, as text or JSON, with every secret masked."""

from __future__ import annotations

import json
import logging
import sys
from typing import TextIO
from urllib.parse import quote

import structlog
from pydantic import SecretStr
from sqlalchemy.engine import make_url
from structlog.typing import EventDict, Processor, WrappedLogger

from bot.settings import Settings

MASK = "[secret]"
# A shorter password of the database can be a plain word of the log, such as "bot".
SHORT_PASSWORD = 8


class SecretMask:
    """Replaces each of the bot's secrets anywhere in a log line, including tracebacks, also if it is escaped.

    A short password of the database is masked only in a URL (`:bot@`) and in a connection string (`password=bot`).
    """

    def __init__(self) -> None:
        self._masks: list[tuple[str, str]] = []

    def set(self, settings: Settings) -> None:
        """Mask the secrets in the settings, and forget all others."""
        password = database_password(settings)
        found = {form: MASK for secret in tokens(settings) for form in _forms(secret)}
        if len(password) >= SHORT_PASSWORD:
            found |= dict.fromkeys(_forms(password), MASK)
        elif password:
            found |= {f":{form}@": f":{MASK}@" for form in _forms(password)}
            found |= {f"password={form}": f"password={MASK}" for form in _forms(password)}
        self._use(found)

    def add(self, secret: str) -> None:
        """Mask one more secret from now on."""
        self._use(dict(self._masks) | dict.fromkeys(_forms(secret), MASK))

    def _use(self, found: dict[str, str]) -> None:
        # The longest first: a secret can be part of another. Another thread may be masking a line with the list before.
        self._masks = sorted(found.items(), key=lambda item: len(item[0]), reverse=True)

    def __call__(self, _logger: WrappedLogger, _method: str, rendered: EventDict) -> str:
        """Mask the rendered line, so that no secret can hide in a nested value."""
        line = str(rendered)
        for secret, mask in self._masks:
            line = line.replace(secret, mask)
        return line


# One for the process, like its logging.
mask = SecretMask()


def _forms(secret: str) -> set[str]:
    """Return a secret as it can appear in a line: plain, in a URL, and escaped up to three times as JSON or by repr."""
    found = {secret, quote(secret, safe=""), quote(secret, safe=" +")}  # the last is SQLAlchemy's
    for _ in range(3):
        # repr escapes ' only if the whole string has both sorts of quotation marks.
        found |= {escaped for f in found for escaped in (json.dumps(f)[1:-1], repr(f)[1:-1], repr(f + "'\"")[1:-4])}
    return found


def configure(settings: Settings, stream: TextIO = sys.stderr) -> None:
    """Log the bot's own events and those of its libraries to `stream`, in one format."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.stdlib.ExtraAdder(),
    ]
    as_text = settings.log_format == "text" or (settings.log_format == "auto" and stream.isatty())
    render: list[Processor] = (
        [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]
        if as_text
        else [structlog.processors.format_exc_info, structlog.processors.JSONRenderer()]
    )
    mask.set(settings)
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared,
        processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render, mask],
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(formatter)
    logging.basicConfig(handlers=[handler], level=settings.log_level, force=True)
    # Below WARNING the libraries log headers and people's whole messages.
    for library in ("slack_sdk", "slack_bolt", "aiohttp", "httpx", "httpcore", "asyncio", "sqlalchemy"):
        logging.getLogger(library).setLevel(max(logging.WARNING, logging.getLevelNamesMapping()[settings.log_level]))
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )


def tokens(settings: Settings) -> list[str]:
    """Return the tokens and keys in the settings."""
    found: list[SecretStr | None] = [
        settings.slack_bot_token,
        settings.slack_app_token,
        settings.slack_signing_secret,
        settings.cellcast_api_key,
    ]
    return [s.get_secret_value() for s in found if s is not None]


def database_password(settings: Settings) -> str:
    """Return the password in DATABASE_URL; empty if it has none."""
    return str(make_url(settings.database_url).password or "")

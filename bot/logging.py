"""Logging: one event per line, as text or JSON, with every secret masked."""

from __future__ import annotations

import logging
import sys
from typing import TextIO

import structlog
from pydantic import SecretStr
from sqlalchemy.engine import make_url
from structlog.typing import EventDict, Processor, WrappedLogger

from bot.settings import Settings

MASK = "[secret]"


class MaskSecrets:
    """Replace each of the bot's secrets anywhere in a log line, including tracebacks."""

    def __init__(self, secrets: list[str]) -> None:
        self._secrets = sorted(secrets, key=len, reverse=True)

    def __call__(self, _logger: WrappedLogger, _method: str, rendered: EventDict) -> str:
        """Mask the rendered line, so that no secret can hide in a nested value."""
        line = str(rendered)
        for secret in self._secrets:
            line = line.replace(secret, MASK)
        return line


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
    mask = MaskSecrets(secrets(settings))
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


def secrets(settings: Settings) -> list[str]:
    """Return every secret in the settings, including the password of the database."""
    found: list[SecretStr | None] = [
        settings.slack_bot_token,
        settings.slack_app_token,
        settings.slack_signing_secret,
        settings.cellcast_api_key,
    ]
    password = make_url(settings.database_url).password
    return [s.get_secret_value() for s in found if s is not None] + ([str(password)] if password else [])

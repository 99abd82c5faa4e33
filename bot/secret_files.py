"""Settings such as CELLCAST_API_KEY_FILE: secrets in files, as Docker, Kubernetes and systemd pass them."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dotenv import dotenv_values
from pydantic import Field, ValidationInfo, field_validator, model_validator
from pydantic_settings import BaseSettings

FROM_FILES = ("slack_bot_token", "slack_app_token", "slack_signing_secret", "cellcast_api_key", "database_url")
# No token, key or address is this long. A wrong path could lead to a file that fills the memory.
MAX_BYTES = 65_536


@dataclass(frozen=True)
class _FromFile:
    """Replaces a value until it is validated, so that a bad file is reported like any other invalid value."""

    path: Path
    is_ambiguous: bool  # the value itself is set too


def _file_of(name: str) -> Any:
    return Field(
        default=None,
        description=f"A file that holds {name}, which must then be unset",
        json_schema_extra={"expected": "an absolute path, or one in the folder where you start the bot"},
    )


class SecretFiles(BaseSettings):
    """The settings that name a file. The value in it becomes the setting that it belongs to."""

    slack_bot_token_file: Path | None = _file_of("SLACK_BOT_TOKEN")
    slack_app_token_file: Path | None = _file_of("SLACK_APP_TOKEN")
    slack_signing_secret_file: Path | None = _file_of("SLACK_SIGNING_SECRET")
    cellcast_api_key_file: Path | None = _file_of("CELLCAST_API_KEY")
    database_url_file: Path | None = _file_of("DATABASE_URL")

    @model_validator(mode="before")
    @classmethod
    def _find_files(cls, given: dict[str, Any]) -> dict[str, Any]:
        found = dict(given)
        for name in FROM_FILES:
            if path := given.get(f"{name}_file"):
                found[name] = _FromFile(Path(path), is_ambiguous=given.get(name) is not None)
                found[f"{name}_file"] = Path(path).absolute()
        return found

    @field_validator(*FROM_FILES, mode="before", check_fields=False)
    @classmethod
    def _read_file(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, _FromFile):
            return value
        variable = f"{info.field_name}_file".upper()
        if value.is_ambiguous:
            raise ValueError(f"{variable} is set too. Unset one of them")
        try:
            return read(value.path)
        except ValueError as error:
            # A relative path may be the secret itself, set by mistake.
            path = value.path if value.path.is_absolute() else "a relative path"
            raise ValueError(f"{variable} names {path}, which {error}") from None


def read(path: Path) -> str:
    """Return the text of a secret's file without one line break at its end.

    Raise ValueError with the end of a sentence about the file, which says nothing of its content.
    """
    try:
        is_file = stat.S_ISREG(path.stat().st_mode)
        content = b""
        if is_file:  # a pipe could keep the bot waiting
            with path.open("rb") as file:
                content = file.read(MAX_BYTES + 1)
        text = content.decode()
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise ValueError("is not UTF-8 text") from None
    if not is_file:
        raise ValueError("is not a regular file")
    if len(content) > MAX_BYTES:
        raise ValueError(f"has more than {MAX_BYTES} bytes")
    value = text[:-2] if text.endswith("\r\n") else text.removesuffix("\n")
    if not value:
        raise ValueError("is empty")
    return value


def file_of(name: str) -> Path | None:
    """Return the file that holds a setting, as the environment or .env names it."""
    value, _ = _look_up(f"{name}_file")
    return Path(value).absolute() if value else None


def origin(name: str) -> str:
    """Return where a setting comes from, without its value: a file, the environment, .env, or its default."""
    path = file_of(name)
    return f"the file {path}" if path else _look_up(name)[1]


def _look_up(variable: str) -> tuple[str, str]:
    """Return a variable's value and its place, as the settings find it: an empty one is not set."""
    places: dict[str, Mapping[str, str | None]] = {"the environment": os.environ, ".env": dotenv_values(".env")}
    for place, values in places.items():
        for name, value in values.items():
            if name.lower() == variable and value:
                return value, place
    return "", "its default"

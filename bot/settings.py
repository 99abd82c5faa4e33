"""The environment (and `.env`) becomes Settings; everything missing or wrong is told in one message."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from bot.errors import SettingsError

EVERYONE = "*"
APP_PAGE = "api.slack.com/apps > your app"

# What `python -m bot setup` creates the app from, and `check` compares the token's scopes with.
MANIFEST: dict[str, Any] = json.loads((Path(__file__).parent / "manifest.json").read_text(encoding="utf-8"))

Ids = Annotated[frozenset[str], NoDecode]


class Settings(BaseSettings):
    """What the operator decided. Seconds are seconds; ids are Slack's own (U..., W..., C..., D..., G..., T...).

    A field's description says what the variable should be and where to get it: the start's message, `.env.example`
    and the README say the same.
    """

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True)

    slack_bot_token: SecretStr = Field(
        description=f"the bot token, begins with xoxb-; {APP_PAGE} > OAuth & Permissions"
    )
    slack_app_token: SecretStr | None = Field(
        default=None,
        description=f"the app-level token for Socket Mode, begins with xapp-; {APP_PAGE} > Basic Information > "
        "App-Level Tokens, scope connections:write",
    )
    slack_signing_secret: SecretStr | None = Field(
        default=None,
        validate_default=True,
        description="the signing secret, 32 hexadecimal digits, needed where SLACK_APP_TOKEN is unset; "
        f"{APP_PAGE} > Basic Information > App Credentials",
    )
    cellcast_api_key: SecretStr = Field(description="the Cellcast API key; your Cellcast account > API keys")
    allowed_users: Ids = Field(
        description="comma-separated ids of the people (U... or W...) and user groups (S...) who may ask and confirm, "
        "or * for everyone in the workspace; a Slack profile > More > Copy member ID"
    )
    allowed_channels: Ids = Field(
        default=frozenset({EVERYONE}),
        description="comma-separated channel ids (C..., G... or D...) where it may be used, or * for all; a channel's "
        "name > About > Channel ID",
    )
    allowed_teams: Ids = Field(
        default=frozenset(),
        description="comma-separated workspace ids (T... or E...) whose members count; unset: the bot's own",
    )
    require_second_person: bool = Field(
        default=False, description="true: the person who asked can keep but not confirm; true or false"
    )
    confirm_within_seconds: int = Field(
        default=900, ge=1, le=86_400, description="how long a card can be confirmed; a whole number from 1 to 86400"
    )
    cellcast_timeout_seconds: float = Field(
        default=20,
        gt=0,
        le=300,
        description="the whole call, connect to last byte; a number above 0, at most 300",
    )
    database_url: str = Field(
        default="sqlite:///unsubscribe.db",
        description="an SQLAlchemy URL: sqlite:///FILE, or postgresql+psycopg://USER:PASSWORD@HOST/NAME where several "
        "copies run (needs the extra postgres)",
    )
    numbers_file: Path | None = Field(
        default=None,
        description="a CSV file `id,number,label` that gives ids a phone number and a name; read again when it changes",
    )
    dry_run: bool = Field(default=False, description="true: everything but the call; true or false")
    host: str = Field(default="127.0.0.1", description="where the web server listens")
    port: int = Field(default=3000, ge=0, le=65_535, description="the web server's port; a whole number up to 65535")
    slack_api_url: str = Field(
        default="https://slack.com/api/", description="Slack's API, for stand-ins and proxies; a http(s) URL"
    )
    cellcast_base_url: str = Field(
        default="https://api.cellcast.com",
        description="Cellcast's API, for stand-ins and proxies; a http(s) URL",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="DEBUG, INFO, WARNING or ERROR"
    )
    log_format: Literal["auto", "text", "json"] = Field(
        default="auto", description="text, json, or auto: text on a terminal, json elsewhere"
    )

    @property
    def socket_mode(self) -> bool:
        """Socket Mode where there is an app-level token, HTTP else."""
        return self.slack_app_token is not None

    @field_validator("slack_bot_token", "slack_app_token")
    @classmethod
    def _token(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        prefix = "xoxb-" if info.field_name == "slack_bot_token" else "xapp-"
        if value is not None and not re.fullmatch(rf"{prefix}[A-Za-z0-9-]+", value.get_secret_value()):
            raise ValueError(f"does not look like one (it begins with {prefix})")
        return value

    @field_validator("slack_signing_secret")
    @classmethod
    def _signing_secret(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        # A wrong SLACK_APP_TOKEN is told by itself: then it is not known whether this one is needed.
        if value is None and info.data.get("slack_app_token", value) is None and "slack_app_token" in info.data:
            raise ValueError("is missing (or set SLACK_APP_TOKEN for Socket Mode)")
        if value is not None and not re.fullmatch(r"[0-9a-fA-F]{32}", value.get_secret_value()):
            raise ValueError("does not look like one")
        return value

    @field_validator("cellcast_api_key")
    @classmethod
    def _key(cls, value: SecretStr) -> SecretStr:
        # It becomes a header: a line break or a stray quote mark would break the call, not the start.
        if not re.fullmatch(r"[!-~]{8,}", value.get_secret_value()):
            raise ValueError("does not look like one (it holds no spaces and is at least 8 characters long)")
        return value

    @field_validator("allowed_users", "allowed_channels", "allowed_teams", mode="before")
    @classmethod
    def _ids(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            return value
        ids = frozenset(part.strip() for part in value.split(",") if part.strip())
        shape = {"allowed_users": "[UWS]", "allowed_channels": "[CGD]", "allowed_teams": "[TE]"}[info.field_name or ""]
        wrong = sum(i != EVERYONE and not re.fullmatch(rf"{shape}[A-Z0-9]{{2,20}}", i) for i in ids)
        if wrong:
            raise ValueError(f"holds {wrong} of {len(ids)} parts that are no ids")
        if not ids or (EVERYONE in ids and (len(ids) > 1 or info.field_name == "allowed_teams")):
            raise ValueError("is empty" if not ids else "holds * where it does not belong")
        return ids

    @field_validator("require_second_person")
    @classmethod
    def _second_person(cls, value: bool, info: ValidationInfo) -> bool:
        people = info.data.get("allowed_users", frozenset({EVERYONE}))
        if value and len(people) == 1 and not people & {EVERYONE} and not any(p.startswith("S") for p in people):
            raise ValueError("leaves nobody who could confirm: ALLOWED_USERS holds one person")
        return value

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: str) -> str:
        try:
            url = make_url(value)
        except ArgumentError:
            raise ValueError("is no SQLAlchemy URL") from None
        if url.drivername == "sqlite":
            if url.database in (None, "", ":memory:"):
                raise ValueError("names no file: what is kept in memory is lost with the process")
        elif url.drivername != "postgresql+psycopg":
            raise ValueError("is neither sqlite:/// nor postgresql+psycopg://")
        elif importlib.util.find_spec("psycopg") is None:
            raise ValueError("needs the extra postgres: pip install 'cellcast-unsubscribe-bot[postgres]'")
        return value

    @field_validator("slack_api_url", "cellcast_base_url")
    @classmethod
    def _url(cls, value: str, info: ValidationInfo) -> str:
        if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", value):
            raise ValueError("is no http(s) URL")
        return value.rstrip("/") + "/" if info.field_name == "slack_api_url" else value.rstrip("/")


def fault_of(name: str, value: str) -> str | None:
    """What is wrong with one variable's value by itself, without the value; None where it is fine."""
    placeholders = {"slack_bot_token": "xoxb-1", "slack_app_token": "xapp-1", "cellcast_api_key": "placeholder"}
    try:
        Settings(_env_file=None, **placeholders | {"allowed_users": EVERYONE, name: value})  # type: ignore[arg-type]
    except ValidationError as error:
        wrong = [fault for fault in error.errors(include_input=False, include_url=False) if fault["loc"] == (name,)]
        return str(wrong[0]["ctx"]["error"]) if wrong else None
    return None


def load(**given: object) -> Settings:
    """Read the settings from the environment and `.env` (a real environment variable wins).

    Raises SettingsError with one line for each variable that is missing or wrong; no value is shown, for it may be
    a secret.
    """
    try:
        return Settings(**given)  # type: ignore[arg-type]  # the fields come from the environment
    except ValidationError as error:
        lines = ["The settings are not right. Put these into .env or the environment:", ""]
        for fault in error.errors(include_input=False, include_url=False):
            name = str(fault["loc"][0])
            problem = _PROBLEMS.get(fault["type"], "is not what it should be")
            if fault["type"] == "value_error":
                problem = str(fault["ctx"]["error"])
            lines.append(f"  {name.upper()} {problem}.")
            lines.append(f"      It should be {Settings.model_fields[name].description}.")
        raise SettingsError("\n".join(lines)) from None


_PROBLEMS = {"missing": "is missing"}

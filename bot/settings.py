"""Read the settings from the environment and `.env`; one error lists everything that is missing or invalid."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_core import ErrorDetails, PydanticCustomError
from pydantic_settings import NoDecode, SettingsConfigDict
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from bot.domain import reasons
from bot.errors import SettingsError
from bot.secret_files import FROM_FILES, SecretFiles

EVERYONE = "*"
MAX_NOTIFIED = 50
MAX_EXAMPLE = 100
APP_PAGE = "api.slack.com/apps > your app"

# What `python -m bot setup` creates the app from, and `check` compares the token's scopes with.
MANIFEST: dict[str, Any] = json.loads((Path(__file__).parent / "manifest.json").read_text(encoding="utf-8"))

Ids = Annotated[frozenset[str], NoDecode]


class Settings(SecretFiles):
    """What the operator decided. Durations are in seconds; ids are Slack's own (U..., W..., C..., D..., G..., T...).

    `description` says what a variable is for, `expected` which values it takes, `source` where to find the value: start
    errors, `setup` and the table of settings use the same words.
    """

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True, hide_input_in_errors=True
    )

    slack_bot_token: SecretStr = Field(
        description="The bot token",
        json_schema_extra={"expected": "a token that begins with xoxb-", "source": f"{APP_PAGE} > OAuth & Permissions"},
    )
    slack_app_token: SecretStr | None = Field(
        default=None,
        description="The app-level token, with the scope connections:write. If it is set, the bot uses Socket Mode",
        json_schema_extra={
            "expected": "a token that begins with xapp-",
            "source": f"{APP_PAGE} > Basic Information > App-Level Tokens",
        },
    )
    slack_signing_secret: SecretStr | None = Field(
        default=None,
        validate_default=True,
        description="The signing secret, required in HTTP mode (if SLACK_APP_TOKEN is unset)",
        json_schema_extra={
            "expected": "at least 16 characters without spaces, usually 32 hexadecimal digits",
            "source": f"{APP_PAGE} > Basic Information > App Credentials",
        },
    )
    cellcast_api_key: SecretStr = Field(
        description="The API key of your Cellcast account",
        json_schema_extra={
            "expected": "at least 8 characters without spaces",
            "source": "your Cellcast account > API keys",
        },
    )
    allowed_users: Ids = Field(
        description="Who can request and keep numbers, and confirm if APPROVERS is unset",
        json_schema_extra={
            "expected": "comma-separated ids of people (U... or W...) and user groups (S...), or * for everyone in the "
            "workspace except guests",
            "source": "a Slack profile > More > Copy member ID",
        },
    )
    approvers: Ids | None = Field(
        default=None,
        description="Who can confirm. If it is set, the people of ALLOWED_USERS can only request and keep numbers. If "
        "unset, they can confirm too",
        json_schema_extra={
            "expected": "comma-separated ids of people (U... or W...) and user groups (S...), or * for everyone in the "
            "workspace except guests",
        },
    )
    notify_users: Ids | None = Field(
        default=None,
        description="Who is mentioned on a new card. Each must be able to confirm",
        json_schema_extra={"expected": "up to 50 comma-separated ids of people (U... or W...) and user groups (S...)"},
    )
    allow_guests: bool = Field(
        default=False,
        description="If true, * in ALLOWED_USERS and APPROVERS includes the workspace's guests. A guest whom a list "
        "names is always permitted",
        json_schema_extra={"expected": "true or false"},
    )
    allowed_channels: Ids = Field(
        default=frozenset({EVERYONE}),
        description="Where the bot can be used",
        json_schema_extra={
            "expected": "comma-separated channel ids (C..., G... or D...), or * for every channel",
            "source": "a channel's name > About > Channel ID",
        },
    )
    allowed_teams: Ids = Field(
        default=frozenset(),
        description="The workspaces whose members can use the bot. If unset, only the bot's own",
        json_schema_extra={"expected": "comma-separated workspace ids (T... or E...)"},
    )
    audit_channel: str | None = Field(
        default=None,
        description="A channel that gets one line for each outcome, which mentions nobody",
        json_schema_extra={
            "expected": "a channel id (C... or G...)",
            "source": "a channel's name > About > Channel ID",
        },
    )
    require_second_person: bool = Field(
        default=False,
        description="If true, the requester cannot confirm, only keep the number",
        json_schema_extra={"expected": "true or false"},
    )
    require_reason: bool = Field(
        default=False,
        description="If true, each request needs a reason",
        json_schema_extra={"expected": "true or false"},
    )
    reason_pattern: str | None = Field(
        default=None,
        description="What a reason must look like, from its first to its last character",
        json_schema_extra={"expected": "a regular expression without look-around, such as OPS-[0-9]+ .+"},
    )
    reason_example: str = Field(
        default=reasons.EXAMPLE,
        validate_default=True,
        description="An example of an accepted reason, which the help, the form and refusals show. It must match "
        "REASON_PATTERN",
        json_schema_extra={"expected": "up to 100 characters, with single spaces and without a backtick"},
    )
    confirm_within_seconds: int = Field(
        default=900,
        ge=1,
        le=86_400,
        description="How long a card can be confirmed, and later tried again, in seconds",
        json_schema_extra={"expected": "a whole number from 1 to 86400"},
    )
    remind_before_seconds: int = Field(
        default=0,
        ge=0,
        le=86_400,
        description="How long before its deadline a card that still waits gets one reminder, in seconds. 0 means none",
        json_schema_extra={"expected": "a whole number from 0, and less than CONFIRM_WITHIN_SECONDS"},
    )
    cellcast_timeout_seconds: float = Field(
        default=20,
        gt=0,
        le=300,
        description="The time limit for the whole call to Cellcast, in seconds",
        json_schema_extra={"expected": "a number above 0 and up to 300"},
    )
    database_url: str = Field(
        default="sqlite:///unsubscribe.db",
        description="Where requests are stored. Several replicas need PostgreSQL and the extra `postgres`",
        json_schema_extra={"expected": "sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/NAME"},
    )
    numbers_file: Path | None = Field(
        default=None,
        description="A list that gives ids a phone number and a label, and can warn of numbers and protect them. It is "
        "read again when it changes. While it is missing or has an error, no number can be requested or confirmed",
        json_schema_extra={"expected": "a CSV file with the header id,number,label[,warning][,protected]"},
    )
    dry_run: bool = Field(
        default=False,
        description="If true, everything works except that Cellcast is not called",
        json_schema_extra={"expected": "true or false"},
    )
    host: str = Field(
        default="127.0.0.1",
        description="The address on which the web server listens",
        json_schema_extra={"expected": "an address of this machine, or 0.0.0.0 for all"},
    )
    port: int = Field(
        default=3000,
        ge=0,
        le=65_535,
        description="The port of the web server. 0 picks a free one",
        json_schema_extra={"expected": "a whole number from 0 to 65535"},
    )
    slack_api_url: str = Field(
        default="https://slack.com/api/",
        description="Slack's API. Change it only for a proxy or a fake",
        json_schema_extra={"expected": "a URL that begins with http:// or https://"},
    )
    cellcast_base_url: str = Field(
        default="https://api.cellcast.com",
        description="Cellcast's API. Change it only for a proxy or a fake",
        json_schema_extra={"expected": "a URL that begins with http:// or https://"},
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO",
        description="The lowest level that is logged",
        json_schema_extra={"expected": "DEBUG, INFO, WARNING or ERROR"},
    )
    log_format: Literal["auto", "text", "json"] = Field(
        default="auto",
        description="The format of log lines. auto means text on a terminal and JSON elsewhere",
        json_schema_extra={"expected": "auto, text or json"},
    )

    @property
    def socket_mode(self) -> bool:
        """Whether the bot uses Socket Mode; without an app-level token it uses HTTP."""
        return self.slack_app_token is not None

    @property
    def people_who_confirm(self) -> frozenset[str]:
        """`approvers`, or `allowed_users` if that is unset."""
        return self.approvers or self.allowed_users

    @property
    def reason_rule(self) -> reasons.ReasonRule:
        """What a reason must be like."""
        pattern = None if self.reason_pattern is None else reasons.Pattern(self.reason_pattern)
        return reasons.ReasonRule(self.require_reason, pattern, self.reason_example)

    @property
    def user_groups(self) -> frozenset[str]:
        """The user groups in all lists of people."""
        lists = (self.allowed_users, self.approvers, self.notify_users)
        return frozenset(i for people in lists for i in people or () if i.startswith("S"))

    @field_validator("slack_bot_token", "slack_app_token")
    @classmethod
    def _token(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        if info.field_name == "slack_bot_token" and value and value.get_secret_value().startswith("xoxe"):
            # https://docs.slack.dev/authentication/using-token-rotation
            raise ValueError(
                "a token that begins with xoxe belongs to token rotation, and expires after 12 hours. Create the app "
                "again with the link of `setup`, which turns rotation off, and set its token"
            )
        prefix = "xoxb-" if info.field_name == "slack_bot_token" else "xapp-"
        if value is not None and not re.fullmatch(rf"{prefix}[A-Za-z0-9-]+", value.get_secret_value()):
            raise ValueError
        return value

    @field_validator("slack_signing_secret")
    @classmethod
    def _signing_secret(cls, value: SecretStr | None, info: ValidationInfo) -> SecretStr | None:
        # If SLACK_APP_TOKEN is invalid, that is reported, and nobody knows yet whether this one is needed.
        if value is None and info.data.get("slack_app_token", value) is None and "slack_app_token" in info.data:
            raise PydanticCustomError("missing", "is missing (or set SLACK_APP_TOKEN for Socket Mode)")
        # Anyone who guesses the secret can confirm for everyone, and a short one would be masked everywhere in the log.
        if value is not None and not re.fullmatch(r"[!-~]{16,}", value.get_secret_value()):
            raise ValueError
        return value

    @field_validator("cellcast_api_key")
    @classmethod
    def _key(cls, value: SecretStr) -> SecretStr:
        # The key becomes a header: a line break in it would make every call fail, long after the start.
        if not re.fullmatch(r"[!-~]{8,}", value.get_secret_value()):
            raise ValueError
        return value

    @field_validator("allowed_users", "approvers", "notify_users", "allowed_channels", "allowed_teams", mode="before")
    @classmethod
    def _ids(cls, value: object, info: ValidationInfo) -> object:
        if not isinstance(value, str):
            return value
        ids = frozenset(part.strip() for part in value.split(",") if part.strip())
        shape = {"allowed_channels": "[CGD]", "allowed_teams": "[TE]"}.get(info.field_name or "", "[UWS]")
        wrong = sum(i != EVERYONE and not re.fullmatch(rf"{shape}[A-Z0-9]{{2,20}}", i) for i in ids)
        if wrong:
            raise ValueError(f"{wrong} of {len(ids)} entries are not ids")
        if not ids:
            raise ValueError("the list is empty")
        if EVERYONE in ids and info.field_name in ("allowed_teams", "notify_users"):
            raise ValueError("* is not allowed here")
        if EVERYONE in ids and len(ids) > 1:
            raise ValueError("* cannot be combined with ids")
        return ids

    @field_validator("audit_channel")
    @classmethod
    def _channel(cls, value: str | None) -> str | None:
        if value is not None and not re.fullmatch("[CG][A-Z0-9]{2,20}", value):
            raise ValueError
        return value

    @field_validator("notify_users")
    @classmethod
    def _notified(cls, value: frozenset[str] | None, info: ValidationInfo) -> frozenset[str] | None:
        if value is None:
            return None
        if len(value) > MAX_NOTIFIED:
            raise ValueError(f"it has {len(value)} ids, and a card has room for {MAX_NOTIFIED}")
        approvers = info.data.get("approvers") or info.data.get("allowed_users", frozenset({EVERYONE}))
        # Who belongs to a user group, only Slack knows: `check` asks.
        in_a_group = any(i.startswith("S") for i in approvers)
        others = [i for i in value - approvers if not i.startswith("S") and not in_a_group]
        if others and EVERYONE not in approvers:
            raise ValueError(f"{len(others)} of {len(value)} entries cannot confirm")
        return value

    @field_validator("reason_pattern")
    @classmethod
    def _pattern(cls, value: str | None) -> str | None:
        if value is not None:
            reasons.Pattern(value)  # raises ValueError with the cause
        return value

    @field_validator("reason_example")
    @classmethod
    def _reason_example(cls, value: str, info: ValidationInfo) -> str:
        if not 1 <= len(value) <= MAX_EXAMPLE or "`" in value or value != reasons.clean(value):
            raise ValueError
        pattern = info.data.get("reason_pattern")
        if pattern is not None and not reasons.Pattern(pattern).matches(value):
            raise ValueError("it does not match REASON_PATTERN: set a reason that people can read as an example")
        return value

    @field_validator("remind_before_seconds")
    @classmethod
    def _reminder(cls, value: int, info: ValidationInfo) -> int:
        if value >= info.data.get("confirm_within_seconds", value + 1):
            raise ValueError("it must be less than CONFIRM_WITHIN_SECONDS")
        return value

    @field_validator("require_second_person")
    @classmethod
    def _second_person(cls, value: bool, info: ValidationInfo) -> bool:
        requesters = info.data.get("allowed_users", frozenset({EVERYONE}))
        approvers = info.data.get("approvers") or requesters
        if value and requesters == approvers and len(approvers) == 1 and next(iter(approvers))[0] in "UW":
            names = "ALLOWED_USERS has" if info.data.get("approvers") is None else "ALLOWED_USERS and APPROVERS have"
            raise ValueError(f"nobody could confirm, because {names} only one person")
        return value

    @field_validator("database_url")
    @classmethod
    def _database(cls, value: str) -> str:
        try:
            url = make_url(value)
        except (ArgumentError, ValueError):  # a ValueError can hold a part of the password
            raise ValueError from None
        if not value.isprintable():  # a file with another line would change the name of the database
            raise ValueError
        if url.drivername == "sqlite":
            if url.database in (None, "", ":memory:"):
                raise ValueError("it names no file, and a database in memory would be lost with the process")
            if url.database.startswith("file:"):
                raise ValueError("SQLite's own addresses (file:...) are not supported: use sqlite:///FILE")
        elif url.drivername != "postgresql+psycopg":
            raise ValueError
        elif "@" in (url.host or ""):  # errors of the database name the host
            raise ValueError("each @ in the password must be written as %40")
        elif importlib.util.find_spec("psycopg") is None:
            raise ValueError("PostgreSQL needs the extra postgres: install cellcast-unsubscribe-bot[postgres]")
        return value

    @field_validator("slack_api_url", "cellcast_base_url")
    @classmethod
    def _url(cls, value: str, info: ValidationInfo) -> str:
        if not re.fullmatch(r"https?://[^\s/]+(/\S*)?", value):
            raise ValueError
        return value.rstrip("/") + "/" if info.field_name == "slack_api_url" else value.rstrip("/")


def signing_secret_doubt(secret: str) -> str | None:
    """Return why a signing secret may be wrong; None if it has the usual form.

    Slack documents no form, so the bot starts with another one too.
    """
    if re.fullmatch(r"[0-9a-fA-F]{32}", secret):
        return None
    return (
        "SLACK_SIGNING_SECRET is not 32 hexadecimal digits. If people see dispatch_failed, copy it again from "
        f"{APP_PAGE} > Basic Information > App Credentials"
    )


def describe(name: str) -> str:
    """Return what a setting is for, which values it takes, and where to find its value."""
    field = Settings.model_fields[name]
    source = _extra(name).get("source")
    return f"{field.description}: {_extra(name)['expected']}." + (f" See {source}." if source else "")


def problem_of(name: str, value: str) -> str | None:
    """Return what is wrong with the value of one setting by itself, without showing it; None if it is valid."""
    placeholders = {"slack_bot_token": "xoxb-1", "slack_app_token": "xapp-1", "cellcast_api_key": "placeholder"}
    no_files = dict.fromkeys(f"{each}_file" for each in FROM_FILES)
    try:
        Settings(_env_file=None, **no_files | placeholders | {"allowed_users": EVERYONE, name: value})  # type: ignore[arg-type]
    except ValidationError as error:
        return next((_problem(found) for found in _errors(error) if found["loc"] == (name,)), None)
    return None


def load(**given: object) -> Settings:
    """Read the settings from the environment and `.env` (a real environment variable wins).

    Raise SettingsError with two lines for each variable that is missing or invalid. They show no value, because it may
    be a secret.
    """
    try:
        return Settings(**given)  # type: ignore[arg-type]  # the fields come from the environment
    except ValidationError as error:
        lines = ["The settings are invalid. Correct these variables in .env or the environment:", ""]
        for found in _errors(error):
            name = str(found["loc"][0])
            lines += [f"  {name.upper()} {_problem(found)}.", f"      {describe(name)}"]
        raise SettingsError("\n".join(lines)) from None
    except OSError as error:
        raise SettingsError(
            f".env cannot be read ({error.strerror}). Let the bot's user read it, or start the bot in another folder."
        ) from None


def _errors(error: ValidationError) -> list[ErrorDetails]:
    return error.errors(include_input=False, include_url=False)


def _problem(found: ErrorDetails) -> str:
    """Return the rest of the sentence that begins with the variable's name."""
    if found["type"] == "missing":
        return found["msg"] if found["msg"].startswith("is missing") else "is missing"
    reason = str(found["ctx"]["error"]) if found["type"] == "value_error" else ""
    expected = f"expected {_extra(str(found['loc'][0]))['expected']}"
    return f"is invalid: {reason or expected}"


def _extra(name: str) -> dict[str, Any]:
    extra = Settings.model_fields[name].json_schema_extra
    return extra if isinstance(extra, dict) else {}

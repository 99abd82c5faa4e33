"""Each variable of the environment: what is taken, and what is refused with which words."""

from __future__ import annotations

import builtins
import importlib.util
import re
from pathlib import Path
from typing import Any

import pytest

from bot import settings
from bot.errors import SettingsError

GOOD = {
    "slack_bot_token": "xoxb-1-a",
    "slack_signing_secret": "0" * 32,
    "cellcast_api_key": "a-key-of-some-length",
    "allowed_users": "U0ANA",
}


ROTATED = (
    "a token that begins with xoxe belongs to token rotation, and expires after 12 hours. Create the app again "
    "with the link of `setup`, which turns rotation off, and set its token"
)


def test_defaults() -> None:
    """What is not said is as the documentation says."""
    found = settings.load(**GOOD)
    assert found.allowed_channels == {"*"}
    assert (found.confirm_within_seconds, found.cellcast_timeout_seconds) == (900, 20)
    assert (found.host, found.port, found.dry_run, found.require_second_person) == ("127.0.0.1", 3000, False, False)
    assert found.database_url == "sqlite:///unsubscribe.db"
    assert not found.socket_mode


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("slack_bot_token", "xoxp-1", "expected a token that begins with xoxb-"),
        ("slack_app_token", "xoxb-1", "expected a token that begins with xapp-"),
        ("slack_bot_token", "xoxe-1-a", ROTATED),
        ("slack_bot_token", "xoxe.xoxb-1-a", ROTATED),
        ("slack_app_token", "xoxe.xoxb-1-a", "expected a token that begins with xapp-"),
        ("cellcast_api_key", "with a space", "expected at least 8 characters without spaces"),
        ("cellcast_api_key", "line\nbreak", "expected at least 8 characters without spaces"),
        ("allowed_users", " , ", "the list is empty"),
        ("allowed_users", "@ana", "1 of 1 entries are not ids"),
        ("allowed_users", "*,U0ANA", "* cannot be combined with ids"),
        ("approvers", "@ben", "1 of 1 entries are not ids"),
        ("approvers", "*,U0ANA", "* cannot be combined with ids"),
        ("approvers", ",", "the list is empty"),
        ("notify_users", "*", "* is not allowed here"),
        ("notify_users", "U0BEN,U0ANA", "1 of 2 entries cannot confirm"),
        ("notify_users", ",".join(f"U0P{n}" for n in range(51)), "it has 51 ids, and a card has room for 50"),
        ("remind_before_seconds", "900", "it must be less than CONFIRM_WITHIN_SECONDS"),
        ("remind_before_seconds", "-1", "expected a whole number from 0, and less than CONFIRM_WITHIN_SECONDS"),
        ("allowed_channels", "#numbers", "1 of 1 entries are not ids"),
        ("audit_channel", "#audit", "expected a channel id (C... or G...)"),
        ("audit_channel", "D0DIRECT", "expected a channel id (C... or G...)"),
        ("audit_channel", "C0AUDIT,C0NUMBERS", "expected a channel id (C... or G...)"),
        ("allowed_teams", "*", "* is not allowed here"),
        ("allowed_teams", "home", "1 of 1 entries are not ids"),
        ("allowed_teams", 7, "expected comma-separated workspace ids (T... or E...)"),
        ("require_second_person", "perhaps", "expected true or false"),
        ("require_second_person", "true", "nobody could confirm, because ALLOWED_USERS has only one person"),
        ("confirm_within_seconds", "0", "expected a whole number from 1 to 86400"),
        ("confirm_within_seconds", "abc", "expected a whole number from 1 to 86400"),
        ("cellcast_timeout_seconds", "0", "expected a number above 0 and up to 300"),
        ("database_url", "unsubscribe.db", "expected sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/NAME"),
        ("database_url", "sqlite://", "it names no file, and a database in memory would be lost with the process"),
        (
            "database_url",
            "sqlite:///:memory:",
            "it names no file, and a database in memory would be lost with the process",
        ),
        (
            "database_url",
            "sqlite:///file:x.db?uri=true",
            "SQLite's own addresses (file:...) are not supported: use sqlite:///FILE",
        ),
        ("database_url", "postgresql+psycopg://bot:a@b@host/x", "each @ in the password must be written as %40"),
        (
            "database_url",
            "postgresql+psycopg://bot:a@b:part@127.0.0.1:1/x",
            "expected sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/NAME",
        ),
        ("database_url", "mysql://x/y", "expected sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/NAME"),
        ("dry_run", "maybe", "expected true or false"),
        ("port", "70000", "expected a whole number from 0 to 65535"),
        ("slack_api_url", "slack.com", "expected a URL that begins with http:// or https://"),
        ("cellcast_base_url", "ftp://x", "expected a URL that begins with http:// or https://"),
        ("log_level", "LOUD", "expected DEBUG, INFO, WARNING or ERROR"),
        ("log_format", "xml", "expected auto, text or json"),
    ],
)
def test_invalid_value(name: str, value: Any, says: str) -> None:
    """An invalid value is reported with its variable, the problem and the meaning, and nothing else is."""
    with pytest.raises(SettingsError) as error:
        settings.load(**GOOD | {name: value})
    _, _, *lines = str(error.value).splitlines()
    assert lines == [f"  {name.upper()} is invalid: {says}.", f"      {settings.describe(name)}"]


def test_every_setting_is_described() -> None:
    """Every setting says what it is for and which values it takes, in sentences that end."""
    for name in settings.Settings.model_fields:
        assert re.fullmatch(r"[A-Z].+: .+\.", settings.describe(name))


def test_socket_mode_needs_no_signing_secret() -> None:
    """With an app-level token the signing secret may be missing; without both, one line says so."""
    without = {k: v for k, v in GOOD.items() if k != "slack_signing_secret"}
    assert settings.load(**without, slack_app_token="xapp-1").socket_mode
    with pytest.raises(SettingsError, match=r"SLACK_SIGNING_SECRET is missing \(or set SLACK_APP_TOKEN"):
        settings.load(**without)


def test_token_rotation_is_off_in_the_manifest() -> None:
    """An app that is created from the manifest has tokens that do not expire."""
    assert settings.MANIFEST["settings"]["token_rotation_enabled"] is False


@pytest.mark.parametrize(
    ("secret", "says"),
    [("0123456789abcdefABCDEF0123456789", None), ("sixteen-letters!", "is not 32 hexadecimal digits")],
)
def test_unusual_signing_secret(secret: str, says: str | None) -> None:
    """A signing secret in another form is accepted with a warning that does not show it."""
    assert settings.load(**GOOD | {"slack_signing_secret": secret}).slack_signing_secret is not None
    doubt = settings.signing_secret_doubt(secret)
    assert doubt is None if says is None else says in str(doubt)
    assert secret not in str(doubt)


@pytest.mark.parametrize("secret", ["e", "fifteen-letters", " 0123456789abcdef0123456789abcdef", "with a space in it"])
def test_signing_secret_that_protects_nothing(secret: str) -> None:
    """A signing secret that can be guessed, or was copied with something beside it, is refused and not shown."""
    with pytest.raises(
        SettingsError, match="SLACK_SIGNING_SECRET is invalid: expected at least 16 characters"
    ) as found:
        settings.load(**GOOD | {"slack_signing_secret": secret})
    assert len(secret) == 1 or secret not in str(found.value)


def test_spaces_in_lists_and_slashes_of_addresses() -> None:
    """Lists may hold spaces, addresses may end with a slash or not."""
    found = settings.load(
        **GOOD | {"allowed_users": " U0ANA , W0BEN,", "slack_api_url": "http://s/api", "cellcast_base_url": "http://c/"}
    )
    assert found.allowed_users == {"U0ANA", "W0BEN"}
    assert (found.slack_api_url, found.cellcast_base_url) == ("http://s/api/", "http://c")


def test_env_file_that_cannot_be_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A .env that the bot's user may not read is one plain line; root may read every file, so the reader is replaced."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / ".env").write_text("DRY_RUN=true\n")

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied", ".env")

    monkeypatch.setattr("pydantic_settings.sources.providers.dotenv.dotenv_values", refuse)
    with pytest.raises(SettingsError, match=re.escape(".env cannot be read (Permission denied).")):
        settings.load(**GOOD)


def test_postgres_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PostgreSQL address is taken where psycopg is installed; else the line says what to install."""
    url = "postgresql+psycopg://u:p@h/d"
    assert settings.load(**GOOD, database_url=url).database_url == url
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(SettingsError, match=r"PostgreSQL needs the extra postgres: install cellcast-unsubscribe-bot"):
        settings.load(**GOOD, database_url=url)


def test_secrets_are_not_shown() -> None:
    """Printing the settings shows no secret."""
    found = settings.load(**GOOD)
    assert GOOD["cellcast_api_key"] not in builtins.repr(found)

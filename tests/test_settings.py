"""Each variable of the environment: what is taken, and what is refused with which words."""

from __future__ import annotations

import builtins
import importlib.util
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
        ("slack_bot_token", "xoxp-1", "does not look like one (it begins with xoxb-)"),
        ("slack_app_token", "xoxb-1", "does not look like one (it begins with xapp-)"),
        ("slack_signing_secret", "short", "does not look like one"),
        ("cellcast_api_key", "with a space", "does not look like one"),
        ("cellcast_api_key", "line\nbreak", "does not look like one"),
        ("allowed_users", " , ", "is empty"),
        ("allowed_users", "@ana", "holds 1 of 1 parts that are no ids"),
        ("allowed_users", "*,U0ANA", "holds * where it does not belong"),
        ("allowed_channels", "#numbers", "holds 1 of 1 parts that are no ids"),
        ("allowed_teams", "*", "holds * where it does not belong"),
        ("allowed_teams", "home", "holds 1 of 1 parts that are no ids"),
        ("allowed_teams", 7, "is not what it should be"),
        ("require_second_person", "perhaps", "is not what it should be"),
        ("require_second_person", "true", "leaves nobody who could confirm: ALLOWED_USERS holds one person"),
        ("confirm_within_seconds", "0", "is not what it should be"),
        ("cellcast_timeout_seconds", "0", "is not what it should be"),
        ("database_url", "unsubscribe.db", "is no SQLAlchemy URL"),
        ("database_url", "sqlite://", "names no file"),
        ("database_url", "sqlite:///:memory:", "names no file"),
        ("database_url", "mysql://x/y", "is neither sqlite:/// nor postgresql+psycopg://"),
        ("dry_run", "maybe", "is not what it should be"),
        ("port", "70000", "is not what it should be"),
        ("slack_api_url", "slack.com", "is no http(s) URL"),
        ("cellcast_base_url", "ftp://x", "is no http(s) URL"),
        ("log_level", "LOUD", "is not what it should be"),
        ("log_format", "xml", "is not what it should be"),
    ],
)
def test_wrong_value(name: str, value: Any, says: str) -> None:
    """A wrong value is told by its variable and what it should be, and nothing else is."""
    with pytest.raises(SettingsError) as error:
        settings.load(**GOOD | {name: value})
    _, _, line, should, *others = str(error.value).splitlines()
    assert f"  {name.upper()} {says}" in line
    assert should.startswith("      It should be ")
    assert others == []


def test_socket_mode_needs_no_signing_secret() -> None:
    """With an app-level token the signing secret may be missing; without both, one line says so."""
    without = {k: v for k, v in GOOD.items() if k != "slack_signing_secret"}
    assert settings.load(**without, slack_app_token="xapp-1").socket_mode
    with pytest.raises(SettingsError, match=r"SLACK_SIGNING_SECRET is missing \(or set SLACK_APP_TOKEN"):
        settings.load(**without)


def test_spaces_in_lists_and_slashes_of_addresses() -> None:
    """Lists may hold spaces, addresses may end with a slash or not."""
    found = settings.load(
        **GOOD | {"allowed_users": " U0ANA , W0BEN,", "slack_api_url": "http://s/api", "cellcast_base_url": "http://c/"}
    )
    assert found.allowed_users == {"U0ANA", "W0BEN"}
    assert (found.slack_api_url, found.cellcast_base_url) == ("http://s/api/", "http://c")


def test_postgres_needs_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A PostgreSQL address is taken where psycopg is installed; else the line says what to install."""
    url = "postgresql+psycopg://u:p@h/d"
    assert settings.load(**GOOD, database_url=url).database_url == url
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(SettingsError, match="needs the extra postgres"):
        settings.load(**GOOD, database_url=url)


def test_secrets_are_not_shown() -> None:
    """Printing the settings shows no secret."""
    found = settings.load(**GOOD)
    assert GOOD["cellcast_api_key"] not in builtins.repr(found)

"""Settings whose values stand in files: what is read, and which words refuse a file without showing its content."""

from __future__ import annotations

import io
import logging
import os
from pathlib import Path

import pytest
from pydantic import ValidationError

from bot import logging as logs
from bot import settings
from bot.errors import SettingsError
from bot.secret_files import FROM_FILES, MAX_BYTES, origin

GOOD = {
    "slack_bot_token": "xoxb-of-the-file",
    "slack_app_token": "xapp-of-the-file",
    "slack_signing_secret": "signing-secret-of-the-file",
    "cellcast_api_key": "key-of-the-file",
    "database_url": "postgresql+psycopg://u:password-of-the-file@h/d",
}
KEY = GOOD["cellcast_api_key"].encode()
MISSING = "cannot be read (No such file or directory)"


def files_in(folder: Path) -> dict[str, str]:
    """A file for each value, and the variables that name them."""
    for name, value in GOOD.items():
        (folder / name).write_text(f"{value}\n")
    return {f"{name.upper()}_FILE": str(folder / name) for name in GOOD}


@pytest.fixture
def variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """An environment that names a file for each value."""
    found = files_in(tmp_path) | {"ALLOWED_USERS": "*"}
    for name, value in found.items():
        monkeypatch.setenv(name, value)
    return found


def lines_of_error() -> list[str]:
    """What the start says about each variable."""
    with pytest.raises(SettingsError) as error:
        settings.load()
    return [line.strip() for line in str(error.value).splitlines()[2::2]]


def test_every_secret_can_come_from_a_file(variables: dict[str, str]) -> None:
    """Each value is that of its file, and so is what the log masks."""
    found = settings.load()
    assert tuple(GOOD) == FROM_FILES
    assert set(logs.tokens(found)) == set(GOOD.values()) - {GOOD["database_url"]}
    assert found.database_url == GOOD["database_url"]
    out = io.StringIO()
    logs.configure(found, out)
    logging.getLogger("other").warning("%s", [*GOOD.values(), "password-of-the-file"])
    assert "of-the-file" not in out.getvalue()


@pytest.mark.parametrize("content", [KEY, KEY + b"\n", KEY + b"\r\n"])
def test_one_line_break_at_the_end(variables: dict[str, str], content: bytes) -> None:
    """A file may end with one line break, as editors write it."""
    Path(variables["CELLCAST_API_KEY_FILE"]).write_bytes(content)
    assert settings.load().cellcast_api_key.get_secret_value() == KEY.decode()


@pytest.mark.parametrize(
    "content", [KEY + b"\n\n", KEY + b"\r", KEY + b"\n\r\n", KEY + b" \n", b"\n" + KEY, b"\xef\xbb\xbf" + KEY]
)
def test_nothing_else_is_stripped(variables: dict[str, str], content: bytes) -> None:
    """What else is in the file belongs to the value, and is refused as it is in a variable."""
    Path(variables["CELLCAST_API_KEY_FILE"]).write_bytes(content)
    assert lines_of_error() == ["CELLCAST_API_KEY is invalid: expected at least 8 characters without spaces."]


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (b"", "is empty"),
        (b"\n", "is empty"),
        (b"\r\n", "is empty"),
        (KEY + b"\xff", "is not UTF-8 text"),
        (KEY + b"x" * MAX_BYTES, f"has more than {MAX_BYTES} bytes"),
    ],
)
def test_file_without_a_value(variables: dict[str, str], content: bytes, cause: str) -> None:
    """The start names the variable, the file and the cause."""
    path = Path(variables["CELLCAST_API_KEY_FILE"])
    path.write_bytes(content)
    assert lines_of_error() == [f"CELLCAST_API_KEY is invalid: CELLCAST_API_KEY_FILE names {path}, which {cause}."]


def test_all_mistakes_are_reported_together(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each mistake has its line, beside those of other settings, and none shows a value."""
    os.mkfifo(tmp_path / "pipe")
    changes = {
        "ALLOWED_USERS": "ana",
        "SLACK_BOT_TOKEN_FILE": str(tmp_path),
        "SLACK_APP_TOKEN_FILE": str(tmp_path / "pipe"),
        "SLACK_SIGNING_SECRET": GOOD["slack_signing_secret"],
        "CELLCAST_API_KEY_FILE": str(tmp_path / "nothing"),
        "DATABASE_URL_FILE": "x" * 300,
    }
    for name, value in changes.items():
        monkeypatch.setenv(name, value)
    found = lines_of_error()
    assert found == [
        f"SLACK_BOT_TOKEN is invalid: SLACK_BOT_TOKEN_FILE names {tmp_path}, which is not a regular file.",
        f"SLACK_APP_TOKEN is invalid: SLACK_APP_TOKEN_FILE names {tmp_path}/pipe, which is not a regular file.",
        "SLACK_SIGNING_SECRET is invalid: SLACK_SIGNING_SECRET_FILE is set too. Unset one of them.",
        f"CELLCAST_API_KEY is invalid: CELLCAST_API_KEY_FILE names {tmp_path}/nothing, which {MISSING}.",
        "ALLOWED_USERS is invalid: 1 of 1 entries are not ids.",
        "DATABASE_URL is invalid: DATABASE_URL_FILE names a relative path, which cannot be read (File name too long).",
    ]
    with pytest.raises(ValidationError) as error:
        settings.Settings()
    assert "of-the-file" not in str(error.value)


def test_value_instead_of_a_path_is_not_shown(variables: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Who puts the key itself in the variable for its file does not find it in the terminal."""
    monkeypatch.setenv("CELLCAST_API_KEY_FILE", KEY.decode())
    assert lines_of_error() == [
        f"CELLCAST_API_KEY is invalid: CELLCAST_API_KEY_FILE names a relative path, which {MISSING}."
    ]


def test_database_url_with_another_line(variables: dict[str, str]) -> None:
    """A second line in the file of DATABASE_URL does not become a part of the database's name."""
    Path(variables["DATABASE_URL_FILE"]).write_text("sqlite:///a.db\n\n")
    assert lines_of_error() == [
        "DATABASE_URL is invalid: expected sqlite:///FILE or postgresql+psycopg://USER:PASSWORD@HOST/NAME."
    ]


@pytest.mark.parametrize("variable", ["CELLCAST_API_KEY_FILE", "cellcast_api_key_file"])
def test_path_in_the_file_of_settings(tmp_path: Path, variable: str) -> None:
    """.env can name a file too; its path can begin in the folder where the bot starts, and does not change with it."""
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "key").write_bytes(KEY)
    (tmp_path / ".env").write_text(f"SLACK_BOT_TOKEN=xoxb-1\nSLACK_APP_TOKEN=xapp-1\n{variable}=secrets/key\n")
    found = settings.load(allowed_users="*")
    assert found.cellcast_api_key.get_secret_value() == KEY.decode()
    assert found.cellcast_api_key_file == tmp_path / "secrets" / "key"
    assert origin("cellcast_api_key") == f"the file {tmp_path}/secrets/key"


def test_variable_in_env_and_its_file_in_the_environment(
    variables: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both given in two places are both given; an empty variable is not given."""
    (tmp_path / ".env").write_text(f"CELLCAST_API_KEY={KEY.decode()}\n")
    assert lines_of_error() == ["CELLCAST_API_KEY is invalid: CELLCAST_API_KEY_FILE is set too. Unset one of them."]
    monkeypatch.setenv("CELLCAST_API_KEY_FILE", "")
    assert settings.load().cellcast_api_key_file is None
    assert origin("cellcast_api_key") == ".env"


def test_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    """A value comes from the environment, else from .env, else it is the default."""
    assert origin("database_url") == "its default"
    Path(".env").write_text("DATABASE_URL=sqlite:///a.db\n")
    assert origin("database_url") == ".env"
    monkeypatch.setenv("DATABASE_URL", "")
    assert origin("database_url") == ".env"
    monkeypatch.setenv("DATABASE_URL", "sqlite:///b.db")
    assert origin("database_url") == "the environment"


def test_setup_judges_a_value_by_itself(variables: dict[str, str]) -> None:
    """A file in the environment does not make the value that `setup` got ambiguous."""
    assert settings.problem_of("cellcast_api_key", KEY.decode()) is None
    assert settings.problem_of("slack_app_token", "xapp-1") is None

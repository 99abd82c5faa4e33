"""deploy/bot.service: systemd takes it, it gives the bot few rights, and it agrees with the bot."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bot.service.executor import GRACE
from bot.settings import Settings
from tests.process import ROOT

UNIT = (ROOT / "deploy" / "bot.service").read_text(encoding="utf-8")
PROGRAM = "/opt/cellcast-unsubscribe-bot/bin/cellcast-unsubscribe-bot"
# systemd-analyze's measure, ten times its figure: 0 is best, 96 is a unit without any restriction.
EXPOSURE = 20
with_systemd = pytest.mark.skipif(
    shutil.which("systemd-analyze") is None and not os.environ.get("CI"), reason="systemd-analyze is not installed"
)


def values(option: str) -> list[str]:
    """Every value of an option."""
    return re.findall(rf"^{option}=(.*)$", UNIT, re.MULTILINE)


@pytest.fixture
def unit(tmp_path: Path) -> Path:
    """The unit with a program that is on this machine."""
    assert values("ExecStart") == [PROGRAM]
    path = tmp_path / "cellcast-unsubscribe-bot.service"
    path.write_text(UNIT.replace(f"ExecStart={PROGRAM}", f"ExecStart={sys.executable}"), encoding="utf-8")
    return path


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run systemd-analyze, which needs no running systemd for this."""
    command = [str(shutil.which("systemd-analyze")), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - the tests' own choice


@with_systemd
def test_systemd_takes_the_unit(unit: Path) -> None:
    """systemd knows each option and each value, and has nothing to say about them."""
    done = analyze("verify", "--man=no", str(unit))
    about_the_unit = [line for line in done.stderr.splitlines() if unit.name in line]
    assert (done.returncode, about_the_unit) == (0, [])


@with_systemd
def test_unit_gives_the_bot_few_rights(unit: Path) -> None:
    """systemd rates the exposure of the unit as low."""
    done = analyze("security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", str(unit))
    assert done.returncode == 0, done.stdout


def test_unit_has_time_to_stop() -> None:
    """systemd sends SIGTERM, and kills the bot later than the bot ends by itself."""
    assert values("KillSignal") == ["SIGTERM"]
    (seconds,) = values("TimeoutStopSec")
    assert int(seconds) > Settings.model_fields["cellcast_timeout_seconds"].default + GRACE


def test_unit_restarts_what_a_restart_can_help() -> None:
    """A bot that exits with an error is started again, however often, except if a setting is invalid."""
    assert (values("Restart"), values("RestartPreventExitStatus")) == (["on-failure"], ["2"])
    assert values("StartLimitIntervalSec") == ["0"]


def test_unit_passes_secrets_as_files() -> None:
    """Each credential is a setting, comes from a file that root owns, and reaches the bot by its name; none is a value."""
    loaded = dict(credential.split(":") for credential in values("LoadCredential"))
    assert loaded.keys() == {"SLACK_BOT_TOKEN", "SLACK_APP_TOKEN", "CELLCAST_API_KEY"}
    assert {name.lower() for name in loaded} <= Settings.model_fields.keys()
    assert loaded == {name: f"%E/cellcast-unsubscribe-bot/credentials/{name}" for name in loaded}
    assert values("Environment") == [f"{name}_FILE=%d/{name}" for name in loaded]


def test_page_installs_what_the_unit_names() -> None:
    """docs/deployment.md makes the folders, the files and the program that the unit uses."""
    page = (ROOT / "docs" / "deployment.md").read_text(encoding="utf-8")
    section = page.partition("\n## systemd\n")[2].partition("\n## ")[0]
    assert "python3 -m venv /opt/cellcast-unsubscribe-bot" in section
    assert "deploy/bot.service /etc/systemd/system/cellcast-unsubscribe-bot.service" in section
    assert f"{PROGRAM} check" in section
    for credential in values("LoadCredential"):
        assert credential.split(":")[0] in section
    (state,) = values("StateDirectory")
    assert f"DATABASE_URL=sqlite:////var/lib/{state}/unsubscribe.db" in section
    assert values("WorkingDirectory") == ["%E/cellcast-unsubscribe-bot"]
    assert "/etc/cellcast-unsubscribe-bot/.env" in section

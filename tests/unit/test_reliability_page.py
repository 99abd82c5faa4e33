"""docs/reliability.md is written only with a flag, and must be up to date in CI."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests import conftest, slack_rules
from tests.process import ROOT


def finish(*, write: bool = False, arguments: tuple[str, ...] = ("tests",), marker: str = "") -> pytest.ExitCode:
    """Return the exit status of a session that has collected its faults."""
    option = SimpleNamespace(keyword="", markexpr=marker, write_reliability=write)
    session: Any = SimpleNamespace(
        config=SimpleNamespace(option=option, args=list(arguments)), exitstatus=pytest.ExitCode.OK
    )
    conftest.pytest_sessionfinish(session)
    found: pytest.ExitCode = session.exitstatus
    return found


@pytest.fixture
def page(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A page that is out of date, outside CI, after a run that tried one fault."""
    path = tmp_path / "reliability.md"
    path.write_text("old")
    monkeypatch.setattr(conftest, "RELIABILITY_PAGE", path)
    monkeypatch.setattr(conftest, "_rows", {("Slack", "the socket is dropped", "one", "the toast")})
    monkeypatch.setattr(conftest, "_failed", [])
    monkeypatch.delenv("CI", raising=False)
    return path


def test_nothing_is_written_without_the_flag(page: Path) -> None:
    """Without the flag, and outside CI, a run neither writes nor fails."""
    assert finish() is pytest.ExitCode.OK
    assert page.read_text() == "old"


def test_flag_writes_the_page(page: Path) -> None:
    """The flag writes a row for each fault."""
    assert finish(write=True) is pytest.ExitCode.OK
    assert "| Slack | the socket is dropped | one | the toast |" in page.read_text()


@pytest.mark.parametrize("write", [False, True], ids=["without the flag", "with the flag"])
def test_ci_fails_if_the_page_is_out_of_date(page: Path, monkeypatch: pytest.MonkeyPatch, write: bool) -> None:
    """CI fails even if the flag brings the page up to date: the commit lacks it."""
    monkeypatch.setenv("CI", "true")
    assert finish(write=write) is pytest.ExitCode.TESTS_FAILED
    assert (page.read_text() == "old") is not write


def test_ci_passes_if_the_page_is_up_to_date(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """CI passes if the page holds the faults of the run."""
    finish(write=True)
    monkeypatch.setenv("CI", "true")
    assert finish() is pytest.ExitCode.OK


@pytest.mark.parametrize(
    ("arguments", "marker", "failed"),
    [
        pytest.param(("tests/faults/test_kill.py",), "", [], id="one file"),
        pytest.param(("tests",), "unit", [], id="one marker"),
        pytest.param(("tests",), "", ["tests/faults/test_kill.py::test_kill"], id="a failed test"),
    ],
)
def test_part_of_a_run_writes_nothing(
    page: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], marker: str, failed: list[str]
) -> None:
    """A run that is partial or failed knows too little to write the page."""
    monkeypatch.setattr(conftest, "_failed", failed)
    monkeypatch.setenv("CI", "true")
    assert finish(write=True, arguments=arguments, marker=marker) is pytest.ExitCode.OK
    assert page.read_text() == "old"


def test_rule_without_its_test_has_no_row() -> None:
    """A rule stands on the page only if each of its tests has passed, and every rule names tests that exist."""
    everything = {test for rule in slack_rules.RULES for test in rule.tests}
    full = slack_rules.section(everything)
    assert len(full) == 9 + len(slack_rules.RULES)
    assert len(slack_rules.section(everything - {slack_rules.RULES[0].tests[0]})) == len(full) - 1
    for test in everything:
        file, name = test.split("::")
        assert f"def {name}(" in (ROOT / file).read_text(encoding="utf-8")

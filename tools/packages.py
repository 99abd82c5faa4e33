"""Writes docs/packages.md: what the image holds beside Python, how large each package is, and what it is there for.

    python tools/packages.py

It installs requirements.lock into a clean environment, as the Dockerfile does. CI checks that no package is missing.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from collections import defaultdict
from importlib.metadata import Distribution, distributions
from pathlib import Path

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "packages.md"
BRINGS = {
    "aiohttp": "the web server, the calls to Slack, the WebSocket of Socket Mode",
    "httpx": "the call to Cellcast: its trace shows whether any byte of the request left",
    "phonenumberslite": "phone numbers as people write them; loaded only with a list of numbers",
    "prometheus-client": "/metrics",
    "psycopg": "PostgreSQL (the extra `postgres`, which the image has)",
    "pydantic-settings": "the settings, and the shapes of what Slack sends",
    "python-dotenv": "`.env`",
    "slack-bolt": "listeners for what Slack sends",
    "slack-sdk": "Slack's methods, signatures and Socket Mode",
    "sqlalchemy": "the ledger, on SQLite and PostgreSQL alike",
    "sniffio": "makes each call of httpx a third cheaper: httpcore looks for it again and again",
    "structlog": "one log line for each event, with secrets masked",
    "uvloop": "the event loop of the running bot",
}


def install(folder: Path) -> list[Distribution]:
    """The locked packages, in an environment of their own without pip."""
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(folder)], check=True)
    command = [sys.executable, "-m", "pip", "--python", str(folder / "bin" / "python"), "install", "--quiet"]
    subprocess.run([*command, "--require-hashes", "--no-deps", "-r", str(ROOT / "requirements.lock")], check=True)
    (packages,) = folder.glob("lib/python*/site-packages")
    return list(distributions(path=[str(packages)]))


def name_of(distribution: Distribution) -> str:
    """Its name as the lock writes it."""
    return re.sub(r"[-_.]+", "-", distribution.metadata["Name"]).lower()


def megabytes(distribution: Distribution) -> float:
    """What its files take, the compiled ones too."""
    files = [Path(str(distribution.locate_file(file))) for file in distribution.files or []]
    return sum(file.stat().st_size for file in files if file.is_file()) / 1e6


def table(found: list[Distribution]) -> list[str]:
    """A row for each package, the largest first."""
    needed_by = defaultdict(set)
    for distribution in found:
        for line in distribution.requires or []:
            if "extra ==" not in line:
                needed_by[re.sub(r"[-_.]+", "-", re.split(r"[^\w.-]", line)[0]).lower()].add(name_of(distribution))
    rows = []
    for distribution in sorted(found, key=megabytes, reverse=True):
        name = name_of(distribution)
        why = BRINGS.get(name) or f"needed by {', '.join(sorted(needed_by[name])) or 'psycopg'}"
        rows.append(f"| {name} | {megabytes(distribution):.1f} | {why} |")
    return rows


def main() -> int:
    """Write the page."""
    with tempfile.TemporaryDirectory() as folder:
        found = install(Path(folder))
        total = sum(megabytes(distribution) for distribution in found)
        files = [path for part in ("bot", "handlers") for path in (ROOT / part).rglob("*.*")]
        own = sum(path.stat().st_size for path in files if path.suffix != ".pyc") / 1e6
        lines = [
            "# What the image holds",
            "",
            f"`tools/packages.py` wrote this page: {len(found)} packages, {total:.0f} MB with compiled files.",
            f"The image also holds Python's slim image and {own:.1f} MB of the bot.",
            "It holds no pip.",
            "",
            "| package | MB | what for |",
            "| --- | --- | --- |",
            *table(found),
        ]
        PAGE.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Cuts the notes of a release out of CHANGELOG.md: `python tools/release.py v0.1.0 --repository OWNER/NAME`.

The exit code is 1 if the tree is not ready for that tag: pyproject.toml has another version, CHANGELOG.md has no dated
section for it, or there are changes under [Unreleased].
"""

from __future__ import annotations

import argparse
import re
import sys
import tomllib
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parent.parent
SECTION = re.compile(r"^## \[([^\]]+)\](.*)\n((?:(?!## ).*\n?)*)", re.MULTILINE)


class NotReadyError(Exception):
    """The tree is not ready for the tag."""


def notes(tag: str, version: str, changelog: str, repository: str) -> str:
    """The notes of a tag, whose links lead to the repository. Raises NotReadyError with the reason."""
    if tag != f"v{version}":
        raise NotReadyError(f"The tag is {tag}, and pyproject.toml has version {version}.")
    sections = {name: (rest, text.strip()) for name, rest, text in SECTION.findall(changelog)}
    if sections.get("Unreleased", ("", ""))[1]:
        raise NotReadyError(f"CHANGELOG.md has changes under [Unreleased]: move them to [{version}].")
    if version not in sections:
        raise NotReadyError(f"CHANGELOG.md has no section [{version}].")
    rest, text = sections[version]
    try:
        date.fromisoformat(rest.removeprefix(" - "))
    except ValueError:
        raise NotReadyError(f"The section [{version}] of CHANGELOG.md has no date, such as 2026-01-31.") from None
    if not text:
        raise NotReadyError(f"The section [{version}] of CHANGELOG.md is empty.")
    tree = f"https://github.com/{repository}/blob/{tag}/"
    return re.sub(r"\]\((?!https?://)", f"]({tree}", text) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Print the notes, or what is not ready."""
    parser = argparse.ArgumentParser(description="Print the notes of a release.")
    parser.add_argument("tag", help="the tag, such as v0.1.0")
    parser.add_argument("--repository", required=True, metavar="OWNER/NAME", help="where the notes' links lead")
    given = parser.parse_args(arguments)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    try:
        text = notes(given.tag, version, (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), given.repository)
    except NotReadyError as error:
        print(error, file=sys.stderr)
        return 1
    print(text, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())

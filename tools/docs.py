"""Writes the generated parts of the documents, from what the code says; `--check` only compares.

A part stands between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import logging
import re
import sys
from pathlib import Path

import structlog
from pydantic_core import PydanticUndefined

from bot.domain.status import OutcomeCode
from bot.settings import Settings, describe
from bot.views import cards
from tests import messages

ROOT = Path(__file__).parent.parent
DOCUMENTS = ["README.md", "docs/messages.md"]


def variables() -> str:
    """Every variable of the environment."""
    rows = ["| variable | meaning | default |", "| --- | --- | --- |"]
    for name, field in Settings.model_fields.items():
        rows.append(f"| `{name.upper()}` | {describe(name).replace('|', '&#124;')} | {_default(field.default)} |")
    return "\n".join(rows)


def _default(value: object) -> str:
    if value is PydanticUndefined:
        return "required"
    if value is None or value == frozenset():
        return "unset"
    shown = ",".join(sorted(value)) if isinstance(value, frozenset) else str(value)
    return f"`{shown.lower() if isinstance(value, bool) else shown}`"


def outcomes() -> str:
    """Every way in which a request can end, with what people read and the next step."""
    rows = ["| how it ended | what happened | what to do |", "| --- | --- | --- |"]
    for kind in OutcomeCode:
        what, then = cards.explain(kind)
        rows.append(f"| {kind.status} | {what} | {then or 'Nothing.'} |")
    return "\n".join(rows)


PARTS = {"variables": variables, "outcomes": outcomes}


def fresh(name: str, text: str) -> str:
    """The document with its generated parts as they should be."""
    if name == "docs/messages.md":
        return messages.table()

    def part(match: re.Match[str]) -> str:
        return f"{match[1]}\n{PARTS[match[2]]()}\n{match[3]}"

    return re.sub(r"(<!-- generated: (\w+) -->)\n.*?(<!-- end -->)", part, text, flags=re.DOTALL)


def main(arguments: list[str]) -> int:
    """Write, or compare; the exit code is 1 where a document is out of date."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    stale = 0
    for name in DOCUMENTS:
        path = ROOT / name
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        if fresh(name, text) != text:
            stale = 1
            print(f"{name} is out of date: run python tools/docs.py")
            if "--check" not in arguments:
                path.write_text(fresh(name, text), encoding="utf-8")
    return stale if "--check" in arguments else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

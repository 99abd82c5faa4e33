"""Write the generated parts of the documents from the code; `--check` only compares.

A part is everything between `<!-- generated: NAME -->` and `<!-- end -->`.
"""

from __future__ import annotations

import json
import logging
import re
import sys
from collections.abc import Callable
from pathlib import Path

import structlog
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from bot.cli.record import OutcomeRecord, RequestRecord
from bot.domain.status import OutcomeCode
from bot.secret_files import SecretFiles
from bot.settings import Settings, describe
from bot.views.outcomes import explain
from tests import messages

ROOT = Path(__file__).parent.parent
DOCUMENTS = [
    "docs/configuration.md",
    "docs/glossary.md",
    "docs/history.schema.json",
    "docs/messages.md",
    "docs/operations.md",
    "docs/outcomes.md",
]


def variables() -> str:
    """Every variable of the environment."""
    rows = ["| variable | meaning | default |", "| --- | --- | --- |"]
    values = [name for name in Settings.model_fields if name not in SecretFiles.model_fields]
    for name in (each for value in values for each in (value, f"{value}_file") if each in Settings.model_fields):
        field = Settings.model_fields[name]
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
    """List every outcome, with the words that people read and the next step."""
    rows = ["| status | code | what happened | next step |", "| --- | --- | --- | --- |"]
    for code in OutcomeCode:
        what, then = explain(code)
        rows.append(f"| {code.status} | `{code}` | {what} | {then or 'Nothing.'} |")
    return "\n".join(rows)


def codes() -> str:
    """List every outcome code with its status, and whether the bot offers Try Again."""
    rows = ["| code | status | Try Again |", "| --- | --- | --- |"]
    rows += [f"| `{code}` | {code.status} | {'yes' if code.can_try_again else 'no'} |" for code in OutcomeCode]
    return "\n".join(rows)


def record(model: type[BaseModel]) -> str:
    """List every field of a line that `history --json` prints, with its type in JSON."""
    rows = ["| field | type | meaning |", "| --- | --- | --- |"]
    for name, field in model.model_json_schema()["properties"].items():
        types = " or ".join(one.get("type", "") for one in field.get("anyOf", [field]))
        rows.append(f"| `{name}` | {types} | {field['description']} |")
    return "\n".join(rows)


PARTS: dict[str, Callable[[], str]] = {
    "variables": variables,
    "outcomes": outcomes,
    "codes": codes,
    "record": lambda: record(RequestRecord),
    "outcome_record": lambda: record(OutcomeRecord),
}


def fresh(name: str, text: str) -> str:
    """Return the document with up-to-date generated parts."""
    if name == "docs/messages.md":
        return messages.table()
    if name == "docs/history.schema.json":
        return json.dumps(RequestRecord.model_json_schema(), indent=2) + "\n"

    def part(match: re.Match[str]) -> str:
        return f"{match[1]}\n{PARTS[match[2]]()}\n{match[3]}"

    return re.sub(r"(<!-- generated: (\w+) -->)\n.*?(<!-- end -->)", part, text, flags=re.DOTALL)


def main(arguments: list[str]) -> int:
    """Write, or compare; with `--check` the exit code is 1 if a document is out of date."""
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

"""What docs/operations.md promises about the log, what the code can log, and what a bot of a test has logged."""

from __future__ import annotations

import ast
import functools
import json
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
LEVELS = {"debug", "info", "warning", "error", "critical"}
# In every line of the bot, beside the fields of its event.
ALWAYS = {"event", "level", "logger", "timestamp"}
# The fields that a call computes: no keyword in the code names them.
COMPUTED = {"unhealthy": {"started", "sweep", "database", "slack"}, "access_denied": {"teams", "enterprise"}}
TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "number": (int, float),
    "boolean": (bool,),
    "list": (list,),
    "null": (type(None),),
}


@dataclass
class Event:
    """The level of an event, the fields that each of its lines has, and those that some have."""

    levels: set[str] = field(default_factory=set)
    always: set[str] = field(default_factory=set)
    sometimes: set[str] = field(default_factory=set)


@functools.cache
def documented_events() -> dict[str, Event]:
    """The table of events; a field in brackets is optional."""
    found = {}
    for event, level, fields in re.findall(
        r"^\| `(\w+)` \| (\w+) \| (.*?) \| .+ \|$", _section("Events"), re.MULTILINE
    ):
        optional = set(re.findall(r"\(`(\w+)`\)", fields))
        found[event] = Event({level}, set(re.findall(r"`(\w+)`", fields)) - optional, optional)
    return found


@functools.cache
def documented_fields() -> dict[str, tuple[type, ...]]:
    """The table of fields, with the types that each can have."""
    rows = re.findall(r"^\| `(\w+)` \| ([\w ]+) \| .+ \|$", _section("Fields"), re.MULTILINE)
    return {name: tuple(t for word in types.split(" or ") for t in TYPES[word]) for name, types in rows}


def _section(heading: str) -> str:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    _, _, after = text.partition(f"\n### {heading}\n")
    return re.split(r"^#", after, maxsplit=1, flags=re.MULTILINE)[0]


def check_log(text: str) -> None:
    """Compare each JSON line of the bot in a log with the two tables; lines of its libraries have other loggers.

    The last line of a bot that was killed can be cut.
    """
    for line in text.splitlines(keepends=True):
        if not (line.startswith("{") and line.endswith("}\n")):
            continue
        if (found := json.loads(line))["logger"].partition(".")[0] == "bot":
            assert not (faults := faults_of(found)), f"docs/operations.md does not say so: {faults} in {line}"


def faults_of(line: dict[str, Any]) -> list[str]:
    """Return how a line of the log differs from the tables."""
    event = documented_events().get(line["event"])
    if event is None:
        return ["the event"]
    fields = line.keys() - ALWAYS
    types = documented_fields()
    return [
        *(["the level"] if line["level"] not in event.levels else []),
        *(f"no {name}" for name in sorted(event.always - fields)),
        *(f"the field {name}" for name in sorted(fields - event.always - event.sometimes)),
        *(f"the type of {name}" for name in sorted(line.keys() & types) if type(line[name]) not in types[name]),
    ]


def logged_events() -> dict[str, Event]:
    """Return what the calls of the loggers in the code can log."""
    fields: dict[str, list[set[str]]] = defaultdict(list)
    found: dict[str, Event] = defaultdict(Event)
    for path in [*(ROOT / "bot").rglob("*.py"), *(ROOT / "handlers").rglob("*.py")]:
        for function in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(function, ast.FunctionDef | ast.AsyncFunctionDef):
                for event, level, names in _calls(function):
                    found[event].levels.add(level)
                    fields[event].append(names)
    for event, each in fields.items():
        computed = COMPUTED.get(event, set())
        found[event].always = set.intersection(*each)
        found[event].sometimes = set.union(*each, computed) - found[event].always
    return dict(found)


def _calls(function: ast.AST) -> list[tuple[str, str, set[str]]]:
    """Return the event, level and fields of each call of a logger; `log_of` is a logger that has fields already."""
    calls = [node for node in ast.walk(function) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    bound = {name for call in calls if call.func.attr == "bind" for name in _keywords(call)}  # type: ignore[attr-defined]
    found = []
    for call in calls:
        assert isinstance(call.func, ast.Attribute)
        of = ast.unparse(call.func.value)
        if call.func.attr in LEVELS and (of in ("log", "log_of") or of.startswith("structlog.get_logger")):
            fields = _keywords(call) | (bound if of == "log_of" else set())
            events = [node.value for node in ast.walk(call.args[0]) if isinstance(node, ast.Constant)]
            assert events, f"{function} logs an event whose name is not written there"
            found += [(str(event), call.func.attr, fields) for event in events]
    return found


def _keywords(call: ast.Call) -> set[str]:
    names = {keyword.arg for keyword in call.keywords if keyword.arg is not None}
    return {"exception" if name == "exc_info" else name for name in names}

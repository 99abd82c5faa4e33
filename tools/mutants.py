"""Break the bot on purpose, and see whether the tests notice: `.venv/bin/nox -s mutants`.

Without options it applies each mutant of tools/mutants.toml to a copy of the checkout, and runs the tests that the
table names for it. `--random 40 --seed 7` draws mutants of bot/ and handlers/ instead. Mutants that change nothing
people could notice are among those, so look at each survivor. `--sample` draws those of docs/reliability.md, and stores
what became of them for that page. The exit code is 1 below the threshold, and 2 if the table no longer fits the code or
the tests fail without a mutant.

mutmut 3 changes functions only, not the statements and constants of a module. cosmic-ray draws from operators, with one
test command for all. Neither takes a mutant that somebody wrote, so neither is used here.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import functools
import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
TABLE = Path(__file__).with_suffix(".toml")
# What became of the fixed sample when it was run last.
SAMPLE = Path(__file__).with_name("mutants_sample.json")
# How the judgement of a mutant begins that changes nothing anyone could notice.
EQUIVALENT = "Nothing"
# What the tests need of a checkout; the copy has no .git and no environment of its own.
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".nox", "__pycache__", ".*_cache", ".hypothesis", ".coverage*")
# A mutant can make a test wait for something that never comes: that test fails.
ONE_TEST_SECONDS, SELECTION_SECONDS = 120, 3600


class TableError(Exception):
    """The table does not fit the code, or the tests fail without a mutant."""


@dataclass(frozen=True)
class Mutant:
    """One change of one file, and the tests that must notice it."""

    name: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def apply(self, text: str) -> str:
        """Return the changed text. Raise TableError unless the old text is in it exactly once."""
        if (count := text.count(self.old)) != 1:
            raise TableError(f"{self.name}: the old text is {count} times in {self.file}, expected once:\n{self.old}")
        return text.replace(self.old, self.new)


@dataclass(frozen=True)
class Drawn(Mutant):
    """A change that was drawn at random: it has its place in the file, because its text may be there more often."""

    start: int
    end: int

    def apply(self, text: str) -> str:
        """Return the changed text."""
        source = text.encode()
        return (source[: self.start] + self.new.encode() + source[self.end :]).decode()


@functools.cache
def stored() -> dict[str, Any]:
    """Return what tools/mutants.toml says."""
    return tomllib.loads(TABLE.read_text(encoding="utf-8"))


def table() -> list[Mutant]:
    """Return the mutants of the table."""
    return [Mutant(**row | {"tests": tuple(row["tests"])}) for row in stored()["mutant"]]


def fitting_tests(file: str) -> tuple[str, ...]:
    """Return the tests that the table names for a file: those of the longest path that the file's begins with."""
    fitting: dict[str, list[str]] = stored()["fitting"]
    return tuple(fitting[max((path for path in fitting if file.startswith(path)), key=len)])


# Each comparison, and what it becomes.
FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip


def changes(node: ast.AST) -> Iterator[tuple[ast.expr | ast.stmt, str]]:
    """Yield what can be broken at a node of the syntax tree: the part to replace, and its new text."""
    match node:
        case ast.Compare(left=left, ops=[op], comparators=comparators):
            yield node, ast.unparse(ast.Compare(left, [FLIPPED[type(op)]()], comparators))
        case ast.BoolOp(op=op, values=values):
            yield node, f"({ast.unparse(ast.BoolOp(ast.Or() if isinstance(op, ast.And) else ast.And(), values))})"
        case ast.If(test=test) | ast.IfExp(test=test) | ast.While(test=test):
            yield test, f"(not ({ast.unparse(test)}))"
        case ast.Constant(value=bool(value)):
            yield node, str(not value)
        case ast.Constant(value=int(value) | float(value)):
            yield node, repr(value + 1)
        case ast.Expr(value=ast.Call() | ast.Await()) | ast.Raise() | ast.AugAssign():
            yield node, "pass"
        case ast.Call(func=func, args=args, keywords=keywords):
            for dropped in keywords:
                if dropped.arg is not None:
                    yield node, ast.unparse(ast.Call(func, args, [k for k in keywords if k is not dropped]))


@functools.cache
def mutants_of(path: Path) -> list[Drawn]:
    """Return every mutant that can be drawn in a file. What is only logged, or only typed, is left alone."""
    source = path.read_bytes()
    file = str(path.relative_to(ROOT))
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = []
    todo: list[ast.AST] = [ast.parse(source)]
    while todo:
        node = todo.pop()
        match node:
            case (
                ast.Expr(value=ast.Call(func=ast.Attribute(value=ast.Name(id="log" | "log_of"))))
                | ast.If(test=ast.Name(id="TYPE_CHECKING"))
            ):
                continue
        for field, value in ast.iter_fields(node):
            # Annotations decide nothing, and `frozen=True` of a dataclass is for the reader.
            if field not in ("annotation", "returns", "decorator_list"):
                todo += [v for v in (value if isinstance(value, list) else [value]) if isinstance(v, ast.AST)]
        for part, new in changes(node):
            start = starts[part.lineno - 1] + part.col_offset
            end = starts[(part.end_lineno or 0) - 1] + (part.end_col_offset or 0)
            old = source[start:end].decode()
            name = f"{file}:{part.lineno}: {shown(old)} -> {shown(new)}"
            found.append(Drawn(name, file, old, new, fitting_tests(file), start, end))
    return found


def shown(text: str) -> str:
    """Return a piece of code on one line, cut if it is long."""
    line = " ".join(text.split())
    return line if len(line) <= 100 else line[:100] + "…"


def draw(count: int, seed: int, parts: tuple[str, ...] = ("bot", "handlers")) -> list[Mutant]:
    """Return so many mutants of these folders, drawn at random; the same ones for the same seed and code."""
    files = [path for part in parts for path in sorted((ROOT / part).rglob("*.py"))]
    every = [mutant for path in files for mutant in mutants_of(path)]
    return [*random.Random(seed).sample(every, min(count, len(every)))]  # noqa: S311 - no secret


@contextlib.contextmanager
def checkout() -> Iterator[Path]:
    """A copy of the checkout, in memory if possible, that goes away with everything that the tests leave in it."""
    memory = Path("/dev/shm")  # noqa: S108 - a private folder in it
    with tempfile.TemporaryDirectory(prefix="mutants-", dir=memory if memory.is_dir() else None) as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user if root runs the tests
        copy = Path(folder) / "checkout"
        shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
        yield copy


def first_failure(copy: Path, tests: tuple[str, ...], workers: int) -> str | None:
    """Return the test that fails first in the copy, None if all pass. What takes too long fails."""
    # A mutant can have the size and the second of the file before it: then Python would run the stored bytecode.
    # PYTHONHASHSEED keeps the order of sets, so that a run can be repeated.
    environment = os.environ | {"PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1", "PYTHONHASHSEED": "0",
                                "PYTEST_DEBUG_TEMPROOT": str(copy.parent)}  # fmt: skip
    # test_mutants.py fails with each changed line that the table names, also if nothing else notices it.
    options = ["-xq", "--ignore=tests/unit/test_mutants.py", "-n", str(workers), "-p", "no:cacheprovider", "-m", ""]
    command = [sys.executable, "-m", "pytest", *options, f"--timeout={ONE_TEST_SECONDS}", *tests]
    said = copy.parent / "output"
    into: dict[str, Any] = {"cwd": copy, "env": environment, "start_new_session": True}
    with said.open("wb") as output, subprocess.Popen(command, stdout=output, stderr=output, **into) as running:
        try:
            if running.wait(SELECTION_SECONDS) == 0:
                return None
        except subprocess.TimeoutExpired:
            return f"no end after {SELECTION_SECONDS} s"
        finally:  # the workers, and whatever else a mutant has left running
            with contextlib.suppress(ProcessLookupError):
                os.killpg(running.pid, signal.SIGKILL)
    failed = re.search(r"^(?:FAILED|ERROR) (tests/.+?)(?: - |$)", said.read_text(errors="replace"), re.MULTILINE)
    return failed[1] if failed else "pytest itself"


def killed_by(copy: Path, mutant: Mutant, workers: int, *, whole: bool) -> str | None:
    """Return the fitting test that fails with the mutant, or with `whole` any other; None if it survives."""
    path = copy / mutant.file
    original = path.read_text(encoding="utf-8")
    path.write_text(mutant.apply(original), encoding="utf-8")
    try:
        failure = first_failure(copy, mutant.tests, workers)
        return first_failure(copy, ("tests",), workers) if failure is None and whole else failure
    finally:
        path.write_text(original, encoding="utf-8")


def run(mutants: list[Mutant], workers: int, *, whole: bool) -> dict[str, str | None]:
    """Run the mutants, print what became of each, and return by which test each was killed. Raise TableError."""
    for mutant in mutants:
        mutant.apply((ROOT / mutant.file).read_text(encoding="utf-8"))
    killers: dict[str, str | None] = {}
    with checkout() as copy:
        fitting = tuple(sorted({test for mutant in mutants for test in mutant.tests}))
        if failure := first_failure(copy, ("tests",) if whole else fitting, workers):
            raise TableError(f"{failure} fails without a mutant, so no mutant can be judged.")
        for mutant in mutants:
            failure = killers[mutant.name] = killed_by(copy, mutant, workers, whole=whole)
            print(
                f"killed    {mutant.name}\n          by {failure}" if failure else f"SURVIVED  {mutant.name}",
                flush=True,
            )
    return killers


def percent_killed(killers: dict[str, str | None]) -> float:
    """Return how many of a hundred mutants were killed, those aside that are judged to change nothing."""
    counted = [killer for name, killer in killers.items() if killer or not judgement(name).startswith(EQUIVALENT)]
    return 100 * sum(killer is not None for killer in counted) / len(counted)


def judgement(name: str) -> str:
    """Return what the table says of a survivor, empty if nothing. The line of a mutant can change."""
    judged: dict[str, str] = stored()["judged"]
    return judged.get(re.sub(r":\d+: ", ": ", name, count=1), "")


def sample_page() -> list[str]:
    """Return the part of docs/reliability.md about the fixed sample."""
    found = json.loads(SAMPLE.read_text(encoding="utf-8"))
    killers: dict[str, str | None] = found["killers"]
    parts: dict[str, list[str | None]] = {part: [] for part in stored()["sample"]["parts"]}
    for name, killer in killers.items():
        parts[next(part for part in parts if name.startswith(f"{part}/"))].append(killer)
    survivors = [name for name, killer in killers.items() if killer is None]
    equivalent = sum(judgement(name).startswith(EQUIVALENT) for name in survivors)
    return [
        "",
        "## Mutants",
        "",
        f"`nox -s mutants -- --sample` drew {len(killers)} mutants of these folders on {found['date']}.",
        "The draw has a fixed seed, so it changes only with the code.",
        "A mutant is one small change of the code, such as `<=` instead of `<`.",
        "It is killed if a test fails with it.",
        f"{equivalent} changed nothing that anyone could notice.",
        f"Of the others {percent_killed(killers):.0f} % were killed.",
        "",
        "| folder | mutants | killed |",
        "| --- | --- | --- |",
        *(f"| `{part}` | {len(all_)} | {sum(killer is not None for killer in all_)} |" for part, all_ in parts.items()),
        "",
        "These survived, with the line that they had in that run:",
        "",
        "| mutant | judgement |",
        "| --- | --- |",
        *(f"| `{name}` | {judgement(name)} |" for name in survivors),
    ]


def main() -> int:
    """Read the options and run; return the exit code."""
    parser = argparse.ArgumentParser(description="Break the bot on purpose, and see whether the tests notice.")
    parser.add_argument("names", nargs="*", help="run only mutants of the table whose name contains one of these")
    parser.add_argument("--random", type=int, metavar="N", help="draw N mutants instead of the table's")
    parser.add_argument("--seed", type=int, default=1, help="what the draw depends on (default: 1)")
    parser.add_argument("--sample", action="store_true", help="run the fixed sample, and store what became of it")
    parser.add_argument("--whole", action="store_true", help="run every test against what the fitting ones let pass")
    parser.add_argument("--threshold", type=float, default=90, help="percentage that must be killed (default: 90)")
    parser.add_argument("-n", type=int, default=2, dest="workers", help="workers of pytest (default: 2)")
    given = parser.parse_args()
    sample = stored()["sample"]
    if given.sample:
        mutants = draw(sample["count"], sample["seed"], tuple(sample["parts"]))
    elif given.random:
        mutants = draw(given.random, given.seed)
    else:
        mutants = [m for m in table() if not given.names or any(name in m.name for name in given.names)]
    if not mutants:
        parser.error("no mutant has such a name")
    try:
        killers = run(mutants, given.workers, whole=given.whole)
    except TableError as error:
        parser.exit(2, f"{error}\n")
    if given.sample:
        result = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "killers": killers}
        SAMPLE.write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    print(f"{percent_killed(killers):.0f} % of {len(killers)} mutants killed")
    return int(percent_killed(killers) < given.threshold)


if __name__ == "__main__":
    sys.exit(main())

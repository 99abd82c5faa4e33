"""python -m benchmarks: plays the same to each contestant in turns, and writes docs/performance.md and its plot.

Every figure is a median of rounds in one run on one machine. What counts is its ratio to the expert's bot in the same
run. The machine should do nothing else meanwhile. Five rounds take about forty minutes, `--rounds 1 --only` five.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from benchmarks.contestants import contestants, install_bolt_js, pin_the_load, postgres
from benchmarks.page import BOT, EXPERT, GROWTH_PART, LIMIT, PAGE, PLOT, RUNS, Run, missed, newest, page, plot
from benchmarks.play import Figures, Size, one_round
from benchmarks.profiled import shares

# These play every round, the others the first one only: they show what is usual, and no target is about them.
COMPARED = {BOT, EXPERT, LIMIT}


async def measure(rounds: int, only: list[str] | None, folder: Path) -> Run:
    """Play the rounds in turns, and return what was measured."""
    cores, core = os.cpu_count() or 1, pin_the_load()
    with postgres(folder / "postgres") as url:
        there = contestants(url, install_bolt_js(folder / "bolt_js") if only is None else None)
        names = [name for name in there if only is None or name in COMPARED | set(only)]
        results: dict[str, list[Figures]] = {name: [] for name in names}
        for number in range(rounds):
            for name in names:
                if name in COMPARED or number == 0:
                    results[name].append(await one_round(there[name], number, Size(), core))
                    print(f"round {number + 1} of {rounds}: {name}", flush=True)
    return Run(
        date=f"{datetime.now(UTC):%Y-%m-%d}",
        python=platform.python_version(),
        cores=cores,
        pinned=core is not None,
        rounds=results,
        shares=await shares(),
    )


def render(run: Run) -> int:
    """Write the page and its plot; the exit code is 1 where a target is missed."""
    kept = GROWTH_PART.search(PAGE.read_text(encoding="utf-8"))
    PAGE.write_text(page(run, kept[0] if kept else ""), encoding="utf-8")
    PLOT.write_text(plot(run.medians), encoding="utf-8")
    targets = missed(run.medians)
    for target in targets:
        print(f"missed: {target.figure}")
    return 1 if targets else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--only", nargs="*", help="these beside the bot, (a) and (e) (as the page names them); none may be named"
    )
    parser.add_argument("--render", action="store_true", help="write the page of the newest run again, without a run")
    given = parser.parse_args()
    if not given.render:
        with tempfile.TemporaryDirectory() as own:
            found = asyncio.run(measure(given.rounds, given.only, Path(own)))
        RUNS.mkdir(exist_ok=True)
        (RUNS / f"{found.date}.json").write_text(found.model_dump_json(indent=1), encoding="utf-8")
    sys.exit(render(newest()))

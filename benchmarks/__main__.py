"""python -m benchmarks: plays the same to each contestant in turns, and writes docs/performance.md and its plot.

Every figure is a median of rounds in one run on one machine; what counts is its ratio to the limit of the same run. The
machine should do nothing else meanwhile. Five rounds take about forty minutes, `--rounds 1 --only bot limit` two.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
from pathlib import Path

from benchmarks.contestants import ROOT, contestants, install_bolt_js, postgres
from benchmarks.page import BOT, GROWTH_PART, LIMIT, PAGE, medians, missed, page, plot
from benchmarks.play import Figures, Size, one_round
from benchmarks.profiled import shares


async def main(rounds: int, only: list[str], folder: Path, write: Path) -> int:
    """Play the rounds in turns, write the page; the exit code is 1 where a target is missed."""
    with postgres(folder / "postgres") as url:
        there = contestants(url, install_bolt_js(folder / "bolt_js"))
        names = [name for name in there if not only or name in {BOT, LIMIT} | set(only)]
        results: dict[str, list[Figures]] = {name: [] for name in names}
        for number in range(rounds):
            for name in names:
                results[name].append(await one_round(there[name], number, Size()))
                print(f"round {number + 1} of {rounds}: {name}", flush=True)
    found = medians(results)
    kept = GROWTH_PART.search(PAGE.read_text(encoding="utf-8"))
    text, picture = page(found, rounds, await shares(), kept[0] if kept else ""), plot(found)
    (write / "performance.md").write_text(text, encoding="utf-8")
    (write / "pictures" / "performance.svg").write_text(picture, encoding="utf-8")
    for target in missed(found):
        print(f"missed: {target.figure}")
    return 1 if missed(found) else 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument(
        "--only", nargs="*", default=[], help="these beside the bot and the limit (as the page names them)"
    )
    parser.add_argument("--write", type=Path, default=ROOT / "docs", help="the folder of performance.md and pictures/")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as own:
        sys.exit(asyncio.run(main(given.rounds, given.only, Path(own), given.write)))

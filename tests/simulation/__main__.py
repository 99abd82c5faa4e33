"""python -m tests.simulation: play seeds; print what went wrong, the shortest trace of it, and how to replay it.

python -m tests.simulation --seeds 100000          play on, from seed 0 or --first
python -m tests.simulation --seed 4711             replay one seed with its trace
python -m tests.simulation --seed 4711 --only 3,7  replay the events that a failure was shrunk to
"""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation import plan
from tests.simulation.many import SEEDS, Sum, play_all, play_seeds
from tests.simulation.run import Result, simulation
from tests.simulation.shrink import shrink


def replay(seed: int, only: list[int] | None) -> Result:
    """Play one seed, or some of its events."""
    found = plan.make(seed)
    with simulation() as play:
        return play(found if only is None else found.only(only))


def explain(seed: int) -> str:
    """Return the shortest run of a seed that still goes wrong, and how to replay it."""
    with simulation() as play:
        kept, result = shrink(play, plan.make(seed))
    events = plan.make(seed).only(kept).events
    return "\n".join(
        [
            f"\nSeed {seed}: {'; '.join(result.violations)}",
            "What happens:",
            *(f"  {event}" for event in events),
            "Trace:",
            *(f"  {line}" for line in result.trace),
            f"Replay: python -m tests.simulation --seed {seed} --only {','.join(map(str, kept))}",
        ]
    )


def main() -> int:
    """Return 0 if every guarantee held, else 1."""
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seeds", type=int, default=SEEDS, help=f"how many seeds to play (default {SEEDS})")
    parser.add_argument("--first", type=int, default=0, help="the first of them (default 0)")
    parser.add_argument("--seed", type=int, help="replay this seed, with its trace")
    parser.add_argument("--only", help="only these events of it, by their positions")
    parser.add_argument("--explain", type=int, default=3, help="how many failing seeds to shrink and print (default 3)")
    parser.add_argument("--stop", action="store_true", help="stop at the first failing seed; this uses one core")
    given = parser.parse_args()
    if given.seed is not None:
        result = replay(given.seed, None if given.only is None else [int(i) for i in given.only.split(",") if i])
        print("\n".join(result.trace))
        print("\n".join(result.violations) or "Every guarantee held.")
        return 1 if result.violations else 0
    began, total = time.monotonic(), Sum()
    seeds = range(given.first, given.first + given.seeds)
    for total in [play_seeds(seeds, stop_at_first=True)] if given.stop else play_all(given.first, given.seeds):
        if sys.stdout.isatty():
            print(f"\r{total}", end="", flush=True)
    first = f"; first: seed {total.failed[0]}" if total.failed else ""
    print(f"\r{total}; {time.monotonic() - began:.0f} s{first}")
    for seed in total.failed[: given.explain]:
        print(explain(seed))
    return 1 if total.failed else 0


if __name__ == "__main__":
    raise SystemExit(main())

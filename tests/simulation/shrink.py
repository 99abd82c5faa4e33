"""Shrink a run that went wrong: leave out events for as long as it still goes wrong."""

from __future__ import annotations

from collections.abc import Callable

from tests.simulation.plan import Plan
from tests.simulation.run import Result


def shrink(play: Callable[[Plan], Result], plan: Plan) -> tuple[list[int], Result]:
    """Return the positions of the events that are needed, and the run of only those."""
    kept = list(range(len(plan.events)))
    result = play(plan)
    size = max(len(kept) // 2, 1)
    while result.violations:
        for start in range(0, len(kept), size):
            fewer = kept[:start] + kept[start + size :]
            if (found := play(plan.only(fewer))).violations:
                kept, result = fewer, found
                break
        else:
            if size == 1:
                break
            size = max(size // 2, 1)
    return kept, result

"""Many runs: on every core, and their sum."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context

from tests.simulation import plan
from tests.simulation.run import simulation

SEEDS = 2000  # what CI plays
CHUNK = 50  # seeds that a process plays before it reports


@dataclass(frozen=True)
class Sum:
    """What many runs showed together."""

    seeds: int = 0
    requests: int = 0
    calls: int = 0
    crashes: int = 0
    seconds: float = 0.0
    failed: tuple[int, ...] = ()

    def __add__(self, other: Sum) -> Sum:
        """Return both together."""
        return Sum(
            *(getattr(self, name) + getattr(other, name) for name in vars(self)),
        )

    def __str__(self) -> str:
        """Return a line for people."""
        return (
            f"{self.seeds} seeds, {self.requests} requests, {self.calls} calls, {self.crashes} crashes and stops, "
            f"{self.seconds / 3600:.0f} hours of virtual time, {len(self.failed)} seeds with a violation"
        )


def play_seeds(seeds: range, *, stop_at_first: bool = False) -> Sum:
    """Play some seeds in this process, perhaps only up to the first failing one."""
    total = Sum()
    # A run makes many objects that live for a moment: Python's defaults would spend much of the time on them.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)
    with simulation() as play:
        for seed in seeds:
            found = plan.make(seed)
            result = play(found)
            failed = (seed,) if result.violations else ()
            total += Sum(1, result.requests, result.calls, result.crashes, result.seconds, failed)
            if failed and stop_at_first:
                break
    return total


def play_all(first: int, count: int) -> Iterator[Sum]:
    """Play seeds on every core; yield the sum so far after each chunk."""
    chunks = [range(at, min(at + CHUNK, first + count)) for at in range(first, first + count, CHUNK)]
    total = Sum()
    with ProcessPoolExecutor(os.cpu_count(), get_context("spawn")) as pool:
        for part in pool.map(play_seeds, chunks):
            total += part
            yield total

"""The simulation itself: a seed is one exact run, a failure shrinks, and the bugs on purpose still fit the code."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from bot.clients.numbers_file import read
from tests.conftest import Record, often
from tests.simulation import plan, planted_bugs
from tests.simulation.many import SEEDS, play_seeds
from tests.simulation.numbers_list import NumbersList
from tests.simulation.plan import Plan
from tests.simulation.run import Result, simulation
from tests.simulation.shrink import shrink


@pytest.fixture
def play() -> Iterator[Callable[[Plan], Result]]:
    """A way to play plans."""
    with simulation() as found:
        yield found


def test_seeds_of_every_run(reliability: Record) -> None:
    """The first seeds break no guarantee; CI plays many more of them."""
    total = play_seeds(range(often(10, 25)))
    assert total.failed == ()
    assert total.calls > 5
    plans = [plan.make(seed) for seed in range(SEEDS)]
    counts = {
        what: sum(event.what in kinds for found in plans for event in found.events) for what, kinds in KINDS.items()
    }
    hours = sum(found.faults_end for found in plans) / 3600
    reliability(
        "Simulation",
        f"CI plays {SEEDS:,} seeds, over {hours:.0f} hours of virtual time: {counts['requests']:,} requests, "
        f"{counts['clicks']:,} clicks, {counts['ends']:,} kills and stops, {counts['faults']:,} times of Slack's, "
        f"Cellcast's or the database's faults, {counts['clocks']:,} set clocks, {counts['lists']:,} changes and faults of "
        "the list of numbers",
        calls="at most one for each confirmation",
        told="what happened; no violation",
    )


KINDS = {
    "requests": {"request"},
    "clicks": {"click"},
    "ends": {"kill", "kill at a step", "stop"},
    "faults": {"slack", "cellcast", "database"},
    "clocks": {"clock"},
    "lists": {"list"},
}


def test_seed_is_one_exact_run(play: Callable[[Plan], Result]) -> None:
    """The same seed has the same trace, line by line, also with a list of numbers; another one has another."""
    listed = next(seed for seed in range(SEEDS) if any(event.what == "list" for event in plan.make(seed).events))
    found = [play(plan.make(seed)).trace for seed in (11, 11, 12, listed, listed)]
    assert found[0] == found[1] != found[2]
    assert found[3] == found[4]


def test_faults_end_soon_after_the_last_event() -> None:
    """A plan whose last event comes early is a short run, and none has faults for longer than FAULTS_END."""
    whole = plan.make(3)
    slow = plan.Event(2.0, "database", {"kind": "slow", "seconds": 4.0, "replica": 0})
    jump = plan.Event(3.0, "clock", {"seconds": 60.0, "replica": 0})
    assert replace(whole, events=[slow, jump]).faults_end == 11.0
    assert replace(whole, events=[]).faults_end == 5.0
    assert max(plan.make(seed).faults_end for seed in range(50)) == plan.FAULTS_END


def test_card_with_a_rejected_update_is_clicked(play: Callable[[Plan], Result]) -> None:
    """A card whose last update Slack has rejected shows its state after people have clicked it."""
    events = [
        plan.Event(1.0, "request", {"user": plan.ANA, "number": plan.NUMBERS[0]}),
        plan.Event(3.9, "slack", {"kind": "rejected", "seconds": 2.0}),
        plan.Event(4.0, "click", {"user": plan.BEN, "button": "keep", "card": 0.0, "old": False}),
    ]
    played = [play(Plan(seed, 1, 5.0, shuffled=False, settings={}, skews=[0.0], events=events)) for seed in range(20)]
    assert [result.violations for result in played] == [[]] * len(played)
    afterwards = ["\n".join(result.trace).partition("no more faults")[2] for result in played]
    assert any("clicks unsubscribe_number" in trace and "*Kept: " in trace for trace in afterwards)


def test_list_of_numbers(tmp_path: Path) -> None:
    """The bot takes each fault of the list for an error, and the list knows what it permitted when."""
    number, other = plan.NUMBERS
    listed = NumbersList(tmp_path / "numbers.csv")
    listed.change(number, {"warning": "", "protected": "yes"})
    listed.write(2.0)
    assert [found.protected for found in read(listed.path).by_id.values()] == [True, False]
    for kind in plan.LIST_FAULTS:
        for cut in range(100):
            fault = {"kind": kind, "cut": cut / 100}
            listed.begin(fault)
            listed.write(4.0)
            assert read(listed.path).errors
            listed.end(fault)
    listed.write(6.0)
    assert read(listed.path).errors == ()
    assert listed.permitted(number, 0.0, 1.0)
    assert not listed.permitted(number, 2.5, 9.0)
    assert listed.protected(number, 2.5, 9.0)
    assert not listed.permitted(other, 4.5, 5.5)


def test_failure_shrinks() -> None:
    """What is not needed for a failure is left out: here it takes the click and the kill."""
    whole = plan.make(3)
    events = [
        plan.Event(float(i), what) for i, what in enumerate(["request", "click", "slack", "kill", "click", "stop"])
    ]

    def play(found: Plan) -> Result:
        kinds = {event.what for event in found.events}
        return Result(["broken"] if {"click", "kill"} <= kinds else [], [], 0.0, 0, 0, 0)

    kept, result = shrink(play, replace(whole, events=events))
    assert [events[i].what for i in kept] in (["kill", "click"], ["click", "kill"])
    assert result.violations == ["broken"]


@pytest.mark.parametrize("bug", planted_bugs.BUGS, ids=lambda bug: bug.name)
def test_bug_fits_the_code(bug: planted_bugs.Bug, tmp_path: Path) -> None:
    """Each bug on purpose still changes the code of today; CI plays until each is found."""
    for file, _, _ in bug.edits:
        target = tmp_path / file
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text((planted_bugs.ROOT / file).read_text(encoding="utf-8"), encoding="utf-8")
    planted_bugs.apply(bug, tmp_path)
    for file in {file for file, _, _ in bug.edits}:
        compile((tmp_path / file).read_text(encoding="utf-8"), file, "exec")


def test_record_of_the_planted_bugs() -> None:
    """Each recorded seed is that of a bug, and CI plays it without the bug too."""
    recorded = json.loads(planted_bugs.RECORD.read_text(encoding="utf-8"))
    assert set(recorded) <= {found.name for found in planted_bugs.BUGS}
    assert all(seed < planted_bugs.MAX_SEEDS <= SEEDS for seed in recorded.values())

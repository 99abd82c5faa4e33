"""The benchmark plays each part, and its page hides no target that was missed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import growth
from benchmarks.contestants import ALL, BOT, LIMIT, SOCKET, Contestant
from benchmarks.contestants import EXPERT as EXPERT_COMMAND
from benchmarks.page import BOT as BOT_NAME
from benchmarks.page import EXPERT, GROWTH, GROWTH_PART, NEVERS, PLOT, PLOTTED, TARGETS, Run, missed, newest, page, plot
from benchmarks.play import CLICKS_THAT, COMMANDS_WHILE, INTERRUPTED, LATE, Figures, Size, one_round
from benchmarks.profiled import NAMES
from tests.conftest import THOROUGH
from tests.process import ROOT

SMALL = Size(commands=2, clicks=2, bursts=(3,), hanging=2, hangs_seconds=0.3, meanwhile=2, quarter=2, memory=(2, 4))
PAGE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
ROW = re.compile(
    r"^\| (.+?) \| (\S+|\d+ / \d+) \| (\S*) ?\| (\S*) ?\| (?:≤ )?(\S+) \| (yes|\*\*no\*\*) \|$", re.MULTILINE
)


@THOROUGH
@pytest.mark.parametrize(
    "contestant",
    [
        Contestant("limit", LIMIT, ALL),
        Contestant("expert", EXPERT_COMMAND, ALL),
        Contestant("this bot", BOT, ALL, SOCKET),
    ],
    ids=lambda contestant: contestant.name,
)
async def test_a_round_is_played(contestant: Contestant) -> None:
    """Every part gives its figures; nothing is lost, late, or called twice (fifty are two here)."""
    found = await one_round(contestant, 0, SMALL)
    assert found["calls made twice"] == 0
    assert not [figure for figure, value in found.items() if figure.endswith((LATE, INTERRUPTED)) and value]
    for figure in (
        "start to ready, s",
        "command ack p50, ms",
        "click ack p99, ms",
        "CPU per command, ms",
        "CPU per click of 3, ms",
    ):
        assert figure in found
    assert found[f"{COMMANDS_WHILE} p99, ms"] > 0
    assert 0 < found["click to toast beyond the fakes, ms"] < 2000
    assert found["memory after 4 commands, MB"] > 10
    assert f"{CLICKS_THAT}, {INTERRUPTED}" in found


def run(mine: float) -> Run:
    """A run in which the bot took so many times as long for everything as the others."""
    names = [*PLOTTED, *(target.figure for target in TARGETS)]
    memory = {f"memory after {count} commands, MB": 90.0 for count in (1000, 10000)}

    def figures(value: float) -> Figures:
        return dict.fromkeys(names, value) | dict.fromkeys(NEVERS, 0.0) | memory

    shares = {what: dict.fromkeys(NAMES, 10.0) for what in ("command", "click")}
    rounds = {BOT_NAME: [figures(0.0), figures(mine), figures(99.0)], EXPERT: [figures(1.0)]}
    return Run(date="2026-01-31", python="3.11.7", cores=2, pinned=mine < 2, rounds=rounds, shares=shares)


@pytest.mark.parametrize(("mine", "verdicts"), [(1.0, 0), (9.0, len(TARGETS))])
def test_page_names_missed_targets(mine: float, verdicts: int) -> None:
    """A ratio beyond its target is a plain no, and the page names the target with the reason."""
    text = page(run(mine))
    assert len(missed(run(mine).medians)) == verdicts == text.count("**no**")
    assert ("This run missed these targets" in text) is bool(verdicts)
    assert ("This run met every target." in text) is not bool(verdicts)
    assert text.count("not explained yet") == sum(not target.why for target in TARGETS if verdicts)
    assert plot(run(mine).medians).count("<rect") == 1 + 2 * 6


def test_page_says_what_was_pinned_and_repeated() -> None:
    """The page tells who played fewer rounds, and whether the contestants had a core for themselves."""
    assert "Some played fewer rounds ((e) expert: 1)." in page(run(1.0))
    assert "had one core for itself" in page(run(1.0))
    assert "could not keep a core free" in page(run(9.0))


def test_page_keeps_the_other_part() -> None:
    """The part that the growth benchmark has written stays when the others write the page."""
    (part,) = GROWTH_PART.findall(PAGE)
    assert page(run(1.0), part).endswith(f"\n\n{part}")


def test_page_and_plot_are_those_of_the_newest_run() -> None:
    """docs/performance.md and its plot say what the raw figures in the repository say."""
    (part,) = GROWTH_PART.findall(PAGE)
    assert page(newest(), part) == PAGE
    assert plot(newest().medians) == PLOT.read_text(encoding="utf-8")


@THOROUGH
async def test_growth_is_measured(tmp_path: Path) -> None:
    """Each figure is there, the export of the history among them, and the table replaces the one before."""
    row = await growth.measure(f"sqlite:///{tmp_path}/ledger.db", 100, growth.Size(2, 2, 5, 50))
    assert [re.sub(r"[\d.]+", "1", cell) for cell in row[1:]] == ["1", "1", "1 / 1", "1 / 1", "1", "1", "1"]
    copy = tmp_path / "performance.md"
    copy.write_text(PAGE, encoding="utf-8")
    growth.write(copy, growth.part([row]))
    (part,) = GROWTH_PART.findall(copy.read_text(encoding="utf-8"))
    assert f"| {' | '.join(row)} |" in part
    assert copy.read_text(encoding="utf-8").startswith(PAGE[:1000])


def test_page_meets_the_targets_of_growth() -> None:
    """With a million requests a sweep takes less than 5 ms, and a confirmation less than 50 ms."""
    (part,) = GROWTH_PART.findall(PAGE)
    rows = {cells[1].strip(): cells for cells in (line.split("|") for line in part.splitlines()) if len(cells) > 2}
    assert {"1,000", "10,000", "100,000", "1,000,000"} <= rows.keys()
    million = rows["1,000,000"]
    assert float(million[2]) < 5
    assert float(million[4].split("/")[1]) < 50


def test_page_has_every_target() -> None:
    """docs/performance.md has each target beside its figure, and the verdict that the figure deserves."""
    rows = {row[0]: row for row in ROW.findall(PAGE)}
    for target in TARGETS:
        _, mine, expert, ratio, given, verdict = rows[target.figure]
        assert float(given) == target.ratio
        assert abs(float(mine) / float(expert) - float(ratio)) < 0.06
        assert (verdict == "yes") is target.met(float(ratio))
    for never in NEVERS:
        assert (rows[never][1] == "0") is (rows[never][5] == "yes")
    growth = rows["memory after 10,000 commands to that after 1,000, MB"]
    assert (float(growth[3]) <= GROWTH) is (growth[5] == "yes")

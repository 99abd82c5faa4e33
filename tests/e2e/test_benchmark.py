"""The benchmark plays each part, and its page hides no target that was missed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from benchmarks import growth
from benchmarks.contestants import ALL, BOT, LIMIT, SOCKET, Contestant
from benchmarks.page import GROWTH, GROWTH_PART, NEVERS, TARGETS, missed, page, plot
from benchmarks.play import CLICKS_THAT, COMMANDS_WHILE, INTERRUPTED, LATE, Figures, Size, one_round
from tests.conftest import THOROUGH
from tests.process import ROOT

SMALL = Size(commands=2, clicks=2, bursts=(3,), hanging=2, hangs_seconds=0.3, meanwhile=2, memory=(2, 4))
PAGE = (ROOT / "docs" / "performance.md").read_text(encoding="utf-8")
ROW = re.compile(
    r"^\| (.+?) \| (\S+|\d+ / \d+) \| (\S*) ?\| (\S*) ?\| (?:([≤≥]) )?(\S+) \| (yes|\*\*no\*\*) \|$", re.MULTILINE
)


@THOROUGH
@pytest.mark.parametrize(
    "contestant",
    [Contestant("limit", LIMIT, ALL), Contestant("this bot", BOT, ALL, SOCKET)],
    ids=lambda contestant: contestant.name,
)
async def test_a_round_is_played(contestant: Contestant) -> None:
    """Every part gives its figures; nothing is lost, late, or called twice (fifty are two here)."""
    found = await one_round(contestant, 0, SMALL)
    assert found["calls made twice"] == 0
    assert not [figure for figure, value in found.items() if figure.endswith((LATE, INTERRUPTED)) and value]
    for figure in ("start to ready, s", "command ack p50, ms", "click ack p99, ms", "CPU per command, ms"):
        assert figure in found
    assert found[f"{COMMANDS_WHILE} p99, ms"] > 0
    assert 0 < found["click to toast beyond the fakes, ms"] < 2000
    assert found["memory after 4 commands, MB"] > 10
    assert f"{CLICKS_THAT}, {INTERRUPTED}" in found


def figures(value: float) -> Figures:
    """Figures in which everything took as long."""
    measured = [target.figure for target in TARGETS] + ["burst of 500 clicks p99, ms"]
    memory = {f"memory after {count} commands, MB": 90.0 for count in (1000, 10000)}
    return dict.fromkeys(measured, value) | dict.fromkeys(NEVERS, 0.0) | memory


@pytest.mark.parametrize(("mine", "verdicts"), [(1.0, 0), (9.0, len(TARGETS) - 1)])
def test_page_names_missed_targets(mine: float, verdicts: int) -> None:
    """A ratio beyond its target is a plain no, and the page names the target."""
    found = {"this bot": figures(mine), "(a) limit": figures(1.0)}
    text = page(found, 5, {"command": {}, "click": {}} | dict.fromkeys(("command", "click"), _Shares()))
    assert len(missed(found)) == verdicts == text.count("**no**")
    assert ("This run missed these targets" in text) is bool(verdicts)
    assert ("This run met every target." in text) is not bool(verdicts)
    assert plot(found).count("<rect") == 1 + 2 * 6


def test_page_keeps_the_other_part() -> None:
    """The part that the growth benchmark has written stays when the others write the page."""
    (part,) = GROWTH_PART.findall(PAGE)
    text = page(
        {"this bot": figures(1.0), "(a) limit": figures(1.0)}, 5, {"command": _Shares(), "click": _Shares()}, part
    )
    assert text.endswith(f"\n\n{part}")


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


class _Shares(dict[str, float]):
    def __missing__(self, _name: str) -> float:
        return 0.0


def test_page_has_every_target() -> None:
    """docs/performance.md has each target beside its figure, and the verdict that the figure deserves."""
    rows = {row[0]: row for row in ROW.findall(PAGE)}
    for target in TARGETS:
        _, mine, limit, ratio, sign, given, verdict = rows[target.figure]
        assert float(given) == target.ratio
        assert sign == ("≥" if target.more_is_better else "≤")
        assert abs(float(mine) / float(limit) - float(ratio)) < 0.06
        assert (verdict == "yes") is target.met(float(ratio)) or abs(float(ratio) - target.ratio) < 0.006
    for never in NEVERS:
        assert (rows[never][1] == "0") is (rows[never][6] == "yes")
    growth = rows["memory after 10,000 commands to that after 1,000, MB"]
    assert (float(growth[3]) <= GROWTH) is (growth[6] == "yes")
    assert (Path(ROOT) / "docs" / "pictures" / "performance.svg").exists()

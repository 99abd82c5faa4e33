"""docs/performance.md and its plot: every target beside its figure."""

from __future__ import annotations

import re
import statistics
from dataclasses import dataclass
from xml.sax.saxutils import escape

from pydantic import BaseModel

from benchmarks.contestants import ROOT
from benchmarks.play import (
    CLICKS_THAT,
    COMMANDS_WHILE,
    INTERRUPTED,
    LATE,
    QUARTER_CLICKS,
    QUARTER_COMMANDS,
    TWICE,
    Figures,
)
from benchmarks.profiled import NAMES
from benchmarks.world import NEVER

BOT, EXPERT, LIMIT = "this bot", "(e) expert", "(a) limit"
PAGE, PLOT = ROOT / "docs" / "performance.md", ROOT / "docs" / "pictures" / "performance.svg"
# The raw figures of each run, one file for each.
RUNS = ROOT / "benchmarks" / "runs"
# What benchmarks/growth.py writes; the other benchmarks keep it.
GROWTH_PART = re.compile(r"<!-- generated: growth -->\n.*?<!-- end -->\n", re.DOTALL)
GROWTH = 1.1
AFTER_1000, AFTER_10000 = "memory after 1000 commands, MB", "memory after 10000 commands, MB"


class Run(BaseModel):
    """One run: what was measured in each round of each contestant, and where. This is what is kept of it."""

    date: str
    python: str
    cores: int
    # Whether the contestant had one core for itself, and the load another.
    pinned: bool
    rounds: dict[str, list[Figures]]
    # Percent of the bot's processor time by library, of a command and of a click.
    shares: dict[str, dict[str, float]]

    @property
    def medians(self) -> dict[str, Figures]:
        """The median of each figure over the rounds, for each contestant."""
        return {
            name: {figure: statistics.median(found[figure] for found in rounds) for figure in rounds[0]}
            for name, rounds in self.rounds.items()
        }


def newest() -> Run:
    """The newest run that is kept."""
    return Run.model_validate_json(max(RUNS.glob("*.json")).read_bytes())


@dataclass(frozen=True)
class Target:
    """A ratio to the expert's bot that must not be exceeded; `why` says what it is missed for, if it is."""

    figure: str
    ratio: float
    why: str = ""

    def met(self, ratio: float) -> bool:
        """Whether this ratio is good enough."""
        return round(ratio, 2) <= self.ratio


ACK = "the confirmation is stored through SQLAlchemy and brings the whole request back, and permissions are checked"
CLICK = "six steps of a click are stored through SQLAlchemy, instead of three by sqlite3 (see the profile below)"
TARGETS = [
    Target("burst of 2000 commands p99, ms", 1.0),
    Target("burst of 500 clicks p99, ms", 1.0, ACK),
    Target("CPU per command, ms", 1.3, "each payload is checked, and two steps are stored through SQLAlchemy"),
    Target("CPU per click of 500, ms", 1.2, CLICK),
    Target("click to toast beyond the fakes, ms", 1.2, "each step before the call and the toast is stored that way"),
    Target("command ack p50, ms", 1.2, "each payload is checked before Bolt sees it"),
    Target("click ack p50, ms", 1.2, ACK),
    Target("start to ready, s", 1.3, "loading SQLAlchemy, pydantic and the bot itself takes nearly half of the start"),
]
# What the plot shows, in milliseconds.
PLOTTED = [
    "command ack p50, ms",
    "click ack p50, ms",
    "click to toast beyond the fakes, ms",
    "burst of 500 clicks p99, ms",
    "burst of 2000 commands p99, ms",
    f"{COMMANDS_WHILE} p99, ms",
]
# What must not happen at all.
NEVERS = [
    f"burst of 2000 commands, {LATE}",
    f"burst of 500 clicks, {LATE}",
    f"burst of 2000 commands, {INTERRUPTED}",
    f"burst of 500 clicks, {INTERRUPTED}",
    f"{COMMANDS_WHILE}, {INTERRUPTED}",
    f"{CLICKS_THAT}, {INTERRUPTED}",
    f"{QUARTER_COMMANDS}, {LATE}",
    f"{QUARTER_CLICKS}, {LATE}",
    TWICE,
]
EXTRA = """## What the bot does beyond the expert's bot

The expert's bot uses the same libraries: Bolt, slack_sdk, httpx and uvloop.
It shows the same messages, makes the same calls, and stores four steps of a request by sqlite3, in group commits.
The bot also does this, and each part has its reason in [decisions.md](decisions.md):

- It checks the shape of each payload, and each permission.
- It notes whether any byte of the call to Cellcast left.
- It stores where each card is, and each delivery, so that nothing is lost or posted twice.
- It reads a request again before it changes its card, because another replica may have gone on with it.
- It delivers each outcome again until Slack accepts it, at the pace that Slack allows.
"""


USUAL = [
    "(b), (c) and (d) update the card before they post the toast, as people usually write it.",
    "That adds one call to the fake Slack (30 ms) to their time.",
]


def missed(found: dict[str, Figures]) -> list[Target]:
    """The targets that were not met."""
    return [t for t in TARGETS if not t.met(found[BOT][t.figure] / found[EXPERT][t.figure])]


def page(run: Run, growth: str = "") -> str:
    """The whole page; `growth` is the part that benchmarks/growth.py has written."""
    found = run.medians
    counts = {name: len(rounds) for name, rounds in run.rounds.items()}
    fewer = [f"{name}: {count}" for name, count in counts.items() if count < counts[BOT]]
    where = (
        "Each contestant had one core for itself, and the fakes and people another."
        if run.pinned
        else "This machine could not keep a core free for the contestants, so the load disturbed them."
    )
    lines = [
        "# Performance",
        "",
        f"`python -m benchmarks` wrote this page: medians of {counts[BOT]} rounds, with the contestants in turns.",
        *([f"Some played fewer rounds ({', '.join(fewer)})."] if fewer else []),
        "Everything runs over loopback, with a fake Slack that takes 30 ms and a fake Cellcast that takes 150 ms.",
        "Compare the ratios only, because times depend on the machine.",
        f"This run was on {run.date}, with {run.cores} cores and Python {run.python}.",
        where,
        f"[Its raw figures](../benchmarks/runs/{run.date}.json) are kept.",
        "",
        "![How long each contestant takes](pictures/performance.svg)",
        "",
        "## Targets",
        "",
        *_table(["figure", BOT, EXPERT, "ratio", "target", "met"], _target_rows(found)),
        "",
        *_summary(found),
        "",
        EXTRA,
        "## Processor time by library",
        "",
        f"On {run.date}, on the same machine, the bot's processor time was sampled:",
        "",
        *_table(
            ["library", "a command and its card", "a click, its call and its toast"],
            [[NAMES[n], f"{run.shares['command'][n]:.0f} %", f"{run.shares['click'][n]:.0f} %"] for n in NAMES],
        ),
        "",
        "## All figures",
        "",
        *_table(
            ["figure", *found],
            [[figure, *(_number(found[name].get(figure)) for name in found)] for figure in found[BOT]],
        ),
        "",
        "A dash means that this figure was not measured.",
        "The limit is a bare aiohttp handler: it verifies, acks, writes one durable row a click, and makes the calls.",
        "On PostgreSQL, on the same machine and disk, only the unloaded requests are measured.",
        *(USUAL if any(name.startswith(("(b)", "(c)", "(d)")) for name in found) else []),
    ]
    return "\n".join(lines) + "\n" + (f"\n{growth}" if growth else "")


def _summary(found: dict[str, Figures]) -> list[str]:
    """Say which targets this run missed, and why."""
    if not (names := missed(found)):
        return ["This run met every target."]
    reasons = [f"- {target.figure}: {target.why or 'not explained yet'}." for target in names]
    return ["This run missed these targets:", "", *reasons]


def _target_rows(found: dict[str, Figures]) -> list[list[str]]:
    bot, expert = found[BOT], found[EXPERT]
    rows = []
    for target in TARGETS:
        mine, theirs = bot[target.figure], expert[target.figure]
        verdict = _verdict(met=target.met(mine / theirs))
        rows.append(
            [target.figure, _number(mine), _number(theirs), f"{mine / theirs:.2f}", f"≤ {target.ratio}", verdict]
        )
    growth = bot[AFTER_10000] / bot[AFTER_1000]
    memory = "memory after 10,000 commands to that after 1,000, MB"
    megabytes = f"{bot[AFTER_10000]:.0f} / {bot[AFTER_1000]:.0f}"
    return [
        *rows,
        [memory, megabytes, "", f"{growth:.2f}", f"≤ {GROWTH}", _verdict(met=growth <= GROWTH)],
        *(
            [never, _number(bot[never]), _number(expert[never]), "", "0", _verdict(met=not bot[never])]
            for never in NEVERS
        ),
    ]


def _verdict(*, met: bool) -> str:
    return "yes" if met else "**no**"


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 100 or value == int(value) else f"{value:.2f}"


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    return [f"| {' | '.join(row)} |" for row in [head, ["---"] * len(head), *rows]]


STYLE = """text { font: 13px system-ui, sans-serif; fill: #1d1c1d } .title { font-weight: 600 } .small { fill: #616061 }
.bar { fill: #9aa5b1 } .ours { fill: #1264a3 } .expert { fill: #2eb67d } .back { fill: #ffffff }
@media (prefers-color-scheme: dark) { text { fill: #e8e8e8 } .small { fill: #ababad } .back { fill: #1a1d21 }
.bar { fill: #5b6671 } .ours { fill: #4fa3e0 } }"""
WIDTH, LEFT, ROW, GAP, RIGHT = 860, 190, 20, 46, 120


def plot(found: dict[str, Figures]) -> str:
    """Bars, each group to the scale of its slowest; one that would dwarf the others is cut and says so."""
    parts, y = [], 20
    for figure in PLOTTED:
        values = {name: found[name][figure] for name in found if figure in found[name]}
        most = 12 * values[EXPERT]
        scale = (WIDTH - LEFT - RIGHT) / min(max(values.values()), most)
        parts.append(f'<text class="title" x="16" y="{y + 12}">{escape(figure.removesuffix(", ms"))}</text>')
        y += 24
        for name, value in values.items():
            width = min(value, most) * scale
            kind = "ours" if name.startswith(BOT) else "expert" if name == EXPERT else "bar"
            said = "no answer" if value >= NEVER * 1000 else f"{_number(value)} ms{' (cut)' if value > most else ''}"
            parts += [
                f'<text class="small" x="{LEFT - 8}" y="{y + 12}" text-anchor="end">{escape(name)}</text>',
                f'<rect class="{kind}" x="{LEFT}" y="{y + 1}" width="{width:.1f}" height="{ROW - 6}" rx="2"/>',
                f'<text x="{LEFT + width + 6:.1f}" y="{y + 12}">{said}</text>',
            ]
            y += ROW
        y += GAP - 24
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" width="{WIDTH}" height="{y}" role="img">'
    title = "<title>How long each contestant takes, in milliseconds; shorter is better</title>"
    back = f'<rect class="back" width="{WIDTH}" height="{y}"/>'
    return "\n".join([head, title, f"<style>{STYLE}</style>", back, *parts, "</svg>"]) + "\n"

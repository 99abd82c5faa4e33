"""docs/performance.md and its plot: every target beside its figure."""

from __future__ import annotations

import os
import platform
import re
import statistics
from dataclasses import dataclass
from xml.sax.saxutils import escape

from benchmarks.contestants import ROOT
from benchmarks.play import CLICKS_THAT, COMMANDS_WHILE, INTERRUPTED, LATE, Figures
from benchmarks.profiled import NAMES
from benchmarks.world import NEVER

BOT, LIMIT = "this bot", "(a) limit"
PAGE = ROOT / "docs" / "performance.md"
# What benchmarks/growth.py writes; the other benchmarks keep it.
GROWTH_PART = re.compile(r"<!-- generated: growth -->\n.*?<!-- end -->\n", re.DOTALL)
GROWTH = 1.1
AFTER_1000, AFTER_10000 = "memory after 1000 commands, MB", "memory after 10000 commands, MB"


@dataclass(frozen=True)
class Target:
    """A ratio to the limit that must not be exceeded (or reached, for what is better the more there is)."""

    figure: str
    ratio: float
    more_is_better: bool = False

    def met(self, ratio: float) -> bool:
        """Whether this ratio is good enough."""
        return ratio >= self.ratio if self.more_is_better else ratio <= self.ratio


TARGETS = [
    Target("command ack p50, ms", 1.3),
    Target("click ack p50, ms", 1.6),
    Target("burst of 2000 commands p99, ms", 2.5),
    Target("burst of 500 clicks p99, ms", 3.0),
    Target("commands a second", 0.55, more_is_better=True),
    Target("CPU per command, ms", 1.9),
    Target("click to toast beyond the fakes, ms", 1.8),
    Target(f"{COMMANDS_WHILE} p99, ms", 3.0),
    Target("start to ready, s", 2.5),
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
    f"{COMMANDS_WHILE}, {INTERRUPTED}",
    f"{CLICKS_THAT}, {INTERRUPTED}",
]
EXTRA = """## What the bot does beyond the limit

The limit acks, calls and posts, and nothing more.
The bot also does this, and each part has its reason in [decisions.md](decisions.md):

- It checks the shape of each payload and passes the request through Bolt.
- It opens a new connection for each call to Cellcast and traces whether any byte of the request left.
- It stores each request, the start of each call and each outcome before it goes on.
- It delivers each outcome again until Slack accepts it.
"""


def medians(results: dict[str, list[Figures]]) -> dict[str, Figures]:
    """The median of each figure over the rounds, for each contestant."""
    return {
        name: {figure: statistics.median(found[figure] for found in rounds) for figure in rounds[0]}
        for name, rounds in results.items()
    }


def missed(found: dict[str, Figures]) -> list[Target]:
    """The targets that were not met."""
    return [t for t in TARGETS if not t.met(found[BOT][t.figure] / found[LIMIT][t.figure])]


def page(found: dict[str, Figures], rounds: int, shares: dict[str, dict[str, float]], growth: str = "") -> str:
    """The whole page; `growth` is the part that benchmarks/growth.py has written."""
    lines = [
        "# Performance",
        "",
        f"`python -m benchmarks` wrote this page: medians of {rounds} rounds in one run, the contestants in turns.",
        "Everything runs over loopback, with a fake Slack that takes 30 ms and a fake Cellcast that takes 150 ms.",
        "Compare the ratios only, because times depend on the machine.",
        f"This run had {os.cpu_count()} cores and Python {platform.python_version()}.",
        "",
        "![How long each contestant takes](pictures/performance.svg)",
        "",
        "## Targets",
        "",
        *_table(["figure", BOT, LIMIT, "ratio", "target", "met"], _target_rows(found)),
        "",
        _summary(found),
        "The limit is a bare aiohttp handler: it verifies, acks, writes one durable row a click, and makes the calls.",
        "It stores no command, expires no request, and never repeats a delivery.",
        "",
        EXTRA,
        "## Processor time by library",
        "",
        "This run sampled the bot's processor time on the same machine:",
        "",
        *_table(
            ["library", "a command and its card", "a click, its call and its toast"],
            [[NAMES[n], f"{shares['command'][n]:.0f} %", f"{shares['click'][n]:.0f} %"] for n in NAMES],
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
        "(b) and (c) skip the burst of 2000 clicks.",
        "On PostgreSQL, on the same machine and disk, only the unloaded requests are measured.",
        "(b), (c) and (d) update the card before they post the toast, as people usually write it.",
        "That adds one call to the fake Slack (30 ms) to their time.",
    ]
    return "\n".join(lines) + "\n" + (f"\n{growth}" if growth else "")


def _summary(found: dict[str, Figures]) -> str:
    """Say which targets this run missed."""
    names = ", ".join(target.figure for target in missed(found))
    return f"This run missed these targets: {names}." if names else "This run met every target."


def _target_rows(found: dict[str, Figures]) -> list[list[str]]:
    bot, limit = found[BOT], found[LIMIT]
    rows = []
    for target in TARGETS:
        mine, least = bot[target.figure], limit[target.figure]
        sign = "≥" if target.more_is_better else "≤"
        verdict = _verdict(met=target.met(mine / least))
        rows.append(
            [target.figure, _number(mine), _number(least), f"{mine / least:.2f}", f"{sign} {target.ratio}", verdict]
        )
    growth = bot[AFTER_10000] / bot[AFTER_1000]
    memory = "memory after 10,000 commands to that after 1,000, MB"
    megabytes = f"{bot[AFTER_10000]:.0f} / {bot[AFTER_1000]:.0f}"
    return [
        *rows,
        [memory, megabytes, "", f"{growth:.2f}", f"≤ {GROWTH}", _verdict(met=growth <= GROWTH)],
        *(
            [never, _number(bot[never]), _number(limit[never]), "", "0", _verdict(met=not bot[never])]
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
.bar { fill: #9aa5b1 } .ours { fill: #1264a3 } .limit { fill: #2eb67d } .back { fill: #ffffff }
@media (prefers-color-scheme: dark) { text { fill: #e8e8e8 } .small { fill: #ababad } .back { fill: #1a1d21 }
.bar { fill: #5b6671 } .ours { fill: #4fa3e0 } }"""
WIDTH, LEFT, ROW, GAP, RIGHT = 860, 190, 20, 46, 120


def plot(found: dict[str, Figures]) -> str:
    """Bars, each group to the scale of its slowest; one that would dwarf the others is cut and says so."""
    parts, y = [], 20
    for figure in PLOTTED:
        values = {name: found[name][figure] for name in found if figure in found[name]}
        most = 12 * values[LIMIT]
        scale = (WIDTH - LEFT - RIGHT) / min(max(values.values()), most)
        parts.append(f'<text class="title" x="16" y="{y + 12}">{escape(figure.removesuffix(", ms"))}</text>')
        y += 24
        for name, value in values.items():
            width = min(value, most) * scale
            kind = "ours" if name.startswith(BOT) else "limit" if name.startswith(LIMIT) else "bar"
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

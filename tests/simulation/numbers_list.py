"""The list of numbers (NUMBERS_FILE) in a run: its owner protects numbers and lifts that, and it is faulty for a while.

What the bot promises, as it is checked here from outside:
- It looks at the list between a click and the confirmation that is stored, and again between that and the call.
  If no version of that time permits the number, no confirmation is stored, or no call is made.
- A version that is missing, half written or invalid permits no number. It stops nobody from keeping one.
- A number that the list protects gets no card. A click on an older card keeps the number by rule, and people hear so.
"""

from __future__ import annotations

import math
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bot.domain.status import OutcomeCode
from tests.simulation.plan import NUMBERS

if TYPE_CHECKING:
    from tests.simulation.world import Click, World

HEADER = "id,number,label,warning,protected\n"
# A click this long before its deadline is one in time, whatever the steps before the database take.
MARGIN = 2.0


class NumbersList:
    """The file as its owner writes it, and which numbers it protected when."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._cells = {number: {"warning": "", "protected": "no"} for number in NUMBERS}
        self._faults: list[dict[str, Any]] = []
        # Since when, and which numbers it protects; None if it permits no number at all.
        self._versions: list[tuple[float, frozenset[str] | None]] = []
        self.write(0.0)

    def change(self, number: str, cells: dict[str, str]) -> None:
        """Let the owner change a line."""
        self._cells[number] |= cells

    def begin(self, fault: dict[str, Any]) -> None:
        """Begin a fault; the last one that has begun counts."""
        self._faults.append(fault)

    def end(self, fault: dict[str, Any]) -> None:
        """End a fault, if it has not ended yet."""
        if fault in self._faults:
            self._faults.remove(fault)

    def heal(self) -> None:
        """End every fault."""
        self._faults.clear()

    def write(self, now: float) -> None:
        """Write the file as it is to be now."""
        fault = self._faults[-1] if self._faults else None
        content = self._content() if fault is None else _broken(self._content(), fault)
        if content is None:
            self.path.unlink(missing_ok=True)
        else:
            self.path.write_bytes(content)
            # The real time would show how long this run takes, and two versions could have the same.
            os.utime(self.path, ns=(0, int(now * 1e9) + len(self._versions)))
        protected = frozenset(number for number, cells in self._cells.items() if cells["protected"] == "yes")
        self._versions.append((now, protected if fault is None else None))

    def permitted(self, number: str, begin: float, end: float) -> bool:
        """Return whether the list permitted a number at any moment of this time."""
        return any(found is not None and number not in found for found in self._between(begin, end))

    def protected(self, number: str, begin: float, end: float) -> bool:
        """Return whether the list protected a number at any moment of this time."""
        return any(found is not None and number in found for found in self._between(begin, end))

    def _between(self, begin: float, end: float) -> list[frozenset[str] | None]:
        ends = [since for since, _ in self._versions[1:]] + [math.inf]
        return [
            found for (since, found), until in zip(self._versions, ends, strict=True) if since <= end and until >= begin
        ]

    def _content(self) -> bytes:
        lines = [
            f"{number},+61 480 000 0{number[-2:]},Line {number[-2:]},{cells['warning']},{cells['protected']}\n"
            for number, cells in self._cells.items()
        ]
        return "".join([HEADER, *lines]).encode()


def _broken(content: bytes, fault: dict[str, Any]) -> bytes | None:
    """Return the list with a fault, None if it is missing."""
    if fault["kind"] == "missing":
        return None
    if fault["kind"] == "half-written":
        # Behind a cell or within it. A cut behind a whole line is what no reader can notice, so the documentation
        # tells the owner to rename a complete file.
        ends = [cell.start() - within for cell in re.finditer(b"[,\n]", content) for within in (0, 1)]
        cuts = sorted(end for end in set(ends) if content[end - 1 : end] != b"\n")
        return content[: cuts[int(fault["cut"] * len(cuts))]]
    if fault["kind"] == "typing error":
        return content.replace(b"protected\n", b"protectd\n")
    return content + b"\xff\n"  # it is not UTF-8


def watch_confirmations(world: World) -> None:
    """Note when each confirmation was stored, and look whether the list permitted it."""
    if world.list is None:
        return
    for row in world.rows("SELECT id, attempt, number_id FROM requests WHERE status = 'confirmed'"):
        if (key := (row["id"], row["attempt"])) in world.confirmed_at:
            continue
        now = world.confirmed_at[key] = world.loop.seconds
        value = f"{row['id']}:{row['attempt'] - 1}"
        clicked = [click.at for click in world.clicks if click.value == value and click.confirms]
        if clicked and not world.list.permitted(row["number_id"], min(clicked), now):
            world.report_violation(f"{row['id'][:6]} was confirmed, but the list did not permit its number")


def check_call(world: World, number: str, request: str, attempt: int) -> None:
    """Look whether the list permitted a call at any moment since its confirmation was stored."""
    if world.list is None or (since := world.confirmed_at.get((request, attempt))) is None:
        return
    if not world.list.permitted(number, since, world.loop.seconds):
        world.report_violation(f"{request[:6]}, attempt {attempt}: called, but the list did not permit it")


def check_list(world: World) -> None:
    """Look whether each card was permitted, each number kept by rule was protected, and people could keep numbers."""
    if world.list is None:
        return
    posted = {card.ts: card.at for card in world.cards.values()}
    requested = {reason: at for at, reason in world.requested_at}
    for row in world.rows("SELECT * FROM requests WHERE card_ts IS NOT NULL"):
        since, number = requested[row["reason"]], row["number_id"]
        if not world.list.permitted(number, since, posted[row["card_ts"]]):
            world.report_violation(f"{row['id'][:6]} got a card, but the list did not permit its number")
    for row in world.rows(
        "SELECT r.*, o.code FROM requests r JOIN outcomes o ON o.request_id = r.id WHERE o.code = ?",
        OutcomeCode.PROTECTED,
    ):
        if not world.list.protected(row["number_id"], requested[row["reason"]], world.loop.seconds):
            world.report_violation(f"{row['id'][:6]} was kept by rule, but the list did not protect its number")
    for click in world.clicks:
        _check_replies(world, click)


def _check_replies(world: World, click: Click) -> None:
    """Look whether the list stopped somebody from keeping, and a click on a protected number ended its request."""
    if not click.confirms and any("list of numbers cannot be used" in said for said in click.replies):
        world.report_violation(f"{click.user} could not keep a number: {click.replies}")
    in_time = all(now < (click.deadline or 0.0) - MARGIN for now, _ in click.handled)
    if click.confirms and in_time and any("is protected in the list" in said for said in click.replies):
        for row in world.rows("SELECT code FROM outcomes WHERE request_id = ? AND attempt = 0", click.value[:32]):
            if row["code"] == OutcomeCode.EXPIRED:
                world.report_violation(f"{click.value[:6]}: people read that it is protected, but it was not kept")

"""The requests between Slack, the bot and Cellcast, step by step, for the demo's page."""

from __future__ import annotations

import itertools
import json
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import Any

MAX_STEPS = 120
MAX_DETAIL = 4000


@dataclass
class Step:
    """One request and its answer, or a change of the ledger. Until the answer `result` is empty and `ms` None."""

    number: int
    kind: str  # slack: Slack calls the bot; api: the bot calls Slack; cellcast: the bot calls Cellcast; ledger; bot
    title: str
    given: object  # what is shown below the title
    began: float = field(default_factory=time.monotonic)
    at: float = field(default_factory=time.time)
    result: str = ""
    ms: float | None = None

    @cached_property
    def detail(self) -> str:
        """Return what is shown below the title. Most steps are never looked at, so it is written only then."""
        text = self.given if isinstance(self.given, str) else json.dumps(self.given, indent=1, ensure_ascii=False)
        return text[:MAX_DETAIL]


class Wire:
    """The last steps. `on_change` is called after each."""

    def __init__(self) -> None:
        self.steps: deque[Step] = deque(maxlen=MAX_STEPS)
        self.on_change: Callable[[], None] = lambda: None
        self._numbers = itertools.count(1)

    def begin(self, kind: str, title: str, given: object = "") -> Step:
        """Add a step that takes time, and return it."""
        step = Step(next(self._numbers), kind, title, given)
        self.steps.append(step)
        self.on_change()
        return step

    def end(self, step: Step, result: str) -> None:
        """Set the result of a step, and how long it took."""
        step.result, step.ms = result, round((time.monotonic() - step.began) * 1000, 1)
        self.on_change()

    def note(self, kind: str, title: str) -> None:
        """Add a step that takes no time."""
        self.begin(kind, title)

    def shown(self) -> list[dict[str, Any]]:
        """Return the steps as the page needs them."""
        names = [known.name for known in fields(Step) if known.name != "given"]
        return [{name: getattr(step, name) for name in [*names, "detail"]} for step in self.steps]

"""A channel gets its messages in turn: a short burst, then about one a second."""

from __future__ import annotations

import pytest

from bot.service.pace import BURST, EVERY, FORGET_AFTER, Pace


class Time:
    """Seconds that a test lets pass."""

    now = 1000.0

    def __call__(self) -> float:
        """Return the moment."""
        return self.now


def test_turns() -> None:
    """A burst goes out at once, then each message waits a second longer; another channel does not wait."""
    pace = Pace(Time())
    assert [pace.wait("C1", str(n)) for n in range(BURST + 3)] == pytest.approx(
        [*[0.0] * BURST, EVERY, 2 * EVERY, 3 * EVERY]
    )
    assert pace.wait("C2", "0") == 0


def test_turn_is_kept() -> None:
    """A message that asks again keeps its turn, and after a pause there is a burst again."""
    time = Time()
    pace = Pace(time)
    waits = [pace.wait("C1", str(n)) for n in range(6)]
    time.now += 2
    assert [pace.wait("C1", str(n)) for n in range(6)] == pytest.approx([max(0.0, wait - 2) for wait in waits])
    for n in range(6):
        pace.done("C1", str(n))
    time.now += 60
    assert [pace.wait("C1", f"{n} later") for n in range(BURST + 1)] == pytest.approx([*[0.0] * BURST, EVERY])


def test_hold() -> None:
    """No new turn comes before the time that Slack asked for."""
    pace = Pace(Time())
    pace.hold("C1", 30)
    assert [pace.wait("C1", "a"), pace.wait("C1", "b")] == pytest.approx([30, 30 + EVERY])
    pace.hold("C1", 5)
    assert pace.wait("C1", "c") == pytest.approx(30 + 2 * EVERY)


def test_turns_are_not_kept_without_end() -> None:
    """A turn that nobody took is forgotten."""
    time = Time()
    pace = Pace(time)
    pace.wait("C1", "a")
    time.now += FORGET_AFTER + BURST
    pace.wait("C1", "b")
    assert len(pace._turns) == 1

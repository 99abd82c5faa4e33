"""What happens in a run: a seed's list of what people do and what goes wrong, which a failure can be shrunk to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

# The faults stop after this many seconds of virtual time.
FAULTS_END = 90.0
CONFIRM_WITHIN, REMIND_BEFORE = 40, 10
AUDIT = "C0AUDIT"
ANA, BEN, CEM, GIL = "U0ANA", "U0BEN", "U0CEM", "U0GIL"  # Gil has no permission
NUMBERS = ["66ea98514f0c1a121c76ec17", "66ea98514f0c1a121c76ec18"]

SLACK_FAULTS = ["rate limited", "server error", "answer lost", "no connection", "hang", "late", "rejected", "mixed"]
CELLCAST_FAULTS = [
    *("refused", "not found", "rate limited", "server error", "answer lost", "no connection", "hang", "late", "mixed"),
]
DATABASE_FAULTS = ["slow", "locked", "away", "lost before commit", "lost after commit", "late answer", "mixed"]
LIST_FAULTS = ["missing", "half-written", "half-written", "typing error", "not text"]
SETTINGS: list[dict[str, Any]] = [
    {},
    {"dry_run": True},
    {"require_second_person": True},
    {"allowed_users": f"{ANA},{CEM}"},
]


@dataclass(frozen=True)
class Event:
    """Something that happens `at` a moment (seconds of virtual time): `what`, with its details."""

    at: float
    what: str
    details: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """Return a line for people."""
        return f"{self.at:7.2f} s  {self.what} " + " ".join(f"{name}={value}" for name, value in self.details.items())


@dataclass(frozen=True)
class Plan:
    """One run: how many replicas there are, how often they sweep, whose order ready callbacks have, and what happens."""

    seed: int
    replicas: int
    sweep_every: float
    shuffled: bool
    settings: dict[str, Any]
    skews: list[float]
    events: list[Event]

    def only(self, kept: list[int]) -> Plan:
        """Return the plan with only some of its events, named by their positions."""
        return Plan(**{**vars(self), "events": [self.events[i] for i in kept]})

    @property
    def faults_end(self) -> float:
        """Return the moment at which every fault ends, a while after the last event."""
        ends = [
            event.at + (0.0 if event.what == "clock" else event.details.get("seconds", 0.0)) for event in self.events
        ]
        return min(max(ends, default=0.0) + 5.0, FAULTS_END)


def make(seed: int) -> Plan:
    """Return the plan of a seed: anything, or one of the themes."""
    chance = Random(f"plan {seed}")
    replicas = chance.choice([1, 1, 2, 2, 3])
    sweep_every, settings = 1.0, dict[str, Any]()  # as in real life; a long run with fewer sweeps takes less time
    if chance.random() < THEMES_SHARE:
        replicas = chance.choice([1, 2, 2])
        events = chance.choice(THEMES)(chance, replicas)
    else:
        events = _anything(chance, replicas)
        settings, sweep_every = chance.choice([{}, {}, *SETTINGS[1:3]]), chance.choice([5.0, 10.0])
    events += _list_changes(Random(f"list {seed}"), events)
    if Random(f"audit {seed}").random() < 0.5:
        settings = {**settings, "audit_channel": AUDIT}
    return Plan(
        seed=seed,
        replicas=replicas,
        sweep_every=sweep_every,
        shuffled=chance.random() < 0.5,
        settings=settings,
        skews=[chance.choice([0.0, 0.0, -3.0, 3.0]) for _ in range(replicas)],
        events=sorted(events, key=lambda event: event.at),
    )


def _anything(chance: Random, replicas: int) -> list[Event]:
    events: list[Event] = []
    clicks: list[float] = []

    def moment() -> float:
        """Return some moment, mostly one just before a click or just after it."""
        if clicks and chance.random() < 0.7:
            return _time(chance.choice(clicks) + chance.uniform(-4, 4))
        return _time(chance.uniform(0, FAULTS_END))

    for _ in range(chance.randint(2, 5)):
        at = _time(chance.uniform(0, FAULTS_END * 0.8))
        number = chance.choice(NUMBERS)
        user = chance.choice([ANA, ANA, BEN, CEM, GIL])
        events.append(Event(at, "request", {"user": user, "number": number}))
        if chance.random() < 0.2:  # two people request it at once
            events.append(Event(at, "request", {"user": chance.choice([ANA, BEN]), "number": number}))
        # Most clicks follow their card, within the time in which it can be confirmed.
        for _ in range(chance.choice([0, 1, 1, 2, 3])):
            after = chance.choice(
                [chance.uniform(0.4, 2), chance.uniform(2, 20), chance.uniform(2, 50), CONFIRM_WITHIN + 2]
            )
            clicks.append(_time(at + after))
            events += _clicks(chance, clicks[-1])

    return events + _faults(chance, moment, replicas)


def _faults(chance: Random, moment: Callable[[], float], replicas: int) -> list[Event]:
    events: list[Event] = []
    for _ in range(chance.choice([0, 1, 1, 2, 3])):
        for name, kinds in _chosen(chance):
            length = _time(chance.choice([2.0, 10.0, 30.0]) * chance.uniform(0.5, 1.5))
            details: dict[str, Any] = {"kind": chance.choice(kinds), "seconds": length}
            if name == "database":
                details["replica"] = chance.randrange(replicas)
            events.append(Event(moment(), name, details))
    for _ in range(chance.choice([0, 0, 1, 2])):
        events += _stops(chance, moment(), chance.randrange(replicas))
    if chance.random() < 0.3:
        jump = chance.choice([-900.0, -60.0, -5.0, 5.0, 60.0])
        events.append(Event(moment(), "clock", {"replica": chance.randrange(replicas), "seconds": jump}))
    return events


def _long_call(chance: Random, replicas: int) -> list[Event]:
    """A call that takes all of its time, with a database or a clock that goes wrong at its beginning or its end."""
    at, events = _first_click(chance)
    events.append(Event(_time(at - 0.5), "cellcast", {"kind": chance.choice(["hang", "late"]), "seconds": 5.0}))
    if chance.random() < 0.5:
        away = {"kind": chance.choice(DATABASE_FAULTS), "seconds": _time(chance.uniform(10, 30))}
        replica = chance.randrange(replicas)
        events.append(Event(_time(at + chance.uniform(3, 12)), "database", away | {"replica": replica}))
    else:
        jumps, jump = _time(at + chance.uniform(0.1, 1)), chance.choice([-900.0, -60.0])
        # Every replica: whichever gets the click is still storing it when the clock is set.
        for i in range(replicas):
            events.append(Event(_time(at - 0.1), "database", {"kind": "slow", "seconds": 3.0, "replica": i}))
            events.append(Event(jumps, "clock", {"seconds": jump, "replica": i}))
    if chance.random() < 0.5:
        events += _faults(chance, lambda: _time(at + chance.uniform(-2, 30)), replicas)
        events += _clicks(chance, _time(at + chance.uniform(1, 40)))
    return events


def _stop_at_a_click(chance: Random, replicas: int) -> list[Event]:
    """A stop of every replica, while a slow database still stores a click."""
    at, events = _first_click(chance)
    stops = [_time(at + chance.uniform(0.05, 1)), _time(at + chance.uniform(3, 30))]
    for replica in range(replicas):
        events += [
            Event(_time(at - 0.1), "database", {"kind": "slow", "seconds": 3.0, "replica": replica}),
            Event(stops[0], "stop", {"replica": replica}),
            Event(stops[1], "start", {"replica": replica, "settings": {}}),
        ]
    return events


def _lost_update(chance: Random, _replicas: int) -> list[Event]:
    """An update of a card that Slack does not take, or applies late; perhaps people then click what the card shows."""
    kind = chance.choice(["late", "rejected"])
    # Without a call one update is the last one: people can still click what the card shows if it is rejected.
    at, events = _first_click(chance, "keep" if kind == "rejected" else "confirm")
    seconds = 3.0 if kind == "rejected" else _time(chance.uniform(0.2, 1))
    events.append(Event(_time(at - 0.1), "slack", {"kind": kind, "seconds": seconds}))
    for _ in range(chance.choice([0, 0, 1, 2])):
        events += _clicks(chance, _time(at + chance.uniform(5, 30)))
    return events


def _next_attempt(chance: Random, replicas: int) -> list[Event]:
    """A call that takes all of its time, while clocks that are ahead let others take it for interrupted, and try again."""
    at, events = _first_click(chance)
    events.append(Event(_time(at - 0.1), "cellcast", {"kind": chance.choice(["hang", "late"]), "seconds": 2.0}))
    events += [Event(_time(at + 2), "clock", {"replica": i, "seconds": 60.0}) for i in range(replicas)]
    again = {"user": chance.choice([ANA, BEN]), "button": "confirm", "card": 0.0, "old": False}
    return [*events, Event(_time(at + chance.uniform(6, 10)), "click", again)]


def _lost_commit(chance: Random, replicas: int) -> list[Event]:
    """A click that is stored, and whose replica does not learn so."""
    at, events = _first_click(chance)
    lost = {"kind": chance.choice(["lost after commit", "late answer"]), "seconds": _time(chance.uniform(0.2, 1))}
    return [*events, *(Event(_time(at - 0.1), "database", lost | {"replica": i}) for i in range(replicas))]


def _changed_settings(chance: Random, replicas: int) -> list[Event]:
    """A click under other settings than its request."""
    _, events = _first_click(chance)
    for replica in range(replicas):
        for stops, starts in ((0.1, 0.2), (2.5, 2.6)):
            details: dict[str, Any] = {"replica": replica}
            events.append(Event(stops, "kill", details))
            events.append(Event(starts, "start", details | {"settings": chance.choice(SETTINGS)}))
    return events


def _protected_meanwhile(chance: Random, replicas: int) -> list[Event]:
    """A click, perhaps on a slow database, while the list of numbers protects its number, or breaks."""
    at, events = _first_click(chance, chance.choice(["confirm", "confirm", "confirm", "keep"]))
    if chance.random() < 0.7:
        slow = {"kind": "slow", "seconds": 3.0}
        events += [Event(_time(at - 0.1), "database", slow | {"replica": replica}) for replica in range(replicas)]
    number = events[0].details["number"]
    events.append(_list_change(chance, _time(at + chance.uniform(-1, 2.5)), number, "yes", faulty=0.6))
    if chance.random() < 0.5:
        events.append(_list_change(chance, _time(at + chance.uniform(1, 10)), events[0].details["number"], "no"))
    if chance.random() < 0.5:
        again = {"user": chance.choice([ANA, BEN]), "number": events[0].details["number"]}
        events.append(Event(_time(at + chance.uniform(-1, 10)), "request", again))
    return events + _clicks(chance, _time(at + chance.uniform(1, 30)))


def _warned(chance: Random, replicas: int) -> list[Event]:
    """A number with a warning, whose last digits people type: perhaps two at once, late, or wrong."""
    at, events = _first_click(chance)
    warning = {"number": events[0].details["number"], "protected": "no", "warning": "Printed on invoices"}
    events.append(Event(0.5, "list", warning))
    if chance.random() < 0.5:
        events += _faults(chance, lambda: _time(at + chance.uniform(-2, 10)), replicas)
    return events + _clicks(chance, _time(at + chance.uniform(0.2, 10)))


def _list_changes(chance: Random, events: list[Event]) -> list[Event]:
    """Return changes of the list of numbers, near requests and clicks; mostly there are none."""
    near = [event.at for event in events if event.what in ("request", "click")]
    if chance.random() > LISTS_SHARE or not near:
        return []
    return [
        _list_change(
            chance,
            _time(chance.choice(near) + chance.uniform(-3, 3)),
            chance.choice(NUMBERS),
            chance.choice(["yes", "no"]),
        )
        for _ in range(chance.randint(1, 5))
    ]


def _list_change(chance: Random, at: float, number: str, protected: str, faulty: float = 0.35) -> Event:
    """Return a change of a line of the list, or a fault of the whole list for a while (with the chance `faulty`)."""
    if chance.random() < faulty:
        fault = {"kind": chance.choice(LIST_FAULTS), "seconds": _time(chance.uniform(0.5, 12))}
        return Event(at, "list", fault | {"cut": int(chance.random() ** 2 * 100) / 100})
    warning = chance.choice(["", "Printed on invoices"])
    return Event(at, "list", {"number": number, "protected": protected, "warning": warning})


def _first_click(chance: Random, button: str = "confirm") -> tuple[float, list[Event]]:
    """Return the moment of a click on a new card, and what leads to it."""
    at = _time(chance.uniform(4, 8))
    request = Event(1.0, "request", {"user": ANA, "number": chance.choice(NUMBERS)})
    return at, [request, Event(at, "click", {"user": BEN, "button": button, "card": 0.0, "old": False})]


# Each is a chain of events that other plans seldom bring about, in a short run.
THEMES = [
    _long_call,
    _stop_at_a_click,
    _lost_update,
    _next_attempt,
    _lost_commit,
    _changed_settings,
    _protected_meanwhile,
    _warned,
]
THEMES_SHARE = 0.4
# Of all other runs, the share that has a list of numbers.
LISTS_SHARE = 0.1


def _time(seconds: float) -> float:
    return round(min(max(seconds, 0.0), FAULTS_END - 1), 2)


def _clicks(chance: Random, at: float) -> list[Event]:
    details: dict[str, Any] = {
        "user": chance.choice([ANA, BEN, BEN, CEM, GIL]),
        "button": chance.choice(["confirm", "confirm", "confirm", "keep"]),
        "card": int(chance.random() ** 3 * 100) / 100,  # which of the cards that there are then: 0 is the newest
        "old": chance.random() < 0.2,  # as it was before its last update
    }
    found = [Event(at, "click", details)]
    again = chance.random()
    if again < 0.15:  # a double click
        found.append(Event(_time(at + 0.2), "click", details))
    elif again < 0.3:  # two people at once
        found.append(Event(at, "click", {**details, "user": chance.choice([ANA, BEN]), "button": "confirm"}))
    elif again < 0.4:  # Slack delivers it again
        found[0].details["again_after"] = round(chance.uniform(0.1, 5), 2)
    return found


def _chosen(chance: Random) -> list[tuple[str, list[str]]]:
    every = [("slack", SLACK_FAULTS), ("cellcast", CELLCAST_FAULTS), ("database", DATABASE_FAULTS)]
    return chance.sample(every, chance.choice([1, 1, 2]))


def _stops(chance: Random, at: float, replica: int) -> list[Event]:
    """Stop or kill a replica, and start it again, perhaps with other settings."""
    how = chance.choice(["kill", "kill at a step", "stop"])
    details: dict[str, Any] = {"replica": replica}
    if how == "kill at a step":
        details["steps"] = chance.randint(1, 25)
    changed = {} if chance.random() < 0.5 else chance.choice(SETTINGS)
    again = _time(at + chance.uniform(0.5, 40))
    return [Event(at, how, details), Event(again, "start", {"replica": replica, "settings": changed})]

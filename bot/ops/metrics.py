"""What the bot counts, and how Prometheus reads it at /metrics.

Counting is a few dictionary writes; prometheus-client is loaded by the first scrape only. docs/operations.md explains
each metric.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prometheus_client import Metric

# Upper bounds in seconds: the ack is due within 3, the call within CELLCAST_TIMEOUT_SECONDS.
ACK_BOUNDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0)
CALL_BOUNDS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0)


class Latencies:
    """How long something took, for each label: counts below each bound, and the sum of the seconds."""

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts: dict[str, list[int]] = {}
        self.sums: dict[str, float] = {}

    def add(self, label: str, seconds: float) -> None:
        """Count one."""
        counts = self.counts.setdefault(label, [0] * (len(self.bounds) + 1))
        counts[bisect_left(self.bounds, seconds)] += 1
        self.sums[label] = self.sums.get(label, 0.0) + seconds

    def buckets(self, label: str) -> list[tuple[str, float]]:
        """The cumulative counts as Prometheus has them."""
        below, found = 0, []
        for bound, count in zip((*map(str, self.bounds), "+Inf"), self.counts[label], strict=True):
            below += count
            found.append((bound, float(below)))
        return found


class Metrics:
    """The counts since the start, and the gauges of the moment of a scrape."""

    def __init__(self) -> None:
        self.outcomes: Counter[str] = Counter()
        self.slack_errors: Counter[str] = Counter()
        self.sockets = 0  # that Slack has greeted
        self.acks = Latencies(ACK_BOUNDS)
        self.calls = Latencies(CALL_BOUNDS)

    def count_delivery(self, code: str) -> None:
        """Count an outcome that was delivered."""
        self.outcomes[code] += 1

    def observe_call(self, code: str, seconds: float) -> None:
        """Count a call to Cellcast and how long it took."""
        self.calls.add(code, seconds)

    def render(self, *, pending: int | None, untold_seconds: float | None, healthy: bool) -> bytes:
        """The text of /metrics (https://prometheus.io/docs/instrumenting/exposition_formats/).

        `pending` and `untold_seconds` come from the database; they are missing where it cannot be read.
        """
        from prometheus_client import CollectorRegistry, generate_latest  # noqa: PLC0415 - loaded by a scrape only

        registry = CollectorRegistry(auto_describe=False)
        found = list(self._collect(pending, untold_seconds, healthy))
        registry.register(type("Bot", (), {"collect": lambda _self: found})())
        return generate_latest(registry)

    def _collect(self, pending: int | None, untold_seconds: float | None, healthy: bool) -> Iterator[Metric]:
        from prometheus_client.core import (  # noqa: PLC0415 - as above
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        for name, text, label, counts in (
            ("unsubscribe_outcomes_delivered", "Endings told, by kind.", "outcome", self.outcomes),
            ("unsubscribe_slack_errors", "Calls that Slack refused or did not answer.", "method", self.slack_errors),
        ):
            counter = CounterMetricFamily(name, text, labels=[label])
            for value, count in sorted(counts.items()):
                counter.add_metric([value], count)
            yield counter
        yield CounterMetricFamily(
            "unsubscribe_socket_reconnects", "Sockets opened anew.", value=max(self.sockets - 1, 0)
        )
        for name, text, label, latencies in (
            ("unsubscribe_ack_duration_seconds", "From Slack's request to the ack.", "request", self.acks),
            (
                "unsubscribe_cellcast_call_duration_seconds",
                "The call to Cellcast, by its outcome.",
                "outcome",
                self.calls,
            ),
        ):
            histogram = HistogramMetricFamily(name, text, labels=[label])
            for value in sorted(latencies.counts):
                histogram.add_metric([value], latencies.buckets(value), latencies.sums[value])
            yield histogram
        yield GaugeMetricFamily("unsubscribe_healthy", "1 while /healthz is 200.", value=float(healthy))
        if pending is not None:
            yield GaugeMetricFamily("unsubscribe_requests_pending", "Cards that wait for a press.", value=pending)
        if untold_seconds is not None:
            text = "Age of the oldest outcome that is not told yet; 0 where there is none."
            yield GaugeMetricFamily("unsubscribe_oldest_undelivered_outcome_age_seconds", text, value=untold_seconds)

"""What the bot counts, and how Prometheus reads it at /metrics. docs/operations.md explains each metric."""

from __future__ import annotations

from collections.abc import Mapping

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
    generate_latest,
)

# Upper bounds in seconds: the ack is due within 3, the call within CELLCAST_TIMEOUT_SECONDS.
ACK_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 3.0)
CALL_BUCKETS = (0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 20.0, 30.0, 60.0)

# Without this every counter gets a second time series that tells only when the bot was started.
disable_created_metrics()  # type: ignore[no-untyped-call]  # prometheus_client has no types here


class Metrics:
    """The counters and histograms of one bot, in a separate registry, so that several bots can run in a process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.outcomes_delivered = Counter(
            "unsubscribe_outcomes_delivered", "Outcomes delivered in Slack.", ["outcome"], registry=self.registry
        )
        self.socket_reconnects = Counter(
            "unsubscribe_socket_reconnects", "Sockets opened after the first one.", registry=self.registry
        )
        self.ack_duration = Histogram(
            "unsubscribe_ack_duration_seconds",
            "Time from Slack's request to the ack.",
            ["request"],
            buckets=ACK_BUCKETS,
            registry=self.registry,
        )
        self.call_duration = Histogram(
            "unsubscribe_cellcast_call_duration_seconds",
            "Duration of the calls to Cellcast.",
            ["outcome"],
            buckets=CALL_BUCKETS,
            registry=self.registry,
        )

    def render(
        self,
        *,
        healthy: bool,
        slack_errors: Mapping[str, int],
        pending: int | None,
        undelivered_seconds: float | None,
    ) -> bytes:
        """Return the text of /metrics (https://prometheus.io/docs/instrumenting/exposition_formats/).

        `pending` and `undelivered_seconds` come from the database; if it cannot be read, they are None and left out.
        """
        # These values are kept elsewhere, so each scrape has its own copy of them.
        now = CollectorRegistry()
        errors = Counter(
            "unsubscribe_slack_errors", "Calls that Slack rejected or did not answer.", ["method"], registry=now
        )
        for method, count in sorted(slack_errors.items()):
            errors.labels(method).inc(count)
        Gauge("unsubscribe_healthy", "1 while /healthz is 200.", registry=now).set(healthy)
        if pending is not None:
            Gauge("unsubscribe_requests_pending", "Cards that wait for confirmation.", registry=now).set(pending)
        if undelivered_seconds is not None:
            Gauge(
                "unsubscribe_oldest_undelivered_outcome_age_seconds",
                "Age of the oldest outcome that is not delivered yet; 0 if there is none.",
                registry=now,
            ).set(undelivered_seconds)
        return generate_latest(self.registry) + generate_latest(now)

"""A Slack bot that unsubscribes virtual numbers at Cellcast: requested, confirmed, called once, reported."""

__version__ = "0.1.0"

"""A Slack bot that unsubscribes virtual numbers at Cellcast: asked, confirmed, called once, told."""

__version__ = "0.1.0"

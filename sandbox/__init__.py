"""A fake Slack workspace and a fake Cellcast on loopback, and the web page of the demo.

The demo, the tests and the screenshots use them. The bot never imports this package: its settings name the fakes' URLs.
"""

"""The tests talk to the bot as Slack does, and look at the channel and at what reached Cellcast."""

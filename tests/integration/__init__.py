"""Tests of the bot in this process, with the fakes."""

"""Tests of the bot as its own process, of the demo, and of the image."""

"""How fast the bot is, beside the limit and beside the bots that people usually write (`python -m benchmarks`)."""

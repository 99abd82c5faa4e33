"""Deterministic simulation: the bot as shipped, in a world with virtual time whose every accident comes from a seed."""

"""Tests without a server, a database or a network."""

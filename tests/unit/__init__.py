"""Tests of pure functions: no server, no database."""

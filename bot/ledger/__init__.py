"""The record of every request and outcome, in one database."""

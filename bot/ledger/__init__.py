"""The record of every request, in one database."""

"""Backfills that are run by name and can be resumed."""

"""Resumable backfills, by name."""

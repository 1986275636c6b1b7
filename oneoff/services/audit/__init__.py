"""Verify, export and archive what is recorded about runs."""

"""Structured logs of a run, on standard error."""

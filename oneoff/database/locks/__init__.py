"""Locks that only one run can hold at a time."""

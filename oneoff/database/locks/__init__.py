"""Locks that no two runs hold at once."""

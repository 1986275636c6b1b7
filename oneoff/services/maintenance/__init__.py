"""Manage maintenance windows: while one is open, web processes answer 503 and workers pause.

A row in the database says whether a window is open. A copy in Redis saves the database most of the
queries. A process uses the copy only while it is at most one second old, so a copy that could not
be corrected has no effect for longer than that. While the database or Redis answers, no process
uses a state older than `STALE_LIMIT`.
"""

STALE_LIMIT = 2.0
"""Seconds after which every process that gets requests knows what an operator has changed."""

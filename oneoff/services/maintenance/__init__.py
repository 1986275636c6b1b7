"""Manage maintenance windows: while one is open, web processes answer 503 and workers pause.

A row in the database stores whether a window is open. A copy in Redis replaces most of the database
queries. A process uses the copy only while it is at most one second old. So if the copy can't be
updated, it has an effect for one second at most. While the database or Redis answers, no process
uses a state older than `STALE_LIMIT`.
"""

STALE_LIMIT = 2.0
"""Seconds after which every process that gets requests uses the state that an operator has set."""

"""Maintenance windows: while one is open, every web process answers 503 and workers pause.

The truth is a row in the database. A copy in Redis spares it the questions of many processes, and
is never older than a second when it is believed, so that a copy nobody could correct does no harm.
No process, once asked, goes by what is older than `STALE_LIMIT` while either of the two answers.
"""

STALE_LIMIT = 2.0
"""Seconds after which every process that is asked has noticed what an operator did."""

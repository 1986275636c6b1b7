"""Queue, list, retry, abort and purge jobs."""

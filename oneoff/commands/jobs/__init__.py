"""Queue jobs, and look after those that are queued."""

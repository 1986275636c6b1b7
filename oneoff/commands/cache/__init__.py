"""Look into Redis, clear it, and fill it ahead of time."""

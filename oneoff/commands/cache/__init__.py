"""Inspect, clear and fill the cache in Redis."""

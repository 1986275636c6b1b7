"""Scan, inspect, warm and clear keys in Redis."""

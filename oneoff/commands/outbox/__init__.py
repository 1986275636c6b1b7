"""Deliver what waits to be done outside the database."""
